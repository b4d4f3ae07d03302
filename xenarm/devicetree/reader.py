"""The flattened device tree, read where the boot loader left it (Devicetree Specification v0.4, chapter 5).

`fdt_open` checks the whole blob once, header, every token, every name and string, the depth, and notes where each node
is. A `Node` is its number in that order; going from node to node takes no search. Nothing here can run past the blob:
every load is checked all the same, since a slice knows its length.
"""

from collections.abc import Iterator

from freestanding import Array, Distinct, IntEnum, Struct, View, array, ctz, fn, offset_of, size_of, table, truncate, u8, u16, u32, u64, usize, wrapping_sub
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
    "fdt_bytes",
    "fdt_child_cells",
    "fdt_children",
    "fdt_chosen",
    "fdt_compatibles",
    "fdt_cpus",
    "fdt_initial",
    "fdt_mentions",
    "fdt_name",
    "fdt_next",
    "fdt_nodes",
    "fdt_open",
    "fdt_parent",
    "fdt_phandle",
    "fdt_property",
    "fdt_reserve_entry",
    "fdt_reserved_memory",
    "fdt_top",
    "fdt_total_size",
    "fdt_trace",
    "fdt_with_phandle",
    "name_length",
    "name_matches",
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
    """Where a node is: its FDT_BEGIN_NODE, its parent, and the node that follows the last one below it; and what is looked for in all nodes."""

    begin: u32
    compatible: u32  # its FDT_PROP, 0 for none
    phandle: u32  # 0 for none
    name_size: u8
    initial: u8  # of its name, 0 for the root
    parent: u16
    after: u16
    cells: u8  # `#address-cells` in the lower half, `#size-cells` in the upper one, 15 standing for anything above
    cells_seen: u8  # which of them the node has


ADDRESS_SEEN = 1
SIZE_SEEN = 2
CELLS_DEFAULT = 2 | 1 << 4  # of the specification for a node that says nothing (section 2.3.5). Not inherited from further up
MOST_CELLS = 15
assert MAX_NODES < 0x1_0000 and MAX_NAME < 0x100


class TopName(Struct, frozen=True):
    """A child of the root that everybody asks for."""

    name: View[u8]


TOP_NAMES = table(TopName, [TopName(b"chosen"), TopName(b"cpus"), TopName(b"aliases"), TopName(b"reserved-memory")])
CHOSEN, CPUS, _, RESERVED_MEMORY = range(4)


class Fdt(Struct):
    """An opened tree: views of the blob and of its three blocks, and its nodes."""

    blob: View[u8]
    reserve: View[u8]
    structure: View[u8]
    strings: View[u8]
    count: u32
    arguments_found: bool  # `arguments` is what `bootargs.py` has found
    arguments: View[u8]
    asked: u32  # the phandle of the controller that `values.py` was asked for last, 0 for none, and what it has found
    controller: Node
    controller_maps: bool
    controller_cells: u32
    tops: Array[Node] = array(Node, len(TOP_NAMES))  # by TOP_NAMES; NO_NODE for none
    places: Array[Place] = array(Place, MAX_NODES)


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
    fdt.structure = blob[structure : structure + (usize(blob.load_be32(36)) & ~usize(3))]  # whole tokens
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


class Known(Struct):
    """Where the names that are looked for in all nodes stand in the strings block, as far as seen. One may stand there more than once."""

    compatible: u32
    phandle: u32
    address_cells: u32
    size_cells: u32


UNKNOWN = 0xFFFF_FFFF
LOW_BITS = 0x0101_0101_0101_0101
HIGH_BITS = 0x8080_8080_8080_8080


@fn
def whole_strings(strings: View[u8]) -> View[u8]:
    """The block up to its last NUL: what begins in it ends in it."""
    end = len(strings)
    while end > 0 and strings[end - 1] != 0:
        end -= 1
    return strings[:end]


@fn(inline=True)
def name_length(named: View[u8]) -> usize:
    """Where the first NUL is, looked for in words; the length when there is none."""
    rest = named
    while len(rest) >= 8:
        word = rest.load_le64(0)
        zeros = wrapping_sub(word, LOW_BITS) & ~word & HIGH_BITS  # its lowest bit is in the first byte that is 0
        if zeros != 0:
            return len(named) - len(rest) + usize(ctz(zeros) // 8)
        rest = rest[8:]
    return len(named) - len(rest) + rest.find(0)


@fn(inline=True)
def check_begin(fdt: Fdt, count: u32, parent: u32, depth: u32, rest: View[u8]) -> tuple[FdtError, usize]:
    """Note node number `count`, whose FDT_BEGIN_NODE `rest` begins with, of 4 bytes at least: (error, bytes up to the next token)."""
    at = truncate(u32, len(fdt.structure) - len(rest))
    if depth == 0 and at != 0:
        return FdtError.BAD_NESTING, 0
    if depth == MAX_DEPTH:
        return FdtError.TOO_DEEP, 0
    if count >= MAX_NODES:
        return FdtError.TOO_MANY_NODES, 0
    named = rest[4:]
    length = name_length(named)
    if length == len(named):
        return FdtError.CUT_STRUCTURE, 0
    if length > MAX_NAME:
        return FdtError.LONG_NAME, 0
    initial = named[0]
    if depth == 1 and (initial == 0x63 or initial == 0x61 or initial == 0x72):  # "c", "a", "r"
        note_top(fdt, count, named[:length])
    place = fdt.places[count]
    place.begin = at
    place.compatible = 0
    place.phandle = 0
    place.name_size = truncate(u8, length)
    place.initial = initial
    place.parent = truncate(u16, parent)
    place.cells = CELLS_DEFAULT
    place.cells_seen = 0
    return FdtError.NONE, 4 + align4(length + 1)


@fn(inline=False)
def note_top(fdt: Fdt, node: u32, name: View[u8]) -> None:
    """The root's children that everybody asks for; of several of one name the first counts."""
    for i in range(len(TOP_NAMES)):
        if fdt.tops[i] == NO_NODE and name_matches(name, TOP_NAMES[i].name):
            fdt.tops[i] = Node(node)


@fn(inline=True)
def note_property(fdt: Fdt, known: Known, place: Place, strings: View[u8], name: u32, rest: View[u8]) -> None:
    """What is looked for in all nodes: of the property that `rest` begins with."""
    if name == known.compatible:
        note_compatible(fdt, place, rest)
    elif name == known.phandle:
        note_phandle(place, rest)
    elif name == known.address_cells:
        note_cells(place, rest, ADDRESS_SEEN, 0)
    elif name == known.size_cells:
        note_cells(place, rest, SIZE_SEEN, 4)
    elif may_be_noted(strings, usize(name)):
        note_by_name(fdt, known, place, name, rest)


@fn(inline=True)
def may_be_noted(strings: View[u8], name: usize) -> bool:
    """By its second character, in "compatible", "phandle", "linux,phandle", "#address-cells", "#size-cells"."""
    if name + 1 >= len(strings):
        return False
    second = strings[name + 1]
    if strings[name] == 0x23:
        return second == 0x61 or second == 0x73
    return second == 0x6F or second == 0x68 or second == 0x69


@fn(inline=True)
def note_compatible(fdt: Fdt, place: Place, rest: View[u8]) -> None:
    """Of a property that a node has twice the first counts, here and for cells."""
    if place.compatible == 0:
        place.compatible = truncate(u32, len(fdt.structure) - len(rest))


@fn(inline=True)
def note_phandle(place: Place, rest: View[u8]) -> None:
    if rest.load_be32(4) == 4:
        place.phandle = rest.load_be32(12)


@fn
def note_cells(place: Place, rest: View[u8], which: u8, shift: u8) -> None:
    if place.cells_seen & which == 0 and rest.load_be32(4) == 4:
        value = truncate(u8, min(rest.load_be32(12), u32(MOST_CELLS)))
        place.cells = (place.cells & ~(u8(15) << shift)) | value << shift
    place.cells_seen |= which


@fn(inline=False)
def note_by_name(fdt: Fdt, known: Known, place: Place, name: u32, rest: View[u8]) -> None:
    """A name whose place in the strings block says nothing yet."""
    strings = fdt.strings
    offset = usize(name)
    if string_is(strings, offset, b"compatible"):
        known.compatible = name
        note_compatible(fdt, place, rest)
    elif string_is(strings, offset, b"phandle"):
        known.phandle = name
        note_phandle(place, rest)
    elif string_is(strings, offset, b"#address-cells"):
        known.address_cells = name
        note_cells(place, rest, ADDRESS_SEEN, 0)
    elif string_is(strings, offset, b"#size-cells"):
        known.size_cells = name
        note_cells(place, rest, SIZE_SEEN, 4)
    elif place.phandle == 0 and string_is(strings, offset, b"linux,phandle"):
        note_phandle(place, rest)


WANTED = table(u8, [int(chr(n) in "cpl#") for n in range(256)])
"""By the first character of a property's name: whether it may be one of those noted."""


@fn(inline=True)
def check_properties(fdt: Fdt, known: Known, place: Place, tokens: View[u8], strings: View[u8]) -> tuple[FdtError, View[u8]]:
    """All properties that `tokens` begins with, of the node at `place`: (error, what follows). `strings`: those that end in the block."""
    rest = tokens
    while len(rest) >= 12 and rest.load_be32(0) == PROP:
        size = u64(rest.load_be32(4)) + (12 + 3) & ~u64(3)
        name = rest.load_be32(8)
        if size > u64(len(rest)):  # the block is whole tokens
            return FdtError.CUT_STRUCTURE, rest
        if usize(name) >= len(strings):
            return FdtError.BAD_STRING, rest
        if WANTED[strings[name]] != 0:
            note_property(fdt, known, place, strings, name, rest)
        rest = rest[usize(size) :]
    return FdtError.NONE, rest


@fn(inline=False)
def check_structure(fdt: Fdt) -> FdtError:
    """One pass over every token. `fdt` has no nodes until all are sound."""
    strings = whole_strings(fdt.strings)
    known = Known(compatible=UNKNOWN, phandle=UNKNOWN, address_cells=UNKNOWN, size_cells=UNKNOWN)
    fdt.count = 0
    fdt.arguments_found = False
    fdt.asked = 0
    for i in range(len(TOP_NAMES)):
        fdt.tops[i] = NO_NODE
    node = u32(0)  # the innermost open one, and where it is
    place = fdt.places[0]
    depth = u32(0)
    count = u32(0)
    rest = fdt.structure
    while len(rest) >= 4:
        token = rest.load_be32(0)
        error = FdtError.NONE
        size = usize(4)
        if token == END_NODE and depth > 0:
            place.after = truncate(u16, count)
            node = u32(place.parent)
            place = fdt.places[node]
            depth -= 1
            rest = rest[4:]
            continue
        if token == BEGIN_NODE:
            error, size = check_begin(fdt, count, node, depth, rest)
            if error != FdtError.NONE:
                return error
            node = count
            depth += 1
            count += 1
            place = fdt.places[node]
        elif token == END:
            if depth != 0 or count == 0:
                return FdtError.BAD_NESTING
            fdt.count = count
            return FdtError.NONE
        elif token == PROP and depth > 0:
            if len(rest) < 12:
                return FdtError.CUT_STRUCTURE
            size = 0
        elif token != NOP:
            return FdtError.BAD_NESTING if token == PROP or token == END_NODE else FdtError.BAD_TOKEN
        if size > len(rest):
            return FdtError.CUT_STRUCTURE
        rest = rest[size:]
        if depth > 0:
            error, rest = check_properties(fdt, known, place, rest, strings)
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


@fn(inline=True)
def fdt_initial(fdt: Fdt, node: Node) -> u8:
    """The first character of the node's name; 0 for the root."""
    return fdt.places[u32(node)].initial


@fn(inline=True)
def content_of(fdt: Fdt, node: Node) -> View[u8]:
    """All tokens behind a node's name."""
    place = fdt.places[u32(node)]
    return fdt.structure[usize(place.begin) + 4 + align4(usize(place.name_size) + 1) :]


@fn(inline=True)
def string_is(strings: View[u8], offset: usize, name: View[u8]) -> bool:
    """True if the NUL-terminated string at `offset` is `name`, which is not empty."""
    if offset >= len(strings) or strings[offset] != name[0]:
        return False
    end = offset + len(name)
    return end < len(strings) and strings[end] == 0 and strings[offset:end].equals(name)


@fn
def fdt_property(fdt: Fdt, node: Node, name: View[u8]) -> tuple[bool, View[u8]]:
    """(present, value) of a property; the value of an absent one is empty."""
    strings = fdt.strings
    rest = content_of(fdt, node)
    if len(name) == 0:
        return False, rest[:0]
    initial = name[0]
    while len(rest) >= 12:
        head = rest.load_be64(0)
        size = usize(4)
        if head >> 32 == PROP:
            length = usize(head & 0xFFFF_FFFF)
            offset = usize(rest.load_be32(8))
            if offset < len(strings) and strings[offset] == initial and string_is(strings, offset, name):
                return True, rest[12 : 12 + length]
            size = 12 + align4(length)
        elif head >> 32 != NOP:
            break
        rest = rest[size:]
    return False, rest[:0]


@fn(inline=True)
def fdt_compatibles(fdt: Fdt, node: Node) -> View[u8]:
    """The list of what the node is compatible with; empty when it says nothing."""
    at = usize(fdt.places[u32(node)].compatible)
    if at == 0:
        return fdt.structure[:0]
    return fdt.structure[at + 12 : at + 12 + usize(fdt.structure.load_be32(at + 4))]


@fn
def fdt_child_cells(fdt: Fdt, node: Node) -> tuple[u32, u32]:
    """`#address-cells` and `#size-cells` of a node, or what holds without them; MOST_CELLS stands for anything above."""
    cells = u32(fdt.places[u32(node)].cells)
    return cells & 15, cells >> 4


@fn
def fdt_with_phandle(fdt: Fdt, phandle: u32) -> Node:
    """The first node that has it; NO_NODE when none has."""
    for n in range(min(fdt.count, u32(MAX_NODES))):
        if fdt.places[n].phandle == phandle:
            return Node(n)
    return NO_NODE


@fn
def fdt_phandle(fdt: Fdt, node: Node) -> u32:
    """0 when the node has none."""
    return fdt.places[u32(node)].phandle


@fn
def fdt_bytes(fdt: Fdt) -> usize:
    """How much of `fdt` an opened tree uses, from its beginning."""
    return offset_of(Fdt, "places") + usize(fdt.count) * size_of(Place)


@fn
def fdt_mentions(fdt: Fdt, node: Node, prefix: View[u8]) -> bool:
    """Whether some property's name begins so."""
    strings = fdt.strings
    rest = content_of(fdt, node)
    initial = prefix[0]
    while len(rest) >= 12:
        head = rest.load_be64(0)
        size = usize(4)
        if head >> 32 == PROP:
            name = usize(rest.load_be32(8))
            if name < len(strings) and strings[name] == initial and name + len(prefix) <= len(strings) and strings[name : name + len(prefix)].equals(prefix):
                return True
            size = 12 + align4(usize(head & 0xFFFF_FFFF))
        elif head >> 32 != NOP:
            break
        rest = rest[size:]
    return False


@fn(inline=True)
def name_matches(name: View[u8], part: View[u8]) -> bool:
    """A path's component names a node in full, or without the unit address that the node has."""
    if len(part) == 0 or len(name) < len(part) or name[0] != part[0] or not name[: len(part)].equals(part):
        return False
    return len(name) == len(part) or (name[len(part)] == 0x40 and part.find(0x40) == len(part))


@fn
def fdt_top(fdt: Fdt, name: View[u8]) -> tuple[bool, Node]:
    """(known, node) of a child of the root that everybody asks for; NO_NODE when the tree has none."""
    for i in range(len(TOP_NAMES)):
        if name.equals(TOP_NAMES[i].name):
            return True, fdt.tops[i]
    return False, NO_NODE


@fn
def fdt_chosen(fdt: Fdt) -> Node:
    """/chosen; NO_NODE when the tree has none. The same of the next two."""
    return fdt.tops[CHOSEN]


@fn
def fdt_cpus(fdt: Fdt) -> Node:
    return fdt.tops[CPUS]


@fn
def fdt_reserved_memory(fdt: Fdt) -> Node:
    return fdt.tops[RESERVED_MEMORY]


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
