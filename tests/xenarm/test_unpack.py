"""What unpacks a compressed image, against the LZMA encoder of Python's own library."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freestanding import array, u8, u16, u32
from xenarm.arm64.unpack import PROBABILITIES, branches_to_distances, unpack_data
from xenarm.tools.errors import ToolError
from xenarm.tools.pack import HEADER, WORDS, branches_to_targets, compress, pack

pytestmark = pytest.mark.board("arm64")


def unpacked(data: bytes, size: int) -> tuple[bool, bytes]:
    """What comes out of data that stands for so many bytes."""
    given_data, room, out = array(u8, max(len(data), 1)), array(u16, PROBABILITIES), array(u8, max(size, 1))
    for i, byte in enumerate(data):
        given_data[i] = u8(byte)
    sound = unpack_data(given_data, room, out)
    return bool(sound), bytes(int(byte) for byte in out)


def sample(seed: int, size: int) -> bytes:
    """Bytes with all kinds of repetitions: near, far, long, and of lately used distances."""
    chance = random.Random(seed)
    out = bytearray(chance.randbytes(16))
    while len(out) < size:
        if chance.random() < 0.4:
            out += chance.randbytes(chance.randrange(1, 9))
        else:
            back, length = chance.randrange(1, len(out)), chance.choice((2, 3, 9, 17, 40, 300))
            for _ in range(length):
                out.append(out[-back])
                if chance.random() < 0.02:
                    out[-1] ^= 1
    return bytes(out[:size])


@pytest.mark.parametrize("seed", range(6))
def test_what_was_packed_comes_out(seed: int) -> None:
    image = sample(seed, 6000)
    assert unpacked(compress(image), len(image)) == (True, branches_to_targets(image))


def test_long_runs_and_every_byte() -> None:
    image = bytes(3000) + bytes(range(256)) * 4 + b"\xff" * 700
    assert unpacked(compress(image), len(image)) == (True, branches_to_targets(image))


@given(st.binary(min_size=1, max_size=200))
def test_short_data(image: bytes) -> None:
    sound, out = unpacked(compress(image), len(image))
    assert sound
    assert out[: len(image)] == branches_to_targets(image)


@given(st.binary(min_size=5, max_size=300), st.integers(1, 2000))
def test_damaged_data_ends(data: bytes, size: int) -> None:
    """No error and no endless loop, whatever it is."""
    _, out = unpacked(data, size)
    assert len(out) == size


def test_branches_come_back() -> None:
    words = [0x9400_0001, 0x97FF_FFFF, 0x1400_0001, 0x9400_0001, 0xD65F_03C0]
    image = b"".join(word.to_bytes(4, "little") for word in words)
    packed = branches_to_targets(image)
    assert packed != image
    code = array(u32, len(words))
    for i in range(len(words)):
        code[i] = u32(int.from_bytes(packed[4 * i : 4 * i + 4], "little"))
    branches_to_distances(code)
    assert [int(word) for word in code] == words


def test_the_header_asks_for_room() -> None:
    header = HEADER.pack(0x1400_0010, 0, 0x8_0000, 0x5_0000, 0b1010, 0, 0, 0, b"ARMd", 0)
    image = header + sample(1, 4000)
    packed = pack(image, bytes(2048))
    _, _, offset, size, flags, *_, magic, _ = HEADER.unpack_from(packed)
    room, file_size, plain, begin = WORDS.unpack_from(packed, 64)
    assert (offset, flags, magic) == (0x8_0000, 0b1010, b"ARMd")
    assert (room, plain, begin, file_size) == (0x5_0000, len(image), 2048, len(packed))
    assert size >= room + file_size + 2 * PROBABILITIES
    assert len(packed) % 64 == 0
    with pytest.raises(ToolError, match="only an arm64 Image or a zImage can be compressed"):
        pack(bytes(4096), bytes(2048))
