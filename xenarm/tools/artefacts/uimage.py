"""U-Boot's legacy image format: a header of 64 bytes with two checksums (U-Boot's include/image.h, struct legacy_img_hdr)."""

from __future__ import annotations

import struct
import zlib

from xenarm.tools.artefacts import entry_of, uboot_architecture
from xenarm.tools.layout import Layout

__all__ = ["hypervisor_image", "legacy_image", "script_image"]

MAGIC = 0x2705_1956
HEADER = struct.Struct(">7I4B32s")
OS_LINUX = 5
TYPE_KERNEL = 2
TYPE_SCRIPT = 6
UNCOMPRESSED = 0
TIME = 0  # of a file that is the same whenever it is made


def legacy_image(data: bytes, kind: int, architecture: int, name: str, load: int = 0, entry: int = 0) -> bytes:
    """Any data with its header. Addresses have 32 bits."""
    rest = (len(data), load, entry, zlib.crc32(data), OS_LINUX, architecture, kind, UNCOMPRESSED, name.encode()[:32])
    blank = HEADER.pack(MAGIC, 0, TIME, *rest)
    return HEADER.pack(MAGIC, zlib.crc32(blank), TIME, *rest) + data


def hypervisor_image(layout: Layout) -> bytes:
    """The hypervisor for `bootm ADDRESS - TREE`."""
    number, _ = uboot_architecture(layout)
    return legacy_image(layout.machine.hypervisor.read_bytes(), TYPE_KERNEL, number, "xenarm", layout.hypervisor.base, entry_of(layout))


def script_image(text: str, layout: Layout) -> bytes:
    """A script for `source`: a list of one text, by its size and a zero."""
    number, _ = uboot_architecture(layout)
    data = text.encode()
    return legacy_image(struct.pack(">2I", len(data), 0) + data, TYPE_SCRIPT, number, "xenarm boot script")
