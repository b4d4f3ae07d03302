"""The flattened device tree, read where the boot loader left it (Devicetree Specification v0.4, chapter 5).

`fdt_open` checks the whole blob once: header, every token, every name and string, the depth. After that a `Node` (the
offset of its FDT_BEGIN_NODE token in the structure block) that came from this module is sound, and nothing here can
run past the blob: every load is checked all the same, since a slice knows its length.
"""

from collections.abc import Iterator

from freestanding import Array, Distinct, IntEnum, Struct, View, array, fn, u8, u32, u64, usize, wrapping_sub, zeroed

__all__ = [
    "MAX_DEPTH",
    "NO_NODE",
    "ROOT",
    "Fdt",
    "FdtError",
    "Node",
    "Trail",
    "fdt_children",
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


class Node(Distinct, type=usize):
    """A node, by the offset of its FDT_BEGIN_NODE token in the structure block."""


ROOT = Node(0)
NO_NODE = Node(0xFFFF_FFFF)


class Fdt(Struct):
    """An opened tree: views of the blob and of its three blocks."""

    blob: View[u8]
    reserve: View[u8]
    structure: View[u8]
    strings: View[u8]


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
    if offset >= len(strings):
        return False
    rest = strings[offset:]
    return rest.find(0) < len(rest)


@fn
def check_begin(structure: View[u8], at: usize) -> tuple[FdtError, usize]:
    rest = structure[at + 4 :]
    length = rest.find(0)
    if length == len(rest):
        return FdtError.CUT_STRUCTURE, at
    return FdtError.NONE, at + 4 + align4(length + 1)


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
def check_structure(fdt: Fdt) -> FdtError:
    """One pass over every token. `open_nodes` is the depth: 0 before the root and after it."""
    at = usize(0)
    open_nodes = u32(0)
    while at + 4 <= len(fdt.structure):
        token = fdt.structure.load_be32(at)
        error = FdtError.NONE
        if token == BEGIN_NODE:
            if open_nodes == 0 and at != 0:
                return FdtError.BAD_NESTING
            if open_nodes == MAX_DEPTH:
                return FdtError.TOO_DEEP
            open_nodes += 1
            error, at = check_begin(fdt.structure, at)
        elif token == PROP:
            error, at = check_property(fdt, at)
        elif token == END:
            return FdtError.NONE if open_nodes == 0 and at != 0 else FdtError.BAD_NESTING
        elif token == END_NODE or token == NOP:
            if open_nodes == 0 and token == END_NODE:
                return FdtError.BAD_NESTING
            open_nodes -= 1 if token == END_NODE else 0
            at += 4
        else:
            return FdtError.BAD_TOKEN
        if error != FdtError.NONE:
            return error
        if open_nodes == 0 and token == PROP:
            return FdtError.BAD_NESTING
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
def after_name(structure: View[u8], at: usize) -> usize:
    """Where a node's content begins, `at` being its FDT_BEGIN_NODE: behind the first word with a zero byte in it."""
    while True:
        at += 4
        word = structure.load_be32(at)
        if wrapping_sub(word, u32(0x0101_0101)) & ~word & 0x8080_8080 != 0:
            return at + 4


@fn
def after_token(structure: View[u8], at: usize) -> usize:
    token = structure.load_be32(at)
    if token == PROP:
        return at + 12 + align4(usize(structure.load_be32(at + 4)))
    return after_name(structure, at) if token == BEGIN_NODE else at + 4


@fn
def after_node(structure: View[u8], at: usize) -> usize:
    """The token after a node's FDT_END_NODE."""
    depth = u32(0)
    while True:
        token = structure.load_be32(at)
        at = after_token(structure, at)
        if token == BEGIN_NODE:
            depth += 1
        elif token == END_NODE:
            depth -= 1
            if depth == 0:
                return at


@fn
def after_properties(structure: View[u8], at: usize) -> usize:
    """The first token from `at` on that opens or closes a node, or ends the tree."""
    token = structure.load_be32(at)
    while token == PROP or token == NOP:
        at = after_token(structure, at)
        token = structure.load_be32(at)
    return at


@fn
def fdt_children(fdt: Fdt, node: Node) -> Iterator[Node]:
    """The direct children of a node, in the order of the blob."""
    at = after_properties(fdt.structure, after_name(fdt.structure, usize(node)))
    while fdt.structure.load_be32(at) == BEGIN_NODE:
        yield Node(at)
        at = after_properties(fdt.structure, after_node(fdt.structure, at))


@fn
def fdt_next(fdt: Fdt, node: Node) -> Node:
    """The node whose FDT_BEGIN_NODE follows next in the blob (children before siblings); NO_NODE after the last."""
    at = after_token(fdt.structure, usize(node))
    token = fdt.structure.load_be32(at)
    while token != END and token != BEGIN_NODE:
        at = after_token(fdt.structure, at)
        token = fdt.structure.load_be32(at)
    return Node(at) if token == BEGIN_NODE else NO_NODE


@fn
def fdt_nodes(fdt: Fdt) -> Iterator[Node]:
    """Every node, the root first, in the order of the blob."""
    node = ROOT
    while node != NO_NODE:
        yield node
        node = fdt_next(fdt, node)


@fn
def fdt_name(fdt: Fdt, node: Node) -> View[u8]:
    """The node's name with its unit address; empty for the root."""
    rest = fdt.structure[usize(node) + 4 :]
    return rest[: rest.find(0)]


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
    at = after_name(fdt.structure, usize(node))
    token = fdt.structure.load_be32(at)
    while token == PROP or token == NOP:
        if token == PROP and string_is(fdt.strings, usize(fdt.structure.load_be32(at + 8)), name):
            return True, fdt.structure[at + 12 : at + 12 + usize(fdt.structure.load_be32(at + 4))]
        at = after_token(fdt.structure, at)
        token = fdt.structure.load_be32(at)
    return False, fdt.structure[at:at]


@fn
def fdt_trace(fdt: Fdt, node: Node, trail: Trail) -> bool:
    """Fill `trail` with the node's ancestors and itself; False if there is no such node."""
    at = usize(0)
    depth = u32(0)
    while True:
        token = fdt.structure.load_be32(at)
        if token == BEGIN_NODE:
            trail.nodes[depth] = Node(at)
            trail.depth = depth
            depth += 1
            if at == usize(node):
                return True
        elif token == END_NODE:
            depth -= 1
        elif token == END or at >= usize(node):
            return False
        at = after_token(fdt.structure, at)


@fn
def fdt_parent(fdt: Fdt, node: Node) -> Node:
    """The parent, found by a walk from the root; NO_NODE for the root itself."""
    trail = zeroed(Trail)
    if not fdt_trace(fdt, node, trail) or trail.depth == 0:
        return NO_NODE
    return trail.nodes[trail.depth - 1]


@fn
def fdt_reserve_entry(fdt: Fdt, index: u32) -> tuple[u64, u64]:
    """(address, size) of an entry of the memory reservation block; size 0 ends it."""
    at = usize(index) * RESERVE_ENTRY_SIZE
    return fdt.reserve.load_be64(at), fdt.reserve.load_be64(at + 8)
