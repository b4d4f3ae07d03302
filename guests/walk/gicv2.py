"""A GICv2's registers: the distributor's (ARM IHI 0048B, table 4-1) and the CPU interface's (table 4-2), each with every size of access."""

from freestanding import fn, u32, u64
from guests.runtime.gic import GIC
from guests.runtime.machine import MACHINE
from guests.walk.registers import ALL, FRAME, fill, pattern, peek, poke, walk_bytes, walk_identity, walk_one, walk_pair, walk_plain, walk_range, walk_sizes
from guests.walk.report import say1, say2, say3, section
from xenarm.gic.registers import Gicc, Gicd

__all__ = ["walk_registers_v2", "walk_sizes_v2"]

FIRST_CPU = 0x0101_0101
LEAST = 64  # interrupts that every implementation here has
CLEAR_SENDERS = 0xF10
SET_SENDERS = 0xF20
INTERFACE = 0x1000
DIR = 0x1000


@fn
def present() -> u32:
    """In each byte a bit for each CPU that there is."""
    return u32((u64(1) << MACHINE.cpus) - 1) * 0x0101_0101


@fn
def walk_senders() -> None:
    """GICD_SPENDSGIR sets, GICD_CPENDSGIR clears, a bit for each sender; ISPENDR0 shows it and cannot be stored to."""
    d = GIC.gicd
    there = present()
    for n in range(u64(4)):
        at = d + n * 4
        poke(at + SET_SENDERS, ALL)
        ones = peek(at + SET_SENDERS)
        pending = peek(d + Gicd.ISPENDR)
        poke(at + CLEAR_SENDERS, there & 0x00FF_00FF)
        say3(b"senders", u64(ones & there), u64(pending), u64(peek(at + SET_SENDERS) & there))
        say2(b"senders-pending", u64(peek(d + Gicd.ISPENDR)), u64(peek(d + Gicd.ICPENDR)))
        poke(at + CLEAR_SENDERS, ALL)
        say3(b"senders-none", u64(peek(at + SET_SENDERS)), u64(peek(at + CLEAR_SENDERS)), u64(peek(d + Gicd.ISPENDR)))


@fn
def walk_distributor() -> None:
    section(b"distributor")
    walk_one(b"ctlr", GIC.gicd + Gicd.CTLR)
    kind = peek(GIC.gicd + Gicd.TYPER)
    say2(b"typer", u64(kind & 0x1F), u64(kind >> 5))
    walk_identity(Gicd.IIDR, Gicd.ID)
    walk_range(b"reserved", Gicd.IIDR + 4, Gicd.IGROUPR)
    walk_plain(b"igroupr", Gicd.IGROUPR, 1)
    walk_pair(b"isenabler", Gicd.ISENABLER, Gicd.ICENABLER)
    walk_plain(b"ipriorityr", Gicd.IPRIORITYR, 8)
    walk_plain(b"itargetsr", Gicd.ITARGETSR, 8)
    walk_pair(b"ispendr-no-target", Gicd.ISPENDR, Gicd.ICPENDR)
    fill(Gicd.ITARGETSR, 8, FIRST_CPU)
    walk_pair(b"ispendr", Gicd.ISPENDR, Gicd.ICPENDR)
    walk_pair(b"isactiver", Gicd.ISACTIVER, Gicd.ICACTIVER)
    walk_plain(b"icfgr", Gicd.ICFGR, 2)
    walk_range(b"reserved", 0xD00, Gicd.SGIR)
    walk_range(b"reserved", Gicd.SGIR + 4, CLEAR_SENDERS)
    walk_range(b"reserved", 0xF30, Gicd.ID)
    walk_senders()


@fn
def walk_interface() -> None:
    section(b"interface")
    c = GIC.gicc
    walk_one(b"ctlr", c + Gicc.CTLR)
    walk_one(b"pmr", c + Gicc.PMR)
    walk_one(b"bpr", c + Gicc.BPR)
    walk_one(b"abpr", c + 0x1C)
    say3(b"none", u64(peek(c + Gicc.IAR)), u64(peek(c + 0x20)), u64(peek(c + Gicc.RPR)))
    say2(b"none-pending", u64(peek(c + 0x18)), u64(peek(c + 0x28)))
    poke(c + Gicc.EOIR, 1023)
    poke(c + 0x24, 1023)
    poke(c + DIR, 1023)
    say3(b"write-only", u64(peek(c + Gicc.EOIR)), u64(peek(c + 0x24)), u64(peek(c + DIR)))
    say1(b"iidr", u64(peek(c + Gicc.IIDR)))
    FRAME.base = c
    walk_range(b"reserved", 0x2C, Gicc.APR0)
    walk_range(b"active-priorities", Gicc.APR0, 0xF0)
    walk_range(b"reserved", 0xF0, Gicc.IIDR)
    walk_range(b"reserved", 0x100, INTERFACE)
    walk_range(b"reserved", DIR + 4, DIR + INTERFACE)


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
def walk_sizes_v2() -> None:
    """Bytes where the architecture has them; then every size everywhere (4.1.4)."""
    section(b"sizes")
    FRAME.base = GIC.gicd
    pattern(Gicd.IPRIORITYR, 64)
    fill(Gicd.ITARGETSR, 8, FIRST_CPU)
    poke(GIC.gicd + SET_SENDERS, FIRST_CPU)
    walk_bytes(b"bytes-ipriorityr", Gicd.IPRIORITYR, Gicd.IPRIORITYR + LEAST, ALL)
    walk_bytes(b"bytes-itargetsr", Gicd.ITARGETSR, Gicd.ITARGETSR + LEAST, present())
    walk_bytes(b"bytes-senders", CLEAR_SENDERS, 0xF30, present())
    walk_sizes(b"size-distributor", 0, 0x1000)
    for n in range(u64(4)):
        poke(GIC.gicd + CLEAR_SENDERS + n * 4, ALL)  # QEMU makes an SGI pending that a zero was stored for to GICD_SPENDSGIR, and has no sender to show
    FRAME.base = GIC.gicc
    walk_sizes(b"size-interface", 0, 2 * INTERFACE)
    FRAME.base = GIC.gicd
