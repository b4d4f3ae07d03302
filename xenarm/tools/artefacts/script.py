"""The script with which U-Boot loads a deployment file by file: readable source, and the image of it that `source` and the distro boot take."""

from __future__ import annotations

from collections.abc import Iterator

from xenarm.tools.artefacts import Loaded, entry_of, loaded
from xenarm.tools.layout import Layout
from xenarm.tools.machine import Architecture

__all__ = ["boot_command", "boot_script"]

LOAD = "load ${devtype} ${devnum}:${distro_bootpart}"  # what U-Boot's distro boot tells a boot.scr


def boot_command(layout: Layout) -> str:
    """The command that starts the hypervisor when everything is in memory."""
    command = "booti" if layout.machine.board.architecture is Architecture.ARM64 else "bootz"
    return f"{command} {entry_of(layout):#x} - {layout.device_tree.base:#x}"


def lines(layout: Layout, name: str, source: str, load: str) -> Iterator[str]:
    board = layout.machine.board
    yield f"# Boots the deployment {name} on {board.name}. Made from {source}: change that, and not this."
    yield f'echo "xenarm: deployment {name}"'
    yield "# The tree stays where it is put."
    yield f"setenv fdt_high {'0xffffffffffffffff' if board.architecture is Architecture.ARM64 else '0xffffffff'}"
    for part in loaded(layout):
        yield from load_part(part, load)
    yield boot_command(layout)


def load_part(part: Loaded, load: str) -> Iterator[str]:
    """Load a file and hold its size to what it was."""
    yield f'if {load} {part.address:#x} {part.name} && test 0x${{filesize}} -eq {len(part.data):#x}; then true; else echo "xenarm: {part.name} is not there, or of another size"; exit; fi'


def boot_script(layout: Layout, name: str, source: str, load: str = "") -> str:
    """The source. `load`: what loads a file, less address and name."""
    return "\n".join(lines(layout, name, source, load or LOAD)) + "\n"
