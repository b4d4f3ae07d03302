"""Kernel headers: sound ones, Debian's own, and what can be wrong."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freestanding import View
from xenarm.core.kernel import KernelFault, KernelImage, kernel_check
from xenarm.tools.paths import BUILD


def image(
    size: int = 4096, magic: bytes = b"ARMd", text_offset: int = 0, image_size: int = 0x10000, flags: int = 0xA, pe: int = 0
) -> bytes:
    header = struct.pack("<IIQQQQQQ4sI", 0x14000010, 0, text_offset, image_size, flags, 0, 0, 0, magic, pe)
    return header + bytes(size - len(header))


def check(data: bytes) -> KernelImage:
    return kernel_check(View(data, 0, len(data)))


def with_sections(data: bytes, *sections: tuple[int, int]) -> bytes:
    """A PE header at 64 with sections of (raw pointer, raw size)."""
    pe = struct.pack("<IHHIIIHH", 0x4550, 0xAA64, len(sections), 0, 0, 0, 0, 0)
    rows = b"".join(struct.pack("<8sIIII16x", b".text", 0, 0, size, start) for start, size in sections)
    return data[:60] + struct.pack("<I", 64) + pe + rows + data[64 + len(pe) + len(rows) :]


def test_a_sound_image() -> None:
    found = check(image(text_offset=0x80000))
    assert (found.fault, int(found.text_offset), int(found.size)) == (KernelFault.NONE, 0x80000, 0x10000)


def test_image_larger_than_it_says() -> None:
    assert check(image(size=0x20000)).size == 0x20000


def test_old_kernels_say_no_size() -> None:
    found = check(image(image_size=0, text_offset=0))
    assert (found.fault, int(found.text_offset)) == (KernelFault.NONE, 0x80000)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", KernelFault.SHORT),
        (image()[:63], KernelFault.SHORT),
        (image(magic=b"ARM\0"), KernelFault.BAD_MAGIC),
        (b"\x1f\x8b\x08" + bytes(200), KernelFault.COMPRESSED),
        (image(flags=1), KernelFault.BIG_ENDIAN),
        (image(text_offset=0x200000), KernelFault.BAD_OFFSET),
        (image(text_offset=0x1234), KernelFault.BAD_OFFSET),
        (image(image_size=1 << 40), KernelFault.BAD_SIZE),
        (image(image_size=(1 << 64) - 1), KernelFault.BAD_SIZE),
        (with_sections(image(), (1024, 3073)), KernelFault.CUT),
        (with_sections(image(), (0xFFFFFFFF, 0xFFFFFFFF)), KernelFault.CUT),
        (with_sections(image(), (1024, 3072)), KernelFault.NONE),
    ],
)
def test_faults(data: bytes, fault: KernelFault) -> None:
    assert check(data).fault == fault


def test_debians_kernel_and_cuts_of_it() -> None:
    path = BUILD / "debian" / "Image"
    if not path.exists():
        pytest.skip("not fetched: 'make run GUEST=debian' does that")
    data = path.read_bytes()
    assert check(data).fault == KernelFault.NONE
    assert check(data[:-0x10000]).fault == KernelFault.CUT  # more than the signature at its end
    assert check(data[: len(data) // 2]).fault == KernelFault.CUT
    assert check(data[:0x100]).fault == KernelFault.CUT


@given(st.binary(min_size=64, max_size=300))
def test_anything(data: bytes) -> None:
    check(data)
    check(data[:56] + b"ARMd" + data[60:])
