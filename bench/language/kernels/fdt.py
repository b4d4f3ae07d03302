"""A walk over every token of a flattened device tree: nodes, depth, compatible strings, cells of `reg`."""

from freestanding import Ptr, Struct, View, export, fn, u8, u32, u64, usize, wrapping_add, zeroed

MAPS_MEMORY = True
BEGIN_NODE, END_NODE, PROP, NOP, END = 1, 2, 3, 4, 9


class Found(Struct):
    nodes: u32
    depth: u32
    compatibles: u32
    cells: u32
    sum: u64


@fn
def align4(n: usize) -> usize:
    return (n + 3) & ~usize(3)


@fn
def name_is(strings: View[u8], at: usize, name: View[u8]) -> bool:
    """True if the NUL-terminated string at `at` is `name`."""
    end = at + len(name)
    return end < len(strings) and strings[end] == 0 and strings[at:end].equals(name)


@fn
def note_property(found: Found, strings: View[u8], name: usize, value: View[u8]) -> None:
    if name_is(strings, name, b"compatible"):
        for byte in value:
            if byte == 0:
                found.compatibles += 1
    elif name_is(strings, name, b"reg"):
        at = usize(0)
        while len(value) - at >= 4:
            found.cells += 1
            found.sum = wrapping_add(found.sum, u64(value.load_be32(at)))
            at += 4


@fn
def walk(found: Found, structure: View[u8], strings: View[u8]) -> None:
    at = usize(0)
    depth = u32(0)
    while True:
        token = structure.load_be32(at)
        at += 4
        if token == BEGIN_NODE:
            found.nodes += 1
            depth += 1
            found.depth = max(found.depth, depth)
            at = align4(at + structure[at:].find(0) + 1)
        elif token == END_NODE:
            depth -= 1
        elif token == PROP:
            size = usize(structure.load_be32(at))
            name = usize(structure.load_be32(at + 4))
            note_property(found, strings, name, structure[at + 8 : at + 8 + size])
            at = align4(at + 8 + size)
        elif token != NOP:
            return


@fn
def visit(blob: View[u8]) -> u64:
    found = zeroed(Found)
    structure = usize(blob.load_be32(8))
    strings = usize(blob.load_be32(12))
    walk(found, blob[structure : structure + usize(blob.load_be32(36))], blob[strings : strings + usize(blob.load_be32(32))])
    counts = u64(found.nodes) << 40 | u64(found.depth) << 32 | u64(found.compatibles) << 16 | u64(found.cells)
    return counts ^ found.sum << 20


@export("kernel")
def kernel(data: u64, size: u64, out: u64, seed: u64) -> u64:
    return visit(Ptr[u8](usize(data)).slice(usize(size)))
