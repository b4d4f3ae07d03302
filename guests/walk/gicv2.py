"""A GICv2's registers: the distributor's (ARM IHI 0048B, table 4-1) and the CPU interface's (table 4-2), each with every size of access."""

from freestanding import fn, u32, u64, wrapping_mul
from guests.runtime.gic import GIC
from guests.runtime.machine import MACHINE
from guests.walk.registers import ALL, FRAME, fill, peek, poke, walk_bytes, walk_one, walk_pair, walk_plain, walk_range, walk_sizes
from guests.walk.report import say1, say2, say3
from xenarm.gic.registers import Gicc, Gicd

__all__ = ["walk_registers_v2", "walk_sizes_v2"]

FIRST_CPU = 0x0101_0101
LEAST = 64  # interrupts that every implementation here has
CLEAR_SENDERS = 0xF10
SET_SENDERS = 0xF20
INTERFACE = 0x1000
DIR = 0x1000


@fn
def walk_identity() -> None:
    """Of GICD_TYPER the number of interrupts apart: it is the implementation's."""
    kind = peek(GIC.gicd + Gicd.TYPER)
    say1(b"d.lines", u64(kind & 0x1F))
    say2(b"d.typer", u64(kind >> 5), u64(MACHINE.cpus))
    say1(b"d.iidr", u64(peek(GIC.gicd + Gicd.IIDR)))
    for n in range(u64(12)):
        say2(b"d.id", n, u64(peek(GIC.gicd + Gicd.ID + n * 4)))


@fn
def walk_senders() -> None:
    """GICD_SPENDSGIR sets, GICD_CPENDSGIR clears, a bit for each sender; ISPENDR0 shows it and cannot be stored to."""
    d = GIC.gicd
    present = u32((u64(1) << MACHINE.cpus) - 1) * 0x0101_0101
    for n in range(u64(4)):
        at = d + n * 4
        poke(at + SET_SENDERS, ALL)
        ones = peek(at + SET_SENDERS)
        pending = peek(d + Gicd.ISPENDR)
        poke(at + CLEAR_SENDERS, present & 0x00FF_00FF)
        say3(b"d.senders", u64(ones & present), u64(pending), u64(peek(at + SET_SENDERS) & present))
        say2(b"d.senders-pending", u64(peek(d + Gicd.ISPENDR)), u64(peek(d + Gicd.ICPENDR)))
        poke(at + CLEAR_SENDERS, ALL)
        say3(b"d.senders-none", u64(peek(at + SET_SENDERS)), u64(peek(at + CLEAR_SENDERS)), u64(peek(d + Gicd.ISPENDR)))


@fn
def walk_distributor() -> None:
    walk_one(b"d.ctlr", GIC.gicd + Gicd.CTLR)
    walk_identity()
    walk_range(b"d.reserved", Gicd.IIDR + 4, Gicd.IGROUPR)
    walk_plain(b"d.igroupr", Gicd.IGROUPR, 1)
    walk_pair(b"d.isenabler", Gicd.ISENABLER, Gicd.ICENABLER)
    walk_plain(b"d.ipriorityr", Gicd.IPRIORITYR, 8)
    walk_plain(b"d.itargetsr", Gicd.ITARGETSR, 8)
    walk_pair(b"d.ispendr-no-target", Gicd.ISPENDR, Gicd.ICPENDR)
    fill(Gicd.ITARGETSR, 8, FIRST_CPU)
    walk_pair(b"d.ispendr", Gicd.ISPENDR, Gicd.ICPENDR)
    walk_pair(b"d.isactiver", Gicd.ISACTIVER, Gicd.ICACTIVER)
    walk_plain(b"d.icfgr", Gicd.ICFGR, 2)
    walk_range(b"d.reserved", 0xD00, Gicd.SGIR)
    walk_range(b"d.reserved", Gicd.SGIR + 4, CLEAR_SENDERS)
    walk_range(b"d.reserved", 0xF30, Gicd.ID)
    walk_senders()


@fn
def walk_interface() -> None:
    c = GIC.gicc
    walk_one(b"c.ctlr", c + Gicc.CTLR)
    walk_one(b"c.pmr", c + Gicc.PMR)
    walk_one(b"c.bpr", c + Gicc.BPR)
    walk_one(b"c.abpr", c + 0x1C)
    say3(b"c.none", u64(peek(c + Gicc.IAR)), u64(peek(c + 0x20)), u64(peek(c + Gicc.RPR)))
    say2(b"c.none-pending", u64(peek(c + 0x18)), u64(peek(c + 0x28)))
    poke(c + Gicc.EOIR, 1023)
    poke(c + 0x24, 1023)
    poke(c + DIR, 1023)
    say3(b"c.write-only", u64(peek(c + Gicc.EOIR)), u64(peek(c + 0x24)), u64(peek(c + DIR)))
    say1(b"c.iidr", u64(peek(c + Gicc.IIDR)))
    FRAME.base = c
    walk_range(b"c.reserved", 0x2C, Gicc.APR0)
    walk_range(b"c.active-priorities", Gicc.APR0, 0xF0)
    walk_range(b"c.reserved", 0xF0, Gicc.IIDR)
    walk_range(b"c.reserved", 0x100, INTERFACE)
    walk_range(b"c.reserved", DIR + 4, DIR + INTERFACE)


@fn
def walk_registers_v2() -> None:
    """As the machine has left them."""
    FRAME.base = GIC.gicd
    FRAME.own = 1
    FRAME.end = (peek(GIC.gicd + Gicd.TYPER) & 0x1F) + 1
    walk_distributor()
    walk_interface()
    FRAME.base = GIC.gicd


@fn
def pattern(offset: u32, words: u32) -> None:
    """Something else in each register, of which every bit is kept where priorities have five."""
    for n in range(words):
        poke(FRAME.base + u64(offset + n * 4), (wrapping_mul(n, u32(0x0810_1808)) ^ 0xA050_F808) & 0xF8F8_F8F8)


@fn
def walk_sizes_v2() -> None:
    """Bytes where the architecture has them; then every size everywhere (4.1.4)."""
    FRAME.base = GIC.gicd
    pattern(Gicd.IPRIORITYR, 64)
    fill(Gicd.ITARGETSR, 8, FIRST_CPU)
    poke(GIC.gicd + SET_SENDERS, FIRST_CPU)
    walk_bytes(b"bytes.ipriorityr", Gicd.IPRIORITYR, Gicd.IPRIORITYR + LEAST)
    walk_bytes(b"bytes.itargetsr", Gicd.ITARGETSR, Gicd.ITARGETSR + LEAST)
    walk_bytes(b"bytes.senders", CLEAR_SENDERS, 0xF30)
    poke(GIC.gicd + CLEAR_SENDERS, ALL)
    walk_sizes(b"size.distributor", 0, 0x1000)
    FRAME.base = GIC.gicc
    walk_sizes(b"size.interface", 0, 2 * INTERFACE)
    FRAME.base = GIC.gicd
