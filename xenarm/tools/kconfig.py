"""The verbs of Kconfig on a board's configuration: start from a defconfig, edit, bring up to date, save.

The configuration is build/<board>/config. While nobody has edited it, it follows the defconfig; the hash
beside it tells.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

import kconfiglib

from xenarm.tools.errors import ToolError, run_tool
from xenarm.tools.paths import CONFIGS, DEFAULT_BOARD, KCONFIG, board_dir, shown


def config_path(board: str) -> Path:
    """The configuration that a board is built with."""
    return board_dir(board) / "config"


def defconfig_path(board: str) -> Path:
    """The configuration that a board starts from."""
    path = CONFIGS / f"{board}_defconfig"
    if not path.exists():
        known = ", ".join(sorted(p.name.removesuffix("_defconfig") for p in CONFIGS.glob("*_defconfig")))
        raise ToolError(f"there is no {shown(path)}; the boards are: {known}")
    return path


def _load(path: Path) -> kconfiglib.Kconfig:
    kconfig = kconfiglib.Kconfig(str(KCONFIG), warn_to_stderr=False)
    kconfig.warn_assign_undef = True
    kconfig.load_config(str(path))
    if kconfig.warnings:
        first = kconfig.warnings[0].strip().splitlines()[0]
        raise ToolError(f"{shown(path)}: {first}")
    return kconfig


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _stamp(board: str) -> Path:
    return board_dir(board) / ".config-from-defconfig"


def from_defconfig(board: str) -> None:
    """Start over from the defconfig."""
    path = config_path(board)
    kconfig = _load(defconfig_path(board))
    path.parent.mkdir(parents=True, exist_ok=True)
    kconfig.write_config(str(path), save_old=False)  # leaves the file alone when it would not change
    _stamp(board).write_text(_digest(path))


def changed(board: str, values: dict[str, str], path: Path) -> None:
    """Write a configuration that differs from the board's defconfig in these values."""
    kconfig = _load(defconfig_path(board))
    for name, value in values.items():
        if not kconfig.syms[name].set_value(value) or kconfig.syms[name].str_value != value:
            raise ToolError(f"CONFIG_{name} cannot be {value} for board {board}: see its dependencies in Kconfig")
    path.parent.mkdir(parents=True, exist_ok=True)
    kconfig.write_config(str(path), save_old=False)


def up_to_date(board: str) -> Path:
    """The board's complete configuration: from its defconfig, or as edited, with new symbols at their defaults."""
    path, stamp = config_path(board), _stamp(board)
    edited = path.exists() and not (stamp.exists() and stamp.read_text() == _digest(path))
    if not edited:
        from_defconfig(board)
    else:
        olddefconfig(board)
    return path


def olddefconfig(board: str) -> None:
    """Give symbols that are new since the file was written their defaults, and drop those that are gone."""
    path = config_path(board)
    kconfig = kconfiglib.Kconfig(str(KCONFIG), warn_to_stderr=False)
    kconfig.load_config(str(path if path.exists() else defconfig_path(board)))
    path.parent.mkdir(parents=True, exist_ok=True)
    kconfig.write_config(str(path), save_old=False)


def menuconfig(board: str) -> None:
    """Edit in the terminal."""
    import menuconfig as menu

    os.environ["KCONFIG_CONFIG"] = str(up_to_date(board))
    menu.menuconfig(kconfiglib.Kconfig(str(KCONFIG)))


def savedefconfig(board: str) -> None:
    """Write what differs from the defaults into the board's defconfig."""
    path = CONFIGS / f"{board}_defconfig"
    _load(up_to_date(board)).write_min_config(str(path), header="")
    print(f"wrote {shown(path)}")


VERBS = {
    "defconfig": from_defconfig,
    "menuconfig": menuconfig,
    "olddefconfig": olddefconfig,
    "savedefconfig": savedefconfig,
}


def main() -> None:
    """Do one of the verbs."""
    parser = argparse.ArgumentParser(prog="kconfig", description="work on a board's configuration")
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("--board", default=DEFAULT_BOARD)
    arguments = parser.parse_args()
    VERBS[arguments.verb](arguments.board)


if __name__ == "__main__":
    run_tool(main)
