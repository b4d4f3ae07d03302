"""A guest whose own tables have pages of 16 KiB and of 64 KiB, of each size that its CPU has: prints `granules <size> ok`, or what went wrong.

The runtime's tables (TTBR0_EL1, 4 KiB) stay. For each size TTBR1_EL1 gets tables that show all of memory in the upper half: RAM around the
image by pages, the rest by blocks. Memory, instructions and devices must be the same there as in the lower half. Last of all it reads where
nothing is, which ends it.
"""

import guests.runtime.head
import guests.runtime.interrupts  # noqa: F401
from freestanding import Array, Ptr, Struct, address_of, array, assembly, export, external, fn, operation, place, u8, u32, u64, usize, View, zeroed
from guests.runtime.console import console_init, printk
from guests.runtime.gic import GIC, gic_init
from guests.runtime.link import IMAGE_VIRT, LINKER_SCRIPT
from guests.runtime.machine import FDT, MACHINE, machine_init
from guests.runtime.psci import psci_init, psci_system_off
from xenarm.arm64.registers import Reader, Writer, read_aa64mmfr0, reader, writer
from xenarm.arm.instructions import data_sync_all, instruction_sync, mmio_read32, mmio_write32
from xenarm.core.result import Result
from xenarm.devicetree.reader import FdtError
from xenarm.gic.registers import Gicd

__all__ = ["LINKER_SCRIPT", "guest_main", "guest_secondary"]

MAPS_MEMORY = True

NOTHING_THERE = 0x0800_0000
ENTRIES = 8192  # of a table of 64 KiB; 16 KiB have a quarter of them
ALL_OF_MEMORY = 4 << 30  # that blocks show
SCRATCH = 32 * 1024  # words: four of the largest pages
ANSWER = 42

BLOCK = 1
TABLE = 3
PAGE = 3
ACCESS = 1 << 10
DEVICE = ACCESS | 3 << 53
NORMAL = ACCESS | 1 << 2 | 3 << 8
TCR_LOWER = 0xFFFF_FFFF_0000_FFFF & ~(1 << 23)  # what belongs to the lower half; not EPD1
TCR_UPPER = 1 << 24 | 1 << 26 | 3 << 28  # cached, inner shareable
T1SZ_SHIFT = 16
TG1_SHIFT = 30


class Granule(Struct, frozen=True):
    """A page size: TCR_EL1.TG1, and how many bits an address has with two levels of tables."""

    page_shift: u32
    tg1: u64
    va_bits: u32
    block_shift: u32


SIZE_16K = Granule(14, 1, 36, 25)
SIZE_64K = Granule(16, 3, 42, 29)


class Tables(Struct):
    """Levels 2 and 3, and words to try."""

    level2: Array[u64] = array(u64, ENTRIES)
    level3: Array[u64] = array(u64, ENTRIES)
    scratch: Array[u64] = array(u64, SCRATCH)


TABLES = place(zeroed(Tables), align=65536, section=".bss.granules")

read_tcr_el1: Reader = reader("tcr_el1")
write_tcr_el1: Writer = writer("tcr_el1")
write_ttbr1_el1: Writer = writer("ttbr1_el1")


@operation(aarch64="tlbi vmalle1", clobbers=("memory",))
def tlb_invalidate() -> None:
    return None


assembly(
    f"""
    .section .text.granule_answer, "ax"
    .global granule_answer
granule_answer:
    mov x0, #{ANSWER}
    ret
""",
    arch="aarch64",
)


@external("granule_answer")
def granule_answer() -> u64:
    return u64(ANSWER)


@operation(aarch64="blr {address}\nmov {ret}, x0", clobbers=("x0", "x30", "memory"))
def call(address: u64) -> u64:
    return u64(ANSWER)


@fn
def physical(address: usize) -> u64:
    """Of something in the image."""
    return MACHINE.image + u64(address) - IMAGE_VIRT


@fn
def upper(g: Granule, address: u64) -> u64:
    """Where the upper half shows a physical address."""
    return ~u64(0) << g.va_bits | address


@fn
def build(g: Granule) -> None:
    """Blocks of device memory, and pages of RAM around the image."""
    entries = u32(1) << (g.page_shift - 3)
    TABLES.level2.fill(0)
    for n in range(u32(u64(ALL_OF_MEMORY) >> g.block_shift)):
        TABLES.level2[n] = u64(n) << g.block_shift | DEVICE | BLOCK
    around = MACHINE.image >> g.block_shift
    TABLES.level2[around] = physical(address_of(TABLES.level3)) | TABLE
    for n in range(entries):
        TABLES.level3[n] = (around << g.block_shift) + (u64(n) << g.page_shift) | NORMAL | PAGE
    data_sync_all()


@fn
def turn_on(g: Granule) -> None:
    write_ttbr1_el1(physical(address_of(TABLES.level2)))
    write_tcr_el1(read_tcr_el1() & TCR_LOWER | TCR_UPPER | (64 - u64(g.va_bits)) << T1SZ_SHIFT | g.tg1 << TG1_SHIFT)
    instruction_sync()
    tlb_invalidate()
    data_sync_all()
    instruction_sync()


@fn
def memory_is_the_same(g: Granule) -> bool:
    """What one half stores the other loads, on every page that the words lie in."""
    above = Ptr[u64](usize(upper(g, physical(address_of(TABLES.scratch))))).slice(SCRATCH)
    for n in range(u32(SCRATCH)):
        TABLES.scratch[n] = u64(n) * 0x9E37_79B9 ^ u64(g.page_shift)
    for n in range(u32(SCRATCH)):
        if above[n] != u64(n) * 0x9E37_79B9 ^ u64(g.page_shift):
            return False
        above[n] = u64(n)
    for n in range(u32(SCRATCH)):
        if TABLES.scratch[n] != u64(n):
            return False
    return True


@fn
def devices_are_the_same(g: Granule) -> bool:
    """The distributor, which a hypervisor emulates: loads, and a store that the other half sees."""
    there = upper(g, GIC.gicd)
    if mmio_read32(there + Gicd.TYPER) != mmio_read32(GIC.gicd + Gicd.TYPER):
        return False
    mmio_write32(there + Gicd.ISENABLER + 4, 1 << 5)
    seen = mmio_read32(GIC.gicd + Gicd.ISENABLER + 4)
    mmio_write32(GIC.gicd + Gicd.ICENABLER + 4, 1 << 5)
    return seen & 1 << 5 != 0 and mmio_read32(there + Gicd.ISENABLER + 4) & 1 << 5 == 0


@fn
def outcome(g: Granule) -> View[u8]:
    if not memory_is_the_same(g):
        return b"BAD: memory differs"
    if call(upper(g, physical(address_of(granule_answer)))) != ANSWER:
        return b"BAD: instructions differ"
    if not devices_are_the_same(g):
        return b"BAD: the distributor differs"
    return b"ok"


@fn
def try_out(g: Granule, there: bool) -> None:
    size = u32(1) << g.page_shift
    if not there:
        printk(f"granules {size} not on this CPU")
        return
    build(g)
    turn_on(g)
    printk(f"granules {size} {outcome(g)}")


@fn
def try_all() -> None:
    """ID_AA64MMFR0_EL1.TGran16 and TGran64 (Arm ARM D19.2.64)."""
    features = read_aa64mmfr0()
    try_out(SIZE_16K, (features >> 20) & 0xF != 0)
    try_out(SIZE_64K, (features >> 24) & 0xF == 0)
    printk(f"granules end")
    mmio_read32(upper(SIZE_64K if (features >> 24) & 0xF == 0 else SIZE_16K, NOTHING_THERE))


@export("guest_main")
def guest_main(tree: u64, image: u64) -> None:
    """Entry of the first CPU. Does not return."""
    if machine_init(tree, image) == FdtError.NONE:
        psci_init(FDT)
        console_init(FDT)
        if gic_init(FDT) == Result.OK:
            try_all()
    psci_system_off()


@export("guest_secondary")
def guest_secondary(number: u64) -> None:
    """Nobody starts the others."""
