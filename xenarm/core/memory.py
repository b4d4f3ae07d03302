"""The machine's memory: banks less everything that is in use, overlaps found and named, and the page allocator.

Memory is handed out as it is: nothing is cleared that nobody uses, except a page of tables by `page_alloc`.
Lock order: `MEMORY.lock` is a leaf.
"""

from freestanding import Array, IntEnum, Ptr, Slice, Struct, View, array, fn, truncate, u8, u16, u32, u64, usize, zeroed
from xenarm.arch import mmu_map_ram, page_zero, window_pages_from
from xenarm.config import CONFIG
from xenarm.core.addresses import DIRECT_END, IMAGE_SPACE, IMAGE_SPACE_END, KIB, MACHINE_END, MIB, PAGE_SIZE, HostPhys
from xenarm.core.log import log_error, log_warning, printk
from xenarm.core.result import Result
from xenarm.core.spinlock import Spinlock
from xenarm.core.static_memory import shared_id, shared_nodes, shared_place, static_memory
from xenarm.devicetree.reader import NO_NODE, ROOT, Fdt, Node, fdt_children, fdt_chosen, fdt_cpus, fdt_initial, fdt_name, fdt_property, fdt_reserve_entry, fdt_reserved_memory
from xenarm.soc.hip04 import hip04_wrapper
from xenarm.soc.spin_table import spin_release, spins
from xenarm.devicetree.values import Range, fdt_compatible, fdt_path, fdt_raw_reg, list_contains, name_matches

__all__ = [
    "MEMORY",
    "Claim",
    "ClaimKind",
    "claim_text",
    "is_boot_module",
    "memory_bytes",
    "memory_conflict",
    "memory_end",
    "memory_free",
    "memory_holds",
    "memory_init",
    "memory_reaches",
    "memory_take",
    "page_alloc",
    "page_free",
    "pages_alloc",
    "pages_free",
    "shared_conflict",
]

MAPS_MEMORY = True

MOST_BANKS = 32
MOST_RANGES = 96
MOST_CLAIMS = 64 + CONFIG.MAX_MODULES
MOST_REG_ENTRIES = 32  # of one node; a guard against absurd trees
SMALL = 2 * MIB  # smaller requests come from the top, so that they do not break up what superpages want


class ClaimKind(IntEnum, type=u8):
    """Who says that a piece of memory is taken."""

    IMAGE = 0  # the hypervisor, where the boot loader put it
    DTB = 1  # the device tree itself
    MEMRESERVE = 2  # /memreserve/, the blob's memory reservation block
    RESERVED = 3  # a child of /reserved-memory
    MODULE = 4  # a multiboot,module
    STATIC = 5  # xen,static-mem of a domain
    SHARED = 6  # xen,shared-mem with a place in the machine, claimed by the first node that names it


class Claim(Struct):
    """Memory that is taken, and by whom: a node and the entry of its `reg`, or of the reservation block."""

    base: u64
    size: u64
    node: Node
    entry: u16
    kind: ClaimKind


class Span(Struct):
    """Memory from `base` up to `end`, not included."""

    base: u64
    end: u64


class FreePage(Struct):
    """What a free page holds: the address of the next one."""

    next: u64


class Memory(Struct):
    """Banks as `/memory` states them, claims, and what is free, sorted by address."""

    lock: Spinlock
    bank_count: u32
    claim_count: u32
    free_count: u32
    free_pages: u64  # first of the list of single pages given back, 0 when it is empty
    free_page_count: u64
    banks: Array[Span] = array(Span, MOST_BANKS)
    claims: Array[Claim] = array(Claim, MOST_CLAIMS)
    free: Array[Span] = array(Span, MOST_RANGES)


MEMORY = zeroed(Memory)


# ---- claims ----------------------------------------------------------------------------------------------------------


@fn
def claim(kind: ClaimKind, node: Node, entry: u32, base: u64, size: u64) -> bool:
    """Note that memory is taken; False when there are more claims than the table holds."""
    if MEMORY.claim_count == MOST_CLAIMS:
        return False
    c = MEMORY.claims[MEMORY.claim_count]
    c.base = base
    c.size = size
    c.kind = kind
    c.entry = truncate(u16, entry)
    c.node = node
    MEMORY.claim_count += 1
    return True


@fn
def claim_reserve_map(fdt: Fdt) -> bool:
    for i in range(u32(MOST_CLAIMS)):
        base, size = fdt_reserve_entry(fdt, i)
        if base == 0 and size == 0:
            return True
        if size > 0xFFFF_FFFF_FFFF_FFFF - base:
            log_error(f"/memreserve/ entry {i} ({base:#x}, {size:#x}) runs past the end of the address space; it is ignored")
        elif not claim(ClaimKind.MEMRESERVE, NO_NODE, i, base, size):
            return False
    return False


@fn
def claim_regs(fdt: Fdt, parent: Node, node: Node, kind: ClaimKind) -> bool:
    """Every entry of a node's `reg`. A `reg` that cannot be read claims nothing: whoever uses the node complains."""
    for i in range(u32(MOST_REG_ENTRIES)):
        place = fdt_raw_reg(fdt, parent, node, i)
        if place.result != Result.OK:
            return True
        if not claim(kind, node, i, place.base, place.size):
            return False
    return True


@fn
def claim_reserved_memory(fdt: Fdt) -> bool:
    parent = fdt_reserved_memory(fdt)
    if parent == NO_NODE:
        return True
    for node in fdt_children(fdt, parent):
        if not claim_regs(fdt, parent, node, ClaimKind.RESERVED):
            return False
    return True


@fn
def is_boot_module(fdt: Fdt, node: Node) -> bool:
    return fdt_compatible(fdt, node, b"multiboot,module") or fdt_compatible(fdt, node, b"xen,multiboot-module")


@fn
def claim_modules_of(fdt: Fdt, parent: Node) -> bool:
    for node in fdt_children(fdt, parent):
        if is_boot_module(fdt, node) and not claim_regs(fdt, parent, node, ClaimKind.MODULE):
            return False
    return True


@fn
def claim_static(fdt: Fdt, domain: Node) -> bool:
    """A property that cannot be read claims nothing: the domain's plan complains."""
    for i in range(u32(MOST_REG_ENTRIES)):
        place = static_memory(fdt, domain, i)
        if place.result != Result.OK:
            return True
        if not claim(ClaimKind.STATIC, domain, i, place.base, place.size):
            return False
    return True


@fn
def shared_claim(fdt: Fdt, node: Node) -> u32:
    """Which claim is that of a shared region, by its name. The number of claims when there is none."""
    for i in range(MEMORY.claim_count):
        c = MEMORY.claims[i]
        if c.kind == ClaimKind.SHARED and shared_id(fdt, c.node).equals(shared_id(fdt, node)):
            return i
    return MEMORY.claim_count


@fn
def claim_shared(fdt: Fdt, domain: Node) -> bool:
    """The first node that names a region says where it lies. One that says otherwise claims nothing: its domain's plan complains."""
    for node in shared_nodes(fdt, domain):
        place = shared_place(fdt, domain, node)
        if place.placed and place.size <= MACHINE_END and place.host <= MACHINE_END - place.size and shared_claim(fdt, node) == MEMORY.claim_count:
            if not claim(ClaimKind.SHARED, node, 0, place.host, place.size):
                return False
    return True


@fn
def claim_modules(fdt: Fdt) -> bool:
    """The modules of every domain, and those directly under /chosen."""
    chosen = fdt_chosen(fdt)
    if chosen == NO_NODE:
        return True
    for domain in fdt_children(fdt, chosen):
        if fdt_compatible(fdt, domain, b"xen,domain"):
            if not claim_modules_of(fdt, domain) or not claim_static(fdt, domain):
                return False
            if CONFIG.STATIC_SHM and not claim_shared(fdt, domain):
                return False
    return claim_modules_of(fdt, chosen)


SHARED_TEXT = b": xen,shared-mem" if CONFIG.STATIC_SHM else b""


@fn
def claim_text(fdt: Fdt, c: Claim, out: Slice[u8]) -> usize:
    """Say in `out` who claims: a node's path and its property, or what else it is. The length of it."""
    text: View[u8] = b": reg"
    at = usize(0)
    match c.kind:
        case ClaimKind.IMAGE:
            text = b"the hypervisor's image"
        case ClaimKind.DTB:
            text = b"the device tree"
        case ClaimKind.MEMRESERVE:
            text = b"/memreserve/"
        case ClaimKind.RESERVED | ClaimKind.MODULE:
            at = fdt_path(fdt, c.node, out)
        case ClaimKind.STATIC:
            at = fdt_path(fdt, c.node, out)
            text = b": xen,static-mem"
        case ClaimKind.SHARED:
            at = fdt_path(fdt, c.node, out)
            text = SHARED_TEXT
    size = min(len(text), len(out) - at)
    out[at : at + size].copy_from(text[:size])
    return at + size


# ---- overlaps --------------------------------------------------------------------------------------------------------


@fn
def overlap(a: Claim, b: Claim) -> bool:
    return a.size > 0 and b.size > 0 and a.base < b.base + b.size and b.base < a.base + a.size


@fn
def covers(a: Claim, b: Claim) -> bool:
    return a.base <= b.base and b.base + b.size <= a.base + a.size


@fn
def same_thing_twice(a: Claim, b: Claim) -> bool:
    """A boot loader reserves what it loads, and trees reserve in both ways: `a`, a memory reservation, may repeat `b`."""
    if a.kind != ClaimKind.MEMRESERVE:
        return False
    if b.kind == ClaimKind.MODULE or b.kind == ClaimKind.IMAGE:
        return covers(a, b)
    return True


@fn
def conflict(a: Claim, b: Claim) -> bool:
    return overlap(a, b) and not same_thing_twice(a, b) and not same_thing_twice(b, a)


@fn
def is_domains(c: Claim) -> bool:
    """Whether a conflict is said with the domain that does not start for it."""
    return c.kind == ClaimKind.MODULE or c.kind == ClaimKind.STATIC or c.kind == ClaimKind.SHARED


@fn
def conflict_of(index: u32) -> Claim | None:
    for k in range(MEMORY.claim_count):
        if k != index and conflict(MEMORY.claims[index], MEMORY.claims[k]):
            return MEMORY.claims[k]
    return None


@fn
def memory_conflict(node: Node) -> Claim | None:
    """Who else claims memory of a module, or of a domain's static memory."""
    for i in range(MEMORY.claim_count):
        if MEMORY.claims[i].node == node and is_domains(MEMORY.claims[i]):
            other = conflict_of(i)
            if other is not None:
                return other
    return None


@fn
def shared_conflict(fdt: Fdt, node: Node) -> Claim | None:
    """Who else claims memory of a shared region."""
    index = shared_claim(fdt, node)
    return conflict_of(index) if index < MEMORY.claim_count else None


@fn
def report_conflict(fdt: Fdt, a: Claim, b: Claim) -> None:
    mine = array(u8, 128)
    other = array(u8, 128)
    size = claim_text(fdt, a, mine)
    other_size = claim_text(fdt, b, other)
    log_error(
        f"{mine[:size]} ({a.base:#x}, {a.size:#x}) overlaps {other[:other_size]} ({b.base:#x}, {b.size:#x}); "
        f"give each its own memory"
    )


@fn
def report_conflicts(fdt: Fdt) -> None:
    """Between reservations. A module's is reported with the domain that does not start for it."""
    for i in range(MEMORY.claim_count):
        for k in range(i):
            a = MEMORY.claims[i]
            b = MEMORY.claims[k]
            if not is_domains(a) and not is_domains(b) and conflict(a, b):
                report_conflict(fdt, a, b)


# ---- spans -----------------------------------------------------------------------------------------------------------


@fn
def span_remove(index: u32) -> None:
    MEMORY.free_count -= 1
    for i in range(index, MEMORY.free_count):
        MEMORY.free[i].base = MEMORY.free[i + 1].base
        MEMORY.free[i].end = MEMORY.free[i + 1].end


@fn
def span_insert(index: u32, base: u64, end: u64) -> None:
    """At a place of the sorted list. When the table is full the memory is lost, and a message says so."""
    if MEMORY.free_count == MOST_RANGES:
        log_warning(f"memory is in more than {MOST_RANGES} pieces: {(end - base) // KIB} KiB at {base:#x} remain unused")
        return
    for i in reversed(range(index, MEMORY.free_count)):
        MEMORY.free[i + 1].base = MEMORY.free[i].base
        MEMORY.free[i + 1].end = MEMORY.free[i].end
    MEMORY.free[index].base = base
    MEMORY.free[index].end = end
    MEMORY.free_count += 1


@fn
def span_add(base: u64, end: u64) -> None:
    """Free memory: merged with its neighbours."""
    at = u32(0)
    while at < MEMORY.free_count and MEMORY.free[at].end < base:
        at += 1
    first = base
    last = end
    while at < MEMORY.free_count and MEMORY.free[at].base <= last:
        first = min(first, MEMORY.free[at].base)
        last = max(last, MEMORY.free[at].end)
        span_remove(at)
    span_insert(at, first, last)


@fn
def span_cut(base: u64, end: u64) -> None:
    """Take memory out of what is free, where it is free."""
    at = u32(0)
    while at < MEMORY.free_count:
        first = MEMORY.free[at].base
        last = MEMORY.free[at].end
        if first >= end or last <= base:
            at += 1
            continue
        if first >= base and last <= end:
            span_remove(at)
            continue
        if first < base:
            MEMORY.free[at].end = base
            if last > end:
                span_insert(at + 1, end, last)
        else:
            MEMORY.free[at].base = end
        at += 1


@fn
def cut_claims(reserved: bool) -> None:
    """Whole pages: what shares a page with something taken is taken."""
    for i in range(MEMORY.claim_count):
        c = MEMORY.claims[i]
        if (c.kind == ClaimKind.RESERVED) == reserved and c.size > 0:
            last = c.base + c.size - 1
            span_cut(c.base & ~u64(PAGE_SIZE - 1), (last | (PAGE_SIZE - 1)) + 1 if last < MACHINE_END else MACHINE_END)


# ---- banks -----------------------------------------------------------------------------------------------------------


@fn
def is_memory(fdt: Fdt, node: Node) -> bool:
    """`/memory`, with or without a unit address, of device type memory (specification 3.4)."""
    if fdt_initial(fdt, node) != 0x6D or not name_matches(fdt_name(fdt, node), b"memory"):
        return False
    _, kind = fdt_property(fdt, node, b"device_type")
    return list_contains(kind, b"memory")


@fn
def add_bank(place: Range) -> None:
    """Whole pages of an entry of `/memory`, less those at the image's addresses."""
    if place.base >= MACHINE_END or place.size < PAGE_SIZE:
        return
    base = (place.base + (PAGE_SIZE - 1)) & ~u64(PAGE_SIZE - 1)
    end = min(place.base + place.size, MACHINE_END) & ~u64(PAGE_SIZE - 1)
    add_span(base, min(end, u64(IMAGE_SPACE)))
    add_span(max(base, u64(IMAGE_SPACE_END)), end)


@fn
def add_span(base: u64, end: u64) -> None:
    if base < end and MEMORY.bank_count < MOST_BANKS:
        bank = MEMORY.banks[MEMORY.bank_count]
        bank.base = base
        bank.end = end
        MEMORY.bank_count += 1
        span_add(base, end)


@fn
def find_banks(fdt: Fdt) -> None:
    for node in fdt_children(fdt, ROOT):
        if is_memory(fdt, node):
            for i in range(u32(MOST_REG_ENTRIES)):
                place = fdt_raw_reg(fdt, ROOT, node, i)
                if place.result == Result.NOT_FOUND:
                    break
                if place.result == Result.OK:
                    add_bank(place)


@fn
def map_free() -> None:
    """All memory but /reserved-memory, which firmware may have closed to us. Modules and the tree are in it."""
    for i in range(MEMORY.free_count):
        if is_direct(MEMORY.free[i]):
            mmu_map_ram(HostPhys(MEMORY.free[i].base), MEMORY.free[i].end - MEMORY.free[i].base)


@fn
def page_of(address: u64) -> u64:
    return address & ~u64(PAGE_SIZE - 1)


@fn
def map_shared_pages() -> None:
    """A module may begin or end in a page of which the rest is reserved: it must be readable all the same."""
    for i in range(MEMORY.claim_count):
        m = MEMORY.claims[i]
        if m.kind == ClaimKind.MODULE and m.size > 0 and memory_reaches(m.base, m.size):
            for k in range(MEMORY.claim_count):
                r = MEMORY.claims[k]
                if r.kind == ClaimKind.RESERVED and r.size > 0 and not overlap(m, r):
                    if page_of(r.base + r.size - 1) == page_of(m.base):
                        mmu_map_ram(HostPhys(page_of(m.base)), PAGE_SIZE)
                    if page_of(r.base) == page_of(m.base + m.size - 1):
                        mmu_map_ram(HostPhys(page_of(r.base)), PAGE_SIZE)


@fn
def cut_spin_table(fdt: Fdt) -> None:
    """The pages with the words that CPUs spin on, where firmware has not reserved them itself."""
    cpus = fdt_cpus(fdt)
    if cpus != NO_NODE:
        for node in fdt_children(fdt, cpus):
            word = spin_release(fdt, node) if spins(fdt, node) else u64(0)
            if word != 0:
                span_cut(page_of(word), page_of(word) + PAGE_SIZE)


@fn
def cut_boot_wrapper(fdt: Fdt) -> None:
    """The piece of HiP04's firmware that its CPUs begin in; Linux's tree for the board does not reserve it."""
    base, size = hip04_wrapper(fdt)
    if size != 0:
        span_cut(page_of(base), page_of(base + size - 1) + PAGE_SIZE)


@fn
def find_claims(fdt: Fdt, dtb: HostPhys, image: HostPhys, image_size: u64) -> bool:
    return (
        claim(ClaimKind.IMAGE, NO_NODE, 0, u64(image), image_size)
        and claim(ClaimKind.DTB, NO_NODE, 0, u64(dtb), u64(len(fdt.blob)))
        and claim_reserve_map(fdt)
        and claim_reserved_memory(fdt)
        and claim_modules(fdt)
    )


@fn
def memory_init(fdt: Fdt, dtb: HostPhys, image: HostPhys, image_size: u64) -> Result:
    """Find out what is free, and map it. NOT_FOUND without memory, NO_MEMORY when the tables here are too small."""
    if not find_claims(fdt, dtb, image, image_size):
        log_error(f"/reserved-memory and /chosen: more than {MOST_CLAIMS} reservations and modules; raise CONFIG_MAX_MODULES")
        return Result.NO_MEMORY
    report_conflicts(fdt)
    find_banks(fdt)
    if MEMORY.free_count == 0:
        log_error(f"/memory: reg: no memory; the boot loader must fill in at least one bank")
        return Result.NOT_FOUND
    cut_claims(True)
    map_free()
    map_shared_pages()
    cut_claims(False)
    if CONFIG.SPIN_TABLE:
        cut_spin_table(fdt)
    if CONFIG.SOC_HIP04:
        cut_boot_wrapper(fdt)
    window_pages_from(page_alloc)
    printk(f"memory: {memory_bytes() // KIB} KiB, {memory_free() // KIB} KiB of it free")
    return Result.OK


@fn
def memory_end() -> u64:
    """Where the last bank ends."""
    end = u64(0)
    for i in range(MEMORY.bank_count):
        end = max(end, MEMORY.banks[i].end)
    return end


@fn
def memory_bytes() -> u64:
    """The size of all banks."""
    total = u64(0)
    for i in range(MEMORY.bank_count):
        total += MEMORY.banks[i].end - MEMORY.banks[i].base
    return total


@fn
def memory_holds(base: u64, size: u64) -> bool:
    """Whether a range lies inside one bank of memory."""
    for i in range(MEMORY.bank_count):
        bank = MEMORY.banks[i]
        if bank.base <= base and base < bank.end and size <= bank.end - base:
            return True
    return False


@fn
def memory_reaches(base: u64, size: u64) -> bool:
    """Whether it does so where EL2 has addresses for all of it."""
    return memory_holds(base, size) and base < DIRECT_END


@fn
def memory_free() -> u64:
    """Bytes that can still be handed out."""
    total = MEMORY.free_page_count * PAGE_SIZE
    for i in range(MEMORY.free_count):
        total += MEMORY.free[i].end - MEMORY.free[i].base
    return total


# ---- the allocator ---------------------------------------------------------------------------------------------------


@fn
def align_up64(value: u64, align: u64) -> u64:
    return (value + (align - 1)) & ~(align - 1)


@fn(inline=True)
def is_direct(span: Span) -> bool:
    """Whether EL2 maps it. The image's space keeps what it maps and what it does not from being one span."""
    return not CONFIG.ARM32 or span.base < DIRECT_END


@fn
def take_low(size: u64, align: u64) -> u64:
    for i in range(MEMORY.free_count):
        base = align_up64(MEMORY.free[i].base, align)
        if base < MEMORY.free[i].end and MEMORY.free[i].end - base >= size and is_direct(MEMORY.free[i]):
            span_cut(base, base + size)
            return base
    return 0


@fn
def take_high(size: u64, align: u64) -> u64:
    for i in reversed(range(MEMORY.free_count)):
        span = MEMORY.free[i]
        if span.end - span.base >= size and is_direct(span):
            base = (span.end - size) & ~(align - 1)
            if base >= span.base:
                span_cut(base, base + size)
                return base
    return 0


@fn
def pages_alloc(count: u64, align: u64) -> HostPhys:
    """`count` contiguous pages, aligned to `align` bytes (a power of two), as they are; 0 when there are none."""
    if count == 0 or count > MACHINE_END // PAGE_SIZE:
        return HostPhys(0)
    size = count * PAGE_SIZE
    with MEMORY.lock:
        return HostPhys(take_high(size, max(align, PAGE_SIZE)) if size < SMALL else take_low(size, max(align, PAGE_SIZE)))


@fn
def pages_free(base: HostPhys, count: u64) -> None:
    """Give back what `pages_alloc` or `memory_take` gave."""
    with MEMORY.lock:
        span_add(u64(base), u64(base) + count * PAGE_SIZE)


@fn
def memory_take(most: u64, align: u64) -> tuple[u64, u64]:
    """The largest run of at most `most` bytes in whole, aligned units of `align`: (address, size), size 0 for none. For guests.

    Of two equal ones that which EL2 has no addresses for: nothing else can be had there.
    """
    with MEMORY.lock:
        best = u64(0)
        best_size = u64(0)
        for i in range(MEMORY.free_count):
            base = align_up64(MEMORY.free[i].base, align)
            if base < MEMORY.free[i].end:
                size = min(MEMORY.free[i].end - base, most) & ~(align - 1)
                if size > best_size or (size == best_size and not is_direct(MEMORY.free[i])):
                    best = base
                    best_size = size
        if best_size > 0:
            span_cut(best, best + best_size)
        return best, best_size


@fn
def take_listed_page() -> u64:
    page = MEMORY.free_pages
    if page != 0:
        MEMORY.free_pages = Ptr[FreePage](usize(page)).ref().next
        MEMORY.free_page_count -= 1
    return page


@fn
def page_alloc() -> HostPhys:
    """One page of zeros, for tables; 0 when none is left."""
    page = u64(0)
    with MEMORY.lock:
        page = take_listed_page()
        if page == 0:
            page = take_high(PAGE_SIZE, PAGE_SIZE)
    if page != 0:
        page_zero(page)
    return HostPhys(page)


@fn
def page_free(page: HostPhys) -> None:
    """Give back one page. It goes to a list of its own, so that no piece of the memory map is spent on it."""
    with MEMORY.lock:
        Ptr[FreePage](usize(u64(page))).ref().next = MEMORY.free_pages
        MEMORY.free_pages = u64(page)
        MEMORY.free_page_count += 1
