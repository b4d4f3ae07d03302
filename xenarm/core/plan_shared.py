"""A domain's nodes of static shared memory, checked before anything is touched (Xen: booting.txt, "Static Shared Memory")."""

from freestanding import View, fn, u8, u32, u64, usize
from xenarm.abi.layout import GUEST_GICC_SIZE, GUEST_GICD_SIZE, GUEST_GNTTAB_BASE, GUEST_GNTTAB_SIZE, GUEST_PL011_SIZE, GUEST_RAM0_BASE, GUEST_RAM1_BASE
from xenarm.config import CONFIG
from xenarm.core.addresses import PAGE_SIZE
from xenarm.core.guest_memory import ram0_size, ram1_size
from xenarm.core.memory import memory_holds, shared_conflict
from xenarm.core.plan_state import Plan, refuse, refuse_overlap, refuse_two
from xenarm.core.result import Result
from xenarm.core.static_memory import MOST_STATIC, SharedPlace, shared_id, shared_nodes, shared_place, static_memory
from xenarm.devicetree.guest import MOST_SHARES
from xenarm.devicetree.reader import NO_NODE, Fdt, Node, fdt_children, fdt_chosen, fdt_property
from xenarm.devicetree.values import fdt_compatible, list_contains
from xenarm.p2m.stage2 import p2m_limit

__all__ = ["plan_no_shared", "plan_shared"]

LONGEST_ID = 15  # Xen's MAX_SHM_ID_LENGTH less the NUL


@fn
def plan_no_shared(fdt: Fdt, plan: Plan) -> bool:
    for node in shared_nodes(fdt, plan.node):
        return refuse(fdt, plan, node, b"compatible asks for shared memory, which this image is built without", b"turn CONFIG_STATIC_SHM on")
    return True


@fn
def meets(base: u64, size: u64, other: u64, other_size: u64) -> bool:
    return base < other + other_size and other < base + size


@fn
def meets_ram(fdt: Fdt, plan: Plan, base: u64, size: u64) -> bool:
    if not plan.direct:
        low = meets(base, size, u64(GUEST_RAM0_BASE), ram0_size(plan.memory))
        return low or meets(base, size, u64(GUEST_RAM1_BASE), ram1_size(plan.memory))
    for i in range(u32(MOST_STATIC)):
        piece = static_memory(fdt, plan.node, i)
        if piece.result != Result.OK:
            break
        if meets(base, size, piece.base, piece.size):
            return True
    return False


@fn
def meets_device(plan: Plan, base: u64, size: u64) -> bool:
    return (
        meets(base, size, plan.layout.gicd, GUEST_GICD_SIZE)
        or meets(base, size, plan.layout.gicc, GUEST_GICC_SIZE)
        or (plan.vpl011 and meets(base, size, plan.layout.uart, GUEST_PL011_SIZE))
        or meets(base, size, u64(GUEST_GNTTAB_BASE), GUEST_GNTTAB_SIZE)
    )


@fn
def earlier_share(fdt: Fdt, plan: Plan, node: Node, base: u64, size: u64) -> Node:
    """A region of the same domain that lies there too."""
    for other in shared_nodes(fdt, plan.node):
        place = shared_place(fdt, plan.node, other)
        if u32(other) < u32(node) and meets(base, size, place.guest, place.size):
            return other
    return NO_NODE


@fn
def plan_guest_side(fdt: Fdt, plan: Plan, node: Node, place: SharedPlace) -> bool:
    """The guest's addresses are its own, and nothing else is there."""
    if place.guest > p2m_limit() or place.size > p2m_limit() - place.guest:
        return refuse(fdt, plan, node, b"xen,shared-mem reaches beyond the 40 bits of a guest's addresses", b"choose a guest address below")
    if plan.direct and (not place.placed or place.host != place.guest):
        return refuse(fdt, plan, node, b"xen,shared-mem of a direct-map domain has two addresses", b"give the machine's as the guest's too")
    if meets_ram(fdt, plan, place.guest, place.size):
        return refuse(fdt, plan, node, b"xen,shared-mem lies in the domain's RAM", b"choose another guest address")
    if meets_device(plan, place.guest, place.size):
        return refuse(fdt, plan, node, b"xen,shared-mem lies on a device of the domain", b"choose another guest address")
    other = earlier_share(fdt, plan, node, place.guest, place.size)
    if other != NO_NODE:
        return refuse_two(fdt, plan, node, b"xen,shared-mem has guest addresses of", other, b"choose others")
    return True


@fn
def plan_machine_side(fdt: Fdt, plan: Plan, node: Node, place: SharedPlace) -> bool:
    """The machine's memory is there, and nobody else's."""
    if place.size == 0 or (place.host | place.guest | place.size) & (PAGE_SIZE - 1) != 0:
        return refuse(fdt, plan, node, b"xen,shared-mem is not in whole pages", b"correct addresses and size")
    if not place.placed:
        return True
    if not memory_holds(place.host, place.size):
        return refuse(fdt, plan, node, b"xen,shared-mem is not in the machine's memory", b"correct the machine address, or leave it out")
    other = shared_conflict(fdt, node)
    if other is not None:
        return refuse_overlap(fdt, plan, node, b"xen,shared-mem", other, b"give each its own memory")
    return True


@fn
def is_owner(fdt: Fdt, node: Node) -> bool:
    _, role = fdt_property(fdt, node, b"role")
    return list_contains(role, b"owner")


@fn
def plan_against(fdt: Fdt, plan: Plan, node: Node, place: SharedPlace, domain: Node, other: Node) -> bool:
    """Two nodes are about one region: `other`, the earlier one, says what it is."""
    first = shared_place(fdt, domain, other)
    if domain == plan.node:
        return refuse_two(fdt, plan, node, b"xen,shm-id is that of", other, b"one node is enough")
    if first.size != place.size or first.placed != place.placed or first.host != place.host:
        return refuse_two(fdt, plan, node, b"xen,shared-mem is another region than in", other, b"give both the same machine address and size, or another xen,shm-id")
    if is_owner(fdt, node) and is_owner(fdt, other):
        return refuse_two(fdt, plan, node, b"role is owner, as in", other, b"let one be the borrower")
    return True


@fn
def plan_users(fdt: Fdt, plan: Plan, node: Node, place: SharedPlace) -> bool:
    """Whatever earlier nodes say of the same region, in whatever domain."""
    for domain in fdt_children(fdt, fdt_chosen(fdt)):
        if fdt_compatible(fdt, domain, b"xen,domain"):
            for other in shared_nodes(fdt, domain):
                if u32(other) < u32(node) and shared_id(fdt, other).equals(shared_id(fdt, node)):
                    if not plan_against(fdt, plan, node, place, domain, other):
                        return False
    return True


@fn
def plan_share(fdt: Fdt, plan: Plan, node: Node) -> bool:
    name = shared_id(fdt, node)
    if len(name) == 0 or len(name) > LONGEST_ID:
        return refuse(fdt, plan, node, b"xen,shm-id is no text of 1 to 15 characters", b"give the region a name")
    present, role = fdt_property(fdt, node, b"role")
    if present and not list_contains(role, b"owner") and not list_contains(role, b"borrower"):
        return refuse(fdt, plan, node, b"role is none", b"give owner or borrower, or leave it out")
    place = shared_place(fdt, plan.node, node)
    if place.result != Result.OK:
        what: View[u8] = b"xen,shared-mem is malformed"
        return refuse(fdt, plan, node, what, b"give machine address, guest address and size, or the last two, in the cells of the domain's node")
    return (
        plan_machine_side(fdt, plan, node, place)
        and plan_guest_side(fdt, plan, node, place)
        and plan_users(fdt, plan, node, place)
    )


@fn
def plan_shared(fdt: Fdt, plan: Plan) -> bool:
    """Every region that the domain is to share."""
    count = u32(0)
    for node in shared_nodes(fdt, plan.node):
        if count == MOST_SHARES:
            return refuse(fdt, plan, node, b"compatible asks for one more region of shared memory than a domain can have", b"have 8 at most")
        if not plan_share(fdt, plan, node):
            return False
        count += 1
    return True
