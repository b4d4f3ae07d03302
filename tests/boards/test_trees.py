"""The boards' own device trees against Debian's for the same boards: what a hypervisor uses of them must agree."""

from __future__ import annotations

import struct

import pytest

from boards import BOARDS
from freestanding import View, zeroed
from tests.boards.trees import debian_tree
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, ROOT, Fdt, FdtError, Node, fdt_name, fdt_open, fdt_property
from xenarm.devicetree.values import fdt_find, fdt_find_compatible, fdt_interrupt, fdt_raw_reg, fdt_reg, fdt_stdout, fdt_string
from xenarm.tools.layout import source_dtb
from xenarm.tools.paths import BOARDS as SOURCES

DEBIAN = {
    "arndale": "exynos5250-arndale.dtb",
    "colombus": "sun6i-a31-colombus.dtb",
    "cubieboard2": "sun7i-a20-cubieboard2.dtb",
    "midway": "ecx-2000.dtb",
    "orangepi-pc": "sun8i-h3-orangepi-pc.dtb",
    "omap5-uevm": "omap5-uevm.dtb",
    "raspi4": "broadcom/bcm2711-rpi-4-b.dtb",
    "thunderx": "cavium/thunder-88xx.dtb",
    "vexpress-a15": "vexpress-v2p-ca15-tc1.dtb",
    "xgene": "apm/apm-mustang.dtb",
    "zcu102": "xilinx/zynqmp-zcu102-rev1.0.dtb",
}
PSCI_BY_FIRMWARE = {"orangepi-pc"}
"""Boards whose U-Boot writes the node into the tree (its fdt_psci)."""
NOT_SHIPPED = {"hip04-d01", "lager"}
CONTROLLERS = (b"arm,gic-400", b"arm,cortex-a15-gic", b"arm,gic-v3", b"hisilicon,hip04-intc")
TIMERS = (b"arm,armv8-timer", b"arm,armv7-timer")
PSCI = (b"arm,psci-1.0", b"arm,psci-0.2", b"arm,psci")


def opened(blob: bytes) -> Fdt:
    made = zeroed(Fdt)
    assert fdt_open(made, View(blob, 0, len(blob))) == FdtError.NONE
    return made


def regs(fdt: Fdt, node: int) -> list[tuple[int, int]]:
    """Every entry of `reg`, translated."""
    found = []
    for i in range(8):
        place = fdt_reg(fdt, node, i)
        if place.result != Result.OK:
            break
        found.append((int(place.base), int(place.size)))
    return found


def interrupts(fdt: Fdt, node: int) -> list[int]:
    """Every one that the GIC has: a ThunderX's tree names a PPI of 21 for its port."""
    return [int(i.intid) for i in (fdt_interrupt(fdt, node, n) for n in range(4)) if i.result == Result.OK]


def first(fdt: Fdt, compatibles: tuple[bytes, ...]) -> int:
    return next((n for n in (fdt_find_compatible(fdt, c) for c in compatibles) if n != NO_NODE), NO_NODE)


def banks(fdt: Fdt) -> list[tuple[int, int]]:
    """Memory that the tree knows of: some leave it to the boot loader."""
    nodes = [Node(n) for n in range(fdt.count) if bytes(fdt_string(fdt, Node(n), b"device_type")[1]) == b"memory"]
    found = [fdt_raw_reg(fdt, ROOT, node, i) for node in nodes for i in range(4)]
    return sorted((int(b.base), int(b.size)) for b in found if b.result == Result.OK and b.size)


def through_map(fdt: Fdt, number: int) -> int:
    """Where the bus of a Versatile Express takes one of its interrupts: rows of an address, the number, the GIC, and three cells."""
    value = next(v for v in (bytes(fdt_property(fdt, Node(n), b"interrupt-map")[1]) for n in range(fdt.count)) if v)
    rows = [struct.unpack_from(">6I", value, at) for at in range(0, len(value), 24)]
    return next(32 + row[4] for row in rows if row[1] == number)


def console_interrupts(fdt: Fdt, node: int) -> list[int]:
    raw = bytes(fdt_property(fdt, node, b"interrupts")[1])
    return [through_map(fdt, int.from_bytes(raw))] if len(raw) == 4 else interrupts(fdt, node)


def console_at(fdt: Fdt, place: list[tuple[int, int]]) -> int:
    """The port at an address: not every tree says which is the console's."""
    return next(n for n in range(fdt.count) if regs(fdt, Node(n)) == place and bytes(fdt_name(fdt, Node(n))).startswith(b"serial"))


def facts(fdt: Fdt) -> dict[str, object]:
    """What the hypervisor looks up in a tree, but for memory and console."""
    gic = first(fdt, CONTROLLERS)
    timer = first(fdt, TIMERS)
    psci = first(fdt, PSCI)
    cpus = fdt_find(fdt, b"/cpus")
    return {
        "controller": regs(fdt, gic),
        "timer": interrupts(fdt, timer),
        "psci": b"" if psci == NO_NODE else bytes(fdt_string(fdt, psci, b"method")[1]),
        "cpus": [int(fdt_raw_reg(fdt, cpus, Node(n), 0).base) for n in range(fdt.count) if bytes(fdt_string(fdt, Node(n), b"device_type")[1]) == b"cpu"],
    }


def ours(name: str) -> Fdt:
    return opened(source_dtb(SOURCES / BOARDS[name].tree))


def debians(name: str) -> Fdt:
    return opened(debian_tree(DEBIAN[name], BOARDS[name].architecture.debian).read_bytes())


def test_every_board_has_its_counterpart_or_a_reason() -> None:
    assert {b.name for b in BOARDS.values() if b.tree} == DEBIAN.keys() | NOT_SHIPPED


@pytest.mark.parametrize("name", DEBIAN)
def test_agrees_with_debians(name: str) -> None:
    mine, theirs = ours(name), debians(name)
    assert facts(mine) == facts(theirs) | ({"psci": b"smc"} if name in PSCI_BY_FIRMWARE else {})
    assert banks(theirs) in (banks(mine), [])
    maintenance = interrupts(theirs, first(theirs, CONTROLLERS))
    assert maintenance in (interrupts(mine, first(mine, CONTROLLERS)), [])  # OMAP5's has none
    console = fdt_stdout(mine)
    there = console_at(theirs, regs(mine, console))
    assert fdt_stdout(theirs) in (there, NO_NODE)
    assert interrupts(mine, console) == interrupts(theirs, there) == console_interrupts(theirs, there)


@pytest.mark.parametrize("name", [b.name for b in BOARDS.values() if b.tree])
def test_has_all_that_a_boot_needs(name: str) -> None:
    mine, board = ours(name), BOARDS[name]
    found = facts(mine)
    assert all(found[key] for key in ("controller", "timer", "cpus")) and interrupts(mine, fdt_stdout(mine)) or name == "thunderx"
    assert len(found["cpus"]) == board.max_cpus  # type: ignore[arg-type]
    assert banks(mine)[0][0] == board.ram_base
    assert any(base <= board.hardware.load_address < base + size for base, size in banks(mine))
