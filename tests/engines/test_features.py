"""What random programs do not draw: unions, raw memory, per-CPU data, printing, function tables, nested arrays, shared structs."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from freestanding import (Address, Array, Atomic, Bits, Distinct, IntEnum, Printer, Ptr, Ref, Slice, Struct, Union, View, address_of, align_down,
                          align_up, array, atomic, bits, fn, i8, i16, i32, i64, is_aligned, isize, offset_of, percpu, read_once, rotate_left,
                          rotate_right, size_of, table, truncate, u8, u16, u32, u64, usize, wrapping_sub, write_once, zeroed)

MAPS_MEMORY = True


class Kind(IntEnum, type=u16):
    NONE = 0
    SOME = 3
    ALL = 0xFFFF


class Halves(Struct):
    low: u32
    high: u32


class Overlap(Union):
    whole: u64
    halves: Halves
    bytes: Array[u8] = array(u8, 8)


class Frame(Struct):
    tag: u16
    data: Overlap
    rows: Array[Array[u16]] = array(array(u16, 3), 2)
    others: Array[Halves] = array(Halves, 3)
    first: Ref[Halves] | None


class Shared(Struct, shared=True):
    head: u32
    tail: u32
    flags: u8


class Cpu(Struct):
    id: u32
    turns: Atomic[u64] = atomic(u64)


class Packed(Struct, packed=True):
    a: u8
    b: u64
    c: u16


class Aligned(Struct, align=64):
    a: u8


class Pa(Address, type=u64):
    """A machine address."""


class Va(Address):
    """A virtual address."""


class Slot(Distinct, type=u8):
    """A number of its own."""


class Page(Bits, type=u64):
    FRAME: u64 = bits(47, 12)
    KIND: Kind = bits(11, 2)
    VALID: bool = bits(0)

    @fn
    def address(self) -> Pa:
        return Pa(self.FRAME << 12)


class Text(Struct):
    length: usize
    bytes: Array[u8] = array(u8, 200)


FRAME, SHARED, OUT = zeroed(Frame), zeroed(Shared), zeroed(Text)
GRID = array(array(i16, 4), 3)
WORDS = array(u64, [1, 2, 3, 0xFFFF_FFFF_FFFF_FFFF])


class Which(Struct):
    cpu: u32


CURRENT = zeroed(Which)


@fn
def this_cpu() -> u32:
    return CURRENT.cpu


CPUS = percpu(Cpu, 4, this_cpu)


# ---- unions ---------------------------------------------------------------------------------------------------------------------

@fn
def overlap(x: u64) -> tuple[u32, u32, u8]:
    FRAME.data.whole = x
    FRAME.data.halves.low += 1
    FRAME.data.bytes[7] ^= 0xFF
    return FRAME.data.halves.low, FRAME.data.halves.high, FRAME.data.bytes[0]


@fn
def local_union(x: u64) -> u64:
    u = zeroed(Overlap)
    u.halves.high = truncate(u32, x)
    u.bytes[0] = 7
    return u.whole


def test_unions_overlap(engine: Any) -> None:
    assert engine(overlap, 0x1122_3344_5566_7788) == (0x5566_7789, 0xEE22_3344, 0x89)
    assert engine(local_union, 0x9_0000_0001) == 0x1_0000_0007


# ---- nested arrays --------------------------------------------------------------------------------------------------------------

@fn
def nested(i: u32, j: u32, v: u16) -> u32:
    FRAME.rows[i][j] = v
    total = u32(0)
    for row in FRAME.rows:
        for x in row:
            total += u32(x)
        total = total * 2
    return total + sum_of(FRAME.rows[1])


@fn
def sum_of(v: View[u16]) -> u32:
    total = u32(0)
    for x in v:
        total += u32(x)
    return total


@fn
def grid(i: usize, j: u8) -> i16:
    GRID[i][j] -= 5  # bounds
    return GRID[i][j]


def test_arrays_of_arrays(engine: Any) -> None:
    assert engine(nested, 1, 2, 10) == 30
    assert engine(nested, 0, 0, 3) == 42
    assert engine(grid, 2, 3) == -5
    engine.panics(grid, 3, 0, kind="bounds")
    engine.panics(grid, 0, 4, kind="bounds")


# ---- references -------------------------------------------------------------------------------------------------------------------

@fn
def first_of(n: u32) -> u32:
    for i, h in enumerate(FRAME.others):
        h.low = truncate(u32, i) + n
    FRAME.first = FRAME.others[1]
    chosen = FRAME.first
    if chosen is not None:
        chosen.low += 100
        return FRAME.others[1].low
    return 0


@fn
def pick(n: u32) -> Halves:
    return FRAME.others[n]  # bounds


@fn
def picked(n: u32) -> bool:
    return pick(n) is FRAME.others[n] and pick(n) is not FRAME.others[0]


def test_references_into_arrays(engine: Any) -> None:
    assert engine(first_of, 5) == 106
    assert engine(picked, 2) is True and engine(picked, 0) is False
    assert engine(pick, 1) is FRAME.others[1]
    engine.panics(pick, 3, kind="bounds")


# ---- guest-shared memory, per-CPU data ----------------------------------------------------------------------------------------------

@fn
def shared(value: u32) -> u32:
    write_once(SHARED.head, value)
    write_once(SHARED.flags, truncate(u8, value))
    seen = read_once(SHARED.head)
    return seen + u32(read_once(SHARED.flags))


@fn
def cpu_turn(cpu: u32) -> u64:
    CURRENT.cpu = cpu
    me = CPUS.this()
    if me.id == 0:
        me.turns.store_release(5)
    me.id = cpu + 1
    old = me.turns.fetch_add(wrapping_sub(u64(0), 2))
    ok, seen = me.turns.compare_swap(3, 100)
    return old * 10_000 + seen * 100 + u64(CPUS.of(cpu).id) + (1 if ok else 0)


def test_shared_memory_is_read_and_written_once(engine: Any) -> None:
    assert engine(shared, 0x1FF) == 0x1FF + 0xFF


def test_each_cpu_has_its_own(engine: Any) -> None:
    assert engine(cpu_turn, 0) == 50_000 + 300 + 1 + 1
    assert engine(cpu_turn, 0) == 1_000_000 + 9_800 + 1
    assert engine(cpu_turn, 3) == 50_000 + 300 + 4 + 1


# ---- raw memory -------------------------------------------------------------------------------------------------------------------

@fn
def through_address() -> u64:
    p = Ptr[Frame](address_of(FRAME))
    p.ref().tag = 9
    words = Ptr[u64](address_of(WORDS)).slice(3)
    words[1] = 50
    return u64(FRAME.tag) * 1000 + WORDS[1] + u64(len(words)) + (500 if p.ref() is FRAME else 0)


@fn
def byte_view(v: View[u8]) -> u8:
    again = Ptr[u8](address_of(v)).slice(len(v))
    return again[1]  # bounds


def test_pointers_to_live_objects(engine: Any) -> None:
    assert engine(through_address) == 9000 + 50 + 3 + 500
    assert engine(byte_view, b"xyz") == ord("y")
    engine.panics(byte_view, b"x", kind="bounds")


# ---- addresses and distinct numbers -------------------------------------------------------------------------------------------------

@fn
def addresses(p: Pa, v: Va, n: usize) -> tuple[Pa, Va, u64, bool]:
    q = p + 0x1001
    return align_up(q, 4096), align_down(v + n, 16), q - p, is_aligned(p, 4096) and p < q


@fn
def before(p: Pa) -> Pa:
    return p - 1  # overflow


@fn
def slot(s: Slot) -> tuple[Slot, u8]:
    return Slot(u8(s) + 1), u8(s)


@fn
def page(p: Page) -> tuple[Pa, Kind, Page]:
    return p.address(), p.KIND, p.replace(VALID=not p.VALID, FRAME=p.FRAME + 1)  # narrowing


def test_addresses(engine: Any) -> None:
    assert engine(addresses, Pa(0x10_0000_0000), Va(0x1234), 5) == (0x10_0000_2000, 0x1230, 0x1001, True)
    assert isinstance(engine(before, 5), Pa)
    engine.panics(before, 0, kind="overflow")
    assert engine(slot, Slot(3)) == (4, 3)


def test_bits(engine: Any) -> None:
    result = engine(page, Page(FRAME=0x123, KIND=Kind.SOME, VALID=True))
    assert result == (0x123000, Kind.SOME, Page(FRAME=0x124, KIND=Kind.SOME))
    engine.panics(page, Page.from_raw(0x0000_FFFF_FFFF_F00C), kind="narrowing")


@fn
def kind_of_page(p: Page) -> Kind:
    return p.KIND  # enum


def test_a_field_that_is_no_member_panics(engine: Any) -> None:
    engine.panics(kind_of_page, Page.from_raw(2 << 2), kind="enum")


# ---- tables with functions ----------------------------------------------------------------------------------------------------------

class Entry(Struct, frozen=True):
    number: u32
    run: Callable[[u32, u32], u32]


def scaled(by: int) -> Callable[[u32, u32], u32]:
    @fn
    def handler(x: u32, y: u32) -> u32:
        return x * by + y
    return handler


@fn
def plus(x: u32, y: u32) -> u32:
    return x + y


ENTRIES = table(Entry, [Entry(1, plus), *(Entry(n, scaled(n)) for n in (3, 7))])


@fn
def dispatch(number: u32, x: u32) -> u32:
    for e in ENTRIES:
        if e.number == number:
            return e.run(x, 1)
    return 0xFFFF_FFFF


def test_tables_of_functions(engine: Any) -> None:
    assert [engine(dispatch, n, 10) for n in (1, 3, 7, 8)] == [11, 31, 71, 0xFFFF_FFFF]


# ---- printing -------------------------------------------------------------------------------------------------------------------

@fn
def begin() -> None:
    OUT.length = 0


@fn
def write(text: View[u8]) -> None:
    OUT.bytes[OUT.length:OUT.length + len(text)].copy_from(text)
    OUT.length += len(text)


@fn
def end() -> None:
    OUT.bytes[OUT.length] = 0


printk = Printer(begin, write, end)


@fn
def say(n: u32, i: i32, name: View[u8], k: Kind, p: Page, where: Pa, ok: bool) -> usize:
    printk(f"n {n:d} {n:#x} [{n:5d}] [{n:08x}] {i} {name} {k} {p} {where} {ok} {{}}")
    return OUT.length


@fn
def said(at: usize) -> u8:
    return OUT.bytes[at]


def test_printing(engine: Any) -> None:
    count = engine(say, 77, -12, b"dom0", Kind.ALL, Page(FRAME=1, KIND=Kind.SOME), Pa(0x4000), True)
    text = bytes(engine(said, i) for i in range(count)).decode()
    assert text.startswith("n 77 0x4d [   77] [0000004d] -12 dom0 ALL Page(")
    assert text.endswith("0x4000 True {}") or "4000 True {}" in text


SWITCH = array(bool, 1)


@fn
def is_on() -> bool:
    return SWITCH[0]


@fn
def counted() -> u32:
    OUT.length += 1
    return 5


print_maybe = Printer(begin, write, end, is_on)


@fn
def say_maybe(on: bool) -> usize:
    SWITCH[0] = on
    OUT.length = 0
    print_maybe(f"{counted():d} times")
    return OUT.length


def test_a_printer_that_is_off_does_nothing(engine: Any) -> None:
    """The values of a call are not worked out either."""
    assert engine(say_maybe, True) == len("5 times")
    assert engine(say_maybe, False) == 0


# ---- layout -----------------------------------------------------------------------------------------------------------------------

@fn
def layouts() -> u64:
    return u64(size_of(Packed)) * 1_000_000 + u64(offset_of(Packed, "c")) * 10_000 + u64(size_of(Aligned)) * 10 + u64(size_of(Kind))


@fn
def packed_fields(p: Packed) -> u64:
    p.b += 1
    p.c -= 1  # overflow
    return p.b * 2 + u64(p.c) + u64(p.a)


def test_packed_structs(engine: Any) -> None:
    assert engine(layouts) == 11 * 1_000_000 + 9 * 10_000 + 640 + 2
    packed = Packed(a=1, b=2, c=3)
    assert engine(packed_fields, packed) == 6 + 2 + 1
    assert (packed.a, packed.b, packed.c) == (1, 3, 2)
    engine.panics(packed_fields, Packed(a=1, b=2, c=0), kind="overflow")


# ---- signed and shifted -------------------------------------------------------------------------------------------------------------

@fn
def signed(a: i8, b: i64, n: u32) -> tuple[i8, i64, isize, i16]:
    return a >> n, (b >> 63) ^ ~b, isize(a) * 3, truncate(i16, b)  # shift


@fn
def turns(x: u8, n: u32) -> tuple[u8, u8]:
    return rotate_left(x, n), rotate_right(x, n)


def test_signed_shifts_and_turns(engine: Any) -> None:
    assert engine(signed, -128, -2, 7) == (-1, -2, -384, -2)
    engine.panics(signed, 1, 1, 8, kind="shift")
    assert engine(turns, 0b1000_0001, 1) == (0b0000_0011, 0b1100_0000)
    assert engine(turns, 0b1000_0001, 8) == (0b1000_0001, 0b1000_0001)


# ---- generators -------------------------------------------------------------------------------------------------------------------

@fn
def evens(limit: u32) -> Iterator[u32]:
    for i in range(limit):
        if i & 1 == 1:
            continue
        if i > 10:
            return
        yield i


@fn
def pairs(limit: u32) -> Iterator[u32]:
    for x in evens(limit):
        for y in evens(3):
            yield x * 10 + y


@fn
def through_generators(limit: u32, stop: u32) -> u32:
    total = u32(0)
    for p in pairs(limit):
        if p == 22:
            continue
        if p == stop:
            break
        for q in evens(p):
            if q == 4:
                break
            total += 1
        total += p
    return total


@fn
def first_even(above: u32) -> u32:
    for x in evens(100):
        if x > above:
            return x
    return 999


def python_pairs(limit: int, stop: int) -> int:
    def evens(limit: int) -> Iterator[int]:
        for i in range(limit):
            if i & 1 == 1:
                continue
            if i > 10:
                return
            yield i
    total = 0
    for p in (x * 10 + y for x in evens(limit) for y in evens(3)):
        if p == 22:
            continue
        if p == stop:
            break
        for q in evens(p):
            if q == 4:
                break
            total += 1
        total += p
    return total


@pytest.mark.parametrize(("limit", "stop"), [(0, 0), (5, 999), (5, 20), (30, 82), (3, 2)])
def test_generators_are_inlined(engine: Any, limit: int, stop: int) -> None:
    assert engine(through_generators, limit, stop) == python_pairs(limit, stop)
    assert engine(first_even, 4) == 6 and engine(first_even, 50) == 999


# ---- slices of structs --------------------------------------------------------------------------------------------------------------

@fn
def move(s: Slice[Halves], by: usize) -> None:
    s[by:].copy_from(s[:len(s) - by])  # bounds


@fn
def fill(s: Slice[Halves], h: Halves) -> None:
    s.fill(h)


def test_struct_elements_are_copied(engine: Any) -> None:
    halves = array(Halves, 4)
    for i, h in enumerate(halves):
        h.low = i
    inner = list(halves)
    engine(move, halves, 1)
    assert [h.low for h in halves] == [0, 0, 1, 2] and all(a is b for a, b in zip(inner, halves))
    engine(fill, halves, Halves(low=9, high=8))
    assert [(h.low, h.high) for h in halves] == [(9, 8)] * 4
    engine.panics(move, halves, 5, kind="bounds")
