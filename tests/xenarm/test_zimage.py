"""zImages: headers that are taken, and those that are refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenarm.core.addresses import KIB, MIB
from xenarm.core.kernel import KernelFault
from xenarm.core.zimage import WORK_ROOM, zimage_check

SIZE = 64 * KIB
TABLE = 0x1000
PACKED = 0x2000


def zimage(size: int = SIZE, *, magic: int = 0x016F_2818, start: int = 0, end: int = SIZE, table: int = TABLE, unpacked: int = 22 * MIB, bss: int = MIB,
           text: int = 0x20_8000, tail: bytes = b"") -> bytes:
    """A file with the header, the table and the sizes that it points at."""
    image = bytearray(size)
    struct.pack_into("<3I", image, 0x24, magic, start, end)
    if table:
        struct.pack_into("<2I", image, 0x34, 0x4545_4545, table)
        struct.pack_into("<6I", image, TABLE, 6, 0x5A53_4C4B, PACKED, bss, text, 0x1_0000)
        struct.pack_into("<I", image, PACKED, unpacked)
    return bytes(image) + tail


def test_it_is_loaded_behind_the_kernel_that_it_unpacks() -> None:
    found = zimage_check(zimage())
    assert found.fault == KernelFault.NONE
    assert found.text_offset == 26 * MIB, "0x208000 + 22 MiB + 1 MiB, on the next boundary of 2 MiB"
    assert found.size == SIZE + WORK_ROOM


def test_without_a_table_room_for_five_times_its_size() -> None:
    found = zimage_check(zimage(size=MIB, end=MIB, table=0))
    assert (found.fault, found.text_offset) == (KernelFault.NONE, 6 * MIB)


def test_a_device_tree_behind_it_is_part_of_it() -> None:
    tree = struct.pack(">2I", 0xD00D_FEED, 4 * KIB) + bytes(4 * KIB - 8)
    assert zimage_check(zimage(tail=tree)).size == SIZE + 4 * KIB + WORK_ROOM
    assert zimage_check(zimage(tail=tree[:-1])).fault == KernelFault.CUT


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"magic": 0}, KernelFault.BAD_MAGIC),
        ({"magic": 0x1828_6F01}, KernelFault.BIG_ENDIAN),
        ({"start": 0x8000}, KernelFault.BAD_OFFSET),
        ({"end": SIZE + 1}, KernelFault.CUT),
        ({"end": 16}, KernelFault.BAD_SIZE),
        ({"unpacked": 1 << 30}, KernelFault.BAD_SIZE),
        ({"text": 17 * MIB}, KernelFault.BAD_SIZE),
    ],
)
def test_refused(changes: dict[str, int], fault: KernelFault) -> None:
    assert zimage_check(zimage(**changes)).fault == fault  # type: ignore[arg-type]


def test_other_files() -> None:
    assert zimage_check(b"").fault == KernelFault.SHORT
    assert zimage_check(b"\x1f\x8b" + bytes(100)).fault == KernelFault.COMPRESSED


@given(st.binary(min_size=64, max_size=256), st.integers(0, 255))
def test_any_bytes_behind_a_magic_are_answered(junk: bytes, end: int) -> None:
    """Whatever the table says, nothing outside the file is read, and what is taken fits 32 bits of addresses."""
    image = bytearray(junk)
    struct.pack_into("<3I", image, 0x24, 0x016F_2818, 0, end)
    struct.pack_into("<I", image, 0x34, 0x4545_4545)
    found = zimage_check(bytes(image))
    assert found.fault != KernelFault.NONE or found.text_offset + found.size < 1 << 30
