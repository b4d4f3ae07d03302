"""Which tests concern a board: `pytest --board NAME`, which `make test board=NAME` asks for.

The first that says something decides: a parameter that is a board, or stands for an image; the mark `board`, with names of boards or of an
architecture; the fixtures of images. A test of which none does is one of what all boards share, or of the language, which concerns none.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from boards import BOARDS
from xenarm.tools.machine import Architecture, Board
from xenarm.tools.paths import DEFAULT_BOARD, ROOT

BOARD32 = "qemu-virt-arm32"
LANGUAGE = ("bench", "engines", "freestanding")
IMAGES = {
    "xenarm": DEFAULT_BOARD,
    "xenarm_many": DEFAULT_BOARD,
    "built_board": DEFAULT_BOARD,
    "hypervisor": DEFAULT_BOARD,
    "xen": DEFAULT_BOARD,
    "xenarm32": BOARD32,
}
"""Fixtures, and the boards that their images are for."""
CASES = {"case64": DEFAULT_BOARD, "case32": BOARD32}
"""The same, of tests/boards/test_flash.py; these are parameters too."""
ARCHITECTURES = {architecture.value for architecture in Architecture}


def by_parameters(params: Mapping[str, object], targets: Mapping[str, tuple[str, int]]) -> set[str]:
    """Boards, fixtures of images, machines of `target`."""
    found = {value.name if isinstance(value, Board) else value for value in params.values() if isinstance(value, Board | str)}
    images = {IMAGES[targets[name][0]] for name in found if name in targets} | {CASES[name] for name in found if name in CASES}
    return {name for name in found if name in BOARDS} | images


def by_marks(marks: list[str]) -> set[str]:
    return {board.name for board in BOARDS.values() if board.name in marks or board.architecture.value in marks}


def concerned(directory: str, params: Mapping[str, object], fixtures: list[str], marks: list[str], targets: Mapping[str, tuple[str, int]]) -> set[str]:
    """The boards of a test in a directory of tests/, by its parameters, fixtures and marks."""
    images = IMAGES | CASES
    by_fixtures = {images[name] for name in fixtures if name in images}
    shared = set() if directory in LANGUAGE else set(BOARDS)
    return by_parameters(params, targets) or by_marks(marks) or by_fixtures or shared


def check(config: pytest.Config) -> None:
    """Refuse a board that there is not."""
    board = config.getoption("board")
    if board is not None and board not in BOARDS:
        raise pytest.UsageError(f"there is no board '{board}'; the boards are: {', '.join(sorted(BOARDS))}")


def select(config: pytest.Config, items: list[pytest.Item], targets: Mapping[str, tuple[str, int]]) -> None:
    """Leave the tests of the board that was asked for, if one was. Marks are looked at in any case."""
    board = config.getoption("board")
    chosen = [item for item in items if board in concerned_by(item, targets) or board is None]
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = chosen


def concerned_by(item: pytest.Item, targets: Mapping[str, tuple[str, int]]) -> set[str]:
    """The same of one that pytest has collected. Refuses a mark that names nothing."""
    marks = [name for mark in item.iter_markers("board") for name in mark.args]
    unknown = set(marks) - set(BOARDS) - ARCHITECTURES
    if unknown:
        raise pytest.UsageError(f"{item.nodeid}: the mark 'board' has {', '.join(sorted(unknown))}, which is no board and no architecture")
    params: Mapping[str, object] = item.callspec.params if hasattr(item, "callspec") else {}
    return concerned(item.path.relative_to(ROOT / "tests").parts[0], params, getattr(item, "fixturenames", []), marks, targets)
