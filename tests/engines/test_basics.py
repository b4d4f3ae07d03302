"""One body, every engine: arguments and results of each kind, panics, statics."""
from __future__ import annotations

from typing import Any

import pytest

from freestanding import (Array, Bits, IntEnum, Slice, Struct, View, array, bits, fn, i16, i64, u8, u16, u32, u64, usize, zeroed)


class Colour(IntEnum, type=u8):
    RED = 1
    GREEN = 2


class Word(Bits, type=u32):
    COLOUR: Colour = bits(7, 4)
    ON: bool = bits(0)


class Point(Struct, frozen=True):
    x: u16
    y: i64


class Node(Struct):
    value: u32
    point: Point
    words: Array[u16] = array(u16, 4)


STATE = zeroed(Node)


@fn
def add(a: u32, b: u32) -> u32:
    return a + b  # overflow


@fn
def mixed(a: u8, b: i64, c: bool, d: Colour, e: Word) -> tuple[bool, Colour, i64, Word]:
    return not c, Colour.RED if d == Colour.GREEN else d, b - 1, e.replace(ON=a == 1)


@fn
def point(p: Point) -> Point:
    return Point(p.x + 1, -p.y)


@fn
def total(v: View[u16], scale: u32 = 2) -> u32:
    sum = u32(0)
    for x in v:
        sum += u32(x) * scale
    return sum


@fn
def fill(s: Slice[u16], n: Node) -> usize:
    s.fill(7)
    n.value += 1
    n.words[3] = s[0]
    n.point = Point(3, -4)
    return len(s)


@fn
def count() -> u32:
    STATE.value += 1
    return STATE.value


@fn
def state() -> Node:
    return STATE


@fn
def element(v: View[u8], i: u64) -> u8:
    return v[i]  # bounds


@fn
def nothing() -> None:
    pass


def test_scalars(engine: Any) -> None:
    assert engine(add, 1, b=2) == 3
    engine.panics(add, 0xFFFFFFFF, 1, kind="overflow")
    assert engine(nothing) is None


def test_every_kind_of_value(engine: Any) -> None:
    result = engine(mixed, 1, -5, True, Colour.GREEN, Word(COLOUR=Colour.GREEN))
    assert result == (False, Colour.RED, -6, Word(COLOUR=Colour.GREEN, ON=True))
    assert isinstance(result[1], Colour) and isinstance(result[3], Word)


def test_frozen_structs_are_values(engine: Any) -> None:
    assert engine(point, Point(4, 5)) == Point(5, -5)


def test_slices_and_defaults(engine: Any) -> None:
    assert engine(total, array(u16, [1, 2, 3])) == 12
    assert engine(total, array(u16, [1, 2, 3]), scale=10) == 60
    assert engine(element, b"abc", 1) == ord("b")
    engine.panics(element, b"abc", 3, kind="bounds")


def test_references_are_written_back(engine: Any) -> None:
    node, words = zeroed(Node), array(u16, 5)
    assert engine(fill, words, node) == 5
    assert list(words) == [7] * 5
    assert (node.value, list(node.words), node.point) == (1, [0, 0, 0, 7], Point(3, -4))


@pytest.mark.parametrize("turn", range(2))
def test_each_test_starts_from_the_initial_state(engine: Any, turn: int) -> None:
    assert [engine(count) for _ in range(3)] == [1, 2, 3]


def test_a_static_comes_back_as_itself(engine: Any) -> None:
    assert engine(state) is STATE


def test_bad_arguments_are_refused(engine: Any) -> None:
    with pytest.raises(OverflowError, match="parameter b"):
        engine(add, 1, -1)
    with pytest.raises(TypeError, match="parameter a"):
        engine(add, "1", 1)
