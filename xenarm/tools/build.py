"""Builds a board's image and the guests of our own, each by the language's own build command, and says what came out."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from boards import BOARDS
from boards import board as board_named
from freestanding.elf import Image
from freestanding.errors import CHECK_KINDS
from xenarm.config import Config, parse
from xenarm.tools.errors import ToolError, run_tool
from xenarm.tools.kconfig import notes, up_to_date, user_path
from xenarm.tools.machine import Architecture
from xenarm.tools.pack import pack
from xenarm.tools.paths import DEFAULT_BOARD, ROOT, board_dir, shown

HYPERVISOR = "xenarm.main"
UNPACKERS = {"arm64": "xenarm.arm64.unpack", "arm32": "xenarm.arm32.unpack"}
GUESTS = ("hello", "bench")
SOURCES = ("freestanding", "xenarm", "guests")
TOOL_VARIABLES = ("CROSS_COMPILE", "CC")  # what freestanding/toolchain.py looks at
TARGETS = {board.name: board.architecture.target for board in BOARDS.values()}
FEATURES = {
    "GICV2": "GICv2",
    "GICV3": "GICv3",
    "GICV2_ON_V3": "GICv2 on GICv3",
    "GIC_HIP04": "HiP04's GIC",
    "GIC_HW_TIMER_LINK": "timer link",
    "UART_PL011": "PL011",
    "UART_NS16550": "NS16550",
    "UART_CADENCE": "Cadence",
    "UART_EXYNOS4210": "Exynos 4210",
    "UART_SCIF": "SCIF",
    "CONSOLE_MUX": "shared console",
    "SPIN_TABLE": "spin-table",
    "SOC_EXYNOS5250": "Exynos 5250",
    "SOC_OMAP5": "OMAP5",
    "SOC_SUN6I": "A31",
    "SOC_SUN7I": "A20",
    "SOC_RCAR_H2": "R-Car H2",
    "SOC_VEXPRESS": "Versatile Express",
    "SOC_ECX2000": "ECX-2000",
    "SOC_HIP04": "HiP04",
    "SOC_XGENE": "X-Gene",
    "SOC_BCM2711": "BCM2711",
    "HARDEN_BRANCH_PREDICTOR": "branch predictor hardening",
    "ERRATUM_766422": "erratum 766422",
    "ERRATUM_832075": "erratum 832075",
    "HIGH_DEVICES": "high devices",
    "SCHED_NULL": "null",
    "SCHED_RR": "rr",
    "SCHED_CREDIT2": "credit2",
    "SCHED_RTDS": "rtds",
    "SCHED_ARINC653": "arinc653",
    "MIXED_CPUS": "mixed CPUs",
    "MPIDR_LEVELS": "MPIDR levels",
    "VPL011": "vpl011",
    "STATIC_SHM": "shared memory",
    "AARCH32_GUESTS": "32-bit guests",
    "EVENT_CHANNELS": "event channels",
    "TRACE": "tracing",
    "PSCI_1_1": "PSCI 1.1",
    "BOOT_SCRUB": "boot scrub",
    "RESTART": "restart",
    "DIRECT_MAP": "direct map",
    "KEYS": "keys",
    "PANIC_REPORT": "panic report",
    "LINES": "table of lines",
    "COMPRESS": "compressed",
}
"""How the summary names the switches."""


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


def configured(config: Path) -> Config:
    return parse(config.read_text(), shown(config))


def checks_left_out(values: Config) -> list[str]:
    """The compiler's options for the checks that a configuration turns off."""
    off = [name.removeprefix("CHECK_").lower() for name, on in asdict(values).items() if name.startswith("CHECK_") and not on]
    return [option for kind in off for option in ("--without", kind)]


def compile_job(board: str, job: Job, config: Path | None = None, verbose: bool = False) -> float:
    """Compile one image, by the board's configuration or another; returns the seconds that it took."""
    config = (config or up_to_date(board)).absolute()
    job.output.parent.mkdir(parents=True, exist_ok=True)
    values = configured(config)
    made_from = inputs(board, job, config)
    start = time.monotonic()
    compile_module(board, job, config, checks_left_out(values), verbose)
    if job.module == HYPERVISOR and values.COMPRESS:
        make_compressed(board, job.output, config, UNPACKERS[values.ARCH], verbose)
    taken = time.monotonic() - start
    write_stamp(job, made_from, taken)
    return taken


# ---- what need not be built again -------------------------------------------------------------------------------------------


def inputs(board: str, job: Job, config: Path) -> str:
    """A sum of all that decides an image's bytes: sources, configuration, tools."""
    found = hashlib.sha256(repr((TARGETS[board], job.module, config.read_text(), [os.environ.get(name, "") for name in TOOL_VARIABLES])).encode())
    paths = [ROOT / "requirements.txt", *(path for folder in SOURCES for path in (ROOT / folder).rglob("*.py"))]
    for path in sorted(paths):
        found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()


def outputs(job: Job) -> str:
    """A sum of what a build leaves: the image, and beside it what gdb and people want; empty when there is no image."""
    beside = [job.output.with_name(job.output.name + ending) for ending in (".elf", ".c")]
    if not job.output.is_file():
        return ""
    return hashlib.sha256(b"".join(path.read_bytes() for path in (job.output, *beside) if path.is_file())).hexdigest()


def stamp_path(job: Job) -> Path:
    return job.output.with_name(f".{job.output.name}.made")


def write_stamp(job: Job, made_from: str, seconds: float) -> None:
    """Note what an image was made from, and that it is as it was made."""
    stamp_path(job).write_text(f"{made_from} {outputs(job)} {seconds:.2f}\n")


def seconds_if_made(board: str, job: Job, config: Path) -> float | None:
    """How long the image that is there took to build; None when it must be built: nothing is there, or something is not what it was."""
    try:
        made_from, left, seconds = stamp_path(job).read_text().split()
    except (OSError, ValueError):
        return None
    return float(seconds) if made_from == inputs(board, job, config.absolute()) and left == outputs(job) else None


def compile_module(board: str, job: Job, config: Path, options: list[str], verbose: bool) -> None:
    """Run the language's build command."""
    command = [sys.executable, "-m", "freestanding", "build", job.module, "--target", TARGETS[board], "-o", str(job.output), *options]
    if verbose:
        command += ["--commands"]
        print(f"XENARM_CONFIG={config} {' '.join(command)}", flush=True)
    result = subprocess.run(command, cwd=ROOT, env={**os.environ, "XENARM_CONFIG": str(config)}, check=False)
    if result.returncode:
        raise ToolError(f"{job.module} was not built: the compiler's message above says where and why")


def make_compressed(board: str, image: Path, config: Path, module: str, verbose: bool) -> None:
    """Put the compressed image in the place of the plain one, which is kept beside it."""
    unpacker = image.with_name("unpack")
    unchecked = [option for kind in CHECK_KINDS for option in ("--without", kind)]  # sizes are known, and data ends where it ends
    compile_module(board, Job(module, unpacker), config, ["-O", "z", *unchecked], verbose)
    plain = image.read_bytes()
    image.with_name(image.name + ".plain").write_bytes(plain)
    image.write_bytes(pack(plain, unpacker.read_bytes()))


def build(board: str, guests: tuple[str, ...] = GUESTS, quiet: bool = False, verbose: bool = False) -> float:
    """Build the hypervisor and some guests; returns the seconds that the hypervisor took."""
    if board not in TARGETS:
        raise ToolError(f"there is no board '{board}'; the boards are: {', '.join(sorted(TARGETS))}")
    config = up_to_date(board)
    step("CONFIG", config, quiet)
    for note in [] if quiet else notes():
        print(f"note: {note}", flush=True)
    jobs = [hypervisor_job(board), *(guest_job(board, guest) for guest in guests)]
    taken = all_of(lambda job: build_job(board, job, config, quiet, verbose), jobs)
    if not quiet:
        print(summary(board, config))
    return taken[0]


def all_of(make: Callable[[Job], float], jobs: list[Job]) -> list[float]:
    """Do them one after the other, so that none begins after one that fails; or with make's -j several at once."""
    at_once = jobs_at_once()
    if at_once == 1:
        return [make(job) for job in jobs]
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(make, jobs))


def jobs_at_once() -> int:
    """As make's -j says; without its number as many as there are CPUs."""
    found = re.search(r"(?:^| )-j(\d*)(?: |$)", os.environ.get("MAKEFLAGS", ""))
    return int(found[1] or os.cpu_count() or 1) if found else 1


def build_job(board: str, job: Job, config: Path, quiet: bool, verbose: bool) -> float:
    """Build one image, if it is not what it would become; the seconds that it took. With the commands to be shown, in any case."""
    taken = None if verbose else seconds_if_made(board, job, config)
    if taken is not None:
        return taken
    step("BUILD", job.output, quiet)
    return compile_job(board, job, config, verbose)


def build_guest(board: str, guest: str) -> None:
    """Build one of our own guests."""
    _ = build_job(board, guest_job(board, guest), up_to_date(board), quiet=False, verbose=False)


def step(word: str, path: Path, quiet: bool) -> None:
    if not quiet:
        print(f"  {word:<8} {shown(path)}\n", end="", flush=True)  # whole, where several build at once


# ---- the summary ---------------------------------------------------------------------------------------------------------


def features(values: Config) -> str:
    """The switches that are on, the default scheduler marked."""
    default = f"SCHED_{values.SCHED_DEFAULT.upper()}"
    return ", ".join(text + ("*" if name == default else "") for name, text in FEATURES.items() if getattr(values, name))


def sections(image: Image) -> str:
    """The loaded sections by name, and what is only in memory."""
    loaded = [s for s in image.elf.iter_sections() if s["sh_flags"] & 2 and s["sh_size"]]
    return ", ".join(f"{s.name.removeprefix('.')} {s['sh_size']:,}{' (not in the file)' if s['sh_type'] == 'SHT_NOBITS' else ''}" for s in loaded)


def load_address(board: str, image: Path) -> str:
    """Where a loader puts it, by the image's own header."""
    if board_named(board).architecture is Architecture.ARM32:
        return "any page: where the loader puts a zImage"
    offset, size = struct.unpack_from("<QQ", image.read_bytes(), 8)  # Linux, Documentation/arch/arm64/booting.rst
    base = board_named(board).ram_base
    return f"any 2 MiB boundary + {offset:#x}, such as {base + 0x20_0000 + offset:#x}, with {size:,} bytes of room"


def summary(board: str, config: Path) -> str:
    """What was built, in a few lines."""
    image, values = hypervisor_job(board).output, configured(config)
    elf = Image(image.with_name(image.name + ".elf").read_bytes())
    source = f"{board}'s defconfig" + (f" and {shown(user_path())}" if user_path().exists() else "")
    rows = {
        "board": f"{board} ({source})",
        "architecture": values.ARCH,
        "features": features(values),
        "sections": sections(elf),
        "image": f"{shown(image)}, {image.stat().st_size:,} bytes" + (f", unpacked {len(elf.flat()):,}" if values.COMPRESS else ""),
        "load address": load_address(board, image),
    }
    return "\n".join(f"{name:<13} {text}" for name, text in rows.items())


def main() -> None:
    """Build a board."""
    parser = argparse.ArgumentParser(prog="build", description="build a board's image and guests")
    parser.add_argument("--board", default=DEFAULT_BOARD)
    parser.add_argument("--verbose", action="store_true", help="show the commands")
    arguments = parser.parse_args()
    build(arguments.board, verbose=arguments.verbose)


if __name__ == "__main__":
    run_tool(main)
