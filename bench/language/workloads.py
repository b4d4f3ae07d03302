"""What each kernel is run on: the same bytes for both languages, made without chance."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from xenarm.tools import debian
from xenarm.tools.errors import ToolError
from xenarm.tools.paths import BUILD

BOARD_TREE = "bcm2711-rpi-4-b.dtb"  # a real board's, from Debian's kernel package
SEED = 0x2545_F491_4F6C_DD1D


@dataclass(frozen=True)
class Workload:
    """A kernel's name, its input, its second argument if that is not the input's size, and what a unit of it is."""

    name: str
    what: str
    data: Callable[[], bytes]
    count: int | None = None
    runs: int = 1  # the state that one run leaves is what the next starts from


def noise(size: int) -> bytes:
    """Bytes of a linear congruential generator."""
    state, out = SEED, bytearray()
    while len(out) < size:
        state = (state * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
        out += struct.pack("<I", state >> 32)
    return bytes(out[:size])


def board_tree() -> bytes:
    """The device tree blob of a Raspberry Pi 4."""
    debian.fetch()
    found = sorted((BUILD / "debian").rglob(BOARD_TREE))
    if not found:
        raise ToolError(f"Debian's kernel package has no {BOARD_TREE}")
    return found[0].read_bytes()


def syndromes() -> bytes:
    """1,000 trap syndromes: mostly data aborts, system registers, hypercalls and waits, some that nobody expects."""
    classes = (0x24, 0x24, 0x24, 0x24, 0x16, 0x16, 0x18, 0x18, 0x01, 0x20, 0x12, 0x3C, 0x00)
    words = struct.unpack("<2000I", noise(8000))
    made = (classes[a % len(classes)] << 26 | 1 << 25 | b & 0x1FF_FFFF | (b & 7 != 0) << 24 for a, b in zip(words[::2], words[1::2]))
    return struct.pack("<1000I", *made)


WORKLOADS = (
    Workload("crc32", "CRC-32 of 16 KiB", lambda: noise(16384)),
    Workload("sha256", "SHA-256 of 16 KiB", lambda: noise(16384)),
    Workload("memcpy", "copy of 16 KiB and 5 bytes", lambda: noise(16389)),
    Workload("quicksort", "quicksort of 4,096 words", lambda: noise(16384)),
    Workload("heap", "heap, 1,024 in and out", lambda: noise(4096)),
    Workload("fdt", "walk over a board's device tree", board_tree),
    Workload("bitmap", "bitmap search x1000", lambda: b"", 1000),
    Workload("runqueue", "run queue x1000", lambda: b"", 1000),
    Workload("registers", "distributor registers x1000", lambda: b"", 1000),
    Workload("traps", "trap decode x1000", syndromes),
)
