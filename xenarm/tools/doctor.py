"""Checks the machine for the programs that building, running and testing need.

Runs on the system's own Python before there is a virtual environment, so it imports nothing but the
standard library. On a Debian-like machine, as root, it installs what is missing; elsewhere it says
exactly what to install.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from xenarm.tools.errors import ToolError, run_tool

MINIMUM_PYTHON = (3, 11)


@dataclass(frozen=True)
class Need:
    """A program, the Debian package that brings it, and what it is for."""

    program: str
    package: str
    purpose: str
    verbs: frozenset[str]

    def present(self) -> bool:
        """Whether this machine has it already."""
        if self.program == "ensurepip":  # Debian splits this module out of Python
            return importlib.util.find_spec("ensurepip") is not None
        if self.program.startswith("/"):  # a file that is not run here
            return os.path.exists(self.program)
        return shutil.which(self.program) is not None


def _need(program: str, package: str, purpose: str, verbs: str) -> Need:
    return Need(program, package, purpose, frozenset(verbs.split()))


NEEDS = (
    _need("ensurepip", "python3-venv", "makes the virtual environment", "build run test"),
    _need("qemu-system-aarch64", "qemu-system-arm", "emulates the boards", "run test"),
    _need("dtc", "device-tree-compiler", "the tests compare our device trees with its own", "test"),
    _need("mkimage", "u-boot-tools", "the tests read our U-Boot images with it", "test"),
    _need("mdir", "mtools", "the tests read our card images with it", "test"),
    _need("/usr/lib/u-boot/qemu_arm64/u-boot.bin", "u-boot-qemu", "the tests flash through it", "test"),
    _need("gdb-multiarch", "gdb-multiarch", "debugs the running hypervisor", "debug test"),
    _need("readelf", "binutils", "the tests compare our images with what it reads", "test"),
)


def missing(verb: str, needs: Iterable[Need] = NEEDS) -> list[Need]:
    """What a verb needs and this machine lacks."""
    return [need for need in needs if verb in need.verbs and not need.present()]


def install_command(packages: Iterable[str]) -> list[str]:
    """The command that brings in packages on a Debian-like machine."""
    return ["apt-get", "install", "-y", "--no-install-recommends", *packages]


def _unknown_to_apt(packages: list[str]) -> bool:
    """Whether the package lists lack one of the packages, as in a fresh container."""
    for package in packages:
        policy = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=False).stdout
        if "Candidate:" not in policy or "Candidate: (none)" in policy:
            return True
    return False


def _apt(command: list[str]) -> int:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print("$ " + " ".join(command), flush=True)
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode


def install(packages: list[str]) -> None:
    """Install packages, refreshing the package lists when they are absent or out of date."""
    if _unknown_to_apt(packages):
        _apt(["apt-get", "update"])
    if _apt(install_command(packages)) == 0:
        return
    # A mirror drops superseded versions: lists older than that name files that are gone.
    _apt(["apt-get", "update"])
    if _apt(install_command(packages)) != 0:
        raise ToolError(f"apt-get could not install {' '.join(packages)}: its own messages above say why")


def provide(verb: str, may_install: bool = True) -> None:
    """Make sure that everything a verb needs is there, or say what to install."""
    if sys.version_info < MINIMUM_PYTHON:
        raise ToolError(f"Python {'.'.join(map(str, MINIMUM_PYTHON))} or newer is needed, this is {sys.version.split()[0]}")
    lacking = missing(verb)
    if not lacking:
        return
    packages = sorted({need.package for need in lacking})
    has_apt = shutil.which("apt-get") is not None
    if has_apt and may_install and os.geteuid() == 0:
        install(packages)
        lacking = missing(verb)
    if lacking:
        wanted = ", ".join(f"{need.program} ({need.purpose})" for need in lacking)
        remedy = "sudo apt-get update && sudo " + " ".join(install_command(packages))
        if not has_apt:
            remedy = f"your system's packages that hold them (Debian calls them {', '.join(packages)})"
        raise ToolError(f"this machine lacks {wanted}; install: {remedy}")


def main() -> None:
    """Check, and install or explain."""
    parser = argparse.ArgumentParser(prog="doctor", description="check this machine for what xenarm needs")
    parser.add_argument("verb", nargs="?", default="test", choices=sorted({v for n in NEEDS for v in n.verbs}))
    parser.add_argument("--check", action="store_true", help="only say what is missing, install nothing")
    parser.add_argument("--quiet", action="store_true", help="say nothing when all is there")
    arguments = parser.parse_args()
    provide(arguments.verb, may_install=not arguments.check)
    if not arguments.quiet:
        print(f"everything that '{arguments.verb}' needs is here")


if __name__ == "__main__":
    run_tool(main)
