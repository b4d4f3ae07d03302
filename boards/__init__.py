"""Descriptions of the boards, by name: every module here has one."""

from __future__ import annotations

import importlib
import pkgutil

from xenarm.tools.errors import ToolError
from xenarm.tools.machine import Board


def found() -> dict[str, Board]:
    """Those of QEMU's `virt` first."""
    modules = [importlib.import_module(f"boards.{module.name}") for module in pkgutil.iter_modules(__path__)]
    boards: list[Board] = sorted((module.BOARD for module in modules), key=lambda board: (bool(board.tree) or not board.qemu, board.name))
    return {board.name: board for board in boards}


BOARDS = found()


def board(name: str) -> Board:
    """The board of a name."""
    if name not in BOARDS:
        raise ToolError(f"there is no board '{name}'; the boards are: {', '.join(sorted(BOARDS))}")
    return BOARDS[name]
