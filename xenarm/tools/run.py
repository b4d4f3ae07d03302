"""Boots a board's image in QEMU with a guest or a deployment, and leaves the person at its console."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NoReturn

from boards import board as board_named
from xenarm.tools import build, debian, deploy, doctor, flash
from xenarm.tools.arguments import whole
from xenarm.tools.deployment import plan
from xenarm.tools.errors import ToolError, run_tool
from xenarm.tools.layout import compose
from xenarm.tools.machine import KIB, Architecture, DomainSpec, Machine, ModuleKind, ModuleSpec
from xenarm.tools.paths import DEFAULT_BOARD, board_dir
from xenarm.tools.qemu import check_model, command_line, flash_command

DEBIAN_BOOTARGS = "console=ttyAMA0 earlycon=pl011,0x22000000"
GUEST_NAMES = ("hello", "debian", "hello32", "debian32")
NARROW = "32"  # of guests in AArch32 on a 64-bit board
BOARD32 = "qemu-virt-arm32"  # what 32-bit guests of our own are built for
ESCAPE = 0x1D  # CTRL-], because CTRL-a belongs to the hypervisor's own console
TERMINAL = ("-serial", "mon:stdio", "-echr", str(ESCAPE))


def debian_domain(
    cpus: int = 1, memory_mib: int = 256, name: str = "debian", bootargs: str = "", architecture: Architecture = Architecture.ARM64
) -> DomainSpec:
    """Debian's kernel with a busybox shell."""
    files = debian.fetch(architecture=architecture.debian)
    kernel = ModuleSpec(ModuleKind.KERNEL, files.kernel, f"{DEBIAN_BOOTARGS} {bootargs}".strip())
    return DomainSpec(name, memory_mib * KIB, (kernel, ModuleSpec(ModuleKind.RAMDISK, files.initramfs)), cpus)


def own_domain(board: str, guest: str, cpus: int = 1, memory_mib: int = 64) -> DomainSpec:
    """One of the small guests from guests/."""
    return DomainSpec(guest, memory_mib * KIB, (ModuleSpec(ModuleKind.KERNEL, build.guest_job(board, guest).output),), cpus)


def guest_domain(board: str, guest: str, cpus: int, memory_mib: int | None) -> DomainSpec:
    """The domain that GUEST names, with MEM if it was given."""
    architecture = guest_architecture(board, guest)
    kind = guest.removesuffix(NARROW)
    if kind == "debian":
        return debian_domain(cpus, memory_mib or 256, architecture=architecture)
    return own_domain(guest_board(board, guest), kind, cpus, memory_mib or 64)


def guest_architecture(board: str, guest: str) -> Architecture:
    """What the guest's CPUs are."""
    return Architecture.ARM32 if guest.endswith(NARROW) else board_named(board).architecture


def guest_board(board: str, guest: str) -> str:
    """The board that a guest of our own is built for."""
    return BOARD32 if guest.endswith(NARROW) else board


def build_for(board: str, guest: str) -> None:
    """The image, and the guest if it is of our own."""
    kind = guest.removesuffix(NARROW)
    build.build(board, (kind,) if kind != "debian" and guest_board(board, guest) == board else ())
    if kind != "debian" and guest_board(board, guest) != board:
        build.build_guest(guest_board(board, guest), kind)


def gdb_socket(board: str) -> Path:
    """Where the machine of `make run` listens for `make debug`. Relative: the path of a socket has at most 107 characters."""
    return Path(os.path.relpath(board_dir(board) / "run" / "gdb"))


def serial_socket(board: str) -> Path:
    """Where the machine of `make run CONSOLE=1` has its serial line, for `make console`."""
    return Path(os.path.relpath(board_dir(board) / "run" / "serial"))


def connected(command: list[str], board: str, to_socket: bool) -> list[str]:
    """QEMU on this terminal, where every key reaches the guest, CTRL-C and CTRL-a too, and CTRL-] is QEMU's own; or with its line at a socket."""
    gdb_socket(board).parent.mkdir(parents=True, exist_ok=True)
    command = [*command, "-gdb", f"unix:{gdb_socket(board)},server=on,wait=off"]
    if not to_socket:
        return [*command, *TERMINAL]
    return [*command, "-chardev", f"socket,id=serial0,path={serial_socket(board)},server=on,wait=on", "-serial", "chardev:serial0", "-monitor", "none"]


def replace_by(command: list[str], what: str, board: str, to_socket: bool) -> NoReturn:
    """Become QEMU."""
    how = f"'make console board={board}' in another terminal starts it; CTRL-C here ends it" if to_socket else "to quit, press CTRL-] and then x"
    print(f"{what} in QEMU; {how}", flush=True)
    os.execvp(command[0], connected(command, board, to_socket))


def flash_machine(board: str) -> tuple[str, list[str]]:
    """What 'make flash' has written."""
    found = board_named(board)
    if found.nor is None:
        raise ToolError(f"{board} has no flash that it starts from: leave out FLASH=1; 'make run board={board} DEPLOY=NAME' boots a deployment")
    doctor.provide("run")
    about = flash.flashed(board)
    command = flash_command(found.with_gic(about.gic), about.cpus, about.memory_mib, flash.flash_path(board))
    return f"starting the flash, with {about.deployment} in it,", command


def with_guest(arguments: argparse.Namespace) -> tuple[str, Machine]:
    """A machine for the one guest that GUEST names, built."""
    if arguments.guest not in GUEST_NAMES:
        raise ToolError(f"there is no guest '{arguments.guest}'; the guests are: {', '.join(GUEST_NAMES)}")
    doctor.provide("run")
    if not arguments.no_build:
        build_for(arguments.board, arguments.guest)
    domain = guest_domain(arguments.board, arguments.guest, arguments.cpus, arguments.mem)
    return arguments.guest, Machine(
        board=board_named(arguments.board).with_gic(arguments.gic),
        hypervisor=build.hypervisor_job(arguments.board).output,
        domains=(domain,),
        cpus=arguments.cpus,
        memory_mib=max(1024, 2 * domain.memory_kib // KIB + 512),
    )


def deployed(arguments: argparse.Namespace) -> tuple[str, Machine]:
    """The machine of a deployment, built."""
    deployment = plan.find(arguments.deploy)
    layout = deploy.composed(deployment, arguments.board, not arguments.no_build)
    deploy.show(deployment, layout)
    return deployment.name, layout.machine


def main() -> None:
    """Build, and replace this process by QEMU."""
    parser = argparse.ArgumentParser(prog="run", description="boot a guest on the hypervisor, in QEMU")
    parser.add_argument("--board", default=DEFAULT_BOARD)
    parser.add_argument("--guest", default="hello", help=f"one of: {', '.join(GUEST_NAMES)}")
    parser.add_argument("--cpus", type=whole("CPUS", 0), default=1, help="virtual CPUs of the guest, and CPUs of the machine")
    parser.add_argument("--mem", type=whole("MEM"), help="the guest's memory in MiB")
    parser.add_argument("--gic", type=whole("GIC"), default=2, help="version of the machine's interrupt controller: 2 or 3")
    parser.add_argument("--deploy", metavar="NAME", help="a deployment of deploy/, or a file, in the place of a guest")
    parser.add_argument("--flash", action="store_true", help="start from the flash that 'make flash' has written")
    parser.add_argument("--console", action="store_true", help="leave the serial line to 'make console'")
    parser.add_argument("--no-build", action="store_true", help="take the images as they are")
    arguments = parser.parse_args()
    check_model(board_named(arguments.board))  # before anything is built
    if arguments.flash:
        what, command = flash_machine(arguments.board)
    else:
        name, machine = deployed(arguments) if arguments.deploy else with_guest(arguments)
        what, command = f"booting {name}", command_line(compose(machine), board_dir(arguments.board) / "run" / f"{name}.dtb")
    replace_by(command, what, arguments.board, arguments.console)


if __name__ == "__main__":
    run_tool(main)
