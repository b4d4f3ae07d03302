"""CPUs that come and cannot be used: each is named with the reason, and those after it are started."""

from __future__ import annotations

from pathlib import Path

from boards import board
from tests.boards import beacon
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import Machine
from xenarm.tools.session import booted

SECONDS = 60
REDISTRIBUTOR = 0x2_0000  # bytes for each CPU


def test_cpus_without_a_redistributor_are_left_out(built_board: str, xenarm: Hypervisor, scratch: Path) -> None:
    """The tree says that there are redistributors for two of four CPUs."""
    layout = compose(Machine(board(built_board).with_gic(3), xenarm.image, (beacon.domain(scratch),), 4, 512))
    tree = Tree(layout.dtb)
    distributor, redistributors = tree.words("/intc@8000000", "reg")[:4], tree.words("/intc@8000000", "reg")[4:8]
    tree.set_words("/intc@8000000", "reg", *distributor, *redistributors[:2], 0, 2 * REDISTRIBUTOR)
    with booted(layout, "unfit-cpus", dtb=tree.blob()) as session:
        for mpidr in (2, 3):
            session.console.expect(f"cpu {mpidr:#x}: is unknown to the interrupt controller; it is left out", SECONDS)
        session.console.expect("processors: 2 of at most", SECONDS)
        session.console.expect(beacon.TEXT, SECONDS)
        session.wait_off(SECONDS)
