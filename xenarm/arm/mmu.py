"""EL2 stage 1 after the boot code: RAM and devices at virtual address == machine address, never executable.

The image itself is left out of what is mapped as RAM: its text must have no writable alias. Tables come from a small pool of the image's own;
what the boot leaves of it becomes free memory.
"""

from freestanding import Array, Ptr, Slice, Struct, View, address_of, array, fn, is_aligned, linker_symbol, operation, place, truncate, u8, u16, u32, u64, usize, wrapping_add, zeroed

from xenarm.arm.instructions import data_sync_all, data_sync_inner, data_sync_inner_stores
from xenarm.arm.instructions import icache_invalidate_all_inner, instruction_sync, tlb_invalidate_el2
from xenarm.arm.hw import page_zero, read_ctr_el0
from xenarm.arm.image_map import image_entry_set, image_pages
from xenarm.arm.layout import BOOT_TABLES as BOOT_TABLE_COUNT
from xenarm.arm.layout import DATA, DEVICE, DEVICE_PAGES, ENTRIES, FIRST_PAGE_TABLES, ROOT_LEVEL, TABLE_PAGES, Stage1Entry
from xenarm.arm.reach import ram_at, ram_run
from xenarm.core.addresses import DEVICES_END, IMAGE_SPACE, IMAGE_SPACE_END, PAGE_SHIFT, PAGE_SIZE, HostPhys
from xenarm.core.spinlock import Spinlock

__all__ = [
    "cache_line",
    "clean_invalidate",
    "dcache_clean_invalidate",
    "icache_invalidate",
    "image_physical",
    "image_size",
    "image_start",
    "mmu_forget_boot_code",
    "mmu_init",
    "mmu_map_device",
    "mmu_map_ram",
    "mmu_map_small_device",
    "mmu_release",
    "pool_close",
    "pool_left",
]

MAPS_MEMORY = True

MOST_PAGES = 4  # of a device that is mapped behind the window
LAST_LEVEL = 3
VALID = int(Stage1Entry(VALID=True))
TABLE = int(Stage1Entry(VALID=True, TABLE=True))
PAGE_BIT = int(Stage1Entry(TABLE=True))
FRAME_MASK = int(Stage1Entry(FRAME=(1 << 36) - 1))
IMAGE_START = linker_symbol("__image_start")
IMAGE_END = linker_symbol("__image_end")
ROOT_TABLE = linker_symbol("root_table")
BOOT_TABLES = linker_symbol("boot_tables")
DEVICES = linker_symbol("__devices_start")
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
    devices: u32  # pages of the devices' addresses that are taken
    used: Array[u16] = array(u16, BOOT_TABLE_COUNT + TABLE_PAGES)  # of each table, from which entry on all are free


MMU = zeroed(Mmu)
POOL = place(array(Stage1Table, TABLE_PAGES), align=PAGE_SIZE, section=".bss.0pool")


@fn
def mmu_init(image: HostPhys) -> None:
    """Tell where the boot loader put the image; before any other function here."""
    MMU.image = u64(image)
    MMU.pool_size = TABLE_PAGES
    for table in range(BOOT_TABLE_COUNT):
        MMU.used[table] = ENTRIES
    MMU.used[FIRST_PAGE_TABLES] = truncate(u16, (u64(image) >> 21) & (ENTRIES - 1)) + 1
    MMU.used[FIRST_PAGE_TABLES + 1] = truncate(u16, (u64(image) >> PAGE_SHIFT) & (ENTRIES - 1)) + 1
    MMU.pool_used = u32(1) if ROOT_LEVEL == 0 and u64(image) >> 39 != u64(IMAGE_SPACE) >> 39 else u32(0)  # the boot code took it


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


@fn(inline=True)
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


@fn(inline=True)
def fill_free(free: Slice[u64], first: u64, step: u64) -> u64:
    """One entry after the other; gives the next descriptor."""
    value = first
    rest = free
    while len(rest) >= 8:
        for i in range(8):
            rest[i] = value
            value = wrapping_add(value, step)
        rest = rest[8:]
    for i in range(len(rest)):
        rest[i] = value
        value = wrapping_add(value, step)
    return value


@fn
def table_number(table: Stage1Table) -> u32:
    """Of a table that is not the root: the boot tables and the pool lie one behind the other."""
    return truncate(u32, (address_of(table) - usize(BOOT_TABLES)) >> PAGE_SHIFT)


@fn
def fill_run(table: Stage1Table, first: u64, descriptor: u64, size: u64, shift: u32) -> u64:
    """Write one entry after the other, as long as they are free and mapped whole; gives how much they map. The first one is and is."""
    number = table_number(table)
    used = u64(MMU.used[number])
    last = min(first + (size >> shift), u64(ENTRIES))
    step = u64(1) << shift
    value = descriptor
    checked = table.entries[first : max(min(used, last), first)]
    for i in range(len(checked)):
        if checked[i] & VALID != 0:
            return value - descriptor
        checked[i] = value
        value = wrapping_add(value, step)
    at = first + u64(len(checked))
    MMU.used[number] = truncate(u16, max(used, last))
    return fill_free(table.entries[at:last], value, step) - descriptor


@fn
def link(table: Stage1Table, level: u32, index: u64) -> u64:
    """A new table at a free entry; the entry."""
    entry = new_table() | TABLE
    table.entries[index] = entry
    if level > 0:  # the root is none of those that are numbered
        number = table_number(table)
        MMU.used[number] = max(MMU.used[number], truncate(u16, index) + 1)
    return entry


@fn
def map_one(address: u64, size: u64, attributes: u64) -> u64:
    """Identity-map with the largest entry that fits, and more of its kind in the same table, unless it is mapped already; gives how much that settles."""
    table = image_table(image_physical(usize(ROOT_TABLE)))
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
            entry = link(table, level, index)
        table = image_table(entry & FRAME_MASK)
        level += 1


@fn
def map_range(base: u64, size: u64, attributes: u64) -> None:
    """Identity-map whole pages. What is mapped already stays: a machine address never changes what it is."""
    first = base & ~u64(PAGE_SIZE - 1)
    last = (base + size + (PAGE_SIZE - 1)) & ~u64(PAGE_SIZE - 1)
    assert last <= DEVICES_END and (last <= IMAGE_SPACE or first >= IMAGE_SPACE_END), "a machine address that EL2 cannot map"
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
def mmu_map_small_device(base: HostPhys, size: u64) -> u64:
    """Map device registers, and tell where: few pages behind the window, which takes no table; else at their machine address. Boot only: not locked."""
    first = u64(base) & ~u64(PAGE_SIZE - 1)
    pages = (u64(base) - first + size + (PAGE_SIZE - 1)) // PAGE_SIZE
    if pages > u64(DEVICE_PAGES - MMU.devices) or pages > MOST_PAGES:
        mmu_map_device(base, size)
        return u64(base)
    at = usize(DEVICES) + usize(MMU.devices) * PAGE_SIZE
    for n in range(pages):
        image_entry_set(at + usize(n) * PAGE_SIZE, (first + n * PAGE_SIZE) | DEVICE | PAGE_BIT)
    MMU.devices += u32(pages)
    data_sync_inner_stores()
    instruction_sync()
    return u64(at) + (u64(base) - first)


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
def mmu_forget_boot_code() -> None:
    """The image's first page is no longer mapped at its machine address, where CPUs turn on the MMU. `mmu_release` of it follows."""
    boot = Ptr[u64](usize(BOOT_TABLES) + (FIRST_PAGE_TABLES + 1) * PAGE_SIZE).slice(ENTRIES)
    boot[(MMU.image >> PAGE_SHIFT) & (ENTRIES - 1)] = 0


@fn
def mmu_release(first: usize, end: usize, at: usize) -> None:
    """Whole pages of the image, mapped at `at`, that nobody uses any more, nor ever will, on any CPU: they become RAM at their machine address."""
    index = (at - usize(IMAGE_START)) >> PAGE_SHIFT
    image_pages()[index : index + ((end - first) >> PAGE_SHIFT)].fill(0)
    data_sync_inner_stores()
    tlb_invalidate_el2()
    data_sync_inner()
    map_range(image_physical(first), u64(end - first), DATA)


@fn
def cache_line() -> u64:
    """Bytes of the smallest data cache line (CTR_EL0.DminLine)."""
    return u64(4) << ((read_ctr_el0() >> 16) & 0xF)


CLEAN = "dc civac, {ret}\nadd {ret}, {ret}, {line}\n"
CLEAN32 = "mcr p15, 0, {ret:lo}, c7, c14, 1\nadd {ret:lo}, {ret:lo}, {line:lo}\n"


@operation(
    aarch64=f"mov {{ret}}, {{base}}\n1: {CLEAN * 8}cmp {{ret}}, {{end}}\nb.lo 1b",
    armv7=f"mov {{ret:lo}}, {{base:lo}}\n1: {CLEAN32 * 8}cmp {{ret:lo}}, {{end:lo}}\nblo 1b",
    clobbers=("memory", "cc"),
)
def clean_invalidate_eights(base: u64, end: u64, line: u64) -> u64:
    """The next one on eight lines at a time, at least once. The result means nothing."""
    return end


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
    start = base & ~(line - 1)
    end = base + size
    eights = start + ((end - start) & ~(line * 8 - 1))
    if eights > start:
        _ = clean_invalidate_eights(start, eights, line)
    if eights < end and size != 0:
        _ = clean_invalidate_lines(eights, end, line)


@fn
def dcache_clean_invalidate(base: HostPhys, size: u64) -> None:
    """Write a range back to memory and drop it from the caches, to the point of coherency."""
    line = cache_line()
    done = u64(0)
    while done < size:
        run = ram_run(u64(base) + done, size - done)
        clean_invalidate(u64(ram_at(u64(base) + done)), run, line)
        done += run
    data_sync_all()


@fn
def icache_invalidate() -> None:
    """Drop all instructions that any CPU's cache holds."""
    icache_invalidate_all_inner()
    data_sync_inner()
    instruction_sync()
