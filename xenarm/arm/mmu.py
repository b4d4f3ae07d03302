"""EL2 stage 1 after the boot code: RAM and devices at virtual address == machine address, never executable.

The image itself is left out of what is mapped as RAM: its text must have no writable alias. Tables come from a small pool of the image's own;
what the boot leaves of it becomes free memory.
"""

from freestanding import Array, Ptr, Slice, Struct, View, address_of, array, fn, is_aligned, linker_symbol, operation, place, u8, u32, u64, usize, wrapping_add, zeroed

from xenarm.arm.instructions import data_sync_all, data_sync_inner, data_sync_inner_stores
from xenarm.arm.instructions import icache_invalidate_all_inner, instruction_sync, tlb_invalidate_el2
from xenarm.arm.hw import page_zero, read_ctr_el0
from xenarm.arm.layout import DATA, DEVICE, ENTRIES, IMAGE_TABLE, IMAGE_TABLES, ROOT_LEVEL, TABLE_PAGES, VA_BITS, Stage1Entry
from xenarm.core.addresses import PAGE_SHIFT, PAGE_SIZE, HostPhys
from xenarm.core.spinlock import Spinlock

__all__ = [
    "cache_line",
    "clean_invalidate",
    "dcache_clean_invalidate",
    "icache_invalidate",
    "image_entry",
    "image_entry_set",
    "image_physical",
    "image_size",
    "image_start",
    "mmu_init",
    "mmu_map_device",
    "mmu_map_ram",
    "mmu_release",
    "pool_close",
    "pool_left",
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
POOL_END = linker_symbol("__pool_end")


class Stage1Table(Struct):
    """One page of descriptors."""

    entries: Array[u64] = array(u64, ENTRIES)


class Mmu(Struct):
    """Where the image lies in the machine, and how much of the pool is taken, and can be."""

    lock: Spinlock
    image: u64
    pool_used: u32
    pool_size: u32


MMU = zeroed(Mmu)
POOL = place(array(Stage1Table, TABLE_PAGES), align=PAGE_SIZE, section=".bss.0pool")


@fn
def mmu_init(image: HostPhys) -> None:
    """Tell where the boot loader put the image; before any other function here."""
    MMU.image = u64(image)
    MMU.pool_size = TABLE_PAGES


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
    """An empty table from the pool; none is ever given back."""
    assert MMU.pool_used < MMU.pool_size, "EL2's translation tables are full: raise CONFIG_EL2_TABLE_PAGES"
    table = POOL[MMU.pool_used]
    MMU.pool_used += 1
    page_zero(u64(address_of(table)))
    return image_physical(address_of(table))


@fn
def entry_fits(address: u64, size: u64, level: u32) -> bool:
    """Level 0 has no blocks with the 4 KiB granule."""
    span = u64(1) << level_shift(level)
    return level > 0 and size >= span and is_aligned(address, span)


@fn
def fill_run(table: Stage1Table, first: u64, descriptor: u64, size: u64, shift: u32) -> u64:
    """Write one entry after the other, as long as they are free and mapped whole; gives how much they map. The first one is and is."""
    run = table.entries[first : first + min(size >> shift, ENTRIES - first)]
    step = u64(1) << shift
    value = descriptor
    rest = run
    while len(rest) >= 4 and (rest[0] | rest[1] | rest[2] | rest[3]) & VALID == 0:
        for i in range(4):
            rest[i] = value
            value = wrapping_add(value, step)
        rest = rest[4:]
    for i in range(len(rest)):
        if rest[i] & VALID != 0:
            break
        rest[i] = value
        value = wrapping_add(value, step)
    return value - descriptor


@fn
def map_one(address: u64, size: u64, attributes: u64) -> u64:
    """Identity-map with the largest entry that fits, and more of its kind in the same table, unless it is mapped already; gives how much that settles."""
    table = image_table(image_physical(usize(BOOT_TABLES)))
    level = u32(ROOT_LEVEL)
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
def image_pages() -> Slice[u64]:
    """The level 3 tables of the image and its window."""
    return Ptr[u64](usize(BOOT_TABLES) + IMAGE_TABLE * PAGE_SIZE).slice(IMAGE_TABLES * ENTRIES)


@fn
def image_entry(virtual: usize) -> u64:
    """What maps an address in the image or its window."""
    return image_pages()[(virtual - usize(IMAGE_START)) >> PAGE_SHIFT]


@fn
def image_entry_set(virtual: usize, descriptor: u64) -> None:
    image_pages()[(virtual - usize(IMAGE_START)) >> PAGE_SHIFT] = descriptor


@fn
def pool_left() -> View[u8]:
    """The table pages that nobody has needed."""
    start = address_of(POOL) + usize(MMU.pool_used) * PAGE_SIZE
    return Ptr[u8](start).slice(usize(POOL_END) - start)


@fn
def pool_close() -> None:
    """No further table can be had."""
    MMU.pool_size = MMU.pool_used


@fn
def mmu_release(first: usize, end: usize, at: usize) -> None:
    """Whole pages of the image, mapped at `at`, that nobody uses any more, nor ever will, on any CPU: they become RAM at their machine address."""
    page = at
    while page < at + (end - first):
        image_entry_set(page, 0)
        page += PAGE_SIZE
    data_sync_inner_stores()
    tlb_invalidate_el2()
    data_sync_inner()
    map_range(image_physical(first), u64(end - first), DATA)


@fn
def cache_line() -> u64:
    """Bytes of the smallest data cache line (CTR_EL0.DminLine)."""
    return u64(4) << ((read_ctr_el0() >> 16) & 0xF)


@operation(
    aarch64="mov {ret}, {base}\n1: dc civac, {ret}\nadd {ret}, {ret}, {line}\ncmp {ret}, {end}\nb.lo 1b",
    armv7="mov {ret:lo}, {base:lo}\n1: mcr p15, 0, {ret:lo}, c7, c14, 1\nadd {ret:lo}, {ret:lo}, {line:lo}\ncmp {ret:lo}, {end:lo}\nblo 1b",
    clobbers=("memory", "cc"),
)
def clean_invalidate_lines(base: u64, end: u64, line: u64) -> u64:
    """DC CIVAC or DCCIMVAC on one line after the other, at least one. The result means nothing."""
    return end


@fn
def clean_invalidate(base: u64, size: u64, line: u64) -> None:
    """Every line of `line` bytes that has a byte of a range: the first one from its beginning (XSA-437)."""
    if size != 0:
        _ = clean_invalidate_lines(base & ~(line - 1), base + size, line)


@fn
def dcache_clean_invalidate(base: HostPhys, size: u64) -> None:
    """Write a range back to memory and drop it from the caches, to the point of coherency."""
    clean_invalidate(u64(base), size, cache_line())
    data_sync_all()


@fn
def icache_invalidate() -> None:
    """Drop all instructions that any CPU's cache holds."""
    icache_invalidate_all_inner()
    data_sync_inner()
    instruction_sync()
