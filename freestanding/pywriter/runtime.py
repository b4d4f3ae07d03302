"""What rendered programs call: the panic, and primitives too long to stand in a line."""
from __future__ import annotations

from typing import Any, NoReturn

from .. import types as t
from ..errors import Panic
from ..structs import Slice, View
from .live import copier, is_plain

Site = tuple[str, int]          # file and line, as rendered code passes them


def panic(kind: str, message: str, file: str, line: int) -> NoReturn:
    raise Panic(kind, message, file, line)


def wrap(number: int, low: int, mask: int) -> int:
    """The signed number with these low bits."""
    return (number - low & mask) + low


def saturate(number: int, low: int, high: int) -> int:
    return low if number < low else high if number > high else number


def checked(exact: int, low: int, mask: int) -> tuple[bool, int]:
    """What checked_add and its kin give: whether it fits, and the wrapped number."""
    wrapped = (exact - low & mask) + low
    return wrapped == exact, wrapped


def byteswap(x: int, size: int) -> int:
    return int.from_bytes(x.to_bytes(size, "little"), "big")


def byteswap_signed(x: int, size: int) -> int:
    return int.from_bytes(x.to_bytes(size, "little", signed=True), "big", signed=True)


def rotate_left(x: int, n: int, bits: int) -> int:
    n %= bits
    return (x << n | x >> bits - n) & (1 << bits) - 1


def rotate_right(x: int, n: int, bits: int) -> int:
    return rotate_left(x, -n % bits, bits)


# ---- slices ---------------------------------------------------------------------------------------------------------------

def slice_array(made: type[Any], base: Any, length: int, low: int, high: int | None, file: str, line: int) -> Any:
    if high is None:
        high = length
    if not low <= high <= length:
        raise Panic("bounds", "", file, line)
    return made(base, low, high - low)


def slice_slice(made: type[Any], base: Any, low: int, high: int | None, file: str, line: int) -> Any:
    if high is None:
        high = base.length
    if not low <= high <= base.length:
        raise Panic("bounds", "", file, line)
    return made(base.base, base.start + low, high - low)


def load(view: Any, offset: int, size: int, order: Any, file: str, line: int) -> int:
    if offset + size > view.length:
        raise Panic("bounds", "", file, line)
    at = view.start + offset
    return int.from_bytes(view.base[at:at + size], order)


def store(view: Any, offset: int, value: int, size: int, order: Any, file: str, line: int) -> None:
    if offset + size > view.length:
        raise Panic("bounds", "", file, line)
    at = view.start + offset
    view.base[at:at + size] = value.to_bytes(size, order)


def text(view: Any) -> bytes:
    return bytes(view.base[view.start:view.start + view.length])


def equals(a: Any, b: Any) -> bool:
    return a.length == b.length and text(a) == text(b)


def compare(a: Any, b: Any) -> int:
    one, two = text(a), text(b)
    return (one > two) - (one < two)


def find(view: Any, byte: int) -> int:
    at = text(view).find(byte)
    return view.length if at < 0 else at


def copy(element: t.Type, target: Any, source: Any, file: str, line: int, check: bool) -> None:
    if check and target.length != source.length:
        raise Panic("bounds", "", file, line)
    read = source.base[source.start:source.start + target.length]
    if is_plain(element):
        target.base[target.start:target.start + target.length] = read
        return
    put = copier(element)
    forward = not (target.base is source.base and target.start > source.start)
    for i in range(target.length) if forward else reversed(range(target.length)):
        put(target.base[target.start + i], read[i])


def fill(element: t.Type, target: Any, value: Any) -> None:
    if is_plain(element):
        target.base[target.start:target.start + target.length] = [value] * target.length
        return
    put = copier(element)
    for i in range(target.start, target.start + target.length):
        put(target.base[i], value)


# ---- atomics ----------------------------------------------------------------------------------------------------------------

def atomic_store(place: Any, value: int) -> None:
    place.value = value


def atomic_fetch_add(place: Any, value: int, low: int, mask: int) -> int:
    old: int = place.value
    place.value = (old + value - low & mask) + low
    return old


def atomic_fetch_or(place: Any, value: int) -> int:
    old: int = place.value
    place.value = old | value
    return old


def atomic_fetch_and(place: Any, value: int) -> int:
    old: int = place.value
    place.value = old & value
    return old


def atomic_exchange(place: Any, value: int) -> int:
    old: int = place.value
    place.value = value
    return old


def atomic_compare_swap(place: Any, expected: int, new: int) -> tuple[bool, int]:
    old: int = place.value
    if old == expected:
        place.value = new
    return old == expected, old


def write_once(owner: Any, name: str, value: Any) -> None:
    setattr(owner, name, value)


SHARED = {"@panic": panic, "@Panic": Panic, "@Slice": Slice, "@View": View, "@range": range, "@reversed": reversed, "@min": min,
          "@max": max, "@int": int, "@setattr": object.__setattr__} | {
    f"@{f.__name__}": f for f in (wrap, saturate, checked, byteswap, byteswap_signed, rotate_left, rotate_right, slice_array,
                                  slice_slice, load, store, equals, compare, find, copy, fill, atomic_store, atomic_fetch_add,
                                  atomic_fetch_or, atomic_fetch_and, atomic_exchange, atomic_compare_swap, write_once)}
