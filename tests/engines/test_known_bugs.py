"""The bugs that a compiler like this one had, each on every engine."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from freestanding import (Array, CompileError, Slice, Struct, View, array, checked_add, fn, i8, i32, i64, table, truncate, u8, u16, u32, u64, usize,
                          wrapping_add, zeroed)
from freestanding.frontend import Frontend


class Log(Struct):
    count: u32
    seen: Array[u32] = array(u32, 16)


class Lock(Struct):
    held: u32
    released: u32

    @fn
    def __enter__(self) -> None:
        self.held += 1

    @fn
    def __exit__(self, *exc: object) -> None:
        self.held -= 1
        self.released += 1


class Inner(Struct):
    a: u32
    b: u64


class Pair(Struct):
    first: Inner
    second: Inner
    link: Inner | None


class Row(Struct, frozen=True):
    base: u32
    words: u32


LOG, LOCK, PAIR = zeroed(Log), zeroed(Lock), zeroed(Pair)
INNERS = array(Inner, 3)
ROWS = table(Row, [Row(1, 2), Row(3, 4), Row(5, 6)])


@fn
def note(n: u32) -> u32:
    LOG.seen[LOG.count] = n
    LOG.count += 1
    return n


@fn
def logged() -> u64:
    """What was noted, first one highest, as decimal digits."""
    total = u64(0)
    for i in range(LOG.count):
        total = total * 10 + u64(LOG.seen[i])
    return total


# ---- a u64 literal written as a C int -----------------------------------------------------------------------------------------

@fn
def wide_literals(x: u64) -> u64:
    return (x & 0xFFFF_FFFF_0000_0000) + (u64(1) << 40) * 3 - 0x1_0000_0000


@fn
def literal_products(x: u64) -> u64:
    return 0x1_0000 * 0x1_0000 + x * 100_000 * 100_000


@fn
def narrow_literals(x: u8, y: i8) -> bool:
    return x + 100 < 250 and ~x == 0xFB and -y < 128 - 1 and (x << 7) == 0


@fn
def signed_edges(x: i64) -> i64:
    return wrapping_add(x, -0x8000_0000_0000_0000) + (-1)


def test_literals_carry_their_width(engine: Any) -> None:
    assert engine(wide_literals, 0x1234_5678_9ABC_DEF0) == 0x1234_5678_0000_0000 + (3 << 40) - (1 << 32)
    assert engine(literal_products, 5) == (1 << 32) + 50_000_000_000
    assert engine(narrow_literals, 4, -5) is True
    assert engine(signed_edges, 1) == -0x8000_0000_0000_0000
    engine.reset()


# ---- chained comparisons --------------------------------------------------------------------------------------------------------

@fn
def chain(a: u32, b: u32, c: u32) -> bool:
    return note(a) < note(b) < note(c)


@fn
def chain_of_four(a: u32, b: u32, c: u32, d: u32) -> bool:
    return note(a) <= note(b) < note(c) != note(d)


@fn
def chain_may_panic(a: u32, v: View[u8], i: usize) -> bool:
    return a < 5 <= u32(v[i])  # bounds


def test_a_chain_stops_early_and_evaluates_once(engine: Any) -> None:
    assert engine(chain, 3, 2, 1) is False
    assert engine(logged) == 32
    engine.reset()
    assert engine(chain, 1, 2, 3) is True
    assert engine(logged) == 123
    engine.reset()
    assert engine(chain_of_four, 1, 1, 1, 4) is False
    assert engine(logged) == 111


def test_a_chain_that_stops_does_not_panic(engine: Any) -> None:
    assert engine(chain_may_panic, 5, b"", 3) is False
    engine.panics(chain_may_panic, 4, b"", 3, kind="bounds")


# ---- order of evaluation --------------------------------------------------------------------------------------------------------

@fn
def noted_then_sum(a: u32, b: u32) -> u32:
    return (
        note(a)
        + (a - b)  # overflow
        + note(b)
    )


@fn
def read_before_call(x: u32) -> u32:
    return LOG.count * 10 + note(x)


@fn
def two_panics(v: View[u8], i: usize, a: u32) -> u32:
    return (
        u32(v[i])  # bounds
        + (a - 1)  # overflow
    )


@fn
def three_arguments(a: u32, b: u32, c: u32) -> u32:
    return a * 100 + b * 10 + c


@fn
def arguments_in_order(x: u32) -> u32:
    return three_arguments(note(x), note(LOG.count), LOG.count)


@fn
def store_in_order(n: Log, i: u32) -> None:
    n.seen[note(i)] = note(i + 1)


@fn
def augmented(n: Log) -> u32:
    n.seen[note(7)] += note(5) + n.seen[7]
    return n.seen[7]


@fn
def panics_before_the_call(a: u32) -> u32:
    return three_arguments(note(1), a - 1, note(2))  # overflow


def test_no_operand_is_moved_over_one_that_can_panic(engine: Any) -> None:
    engine.panics(noted_then_sum, 1, 2, kind="overflow")
    assert engine(logged) == 1
    engine.panics(two_panics, b"", 0, 0, kind="bounds")
    engine.panics(two_panics, b"a", 0, 0, kind="overflow")
    engine.reset()
    engine.panics(panics_before_the_call, 0, kind="overflow")
    assert engine(logged) == 1


def test_operands_are_evaluated_left_to_right(engine: Any) -> None:
    assert engine(read_before_call, 4) == 4
    assert engine(read_before_call, 4) == 14
    engine.reset()
    assert engine(arguments_in_order, 3) == 312
    log = zeroed(Log)
    engine.reset()
    engine(store_in_order, log, 2)
    assert log.seen[2] == 3 and engine(logged) == 32
    log.seen[7] = 1
    assert engine(augmented, log) == 1 + 5 + 1


# ---- locks and panics -----------------------------------------------------------------------------------------------------------

@fn
def locked(a: u32) -> u32:
    with LOCK:
        if a == 7:
            return a
        return a - 1  # overflow


@fn
def released() -> u32:
    return LOCK.held * 10 + LOCK.released


@fn
def lock_in_loop(n: u32) -> u32:
    total = u32(0)
    for i in range(n):
        with LOCK:
            if i == 2:
                continue
            if i == 4:
                break
            with LOCK:
                total += i + LOCK.held * 10
    return total


@fn
def value_before_release() -> u32:
    with LOCK:
        return LOCK.held


def test_a_panic_releases_nothing(engine: Any) -> None:
    assert engine(locked, 7) == 7 and engine(locked, 5) == 4
    assert engine(released) == 2
    engine.panics(locked, 0, kind="overflow")
    assert engine(released) == 12


def test_with_releases_on_every_way_out(engine: Any) -> None:
    assert engine(lock_in_loop, 9) == 20 + 21 + 23
    assert engine(released) == 8
    assert engine(value_before_release) == 1


# ---- Optional -------------------------------------------------------------------------------------------------------------------

@fn
def follow(p: Pair) -> u32:
    link = p.link
    if link is None:
        return 0
    return link.a


@fn
def follow_until(p: Pair | None) -> u32:
    while p is not None:
        link = p.link
        if link is not None and link.a > 3:
            return link.a
        p = None
    return 99


@fn
def link_first() -> u32:
    PAIR.link = PAIR.second
    PAIR.second.a = 8
    return follow(PAIR) * 100 + follow_until(PAIR)


@fn
def unlink() -> u32:
    PAIR.link = None
    return follow(PAIR) + follow_until(PAIR) + follow_until(None)


def test_optional_narrowing(engine: Any) -> None:
    assert engine(unlink) == 198
    assert engine(link_first) == 808
    assert engine(unlink) == 198


# ---- structs made in loops ------------------------------------------------------------------------------------------------------

@fn
def bump(i: Inner, by: u32) -> u32:
    i.a += by
    return i.a


@fn
def made_anew(n: u32) -> u32:
    total = u32(0)
    for i in range(n):
        fresh = zeroed(Inner)
        other = Inner(a=i, b=0)
        total += bump(fresh, 1) + bump(other, 10)
    return total


@fn
def array_anew(n: u32) -> u32:
    total = u32(0)
    for i in range(n):
        words = array(u32, 4)
        words[i & 3] += 1
        for w in words:
            total += w
    return total


def test_a_struct_in_a_loop_is_new_each_turn(engine: Any) -> None:
    assert engine(made_anew, 4) == 4 + 40 + 6
    assert engine(array_anew, 9) == 9


# ---- copies and references --------------------------------------------------------------------------------------------------------

@fn
def copies(p: Pair) -> u64:
    p.first.a = 1
    second = p.second
    p.second = p.first
    p.first.a = 2
    second.b = 7
    return u64(p.second.a) * 100 + p.second.b * 10 + u64(p.first.a)


@fn
def element_copies() -> u32:
    one = INNERS[0]
    INNERS[0].a = 5
    INNERS[1] = INNERS[0]
    INNERS[0].a = 6
    INNERS[2] = one
    one.a = 9
    return INNERS[0].a * 100 + INNERS[1].a * 10 + INNERS[2].a


@fn
def rebinding(p: Pair) -> u32:
    name = p.first
    name.a = 3
    name = p.second
    name.a = 4
    return p.first.a * 10 + p.second.a


@fn
def same(p: Pair) -> bool:
    one = p.first
    return one is p.first and one is not p.second


@fn
def swap_through_value(i: usize) -> u32:
    row = ROWS[i]
    other = Row(row.words, row.base)
    return other.base * 10 + other.words + (1000 if other == Row(4, 3) else 0)


def test_storing_copies_and_naming_refers(engine: Any) -> None:
    pair = zeroed(Pair)
    inner = pair.second
    assert engine(copies, pair) == 172
    assert pair.second is inner and (inner.a, inner.b, pair.first.a) == (1, 7, 2)
    assert engine(element_copies) == 956
    assert engine(rebinding, pair) == 34
    assert engine(same, pair) is True


# ---- constant tables --------------------------------------------------------------------------------------------------------------

@fn
def row_sum(v: View[Row]) -> u32:
    total = u32(0)
    for r in v:
        total += r.base * r.words
    return total


@fn
def table_sums() -> u32:
    return row_sum(ROWS) * 100 + row_sum(ROWS[1:])


def test_a_constant_table_goes_down_as_a_view(engine: Any) -> None:
    assert engine(table_sums) == (2 + 12 + 30) * 100 + 42
    assert engine(swap_through_value, 1) == 1043


# ---- lines ------------------------------------------------------------------------------------------------------------------------

@fn
def lines(a: u32, which: u32) -> u32:
    """A text
    of several
    lines."""
    x = (a
         + 1)
    if which == 0:
        return wrapping_add(
            x,
            a - 5,  # first
        )
    for _ in range(1):
        x = three_arguments(
            1,
            2,
            a  # second
            - 6,
        )
    return x


@fn
def generated(n: u32) -> Iterator[u32]:
    for i in range(n):
        yield 10 - i * 4


@fn
def line_of_generator(n: u32) -> u32:
    total = u32(0)
    for x in generated(n):
        total += x - 3  # in loop
    return total


@fn
def asserted(a: u32) -> u32:
    assert a != 3, "three"  # assert
    return u32(truncate(u8, a) + 1)  # overflow


def test_panics_name_the_line_of_the_source(engine: Any) -> None:
    engine.panics(lines, 4, 0, kind="overflow", mark="first")
    engine.panics(lines, 5, 1, kind="overflow", mark="second")
    assert engine(lines, 6, 1) == 120
    engine.panics(asserted, 3, kind="assert")
    engine.panics(asserted, 255, kind="overflow")
    engine.panics(line_of_generator, 3, kind="overflow", mark="in loop")
    assert engine(line_of_generator, 2) == 10


# ---- the hand-overs of values -----------------------------------------------------------------------------------------------------

Step = Callable[[u32], u32]


@fn
def double(x: u32) -> u32:
    return x * 2


@fn
def half(x: u32) -> u32:
    return x // 2


@fn
def chosen(up: bool, x: u32) -> u32:
    step: Step = double if up else half
    return step(x)


@fn
def pair_of(x: u32) -> tuple[bool, u32]:
    fits, sum = checked_add(x, 1)
    return not fits, sum


@fn
def unpacked(x: u32) -> u32:
    flag, value = pair_of(x)
    return value if not flag else value + 77


@fn
def parameter_reassigned(n: u32) -> u32:
    total = u32(0)
    for i in range(n):
        n = n // 2
        i = i + n
        total += i
    return total * 100 + n


@fn
def last_turn(n: u8) -> u32:
    i: u8 = 77
    for i in range(n):
        pass
    for j in range(250, 255, 3):
        i = truncate(u8, j)
    return u32(i)


def test_values_through_calls_and_loops(engine: Any) -> None:
    assert engine(chosen, True, 5) == 10 and engine(chosen, False, 5) == 2
    assert engine(unpacked, 4) == 5 and engine(unpacked, 0xFFFF_FFFF) == 77
    assert engine(parameter_reassigned, 5) == (2 + 2 + 2 + 3 + 4) * 100
    assert engine(last_turn, 0) == 253


# ---- what must be refused ---------------------------------------------------------------------------------------------------------

HELD = zeroed(Pair)


@pytest.fixture
def refused() -> Callable[[Any], CompileError]:
    def lower(function: Any) -> CompileError:
        with pytest.raises(CompileError) as caught:
            Frontend().lower(function)
        return caught.value
    return lower


def stored_local() -> Any:
    @fn
    def stores() -> None:
        local = zeroed(Inner)
        HELD.link = local
    return stores


def returned_local() -> Any:
    @fn
    def gives() -> Inner:
        local = zeroed(Inner)
        return local
    return gives


def kept_past_the_turn() -> Any:
    @fn
    def keeps(n: u32) -> u32:
        last: Inner | None = None
        for i in range(n):
            fresh = zeroed(Inner)
            last = fresh
        return 0 if last is None else last.a
    return keeps


def read_before_set() -> Any:
    @fn
    def reads(a: u32) -> u32:
        if a > 3:
            x = a
        return x
    return reads


@pytest.mark.parametrize("make", [stored_local, returned_local, kept_past_the_turn, read_before_set])
def test_dangling_references_and_unset_locals_are_refused(make: Any, refused: Any) -> None:
    assert refused(make()).site is not None
