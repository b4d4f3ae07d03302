"""`make doctor board=B [DTB=file]`: what a board's image would make of a device tree."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from boards import board as board_named
from xenarm.tools.errors import ToolError, run_tool
from xenarm.tools.kconfig import up_to_date
from xenarm.tools.layout import FDT_MAGIC, source_dtb
from xenarm.tools.machine import Board
from xenarm.tools.paths import BOARDS, board_dir, shown

LEAST_ROOM = 512 * 1024  # of an image that has not been built


def tree_of(board: Board, path: Path | None) -> bytes:
    """The tree to look at: given, the board's own, or QEMU's."""
    if path is not None and not path.exists():
        raise ToolError(f"there is no {shown(path)}: give DTB= a device tree, source or blob")
    if path is not None:
        blob = source_dtb(path)
        if not blob.startswith(FDT_MAGIC):
            raise ToolError(f"{shown(path)} is no device tree blob: give DTB= one that dtc made, or a source, whose name does not end in .dtb")
        return blob
    if board.tree:
        return source_dtb(BOARDS / board.tree)
    from xenarm.tools.layout import machine_dtb
    from xenarm.tools.machine import Machine

    return machine_dtb(Machine(board, board_dir(board.name) / "xenarm", (), board.max_cpus))


def room_of(board: Board) -> int:
    """What the image takes where it is loaded."""
    elf = board_dir(board.name) / "xenarm.elf"
    if not elf.exists():
        return LEAST_ROOM
    from freestanding.elf import Image

    symbols = Image(elf.read_bytes()).symbols
    return symbols["__image_end"] - symbols["__image_start"]


def main() -> int:
    """Print the report; the exit status says whether there are errors."""
    parser = argparse.ArgumentParser(prog="doctor", description="say what a board's image would make of a device tree")
    parser.add_argument("--board", required=True)
    parser.add_argument("--dtb", type=Path, help="a device tree, source or blob; the board's own, if not given")
    arguments = parser.parse_args()
    board = board_named(arguments.board)
    config = str(up_to_date(board.name))
    if os.environ.get("XENARM_CONFIG") != config:  # the hypervisor's own modules are to be those of this configuration
        os.environ["XENARM_CONFIG"] = config
        os.execv(sys.executable, [sys.executable, "-m", "xenarm.tools.examine", *sys.argv[1:]])
    from xenarm.tools.tree_checks import Place, examine

    report = examine(tree_of(board, arguments.dtb), Place(board.hardware.load_address, room_of(board)))
    for section, lines in report.sections.items():
        print(section)
        print("\n".join(f"    {line}" for line in lines))
    print("\n".join(str(finding) for finding in report.findings) or "nothing is wrong")
    print(f"{report.errors} errors, {len(report.findings) - report.errors} warnings")
    return 1 if report.errors else 0


if __name__ == "__main__":
    run_tool(main)
