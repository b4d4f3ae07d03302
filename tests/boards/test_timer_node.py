"""A machine whose timers have other interrupts than the image takes: said, with the remedy, instead of a guest that waits for ever."""

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


def test_other_interrupts_stop_the_boot(built_board: str, xenarm: Hypervisor, scratch: Path) -> None:
    """Those of an X-Gene."""
    layout = compose(Machine(board(built_board), xenarm.image, (beacon.domain(scratch),), 1, 512))
    tree = Tree(layout.dtb)
    tree.set_words("/timer", "interrupts", *(cell for ppi in (0, 13, 14, 15) for cell in (1, ppi, 0xF08)))
    with booted(layout, "timer-node", dtb=tree.blob()) as session:
        session.console.expect("entry 2 is 30, this image takes 27; build it with CONFIG_PPI_VIRTUAL_TIMER=30", SECONDS)
        session.console.expect("timers: INVALID; the machine cannot be used", SECONDS)
