"""Where things lie in a checkout, and where what is built goes."""

from __future__ import annotations

import os
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


def shown(path: Path) -> str:
    """A path as messages show it: relative to the checkout when it is inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
