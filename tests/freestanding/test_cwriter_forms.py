"""Meaning of compiled programs, the larger forms: `with`, generators, arrays inside values, chains that become switches, searches by words."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.freestanding.building import Engine, machine
from tests.freestanding.test_cwriter import BUFFER, sum_view
from freestanding import (Array, Struct, View, array, fn, table, truncate, u8, u32, usize, zeroed)


# ---- with, generators ------------------------------------------------------------------------------------------------------------------

class Lock(Struct):
    held: u32

    @fn
    def __enter__(self) -> None:
        self.held += 1

    @fn
    def __exit__(self, *exc: object) -> None:
        self.held -= 1


LOCK, OUTER = zeroed(Lock), zeroed(Lock)


@fn
def guarded(n: u32) -> u32:
    with OUTER:
        for i in range(n):
            with LOCK:
                if i == 3:
                    return LOCK.held * 10 + OUTER.held
                if i == 1:
                    continue
            if LOCK.held != 0:
                break
    return LOCK.held + OUTER.held


@fn
def evens(n: u32) -> Iterator[u32]:
    for i in range(n):
        if i & 1 == 1:
            continue
        yield i


@fn
def generated(n: u32) -> u32:
    total = u32(0)
    for x in evens(n):
        if x == 8:
            break
        for y in evens(x):
            total += y
        total += x
    return total


def test_with_and_generators(engine: Engine) -> None:
    running = machine(engine, guarded, generated)
    assert running.call("guarded", 9) == 11
    assert running.call("guarded", 2) == 0
    expected = 0
    for x in (0, 2, 4, 6):
        expected += sum(range(0, x, 2)) + x
    assert running.call("generated", 20) == expected


# ---- names -------------------------------------------------------------------------------------------------------------------------------

@fn
def main(register: u32) -> u32:
    return register + 1


@fn
def names(int_: u32, auto: u32, index_: u32) -> u32:
    double = auto + index_
    main_ = main(double)
    note = main_ + int_
    result_ = BUFFER[index_ & 1]
    memcpy = u32(result_) + note
    return memcpy


def test_names(engine: Engine) -> None:
    running = machine(engine, names)
    assert running.call("names", 1, 2, 4) == 6 + 1 + 1


# ---- arrays inside values ------------------------------------------------------------------------------------------------------------------



class Value3(Struct, frozen=True):
    base: u32
    limits: Array[u8] = array(u8, 3)


VALUES = table(Value3, [Value3(base=1, limits=array(u8, [1, 2, 3])), Value3(base=2, limits=array(u8, [4, 5, 6]))])


@fn
def picked(i: u32) -> Value3:
    return VALUES[i]


@fn
def renamed(i: u32) -> u32:
    r = VALUES[0]
    x = r.limits
    y = picked(1).limits
    r = VALUES[i]
    return u32(x[0]) * 100 + u32(y[1]) * 10 + u32(r.limits[2])


@fn
def passed(i: u32) -> u32:
    return sum_view(picked(i).limits) + sum_view(picked(i).limits[1:])


def test_arrays_inside_values(engine: Engine) -> None:
    running = machine(engine, renamed, passed)
    assert running.call("renamed", 1) == 156
    assert running.call("passed", 1) == 15 + 11


@fn
def returned(i: u32) -> View[u8]:
    r = VALUES[i]
    return r.limits


def test_views_of_values_do_not_outlive_them() -> None:
    from freestanding.errors import CompileError
    from tests.freestanding.building import lower
    with pytest.raises(CompileError, match="r lives on this function's stack and cannot be returned"):
        lower("host", returned)


# ---- chains that become switches ---------------------------------------------------------------------------------------------------------

@fn
def classified(n: u32) -> u32:
    """Break and continue inside a match inside a loop; a value tested twice; a rest that is no comparison."""
    total = u32(0)
    for i in range(n):
        match i:
            case 0 | 1:
                total += 1
            case 3:
                continue
            case 9:
                break
            case 5:
                while True:
                    total += 100
                    if total > 250:
                        break
            case _:
                total += 10
        total += 1000
    if n == 4:
        total += 1
    elif n == 5 or n == 4:
        total += 2
    elif n == 6:
        total += 3
    elif n > 6:
        total += 4
    return total


def python_classified(n: int) -> int:
    total = 0
    for i in range(n):
        if i in (0, 1):
            total += 1
        elif i == 3:
            continue
        elif i == 9:
            break
        elif i == 5:
            while True:
                total += 100
                if total > 250:
                    break
        else:
            total += 10
        total += 1000
    return total + ({4: 1, 5: 2, 6: 3}.get(n, 4 if n > 6 else 0))


HAYSTACK = array(u8, 41)


@fn
def searched(fill: u8, at: usize, mark: u8, start: usize) -> usize:
    HAYSTACK[0:].fill(fill)
    HAYSTACK[at] = mark
    return HAYSTACK[start:].find(mark)


@fn
def same_text(n: u32) -> u32:
    text = HAYSTACK[:10]
    text.copy_from(b"compatible")
    HAYSTACK[9] += truncate(u8, n)
    found = u32(0)
    if text.equals(b"compatible"):
        found += 1
    if HAYSTACK[:7].equals(b"compati"):
        found += 2
    if HAYSTACK[:3].equals(b"reg"):
        found += 4
    if text.equals(HAYSTACK[:10]):
        found += 8
    if HAYSTACK[:0].equals(b""):
        found += 16
    return found


def test_switches(engine: Engine) -> None:
    running = machine(engine, classified)
    assert [running.call("classified", n) for n in range(14)] == [python_classified(n) for n in range(14)]


def test_find_by_words(engine: Engine) -> None:
    running = machine(engine, searched, same_text)
    for fill, mark in ((0, 1), (1, 0), (0x80, 0), (0xFF, 0x7F), (0x81, 0x80), (0xFF, 0)):
        for at, start in ((0, 0), (7, 0), (8, 1), (9, 2), (40, 0), (40, 40), (3, 4), (33, 5)):
            expected = at - start if at >= start else 41 - start
            assert running.call("searched", fill, at, mark, start) == expected, (fill, mark, at, start)
    assert running.call("same_text", 0) == 1 + 2 + 8 + 16
    assert running.call("same_text", 1) == 2 + 8 + 16
