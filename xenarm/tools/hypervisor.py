"""The hypervisors that the tests and the benchmark drive: ours, and Debian's Xen beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from boards import board as board_named
from xenarm.tools import build, debian
from xenarm.tools.console import Console
from xenarm.tools.machine import Architecture, Board
from xenarm.tools.paths import DEFAULT_BOARD

SWITCH_INPUT = b"\x01\x01\x01"  # CTRL-a three times


@dataclass(frozen=True)
class Hypervisor:
    """An image, what it is told at boot, and how it differs where a test has to know."""

    name: str
    image: Path
    bootargs: str = ""
    powers_off: bool = True  # the machine, when the last domain has ended
    board: str = DEFAULT_BOARD  # that it runs on
    gic: int = 2  # version of its interrupt controller
    switch_after: str = ""  # the keyboard reaches the first domain only when switched after this line

    @property
    def machine(self) -> Board:
        """What it runs on."""
        return board_named(self.board).with_gic(self.gic)

    @property
    def architecture(self) -> Architecture:
        """What its CPUs are."""
        return board_named(self.board).architecture

    def focus_first_domain(self, console: Console, seconds: float = 60) -> None:
        """See that typing reaches the first domain."""
        if self.switch_after:
            console.expect(self.switch_after, seconds)
            console.send(SWITCH_INPUT)


def ours(board: str) -> Hypervisor:
    """The image that has been built for a board."""
    return Hypervisor("xenarm", build.hypervisor_job(board).output, board=board)


def debian_xen(extra: str = "", board: str = DEFAULT_BOARD) -> Hypervisor:
    """Debian's Xen. It stays up without domains, and reads its own input until told otherwise."""
    bootargs = f"console=dtuart dtuart=/pl011@9000000 {extra}".strip()
    files = debian.fetch(architecture=board_named(board).architecture.debian)
    return Hypervisor("xen", files.xen, bootargs, powers_off=False, board=board, switch_after="init memory")
