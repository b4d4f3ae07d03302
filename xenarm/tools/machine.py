"""What a boot consists of: a board, its size, the hypervisor, and the domains with their modules."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from xenarm.tools.errors import ToolError
from xenarm.tools.paths import shown

KIB = 1024
MIB = 1024 * KIB
GIC_OPTION = re.compile(r"gic-version=\d")  # of QEMU's -M


@dataclass(frozen=True)
class Region:
    """A range of physical addresses that something occupies."""

    what: str
    base: int
    size: int

    @property
    def end(self) -> int:
        """The first address after it."""
        return self.base + self.size

    def overlaps(self, other: Region) -> bool:
        """Whether the two share an address."""
        return self.base < other.end and other.base < self.end

    def __str__(self) -> str:
        return f"{self.what} [{self.base:#x}, {self.end:#x})"


class Architecture(Enum):
    """What a board's CPUs are, by Kconfig's name and the compiler's."""

    ARM64 = "arm64"
    ARM32 = "arm32"

    @property
    def target(self) -> str:
        """The compiler's name for it."""
        return "aarch64" if self is Architecture.ARM64 else "armv7"

    @property
    def debian(self) -> str:
        """Debian's name for it."""
        return "arm64" if self is Architecture.ARM64 else "armhf"


STORAGE = re.compile(r"none|sf( (0x[0-9a-fA-F]+|\d+))?|[a-z]+ \d+(:\d+)?")


def check_storage(storage: str) -> None:
    """Refuse what is no place that U-Boot can write to."""
    if not STORAGE.fullmatch(storage):
        raise ToolError(f"'{storage}' is no storage: give none, \"sf 0x100000\", or a FAT partition by U-Boot's name, such as \"mmc 0:1\"")


@dataclass(frozen=True)
class Hardware:
    """What a person has to know of a board. `load_address` is where its loader puts the image, and `storage` where `make flash` has its U-Boot write: a
    FAT partition by U-Boot's name ("mmc 0:1"), SPI flash from an offset on ("sf 0x100000"), or "none": into memory alone."""

    soc: str
    load_address: int
    serial: str
    firmware: str
    cpu_start: str
    flash: str
    storage: str = "none"
    baud: int = 115_200

    def __post_init__(self) -> None:
        check_storage(self.storage)


@dataclass(frozen=True)
class Board:
    """A board. `qemu` is the emulator that has a model of it, empty for none, and `machine` and `cpu` what that calls it; `cpu` is empty where the
    machine has no choice. `tree` names the source of its device tree in boards/, and is empty where QEMU makes one."""

    name: str
    hardware: Hardware
    ram_base: int
    max_cpus: int
    qemu: str = ""
    machine: str = ""
    cpu: str = ""
    tree: str = ""
    architecture: Architecture = Architecture.ARM64
    nor: Region | None = None  # NOR flash that the CPU starts from
    gic_cpus: Mapping[int, int] = field(default_factory=dict)  # `max_cpus` by the version of the interrupt controller
    smp: int = 0  # what QEMU's -smp has to be; 0: as many as the machine is to have

    @property
    def on_hardware(self) -> Board:
        """The board itself, for what is carried to it, where QEMU has a model of it too; a machine of QEMU's alone is what it is."""
        return replace(self, qemu="", machine="", smp=0) if self.tree else self

    def machine_options(self, *more: str) -> list[str]:
        """What QEMU is told to be."""
        return ["-M", ",".join((self.machine, *more)), *(["-cpu", self.cpu] if self.cpu else [])]

    @property
    def gic(self) -> int | None:
        """Version of the emulated machine's interrupt controller, where it has the choice."""
        found = GIC_OPTION.search(self.machine)
        return int(found[0][-1]) if found else None

    def has_gic(self, version: int) -> bool:
        """Whether QEMU has the board with that version of the interrupt controller."""
        choice = GIC_OPTION.search(self.machine) is not None and self.architecture is Architecture.ARM64
        return version in ((2, 3) if choice else (2,))

    def with_gic(self, version: int) -> Board:
        """The same board with another interrupt controller."""
        if not self.has_gic(version):
            raise ToolError(f"board {self.name} has no GICv{version}")
        return replace(self, machine=GIC_OPTION.sub(f"gic-version={version}", self.machine), max_cpus=self.gic_cpus.get(version, self.max_cpus))


class ModuleKind(Enum):
    """What a module is to its domain: the name in Xen's multiboot bindings."""

    KERNEL = "multiboot,kernel"
    RAMDISK = "multiboot,ramdisk"
    DEVICE_TREE = "multiboot,device-tree"


@dataclass(frozen=True)
class ModuleSpec:
    """A file that lies in memory when the hypervisor starts, at `address` or where there is room.

    `claim` is the (address, size) that the device tree states, when a test wants it to be wrong.
    """

    kind: ModuleKind
    path: Path
    bootargs: str = ""
    address: int | None = None
    claim: tuple[int, int] | None = None

    def load_size(self) -> int:
        """How many bytes the file brings into memory."""
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise ToolError(f"cannot read module {shown(self.path)}: {error.strerror}") from error


Value = int | str | tuple[int, ...]
"""Of a property: one cell, a string, or cells."""


@dataclass(frozen=True)
class DomainSpec:
    """A domain that the hypervisor makes at boot, from Xen's dom0less bindings.

    `properties` are its node's beside those that the other fields make; `vcpus` has, by number, those of its `xen,vcpu` nodes, and `nodes`, by
    name, those of further children.
    """

    name: str
    memory_kib: int
    modules: tuple[ModuleSpec, ...]
    cpus: int = 1
    vpl011: bool = True
    properties: Mapping[str, Value] = field(default_factory=dict)
    vcpus: Mapping[int, Mapping[str, Value]] = field(default_factory=dict)
    nodes: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)


@dataclass(frozen=True)
class Machine:
    """One machine to start: everything that QEMU is told, but how its console is connected.

    With `count_instructions` each takes 2**`shift` ns of the machine's time, and nothing else does.
    `chosen` has properties of /chosen. Nothing is placed in `taken`.
    """

    board: Board
    hypervisor: Path
    domains: tuple[DomainSpec, ...]
    cpus: int = 1
    memory_mib: int = 1024
    bootargs: str = ""
    count_instructions: bool = False
    tree: Path | None = None  # a device tree, source or blob, in the place of the board's own
    shift: int = 0
    chosen: Mapping[str, Value] = field(default_factory=dict)
    extra: tuple[str, ...] = field(default=())
    taken: tuple[Region, ...] = ()


@dataclass(frozen=True)
class ImageHeader:
    """The fields of an arm64 Image header that decide where a loader puts it.

    Linux's Documentation/arm64/booting.rst, section 4.
    """

    text_offset: int
    image_size: int

    MAGIC = b"ARMd"

    @classmethod
    def read(cls, path: Path) -> ImageHeader | None:
        """A file's header, or None if it is no arm64 Image."""
        try:
            with path.open("rb") as stream:
                header = stream.read(64)
        except OSError as error:
            raise ToolError(f"cannot read {shown(path)}: {error.strerror}") from error
        if len(header) < 64 or header[56:60] != cls.MAGIC:
            return None
        text_offset, image_size = struct.unpack_from("<QQ", header, 8)
        return cls(text_offset, image_size)
