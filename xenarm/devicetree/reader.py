"""The flattened device tree, read where the boot loader left it (Devicetree Specification v0.4, chapter 5).

`fdt_open` checks the whole blob once, header, every token, every name and string, the depth, and notes where each node
is. A `Node` is its number in that order; going from node to node takes no search. Nothing here can run past the blob:
every load is checked all the same, since a slice knows its length.
"""

from collections.abc import Iterator

from freestanding import Array, Distinct, IntEnum, Struct, View, array, fn, u8, u16, u32, u64, usize, zeroed
from xenarm.config import CONFIG

__all__ = [
    "MAX_DEPTH",
    "MAX_NODES",
    "NO_NODE",
    "ROOT",
    "Fdt",
    "FdtError",
    "Node",
    "Trail",
    "fdt_children",
    "fdt_mentions",
    "fdt_name",
    "fdt_next",
    "fdt_nodes",
    "fdt_open",
    "fdt_parent",
    "fdt_property",
    "fdt_reserve_entry",
    "fdt_total_size",
    "fdt_trace",
]

MAGIC = 0xD00D_FEED
HEADER_SIZE = 40
RESERVE_ENTRY_SIZE = 16
VERSION = 17  # the first with size_dt_struct; every dtc since 2008 writes it
VERSION_READABLE = 16  # the oldest layout that version 17 readers understand
MAX_DEPTH = 32  # boards stay under 12; the specification sets no limit
MAX_NODES: int = CONFIG.MAX_TREE_NODES
MAX_NAME = 255  # the specification says 31, and trees in use have longer ones
SMALLEST_BLOB = HEADER_SIZE + RESERVE_ENTRY_SIZE + 16
LARGEST_BLOB = 2 * 1024 * 1024  # the limit that arm64 Linux sets for a tree (Documentation/arm64/booting)

BEGIN_NODE = 1
END_NODE = 2
PROP = 3
NOP = 4
END = 9


class FdtError(IntEnum, type=u8, must_use=True):
    """Why a blob is not a device tree; the names are what the message says."""

    NONE = 0
    TOO_SHORT = 1  # less than a header
    BAD_MAGIC = 2
    BAD_VERSION = 3
    BAD_SIZE = 4  # totalsize larger than the memory given, or beyond the limit
    BAD_LAYOUT = 5  # a block is misaligned or lies outside the blob
    BAD_RESERVE_MAP = 6  # the memory reservation block has no end
    CUT_STRUCTURE = 7  # the structure block ends in the middle of a token
    BAD_TOKEN = 8
    BAD_NESTING = 9  # unbalanced nodes, more than one root, or a property outside a node
    TOO_DEEP = 10  # more than MAX_DEPTH levels
    BAD_STRING = 11  # a property's name lies outside the strings block
    LONG_NAME = 12  # a node's name is longer than MAX_NAME
    TOO_MANY_NODES = 13  # more than CONFIG_MAX_TREE_NODES


class Node(Distinct, type=u32):
    """A node by its number, in the order of the blob; the root is 0."""


ROOT = Node(0)
NO_NODE = Node(0xFFFF_FFFF)


class Place(Struct):
    """Where a node is: its FDT_BEGIN_NODE, its parent, and the node that follows the last one below it."""

    begin: u32
    name_size: u16
    parent: u16
    after: u16


assert MAX_NODES < 0x1_0000


class Fdt(Struct):
    """An opened tree: views of the blob and of its three blocks, and its nodes."""

    blob: View[u8]
    reserve: View[u8]
    structure: View[u8]
    strings: View[u8]
    count: u32
    known_phandle: u32  # the one looked up last, 0 for none, and whose it is
    known_node: Node
    places: Array[Place] = array(Place, MAX_NODES)


class Way(Struct):
    """The nodes that are open while the structure block is checked."""

    depth: u32  # how many; 0 before the root and after it
    nodes: Array[u32] = array(u32, MAX_DEPTH)


class Trail(Struct):
    """The way from the root to a node: `nodes[0]` is the root, `nodes[depth]` the node itself."""

    depth: u32
    nodes: Array[Node] = array(Node, MAX_DEPTH)


@fn
def align4(offset: usize) -> usize:
    return (offset + 3) & ~usize(3)


@fn
def fdt_total_size(header: View[u8]) -> u32:
    """Bytes that the blob claims, from its first 8 bytes; 0 when they are no device tree's."""
    if len(header) < 8 or header.load_be32(0) != MAGIC:
        return 0
    return header.load_be32(4)


@fn
def block_fits(total: usize, offset: u32, size: u32, align: u32) -> bool:
    if offset & (align - 1) != 0 or offset < HEADER_SIZE:
        return False
    return usize(offset) <= total and usize(size) <= total - usize(offset)


@fn
def check_header(memory: View[u8]) -> FdtError:
    if len(memory) < 4:
        return FdtError.TOO_SHORT
    if memory.load_be32(0) != MAGIC:
        return FdtError.BAD_MAGIC
    if len(memory) < SMALLEST_BLOB:
        return FdtError.TOO_SHORT
    if memory.load_be32(20) < VERSION or memory.load_be32(24) > VERSION:
        return FdtError.BAD_VERSION
    total = usize(memory.load_be32(4))
    if total > len(memory) or total < SMALLEST_BLOB or total > LARGEST_BLOB:
        return FdtError.BAD_SIZE
    if not block_fits(total, memory.load_be32(8), memory.load_be32(36), 4):
        return FdtError.BAD_LAYOUT
    if not block_fits(total, memory.load_be32(12), memory.load_be32(32), 1):
        return FdtError.BAD_LAYOUT
    if not block_fits(total, memory.load_be32(16), RESERVE_ENTRY_SIZE, 4):
        return FdtError.BAD_LAYOUT
    return FdtError.NONE


@fn
def set_views(fdt: Fdt, memory: View[u8]) -> None:
    blob = memory[: usize(memory.load_be32(4))]
    structure = usize(blob.load_be32(8))
    strings = usize(blob.load_be32(12))
    fdt.blob = blob
    fdt.reserve = blob[usize(blob.load_be32(16)) :]
    fdt.structure = blob[structure : structure + usize(blob.load_be32(36))]
    fdt.strings = blob[strings : strings + usize(blob.load_be32(32))]


@fn
def check_reserve_map(reserve: View[u8]) -> FdtError:
    """The map ends with an entry of two zeros; the specification gives it no length."""
    at = usize(0)
    while at + RESERVE_ENTRY_SIZE <= len(reserve):
        if reserve.load_be64(at) == 0 and reserve.load_be64(at + 8) == 0:
            return FdtError.NONE
        at += RESERVE_ENTRY_SIZE
    return FdtError.BAD_RESERVE_MAP


@fn
def string_ends(strings: View[u8], offset: usize) -> bool:
    """Whether a string that begins at `offset` ends in the block. In a block that ends with a NUL, as they do, every one does."""
    if offset >= len(strings) or strings[len(strings) - 1] == 0:
        return offset < len(strings)
    rest = strings[offset:]
    return rest.find(0) < len(rest)


@fn
def check_begin(fdt: Fdt, way: Way, at: usize) -> tuple[FdtError, usize]:
    """Note the node whose FDT_BEGIN_NODE is at `at`."""
    if way.depth == 0 and at != 0:
        return FdtError.BAD_NESTING, at
    if way.depth == MAX_DEPTH:
        return FdtError.TOO_DEEP, at
    if fdt.count == MAX_NODES:
        return FdtError.TOO_MANY_NODES, at
    rest = fdt.structure[at + 4 :]
    length = rest.find(0)
    if length == len(rest):
        return FdtError.CUT_STRUCTURE, at
    if length > MAX_NAME:
        return FdtError.LONG_NAME, at
    place = fdt.places[fdt.count]
    place.begin = u32(at)
    place.name_size = u16(length)
    place.parent = u16(way.nodes[way.depth - 1]) if way.depth > 0 else u16(0)
    way.nodes[way.depth] = fdt.count
    way.depth += 1
    fdt.count += 1
    return FdtError.NONE, at + 4 + align4(length + 1)


@fn
def check_end(fdt: Fdt, way: Way) -> FdtError:
    if way.depth == 0:
        return FdtError.BAD_NESTING
    way.depth -= 1
    fdt.places[way.nodes[way.depth]].after = u16(fdt.count)
    return FdtError.NONE


@fn
def check_property(fdt: Fdt, at: usize) -> tuple[FdtError, usize]:
    rest = len(fdt.structure) - at
    if rest < 12:
        return FdtError.CUT_STRUCTURE, at
    length = usize(fdt.structure.load_be32(at + 4))
    if length > rest - 12:
        return FdtError.CUT_STRUCTURE, at
    if not string_ends(fdt.strings, usize(fdt.structure.load_be32(at + 8))):
        return FdtError.BAD_STRING, at
    return FdtError.NONE, at + 12 + align4(length)


@fn
def check_token(fdt: Fdt, way: Way, at: usize) -> tuple[FdtError, usize]:
    """One token other than FDT_END: (error, where the next one is)."""
    match fdt.structure.load_be32(at):
        case 1:  # BEGIN_NODE
            return check_begin(fdt, way, at)
        case 2:  # END_NODE
            return check_end(fdt, way), at + 4
        case 3:  # PROP
            if way.depth == 0:
                return FdtError.BAD_NESTING, at
            return check_property(fdt, at)
        case 4:  # NOP
            return FdtError.NONE, at + 4
        case _:
            return FdtError.BAD_TOKEN, at


@fn
def check_structure(fdt: Fdt) -> FdtError:
    """One pass over every token."""
    way = zeroed(Way)
    fdt.count = 0
    fdt.known_phandle = 0
    at = usize(0)
    while at + 4 <= len(fdt.structure):
        if fdt.structure.load_be32(at) == END:
            return FdtError.NONE if way.depth == 0 and at != 0 else FdtError.BAD_NESTING
        error, at = check_token(fdt, way, at)
        if error != FdtError.NONE:
            return error
    return FdtError.CUT_STRUCTURE


@fn
def fdt_open(fdt: Fdt, memory: View[u8]) -> FdtError:
    """Check the blob at the start of `memory` and set `fdt` to it; on an error `fdt` must not be used."""
    error = check_header(memory)
    if error != FdtError.NONE:
        return error
    set_views(fdt, memory)
    error = check_reserve_map(fdt.reserve)
    if error != FdtError.NONE:
        return error
    # The root must be the first token: NOPs before it are legal in theory, and no tool writes them.
    if len(fdt.structure) < 4 or fdt.structure.load_be32(0) != BEGIN_NODE:
        return FdtError.BAD_NESTING
    return check_structure(fdt)


@fn
def fdt_children(fdt: Fdt, node: Node) -> Iterator[Node]:
    """The direct children of a node, in the order of the blob."""
    child = u32(node) + 1
    last = u32(fdt.places[u32(node)].after)
    while child < last:
        yield Node(child)
        child = u32(fdt.places[child].after)


@fn
def fdt_next(fdt: Fdt, node: Node) -> Node:
    """The node that follows in the blob (children before siblings); NO_NODE after the last."""
    return Node(u32(node) + 1) if u32(node) + 1 < fdt.count else NO_NODE


@fn
def fdt_nodes(fdt: Fdt) -> Iterator[Node]:
    """Every node, the root first, in the order of the blob."""
    for n in range(fdt.count):
        yield Node(n)


@fn
def fdt_name(fdt: Fdt, node: Node) -> View[u8]:
    """The node's name with its unit address; empty for the root."""
    place = fdt.places[u32(node)]
    start = usize(place.begin) + 4
    return fdt.structure[start : start + usize(place.name_size)]


@fn
def content_of(fdt: Fdt, node: Node) -> usize:
    """The first token behind a node's name."""
    place = fdt.places[u32(node)]
    return usize(place.begin) + 4 + align4(usize(place.name_size) + 1)


@fn
def string_is(strings: View[u8], offset: usize, name: View[u8]) -> bool:
    """True if the NUL-terminated string at `offset` is `name`."""
    end = offset + len(name)
    if end >= len(strings) or strings[end] != 0:
        return False
    return strings[offset:end].equals(name)


@fn
def fdt_property(fdt: Fdt, node: Node, name: View[u8]) -> tuple[bool, View[u8]]:
    """(present, value) of a property; the value of an absent one is empty."""
    at = content_of(fdt, node)
    token = fdt.structure.load_be32(at)
    while token == PROP or token == NOP:
        if token == PROP:
            size = usize(fdt.structure.load_be32(at + 4))
            if string_is(fdt.strings, usize(fdt.structure.load_be32(at + 8)), name):
                return True, fdt.structure[at + 12 : at + 12 + size]
            at += 8 + align4(size)
        at += 4
        token = fdt.structure.load_be32(at)
    return False, fdt.structure[at:at]


@fn
def fdt_mentions(fdt: Fdt, node: Node, prefix: View[u8]) -> bool:
    """Whether some property's name begins so."""
    at = content_of(fdt, node)
    token = fdt.structure.load_be32(at)
    while token == PROP or token == NOP:
        if token == PROP:
            name = usize(fdt.structure.load_be32(at + 8))
            if name + len(prefix) <= len(fdt.strings) and fdt.strings[name : name + len(prefix)].equals(prefix):
                return True
            at += 8 + align4(usize(fdt.structure.load_be32(at + 4)))
        at += 4
        token = fdt.structure.load_be32(at)
    return False


@fn
def fdt_parent(fdt: Fdt, node: Node) -> Node:
    """The parent; NO_NODE for the root itself."""
    return NO_NODE if node == ROOT else Node(u32(fdt.places[u32(node)].parent))


@fn
def depth_of(fdt: Fdt, node: Node) -> u32:
    """How far below the root."""
    depth = u32(0)
    at = u32(node)
    while at != 0:
        at = u32(fdt.places[at].parent)
        depth += 1
    return depth


@fn
def fdt_trace(fdt: Fdt, node: Node, trail: Trail) -> bool:
    """Fill `trail` with the node's ancestors and itself; False if there is no such node."""
    if u32(node) >= fdt.count:
        return False
    trail.depth = depth_of(fdt, node)
    at = u32(node)
    for depth in reversed(range(trail.depth + 1)):
        trail.nodes[depth] = Node(at)
        at = u32(fdt.places[at].parent)
    return True


@fn
def fdt_reserve_entry(fdt: Fdt, index: u32) -> tuple[u64, u64]:
    """(address, size) of an entry of the memory reservation block; size 0 ends it."""
    at = usize(index) * RESERVE_ENTRY_SIZE
    return fdt.reserve.load_be64(at), fdt.reserve.load_be64(at + 8)
