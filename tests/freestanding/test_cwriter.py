"""Meaning of compiled programs: the same results and panics from C at every level and on every target."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.freestanding.building import Engine, machine
from freestanding import (Address, Array, Atomic, Bits, Distinct, IntEnum, Ref, Slice, Struct, Union, View, array, atomic, bits,
                          byteswap, checked_add, checked_mul, clz, ctz, fn, i8, i16, i32, i64, panic, place, popcount, read_once,
                          rotate_left, rotate_right, saturating_add, saturating_sub, table, truncate, u8, u16, u32, u64, usize,
                          wrapping_add, wrapping_mul, wrapping_neg, wrapping_sub, write_once, zeroed)
from freestanding.errors import Panic


def outcome(call: Callable[[], Any]) -> Any:
    """The result, or kind and line of the panic."""
    try:
        return call()
    except Panic as stop:
        return stop.kind


def line_of(function: Any, text: str) -> int:
    """The line of the function's source with that text."""
    import inspect
    lines, first = inspect.getsourcelines(function.py)
    return first + next(n for n, line in enumerate(lines) if text in line)


# ---- integers -------------------------------------------------------------------------------------------------------------

@fn
def big_literal(x: u64) -> u64:
    return x ^ 0x1_0000_0001


@fn
def literal_shift(n: u32) -> u64:
    return u64(1) << n


@fn
def mul16(a: u16, b: u16) -> u16:
    return wrapping_mul(a, b)


@fn
def add8(a: u8, b: u8) -> u8:
    return a + b


@fn
def neg8(a: i8) -> i8:
    return -a


@fn
def wneg(a: i64) -> i64:
    return wrapping_neg(a)


@fn
def shl8(a: u8, n: u32) -> u8:
    return a << n


@fn
def sar(a: i16, n: u8) -> i16:
    return a >> n


@fn
def invert(a: u8) -> u16:
    return u16(~a)


@fn
def divide(a: u64, b: u64) -> u64:
    return a // b + a % b


@fn
def narrow(a: i64) -> u8:
    return u8(a)


@fn
def widen(a: i8) -> i64:
    return i64(a)


@fn
def low_bits(a: i32) -> u8:
    return truncate(u8, a)


@fn
def saturate(a: i8, b: i8) -> i8:
    return saturating_sub(saturating_add(a, b), 1)


@fn
def fits(a: u16, b: u16) -> u32:
    ok, total = checked_add(a, b)
    fine, product = checked_mul(a, b)
    return u32(total) + (u32(1) << 16 if ok else u32(0)) + (u32(1) << 17 if fine else u32(0)) + u32(product & 1)


@fn
def counts(x: u16) -> u32:
    return clz(x) * 10000 + ctz(x) * 100 + popcount(x)


@fn
def turned(x: u8, n: u32) -> u32:
    return u32(rotate_left(x, n)) << 8 | u32(rotate_right(x, n))


@fn
def swapped(x: u32) -> u64:
    return u64(byteswap(x)) << 16 | u64(byteswap(truncate(u16, x)))


@fn
def smaller(a: i32, b: i32) -> i32:
    return min(a, b) - max(a, b)


@fn
def wrapped(a: u32, b: u32) -> u32:
    return wrapping_sub(wrapping_add(a, b), 1)


INTEGERS: list[tuple[Any, tuple[int, ...], Any]] = [
    (big_literal, (1 << 63,), (1 << 63) ^ 0x1_0000_0001),
    (literal_shift, (63,), 1 << 63), (literal_shift, (64,), "shift"),
    (mul16, (65535, 65535), 1), (add8, (200, 55), 255), (add8, (200, 56), "overflow"),
    (neg8, (-127,), 127), (neg8, (-128,), "overflow"), (wneg, (-(1 << 63),), -(1 << 63)),
    (shl8, (0xFF, 4), 0xF0), (shl8, (1, 8), "shift"), (sar, (-32768, 15), -1), (sar, (-3, 16), "shift"),
    (invert, (0,), 255), (divide, (17, 5), 5), (divide, (1, 0), "division"), (divide, ((1 << 64) - 1, 10), ((1 << 64) - 1) // 10 + 5),
    (narrow, (255,), 255), (narrow, (256,), "narrowing"), (narrow, (-1,), "narrowing"), (widen, (-128,), -128),
    (low_bits, (-1,), 255), (saturate, (100, 100), 126), (saturate, (-100, -100), -128),
    (fits, (65535, 1), 1 | 1 << 17), (fits, (300, 300), 600 | 1 << 16), (counts, (0,), 161600), (counts, (0x8001,), 2),
    (turned, (0x81, 1), 0x03C0), (turned, (0x81, 8), 0x8181), (swapped, (0x11223344,), 0x44332211 << 16 | 0x4433),
    (smaller, (-5, 3), -8), (smaller, (-(1 << 31), 1), "overflow"), (wrapped, (0xFFFFFFFF, 1), 0xFFFFFFFF),
]


def test_integers(engine: Engine) -> None:
    running = machine(engine, *dict.fromkeys(f for f, _, _ in INTEGERS))
    got = [(f.__name__, args, outcome(lambda: running.call(f.__name__, *args))) for f, args, _ in INTEGERS]      # noqa: B023
    assert got == [(f.__name__, args, expected) for f, args, expected in INTEGERS]


# ---- loops ----------------------------------------------------------------------------------------------------------------

@fn
def last_of(start: u8, stop: u8) -> u32:
    turns = u32(0)
    i = u8(7)
    for i in range(start, stop, 3):
        turns += 1
    return turns << 8 | u32(i)


@fn
def backwards(start: i8, stop: i8) -> i32:
    total = i32(0)
    for i in reversed(range(start, stop, 50)):
        total = total * 3 + i32(i)
    return total


@fn
def far(start: u64, stop: u64) -> u64:
    seen = u64(0)
    for i in range(start, stop, 4):
        seen = wrapping_add(wrapping_mul(seen, 3), i)
        if i & 1 == 1:
            continue
    return seen


@fn
def reassigned(n: u32) -> u32:
    total = u32(0)
    for i in range(n):
        total += i
        i = 100
        total += i
    return total


@fn
def nested(n: u32) -> u32:
    found = u32(0)
    for i in range(n):
        for j in reversed(range(i)):
            if j == 2:
                continue
            if j + i > 9:
                break
            found += i * j
        while found > 50:
            found -= 7
            if found == 44:
                break
    return found


def python_nested(n: int) -> int:
    return int(nested.py(n))


def test_loops(engine: Engine) -> None:
    running = machine(engine, last_of, backwards, far, reassigned, nested)
    assert running.call("last_of", 0, 255) == 85 << 8 | 252
    assert running.call("last_of", 250, 255) == 2 << 8 | 253
    assert running.call("last_of", 9, 9) == 7
    assert running.call("backwards", -128, 127) == (((((122 * 3 + 72) * 3 + 22) * 3 - 28) * 3 - 78) * 3 - 128)
    top = (1 << 64) - 1
    expected = 0
    for i in range(top - 9, top, 4):
        expected = (expected * 3 + i) & top
    assert running.call("far", top - 9, top) == expected
    assert running.call("reassigned", 4) == 6 + 400
    assert running.call("nested", 9) == python_nested(9)


# ---- structs, references, slots -----------------------------------------------------------------------------------------------

class Point(Struct):
    x: u32
    y: u32


class Line(Struct):
    a: Point
    b: Point
    tag: u8
    marks: Array[u16] = array(u16, 3)


class Odd(Struct, packed=True):
    first: u8
    wide: u32
    half: u16


class Value(Struct, frozen=True):
    key: u32
    flag: bool
    pair: tuple[u8, u64]


class Word(Union):
    whole: u32
    parts: Array[u8] = array(u8, 4)


LINES = array(Line, 4)
ODD = zeroed(Odd)
WORD = zeroed(Word)


@fn
def copies(n: u32) -> u32:
    a = Point(x=n, y=2)
    LINES[1].a = a
    a.x = 9
    b = LINES[1].a
    b.y = 5
    LINES[2] = LINES[1]
    LINES[1].a.x += 1
    return LINES[2].a.x * 100 + LINES[2].a.y * 10 + LINES[1].a.x + a.x


@fn
def branch_slot(which: bool) -> u32:
    if which:
        p = Point(x=1, y=2)
    else:
        p = Point(x=3, y=4)
    q = Point(x=70, y=80)
    q.x += 1
    return p.x * 10 + p.y + q.x * 100


@fn
def slot_each_turn(n: u32) -> u32:
    total = u32(0)
    for i in range(n):
        p = zeroed(Point)
        p.x += i
        total += p.x + p.y
        p.y = 100
    return total


@fn
def packed(x: u32) -> u32:
    ODD.wide = x
    ODD.half = truncate(u16, x)
    return ODD.wide + u32(ODD.half) + u32(ODD.first)


@fn
def overlapping(x: u32) -> u32:
    WORD.whole = x
    WORD.parts[0] = 0xFF
    return WORD.whole


@fn
def values(k: u32) -> bool:
    v = Value(key=k, flag=True, pair=(u8(1), u64(2)))
    w = Value(key=3, flag=True, pair=(u8(1), u64(2)))
    return v == w


@fn
def changed(p: Point) -> None:
    p.x += 1


@fn
def nullable(n: u32) -> u32:
    found = look(n)
    if found is None:
        return 0
    changed(found)
    return found.x


@fn
def look(n: u32) -> Point | None:
    if n > 3:
        return None
    return LINES[n].b


def test_structs(engine: Engine) -> None:
    running = machine(engine, copies, branch_slot, slot_each_turn, packed, overlapping, values, nullable)
    assert running.call("copies", 7) == 7 * 100 + 50 + 8 + 9
    assert running.call("branch_slot", True) == 12 + 7100
    assert running.call("branch_slot", False) == 34 + 7100
    assert running.call("slot_each_turn", 5) == 10
    assert running.call("packed", 0x12345) == 0x12345 + 0x2345
    assert running.call("overlapping", 0x11223344) == 0x112233FF
    assert running.call("values", 3) is True
    assert running.call("values", 4) is False
    assert [running.call("nullable", n) for n in (0, 0, 4)] == [1, 2, 0]


# ---- static data ------------------------------------------------------------------------------------------------------------------

class Row(Struct, frozen=True):
    base: u32
    handler: Callable[[u32], u32]
    name: View[u8]
    limits: Array[u8] = array(u8, 3)


def times(factor: int) -> Any:
    @fn
    def handler(x: u32) -> u32:
        return x * factor
    return handler


class Holder(Struct):
    here: Ref[Point]
    other: Point | None
    run: Slice[u32]
    text: View[u8]
    count: i16


ROWS = table(Row, [Row(base=1, handler=times(3), name=b"one", limits=array(u8, [1, 2, 3])),
                   Row(base=2, handler=times(5), name=b'two\x00"?\xff', limits=array(u8, [4, 5, 6]))])
NUMBERS = array(u32, [0] * 40 + [5, 6, 7] + [0] * 100)
HOLDER = Holder(here=LINES[3].b, other=None, run=Slice(NUMBERS, 40, 3), text=b"hello", count=-5)
SPARSE = place(array(Line, 2), align=64)
LINES[3].b.x = 33


@fn
def tables(n: u32) -> u32:
    total = u32(0)
    for r in ROWS:
        if r.base == n:
            total += r.handler(10) + u32(r.limits[2]) + u32(r.name[len(r.name) - 1])
    return total


@fn
def row_array(i: u32, j: u32) -> u8:
    return ROWS[i].limits[j]


@fn
def sum_view(v: View[u8]) -> u32:
    total = u32(0)
    for x in v:
        total += u32(x)
    return total


@fn
def table_slice(i: u32) -> u32:
    return sum_view(ROWS[i].limits)


@fn
def held() -> u32:
    return HOLDER.here.x + HOLDER.run[2] * 100 + u32(len(HOLDER.text)) * 1000 + (u32(1) << 20 if HOLDER.other is None else u32(0))


@fn
def signed_static() -> i16:
    return HOLDER.count


def test_static_data(engine: Engine) -> None:
    running = machine(engine, tables, row_array, table_slice, held, signed_static)
    assert running.call("tables", 1) == 30 + 3 + ord("e")
    assert running.call("tables", 2) == 50 + 6 + 255
    assert running.call("row_array", 1, 1) == 5
    assert outcome(lambda: running.call("row_array", 1, 3)) == "bounds"
    assert outcome(lambda: running.call("row_array", 2, 0)) == "bounds"
    assert running.call("table_slice", 0) == 6
    assert running.call("held") == 33 + 700 + 5000 + (1 << 20)
    assert running.call("signed_static") == -5


# ---- slices -----------------------------------------------------------------------------------------------------------------------

BUFFER = array(u8, list(range(64)))


@fn
def loads(at: usize) -> u64:
    s = BUFFER[8:24]
    return s.load_be64(at) ^ u64(s.load_le16(at)) ^ u64(s.load_be32(wrapping_add(at, 1)))


@fn
def stores(at: usize, x: u32) -> u32:
    s = BUFFER[32:40]
    s.store_be32(at, x)
    return s.load_le32(at)


@fn
def moved(a: usize, b: usize, n: usize) -> u32:
    BUFFER[a:a + n].copy_from(BUFFER[b:b + n])
    return u32(BUFFER[a]) << 8 | u32(BUFFER[a + n - 1])


@fn
def compared(a: u32, b: u32) -> i32:
    x, y = BUFFER[a:a + 4], BUFFER[b:b + 4]
    same = i32(1000) if x.equals(y) else i32(0)
    return x.compare(y) + same


@fn
def filled(n: u32) -> usize:
    s = BUFFER[40:]
    s[:n].fill(0xAA)
    return s.find(0x30)


@fn
def sliced(low: u64, high: u64) -> usize:
    return len(BUFFER[low:high])


@fn
def call_elements(i: u32) -> u8:
    return pick_run(i)[i]


@fn
def pick_run(i: u32) -> Slice[u8]:
    return BUFFER[i:i + 3]


def test_slices(engine: Engine) -> None:
    running = machine(engine, loads, stores, moved, compared, filled, sliced, call_elements)
    data = bytes(range(8, 24))
    expected = int.from_bytes(data[:8], "big") ^ int.from_bytes(data[:2], "little") ^ int.from_bytes(data[1:5], "big")
    assert running.call("loads", 0) == expected
    assert outcome(lambda: running.call("loads", 9)) == "bounds"
    assert outcome(lambda: running.call("loads", (1 << 32) - 1)) == "bounds"
    assert running.call("stores", 4, 0x01020304) == 0x04030201
    assert outcome(lambda: running.call("stores", 5, 1)) == "bounds"
    assert running.call("compared", 0, 1) == -1
    assert running.call("compared", 3, 3) == 1000
    assert running.call("sliced", 3, 60) == 57
    assert outcome(lambda: running.call("sliced", 4, 3)) == "bounds"
    assert outcome(lambda: running.call("sliced", 0, 65)) == "bounds"
    assert outcome(lambda: running.call("sliced", 0, 1 << 32)) == ("narrowing" if engine.name == "armv7" else "bounds")
    assert running.call("call_elements", 2) == 4
    assert outcome(lambda: running.call("call_elements", 3)) == "bounds"
    assert running.call("filled", 3) == 8
    assert running.call("moved", 1, 0, 20) == 0 << 8 | 19
    assert running.call("moved", 0, 1, 20) == 0 << 8 | 19


def test_no_offset_wraps(engine: Engine) -> None:
    running = machine(engine, loads)
    width = 32 if engine.name == "armv7" else 64
    for offset in ((1 << width) - 1, (1 << width) - 8, (1 << width) - 9, 16, 9):
        assert outcome(lambda: running.call("loads", offset)) == "bounds"       # noqa: B023


# ---- order and evaluation ----------------------------------------------------------------------------------------------------------

class Log(Struct):
    count: u32
    trace: u64


LOG = zeroed(Log)


@fn
def note(n: u64) -> u64:
    LOG.trace = LOG.trace * 10 + n
    return n


@fn
def chain(a: u64, b: u64, c: u64) -> u64:
    LOG.trace = 0
    if note(a) < note(b) < note(c):
        return LOG.trace + 1000000
    return LOG.trace


@fn
def order(i: u32) -> u64:
    LOG.trace = 0
    x = note(1) + note(2) * note(3) - u64(BUFFER[i]) * note(4)
    return LOG.trace + x


@fn
def lazily(a: bool) -> u64:
    LOG.trace = 0
    ok = a or note(7) == 7
    maybe = note(5) if ok and not a else u64(0)
    return LOG.trace * 10 + maybe


def test_order(engine: Engine) -> None:
    running = machine(engine, chain, order, lazily)
    assert running.call("chain", 1, 2, 3) == 1000123
    assert running.call("chain", 2, 1, 3) == 21
    assert running.call("order", 0) == 1234 + 7
    assert outcome(lambda: running.call("order", 64)) == "bounds"
    assert running.call("lazily", True) == 0
    assert running.call("lazily", False) == 755


# ---- panics name their own line ------------------------------------------------------------------------------------------------------

@fn
def many_lines(a: u8, b: u8, c: u32) -> u32:
    """A statement over several lines, with several checks."""
    total = (u32(a + b)     # first
             + u32(BUFFER[c])       # second
             + u32(u8(c)))          # third
    assert total != 5, "five"
    for i in range(c):
        total += i // (c - 3)       # division
    if total > 380:
        panic("much")
    return total


def stopped(running: Any, *args: int) -> tuple[str, str, str, int]:
    with pytest.raises(Panic) as stop:
        running.call("many_lines", *args)
    return stop.value.kind, stop.value.message, stop.value.file, stop.value.line


def test_lines_of_panics(engine: Engine) -> None:
    running = machine(engine, many_lines)
    file = "test_cwriter.py"
    assert stopped(running, 200, 100, 0) == ("overflow", "", file, line_of(many_lines, "# first"))
    assert stopped(running, 0, 0, 300) == ("bounds", "", file, line_of(many_lines, "# second"))
    assert stopped(running, 5, 0, 0) == ("assert", "five", file, line_of(many_lines, "assert"))
    assert stopped(running, 1, 1, 3) == ("division", "", file, line_of(many_lines, "# division"))
    assert stopped(running, 255, 0, 63)[0:2] == ("panic", "much")


# ---- enums, bits, distinct types, atomics, shared memory ----------------------------------------------------------------------------

class Colour(IntEnum, type=u8):
    RED = 0
    GREEN = 5
    BLUE = 200


class Mode(IntEnum, type=u8):
    A = 0
    B = 1
    C = 2
    D = 3


class Reg(Bits, type=u64):
    ON: bool = bits(63)
    MODE: Mode = bits(33, 32)
    PART: Colour = bits(15, 8)
    N: u8 = bits(4, 0)


class Ipa(Address):
    """Guest-physical."""


class Vmid(Distinct, type=u16):
    """A number of its own."""


class Shared(Struct, shared=True):
    flags: u16
    word: u32


class Counter(Struct):
    value: Atomic[u32] = atomic(u32, 5)
    wide: Atomic[u64] = atomic(u64)


COUNTER = Counter(value=atomic(u32, 5), wide=atomic(u64))
SHARED = zeroed(Shared)


@fn
def colour(n: u32) -> u32:
    c = Colour(n)
    match c:
        case Colour.RED:
            return 1
        case Colour.GREEN | Colour.BLUE:
            return 2


@fn
def fields(raw: u64, n: u32) -> u64:
    r = Reg.from_raw(raw)
    if r.ON and r.MODE == Mode.C and r.PART == Colour.GREEN:
        return r.replace(N=u8(n), ON=False, MODE=Mode.D).raw
    return u64(r.N)


@fn
def made(n: u8) -> u64:
    return Reg(ON=True, N=n, MODE=Mode.B, PART=Colour.BLUE).raw


@fn
def addresses(a: u32) -> usize:
    base = Ipa(0x1000)
    v = Vmid(truncate(u16, a))
    return (base + usize(a)) - base + usize(u16(v))


@fn
def atomics(n: u32) -> u64:
    before = COUNTER.value.fetch_add(n)
    done, old = COUNTER.value.compare_swap(before + n, 100)
    again, seen = COUNTER.value.compare_swap(before, 7)
    COUNTER.wide.store_release(u64(before) << 32)
    flag = COUNTER.wide.fetch_or(1)
    return (COUNTER.wide.load_acquire() + u64(old) + u64(seen) * 1000 + (u64(1) << 50 if done and not again else u64(0))) ^ (flag & 1)


@fn
def shared(n: u16) -> u32:
    write_once(SHARED.flags, n)
    write_once(SHARED.word, 70000)
    return u32(read_once(SHARED.flags)) + read_once(SHARED.word)


def test_enums_and_bits(engine: Engine) -> None:
    running = machine(engine, colour, fields, made, addresses)
    assert [outcome(lambda: running.call("colour", n)) for n in (0, 5, 200, 1, 256, 461)] == [1, 2, 2, "enum", "enum", "enum"]  # noqa: B023
    raw = 1 << 63 | 2 << 32 | 5 << 8 | 3
    assert running.call("fields", raw, 31) == 3 << 32 | 5 << 8 | 31
    assert outcome(lambda: running.call("fields", raw, 32)) == "narrowing"
    assert outcome(lambda: running.call("fields", raw | 0xFF << 8, 1)) == "enum"
    assert running.call("made", 9) == 1 << 63 | 1 << 32 | 200 << 8 | 9
    assert outcome(lambda: running.call("made", 32)) == "narrowing"
    assert running.call("addresses", 3) == 6


def test_atomics_and_shared(engine: Engine) -> None:
    running = machine(engine, atomics, shared)
    assert running.call("atomics", 4) == (5 << 32 | 1) + 9 + 100 * 1000 + (1 << 50)
    assert running.call("shared", 5) == 70005
