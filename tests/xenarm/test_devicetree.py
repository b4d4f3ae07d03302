"""The device tree reader, against dtc, the `fdt` package, an independent parser, and Debian's collection of boards."""

from __future__ import annotations

import random
import struct
from typing import Any

import fdt as fdt_package
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freestanding import View, array, u8, zeroed
from tests.xenarm.trees import compile_source, debian_trees, parse
from xenarm.core.result import Result
from xenarm.devicetree import reader, values
from xenarm.devicetree.reader import MAX_NODES, NO_NODE, ROOT, Fdt, FdtError

BOARD = """
/dts-v1/;
/memreserve/ 0x48000000 0x10000;
/ {
    #address-cells = <2>; #size-cells = <2>; interrupt-parent = <&gic>;
    aliases { serial0 = "/soc/uart@1000"; bad = "soc"; };
    chosen { stdout-path = "serial0:115200n8"; };
    memory@40000000 { device_type = "memory"; reg = <0 0x40000000 0 0x10000000  0x2 0 0x1 0>; };
    gic: interrupt-controller@8000000 { #interrupt-cells = <3>; interrupt-controller; phandle = <7>; reg = <0 0x8000000 0 0x1000>; };
    soc {
        compatible = "vendor,soc", "simple-bus"; #address-cells = <1>; #size-cells = <1>;
        ranges = <0x0 0x0 0x9000000 0x100000>, <0x80000000 0x1 0x0 0x1000000>;
        uart@1000 { compatible = "vendor,uart", "arm,pl011"; reg = <0x1000 0x1000>; interrupts = <0 5 4>, <1 3 1>; };
        far@80000010 { compatible = "vendor,far"; reg = <0x80000010 0x10>; };
        off@2000 { compatible = "vendor,off"; reg = <0x2000 0x10>; status = "disabled"; };
        outside@200000 { reg = <0x200000 0x10>; };
        same { #address-cells = <1>; #size-cells = <1>; ranges; deep@3000 { reg = <0x3000 0x4>; }; };
        island { #address-cells = <1>; #size-cells = <1>; lost@0 { reg = <0 1>; }; };
    };
};
"""


def view(data: bytes) -> View[u8]:
    return View(data, 0, len(data))


def opened(blob: bytes) -> Fdt:
    tree = zeroed(Fdt)
    assert reader.fdt_open(tree, view(blob)) == FdtError.NONE
    return tree


def error_of(blob: bytes) -> FdtError:
    return reader.fdt_open(zeroed(Fdt), view(blob))


@pytest.fixture(scope="module")
def blob() -> bytes:
    return compile_source(BOARD)


@pytest.fixture
def board(blob: bytes) -> Fdt:
    return opened(blob)


def nodes(tree: Fdt) -> list[int]:
    found = []
    node = ROOT
    while node != NO_NODE:
        found.append(int(node))
        node = reader.fdt_next(tree, node)
    return found


def find(tree: Fdt, path: str) -> Any:
    return values.fdt_find(tree, view(path.encode()))


def prop(tree: Fdt, node: Any, name: str) -> tuple[bool, bytes]:
    present, value = reader.fdt_property(tree, node, view(name.encode()))
    return present, bytes(value)


# ---- a tree against independent readers


def compare(blob: bytes, parents: bool = True) -> None:
    """Same nodes, names, parents, properties as the independent parser finds."""
    tree = opened(blob)
    plain = list(parse(blob).walk())
    assert nodes(tree) == list(range(len(plain)))
    number = {p.offset: n for n, p in enumerate(plain)}
    for n, p in enumerate(plain):
        node = reader.Node(n)
        assert bytes(reader.fdt_name(tree, node)).decode() == p.name
        for name, value in p.properties.items():
            assert prop(tree, node, name) == (True, value)
        assert prop(tree, node, "no-such-property") == (False, b"")
        for child in p.children[:3] if parents else ():
            assert reader.fdt_parent(tree, reader.Node(number[child.offset])) == node


def test_nodes_names_properties(blob: bytes) -> None:
    compare(blob)


def test_against_the_fdt_package(blob: bytes) -> None:
    tree = opened(blob)
    other = fdt_package.parse_dtb(blob)
    for path, _, properties in other.walk():
        node = find(tree, path)
        assert node != NO_NODE, path
        for p in properties:
            if isinstance(p, fdt_package.PropStrings):
                assert prop(tree, node, p.name)[1] == b"".join(s.encode() + b"\0" for s in p.data)
            elif isinstance(p, fdt_package.PropWords):
                assert prop(tree, node, p.name)[1] == struct.pack(f">{len(p.data)}I", *p.data)


def test_every_board_that_debian_ships() -> None:
    paths = debian_trees()
    if not paths:
        pytest.skip("no trees: 'make run GUEST=debian' fetches Debian's kernel package")
    for path in paths:
        assert error_of(path.read_bytes()) == FdtError.NONE, path
    for path in random.Random(1).sample(paths, 40):
        compare(path.read_bytes(), parents=False)
    compare(paths[0].read_bytes())


def test_consoles_of_debians_boards() -> None:
    """Where a board names its console, we find the node, and for a PL011 its address."""
    paths = debian_trees()
    if not paths:
        pytest.skip("no trees")
    for path in random.Random(2).sample(paths, 40):
        blob = path.read_bytes()
        chosen = next((c for c in parse(blob).children if c.name == "chosen"), None)
        tree = opened(blob)
        node = values.fdt_stdout(tree)
        if chosen and "stdout-path" in chosen.properties:
            assert node != NO_NODE, path
            assert values.fdt_reg(tree, node, 0).result == Result.OK, path


# ---- what properties mean


def test_paths_and_aliases(board: Fdt) -> None:
    uart = find(board, "/soc/uart@1000")
    assert uart != NO_NODE
    assert find(board, "/soc/uart") == uart
    assert find(board, "//soc//uart@1000/") == uart
    assert find(board, "serial0") == uart
    assert find(board, "/") == ROOT
    for missing in ("", "/soc/uar", "/soc/uart@10", "/soc/uart@1000/x", "serial1", "bad", "bad/uart@1000"):
        assert find(board, missing) == NO_NODE, missing
    assert values.fdt_stdout(board) == uart


def test_path_text(board: Fdt) -> None:
    out = array(u8, 64)
    size = values.fdt_path(board, find(board, "serial0"), out)
    assert bytes(out[:size]) == b"/soc/uart@1000"
    assert bytes(out[: values.fdt_path(board, ROOT, out)]) == b"/"
    short = array(u8, 6)
    assert bytes(short[: values.fdt_path(board, find(board, "serial0"), short)]) == b"/soc/u"


def test_reg_through_ranges(board: Fdt) -> None:
    def reg(path: str, index: int = 0) -> tuple[Any, int, int]:
        r = values.fdt_reg(board, find(board, path), index)
        return r.result, int(r.base), int(r.size)

    assert reg("/soc/uart@1000") == (Result.OK, 0x9001000, 0x1000)
    assert reg("/soc/far") == (Result.OK, 0x1_0000_0010, 0x10)
    assert reg("/soc/same/deep") == (Result.OK, 0x9003000, 4)
    assert reg("/memory", 1) == (Result.OK, 0x2_0000_0000, 0x1_0000_0000)
    assert reg("/memory", 2)[0] == Result.NOT_FOUND
    assert reg("/soc/outside")[0] == Result.INVALID
    assert reg("/soc/island/lost")[0] == Result.INVALID
    assert reg("/soc")[0] == Result.NOT_FOUND
    assert reg("/")[0] == Result.INVALID


def test_interrupts(board: Fdt) -> None:
    uart = find(board, "serial0")
    first, second = values.fdt_interrupt(board, uart, 0), values.fdt_interrupt(board, uart, 1)
    assert (first.result, int(first.intid), first.edge) == (Result.OK, 37, False)
    assert (second.result, int(second.intid), second.edge) == (Result.OK, 19, True)
    assert values.fdt_interrupt(board, uart, 2).result == Result.NOT_FOUND
    assert values.fdt_by_phandle(board, 7) == find(board, "/interrupt-controller")
    assert values.fdt_by_phandle(board, 99) == NO_NODE


def test_compatible(board: Fdt) -> None:
    def first(name: str) -> Any:
        return values.fdt_find_compatible(board, view(name.encode()))

    assert first("arm,pl011") == find(board, "serial0")
    assert first("arm,pl01") == NO_NODE
    assert first("vendor,off") == NO_NODE  # disabled
    assert first("simple-bus") == find(board, "/soc")


def test_memory_reservations(board: Fdt) -> None:
    assert reader.fdt_reserve_entry(board, 0) == (0x48000000, 0x10000)
    assert reader.fdt_reserve_entry(board, 1) == (0, 0)


@given(st.lists(st.text("abc,", min_size=0, max_size=4), max_size=5), st.text("abc,", max_size=4))
def test_string_lists(strings: list[str], wanted: str) -> None:
    data = b"".join(s.encode() + b"\0" for s in strings)
    assert values.list_contains(view(data), view(wanted.encode())) == (wanted in strings)


@given(st.binary(max_size=24), st.binary(max_size=3))
def test_string_lists_of_anything(data: bytes, wanted: bytes) -> None:
    values.list_contains(view(data), view(wanted))


# ---- damage


def patched(blob: bytes, offset: int, value: int) -> bytes:
    return blob[:offset] + struct.pack(">I", value) + blob[offset + 4 :]


def test_header_faults(blob: bytes) -> None:
    size = len(blob)
    assert error_of(b"") == FdtError.TOO_SHORT
    assert error_of(blob[:40]) == FdtError.TOO_SHORT
    assert error_of(patched(blob, 0, 0xD00DFEEE)) == FdtError.BAD_MAGIC
    assert error_of(patched(blob, 20, 16)) == FdtError.BAD_VERSION
    assert error_of(patched(blob, 24, 18)) == FdtError.BAD_VERSION
    assert error_of(patched(blob, 4, size + 1)) == FdtError.BAD_SIZE
    assert error_of(blob[:-1]) == FdtError.BAD_SIZE
    for offset, value in ((8, size), (8, 2), (12, size + 1), (16, size), (32, size), (36, size), (8, 0xFFFF_FFFC)):
        assert error_of(patched(blob, offset, value)) == FdtError.BAD_LAYOUT, (offset, value)


def test_a_cut_structure_block(blob: bytes) -> None:
    (size,) = struct.unpack_from(">I", blob, 36)
    for cut in range(4, size, 4):
        found = error_of(patched(blob, 36, size - cut))
        assert found in (FdtError.CUT_STRUCTURE, FdtError.BAD_NESTING), cut


def tokens(*words: int) -> bytes:
    """A blob whose structure block is just these words."""
    structure = struct.pack(f">{len(words)}I", *words)
    header = struct.pack(">10I", 0xD00DFEED, 56 + len(structure) + 4, 56, 56 + len(structure), 40, 17, 16, 0, 4, len(structure))
    return header + bytes(16) + structure + b"reg\0"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((1, 0, 2, 9), FdtError.NONE),
        ((1, 0, 3, 0, 0, 2, 9), FdtError.NONE),
        ((1, 0, 3, 0, 4, 2, 9), FdtError.BAD_STRING),
        ((1, 0, 3, 0, 0xFFFFFFFF, 2, 9), FdtError.BAD_STRING),
        ((1, 0, 3, 0xFFFFFFFF, 0, 2, 9), FdtError.CUT_STRUCTURE),
        ((1, 0, 9, 9), FdtError.BAD_NESTING),
        ((1, 0, 2, 2, 9), FdtError.BAD_NESTING),
        ((1, 0, 2, 1, 0, 2, 9), FdtError.BAD_NESTING),
        ((1, 0, 2, 3, 0, 0, 9), FdtError.BAD_NESTING),
        ((9, 9, 9, 9), FdtError.BAD_NESTING),
        ((1, 0, 5, 9), FdtError.BAD_TOKEN),
        ((1, 0, 2, 4), FdtError.CUT_STRUCTURE),
        ((1, 0x61616161, 0x61616161, 0x61616161), FdtError.CUT_STRUCTURE),
        ((*(1, 0) * 33, *(2,) * 33, 9), FdtError.TOO_DEEP),
        ((*(1, 0) * 32, *(2,) * 32, 9), FdtError.NONE),
        ((1, 0, *(1, 0, 2) * (MAX_NODES - 1), 2, 9), FdtError.NONE),
        ((1, 0, *(1, 0, 2) * MAX_NODES, 2, 9), FdtError.TOO_MANY_NODES),
        ((1, *(0x61616161,) * 63, 0x61616100, 2, 9), FdtError.NONE),
        ((1, *(0x61616161,) * 64, 0, 2, 9), FdtError.LONG_NAME),
    ],
)
def test_token_faults(words: tuple[int, ...], error: FdtError) -> None:
    assert error_of(tokens(*words)) == error


def use_everything(tree: Fdt) -> None:
    """Every query at every node: a tree that was accepted must not bring any of them to a panic."""
    for offset in nodes(tree):
        node = reader.Node(offset)
        reader.fdt_name(tree, node)
        values.fdt_reg(tree, node, 0)
        values.fdt_interrupt(tree, node, 0)
        values.fdt_path(tree, node, array(u8, 20))
        values.fdt_status_okay(tree, node)
    values.fdt_stdout(tree)
    values.fdt_by_phandle(tree, 7)


@given(st.lists(st.tuples(st.integers(0, 4096), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_bytes(blob: bytes, damage: list[tuple[int, int]]) -> None:
    data = bytearray(blob)
    for at, value in damage:
        data[at % len(data)] = value
    tree = zeroed(Fdt)
    if reader.fdt_open(tree, view(bytes(data))) == FdtError.NONE:
        use_everything(tree)


@given(st.integers(0, 4096), st.sampled_from([0, 1, 2, 3, 4, 9, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
def test_damaged_words(blob: bytes, at: int, value: int) -> None:
    data = patched(blob, at * 4 % (len(blob) - 4) & ~3, value)
    tree = zeroed(Fdt)
    if reader.fdt_open(tree, view(data)) == FdtError.NONE:
        use_everything(tree)
