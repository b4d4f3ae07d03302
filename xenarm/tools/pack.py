"""Makes an image that unpacks itself from an arm64 Image (`xenarm/arm64/unpack.py`) or a zImage (`xenarm/arm32/unpack.py`)."""

from __future__ import annotations

import lzma
import struct

from xenarm.arm32 import unpack as unpack32
from xenarm.arm64.unpack import LC, LP, PARAMETERS, PB, PROBABILITIES, STACK
from xenarm.tools.errors import ToolError
from xenarm.tools.lz4 import pack_block

HEADER = struct.Struct("<IIQQQQQQ4sI")  # Linux, Documentation/arch/arm64/booting.rst
WORDS = struct.Struct("<QQQQ")
ZIMAGE_WORDS = struct.Struct("<IIII")
ZIMAGE_MAGIC, ZIMAGE_MAGIC_AT, ZIMAGE_END_AT = unpack32.ZIMAGE_MAGIC.to_bytes(4, "little"), 0x24, 0x2C  # Linux, arch/arm/boot/compressed/head.S
UNIT = 64  # bytes that the copy is a multiple of
FILTER = {"id": lzma.FILTER_LZMA1, "preset": 9 | lzma.PRESET_EXTREME, "lc": LC, "lp": LP, "pb": PB, "nice_len": 273, "depth": 1000, "dict_size": 1 << 21}


def branches_to_targets(code: bytes) -> bytes:
    """BL's distance becomes the word that it leads to, counted from the start."""
    out = bytearray(code)
    for at in range(0, len(code) - 3, 4):
        (word,) = struct.unpack_from("<I", code, at)
        if word >> 26 == 0b100101:
            struct.pack_into("<I", out, at, word & 0xFC00_0000 | word + at // 4 & 0x03FF_FFFF)
    return bytes(out)


def compress(image: bytes) -> bytes:
    return lzma.compress(branches_to_targets(image), lzma.FORMAT_RAW, filters=[FILTER])


def up(value: int, unit: int) -> int:
    return (value + unit - 1) // unit * unit


def pack(image: bytes, unpacker: bytes) -> bytes:
    """The compressed image: the unpacker with a header and its parameters, then the data."""
    if image[ZIMAGE_MAGIC_AT : ZIMAGE_MAGIC_AT + 4] == ZIMAGE_MAGIC:
        return pack_zimage(image, unpacker)
    if image[56:60] != b"ARMd":
        raise ToolError("only an arm64 Image or a zImage can be compressed: turn CONFIG_COMPRESS off")
    _, _, text_offset, image_size, flags, *_ = HEADER.unpack_from(image)
    data = compress(image)
    size = up(len(unpacker) + len(data), UNIT)
    room = up(image_size, 0x1000)
    total = room + up(size, 0x1000) + up(PROBABILITIES * 2 + STACK, 0x1000)
    (branch,) = struct.unpack_from("<I", unpacker)
    header = HEADER.pack(branch, 0, text_offset, total, flags, 0, 0, 0, b"ARMd", 0)
    words = WORDS.pack(room, size, len(image), len(unpacker))
    packed = header + words + unpacker[PARAMETERS + WORDS.size :] + data
    return packed.ljust(size, b"\0")


def pack_zimage(image: bytes, unpacker: bytes) -> bytes:
    """The same of a zImage, whose header has its size alone; it clears and uses more memory behind itself than unpacking does."""
    data = pack_block(image)
    size = up(len(unpacker) + len(data), UNIT)
    words = ZIMAGE_WORDS.pack(up(len(image), 0x1000), size, len(image), len(unpacker))
    packed = bytearray((unpacker + data).ljust(size, b"\0"))
    packed[ZIMAGE_END_AT : ZIMAGE_END_AT + 4] = size.to_bytes(4, "little")
    packed[unpack32.PARAMETERS : unpack32.PARAMETERS + ZIMAGE_WORDS.size] = words
    return bytes(packed)
