"""Builds a board's image and the guests of our own, each by the language's own build command."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from xenarm.config import parse
from xenarm.tools.errors import ToolError, run_tool
from xenarm.tools.kconfig import up_to_date
from xenarm.tools.paths import DEFAULT_BOARD, ROOT, board_dir, shown

HYPERVISOR = "xenarm.main"
GUESTS = ("hello", "bench")
TARGETS = {"qemu-virt-arm64": "aarch64", "qemu-virt-arm32": "armv7", "zcu102": "aarch64"}


@dataclass(frozen=True)
class Job:
    """One image to build: the module with its entry point, and the file that results."""

    module: str
    output: Path


def hypervisor_job(board: str) -> Job:
    """The hypervisor itself."""
    return Job(HYPERVISOR, board_dir(board) / "xenarm")


def guest_job(board: str, guest: str) -> Job:
    """A guest from guests/."""
    return Job(f"guests.{guest}", board_dir(board) / "guests" / guest)


def checks_left_out(config: Path) -> list[str]:
    """The compiler's options for the checks that a configuration turns off."""
    values = asdict(parse(config.read_text(), shown(config)))
    off = [name.removeprefix("CHECK_").lower() for name, on in values.items() if name.startswith("CHECK_") and not on]
    return [option for kind in off for option in ("--without", kind)]


def compile_job(board: str, job: Job, config: Path | None = None) -> float:
    """Compile one image, by the board's configuration or another; returns the seconds that it took."""
    config = config or up_to_date(board)
    job.output.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "freestanding", "build", job.module]
    command += ["--target", TARGETS[board], "-o", str(job.output), *checks_left_out(config)]
    start = time.monotonic()
    result = subprocess.run(command, cwd=ROOT, env={**os.environ, "XENARM_CONFIG": str(config)}, check=False)
    if result.returncode:
        raise ToolError(f"{job.module} was not built: the compiler's message above says where and why")
    return time.monotonic() - start


def build(board: str, guests: tuple[str, ...] = GUESTS, quiet: bool = False) -> float:
    """Build the hypervisor and some guests; returns the seconds that the hypervisor took."""
    if board not in TARGETS:
        raise ToolError(f"there is no board '{board}'; the boards are: {', '.join(sorted(TARGETS))}")
    taken = 0.0
    for job in (hypervisor_job(board), *(guest_job(board, guest) for guest in guests)):
        if not quiet:
            print(f"building {shown(job.output)}", flush=True)
        seconds = compile_job(board, job)
        taken = taken or seconds
        if not quiet:
            print(f"  {job.output.stat().st_size:,} bytes in {seconds:.1f} s", flush=True)
    return taken


def main() -> None:
    """Build a board."""
    parser = argparse.ArgumentParser(prog="build", description="build a board's image and guests")
    parser.add_argument("--board", default=DEFAULT_BOARD)
    build(parser.parse_args().board)


if __name__ == "__main__":
    run_tool(main)
