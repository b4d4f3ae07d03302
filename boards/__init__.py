"""Descriptions of the boards, by name."""

from __future__ import annotations

from boards import qemu_virt_arm32, qemu_virt_arm64, zcu102
from xenarm.tools.errors import ToolError
from xenarm.tools.machine import Board

BOARDS = {board.name: board for board in (qemu_virt_arm64.BOARD, qemu_virt_arm32.BOARD, zcu102.BOARD)}


def board(name: str) -> Board:
    """The board of a name."""
    if name not in BOARDS:
        raise ToolError(f"there is no board '{name}'; the boards are: {', '.join(sorted(BOARDS))}")
    return BOARDS[name]
