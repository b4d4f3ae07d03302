"""A card image: a master boot record with one FAT16 partition, files in its root directory.

Microsoft's "FAT: General Overview of On-Disk Format", version 1.03. Times and serial numbers come from nowhere: the same files are the same bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from xenarm.tools.errors import ToolError

__all__ = ["card_image", "write_card"]

SECTOR = 512
START = 2048  # first sector of the partition: 1 MiB, where partitioning tools put it
ROOT_ENTRIES = 512
ENTRY = 32
RESERVED = 1
FATS = 2
LEAST_CLUSTERS, MOST_CLUSTERS = 4085, 65524  # fewer are FAT12, more FAT32 (page 14)
SPARE = 2 << 20
PARTITION_FAT16 = 0x0E  # addressed by blocks
LAST_CLUSTER = 0xFFFF
FIRST_DAY = 0x21  # 1 January 1980
LONG_NAME = 0x0F
LONG_PIECE = 13
CHS_NONE = b"\xfe\xff\xff"
LABEL = b"XENARM     "


class Geometry:
    """Sizes of a partition that holds so many bytes of files."""

    def __init__(self, sizes: list[int]) -> None:
        self.per_cluster = 1  # sectors
        while self.needed(sizes) > MOST_CLUSTERS:
            self.per_cluster *= 2
            if self.per_cluster > 64:
                raise ToolError("the deployment's files are too large for a card of 2 GiB (FAT16): use smaller RAM disks")
        self.clusters = max(self.needed(sizes), LEAST_CLUSTERS)
        self.fat_sectors = -(-(self.clusters + 2) * 2 // SECTOR)
        self.first_data = RESERVED + FATS * self.fat_sectors + ROOT_ENTRIES * ENTRY // SECTOR
        self.sectors = self.first_data + self.clusters * self.per_cluster

    def clusters_of(self, size: int) -> int:
        """Of a file."""
        return -(-size // (self.per_cluster * SECTOR))

    def needed(self, sizes: list[int]) -> int:
        """For all files and some room."""
        return sum(self.clusters_of(size) for size in [*sizes, SPARE])


def master_boot_record(geometry: Geometry, serial: int) -> bytes:
    """One partition, nothing to boot from."""
    entry = struct.pack("<B3sB3sII", 0, CHS_NONE, PARTITION_FAT16, CHS_NONE, START, geometry.sectors)
    return bytes(440) + struct.pack("<IH", serial, 0) + entry + bytes(48) + b"\x55\xaa"


def boot_sector(geometry: Geometry, serial: int) -> bytes:
    """The parameter block (pages 9 to 12)."""
    small = geometry.sectors if geometry.sectors < 0x1_0000 else 0
    block = struct.pack(
        "<3s8sHBHBHHBHHHIIBBBI11s8s",
        b"\xeb\x3c\x90",
        b"XENARM  ",
        SECTOR,
        geometry.per_cluster,
        RESERVED,
        FATS,
        ROOT_ENTRIES,
        small,
        0xF8,
        geometry.fat_sectors,
        63,
        255,
        START,
        0 if small else geometry.sectors,
        0x80,
        0,
        0x29,
        serial,
        LABEL,
        b"FAT16   ",
    )
    return block.ljust(510, b"\0") + b"\x55\xaa"


def short_name(number: int) -> bytes:
    """The name of 8.3 behind a long one: nobody types it."""
    return f"FILE{number:04d}BIN".encode()


def checksum(short: bytes) -> int:
    """That ties a long name to its short one (page 28)."""
    total = 0
    for byte in short:
        total = ((total >> 1 | total << 7) + byte) & 0xFF
    return total


def long_entries(name: str, short: bytes) -> Iterator[bytes]:
    """The entries of a long name, its last piece first (page 27)."""
    units = name.encode("utf-16-le")
    pieces = -(-len(units) // (2 * LONG_PIECE))
    if len(units) % (2 * LONG_PIECE):
        units += b"\0\0"
    units = units.ljust(pieces * 2 * LONG_PIECE, b"\xff")
    for number in range(pieces, 0, -1):
        piece = units[(number - 1) * 2 * LONG_PIECE : number * 2 * LONG_PIECE]
        order = number | (0x40 if number == pieces else 0)
        yield struct.pack("<B10sBBB12sH4s", order, piece[:10], LONG_NAME, 0, checksum(short), piece[10:22], 0, piece[22:])


def directory_entry(short: bytes, cluster: int, size: int) -> bytes:
    """A file (page 23)."""
    return struct.pack("<11sBBBHHHHHHHI", short, 0x20, 0, 0, 0, FIRST_DAY, FIRST_DAY, 0, 0, FIRST_DAY, cluster, size)


def card_image(files: Mapping[str, bytes]) -> list[tuple[int, bytes]]:
    """The image as runs of bytes at offsets, the last one ending it; what is between is zero."""
    geometry = Geometry([len(data) for data in files.values()])
    serial = zlib.crc32("".join(files).encode() + b"".join(zlib.crc32(data).to_bytes(4, "big") for data in files.values()))
    fat = [0xFFF8, LAST_CLUSTER]
    directory = struct.pack("<11sB20s", LABEL, 0x08, bytes(20))
    base = START * SECTOR
    runs = [(0, master_boot_record(geometry, serial)), (base, boot_sector(geometry, serial))]
    for number, (name, data) in enumerate(files.items()):
        short, first, count = short_name(number), len(fat), geometry.clusters_of(len(data))
        directory += b"".join(long_entries(name, short)) + directory_entry(short, first if count else 0, len(data))
        fat += [*range(first + 1, first + count), LAST_CLUSTER] if count else []
        runs.append((base + (geometry.first_data + (first - 2) * geometry.per_cluster) * SECTOR, data))
    if len(directory) > ROOT_ENTRIES * ENTRY:
        raise ToolError("the deployment has more files than the card's directory has room for")
    table = struct.pack(f"<{len(fat)}H", *fat)
    tables = [(base + (RESERVED + n * geometry.fat_sectors) * SECTOR, table) for n in range(FATS)]
    root = (base + (RESERVED + FATS * geometry.fat_sectors) * SECTOR, directory)
    return [*runs, *tables, root, (base + geometry.sectors * SECTOR - 1, b"\0")]


def write_card(path: Path, files: Mapping[str, bytes]) -> None:
    """Write an image, with holes where nothing is."""
    with path.open("wb") as stream:
        for offset, data in card_image(files):
            stream.seek(offset)
            stream.write(data)
