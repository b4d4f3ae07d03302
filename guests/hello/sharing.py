"""Memory shared with other domains: shown, and used as a board that each may write a line on."""

from freestanding import Array, Atomic, Ptr, Struct, View, array, atomic, fn, u8, u32, u64, usize
from guests.runtime.console import printk
from guests.runtime.machine import FDT
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, Node, fdt_children
from xenarm.devicetree.values import Range, fdt_compatible, fdt_find, fdt_raw_reg, fdt_string

__all__ = ["show_shared", "write_shared"]

MAPS_MEMORY = True

LONGEST = 120


class Board(Struct):
    """What lies at the start of a region: a line of text, complete when its length says so."""

    length: Atomic[u32] = atomic(u32)
    changes: Atomic[u32] = atomic(u32)
    text: Array[u8] = array(u8, LONGEST)


@fn
def region(parent: Node, node: Node) -> Range:
    """Where a child of /reserved-memory lies, if it is shared memory."""
    if not fdt_compatible(FDT, node, b"xen,shared-memory-v1"):
        return Range(result=Result.NOT_FOUND, base=0, size=0)
    return fdt_raw_reg(FDT, parent, node, 0)


@fn
def board(base: u64) -> Board:
    return Ptr[Board](usize(base)).ref()


@fn
def show_board(node: Node, place: Range) -> None:
    _, name = fdt_string(FDT, node, b"xen,id")
    b = board(place.base)
    size = min(b.length.load_acquire(), u32(LONGEST))
    printk(f"shared    {name}: {place.size // 1024} KiB at {place.base:#x}, change {b.changes.load()}: {b.text[:size]}")


@fn
def show_shared() -> None:
    """What stands in every region."""
    parent = fdt_find(FDT, b"/reserved-memory")
    if parent == NO_NODE:
        printk(f"no memory is shared with this domain")
        return
    for node in fdt_children(FDT, parent):
        place = region(parent, node)
        if place.result == Result.OK:
            show_board(node, place)


@fn
def write_shared(text: View[u8]) -> None:
    """Write a line into every region."""
    parent = fdt_find(FDT, b"/reserved-memory")
    if parent == NO_NODE:
        return
    size = min(u32(len(text)), u32(LONGEST))
    for node in fdt_children(FDT, parent):
        place = region(parent, node)
        if place.result == Result.OK:
            b = board(place.base)
            b.length.store(0)
            b.text[:size].copy_from(text[:size])
            _ = b.changes.fetch_add(1)
            b.length.store_release(size)
