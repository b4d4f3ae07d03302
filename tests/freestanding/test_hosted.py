"""The hosted engine: the door's checks and classes, tracebacks, the debugger's view, speed; the memory bus."""
from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from freestanding import (Array, Atomic, Bits, CompileError, Distinct, IntEnum, Panic, Ptr, Slice, Struct, Union, View, address_of, array, atomic, bits,
                          external, fn, i16, linker_symbol, operation, table, u8, u16, u32, u64, usize, wrapping_add, zeroed)
from freestanding import hosted
from freestanding.hosted_memory import BusError, Memory

MAPS_MEMORY = True


class Mode(IntEnum, type=u8):
    OFF = 0
    ON = 1


class Reg(Bits, type=u32):
    MODE: Mode = bits(1, 0)
    COUNT: u16 = bits(15, 4)


class Vmid(Distinct, type=u16):
    """A number of its own."""


class Point(Struct, frozen=True):
    x: u32
    y: u32


class Part(Struct):
    a: u8
    b: u32


class Overlay(Union):
    word: u32
    bytes: Array[u8] = array(u8, 4)


class Device(Struct):
    control: Reg
    status: u32
    part: Part
    words: Array[u16] = array(u16, 4)
    overlay: Overlay
    next: Part | None
    lock: Atomic[u32] = atomic(u32)

    @fn
    def bump(self, by: u32 = 1) -> u32:
        self.status += by
        return self.status


STATE = zeroed(Device)
ROWS = table(Point, [Point(1, 2), Point(3, 4)])


@fn
def every(a: u32, b: bool, c: Mode, d: Reg, e: Vmid, f: Point) -> tuple[u32, bool, Mode, Reg, Vmid, Point]:
    return a, b, c, d, e, f


@fn
def narrow(n: usize, m: u8 = 3, *, k: u16 = 5) -> usize:
    return n + usize(m) + usize(k)


@fn
def total(v: View[u8]) -> u32:
    sum = u32(0)
    for x in v:
        sum += u32(x)
    return sum


@fn
def clear(s: Slice[u32]) -> None:
    s.fill(9)


@fn
def maybe(d: Device | None) -> u32:
    return 0 if d is None else d.status


@fn
def apply(f: Callable[[u32], u32], x: u32) -> u32:
    return f(x)


@fn
def double(x: u32) -> u32:
    return x * 2


@fn
def deep(x: u32) -> u32:
    doubled = double(x)
    y = doubled - 10
    return y


# ---- the door -------------------------------------------------------------------------------------------------------------------

def test_results_have_their_classes() -> None:
    given = (7, True, Mode.ON, Reg(MODE=Mode.ON, COUNT=9), Vmid(3), Point(1, 2))
    result = every(*given)
    assert result == given
    assert [type(x) for x in result] == [u32, bool, Mode, Reg, Vmid, Point]
    assert result[3].COUNT == 9


@pytest.mark.parametrize(("args", "error", "words"), [
    ((-1, True, Mode.ON, Reg(), Vmid(1), Point(1, 1)), OverflowError, "parameter a.*does not fit u32"),
    ((1 << 32, True, Mode.ON, Reg(), Vmid(1), Point(1, 1)), OverflowError, "parameter a"),
    ((u64(1), True, Mode.ON, Reg(), Vmid(1), Point(1, 1)), TypeError, "parameter a: u32 is wanted"),
    ((True, True, Mode.ON, Reg(), Vmid(1), Point(1, 1)), TypeError, "parameter a"),
    ((1, 1, Mode.ON, Reg(), Vmid(1), Point(1, 1)), TypeError, "parameter b: bool"),
    ((1, True, 1, Reg(), Vmid(1), Point(1, 1)), TypeError, "parameter c: Mode"),
    ((1, True, Mode.ON, 5, Vmid(1), Point(1, 1)), TypeError, "parameter d: Reg"),
    ((1, True, Mode.ON, Reg(), u16(1), Point(1, 1)), TypeError, "parameter e: Vmid"),
    ((1, True, Mode.ON, Reg(), 1, (1, 1)), TypeError, "parameter f: Point"),
    ((1, True), TypeError, "wants a value for c, d, e, f"),
    ((1,) * 9, TypeError, "takes 6 arguments, 9 given")])
def test_arguments_are_checked_by_name(args: tuple[Any, ...], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        every(*args)


def test_defaults_and_keywords() -> None:
    assert narrow(1) == 9 and narrow(1, 2) == 8 and narrow(n=1, k=1, m=1) == 3
    with pytest.raises(TypeError, match="no parameter q"):
        narrow(1, q=2)
    with pytest.raises(TypeError, match="two values for n"):
        narrow(1, n=2)


def test_runs_of_elements() -> None:
    assert total(b"\x01\x02") == total(bytearray([1, 2])) == total([1, 2]) == total(array(u8, [1, 2])) == 3
    assert total(View(b"\x09\x01\x02", 1, 2)) == 3
    words = array(u32, 3)
    clear(words)
    assert list(words) == [9, 9, 9]
    plain = [1, 2]
    clear(Slice(plain, 1, 1))
    assert plain == [1, 9]
    with pytest.raises(TypeError, match="Slice"):
        clear(b"abc")
    with pytest.raises(OverflowError):
        total([1, 256])


def test_references_are_the_live_objects() -> None:
    device = zeroed(Device)
    assert device.bump() == 1 and device.bump(by=4) == 5 and device.status == 5
    assert maybe(None) == 0 and maybe(device) == 5
    with pytest.raises(TypeError, match="parameter d"):
        maybe(STATE.part)


def test_a_plain_function_may_stand_in_for_a_pointer() -> None:
    assert apply(double, 4) == 8
    assert apply(lambda x: x + 1, 4) == 5
    with pytest.raises(TypeError, match="bad result"):
        apply(lambda x: "no", 4)


def test_a_wrong_function_says_why() -> None:
    @fn
    def wrong(a: u32, b: u64) -> u32:
        return a + b
    with pytest.raises(CompileError) as caught:
        wrong(1, 2)
    assert caught.value.underlined == "a + b" and "u32" in str(caught.value)


def test_pointer_width_is_a_parameter() -> None:
    assert narrow(0xFFFF_FFFF) == 0x1_0000_0007
    try:
        hosted.set_pointer_bits(32)
        with pytest.raises(Panic, match="overflow"):
            narrow(0xFFFF_FFFF)
        with pytest.raises(OverflowError):
            narrow(0x1_0000_0000)
    finally:
        hosted.set_pointer_bits(64)
    assert narrow(0xFFFF_FFFF) == 0x1_0000_0007


def test_what_lies_where_is_asked_anew_with_another_width() -> None:
    """A place given out with one width of pointers is nobody's with another, and what was mapped stays mapped."""
    first, second, third = zeroed(Device), zeroed(Device), zeroed(Device)
    hosted.memory.map(0x9000_0000, bytearray(8))
    try:
        assert address(first) == address(first)
        hosted.set_pointer_bits(32)
        assert 0 < hosted.memory.address_of(second) < 1 << 32
        hosted.set_pointer_bits(64)
        assert len({address(third), address(second), address(first)}) == 3
        hosted.memory.store(address(first) + 4, 4, 5)
        assert (first.status, second.status) == (5, 0)
        assert hosted.memory.load(0x9000_0000, 8) == 0
    finally:
        hosted.set_pointer_bits(64)
        hosted.memory.unmap(0x9000_0000)


def test_a_check_that_is_off_is_gone() -> None:
    try:
        hosted.configure(checks=frozenset({"bounds"}))
        assert double(0x8000_0001) == 2
    finally:
        hosted.configure()
    with pytest.raises(Panic):
        double(0x8000_0001)


# ---- what a person sees -----------------------------------------------------------------------------------------------------------

def test_panic_has_kind_and_place() -> None:
    with pytest.raises(Panic) as caught:
        deep(3)
    first = deep.py.__code__.co_firstlineno
    assert (caught.value.kind, caught.value.file, caught.value.line) == ("overflow", __file__, first + 3)
    assert str(caught.value) == f"{__file__}:{first + 3}: overflow"


def test_traceback_shows_the_source() -> None:
    try:
        deep(3)
    except Panic as panic:
        frames = [f for f in traceback.extract_tb(panic.__traceback__) if f.filename == __file__]
    assert (frames[-1].name, frames[-1].line) == ("deep", "y = doubled - 10")


def test_a_debugger_sees_lines_and_locals() -> None:
    seen: list[tuple[int, dict[str, Any]]] = []

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_name == "deep" and event == "line":
            seen.append((frame.f_lineno - deep.py.__code__.co_firstlineno, {k: v for k, v in frame.f_locals.items() if k[0] != "@"}))
        return trace
    sys.settrace(trace)
    try:
        deep(20)
    finally:
        sys.settrace(None)
    assert seen == [(2, {"x": 20}), (3, {"x": 20, "doubled": 40}), (4, {"x": 20, "doubled": 40, "y": 30})]


def test_every_line_that_runs_is_seen_by_coverage() -> None:
    @fn
    def branches(a: u32) -> u32:
        total = u32(0)
        for i in range(a):
            if i == 2:
                continue
            while total < i:
                total += 1
        return total
    lines: set[int] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_name == "branches" and event == "line":
            lines.add(frame.f_lineno - branches.py.__code__.co_firstlineno)
        return trace
    sys.settrace(trace)
    try:
        branches(5)
    finally:
        sys.settrace(None)
    assert lines == {2, 3, 4, 5, 6, 7, 8}


@fn
def additions(n: u32) -> u32:
    s = u32(0)
    for i in range(n):
        s = s + 1
        s = s + 1
        s = s + 1
        s = s + 1
        s = s + 1
        s = s + 1
        s = s + 1
        s = s + 1
        s = s + 1
        s = s + 1
    return s


def test_checked_addition_is_not_slow() -> None:
    """About 20 ns; a tenfold slip would mean that checks no longer stand inline."""
    def nanoseconds() -> float:
        start = time.perf_counter()
        additions(20_000)
        return (time.perf_counter() - start) / 200_000 * 1e9
    additions(1)
    assert min(nanoseconds() for _ in range(7)) < 250


# ---- models -------------------------------------------------------------------------------------------------------------------------

WORLD: dict[str, Any] = {"register": 5, "seen": []}


@operation(aarch64="mrs {ret}, tpidr_el2")
def read_register() -> u64:
    return u64(WORLD["register"])


@operation(aarch64="msr tpidr_el2, {value}")
def write_register(value: Reg) -> None:
    WORLD["seen"].append(value)


@external("outside")
def outside(x: u32) -> u32:
    return wrapping_add(x, 0xFFFF_FFFF)


@fn
def touch(x: u32) -> u64:
    write_register(Reg(COUNT=7))
    return read_register() + u64(outside(x))


def test_models_run_in_plain_python() -> None:
    assert touch(10) == 14
    assert WORLD["seen"][-1].COUNT == 7
    WORLD["register"] = -1
    with pytest.raises(OverflowError):
        touch(10)
    WORLD["register"] = 5


# ---- live objects in plain Python -----------------------------------------------------------------------------------------------

def test_slices_have_their_primitives() -> None:
    data = array(u8, 8)
    data.store_be32(2, 0x0102_0304)
    assert list(data) == [0, 0, 1, 2, 3, 4, 0, 0] and data.load_le16(2) == 0x0201
    part = Slice(data, 2, 4)
    assert part.equals(b"\1\2\3\4") and part.compare(b"\1\2\4") == -1 and part.find(3) == 2
    part.fill(7)
    Slice(data, 0, 2).copy_from(part[:2])
    assert list(data) == [7, 7, 7, 7, 7, 7, 0, 0]
    with pytest.raises(Panic, match="bounds"):
        data.load_be64(1)
    with pytest.raises(Panic, match="bounds"):
        part.copy_from(b"")


def test_atomics_work_in_plain_python() -> None:
    lock = atomic(u32, 5)
    assert lock.fetch_add(0xFFFF_FFFF) == 5 and lock.load_acquire() == 4
    assert lock.compare_swap(4, 9) == (True, 4) and lock.compare_swap(4, 1) == (False, 9) and lock.load() == 9
    assert lock.exchange(6) == 9 and lock.fetch_or(1) == 6 and lock.fetch_and(5) == 7 and lock.value == 5


# ---- the memory bus -----------------------------------------------------------------------------------------------------------------

BASE = 0x900_0000
TEXT = linker_symbol("__some_symbol")


@pytest.fixture
def ram() -> Any:
    hosted.memory.reset()
    data = bytearray(256)
    hosted.memory.map(BASE, data)
    yield data
    hosted.memory.reset()


@fn
def drive(at: usize) -> u32:
    d = Ptr[Device](at).ref()
    d.control = Reg(MODE=Mode.ON, COUNT=0x123)
    d.status = 7
    d.part.b = d.status + 1
    d.words[2] = 0xBEEF
    d.overlay.bytes[1] = 0x55
    d.lock.store_release(3)
    part = d.part
    part.a = 1
    return d.bump(1) + d.overlay.word + d.lock.load()


@fn
def bytes_of(at: usize, n: usize) -> u32:
    s = Ptr[u8](at).slice(n)
    s.store_be16(0, 0x1234)
    return u32(s.load_le16(0)) + u32(s[n - 1])


@fn
def poke(at: usize, value: u16) -> u32:
    registers = Ptr[Part](at).ref()
    registers.b = u32(value)
    return registers.b


def test_a_struct_in_memory_has_the_layout_of_the_target(ram: bytearray) -> None:
    assert drive(BASE) == 8 + 0x5500 + 3
    assert ram[0:4] == (0x1231).to_bytes(4, "little") and ram[4] == 8
    assert ram[8] == 1 and ram[12] == 8 and ram[20:22] == b"\xef\xbe" and ram[25] == 0x55
    view = hosted.memory.ref(hosted.engine().frontend.signature(maybe)[0][0].type, BASE)
    assert isinstance(view, Device) and view.control.COUNT == 0x123 and view.part is view.part


@fn
def pointer(at: usize) -> Ptr[Part]:
    return Ptr[Part](at)


@fn
def through(p: Ptr[Part]) -> u32:
    return p.ref().b


def test_pointers_in_plain_python(ram: bytearray) -> None:
    pointer(BASE).ref().b = 77
    assert ram[4] == 77 and through(pointer(BASE)) == 77 and through(Ptr[Part](BASE)) == 77
    words = Ptr[u16](BASE + 8).slice(3)
    words[1] = 0x1234
    assert ram[10:12] == b"\x34\x12" and len(words) == 3


def test_bytes_in_memory(ram: bytearray) -> None:
    ram[3] = 9
    assert bytes_of(BASE, 4) == 0x3412 + 9
    assert ram[:2] == b"\x12\x34"
    with pytest.raises(BusError, match="nothing is mapped"):
        bytes_of(0x100, 4)


def test_a_device_model_sees_each_access_with_its_width() -> None:
    class Model:
        def __init__(self) -> None:
            self.log: list[tuple[Any, ...]] = []

        def read(self, offset: int, width: int) -> int:
            self.log.append(("r", offset, width))
            return 5

        def write(self, offset: int, width: int, value: int) -> None:
            self.log.append(("w", offset, width, value))
    hosted.memory.reset()
    model = Model()
    hosted.memory.map(0x1000, model, 0x100)
    assert poke(0x1010, 0xABC) == 5
    assert model.log == [("w", 0x14, 4, 0xABC), ("r", 0x14, 4)]
    with pytest.raises(ValueError, match="overlaps"):
        hosted.memory.map(0x10FF, bytearray(4))
    hosted.memory.unmap(0x1000)
    with pytest.raises(BusError):
        poke(0x1010, 1)
    hosted.memory.reset()


@fn
def address(d: Device) -> usize:
    return address_of(d)


@fn
def same(d: Device) -> bool:
    return Ptr[Device](address_of(d)).ref() is d and Ptr[Part](address_of(d.part)).ref() is d.part


@fn
def symbol() -> usize:
    return TEXT


def test_addresses_of_live_objects_are_stable() -> None:
    assert address(STATE) == address(STATE) != address(zeroed(Device))
    assert same(STATE) is True
    assert hosted.memory.load(address(STATE) + 4, 4) == STATE.status
    hosted.memory.store(address(STATE) + 20, 2, 0x77)
    assert STATE.words[2] == 0x77
    hosted.memory.write(address(STATE) + 16, bytes(range(4)))
    assert STATE.words[0] == 0x0100 and hosted.memory.read(address(STATE) + 17, 2) == b"\x01\x02"
    hosted.memory.symbols["__some_symbol"] = 0x4008_0000
    hosted.configure()
    assert symbol() == 0x4008_0000


def test_unions_share_their_bytes() -> None:
    overlay = zeroed(Overlay)
    overlay.word = 0x0403_0201
    assert list(overlay.bytes) == [1, 2, 3, 4]
    overlay.bytes[3] = 0xFF
    assert overlay.word == 0xFF03_0201
    assert isinstance(Memory(32), Memory) and i16(-1) == -1 and len(ROWS) == 2
