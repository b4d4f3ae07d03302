"""Number formatting for printers, itself in the language; one set for each printer's `write`."""
from __future__ import annotations

from typing import Any

from freestanding import array, fn, i64, table, truncate, u8, u32, u64, usize

DIGITS = table(u8, b"0123456789abcdef")
LONGEST = 24                                        # characters of one number, padding included
PADDING = {False: 0x20, True: 0x30}


class Formatters:
    """The formatting functions of one printer."""

    def __init__(self, write: Any) -> None:
        self.hexadecimal = _hexadecimal(write)
        self.decimal = _decimal(write)
        self.signed = _signed(write, self.decimal)


def _hexadecimal(write: Any) -> Any:
    @fn(inline=False)
    def put_hex(value: u64, width: u32, padding: u8) -> None:
        digits = array(u8, LONGEST)
        at = usize(LONGEST)
        rest = value
        while True:
            at -= 1
            digits[at] = DIGITS[rest & 15]
            rest = rest >> 4
            if rest == 0:
                break
        while LONGEST - at < usize(width) and at > 0:
            at -= 1
            digits[at] = padding
        write(digits[at:])
    return put_hex


def _decimal(write: Any) -> Any:
    @fn(inline=False)
    def put_decimal(value: u64, width: u32, padding: u8, negative: bool) -> None:
        digits = array(u8, LONGEST)
        at = usize(LONGEST)
        rest = value
        while True:
            at -= 1
            digits[at] = truncate(u8, 0x30 + rest % 10)
            rest = rest // 10
            if rest == 0:
                break
        sign = usize(1) if negative else usize(0)
        if negative and padding == 0x20:
            at -= 1
            digits[at] = 0x2d
            sign = 0
        while LONGEST - at + sign < usize(width) and at > 1:
            at -= 1
            digits[at] = padding
        if sign != 0:
            at -= 1
            digits[at] = 0x2d
        write(digits[at:])
    return put_decimal


def _signed(write: Any, decimal: Any) -> Any:
    @fn(inline=False)
    def put_signed(value: i64, width: u32, padding: u8) -> None:
        if value < 0:
            decimal(~truncate(u64, value) + 1, width, padding, True)
        else:
            decimal(u64(value), width, padding, False)
    return put_signed


_CACHE: dict[int, tuple[Any, Formatters]] = {}


def formatters(write: Any) -> Formatters:
    """The formatting functions over `write(View[u8])`, made once."""
    if id(write) not in _CACHE:
        _CACHE[id(write)] = (write, Formatters(write))
    return _CACHE[id(write)][1]
