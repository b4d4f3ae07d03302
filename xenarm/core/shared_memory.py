"""Static shared memory: regions that several domains have mapped, from before their first instruction.

A region lies where the device tree puts it, and nobody else ever has that memory; or it is taken when its first user is built. It is cleared before
its first user can read it and after its last one has ended; the end or the restart of one leaves it to the others.
"""

from freestanding import Array, Struct, array, fn, u32, u64, zeroed

from xenarm.config import CONFIG
from xenarm.core.addresses import MIB, PAGE_SIZE, GuestPhys, HostPhys
from xenarm.core.domain import Domain
from xenarm.core.fault import HOST_TREE
from xenarm.core.guest_memory import memory_scrub
from xenarm.core.log import printk
from xenarm.core.memory import pages_alloc, pages_free
from xenarm.core.result import Result
from xenarm.core.scrub import scrub_boot
from xenarm.core.spinlock import Spinlock
from xenarm.core.static_memory import SharedPlace, shared_id, shared_nodes, shared_place
from xenarm.devicetree.guest import GuestTree, guest_tree_share
from xenarm.devicetree.reader import Node
from xenarm.p2m.stage2 import MemoryKind, p2m_map, p2m_tables_for

__all__ = [
    "shared_memory_acquire",
    "shared_memory_map",
    "shared_memory_release",
    "shared_memory_report",
    "shared_memory_show",
    "shared_memory_tables",
]

SUPERPAGE = 2 * MIB


class Region(Struct):
    """Known by the id in `node`. Without users it has no memory, or that of its place."""

    node: Node  # of the first domain that had it
    base: u64
    size: u64
    placed: bool
    users: u32


class Regions(Struct):
    """The lock is for counting users; it is a leaf but for the page allocator's."""

    lock: Spinlock
    count: u32
    regions: Array[Region] = array(Region, CONFIG.MAX_SHARED_REGIONS)


SHARED = zeroed(Regions)


@fn
def find(node: Node) -> Region | None:
    """The region that a node is about, if any domain has had it."""
    for i in range(SHARED.count):
        if shared_id(HOST_TREE, SHARED.regions[i].node).equals(shared_id(HOST_TREE, node)):
            return SHARED.regions[i]
    return None


@fn
def add(node: Node, place: SharedPlace) -> Region | None:
    """A new region; None when there are too many."""
    if SHARED.count == CONFIG.MAX_SHARED_REGIONS:
        return None
    r = SHARED.regions[SHARED.count]
    r.node = node
    r.base = place.host
    r.size = place.size
    r.placed = place.placed
    r.users = 0
    SHARED.count += 1
    return r


@fn
def give_memory(r: Region) -> Result:
    """To its first user."""
    if not r.placed:
        r.base = u64(pages_alloc(r.size // PAGE_SIZE, SUPERPAGE if r.size >= SUPERPAGE else u64(PAGE_SIZE)))
    if r.base == 0 and not r.placed:
        return Result.NO_MEMORY
    if CONFIG.BOOT_SCRUB:
        scrub_boot(r.base, r.size)
    return Result.OK


@fn
def use(d: Domain, node: Node) -> Result:
    r = find(node)
    if r is None:
        r = add(node, shared_place(HOST_TREE, d.node, node))
    if r is None:
        return Result.BUSY
    if r.users == 0:
        result = give_memory(r)
        if result != Result.OK:
            return result
    r.users += 1
    d.shares += 1
    return Result.OK


@fn
def shared_memory_acquire(d: Domain) -> Result:
    """Have the regions of a domain that is being built. NO_MEMORY: one cannot be had. BUSY: there are too many. The caller releases those it got."""
    d.shares = 0
    for node in shared_nodes(HOST_TREE, d.node):
        result = use(d, node)
        if result != Result.OK:
            return result
    return Result.OK


@fn
def last_leaves(r: Region) -> bool:
    with SHARED.lock:
        r.users -= 1
        return r.users == 0


@fn
def shared_memory_release(d: Domain) -> None:
    """A domain has ended, or is not built after all: stage 2 shows it nothing any more. What nobody else uses is cleared."""
    left = d.shares
    d.shares = 0
    for node in shared_nodes(HOST_TREE, d.node):
        r = find(node)
        if left > 0 and r is not None and last_leaves(r):
            memory_scrub(r.base, r.size)
            if not r.placed:
                pages_free(HostPhys(r.base), r.size // PAGE_SIZE)
        left -= 1 if left > 0 else 0


@fn
def shared_memory_tables(d: Domain) -> u64:
    """Pages of stage-2 tables, less the root, that mapping a domain's regions takes at most."""
    count = u64(0)
    for node in shared_nodes(HOST_TREE, d.node):
        r = find(node)
        if r is not None:
            count += p2m_tables_for(shared_place(HOST_TREE, d.node, node).guest, r.base, r.size)
    return count


@fn
def shared_memory_map(d: Domain) -> Result:
    """Show a domain its regions."""
    for node in shared_nodes(HOST_TREE, d.node):
        r = find(node)
        if r is not None:
            guest = GuestPhys(shared_place(HOST_TREE, d.node, node).guest)
            result = p2m_map(d.p2m, guest, HostPhys(r.base), r.size, MemoryKind.SHARED)
            if result != Result.OK:
                return result
    return Result.OK


@fn
def shared_memory_show(d: Domain, tree: GuestTree) -> None:
    """Have a domain's own tree say where it finds them."""
    for node in shared_nodes(HOST_TREE, d.node):
        place = shared_place(HOST_TREE, d.node, node)
        guest_tree_share(tree, place.guest, place.size, shared_id(HOST_TREE, node))


@fn
def shared_memory_report() -> None:
    for i in range(SHARED.count):
        r = SHARED.regions[i]
        if r.placed or r.users > 0:
            printk(f"  {r.base:#012x} {r.size // 1024:9d} KiB  shared memory {shared_id(HOST_TREE, r.node)}, {r.users} users")
