"""The integer types as live classes: `int` with a range, and no operators of their own.

Arithmetic on them at import time gives plain Python integers; inside `@fn` the compiler gives them their meaning.
"""
from __future__ import annotations

from typing import Any, ClassVar

HOST_POINTER_BITS = 64


class Integer(int):
    """Base of all integer types. Raises OverflowError where the value does not fit."""
    bits: ClassVar[int] = 0
    signed: ClassVar[bool] = False
    base: ClassVar[type[Integer] | None] = None     # what a distinct type is made of

    def __new__(cls, value: Any = 0) -> Any:
        number = int(value)
        low, high = cls.limits()
        if not low <= number <= high:
            raise OverflowError(f"{number:#x} does not fit {cls.__name__}")
        return int.__new__(cls, number)

    @classmethod
    def limits(cls) -> tuple[int, int]:
        if cls.signed:
            return -(1 << (cls.bits - 1)), (1 << (cls.bits - 1)) - 1
        return 0, (1 << cls.bits) - 1

    def __repr__(self) -> str:
        return f"{type(self).__name__}({int(self):#x})"

    __str__ = int.__repr__


class u8(Integer):
    bits = 8


class u16(Integer):
    bits = 16


class u32(Integer):
    bits = 32


class u64(Integer):
    bits = 64


class usize(Integer):
    bits = HOST_POINTER_BITS


class i8(Integer):
    bits, signed = 8, True


class i16(Integer):
    bits, signed = 16, True


class i32(Integer):
    bits, signed = 32, True


class i64(Integer):
    bits, signed = 64, True


class isize(Integer):
    bits, signed = HOST_POINTER_BITS, True


PLAIN = (u8, u16, u32, u64, usize, i8, i16, i32, i64, isize)


class Distinct(Integer):
    """`class Vmid(Distinct, type=u16)`: an integer that mixes with no other; convert by `u16(x)` and `Vmid(x)`."""
    is_address: ClassVar[bool] = False

    def __init_subclass__(cls, *, type: type[Integer] | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if type is not None:
            cls.base, cls.bits, cls.signed = type, type.bits, type.signed
        elif cls.base is None and cls.__name__ != "Address":
            raise TypeError(f"{cls.__name__}: say what it is made of: class {cls.__name__}(Distinct, type=u32)")


class Address(Distinct, type=usize):
    """An address space of its own: `addr + n` and `addr - n` are addresses, `addr - addr` is an integer."""
    is_address = True
