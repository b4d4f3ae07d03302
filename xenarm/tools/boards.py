"""Prints the boards, and what a person has to know of each."""

from __future__ import annotations

import argparse

from boards import BOARDS, board
from xenarm.tools.errors import run_tool
from xenarm.tools.machine import Board


def line(b: Board) -> str:
    """A board in one line."""
    return f"{b.name:16}  {b.architecture.value}  {b.hardware.soc}{', and QEMU' if b.qemu and b.tree else ''}"


def page(b: Board) -> str:
    """All about a board."""
    h = b.hardware
    facts = {
        "SoC": h.soc,
        "architecture": b.architecture.value,
        "CPUs": str(b.max_cpus),
        "RAM from": f"{b.ram_base:#x}",
        "load address": f"{h.load_address:#x}",
        "serial port": f"{h.serial}, {h.baud} baud, 8N1",
        "firmware": h.firmware,
        "CPUs start by": h.cpu_start,
        "to flash": h.flash,
        "storage": h.storage,
        "device tree": f"boards/{b.tree}" if b.tree else "QEMU's",
        "emulator": f"{b.qemu} -M {b.machine}" if b.qemu else "none",
    }
    return "\n".join([b.name, *(f"    {name + ':':16}{value}" for name, value in facts.items())])


def main() -> None:
    """List them, or say all about one."""
    parser = argparse.ArgumentParser(prog="list-boards", description="print the boards")
    parser.add_argument("--board", help="say all about this one")
    chosen = parser.parse_args().board
    if chosen:
        print(page(board(chosen)))
        return
    print("\n".join(line(b) for b in BOARDS.values()))
    print("make list-boards board=NAME says all about one")


if __name__ == "__main__":
    run_tool(main)
