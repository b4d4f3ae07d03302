"""What properties mean: cells, strings, `reg` through `ranges`, paths, aliases, `compatible`, phandles, interrupts.

Devicetree Specification v0.4, chapters 2 and 3; interrupt specifiers of the GIC from Linux's binding `arm,gic.yaml`.
"""

from freestanding import Slice, Struct, View, fn, u8, u32, u64, usize, zeroed
from xenarm.core.result import Result
from xenarm.devicetree.reader import (
    MAX_DEPTH,
    NO_NODE,
    ROOT,
    Fdt,
    Node,
    Trail,
    fdt_child_cells,
    fdt_children,
    fdt_chosen,
    fdt_compatibles,
    fdt_initial,
    fdt_name,
    fdt_nodes,
    fdt_parent,
    fdt_property,
    fdt_top,
    fdt_trace,
    fdt_with_phandle,
    name_length,
    name_matches,
)

__all__ = [
    "Cells",
    "Interrupt",
    "Interrupts",
    "Range",
    "Regs",
    "fdt_by_phandle",
    "fdt_cells",
    "fdt_compatible",
    "fdt_find",
    "fdt_find_compatible",
    "fdt_interrupt",
    "fdt_interrupts",
    "fdt_path",
    "fdt_raw_reg",
    "fdt_reg",
    "fdt_regs",
    "fdt_status_okay",
    "fdt_stdout",
    "fdt_string",
    "fdt_u32",
    "fdt_u64",
    "interrupts_entry",
    "list_contains",
    "name_matches",
    "regs_entry",
]

MOST_CELLS = 3  # of an interrupt map: PCI's; more is a malformed tree

GIC_SPI = 0
GIC_PPI = 1
GIC_FIRST_SPI = 32
GIC_FIRST_PPI = 16
GIC_SPIS = 988
GIC_PPIS = 16
GIC_TYPE_MASK = 0xF
GIC_EDGE_RISING = 1


class Cells(Struct, frozen=True):
    """How many cells an address and a size take in the `reg` of a node's children."""

    address: u32
    size: u32


class Range(Struct, frozen=True):
    """A run of addresses; `result` says whether it could be read."""

    result: Result
    base: u64
    size: u64


class Interrupt(Struct, frozen=True):
    """An interrupt of the GIC by its INTID."""

    result: Result
    intid: u32
    edge: bool


class Interrupts(Struct, frozen=True):
    """A node's `interrupts`, and what they mean. `mapped`: the controller is a bus that maps them."""

    result: Result
    value: View[u8]
    controller: Node
    mapped: bool
    cells: u32  # of one


@fn
def fdt_u32(fdt: Fdt, node: Node, name: View[u8], default: u32) -> u32:
    """A property of one cell; `default` when it is absent or has another length."""
    present, value = fdt_property(fdt, node, name)
    if not present or len(value) != 4:
        return default
    return value.load_be32(0)


@fn
def fdt_u64(fdt: Fdt, node: Node, name: View[u8]) -> tuple[Result, u64]:
    """A number of one or two cells."""
    present, value = fdt_property(fdt, node, name)
    if not present:
        return Result.NOT_FOUND, 0
    if len(value) == 4:
        return Result.OK, u64(value.load_be32(0))
    if len(value) != 8:
        return Result.INVALID, 0
    return Result.OK, value.load_be64(0)


@fn
def fdt_string(fdt: Fdt, node: Node, name: View[u8]) -> tuple[bool, View[u8]]:
    """(sound, text) of a string property without its NUL; of a list the first. Absent or unterminated: not sound."""
    present, value = fdt_property(fdt, node, name)
    end = value.find(0)
    if not present or end == len(value):
        return False, value[:0]
    return True, value[:end]


@fn
def list_contains(strings: View[u8], wanted: View[u8]) -> bool:
    """True if a list of NUL-terminated strings has `wanted` in it."""
    rest = strings
    while len(rest) > len(wanted):
        if rest[len(wanted)] == 0 and rest[: len(wanted)].equals(wanted):
            return True
        rest = rest[min(name_length(rest) + 1, len(rest)) :]
    return False


@fn
def fdt_compatible(fdt: Fdt, node: Node, wanted: View[u8]) -> bool:
    return list_contains(fdt_compatibles(fdt, node), wanted)


@fn
def fdt_find_compatible(fdt: Fdt, wanted: View[u8]) -> Node:
    """The first node that is compatible and not disabled; NO_NODE when there is none."""
    for node in fdt_nodes(fdt):
        value = fdt_compatibles(fdt, node)
        if len(value) > len(wanted) and list_contains(value, wanted) and fdt_status_okay(fdt, node):
            return node
    return NO_NODE


@fn
def fdt_status_okay(fdt: Fdt, node: Node) -> bool:
    """Absent, `okay` or the historical `ok` (specification 2.3.4)."""
    present, value = fdt_property(fdt, node, b"status")
    return not present or list_contains(value, b"okay") or list_contains(value, b"ok")


@fn
def fdt_by_phandle(fdt: Fdt, phandle: u32) -> Node:
    if phandle == 0 or phandle == 0xFFFF_FFFF:  # never valid
        return NO_NODE
    return fdt_with_phandle(fdt, phandle)


@fn
def child_named(fdt: Fdt, node: Node, part: View[u8]) -> Node:
    if node == ROOT:
        known, top = fdt_top(fdt, part)
        if known:
            return top
    for child in fdt_children(fdt, node):
        if fdt_initial(fdt, child) == part[0] and name_matches(fdt_name(fdt, child), part):
            return child
    return NO_NODE


@fn
def walk(fdt: Fdt, start: Node, path: View[u8]) -> Node:
    """Follow `a/b/c` down from `start`; empty components are skipped."""
    node = start
    rest = path
    while len(rest) > 0 and node != NO_NODE:
        end = rest.find(0x2F)
        if end > 0:
            node = child_named(fdt, node, rest[:end])
        rest = rest[min(end + 1, len(rest)) :]
    return node


@fn
def fdt_find(fdt: Fdt, path: View[u8]) -> Node:
    """The node of a path `/a/b`, or of an alias with a path behind it, `serial0/x`; NO_NODE when there is none."""
    if len(path) == 0:
        return NO_NODE
    if path[0] == 0x2F:
        return walk(fdt, ROOT, path)
    end = path.find(0x2F)
    aliases = child_named(fdt, ROOT, b"aliases")
    if aliases == NO_NODE:
        return NO_NODE
    sound, target = fdt_string(fdt, aliases, path[:end])
    if not sound or len(target) == 0 or target[0] != 0x2F:
        return NO_NODE
    node = walk(fdt, ROOT, target)
    return NO_NODE if node == NO_NODE else walk(fdt, node, path[end:])


@fn
def fdt_stdout(fdt: Fdt) -> Node:
    """The console's node: `stdout-path` of /chosen (or the older `linux,stdout-path`), less its `:options`."""
    chosen = fdt_chosen(fdt)
    if chosen == NO_NODE:
        return NO_NODE
    sound, path = fdt_string(fdt, chosen, b"stdout-path")
    if not sound:
        sound, path = fdt_string(fdt, chosen, b"linux,stdout-path")
    return fdt_find(fdt, path[: path.find(0x3A)]) if sound else NO_NODE


@fn
def fdt_cells(fdt: Fdt, parent: Node) -> Cells:
    """What the children's `reg` is made of."""
    address, size = fdt_child_cells(fdt, parent)
    return Cells(address=address, size=size)


@fn
def read_number(value: View[u8], at: usize, cells: u32) -> u64:
    """A number of up to two cells; the caller has checked that it lies inside `value`."""
    if cells == 0:
        return 0
    if cells == 1:
        return u64(value.load_be32(at))
    return value.load_be64(at)


@fn
def bad_range(result: Result) -> Range:
    return Range(result=result, base=0, size=0)


@fn
def reg_entry(value: View[u8], index: u32, cells: Cells) -> Range:
    """Entry `index` of a `reg`: NOT_FOUND past its end, INVALID when cells or length make no sense."""
    if cells.address == 0 or cells.address > 2 or cells.size > 2:
        return bad_range(Result.INVALID)
    entry = usize(cells.address + cells.size) * 4
    if len(value) % entry != 0:
        return bad_range(Result.INVALID)
    if usize(index) >= len(value) // entry:
        return bad_range(Result.NOT_FOUND)
    at = usize(index) * entry
    base = read_number(value, at, cells.address)
    size = read_number(value, at + usize(cells.address) * 4, cells.size)
    fits, _ = checked_end(base, size)
    return Range(result=Result.OK, base=base, size=size) if fits else bad_range(Result.INVALID)


@fn
def checked_end(base: u64, size: u64) -> tuple[bool, u64]:
    """Base + size, and whether 64 bits hold it."""
    if size > 0xFFFF_FFFF_FFFF_FFFF - base:
        return False, 0
    return True, base + size


@fn
def fdt_raw_reg(fdt: Fdt, parent: Node, node: Node, index: u32) -> Range:
    """An entry of `reg` as it stands, in the parent's address space: for memory, reservations and boot modules."""
    present, value = fdt_property(fdt, node, b"reg")
    if not present:
        return bad_range(Result.NOT_FOUND)
    return reg_entry(value, index, fdt_cells(fdt, parent))


@fn
def through_ranges(ranges: View[u8], here: Cells, above: u32, address: u64, size: u64) -> tuple[Result, u64]:
    """One bus upwards: the parent's address of a child's, by a `ranges` of (child, parent, length) entries."""
    if len(ranges) == 0:
        return Result.OK, address
    if here.address == 0 or here.address > 2 or above == 0 or above > 2 or here.size == 0 or here.size > 2:
        return Result.INVALID, 0
    entry = usize(here.address + above + here.size) * 4
    at = usize(0)
    while at < len(ranges) and len(ranges) - at >= entry:
        child = read_number(ranges, at, here.address)
        parent = read_number(ranges, at + usize(here.address) * 4, above)
        length = read_number(ranges, at + usize(here.address + above) * 4, here.size)
        if address >= child and address - child < length and size <= length - (address - child):
            fits, moved = checked_end(parent, address - child)
            return Result.OK if fits else Result.INVALID, moved
        at += entry
    return Result.NOT_FOUND, 0


@fn
def translate(fdt: Fdt, trail: Trail, address: u64, size: u64) -> tuple[Result, u64]:
    """From the address space of the trail's last node's parent up to the root's; a bus without `ranges` ends it."""
    bus = trail.depth - 1
    moved = address
    while bus > 0:
        present, ranges = fdt_property(fdt, trail.nodes[bus], b"ranges")
        if not present:
            return Result.NOT_FOUND, 0
        here = fdt_cells(fdt, trail.nodes[bus])
        above = fdt_cells(fdt, trail.nodes[bus - 1])
        result, moved = through_ranges(ranges, here, above.address, moved, size)
        if result != Result.OK:
            return result, 0
        bus -= 1
    return Result.OK, moved


class Regs(Struct):
    """A node's `reg`, and the buses above. `result`: whether it has one."""

    result: Result
    value: View[u8]
    trail: Trail


@fn
def fdt_regs(fdt: Fdt, node: Node, regs: Regs) -> None:
    """What `regs_entry` reads, for several entries of one node. `regs` is zeroed."""
    regs.result = Result.INVALID
    if fdt_trace(fdt, node, regs.trail) and regs.trail.depth != 0:
        present, value = fdt_property(fdt, node, b"reg")
        regs.value = value
        regs.result = Result.OK if present else Result.NOT_FOUND


@fn
def regs_entry(fdt: Fdt, regs: Regs, index: u32) -> Range:
    """An entry as a machine address, translated through the `ranges` of every bus above."""
    if regs.result != Result.OK:
        return bad_range(regs.result)
    trail = regs.trail
    own = reg_entry(regs.value, index, fdt_cells(fdt, trail.nodes[trail.depth - 1]))
    if own.result != Result.OK:
        return own
    result, base = translate(fdt, trail, own.base, own.size)
    fits, _ = checked_end(base, own.size)
    if result != Result.OK or not fits:
        return bad_range(Result.INVALID)
    return Range(result=Result.OK, base=base, size=own.size)


@fn
def fdt_reg(fdt: Fdt, node: Node, index: u32) -> Range:
    """An entry of a node's `reg` as a machine address."""
    regs = zeroed(Regs)
    fdt_regs(fdt, node, regs)
    return regs_entry(fdt, regs, index)


@fn
def bad_interrupt(result: Result) -> Interrupt:
    return Interrupt(result=result, intid=0, edge=False)


@fn
def controller_note(fdt: Fdt, controller: Node) -> None:
    """See how interrupts are given to a controller: by a map, or in how many cells."""
    fdt.controller = controller
    fdt.controller_maps = False
    fdt.controller_cells = 0
    if controller != NO_NODE:
        maps, _ = fdt_property(fdt, controller, b"interrupt-map")
        fdt.controller_maps = maps
        fdt.controller_cells = u32(0) if maps else fdt_u32(fdt, controller, b"#interrupt-cells", 0)


@fn
def interrupt_parent(fdt: Fdt, node: Node) -> None:
    """Note the controller of a node's `interrupts`: its own or the nearest ancestor's `interrupt-parent`; or a bus that maps them (section 2.4).

    Nearly all nodes have one and the same, which is looked at once. Boot only: not locked.
    """
    at = node
    for _ in range(MAX_DEPTH):
        phandle = fdt_u32(fdt, at, b"interrupt-parent", 0)
        if phandle != 0:
            if phandle != fdt.asked:
                controller_note(fdt, fdt_by_phandle(fdt, phandle))
                fdt.asked = phandle
            return
        if at != node:  # a bus does not map its own
            mapped, _ = fdt_property(fdt, at, b"interrupt-map")
            if mapped:
                fdt.asked = 0
                controller_note(fdt, at)
                return
        if at == ROOT:
            break
        at = fdt_parent(fdt, at)
    fdt.asked = 0
    controller_note(fdt, NO_NODE)


@fn
def map_row(fdt: Fdt, bus: Node, row: View[u8], wanted: u32, mask: u32) -> tuple[bool, usize, Interrupt]:
    """One row of an `interrupt-map` whose interrupts are one cell: (it is the one, bytes of the row, the GIC's interrupt). 0 bytes: it makes no sense."""
    at = usize(fdt_cells(fdt, bus).address) * 4
    if at + 8 > len(row):
        return False, 0, bad_interrupt(Result.INVALID)
    controller = fdt_by_phandle(fdt, row.load_be32(at + 4))
    if controller == NO_NODE:
        return False, 0, bad_interrupt(Result.INVALID)
    first = at + 8 + usize(min(fdt_u32(fdt, controller, b"#address-cells", 0), u32(MOST_CELLS))) * 4
    end = first + usize(min(fdt_u32(fdt, controller, b"#interrupt-cells", 0), u32(MOST_CELLS + 1))) * 4
    if end > len(row) or end - first < 12:
        return False, 0, bad_interrupt(Result.INVALID)
    return row.load_be32(at) & mask == wanted & mask, end, gic_interrupt(row, first)


@fn
def mapped_interrupt(fdt: Fdt, bus: Node, wanted: u32) -> Interrupt:
    """An interrupt of a bus by its `interrupt-map` (section 2.4.3). INVALID where the map looks at addresses too, as PCI's do."""
    _, mask = fdt_property(fdt, bus, b"interrupt-map-mask")
    address = usize(fdt_cells(fdt, bus).address) * 4
    if fdt_u32(fdt, bus, b"#interrupt-cells", 0) != 1 or len(mask) != address + 4:
        return bad_interrupt(Result.INVALID)
    for i in range(address):
        if mask[i] != 0:
            return bad_interrupt(Result.INVALID)
    _, rest = fdt_property(fdt, bus, b"interrupt-map")
    while len(rest) > 0:
        found, size, interrupt = map_row(fdt, bus, rest, wanted, mask.load_be32(address))
        if found or size == 0:
            return interrupt
        rest = rest[size:]
    return bad_interrupt(Result.NOT_FOUND)


@fn
def gic_interrupt(value: View[u8], at: usize) -> Interrupt:
    """Three cells: kind, number, trigger."""
    kind = value.load_be32(at)
    number = value.load_be32(at + 4)
    edge = value.load_be32(at + 8) & GIC_TYPE_MASK == GIC_EDGE_RISING
    if kind == GIC_SPI and number < GIC_SPIS:
        return Interrupt(result=Result.OK, intid=number + GIC_FIRST_SPI, edge=edge)
    if kind == GIC_PPI and number < GIC_PPIS:
        return Interrupt(result=Result.OK, intid=number + GIC_FIRST_PPI, edge=edge)
    return bad_interrupt(Result.INVALID)


@fn
def fdt_interrupts(fdt: Fdt, node: Node) -> Interrupts:
    """What a node's interrupts are read by, for several of one node."""
    present, value = fdt_property(fdt, node, b"interrupts")
    if not present:
        return Interrupts(result=Result.NOT_FOUND, value=value, controller=NO_NODE, mapped=False, cells=0)
    interrupt_parent(fdt, node)
    mapped = fdt.controller_maps
    cells = fdt.controller_cells
    sound = mapped or (cells >= 3 and cells <= 4)  # GICv3 may have a fourth
    return Interrupts(result=Result.OK if sound else Result.INVALID, value=value, controller=fdt.controller, mapped=mapped, cells=cells)


@fn
def interrupts_entry(fdt: Fdt, interrupts: Interrupts, index: u32) -> Interrupt:
    """One of them; NOT_FOUND when the node has fewer."""
    if interrupts.result != Result.OK:
        return bad_interrupt(interrupts.result)
    value = interrupts.value
    if interrupts.mapped:
        at = usize(index) * 4
        return mapped_interrupt(fdt, interrupts.controller, value.load_be32(at)) if len(value) >= at + 4 else bad_interrupt(Result.NOT_FOUND)
    size = usize(interrupts.cells) * 4
    if usize(index) >= len(value) // size:
        return bad_interrupt(Result.NOT_FOUND)
    return gic_interrupt(value, usize(index) * size)


@fn
def fdt_interrupt(fdt: Fdt, node: Node, index: u32) -> Interrupt:
    """Interrupt `index` of a node whose controller is a GIC, be it by a bus's map; NOT_FOUND when it has none or fewer."""
    return interrupts_entry(fdt, fdt_interrupts(fdt, node), index)


@fn
def fdt_path(fdt: Fdt, node: Node, out: Slice[u8]) -> usize:
    """Write the node's full path into `out`, cut where it ends; its length."""
    trail = zeroed(Trail)
    if not fdt_trace(fdt, node, trail):
        return 0
    at = usize(0)
    for depth in range(1, trail.depth + 1):
        name = fdt_name(fdt, trail.nodes[depth])
        if at < len(out):
            out[at] = 0x2F
            at += 1
        size = min(len(name), len(out) - at)
        out[at : at + size].copy_from(name[:size])
        at += size
    if at == 0 and len(out) > 0:
        out[0] = 0x2F
        at = 1
    return at
