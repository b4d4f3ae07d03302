"""The boards' own device trees against Debian's for the same boards: what a hypervisor uses of them must agree."""

from __future__ import annotations

import pytest

from boards import BOARDS
from freestanding import View, zeroed
from tests.boards.trees import debian_tree
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, ROOT, Fdt, FdtError, fdt_open
from xenarm.devicetree.values import fdt_find, fdt_find_compatible, fdt_interrupt, fdt_raw_reg, fdt_reg, fdt_stdout, fdt_string
from xenarm.tools.layout import source_dtb
from xenarm.tools.paths import BOARDS as SOURCES

DEBIAN = {"zcu102": "xilinx/zynqmp-zcu102-rev1.0.dtb"}


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


def interrupts(fdt: Fdt, node: int, count: int) -> list[int]:
    found = [fdt_interrupt(fdt, node, i) for i in range(count)]
    assert all(i.result == Result.OK for i in found)
    return [int(i.intid) for i in found]


def facts(fdt: Fdt) -> dict[str, object]:
    """What the hypervisor looks up in a tree."""
    bank = fdt_find(fdt, b"/memory")
    banks = [fdt_raw_reg(fdt, ROOT, bank, i) for i in range(8)]
    gic = next(n for n in (fdt_find_compatible(fdt, c) for c in (b"arm,gic-400", b"arm,cortex-a15-gic", b"arm,gic-v3")) if n != NO_NODE)
    timer = fdt_find_compatible(fdt, b"arm,armv8-timer")
    psci = next(n for n in (fdt_find_compatible(fdt, c) for c in (b"arm,psci-1.0", b"arm,psci-0.2")) if n != NO_NODE)
    console = fdt_stdout(fdt)
    return {
        "memory": sorted((int(b.base), int(b.size)) for b in banks if b.result == Result.OK),
        "controller": regs(fdt, gic),
        "maintenance": interrupts(fdt, gic, 1),
        "timer": interrupts(fdt, timer, 4),
        "psci": bytes(fdt_string(fdt, psci, b"method")[1]),
        "console": (regs(fdt, console), interrupts(fdt, console, 1)),
    }


@pytest.mark.parametrize("name", [b.name for b in BOARDS.values() if b.tree])
def test_agrees_with_debians(name: str) -> None:
    mine = facts(opened(source_dtb(SOURCES / BOARDS[name].tree)))
    assert mine == facts(opened(debian_tree(DEBIAN[name]).read_bytes()))
    assert mine["memory"] and mine["controller"] and mine["console"]
