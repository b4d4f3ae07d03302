"""What a deployment's TOML file may say: each table's keys, what their values are, and what is said of a wrong one.

`docs/deployments.md` has the same table in words; a test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from xenarm.tools.machine import KIB, MIB

__all__ = ["DOMAIN", "EVENT_CHANNEL", "HYPERVISOR", "MACHINE", "SHARED_MEMORY", "TABLES", "TOP", "VCPU", "Key", "Mistake", "address", "size"]

UNITS = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": 1024 * MIB}
SIZE = re.compile(r"(\d+) ?(B|KiB|MiB|GiB)")
AFFINITY = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,30}")
LEVEL_SIZES = [1 << bits for bits in range(9)]
SCHEDULERS = ("null", "rr", "credit2", "rtds", "arinc653")


class Mistake(Exception):
    """A value is not what its key takes; the text says what it takes."""


Read = Callable[[Any], Any]


@dataclass(frozen=True)
class Key:
    """A key of a table: how its value is read, and in the manual what it means."""

    read: Read
    meaning: str
    needed: bool = False


def text(value: Any) -> str:
    """A string of printable characters."""
    if not isinstance(value, str) or not value.isprintable():
        raise Mistake("takes a string of printable characters, in quotes")
    return value


def some_text(value: Any) -> str:
    """A string that is not empty."""
    if not text(value):
        raise Mistake("takes a string that is not empty")
    return str(value)


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Mistake("takes true or false, without quotes")
    return value


def number(least: int, most: int) -> Read:
    """A whole number of a range."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Mistake(f"takes a whole number from {least} to {most}, without quotes")
        return value

    return read


def one_of(*choices: Any) -> Read:
    """One of some values."""

    def read(value: Any) -> Any:
        if isinstance(value, bool) or value not in choices:
            raise Mistake(f"takes one of: {', '.join(repr(choice).replace(chr(39), chr(34)) for choice in choices)}")
        return value

    return read


def size(value: Any) -> int:
    """A size in bytes, from one with a unit."""
    found = SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[1]) == 0:
        raise Mistake('takes a size with its unit: "64 KiB", "256 MiB", "2 GiB"')
    return int(found[1]) * UNITS[found[2]]


def pages(value: Any) -> int:
    """A size in bytes, of whole pages."""
    taken = size(value)
    if taken % (4 * KIB):
        raise Mistake("takes a multiple of 4 KiB")
    return taken


def address(value: Any) -> int:
    """A machine address of a page."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0 or value >= 1 << 48 or value % (4 * KIB):
        raise Mistake("takes an address that is a multiple of 4 KiB, such as 0x5000_0000, without quotes")
    return value


def matching(pattern: re.Pattern[str], example: str) -> Read:
    """A string of a form."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise Mistake(f"takes a string such as {example}")
        return value

    return read


def rows(example: str, *columns: Read) -> Read:
    """A list of lists, each with a value for every column."""

    def read(value: Any) -> tuple[tuple[Any, ...], ...]:
        if not isinstance(value, list) or not value or any(not isinstance(row, list) or len(row) != len(columns) for row in value):
            raise Mistake(f"takes a list such as {example}")
        return tuple(tuple(column(cell) for column, cell in zip(columns, row)) for row in value)

    return read


def level_sizes(value: Any) -> tuple[int, ...]:
    """One to three powers of two."""
    if not isinstance(value, list) or not 1 <= len(value) <= 3 or not all(type(values) is int and values in LEVEL_SIZES for values in value):
        raise Mistake("takes a list of one to three powers of two up to 256, such as [4] or [64, 2, 2]")
    return tuple(value)


def names(value: Any) -> tuple[str, ...]:
    """A list of names."""
    if not isinstance(value, list) or not value or any(not isinstance(name, str) for name in value):
        raise Mistake('takes a list of names, such as ["alpha", "beta"]')
    return tuple(value)


MICROSECONDS = number(10, 4_000_000)
AFFINE = Key(matching(AFFINITY, '"0-3,5"'), "CPUs that it may use")
PERIOD = Key(MICROSECONDS, "period under `rtds`, in microseconds")
BUDGET = Key(MICROSECONDS, "time in each period under `rtds`, in microseconds")
EXTRA = Key(flag, "may use what nobody needs, under `rtds`")
WINDOWS = Key(
    rows("[[0, 0, 5000]]", number(0, 63), number(0, 100_000_000), number(1, 100_000_000)),
    "windows under `arinc653`: CPU, offset and length in microseconds",
)

TOP = {
    "description": Key(text, "one line about it, shown when it is placed"),
    "boards": Key(names, "the boards that it is made for; others are refused"),
}
MACHINE = {
    "memory": Key(size, "the emulated machine's RAM; computed when it is not given. A real board's is in its device tree"),
    "cpus": Key(number(1, 512), "the emulated machine's CPUs; without it as many as the domains have, at most the board's"),
    "gic": Key(one_of(2, 3), "version of the emulated machine's interrupt controller; 2"),
    "device-tree": Key(some_text, "the machine's device tree, source or blob, in the place of the board's"),
}
HYPERVISOR = {
    "scheduler": Key(one_of(*SCHEDULERS), "the boot argument `sched=`"),
    "bootargs": Key(text, "further boot arguments"),
    "major-frame-us": Key(number(10, 100_000_000), "the frame of `arinc653`, in microseconds"),
}
DOMAIN = {
    "kernel": Key(some_text, 'a file, `"guest:NAME"` of guests/, or `"debian:kernel"`; with `guest32`, `debian32` for 32 bits', needed=True),
    "ramdisk": Key(some_text, 'a file, or `"debian:ramdisk"`, `"debian32:ramdisk"`'),
    "bootargs": Key(text, "the kernel's command line"),
    "memory": Key(pages, "its RAM", needed=True),
    "cpus": Key(number(1, 512), "its virtual CPUs; 1"),
    "gic": Key(one_of(2, 3), "version of the interrupt controller that it sees; the machine's. 2 on a GICv3 wants `CONFIG_GICV2_ON_V3`, and hardware that offers it ([domains.md](domains.md))"),
    "console": Key(one_of("sbsa", "pl011", "none"), 'its serial port; `"sbsa"`'),
    "mpidr-levels": Key(level_sizes, "values that affinity 0, 1 and 2 of its virtual CPUs have: `[4]` for clusters of four; `[16]`"),
    "weight": Key(number(1, 65535), "weight under `credit2`"),
    "cap": Key(number(0, 6400), "most of one CPU that it may use under `credit2`, in per cent"),
    "affinity": AFFINE,
    "period-us": PERIOD,
    "budget-us": BUDGET,
    "extratime": EXTRA,
    "windows": WINDOWS,
    "on-reboot": Key(one_of("restart", "stop", "stop-machine"), "what follows its reset"),
    "on-crash": Key(one_of("stop", "restart", "stop-machine"), "what follows a crash"),
    "static-memory": Key(rows('[[0x5000_0000, "64 MiB"]]', address, pages), "machine addresses and sizes of its RAM"),
    "direct-map": Key(flag, "its static memory lies where it lies in the machine"),
    "table-memory": Key(size, "memory for its translation tables"),
    "enhanced": Key(one_of("enabled", "disabled", "no-xenstore"), "Xen's `xen,enhanced`: event channels"),
}
VCPU = {"affinity": AFFINE, "period-us": PERIOD, "budget-us": BUDGET, "extratime": EXTRA, "windows": WINDOWS}
SHARED_MEMORY = {
    "size": Key(pages, "its size", needed=True),
    "guest-address": Key(address, "where each domain sees it", needed=True),
    "address": Key(address, "its machine address; without it any free memory is taken"),
    "domains": Key(names, "who has it", needed=True),
    "owner": Key(some_text, "who of them is its owner"),
}
EVENT_CHANNEL = {"ends": Key(names, 'both ends as domain and port: `["alpha:1", "beta:1"]`', needed=True)}

TABLES: Mapping[str, Mapping[str, Key]] = {
    "": TOP,
    "machine": MACHINE,
    "hypervisor": HYPERVISOR,
    "domain.NAME": DOMAIN,
    "domain.NAME.vcpu.N": VCPU,
    "shared-memory.ID": SHARED_MEMORY,
    "event-channel.ID": EVENT_CHANNEL,
}
"""Every table, by the name that the manual gives it."""
