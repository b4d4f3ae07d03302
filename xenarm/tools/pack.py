"""Makes an image that unpacks itself (`xenarm/arm64/unpack.py`) from an arm64 Image."""

from __future__ import annotations

import lzma
import struct

from xenarm.arm64.unpack import LC, LP, PARAMETERS, PB, PROBABILITIES, STACK
from xenarm.tools.errors import ToolError

HEADER = struct.Struct("<IIQQQQQQ4sI")  # Linux, Documentation/arch/arm64/booting.rst
WORDS = struct.Struct("<QQQQ")
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
    if image[56:60] != b"ARMd":
        raise ToolError("only an arm64 Image can be compressed: turn CONFIG_COMPRESS off")
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
