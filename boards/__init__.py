"""Descriptions of the boards, by name."""

from __future__ import annotations

from boards import (
    arndale,
    colombus,
    cubieboard2,
    hip04_d01,
    lager,
    midway,
    omap5_uevm,
    qemu_virt_arm32,
    qemu_virt_arm64,
    raspi4,
    thunderx,
    vexpress_a15,
    xgene,
    zcu102,
)
from xenarm.tools.errors import ToolError
from xenarm.tools.machine import Board

MODULES = (
    qemu_virt_arm64,
    qemu_virt_arm32,
    arndale,
    colombus,
    cubieboard2,
    hip04_d01,
    lager,
    midway,
    omap5_uevm,
    raspi4,
    thunderx,
    vexpress_a15,
    xgene,
    zcu102,
)
BOARDS: dict[str, Board] = {module.BOARD.name: module.BOARD for module in MODULES}


def board(name: str) -> Board:
    """The board of a name."""
    if name not in BOARDS:
        raise ToolError(f"there is no board '{name}'; the boards are: {', '.join(sorted(BOARDS))}")
    return BOARDS[name]
