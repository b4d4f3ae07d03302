"""The tree writer and the guest's tree, read back by dtc and compared with what Xen gives its guests."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freestanding import View, array, u8, zeroed
from tests.xenarm.trees import Plain, parse, source_of
from xenarm.core.result import Result
from xenarm.devicetree import reader, writer
from xenarm.devicetree.guest import GUEST_TREE_ROOM, GuestTree, guest_tree_bank, guest_tree_write
from xenarm.devicetree.reader import Fdt, FdtError
from xenarm.devicetree.writer import FdtWriter

ROOM = 4096


def view(data: bytes) -> View[u8]:
    return View(data, 0, len(data))


def described(banks: tuple[tuple[int, int], ...] = ((0x40000000, 64 << 20),), **changes: Any) -> GuestTree:
    tree: GuestTree = zeroed(GuestTree)
    settings: dict[str, Any] = dict(vcpus=2, vpl011=True, bootargs=view(b"console=ttyAMA0"))
    settings |= dict(gicd=0x03001000, gicc=0x03002000, uart=0x22000000, uart_intid=32)
    for name, value in (settings | changes).items():
        setattr(tree, name, value)
    for base, size in banks:
        guest_tree_bank(tree, base, size)
    return tree


def guest_tree(*banks: tuple[tuple[int, int], ...], **changes: Any) -> bytes:
    out = array(u8, GUEST_TREE_ROOM)
    result, size = guest_tree_write(described(*banks, **changes), out)
    assert result == Result.OK
    return bytes(out[:size])


def child(node: Plain, name: str) -> Plain:
    return next(c for c in node.children if c.name == name)


def cells(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(data) // 4}I", data)


def test_what_the_guest_sees() -> None:
    root = parse(guest_tree())
    assert [c.name for c in root.children] == [
        "chosen", "psci", "cpus", "memory@40000000", "interrupt-controller@3001000", "timer", "sbsa-uart@22000000",
    ]  # fmt: skip
    assert root.properties["compatible"] == b"xen,xenvm-4.17\0xen,xenvm\0"
    assert child(root, "chosen").properties["bootargs"] == b"console=ttyAMA0\0"
    assert child(root, "chosen").properties["stdout-path"] == b"/sbsa-uart@22000000\0"
    assert [c.name for c in child(root, "cpus").children] == ["cpu@0", "cpu@1"]
    assert cells(child(root, "memory@40000000").properties["reg"]) == (0, 0x40000000, 0, 64 << 20)
    assert child(root, "psci").properties["method"] == b"hvc\0"


def test_same_as_xen() -> None:
    """Values read back from a dom0less guest of Xen 4.17."""
    root = parse(guest_tree())
    gic = child(root, "interrupt-controller@3001000").properties
    assert cells(gic["reg"]) == (0, 0x3001000, 0, 0x1000, 0, 0x3002000, 0, 0x2000)
    assert cells(gic["#interrupt-cells"]) == (3,)
    assert gic["interrupt-controller"] == b""
    assert cells(child(root, "timer").properties["interrupts"]) == (1, 13, 0xF08, 1, 14, 0xF08, 1, 11, 0xF08)
    uart = child(root, "sbsa-uart@22000000").properties
    assert uart["compatible"] == b"arm,sbsa-uart\0"
    assert cells(uart["reg"]) == (0, 0x22000000, 0, 0x1000)
    assert cells(uart["interrupts"])[:2] == (0, 0)
    assert child(root, "psci").properties["compatible"] == b"arm,psci-1.0\0arm,psci-0.2\0arm,psci\0"


def test_ramdisk_and_high_memory() -> None:
    root = parse(guest_tree(((0x40000000, 3 << 30), (0x200000000, 5 << 30)), ramdisk=0x48000000, ramdisk_size=0x1234))
    assert cells(child(root, "memory@40000000").properties["reg"]) == (0, 0x40000000, 0, 0xC0000000, 2, 0, 1, 0x40000000)
    chosen = child(root, "chosen").properties
    assert cells(chosen["linux,initrd-start"]) == (0, 0x48000000)
    assert cells(chosen["linux,initrd-end"]) == (0, 0x48001234)


def test_serial_port_as_a_primecell() -> None:
    root = parse(guest_tree(primecell=True))
    uart = child(root, "pl011@22000000").properties
    assert uart["compatible"] == b"arm,pl011\0arm,primecell\0"
    assert cells(uart["clocks"]) == cells(child(root, "clock").properties["phandle"]) * 2
    assert child(root, "chosen").properties["stdout-path"] == b"/pl011@22000000\0"


def test_devices_and_memory_where_the_machine_has_them() -> None:
    """A direct-map domain: the first bank names the node, the port has the machine's interrupt."""
    places = dict(gicd=0x8000000, gicc=0x8010000, uart=0x9000000, uart_intid=33)
    root = parse(guest_tree(((0x58000000, 32 << 20), (0x50000000, 16 << 20)), **places))
    assert cells(child(root, "memory@58000000").properties["reg"]) == (0, 0x58000000, 0, 32 << 20, 0, 0x50000000, 0, 16 << 20)
    assert cells(child(root, "interrupt-controller@8000000").properties["reg"]) == (0, 0x8000000, 0, 0x1000, 0, 0x8010000, 0, 0x2000)
    uart = child(root, "sbsa-uart@9000000").properties
    assert cells(uart["interrupts"]) == (0, 1, 4) and cells(uart["reg"])[:2] == (0, 0x9000000)
    assert child(root, "chosen").properties["stdout-path"] == b"/sbsa-uart@9000000\0"


@given(st.integers(0, (1 << 64) - 1))
def test_the_path_of_any_unit_address(address: int) -> None:
    root = parse(guest_tree(uart=address))
    assert child(root, "chosen").properties["stdout-path"] == b"/sbsa-uart@%x\0" % address


def test_without_a_serial_port() -> None:
    root = parse(guest_tree(vpl011=False, bootargs=view(b"")))
    assert not any("uart" in c.name for c in root.children)
    assert not child(root, "chosen").properties


def test_dtc_has_nothing_to_complain_about() -> None:
    text = source_of(guest_tree())
    assert "interrupt-controller@3001000" in text


def test_largest_tree_fits() -> None:
    guest_tree(tuple((n << 30, 1 << 30) for n in range(32)), vcpus=128, bootargs=view(b"x" * 2047), ramdisk=1 << 30, ramdisk_size=1)


def test_running_out_of_room() -> None:
    tree = described(vcpus=1, vpl011=False, bootargs=view(b"quiet"))
    needed = len(guest_tree(vcpus=1, vpl011=False, bootargs=view(b"quiet")))
    for size in (*range(0, needed, 13), needed - 1):
        result, _ = guest_tree_write(tree, array(u8, size))
        assert result == Result.NO_MEMORY
    assert guest_tree_write(tree, array(u8, needed)) == (Result.OK, needed)


names = st.text("abcdefg,-", min_size=1, max_size=12).map(lambda text: "x" + text)
keys = st.sampled_from([name for name in writer.PROPERTIES if "phandle" not in name and name != "interrupt-parent"])  # which dtc takes for numbers
trees: Any = st.recursive(
    st.fixed_dictionaries({"props": st.dictionaries(keys, st.binary(max_size=20), max_size=4)}),
    lambda children: st.fixed_dictionaries(
        {"props": st.dictionaries(keys, st.binary(max_size=20), max_size=4), "kids": st.dictionaries(names, children, max_size=3)}
    ),
    max_leaves=8,
)


def write_tree(w: FdtWriter, name: str, tree: Any) -> None:
    writer.fdt_begin(w, view(name.encode()))
    for key, value in tree["props"].items():
        writer.fdt_value(w, writer.named(key), view(value))
    for key, kid in tree.get("kids", {}).items():
        write_tree(w, key, kid)
    writer.fdt_end(w)


def as_dict(node: Plain) -> Any:
    return {"props": node.properties} | ({"kids": {c.name: as_dict(c) for c in node.children}} if node.children else {})


def without_empty(tree: Any) -> Any:
    kids = {name: without_empty(kid) for name, kid in tree.get("kids", {}).items()}
    return {"props": tree["props"]} | ({"kids": kids} if kids else {})


@given(trees)
def test_what_is_written_is_read(tree: Any) -> None:
    w = zeroed(FdtWriter)
    out = array(u8, ROOM)
    writer.fdt_new(w, out)
    write_tree(w, "", tree)
    result, size = writer.fdt_finish(w)
    assert result == Result.OK
    blob = bytes(out[:size])
    assert reader.fdt_open(zeroed(Fdt), view(blob)) == FdtError.NONE
    assert as_dict(parse(blob)) == without_empty(tree)  # dtc 1.6.1 aborts on some of these: `#address-cells` of five bytes, say


@pytest.mark.parametrize("address", [0, 1, 0xF, 0x10, 0x40000000, 0x2_0000_0000, 0xFFFF_FFFF_FFFF_FFFF])
def test_unit_addresses(address: int) -> None:
    w = zeroed(FdtWriter)
    out = array(u8, ROOM)
    writer.fdt_new(w, out)
    writer.fdt_begin(w, view(b""))
    writer.fdt_begin_at(w, view(b"x"), address)
    writer.fdt_end(w)
    writer.fdt_end(w)
    result, size = writer.fdt_finish(w)
    assert result == Result.OK
    assert parse(bytes(out[:size])).children[0].name == f"x@{address:x}"
