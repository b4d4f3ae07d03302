"""A GICv3's memory-mapped registers: distributor and redistributors (ARM IHI 0069, 12.9 to 12.11), each with every size of access."""

from freestanding import View, fn, u8, u32, u64, zeroed
from guests.runtime.gic import GIC, gic_redistributor
from guests.runtime.machine import MACHINE
from guests.runtime.registers import read_mpidr_el1
from guests.walk.access import store, load
from guests.walk.registers import (
    ALL,
    FRAME,
    pattern,
    peek,
    poke,
    walk_bytes,
    walk_identity,
    walk_one,
    walk_pair,
    walk_plain,
    walk_range,
    walk_reserved,
    walk_zeros,
)
from guests.walk.report import Answer, Run, run_add, run_end, say2, say3, section
from xenarm.gic.registers import Gicd
from xenarm.gic.registers3 import Gicd3, Gicr

__all__ = ["walk_registers_v3", "walk_sizes_v3"]

LEAST = 64  # interrupts that every implementation here has
PAGE = 0x1000
MODIFIER = 0xD00
NSACR = 0xE00
LONG = 3
PRIORITY_BITS = 0xF8F8_F8F8
ROUTE_BITS = 0xFF_FFFF
ONES = 0xFFFF_FFFF_FFFF_FFFF


# ---- what distributor and SGI_base share ------------------------------------------------------------------------------


@fn
def walk_words() -> None:
    """The registers that have something for each interrupt."""
    walk_plain(b"igroupr", Gicd.IGROUPR, 1)
    walk_pair(b"isenabler", Gicd.ISENABLER, Gicd.ICENABLER)
    walk_pair(b"ispendr", Gicd.ISPENDR, Gicd.ICPENDR)
    walk_pair(b"isactiver", Gicd.ISACTIVER, Gicd.ICACTIVER)
    walk_plain(b"ipriorityr", Gicd.IPRIORITYR, 8)
    walk_plain(b"itargetsr", Gicd.ITARGETSR, 8)
    walk_plain(b"icfgr", Gicd.ICFGR, 2)
    walk_plain(b"igrpmodr", MODIFIER, 1)
    walk_reserved(b"reserved", MODIFIER + 0x80, NSACR)
    walk_plain(b"nsacr", NSACR, 2)
    walk_reserved(b"no-sgir", 0xF00, PAGE)


# ---- distributor ------------------------------------------------------------------------------------------------------


@fn
def try_route(at: u64) -> Answer:
    """GICD_IROUTER<n> by eight bytes and by four."""
    before, _ = load(at, LONG)
    store(at, LONG, ONES)
    low = peek(at)
    high = peek(at + 4)
    store(at, LONG, 0)
    poke(at, 0x8001_0203)
    halves = peek(at)
    poke(at + 4, ALL)
    whole = peek(at + 4) ^ peek(at)
    store(at, LONG, 0)
    return Answer(low, high, halves, whole) if not before else Answer(ALL, ALL, ALL, ALL)


@fn
def walk_routes(part: View[u8], first: u32, end: u32) -> None:
    run = zeroed(Run)
    for n in range(first, end):
        run_add(b"irouter", part, run, n - first, end - first, try_route(GIC.gicd + u64(Gicd3.IROUTER + n * 8)))
    run_end(b"irouter", part, run)


@fn
def walk_distributor() -> None:
    section(b"distributor")
    d = GIC.gicd
    FRAME.base = d
    walk_one(b"ctlr", d + Gicd.CTLR)
    kind = peek(d + Gicd.TYPER)
    say2(b"typer", u64(kind & 0x1F), u64(kind >> 5))
    walk_identity(Gicd.IIDR, Gicd3.ID)
    walk_range(b"reserved", Gicd.IIDR + 4, Gicd.IGROUPR)
    walk_words()
    walk_reserved(b"reserved", PAGE, Gicd3.IROUTER)
    walk_routes(b"own", 0, 32)
    walk_routes(b"shared", 32, FRAME.end * 32)
    walk_routes(b"beyond", FRAME.end * 32, 1024)
    walk_reserved(b"reserved", Gicd3.IROUTER + 1024 * 8, Gicd3.ID)


# ---- redistributors ---------------------------------------------------------------------------------------------------


@fn
def walk_redistributor(mpidr: u64) -> None:
    section(b"redistributor")
    base = gic_redistributor(mpidr)
    FRAME.base = base
    FRAME.end = 1
    walk_one(b"ctlr", base + Gicr.CTLR)
    say2(b"typer", u64(peek(base + Gicr.TYPER)), u64(peek(base + Gicr.TYPER + 4)))
    _, kind = load(base + Gicr.TYPER, LONG)
    say2(b"typer", kind, mpidr & 0xFFFF)
    walk_one(b"waker", base + Gicr.WAKER)
    walk_identity(Gicr.IIDR, Gicr.ID)
    walk_reserved(b"reserved", Gicr.STATUSR, Gicr.WAKER)
    walk_reserved(b"reserved", Gicr.WAKER + 4, Gicr.ID)
    section(b"sgi-base")
    FRAME.base = base + Gicr.SGI_BASE
    walk_reserved(b"sgi-reserved", 0, Gicd.IGROUPR)
    walk_words()
    walk_reserved(b"sgi-reserved", PAGE, Gicr.SGI_BASE)


@fn
def walk_registers_v3() -> None:
    """As the machine has left them; of redistributors this CPU's and that of the last CPU, which is off."""
    FRAME.own = 1
    FRAME.end = (peek(GIC.gicd + Gicd.TYPER) & 0x1F) + 1
    walk_distributor()
    walk_redistributor(read_mpidr_el1() & 0xFF_FFFF)
    walk_redistributor(MACHINE.mpidr[MACHINE.cpus - 1])


# ---- sizes ------------------------------------------------------------------------------------------------------------


@fn
def walk_stores(name: View[u8], at: u64, mask: u32) -> None:
    """Ones stored by each size to a register that is zero: what is there then."""
    poke(at, 0)
    store(at, 0, ONES)
    bytes_ = peek(at) & mask
    poke(at, 0)
    store(at, 1, ONES)
    halves = peek(at) & mask
    poke(at, 0)
    store(at, LONG, ONES)
    longs = peek(at) & mask
    poke(at, 0)
    say3(name, u64(bytes_), u64(halves), u64(longs))


@fn
def prepare(base: u64, word: u32, end: u32) -> None:
    """No register of the words from `word` to `end` reads as zero."""
    FRAME.base = base
    for n in range(word, end):
        at = base + u64(n * 4)
        poke(at + Gicd.IGROUPR, ALL)
        poke(at + Gicd.ISENABLER, ALL)
        poke(at + Gicd.ISPENDR, ALL)
        poke(at + Gicd.ISACTIVER, ALL)
        poke(base + u64(Gicd.ICFGR + n * 8), ALL)
        poke(base + u64(Gicd.ICFGR + n * 8 + 4), ALL)
    pattern(Gicd.IPRIORITYR + word * 32, (end - word) * 8)


@fn
def undo(base: u64, word: u32, end: u32) -> None:
    for n in range(word, end):
        at = base + u64(n * 4)
        poke(at + Gicd.IGROUPR, 0)
        poke(at + Gicd.ICENABLER, ALL)
        poke(at + Gicd.ICPENDR, ALL)
        poke(at + Gicd.ICACTIVER, ALL)
        poke(base + u64(Gicd.ICFGR + n * 8), 0)
        poke(base + u64(Gicd.ICFGR + n * 8 + 4), 0)


@fn
def walk_all_stores(d: u64, sgi: u64) -> None:
    walk_stores(b"store-ctlr", d + Gicd.CTLR, ALL)
    walk_stores(b"store-igroupr", d + Gicd.IGROUPR + 4, ALL)
    walk_stores(b"store-ipriorityr", d + Gicd.IPRIORITYR + 32, PRIORITY_BITS)
    walk_stores(b"store-icfgr", d + Gicd.ICFGR + 8, ALL)
    walk_stores(b"store-irouter", d + u64(Gicd3.IROUTER + 40 * 8), ROUTE_BITS)
    walk_stores(b"store-own-igroupr", sgi + Gicd.IGROUPR, ALL)
    walk_stores(b"store-own-ipriorityr", sgi + Gicd.IPRIORITYR, PRIORITY_BITS)
    walk_stores(b"store-waker", sgi - Gicr.SGI_BASE + Gicr.WAKER, ALL)


@fn
def walk_redistributor_sizes(base: u64, sgi: u64) -> None:
    """Where GICR_TYPER is not zero, and what is this CPU's."""
    FRAME.base = base
    walk_zeros(b"size-redistributor", Gicr.TYPER, PAGE)
    walk_zeros(b"size-ids", 0xFF00, 0x1_0000)
    prepare(sgi, 0, 1)
    walk_zeros(b"size-sgi-base", 0, Gicd.ICFGR + 4)
    walk_zeros(b"size-sgi-base", Gicd.ICFGR + 8, PAGE)
    walk_bytes(b"bytes-own-ipriorityr", Gicd.IPRIORITYR, Gicd.IPRIORITYR + 32, PRIORITY_BITS)
    undo(sgi, 0, 1)


@fn
def walk_sizes_v3() -> None:
    """What a register does not take reads as zero and is ignored (12.1.3)."""
    section(b"sizes")
    d = GIC.gicd
    sgi = gic_redistributor(read_mpidr_el1() & 0xFF_FFFF) + Gicr.SGI_BASE
    prepare(d, 1, LEAST // 32)
    walk_zeros(b"size-distributor", 0, PAGE)
    walk_zeros(b"size-ids", 0xFF00, 0x1_0000)
    walk_bytes(b"bytes-ipriorityr", Gicd.IPRIORITYR + 32, Gicd.IPRIORITYR + LEAST, PRIORITY_BITS)
    undo(d, 1, LEAST // 32)
    store(d + u64(Gicd3.IROUTER + 40 * 8), LONG, 1)
    walk_zeros(b"size-irouter", Gicd3.IROUTER + 39 * 8, Gicd3.IROUTER + 42 * 8)
    store(d + u64(Gicd3.IROUTER + 40 * 8), LONG, 0)
    walk_redistributor_sizes(gic_redistributor(MACHINE.mpidr[MACHINE.cpus - 1]), sgi)
    walk_all_stores(d, sgi)
