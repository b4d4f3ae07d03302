"""The types and functions that every generated program may name."""
from collections.abc import Callable, Iterator  # noqa: F401

from freestanding import *  # noqa: F403


class E8(IntEnum, type=u8):
    A = 0
    B = 1
    C = 2
    D = 200


class E32(IntEnum, type=u32):
    P = 0
    Q = 7
    R = 0x8000_0000


class B32(Bits, type=u32):
    KIND: E8 = bits(31, 24)
    WIDE: u16 = bits(20, 8)
    LOW: u8 = bits(5, 1)
    ON: bool = bits(0)


class B64(Bits, type=u64):
    TOP: u32 = bits(63, 40)
    MID: u64 = bits(39, 4)
    FLAG: bool = bits(2)


class V(Struct, frozen=True):
    x: u16
    y: i32
    z: u64
    b: bool
    e: E8


class Inner(Struct):
    a: u32
    b: i64
    c: u8


class Overlap(Union):
    word: u32
    half: i16
    bytes: Array[u8] = array(u8, 6)


class S(Struct):
    n8: u8
    n64: u64
    s16: i16
    flag: bool
    e: E8
    bits: B32
    v: V
    inner: Inner
    link: Inner | None
    over: Overlap
    run: Callable[[u32], u32] | None
    bytes: Array[u8] = array(u8, 8)
    words: Array[u32] = array(u32, 4)
    halves: Array[i16] = array(i16, 3)
    inners: Array[Inner] = array(Inner, 2)
    counter: Atomic[u32] = atomic(u32)


class Packed(Struct, packed=True):
    p8: u8
    p32: u32
    p64: u64
    p16: i16


class Lock(Struct):
    depth: u32

    @fn
    def __enter__(self) -> None:
        self.depth += 1

    @fn
    def __exit__(self, *exc: object) -> None:
        self.depth -= 1


@fn
def step0(x: u32) -> u32:
    return wrapping_add(x, 0x1234_5678)


@fn
def step1(x: u32) -> u32:
    return x - 5


@fn(inline=False)
def step2(x: u32) -> u32:
    return ~x


STEPS = table(Callable[[u32], u32], [step0, step1, step2])
NUMBERS = table(u32, [1, 0, 0xFFFF_FFFF, 77, 0x8000_0000])
VALUES = table(V, [V(1, -2, 3, True, E8.B), V(0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF, False, E8.D)])
