"""Stage-2 translation tables (VMSAv8-64 with the 4 KiB granule, and the same descriptors of Armv7's LPAE): map, unmap, translate.

A live entry is never changed into another live one: it is made invalid, the TLBs are cleaned, then the new one is written
(break-before-make, Arm ARM D8.14.1). Tables come from a pool of the domain's own, which never grows: nothing that one domain does takes memory from another.
"""

from freestanding import Array, Bits, IntEnum, Ptr, Struct, address_of, array, bits, fn, is_aligned, u8, u16, u32, u64, usize

from xenarm.abi.layout import GUEST_RAM1_BASE
from xenarm.arm.instructions import data_sync_inner, data_sync_inner_stores, data_sync_local, instruction_sync
from xenarm.arm.instructions import tlb_invalidate_all_guests, tlb_invalidate_guest, tlb_invalidate_guest_ipa, tlb_invalidate_guest_stage1
from xenarm.arm.hw import page_zero, read_vttbr_el2, stage2_control, write_vtcr_el2, write_vttbr_el2
from xenarm.core.addresses import PAGE_SHIFT, PAGE_SIZE, GuestPhys, HostPhys
from xenarm.core.memory import pages_alloc, pages_free
from xenarm.core.result import Result
from xenarm.p2m.state import P2m, Vmid

__all__ = [
    "IPA_BITS",
    "MemoryKind",
    "ROOT_PAGES",
    "Stage2Entry",
    "Vmid",
    "p2m_activate",
    "p2m_clear",
    "p2m_discard",
    "p2m_empty",
    "p2m_forget_stage1",
    "p2m_init",
    "p2m_limit",
    "p2m_map",
    "p2m_maps",
    "p2m_root_pages",
    "p2m_tables_for",
    "p2m_translate",
    "p2m_unmap",
    "stage2_choose",
    "stage2_enable",
]

MAPS_MEMORY = True

IPA_BITS = 40
ENTRIES = 512
ROOT_PAGES = 2  # level 1, two tables one after the other: 1024 GiB of guest-physical space (D8.2.3, concatenated tables)
SMALL_IPA_BITS = 39  # with one table, for machines whose memory fits there
SMALL_MEMORY = (1 << SMALL_IPA_BITS) - int(GUEST_RAM1_BASE)
ROOT_LEVEL = 1
LAST_LEVEL = 3
VTTBR_VMID_SHIFT = 48


class MemoryKind(IntEnum, type=u8):
    """What a mapping is for; it decides memory type and permissions."""

    RAM = 0  # normal write-back, read, write, execute
    DEVICE = 1  # Device-nGnRE, read, write, never execute
    ROM = 2  # normal write-back, read, execute
    SHARED = 3  # normal write-back, read, write, never execute


class Stage2Entry(Bits, type=u64):
    """A stage-2 descriptor (D8.3.1, D8.3.2)."""

    VALID: bool = bits(0)
    TABLE: bool = bits(1)  # in a level 3 entry: page
    MEMATTR: u32 = bits(5, 2)
    S2AP: u32 = bits(7, 6)
    SH: u32 = bits(9, 8)
    AF: bool = bits(10)
    FRAME: u64 = bits(47, 12)
    XN: bool = bits(54)


class Stage2(Struct):
    """How much guest-physical space every domain has, and the pages of a root for it."""

    bits: u64
    root_pages: u64


STAGE2 = Stage2(bits=IPA_BITS, root_pages=ROOT_PAGES)


class Stage2Table(Struct):
    """One page of descriptors."""

    entries: Array[u64] = array(u64, ENTRIES)


RAM_ATTRIBUTES = int(Stage2Entry(VALID=True, MEMATTR=0b1111, S2AP=0b11, SH=0b11, AF=True))
DEVICE_ATTRIBUTES = int(Stage2Entry(VALID=True, MEMATTR=0b0001, S2AP=0b11, SH=0b10, AF=True, XN=True))
ROM_ATTRIBUTES = int(Stage2Entry(VALID=True, MEMATTR=0b1111, S2AP=0b01, SH=0b11, AF=True))
SHARED_ATTRIBUTES = int(Stage2Entry(VALID=True, MEMATTR=0b1111, S2AP=0b11, SH=0b11, AF=True, XN=True))
VALID = int(Stage2Entry(VALID=True))
TABLE = int(Stage2Entry(TABLE=True))
FRAME_MASK = int(Stage2Entry(FRAME=(1 << 36) - 1))


@fn(inline=True)
def level_shift(level: u32) -> u32:
    """log2 of what one entry of that level maps: 30, 21, 12 for levels 1, 2, 3."""
    return PAGE_SHIFT + (LAST_LEVEL - level) * 9


@fn
def table_at(base: u64) -> Stage2Table:
    return Ptr[Stage2Table](usize(base)).ref()


@fn
def root_table(p: P2m, ipa: u64) -> Stage2Table:
    return table_at(u64(p.root) + ((ipa >> 39) & 1) * PAGE_SIZE)


@fn
def entry_index(ipa: u64, level: u32) -> u64:
    return (ipa >> level_shift(level)) & (ENTRIES - 1)


@fn
def is_table(entry: u64, level: u32) -> bool:
    return level < LAST_LEVEL and entry & (VALID | TABLE) == VALID | TABLE


@fn
def leaf(pa: u64, attributes: u64, level: u32) -> u64:
    """A block or page descriptor; in level 3 the table bit says page."""
    return pa | attributes | (TABLE if level == LAST_LEVEL else u64(0))


@fn
def attributes_of(kind: MemoryKind) -> u64:
    match kind:
        case MemoryKind.RAM:
            return RAM_ATTRIBUTES
        case MemoryKind.DEVICE:
            return DEVICE_ATTRIBUTES
        case MemoryKind.ROM:
            return ROM_ATTRIBUTES
        case MemoryKind.SHARED:
            return SHARED_ATTRIBUTES


@fn
def stage2_choose(memory_end: u64) -> None:
    """Once, before anything else here: `memory_end` is where the machine's memory ends, so that no domain has more, nor directly mapped memory beyond."""
    if memory_end <= SMALL_MEMORY:
        STAGE2.bits = SMALL_IPA_BITS
        STAGE2.root_pages = 1


@fn
def p2m_limit() -> u64:
    """Where guest-physical addresses end."""
    return u64(1) << STAGE2.bits


@fn
def p2m_root_pages() -> u64:
    return STAGE2.root_pages


@fn
def stage2_enable() -> None:
    """Set VTCR_EL2 on this CPU: the size of guest-physical addresses, the CPU's own physical one. What the TLBs hold from before goes."""
    write_vtcr_el2(stage2_control(STAGE2.bits))
    instruction_sync()
    tlb_invalidate_all_guests()
    data_sync_local()
    instruction_sync()


@fn
def tables_at(ipa: u64, pa: u64, size: u64, level: u32) -> u64:
    """How many entries of a level stand for a table, not for a block, where a range is mapped."""
    shift = level_shift(level)
    inside = (u64(1) << shift) - 1
    touched = ((ipa + size - 1) >> shift) - (ipa >> shift) + 1
    if (ipa ^ pa) & inside != 0 or touched == 1:
        return u64(0) if (ipa | pa | size) & inside == 0 else touched
    head = u64(1) if ipa & inside != 0 else u64(0)
    return head + 1 if (ipa + size) & inside != 0 else head


@fn
def p2m_tables_for(ipa: u64, pa: u64, size: u64) -> u64:
    """Tables below the root that mapping a range takes, where no other range shares them."""
    if size == 0:
        return 0
    return tables_at(ipa, pa, size, ROOT_LEVEL) + tables_at(ipa, pa, size, ROOT_LEVEL + 1)


@fn
def p2m_init(p: P2m, vmid: Vmid, pages: u64) -> Result:
    """Give a domain empty tables and a pool of so many pages for them, the root's among them.

    NO_MEMORY: there are not so many adjacent free pages. INVALID: VMID 0, or a pool smaller than the root.
    """
    if u16(vmid) == 0 or u16(vmid) > 0xFF or pages < STAGE2.root_pages:
        return Result.INVALID
    root = pages_alloc(pages, STAGE2.root_pages * PAGE_SIZE)
    if u64(root) == 0:
        return Result.NO_MEMORY
    for i in range(STAGE2.root_pages):
        clear_table(table_at(u64(root) + i * PAGE_SIZE))
    p.root = root
    p.vmid = vmid
    p.vttbr = u64(root) | u64(u16(vmid)) << VTTBR_VMID_SHIFT
    p.table_pages = STAGE2.root_pages
    p.pool_pages = pages
    data_sync_inner_stores()
    return Result.OK


@fn
def clear_table(table: Stage2Table) -> None:
    page_zero(u64(address_of(table)))


@fn
def take_table(p: P2m) -> u64:
    """An empty table out of the pool; 0 when it is used up."""
    if p.table_pages == p.pool_pages:
        return 0
    page = u64(p.root) + p.table_pages * PAGE_SIZE
    p.table_pages += 1
    clear_table(table_at(page))
    return page


@fn
def p2m_activate(p: P2m) -> None:
    """Make this CPU translate its guest's accesses by these tables."""
    write_vttbr_el2(p.vttbr)
    instruction_sync()


@fn
def flush_ipa(p: P2m, ipa: u64) -> None:
    """Forget what the TLBs hold of one guest-physical address, and every stage-1 result that went through it (D8.14.5)."""
    before = read_vttbr_el2()
    write_vttbr_el2(p.vttbr)
    instruction_sync()
    data_sync_inner_stores()
    tlb_invalidate_guest_ipa(ipa >> PAGE_SHIFT)
    data_sync_inner()
    tlb_invalidate_guest_stage1()
    data_sync_inner()
    write_vttbr_el2(before)
    instruction_sync()


@fn
def replace_entry(p: P2m, table: Stage2Table, index: u64, ipa: u64, value: u64) -> None:
    """Break before make; an entry that was invalid cannot be in a TLB and is simply written."""
    if table.entries[index] & VALID != 0:
        table.entries[index] = 0
        flush_ipa(p, ipa)
    table.entries[index] = value


@fn
def split_block(p: P2m, table: Stage2Table, index: u64, ipa: u64, level: u32) -> Result:
    """Put a table in an entry's place: of the same mapping in smaller pieces, or empty where nothing was mapped."""
    page = take_table(p)
    if page == 0:
        return Result.NO_MEMORY
    old = table.entries[index]
    lower = table_at(page)
    step = u64(1) << level_shift(level + 1)
    if old & VALID != 0:
        for i in range(ENTRIES):
            piece = (old & FRAME_MASK) + u64(i) * step
            lower.entries[i] = leaf(piece, old & ~u64(FRAME_MASK | TABLE), level + 1)
    data_sync_inner_stores()
    replace_entry(p, table, index, ipa, page | VALID | TABLE)
    return Result.OK


@fn
def fits_entry(ipa: u64, pa: u64, size: u64, level: u32) -> bool:
    span = u64(1) << level_shift(level)
    return size >= span and is_aligned(ipa | pa, span)


@fn
def fill_run(table: Stage2Table, first: u64, descriptor: u64, size: u64, shift: u32) -> u64:
    """Go on behind an entry with more of its kind, as long as they are free and mapped whole; gives how much is mapped with the first one."""
    run = table.entries[first + 1 : first + min(size >> shift, ENTRIES - first)]
    value = descriptor
    for i in range(len(run)):
        if run[i] & VALID != 0:
            break
        value += u64(1) << shift
        run[i] = value
    return value - descriptor + (u64(1) << shift)


@fn
def map_one(p: P2m, ipa: u64, pa: u64, size: u64, attributes: u64) -> tuple[Result, u64]:
    """Write the largest entry that fits at `ipa`; gives how much it maps. A table that is already there is kept and gone into."""
    table = root_table(p, ipa)
    level = u32(ROOT_LEVEL)
    while True:
        index = entry_index(ipa, level)
        entry = table.entries[index]
        if fits_entry(ipa, pa, size, level) and not is_table(entry, level):
            replace_entry(p, table, index, ipa, leaf(pa, attributes, level))
            return Result.OK, fill_run(table, index, leaf(pa, attributes, level), size, level_shift(level))
        if not is_table(entry, level):
            result = split_block(p, table, index, ipa, level)
            if result != Result.OK:
                return result, 0
        table = table_at(table.entries[index] & FRAME_MASK)
        level += 1


@fn
def range_is_sound(ipa: u64, size: u64) -> bool:
    limit = p2m_limit()
    return is_aligned(ipa | size, PAGE_SIZE) and ipa < limit and size <= limit - ipa


@fn
def p2m_map(p: P2m, ipa: GuestPhys, pa: HostPhys, size: u64, kind: MemoryKind) -> Result:
    """Map `size` bytes; what was mapped there before is replaced. Picks 1 GiB, 2 MiB or 4 KiB entries.

    INVALID: not page-aligned, or beyond the guest-physical space. NO_MEMORY: the domain's pool of tables is used up; the part before it stays mapped.
    """
    if not range_is_sound(u64(ipa), size) or not is_aligned(u64(pa), PAGE_SIZE):
        return Result.INVALID
    attributes = attributes_of(kind)
    done = u64(0)
    with p.lock:
        while done < size:
            result, step = map_one(p, u64(ipa) + done, u64(pa) + done, size - done, attributes)
            if result != Result.OK:
                return result
            done += step
        data_sync_inner_stores()
        instruction_sync()
    return Result.OK


@fn
def unmap_one(p: P2m, ipa: u64, size: u64) -> tuple[Result, u64]:
    """Clear the entry that maps `ipa`, split first where it maps more than is to go; gives how much was cleared or found empty."""
    table = root_table(p, ipa)
    level = u32(ROOT_LEVEL)
    while True:
        index = entry_index(ipa, level)
        entry = table.entries[index]
        span = u64(1) << level_shift(level)
        if entry & VALID == 0:
            return Result.OK, span - (ipa & (span - 1))
        if not is_table(entry, level):
            if fits_entry(ipa, 0, size, level):
                replace_entry(p, table, index, ipa, 0)
                return Result.OK, span
            result = split_block(p, table, index, ipa, level)
            if result != Result.OK:
                return result, 0
        table = table_at(table.entries[index] & FRAME_MASK)
        level += 1


@fn
def p2m_unmap(p: P2m, ipa: GuestPhys, size: u64) -> Result:
    """Take a range away from the guest; its tables stay for later. INVALID and NO_MEMORY as for `p2m_map`."""
    if not range_is_sound(u64(ipa), size):
        return Result.INVALID
    done = u64(0)
    with p.lock:
        while done < size:
            result, step = unmap_one(p, u64(ipa) + done, size - done)
            if result != Result.OK:
                return result
            done += min(step, size - done)
        data_sync_inner()
    return Result.OK


@fn
def p2m_empty(p: P2m) -> None:
    """Take everything away from a guest that runs nowhere. Its pool is unused again but for the root, which CPUs still point at."""
    with p.lock:
        for k in range(STAGE2.root_pages):
            root = table_at(u64(p.root) + k * PAGE_SIZE)
            for i in range(ENTRIES):
                if root.entries[i] & VALID != 0:
                    root.entries[i] = 0
                    forget_guest(p)
        p.table_pages = STAGE2.root_pages


@fn
def p2m_clear(p: P2m) -> None:
    """The same, and give back the pool but the root."""
    p2m_empty(p)
    rest = p.pool_pages - STAGE2.root_pages
    p.pool_pages = STAGE2.root_pages
    if rest > 0:
        pages_free(HostPhys(u64(p.root) + STAGE2.root_pages * PAGE_SIZE), rest)


@fn
def p2m_discard(p: P2m) -> None:
    """Give back all tables of a guest that never ran."""
    if u64(p.root) != 0:
        p2m_clear(p)
        pages_free(p.root, STAGE2.root_pages)
        p.root = HostPhys(0)
        p.table_pages = 0
        p.pool_pages = 0


@fn
def forget_guest(p: P2m) -> None:
    """Forget what the TLBs hold of a guest, both stages."""
    before = read_vttbr_el2()
    write_vttbr_el2(p.vttbr)
    instruction_sync()
    data_sync_inner_stores()
    tlb_invalidate_guest()
    data_sync_inner()
    write_vttbr_el2(before)
    instruction_sync()


@fn
def p2m_forget_stage1(p: P2m) -> None:
    """A guest begins anew: nothing of its former life may be in the TLBs."""
    forget_guest(p)


@fn
def p2m_translate(p: P2m, ipa: GuestPhys) -> tuple[Result, HostPhys]:
    """Where a guest-physical address lies. NOT_FOUND when nothing is mapped there. Reads without the lock: entries are single words."""
    address = u64(ipa)
    if address >= p2m_limit():
        return Result.NOT_FOUND, HostPhys(0)
    table = root_table(p, address)
    level = u32(ROOT_LEVEL)
    while True:
        entry = table.entries[entry_index(address, level)]
        if entry & VALID == 0:
            return Result.NOT_FOUND, HostPhys(0)
        if not is_table(entry, level):
            span = u64(1) << level_shift(level)
            return Result.OK, HostPhys((entry & FRAME_MASK & ~(span - 1)) | (address & (span - 1)))
        table = table_at(entry & FRAME_MASK)
        level += 1


@fn
def p2m_maps(p: P2m, ipa: GuestPhys) -> bool:
    """Whether something is mapped there, once whoever changes the tables has finished: an entry is invalid while it is exchanged."""
    with p.lock:
        result, _ = p2m_translate(p, ipa)
        return result == Result.OK
