"""What a deployment is: the domains of a machine, their kernels and their shares of it, read from one file.

`toml_file` and `imagebuilder` read the two formats into a `Deployment`; `plan` makes of it the machine that `layout` places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xenarm.tools.errors import ToolError
from xenarm.tools.machine import Value
from xenarm.tools.paths import shown

__all__ = ["Deployment", "DeploymentError", "DomainPlan", "Place", "Source"]


class DeploymentError(ToolError):
    """A mistake in a deployment's file."""


@dataclass(frozen=True)
class Place:
    """A line of a deployment's file; 0 for the file as a whole."""

    path: Path
    line: int = 0

    def __str__(self) -> str:
        return f"{shown(self.path)}:{self.line}" if self.line else shown(self.path)

    def error(self, text: str) -> DeploymentError:
        """What is wrong there, and the remedy."""
        return DeploymentError(f"{self}: {text}")


@dataclass(frozen=True)
class Source:
    """Where a kernel or RAM disk comes from: a file (relative to the deployment's), `guest:NAME` of guests/, `debian:kernel` or `debian:ramdisk`;
    with `guest32` and `debian32` for 32 bits on any board."""

    text: str
    place: Place

    @property
    def kind(self) -> str:
        """`guest`, `debian` or `file`."""
        head, colon, _ = self.text.partition(":")
        return head.removesuffix("32") if colon and head in ("guest", "guest32", "debian", "debian32") else "file"

    @property
    def narrow(self) -> bool:
        """Whether it is for AArch32 whatever the board is."""
        return self.kind != "file" and self.text.partition(":")[0].endswith("32")

    @property
    def name(self) -> str:
        """What is behind the colon."""
        return self.text.partition(":")[2]

    @property
    def path(self) -> Path:
        """Of a file."""
        return self.place.path.parent / self.text


@dataclass(frozen=True)
class DomainPlan:
    """One domain as its file asks for it. `lines` has the place of each key that the file gives, `""` that of the domain itself."""

    name: str
    kernel: Source
    ramdisk: Source | None
    memory_kib: int
    lines: Mapping[str, Place]
    bootargs: str = ""
    cpus: int = 1
    console: str = "sbsa"  # or "pl011", "none"
    properties: Mapping[str, Value] = field(default_factory=dict)
    vcpus: Mapping[int, Mapping[str, Value]] = field(default_factory=dict)
    nodes: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    static_memory: tuple[tuple[int, int], ...] = ()  # machine address and size

    def at(self, key: str) -> Place:
        """Where a key stands, or the domain if it is not given."""
        return self.lines.get(key, self.lines[""])


@dataclass(frozen=True)
class Deployment:
    """All of a file. None and "" where it leaves the choice to the board."""

    name: str
    place: Place
    domains: tuple[DomainPlan, ...]
    lines: Mapping[str, Place] = field(default_factory=dict)
    description: str = ""
    boards: tuple[str, ...] = ()
    memory_mib: int | None = None
    cpus: int | None = None
    gic: int | None = None
    tree: Path | None = None
    scheduler: str = ""
    bootargs: str = ""
    chosen: Mapping[str, Value] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what was read and has no effect
    script: str = "boot.scr"
    script_source: str = "boot.cmd"
    load_command: str = ""  # of U-Boot; "" for what the board says

    def at(self, key: str) -> Place:
        """Where a key stands, or the file if it is not given."""
        return self.lines.get(key, self.place)
