"""Device trees for tests: dtc, a reader of the blob that is independent of ours, Debian's collection."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from xenarm.tools.paths import BUILD


@dataclass
class Plain:
    """A node as Python holds it."""

    offset: int
    name: str
    properties: dict[str, bytes] = field(default_factory=dict)
    children: list[Plain] = field(default_factory=list)

    def walk(self) -> Iterator[Plain]:
        """This node and all below it, in the order of the blob."""
        yield self
        for child in self.children:
            yield from child.walk()


def parse(blob: bytes) -> Plain:
    """The tree of a sound blob."""
    header = struct.unpack_from(">10I", blob)
    structure, strings = header[2], header[3]
    stack = [Plain(-1, "top")]
    at = structure
    while True:
        (token,) = struct.unpack_from(">I", blob, at)
        if token == 1:
            end = blob.index(0, at + 4)
            node = Plain(at - structure, blob[at + 4 : end].decode())
            stack[-1].children.append(node)
            stack.append(node)
            at = (end + 4) & ~3
        elif token == 3:
            size, name = struct.unpack_from(">II", blob, at + 4)
            text = blob[strings + name : blob.index(0, strings + name)].decode()
            stack[-1].properties[text] = blob[at + 12 : at + 12 + size]
            at = (at + 12 + size + 3) & ~3
        elif token == 9:
            return stack[0].children[0]
        else:
            if token == 2:
                stack.pop()
            at += 4


def compile_source(source: str) -> bytes:
    """What dtc makes of a tree's source."""
    command = ["dtc", "-q", "-@", "-I", "dts", "-O", "dtb"]
    return subprocess.run(command, input=source.encode(), stdout=subprocess.PIPE, check=True, timeout=100).stdout


def source_of(blob: bytes) -> str:
    """What dtc reads in a blob."""
    return subprocess.run(
        ["dtc", "-I", "dtb", "-O", "dts"], input=blob, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True, timeout=100
    ).stdout.decode()


def debian_trees() -> list[Path]:
    """Every tree that Debian's kernel packages ship, as far as it has been fetched."""
    return sorted((BUILD / "debian").glob("*/root/usr/lib/linux-image-*/**/*.dtb"))
