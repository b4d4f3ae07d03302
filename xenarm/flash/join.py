"""One device tree from two: what /chosen of the second has is added to /chosen of the first (Devicetree Specification v0.4, chapter 5).

Nothing is kept in memory between calls, and nothing runs past a blob: every place is checked before it is read.
"""

from freestanding import Slice, View, fn, u8, u32, u64, usize

__all__ = ["tree_end_of_memory", "tree_is_sound", "tree_join", "tree_size"]

MAGIC = 0xD00D_FEED
HEADER_SIZE = 40
RESERVE_ENTRY = 16
VERSION = 17
READABLE = 16
BEGIN_NODE = 1
END_NODE = 2
PROP = 3
NOP = 4
END = 9
CHOSEN_DEPTH = 2
NONE = 0xFFFF_FFFF


@fn
def field(tree: View[u8], number: u32) -> u32:
    """A word of the header."""
    return tree.load_be32(usize(number * 4))


@fn
def tree_size(tree: View[u8]) -> u32:
    """How long a blob says that it is; 0: it is none. Needs the first 40 bytes."""
    return field(tree, 1) if len(tree) >= HEADER_SIZE and field(tree, 0) == MAGIC else u32(0)


@fn
def inside(tree: View[u8], offset: u32, size: u32) -> bool:
    return u64(offset) + u64(size) <= u64(len(tree))


@fn
def tree_is_sound(tree: View[u8]) -> bool:
    """Whether header and blocks of a whole blob fit it."""
    if tree_size(tree) == 0 or u64(tree_size(tree)) > u64(len(tree)) or field(tree, 6) > VERSION or field(tree, 5) < VERSION:
        return False
    return inside(tree, field(tree, 2), field(tree, 9)) and inside(tree, field(tree, 3), field(tree, 8)) and field(tree, 9) % 4 == 0 and reserve_size(tree) != 0


@fn
def structure(tree: View[u8]) -> View[u8]:
    start = usize(field(tree, 2))
    return tree[start : start + usize(field(tree, 9))]


@fn
def strings(tree: View[u8]) -> View[u8]:
    start = usize(field(tree, 3))
    return tree[start : start + usize(field(tree, 8))]


@fn
def reserve_size(tree: View[u8]) -> usize:
    """Of the memory reservations with their end; 0: they have none."""
    start = usize(field(tree, 4))
    at = start
    while at <= usize(len(tree)) and usize(len(tree)) - at >= RESERVE_ENTRY:
        at += RESERVE_ENTRY
        if tree.load_be64(at - 8) == 0 and tree.load_be64(at - 16) == 0:
            return at - start
    return 0


@fn
def name_size(block: View[u8], at: usize) -> usize:
    """Of the name behind a BEGIN_NODE, with its zero and filled up to a word; 0: it does not end."""
    rest = block[at:]
    size = rest.find(0)
    return usize(0) if size == len(rest) else (size + 4) & ~usize(3)


@fn
def token_size(block: View[u8], at: usize) -> usize:
    """Of the token at a place with all that belongs to it; 0: there is none, or it is cut."""
    left = usize(len(block)) - at
    if left < 4:
        return 0
    token = block.load_be32(at)
    if token == BEGIN_NODE:
        size = name_size(block, at + 4)
        return usize(0) if size == 0 or size > left - 4 else size + 4
    if token == PROP:
        if left < 12 or u64(block.load_be32(at + 4)) > u64(left - 12):
            return 0
        size = 12 + ((usize(block.load_be32(at + 4)) + 3) & ~usize(3))
        return usize(0) if size > left else size
    return usize(4) if token == END_NODE or token == NOP else usize(0)


@fn
def begins(block: View[u8], at: usize, name: View[u8]) -> bool:
    """Whether the node that begins there has a name, whatever its unit address."""
    if usize(len(block)) - at < 4 + usize(len(name)) + 1:
        return False
    after = block[at + 4 + usize(len(name))]
    return block[at + 4 : at + 4 + usize(len(name))].equals(name) and (after == 0 or after == 0x40)


@fn
def child(block: View[u8], name: View[u8]) -> usize:
    """Where the body of a child of the root begins, behind its name; 0: there is none, or the block is damaged."""
    at = usize(0)
    depth = u32(0)
    while True:
        size = token_size(block, at)
        if size == 0:
            return 0
        token = block.load_be32(at)
        if token == BEGIN_NODE:
            depth += 1
            if depth == CHOSEN_DEPTH and begins(block, at, name):
                return at + size
        if token == END_NODE:
            if depth <= 1:
                return 0
            depth -= 1
        at += size


@fn
def after_properties(block: View[u8], body: usize) -> usize:
    """The first place in a node's body where no property follows; 0: the block is damaged."""
    at = body
    while True:
        size = token_size(block, at)
        if size == 0:
            return 0
        token = block.load_be32(at)
        if token != PROP and token != NOP:
            return at
        at += size


@fn
def end_of_body(block: View[u8], body: usize) -> usize:
    """Where a node's END_NODE is; 0: the block is damaged."""
    at = body
    depth = u32(0)
    while True:
        size = token_size(block, at)
        if size == 0:
            return 0
        token = block.load_be32(at)
        if token == END_NODE:
            if depth == 0:
                return at
            depth -= 1
        if token == BEGIN_NODE:
            depth += 1
        at += size


@fn
def copy_body(out: Slice[u8], body: View[u8], names: u32) -> None:
    """Copy whole tokens; the names of properties lie so much further in the joint strings."""
    out.copy_from(body)
    at = usize(0)
    while at < usize(len(body)):
        if body.load_be32(at) == PROP:
            out.store_be32(at + 8, body.load_be32(at + 8) + names)
        at += max(token_size(body, at), usize(4))


@fn
def write_header(out: Slice[u8], host: View[u8], structure_at: u32, structure_size: u32, strings_size: u32) -> None:
    out.store_be32(0, MAGIC)
    out.store_be32(4, structure_at + structure_size + strings_size)
    out.store_be32(8, structure_at)
    out.store_be32(12, structure_at + structure_size)
    out.store_be32(16, HEADER_SIZE)
    out.store_be32(20, VERSION)
    out.store_be32(24, READABLE)
    out.store_be32(28, field(host, 7))
    out.store_be32(32, strings_size)
    out.store_be32(36, structure_size)


@fn
def tree_join(host: View[u8], fragment: View[u8], out: Slice[u8]) -> u32:
    """Write the joint tree; its size, or 0 when one of the two is damaged or has no /chosen, or `out` is too small. Both were found sound."""
    outer = structure(host)
    inner = structure(fragment)
    middle = child(outer, b"chosen")
    body = child(inner, b"chosen")
    if middle == 0 or body == 0:
        return 0
    middle = after_properties(outer, middle)
    end = end_of_body(inner, body)
    if middle == 0 or end == 0:
        return 0
    reserved = reserve_size(host)
    added = end - body
    names = usize(len(strings(host)))
    start = usize(HEADER_SIZE) + reserved
    total = u64(start) + u64(len(outer)) + u64(added) + u64(names) + u64(len(strings(fragment)))
    if total > u64(len(out)) or total > NONE:
        return 0
    write_header(out, host, u32(start), u32(usize(len(outer)) + added), u32(names + usize(len(strings(fragment)))))
    first = usize(field(host, 4))
    out[HEADER_SIZE:start].copy_from(host[first : first + reserved])
    out[start : start + middle].copy_from(outer[:middle])
    copy_body(out[start + middle : start + middle + added], inner[body:end], u32(names))
    at = start + middle + added
    out[at : at + usize(len(outer)) - middle].copy_from(outer[middle:])
    at += usize(len(outer)) - middle
    out[at : at + names].copy_from(strings(host))
    out[at + names : usize(total)].copy_from(strings(fragment))
    return u32(total)


@fn
def property_is(tree: View[u8], at: usize, name: View[u8]) -> bool:
    """Whether the PROP at a place of the structure block has a name."""
    place = u64(structure(tree).load_be32(at + 8))
    all_names = strings(tree)
    if place + u64(len(name)) >= u64(len(all_names)):
        return False
    start = usize(place)
    return all_names[start : start + usize(len(name))].equals(name) and all_names[start + usize(len(name))] == 0


@fn
def tree_end_of_memory(tree: View[u8], start: u64) -> u64:
    """The end of the bank of /memory that begins at an address, in two cells each; 0: there is none."""
    block = structure(tree)
    body = child(block, b"memory")
    at = body
    while body != 0:
        size = token_size(block, at)
        if size == 0 or (block.load_be32(at) != PROP and block.load_be32(at) != NOP):
            break
        if block.load_be32(at) == PROP and property_is(tree, at, b"reg") and block.load_be32(at + 4) >= 16:
            if block.load_be64(at + 12) == start:
                return start + block.load_be64(at + 20)
        at += size
    return 0
