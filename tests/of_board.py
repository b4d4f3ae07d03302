"""Which tests concern a board: `pytest --board NAME`, which `make test board=NAME` asks for.

One whose parameters name boards concerns those. Else, what tests the code and the tools that boards share concerns all; a test under tests/boards and
tests/guests the board that its image is for, and the boards that its file names in quotes. Tests of the language concern none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from boards import BOARDS
from xenarm.tools.machine import Board
from xenarm.tools.paths import DEFAULT_BOARD, ROOT

BOARD32 = "qemu-virt-arm32"
SHARED = ("xenarm", "tools")
BOOTED = ("boards", "guests")
IMAGES = {"xenarm": DEFAULT_BOARD, "built_board": DEFAULT_BOARD, "hypervisor": DEFAULT_BOARD, "xen": DEFAULT_BOARD, "xenarm32": BOARD32}
"""Fixtures, and the boards that their images are for."""
CONSTANTS = {"DEFAULT_BOARD": DEFAULT_BOARD, "BOARD32": BOARD32}


@cache
def named_in(path: Path) -> frozenset[str]:
    """Boards that a file names in quotes."""
    return frozenset(word for word in re.findall(r"(?<=\")[\w-]+(?=\")", path.read_text()) if word in BOARDS)


def constants_in(path: Path) -> frozenset[str]:
    """Those that it has by the constants for the two that most tests run on."""
    return frozenset(CONSTANTS[word] for word in re.findall(r"\bDEFAULT_BOARD\b|\bBOARD32\b", path.read_text()))


def named_by(params: Mapping[str, object], targets: Mapping[str, tuple[str, int]]) -> set[str]:
    """Boards among a test's parameters, and those of its target."""
    found = {value.name if isinstance(value, Board) else value for value in params.values() if isinstance(value, Board | str)}
    image, _ = targets.get(str(params.get("target")), ("", 0))
    return {name for name in found if name in BOARDS} | ({IMAGES[image]} if image else set())


def concerns(board: str, path: Path, params: Mapping[str, object], fixtures: list[str], targets: Mapping[str, tuple[str, int]]) -> bool:
    """Whether a test, by its file, parameters and fixtures, concerns a board."""
    named = named_by(params, targets)
    if named:
        return board in named
    directory = path.relative_to(ROOT / "tests").parts[0]
    if directory not in BOOTED:
        return directory in SHARED
    images = {IMAGES[name] for name in fixtures if name in IMAGES}
    return board in images | named_in(path) or (not images and board in constants_in(path))


def check(config: pytest.Config) -> None:
    """Refuse a board that there is not."""
    board = config.getoption("board")
    if board is not None and board not in BOARDS:
        raise pytest.UsageError(f"there is no board '{board}'; the boards are: {', '.join(sorted(BOARDS))}")


def select(config: pytest.Config, items: list[pytest.Item], targets: Mapping[str, tuple[str, int]]) -> None:
    """Leave the tests of the board that was asked for, if one was."""
    board = config.getoption("board")
    if board is None:
        return
    chosen = [item for item in items if concerns(board, item.path, params_of(item), getattr(item, "fixturenames", []), targets)]
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = chosen


def params_of(item: pytest.Item) -> Mapping[str, object]:
    """A test's parameters."""
    found: Mapping[str, object] = item.callspec.params if hasattr(item, "callspec") else {}
    return found
