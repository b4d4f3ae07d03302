"""The prompt's line editing, in CPython."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from freestanding import u8
from guests.hello.commands import LINE, LINE_SIZE, edit

RETURN, BACKSPACE, DELETE, KILL = 0x0D, 0x08, 0x7F, 0x15


def typed(keys: bytes) -> bytes:
    """The line after some keys, none of which ends it."""
    LINE.length = 0
    for key in keys:
        assert not edit(u8(key))
    return bytes(int(LINE.text[i]) for i in range(int(LINE.length)))


def model(keys: bytes) -> bytes:
    line = bytearray()
    for key in keys:
        if key in (BACKSPACE, DELETE):
            del line[-1:]
        elif key == KILL:
            line.clear()
        elif 0x20 <= key < 0x7F and len(line) < LINE_SIZE:
            line.append(key)
    return bytes(line)


@given(st.binary(max_size=2 * LINE_SIZE).map(lambda keys: bytes(k for k in keys if k not in b"\r\n")))
def test_any_keys_leave_the_line_that_a_person_expects(keys: bytes) -> None:
    assert typed(keys) == model(keys)


def test_a_full_line_takes_no_more_until_something_is_erased() -> None:
    assert typed(b"a" * LINE_SIZE + b"b") == b"a" * LINE_SIZE
    assert typed(b"a" * LINE_SIZE + b"\x08b") == b"a" * (LINE_SIZE - 1) + b"b"


def test_return_and_line_feed_end_the_line() -> None:
    for key in (RETURN, 0x0A):
        LINE.length = 0
        assert edit(u8(key))
