"""Descriptions of the boards, by name: every module here has one."""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from collections.abc import Iterator, Mapping
from functools import cached_property

from xenarm.tools.errors import ToolError
from xenarm.tools.machine import Board

PAGE = 'docs/boards.md, "Adding a board", shows one'


def described(module: str) -> Board:
    """The board that a module describes. Raises ToolError for any mistake in it."""
    try:
        found = getattr(importlib.import_module(f"boards.{module}"), "BOARD", None)
    except Exception as error:  # whatever was typed
        raise ToolError(f"boards/{module}.py:{line_of(error, module)}: {error}: correct the description; {PAGE}") from error
    if found is None:
        raise ToolError(f"boards/{module}.py: has no BOARD: {PAGE}")
    if not isinstance(found, Board) or found.name.replace("-", "_") != module:
        raise ToolError(f"boards/{module}.py: its BOARD is not that of '{module.replace('_', '-')}': a board's name is its file's, with - for _")
    return found


def line_of(error: Exception, module: str) -> int:
    """Where in the module it happened; 1 when it does not say."""
    if isinstance(error, SyntaxError):
        return error.lineno or 1
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(f"{module}.py")]
    return lines[-1] or 1 if lines else 1


class Boards(Mapping[str, Board]):
    """All of them, QEMU's `virt` first; looked for when first asked, so that a tool can say what is wrong with one."""

    @cached_property
    def _found(self) -> dict[str, Board]:
        boards = sorted(map(described, (module.name for module in pkgutil.iter_modules(__path__))), key=lambda b: (bool(b.tree) or not b.qemu, b.name))
        return {board.name: board for board in boards}

    def __getitem__(self, name: str) -> Board:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


BOARDS = Boards()


def board(name: str) -> Board:
    """The board of a name."""
    if name not in BOARDS:
        raise ToolError(f"there is no board '{name}'; the boards are: {', '.join(sorted(BOARDS))}")
    return BOARDS[name]
