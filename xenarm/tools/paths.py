"""Where things lie in a checkout, and where what is built goes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
BOARDS = ROOT / "boards"
CONFIGS = ROOT / "configs"
KCONFIG = ROOT / "Kconfig"
DEFAULT_BOARD = "qemu-virt-arm64"


def out_dir() -> Path:
    """The directory that `make O=` names, which has the user's configuration; else the checkout."""
    chosen = os.environ.get("XENARM_O")
    return Path(chosen).absolute() if chosen else ROOT


def board_dir(board: str) -> Path:
    """The directory that receives everything built for a board."""
    return (out_dir() if os.environ.get("XENARM_O") else BUILD) / board


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write in the place of `path`, which changes all at once: whoever reads it meanwhile has the old one, or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield made
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)


def shown(path: Path) -> str:
    """A path as messages show it: relative to the checkout when it is inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
