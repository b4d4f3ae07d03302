"""A few instructions in the place of a boot loader."""

from __future__ import annotations

import subprocess
from pathlib import Path

from freestanding.elf import Image
from freestanding.toolchain import find_tools


def assemble(text: str, target: str, scratch: Path) -> bytes:
    """The bytes of a piece of assembly that runs anywhere; `target` is clang's, e.g. `aarch64-none-elf`."""
    source, output = scratch / "loader.s", scratch / "loader.o"
    source.write_text(text)
    compiler = find_tools({}).compiler
    subprocess.run([*compiler, f"--target={target}", "-c", str(source), "-o", str(output)], check=True, capture_output=True, timeout=100)
    return Image(output.read_bytes()).section(".text")
