"""Opens gdb on a running board: on the machine that `make run` has started, or on what else speaks gdb's protocol."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from boards import board as board_named
from xenarm.tools import build, doctor
from xenarm.tools.errors import ToolError, run_tool
from xenarm.tools.machine import Architecture
from xenarm.tools.paths import DEFAULT_BOARD, ROOT, shown
from xenarm.tools.run import gdb_socket

COMMANDS = Path(__file__).with_name("gdb_commands.py")


def command(board: str, target: str, more: list[str]) -> list[str]:
    """gdb with the image's symbols, Python's lines, and the commands."""
    elf = build.hypervisor_job(board).output.with_suffix(".elf")
    if not elf.exists():
        raise ToolError(f"there is no {shown(elf)}: 'make board={board}' builds it")
    architecture = "aarch64" if board_named(board).architecture is Architecture.ARM64 else "armv7"
    lines = ["set confirm off", "set pagination off", f"set architecture {architecture}", f"directory {ROOT}", "set stack-cache off", "set code-cache off"]
    before = [word for line in lines for word in ("-iex", line)]
    return ["gdb-multiarch", "-q", "-nx", *before, str(elf), "-ex", f"target remote {target}", "-x", str(COMMANDS), *more]


def target_of(board: str, given: str | None) -> str:
    """What gdb connects to."""
    if given:
        return given
    path = gdb_socket(board)
    if not path.is_socket() and not board_named(board).qemu:
        raise ToolError(f"QEMU has no model of {board}, so 'make run' has none running: name its gdb server, such as a JTAG probe's, by TARGET=host:port")
    if not path.is_socket():
        raise ToolError(f"no {board} is running here: 'make run board={board}' in another terminal starts one, or name another gdb server by TARGET=host:port")
    return str(path)


def main() -> None:
    """Replace this process by gdb."""
    parser = argparse.ArgumentParser(prog="debug", description="open gdb on a running board")
    parser.add_argument("--board", default=DEFAULT_BOARD)
    parser.add_argument("--target", help="a gdb server, host:port or a socket's path; without it the machine of 'make run'")
    parser.add_argument("gdb", nargs="*", help="further arguments of gdb")
    arguments = parser.parse_args()
    board_named(arguments.board)
    target = target_of(arguments.board, arguments.target)
    doctor.provide("debug")
    words = command(arguments.board, target, arguments.gdb)
    os.chdir(ROOT)
    os.execvp(words[0], words)


if __name__ == "__main__":
    run_tool(main)
