"""What unpacks a packed zImage, and what packs it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freestanding import array, u8
from tests.xenarm.test_unpack import sample
from xenarm.arm32.unpack import PARAMETERS, STACK, unpack_data
from xenarm.tools.lz4 import LAST_LITERALS, pack_block
from xenarm.tools.pack import ZIMAGE_WORDS, pack

pytestmark = pytest.mark.board("arm32")

ZIMAGE = bytes(0x24) + bytes.fromhex("18286f01") + bytes(24)


def unpacked(data: bytes, size: int) -> tuple[bool, bytes]:
    """What comes out of data that stands for so many bytes."""
    given_data, out = array(u8, max(len(data), 1)), array(u8, max(size, 1))
    for i, byte in enumerate(data):
        given_data[i] = u8(byte)
    sound = unpack_data(given_data, out)
    return bool(sound), bytes(int(byte) for byte in out)


@pytest.mark.parametrize("seed", range(6))
def test_what_was_packed_comes_out(seed: int) -> None:
    image = sample(seed, 6000)
    packed = pack_block(image)
    assert unpacked(packed, len(image)) == (True, image)
    assert len(packed) < 0.75 * len(image)
    assert unpacked(packed + bytes(60), len(image)) == (True, image), "what fills the file up does not matter"


@pytest.mark.parametrize("size", [15, 18, 19, 20, 255 + 15, 255 + 18, 255 + 19, 255 + 20, 2 * 255 + 19])
def test_lengths_at_the_bytes_that_tell_them(size: int) -> None:
    """Literals and matches of 15 and more, of 18 and more, and of a multiple of 255 more."""
    chance = random.Random(size)
    image = chance.randbytes(size) + bytes(size + 5) + chance.randbytes(40)
    assert unpacked(pack_block(image), len(image)) == (True, image)


def test_distances_end_at_64_kib() -> None:
    far = random.Random(1).randbytes(100)
    near, beyond = (far + random.Random(2).randbytes(gap - 100) + far + bytes(20) for gap in (0xFFFF, 0x10000))
    assert len(pack_block(near)) + 90 < len(pack_block(beyond))
    assert unpacked(pack_block(near), len(near)) == (True, near)


@given(st.binary(min_size=1, max_size=200))
def test_short_data(image: bytes) -> None:
    packed = pack_block(image)
    assert unpacked(packed, len(image)) == (True, image)
    assert packed.endswith(image[-LAST_LITERALS:]), "the format's end is literals"


@given(st.binary(min_size=1, max_size=300), st.integers(1, 2000))
def test_damaged_data_ends(data: bytes, size: int) -> None:
    """No error and no endless loop, whatever it is."""
    _, out = unpacked(data, size)
    assert len(out) == size


def test_data_that_is_cut_off_is_damaged() -> None:
    image = sample(3, 3000)
    packed = pack_block(image)
    assert all(not unpacked(packed[:end], len(image))[0] for end in range(0, len(packed), 37))


def test_the_file_says_where_all_is() -> None:
    image = ZIMAGE + sample(1, 5000)
    packed = pack(image, ZIMAGE + bytes(512))
    room, size, plain, begin = ZIMAGE_WORDS.unpack_from(packed, PARAMETERS)
    assert (size, plain, begin) == (len(packed), len(image), len(ZIMAGE) + 512)
    assert room % 0x1000 == 0 and room >= len(image) > size, "the copy does not lie on itself"
    assert int.from_bytes(packed[0x2C:0x30], "little") == len(packed)
    assert size % 64 == 0 and STACK % 8 == 0
    assert unpacked(packed[begin:], plain) == (True, image)
