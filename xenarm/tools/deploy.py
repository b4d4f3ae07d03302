"""Checks a deployment, builds what it needs, places everything and prints where it lies."""

from __future__ import annotations

import argparse

from boards import board as board_named
from xenarm.tools import build, doctor
from xenarm.tools.deployment import Deployment, plan
from xenarm.tools.errors import run_tool
from xenarm.tools.layout import Layout, compose
from xenarm.tools.paths import DEFAULT_BOARD, board_dir

DEFAULT_DEPLOYMENT = "hello"


def build_guests(deployment: Deployment, board: str, only_missing: bool) -> None:
    """Build its guests, for whatever boards."""
    for guest_board, guest in plan.guests_of(deployment, board):
        job = build.guest_job(guest_board, guest)
        if not (only_missing and job.output.exists()):
            build.build_guest(guest_board, guest)


def check(deployment: Deployment, board: str) -> None:
    """Everything that can be wrong before anything is built, for the board itself. Raises ToolError."""
    board_named(board)
    doctor.provide("run")
    plan.machine_for(deployment, board, hardware=True)


def composed(deployment: Deployment, board: str, may_build: bool = True, hardware: bool = False) -> Layout:
    """Everything checked, built, and placed: for QEMU's machine, or with `hardware` for the board itself where there is one."""
    board_named(board)
    doctor.provide("run")
    machine = plan.machine_for(deployment, board, hardware)
    if may_build:
        build.build(board, ())
    build_guests(deployment, board, only_missing=not may_build)
    return compose(machine)


def show_notes(deployment: Deployment) -> None:
    """Print what of the file had no effect."""
    for note in deployment.notes:
        print(f"note: {note}")


def show(deployment: Deployment, layout: Layout) -> None:
    """Print the placement."""
    show_notes(deployment)
    about = f": {deployment.description}" if deployment.description else ""
    print(f"{deployment.place} on {layout.machine.board.name}{about}")
    for line in plan.placement(layout):
        print(line)


def main() -> None:
    """Place a deployment, and leave its tree beside the image."""
    parser = argparse.ArgumentParser(prog="deploy", description="check a deployment, build it, and print where everything lies")
    parser.add_argument("--board", default=DEFAULT_BOARD)
    parser.add_argument("--deploy", default=DEFAULT_DEPLOYMENT, metavar="NAME", help="a name in deploy/, or a file: TOML, or ImageBuilder's")
    parser.add_argument("--no-build", action="store_true", help="take the images as they are")
    parser.add_argument("--check", action="store_true", help="only say what is wrong with it, and build nothing")
    arguments = parser.parse_args()
    deployment = plan.find(arguments.deploy)
    if arguments.check:
        check(deployment, arguments.board)
        return
    layout = composed(deployment, arguments.board, not arguments.no_build, hardware=True)
    show(deployment, layout)
    output = board_dir(arguments.board) / "deploy" / deployment.name / "host.dtb"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(layout.dtb)


if __name__ == "__main__":
    run_tool(main)
