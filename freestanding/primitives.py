"""Arithmetic and other primitives: their CPython bodies serve import time; inside `@fn` the compiler knows them by identity."""
from __future__ import annotations

from typing import Any

from .errors import Panic


def _fit(cls: Any, number: int) -> int:
    low, high = cls.limits()
    return int((number - low) % (high - low + 1) + low)


def truncate(cls: Any, x: int) -> Any:
    """The low bits of x as `cls`."""
    return cls(_fit(cls, int(x)))


def _wrapping(op: Any) -> Any:
    def wrapping(a: Any, b: Any) -> Any:
        cls = _integer_class(a, b)
        return cls(_fit(cls, op(int(a), int(b))))
    return wrapping


def _integer_class(a: Any, b: Any) -> Any:
    from .integers import Integer
    for x in (a, b):
        if isinstance(x, Integer):
            return type(x)
    raise TypeError("at import time one operand must say its width: u32(...)")


wrapping_add = _wrapping(lambda a, b: a + b)
wrapping_sub = _wrapping(lambda a, b: a - b)
wrapping_mul = _wrapping(lambda a, b: a * b)


def wrapping_neg(a: Any) -> Any:
    return type(a)(_fit(type(a), -int(a)))


def _saturating(op: Any) -> Any:
    def saturating(a: Any, b: Any) -> Any:
        cls = _integer_class(a, b)
        low, high = cls.limits()
        return cls(min(max(op(int(a), int(b)), low), high))
    return saturating


saturating_add = _saturating(lambda a, b: a + b)
saturating_sub = _saturating(lambda a, b: a - b)


def _checked(op: Any) -> Any:
    def checked(a: Any, b: Any) -> Any:
        cls = _integer_class(a, b)
        exact = op(int(a), int(b))
        wrapped = _fit(cls, exact)
        return wrapped == exact, cls(wrapped)
    return checked


checked_add = _checked(lambda a, b: a + b)
checked_sub = _checked(lambda a, b: a - b)
checked_mul = _checked(lambda a, b: a * b)


def clz(x: Any) -> int:
    """Leading zeros of a typed integer; its width for 0."""
    return int(type(x).bits - int(x).bit_length())


def ctz(x: Any) -> int:
    """Trailing zeros; the width for 0."""
    return (int(x) & -int(x)).bit_length() - 1 if x else int(type(x).bits)


def popcount(x: Any) -> int:
    return int(x).bit_count()


def byteswap(x: Any) -> Any:
    return type(x)(int.from_bytes(int(x).to_bytes(type(x).bits // 8, "little"), "big"))


def rotate_left(x: Any, n: int) -> Any:
    width = type(x).bits
    n %= width
    return type(x)(_fit(type(x), int(x) << n | int(x) >> (width - n)))


def rotate_right(x: Any, n: int) -> Any:
    return rotate_left(x, -n % type(x).bits)


def align_down(x: Any, n: int) -> Any:
    """The largest multiple of n (a power of two) not above x."""
    return type(x)(int(x) & ~(n - 1))


def align_up(x: Any, n: int) -> Any:
    """The smallest multiple of n (a power of two) not below x; overflow is a panic."""
    return type(x)((int(x) + n - 1) & ~(n - 1))


def is_aligned(x: Any, n: int) -> bool:
    return int(x) & (n - 1) == 0


def read_once(place: Any) -> Any:
    """One access to a field of a shared struct."""
    return place


def write_once(place: Any, value: Any) -> None:
    raise TypeError("write_once works inside @fn only")


def address_of(x: Any) -> Any:
    """The address of a struct, array, slice or function, in modules with MAPS_MEMORY = True."""
    raise TypeError("address_of works inside @fn only")


def panic(message: str = "") -> Any:
    """Stop: the hypervisor's own bug."""
    raise Panic("panic", message, "", 0)
