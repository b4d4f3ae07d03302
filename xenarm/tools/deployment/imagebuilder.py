"""Reads the configuration file of Xen's ImageBuilder (its README.md) as a deployment, as it is.

The file is shell: assignments, one a line. What xenarm has no use for is named when the file is read, with its line; what it cannot do and would
have to is an error. Files are relative to the configuration's directory, as with ImageBuilder's `-d`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from xenarm.tools.deployment import Deployment, DomainPlan, Place, Source, schema
from xenarm.tools.errors import ToolError
from xenarm.tools.machine import KIB, MIB, Value
from xenarm.tools.paths import shown

__all__ = ["read_imagebuilder"]

ASSIGNMENT = re.compile(r"([A-Z][A-Z0-9_]*)(?:\[(\d+)\])?=(.*)", re.DOTALL)
DEFAULT_MEMORY_MIB = 512  # ImageBuilder's
DEFAULT_COMMAND_LINE = "console=ttyAMA0"
MOST_DOMAINS = 64

TAKEN = {"MEMORY_START", "MEMORY_END", "DEVICE_TREE", "XEN_CMD", "NUM_DOMUS", "UBOOT_SOURCE", "UBOOT_SCRIPT", "LOAD_CMD"}
TAKEN_OF_DOMAIN = {"KERNEL", "RAMDISK", "CMD", "MEM", "VCPUS", "STATIC_MEM", "DIRECT_MAP", "VPL011", "ENHANCED", "SHARED_MEM"}
WITHOUT_EFFECT = {
    "XEN": "xenarm's own image is taken",
    "XEN_LOAD": "the placement is computed",
    "BOOT_CMD": "the script boots by booti or bootz",
    "DOM0_KERNEL": "there is no dom0: describe it as a domain",
    "DOM0_CMD": "there is no dom0",
    "DOM0_RAMDISK": "there is no dom0",
    "DOM0_ROOTFS": "there is no dom0",
    "DOM0_MEM": "there is no dom0",
    "DOM0_VCPUS": "there is no dom0",
    "FDTEDIT": "the tree is written by the tool",
    "FIT": "a FIT image is always made",
    "PASSTHROUGH_DTS_REPO": "devices are not passed through yet",
}
WITHOUT_EFFECT_OF_DOMAIN = {
    "PASSTHROUGH_DTB": "devices are not passed through yet",
    "PASSTHROUGH_PATHS": "devices are not passed through yet",
    "ROOTFS": "partitions are not made; give a RAM disk",
    "COLORS": "caches are not coloured",
    "CPUPOOL": "there are no CPU pools",
    "DRIVER_DOMAIN": "there is no toolstack",
    "GRANT_VER": "there are no grant tables",
    "MAX_GRANT_FRAMES": "there are no grant tables",
    "MAX_MAPTRACK_FRAMES": "there are no grant tables",
}


class Assignments:
    """The variables of a file with their lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[tuple[str, int | None], tuple[str, Place]] = {}
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ToolError(f"cannot read {shown(path)}: {getattr(error, 'strerror', None) or 'it is no UTF-8 text'}") from error
        for place, line in statements(path, text):
            for name, index, value in assignments(place, line):
                self.values[name, index] = (value, place)

    def text(self, name: str, index: int | None = None, default: str = "") -> str:
        """A variable's value."""
        return self.values.get((name, index), (default, self.place(name, index)))[0]

    def place(self, name: str, index: int | None = None) -> Place:
        """Where it is assigned, or the file."""
        found = self.values.get((name, index))
        return found[1] if found else Place(self.path)

    def number(self, name: str, index: int | None = None, default: int = 0) -> int:
        """A variable that is a number, by C's prefixes."""
        text = self.text(name, index)
        if not text:
            return default
        try:
            return int(text, 0)
        except ValueError:
            raise self.place(name, index).error(f"{name} takes a number, not '{text}'") from None


def statements(path: Path, text: str) -> Iterator[tuple[Place, str]]:
    """Each statement with its first line: quotes and a backslash carry one on to the next."""
    pending, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        pending, first = (pending + "\n" + line, first) if pending else (line, number)
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        try:
            shlex.split(pending, comments=True)
        except ValueError:
            continue
        yield Place(path, first), pending
        pending = ""
    if pending:
        raise Place(path, first).error("a quote is not closed")


def assignments(place: Place, line: str) -> Iterator[tuple[str, int | None, str]]:
    """The assignments of a statement."""
    for word in shlex.split(line, comments=True):
        found = ASSIGNMENT.fullmatch(word)
        if found is None:
            raise place.error(f"'{word}' is no assignment: write NAME=value or NAME[number]=value")
        if "$" in found[3] or "`" in found[3]:
            raise place.error(f"{found[1]} is made by the shell, which is not run: write its value out")
        yield found[1], None if found[2] is None else int(found[2]), found[3]


def notes(taken: Assignments, count: int) -> Iterator[str]:
    """What has no effect, and why. Raises for what nobody knows."""
    for (name, index), (_, place) in taken.values.items():
        of_domain = name.removeprefix("DOMU_") if name.startswith("DOMU_") else None
        reason = WITHOUT_EFFECT.get(name) if of_domain is None else WITHOUT_EFFECT_OF_DOMAIN.get(of_domain)
        if reason:
            yield f"{place}: {name} has no effect: {reason}"
        elif of_domain == "NOBOOT":
            raise place.error("DOMU_NOBOOT leaves a domain to dom0's tools, which there are not: remove the domain, or the line")
        elif name not in TAKEN and of_domain not in TAKEN_OF_DOMAIN:
            yield f"{place}: {name} is not known, and has no effect"
        elif of_domain is not None and (index is None or index >= count):
            yield f"{place}: {name} is of no domain: NUM_DOMUS is {count}"


def regions(taken: Assignments, name: str, index: int) -> tuple[tuple[int, int], ...]:
    """Pairs of address and size."""
    words = taken.text(name, index).split()
    place = taken.place(name, index)
    try:
        numbers = [int(word, 0) for word in words]
    except ValueError:
        raise place.error(f"{name} takes pairs of address and size") from None
    if len(numbers) % 2 or any(number % (4 * KIB) or number < 0 for number in numbers) or 0 in numbers[1::2]:
        raise place.error(f"{name} takes pairs of address and size, multiples of 4 KiB")
    return tuple(zip(numbers[::2], numbers[1::2]))


def cells(*numbers: int) -> tuple[int, ...]:
    return tuple(half for number in numbers for half in (number >> 32, number & 0xFFFF_FFFF))


def shared_memory(taken: Assignments, index: int) -> dict[str, dict[str, Value]]:
    """DOMU_SHARED_MEM: identity, machine address, guest address, size."""
    words = taken.text("DOMU_SHARED_MEM", index).split()
    if not words:
        return {}
    try:
        numbers = [int(word, 0) for word in words[1:]]
    except ValueError:
        numbers = []
    if len(numbers) != 3:
        raise taken.place("DOMU_SHARED_MEM", index).error("DOMU_SHARED_MEM takes an identity, a machine address, a guest address and a size")
    return {
        "domain-shared-memory@0": {"compatible": "xen,domain-shared-memory-v1", "xen,shm-id": words[0], "xen,shared-mem": cells(*numbers)}
    }


def domain(taken: Assignments, index: int) -> DomainPlan:
    """DOMU_...[index]."""

    def place(name: str) -> Place:
        return taken.place(f"DOMU_{name}", index)

    def text(name: str, default: str = "") -> str:
        return taken.text(f"DOMU_{name}", index, default)

    if not text("KERNEL"):
        raise taken.place("NUM_DOMUS").error(f"NUM_DOMUS counts a domain without DOMU_KERNEL[{index}]: add it, or lower NUM_DOMUS")
    memory = taken.number("DOMU_MEM", index, DEFAULT_MEMORY_MIB)
    cpus = taken.number("DOMU_VCPUS", index, 1)
    if memory < 1 or cpus < 1:
        raise place("MEM" if memory < 1 else "VCPUS").error("a domain needs at least 1 MiB and 1 virtual CPU")
    static = regions(taken, "DOMU_STATIC_MEM", index)
    properties: dict[str, Value] = {}
    if static:
        memory_kib = sum(size for _, size in static) // KIB
        properties = {"#xen,static-mem-address-cells": 2, "#xen,static-mem-size-cells": 2, "xen,static-mem": cells(*(n for pair in static for n in pair))}
        if text("DIRECT_MAP", "1") == "1":  # ImageBuilder's default with static memory
            properties["direct-map"] = ()
    else:
        memory_kib = memory * MIB // KIB
    if text("ENHANCED"):
        properties["xen,enhanced"] = "enabled" if text("ENHANCED") == "1" else "disabled"
    keys = {"kernel": "KERNEL", "ramdisk": "RAMDISK", "memory": "MEM", "cpus": "VCPUS", "static-memory": "STATIC_MEM"}
    return DomainPlan(
        name=f"domU{index}",
        kernel=Source(text("KERNEL"), place("KERNEL")),
        ramdisk=Source(text("RAMDISK"), place("RAMDISK")) if text("RAMDISK") else None,
        memory_kib=memory_kib,
        lines={"": place("KERNEL")} | {key: place(name) for key, name in keys.items() if text(name)},
        bootargs=text("CMD", DEFAULT_COMMAND_LINE),
        cpus=cpus,
        console="none" if text("VPL011", "1") == "0" else "sbsa",
        properties=properties,
        nodes=shared_memory(taken, index),
        static_memory=static,
    )


def read_imagebuilder(path: Path) -> Deployment:
    """A file as a deployment. Raises DeploymentError."""
    taken = Assignments(path)
    count = taken.number("NUM_DOMUS")
    if not 1 <= count <= MOST_DOMAINS:
        raise taken.place("NUM_DOMUS").error(f"NUM_DOMUS is {count}: xenarm starts the domains of DOMU_KERNEL[0] and so on, and needs 1 to {MOST_DOMAINS}")
    start, end = taken.number("MEMORY_START"), taken.number("MEMORY_END")
    if end and (end <= start or (end - start) % MIB):
        raise taken.place("MEMORY_END").error("MEMORY_END is not a whole number of MiB above MEMORY_START")
    tree = taken.text("DEVICE_TREE")
    said = list(notes(taken, count))
    if tree and not (path.parent / tree).is_file():
        raise taken.place("DEVICE_TREE").error(f"there is no file {shown(path.parent / tree)}: correct the name, relative to the configuration")
    scheduler = re.findall(r"(?:^|\s)sched=(\S+)", taken.text("XEN_CMD"))
    if scheduler and scheduler[-1] not in schema.SCHEDULERS:
        said.append(f"{taken.place('XEN_CMD')}: sched={scheduler[-1]} is not known, and has no effect")
    return Deployment(
        name=path.stem,
        place=Place(path),
        domains=tuple(domain(taken, index) for index in range(count)),
        lines={"machine.memory": taken.place("MEMORY_END"), "hypervisor.scheduler": taken.place("XEN_CMD")},
        description=f"by ImageBuilder's {path.name}",
        memory_mib=(end - start) // MIB if end else None,
        tree=path.parent / tree if tree else None,
        scheduler=scheduler[-1] if scheduler and scheduler[-1] in schema.SCHEDULERS else "",
        bootargs=" ".join(word for word in taken.text("XEN_CMD").split() if not word.startswith("sched=")),
        notes=tuple(said),
        script=taken.text("UBOOT_SCRIPT", default="boot.scr"),
        script_source=taken.text("UBOOT_SOURCE", default="boot.cmd"),
        load_command=taken.text("LOAD_CMD"),
    )
