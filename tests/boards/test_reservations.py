"""Reservations on a whole board: overlaps are named by node and property, and what is reserved is nobody's RAM."""

from __future__ import annotations

import struct
from pathlib import Path

from boards import board
from tests.boards import beacon
from tests.conftest import Boot
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import Layout, compose
from xenarm.tools.machine import MIB, Machine
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.session import Session

SECONDS = 60
MACHINE_MIB = 512


def layout_of(hypervisor: Hypervisor, directory: Path) -> Layout:
    """Where the beacon's boot puts things."""
    return compose(Machine(board(DEFAULT_BOARD), hypervisor.image, (beacon.domain(directory),), 1, MACHINE_MIB))


def machine_tree(hypervisor: Hypervisor, directory: Path) -> Tree:
    """A tree that boots the beacon, with an empty /reserved-memory."""
    tree = Tree(layout_of(hypervisor, directory).dtb)
    tree.set_words("/reserved-memory", "#address-cells", 2)
    tree.set_words("/reserved-memory", "#size-cells", 2)
    tree.set_flag("/reserved-memory", "ranges")
    return tree


def reserve(tree: Tree, name: str, base: int, size: int) -> None:
    tree.set_bytes(f"/reserved-memory/{name}", "reg", struct.pack(">QQ", base, size))


def complaints(session: Session, word: str) -> list[str]:
    text = session.console.text().replace("\r", "")
    return [line for line in text.split("\n") if line.startswith("(xenarm)") and word in line]


def test_reservations_that_overlap_are_named(boot: Boot, xenarm: Hypervisor, scratch: Path) -> None:
    """It is the tree's author's business; the domain, which has nothing to do with it, starts."""
    tree = machine_tree(xenarm, scratch)
    reserve(tree, "camera", 0x5800_0000, 0x10_0000)
    reserve(tree, "modem", 0x580F_0000, 0x10_0000)
    with boot(xenarm, beacon.domain(scratch), memory_mib=MACHINE_MIB, dtb=tree.blob()) as session:
        session.console.expect(beacon.TEXT, SECONDS)
        session.wait_off(SECONDS)
        (line,) = complaints(session, "overlaps")
        assert "/reserved-memory/modem: reg" in line and "/reserved-memory/camera: reg" in line


def test_a_module_in_reserved_memory_is_named(boot: Boot, xenarm: Hypervisor, scratch: Path) -> None:
    tree = machine_tree(xenarm, scratch)
    reserve(tree, "firmware", layout_of(xenarm, scratch).modules[0].address + 0x40, 0x1000)
    with boot(xenarm, beacon.domain(scratch), memory_mib=MACHINE_MIB, dtb=tree.blob()) as session:
        session.wait_off(SECONDS)
        (line,) = complaints(session, "does not start")
        assert "/chosen/good/module@" in line and "/reserved-memory/firmware: reg" in line


def test_a_module_may_share_a_page_with_reserved_memory(boot: Boot, xenarm: Hypervisor, scratch: Path) -> None:
    module = layout_of(xenarm, scratch).modules[0]
    tree = machine_tree(xenarm, scratch)
    reserve(tree, "firmware", module.address + module.spec.load_size(), 0x1000)
    with boot(xenarm, beacon.domain(scratch), memory_mib=MACHINE_MIB, dtb=tree.blob()) as session:
        session.console.expect(beacon.TEXT, SECONDS)
        session.wait_off(SECONDS)


def test_reserved_memory_is_not_handed_out(boot: Boot, xenarm: Hypervisor, scratch: Path) -> None:
    """So much is reserved that the domain's RAM no longer fits."""
    tree = machine_tree(xenarm, scratch)
    reserve(tree, "everything", 0x4C00_0000, (512 - 192) * MIB)
    tree.reserve(0x4900_0000, 48 * MIB - 4096)
    tree.set_words("/chosen/good", "memory", 0, 160 * 1024)
    with boot(xenarm, beacon.domain(scratch), memory_mib=MACHINE_MIB, dtb=tree.blob()) as session:
        session.wait_off(SECONDS)
        (line,) = complaints(session, "does not start")
        assert "/chosen/good: memory asks for 163840 KiB" in line
