"""EL2 stage 1 after the boot code: RAM and devices at virtual address == machine address, never executable.

The image itself is left out of what is mapped as RAM: its text must have no writable alias. Tables come from a small pool of the image's own.
"""

from freestanding import Array, Ptr, Struct, address_of, array, fn, is_aligned, linker_symbol, place, u32, u64, usize, wrapping_add, zeroed

from xenarm.arm64.instructions import data_sync_all, data_sync_inner, data_sync_inner_stores, dcache_clean_invalidate_va
from xenarm.arm64.instructions import icache_invalidate_all_inner, instruction_sync, tlb_invalidate_el2
from xenarm.arm64.layout import DATA, DEVICE, ENTRIES, TABLE_PAGES, VA_BITS, Stage1Entry
from xenarm.arm64.registers import read_ctr_el0
from xenarm.core.addresses import PAGE_SHIFT, PAGE_SIZE, HostPhys
from xenarm.core.domain import SLOTS, SLOT_COUNT
from xenarm.core.spinlock import Spinlock

__all__ = [
    "cache_line",
    "dcache_clean_invalidate",
    "icache_invalidate",
    "image_physical",
    "image_size",
    "image_start",
    "mmu_guard_stacks",
    "mmu_init",
    "mmu_map_device",
    "mmu_map_ram",
]

MAPS_MEMORY = True

LAST_LEVEL = 3
VALID = int(Stage1Entry(VALID=True))
TABLE = int(Stage1Entry(VALID=True, TABLE=True))
PAGE_BIT = int(Stage1Entry(TABLE=True))
FRAME_MASK = int(Stage1Entry(FRAME=(1 << 36) - 1))
IMAGE_START = linker_symbol("__image_start")
IMAGE_END = linker_symbol("__image_end")
BOOT_TABLES = linker_symbol("boot_tables")


class Stage1Table(Struct):
    """One page of descriptors."""

    entries: Array[u64] = array(u64, ENTRIES)


class Mmu(Struct):
    """Where the image lies in the machine, and how much of the pool is taken."""

    lock: Spinlock
    image: u64
    pool_used: u32


MMU = zeroed(Mmu)
POOL = place(array(Stage1Table, TABLE_PAGES), align=PAGE_SIZE, section=".bss.pool")


@fn
def mmu_init(image: HostPhys) -> None:
    """Tell where the boot loader put the image; before any other function here."""
    MMU.image = u64(image)


@fn
def image_start() -> HostPhys:
    return HostPhys(MMU.image)


@fn
def image_size() -> u64:
    """Bytes that the image takes in memory, its bss and stacks included."""
    return u64(usize(IMAGE_END) - usize(IMAGE_START))


@fn
def image_physical(virtual: usize) -> u64:
    """The machine address of something in the image."""
    return u64(virtual - usize(IMAGE_START)) + MMU.image


@fn
def image_table(physical: u64) -> Stage1Table:
    """A table by the address that its parent's descriptor holds: all of them lie in the image."""
    return Ptr[Stage1Table](usize(physical - MMU.image) + usize(IMAGE_START)).ref()


@fn
def level_shift(level: u32) -> u32:
    return PAGE_SHIFT + (LAST_LEVEL - level) * 9


@fn
def new_table() -> u64:
    """An empty table from the pool, which is zeroed bss; none is ever given back."""
    assert MMU.pool_used < TABLE_PAGES, "EL2's translation tables are full: raise CONFIG_EL2_TABLE_PAGES"
    table = POOL[MMU.pool_used]
    MMU.pool_used += 1
    return image_physical(address_of(table))


@fn
def entry_fits(address: u64, size: u64, level: u32) -> bool:
    """Level 0 has no blocks with the 4 KiB granule."""
    span = u64(1) << level_shift(level)
    return level > 0 and size >= span and is_aligned(address, span)


@fn
def fill_run(table: Stage1Table, first: u64, descriptor: u64, size: u64, shift: u32) -> u64:
    """Write one entry after the other, as long as they are free and mapped whole; gives how much they map. The first one is and is."""
    value = descriptor
    for i in range(first, first + min(size >> shift, ENTRIES - first)):
        if table.entries[i] & VALID != 0:
            break
        table.entries[i] = value
        value = wrapping_add(value, u64(1) << shift)
    return value - descriptor


@fn
def map_one(address: u64, size: u64, attributes: u64) -> u64:
    """Identity-map with the largest entry that fits, and more of its kind in the same table, unless it is mapped already; gives how much that settles."""
    table = image_table(image_physical(usize(BOOT_TABLES)))
    level = u32(0)
    while True:
        index = (address >> level_shift(level)) & (ENTRIES - 1)
        entry = table.entries[index]
        span = u64(1) << level_shift(level)
        has_table = level < LAST_LEVEL and entry & TABLE == TABLE
        if entry & VALID != 0 and not has_table:
            return span - (address & (span - 1))
        if entry_fits(address, size, level) and not has_table:
            page = PAGE_BIT if level == LAST_LEVEL else u64(0)
            return fill_run(table, index, address | attributes | page, size, level_shift(level))
        if not has_table:
            entry = new_table() | TABLE
            table.entries[index] = entry
        table = image_table(entry & FRAME_MASK)
        level += 1


@fn
def map_range(base: u64, size: u64, attributes: u64) -> None:
    """Identity-map whole pages. What is mapped already stays: a machine address never changes what it is."""
    first = base & ~u64(PAGE_SIZE - 1)
    last = (base + size + (PAGE_SIZE - 1)) & ~u64(PAGE_SIZE - 1)
    assert last <= u64(1) << VA_BITS, "a machine address beyond what EL2 maps"
    with MMU.lock:
        while first < last:
            first += map_one(first, last - first, attributes)
        data_sync_inner_stores()
        instruction_sync()


@fn
def mmu_map_ram(base: HostPhys, size: u64) -> None:
    """Map memory at its machine address: write-back, readable, writable, never executable. The image is left out."""
    start = u64(base)
    end = start + size
    hole = MMU.image
    hole_end = hole + image_size()
    if end <= hole or start >= hole_end:
        map_range(start, size, DATA)
        return
    if start < hole:
        map_range(start, hole - start, DATA)
    if end > hole_end:
        map_range(hole_end, end - hole_end, DATA)


@fn
def mmu_map_device(base: HostPhys, size: u64) -> None:
    """Map device registers at their machine address: Device-nGnRE."""
    map_range(u64(base), size, DEVICE)


@fn
def mmu_guard_stacks() -> None:
    """Take away the page below each stack, so that an overflow faults instead of writing elsewhere."""
    for n in range(SLOT_COUNT):
        guard = address_of(SLOTS[n].guard)
        unmap_image_page(u64(guard - usize(IMAGE_START)))
    data_sync_inner_stores()
    tlb_invalidate_el2()
    data_sync_inner()
    instruction_sync()


@fn
def unmap_image_page(offset: u64) -> None:
    """The image's level 3 table is the fourth of the boot tables."""
    table = Ptr[Stage1Table](usize(BOOT_TABLES) + 3 * PAGE_SIZE).ref()
    table.entries[offset >> PAGE_SHIFT] = 0


@fn
def cache_line() -> u64:
    """Bytes of the smallest data cache line (CTR_EL0.DminLine)."""
    return u64(4) << ((read_ctr_el0() >> 16) & 0xF)


@fn
def dcache_clean_invalidate(base: HostPhys, size: u64) -> None:
    """Write a range back to memory and drop it from the caches, to the point of coherency."""
    line = cache_line()
    address = u64(base) & ~(line - 1)
    end = u64(base) + size
    while address < end:
        dcache_clean_invalidate_va(address)
        address += line
    data_sync_all()


@fn
def icache_invalidate() -> None:
    """Drop all instructions that any CPU's cache holds."""
    icache_invalidate_all_inner()
    data_sync_inner()
    instruction_sync()
