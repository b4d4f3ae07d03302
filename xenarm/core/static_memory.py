"""Memory whose place the device tree fixes: `xen,static-mem`, and the nodes of static shared memory (Xen: docs/misc/arm/device-tree/booting.txt)."""

from collections.abc import Iterator

from freestanding import Struct, View, fn, u8, u32, u64, usize
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, Fdt, Node, fdt_children, fdt_property
from xenarm.devicetree.values import Cells, Range, fdt_cells, fdt_compatible, fdt_string, fdt_u32, read_number, reg_entry

__all__ = ["MOST_STATIC", "SharedPlace", "shared_after", "shared_id", "shared_nodes", "shared_place", "static_memory"]

MOST_STATIC = 32  # entries of xen,static-mem


class SharedPlace(Struct, frozen=True):
    """`xen,shared-mem`: where a region lies in the guest and, when it is `placed`, in the machine."""

    result: Result
    placed: bool
    host: u64
    guest: u64
    size: u64


@fn
def static_memory(fdt: Fdt, domain: Node, index: u32) -> Range:
    """An entry of `xen,static-mem`, in cells of its own ("Static Allocation")."""
    _, value = fdt_property(fdt, domain, b"xen,static-mem")
    address = fdt_u32(fdt, domain, b"#xen,static-mem-address-cells", 0)
    size = fdt_u32(fdt, domain, b"#xen,static-mem-size-cells", 0)
    return reg_entry(value, index, Cells(address=address, size=size))


@fn(inline=False)
def shared_after(fdt: Fdt, domain: Node, last: Node) -> Node:
    """The next of a domain's nodes of shared memory; NO_NODE behind the last."""
    for node in fdt_children(fdt, domain):
        if u32(node) > u32(last) and fdt_compatible(fdt, node, b"xen,domain-shared-memory-v1"):
            return node
    return NO_NODE


@fn
def shared_nodes(fdt: Fdt, domain: Node) -> Iterator[Node]:
    """A domain's regions of shared memory ("Static Shared Memory")."""
    node = shared_after(fdt, domain, domain)
    while node != NO_NODE:
        yield node
        node = shared_after(fdt, domain, node)


@fn
def shared_id(fdt: Fdt, node: Node) -> View[u8]:
    """The name by which its users know a region; empty when it has none."""
    _, text = fdt_string(fdt, node, b"xen,shm-id")
    return text


@fn
def shared_place(fdt: Fdt, domain: Node, node: Node) -> SharedPlace:
    """INVALID: neither (machine address, guest address, size) nor (guest address, size), in the cells of the domain's node."""
    _, value = fdt_property(fdt, node, b"xen,shared-mem")
    cells = fdt_cells(fdt, domain)
    address = usize(cells.address) * 4
    short = address + usize(cells.size) * 4
    placed = len(value) == short + address
    sound = cells.address > 0 and cells.address <= 2 and cells.size > 0 and cells.size <= 2
    if not sound or (not placed and len(value) != short):
        return SharedPlace(result=Result.INVALID, placed=False, host=0, guest=0, size=0)
    at = address if placed else usize(0)
    return SharedPlace(
        result=Result.OK,
        placed=placed,
        host=read_number(value, 0, cells.address) if placed else u64(0),
        guest=read_number(value, at, cells.address),
        size=read_number(value, at + address, cells.size),
    )
