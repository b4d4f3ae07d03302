"""Makes everything that a deployment is carried to a board in: files for U-Boot, a card, a flash."""

from __future__ import annotations

import argparse
from pathlib import Path

from xenarm.tools import build, deploy
from xenarm.tools.artefacts import fat, fit, loaded, nor, script, uimage
from xenarm.tools.deployment import Deployment, plan
from xenarm.tools.errors import ToolError, run_tool
from xenarm.tools.layout import Layout
from xenarm.tools.machine import Machine
from xenarm.tools.paths import DEFAULT_BOARD, board_dir, whole

FLASH = "flash.img"


def directory(board: str, deployment: Deployment) -> Path:
    """Where a deployment's files are for a board."""
    return board_dir(board) / "deploy" / deployment.name


def write_flash(output: Path, machine: Machine, layout: Layout, stage: Path) -> Path:
    """The NOR flash of a board that has one."""
    if machine.board.nor is None:
        raise ToolError(f"{machine.board.name} has no NOR flash that its CPU starts from")
    image = nor.flash_image(layout, stage.read_bytes(), machine.board.nor)
    with whole(output / FLASH) as made:
        nor.write_flash(made, image)
    return output / FLASH


def write_all(output: Path, deployment: Deployment, layout: Layout, stage: Path | None) -> list[Path]:
    """Every file, in a directory; the names of those written."""
    output.mkdir(parents=True, exist_ok=True)
    source = script.boot_script(layout, deployment.name, deployment.place.path.name, deployment.load_command)
    boot = uimage.script_image(source, layout)
    small = {
        "host.dtb": layout.dtb,
        "xenarm.itb": fit.fit_image(layout, deployment.name),
        deployment.script_source: source.encode(),
        deployment.script: boot,
        "placement.txt": "".join(f"{line}\n" for line in plan.placement(layout)).encode(),
    }
    if layout.hypervisor.end <= 1 << 32:  # the legacy format has no room for more
        small["xenarm.uimg"] = uimage.hypervisor_image(layout)
    for name, data in small.items():
        with whole(output / name) as made:
            made.write_bytes(data)
    card = {part.name: part.data for part in loaded(layout)} | {deployment.script_source: source.encode(), "boot.scr": boot}
    with whole(output / "sdcard.img") as made:
        fat.write_card(made, card)
    written = [*(output / name for name in small), output / "sdcard.img"]
    return [*written, write_flash(output, layout.machine, layout, stage)] if stage else written


def make(name: str, board: str, may_build: bool = True) -> tuple[Deployment, Layout, list[Path]]:
    """Check, build, place and write a deployment."""
    deployment = plan.find(name)
    layout = deploy.composed(deployment, board, may_build, hardware=True)
    stage = nor.build_stage(board) if layout.machine.board.nor else None
    return deployment, layout, write_all(directory(board, deployment), deployment, layout, stage)


def main() -> None:
    """Make them, and name them."""
    parser = argparse.ArgumentParser(prog="image", description="make the files that a deployment is carried to a board in")
    parser.add_argument("--board", default=DEFAULT_BOARD)
    parser.add_argument("--deploy", default=deploy.DEFAULT_DEPLOYMENT, metavar="NAME")
    parser.add_argument("--no-build", action="store_true", help="take the images as they are")
    arguments = parser.parse_args()
    deployment, _, written = make(arguments.deploy, arguments.board, not arguments.no_build)
    deploy.show_notes(deployment)
    for path in written:
        build.step("IMAGE", path, quiet=False)


if __name__ == "__main__":
    run_tool(main)
