"""The virtual PL011 against a model of a port with a queue, and against what Linux's drivers look at."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from freestanding import zeroed
from xenarm.core.access import Outcome
from xenarm.core.vpl011 import (
    QUEUE_SIZE,
    REGISTERS,
    Effect,
    Vpl011,
    vpl011_access,
    vpl011_queue,
    vpl011_reset,
    vpl011_room,
)
from xenarm.drivers.pl011_registers import (
    CR, DR, FBRD, FR, IBRD, ICR, IFLS, IMSC, LCR_H, MIS, PERIPH_ID, RIS, RSR_ECR, Flags, Interrupts, LineControl,
)  # fmt: skip

TX, RX, RT = (int(Interrupts(**{name: True})) for name in ("TX", "RX", "RT"))
FIFO_ON = int(LineControl(WLEN=3, FEN=True))


@pytest.fixture
def port() -> Vpl011:
    u = zeroed(Vpl011)
    vpl011_reset(u)
    return u


def read(u: Vpl011, offset: int, width: int = 4) -> int:
    outcome, value, _ = vpl011_access(u, offset, width, False, 0)
    assert outcome == Outcome.HANDLED
    return int(value)


def write(u: Vpl011, offset: int, value: int, width: int = 4) -> Effect:
    outcome, _, effect = vpl011_access(u, offset, width, True, value)
    assert outcome == Outcome.HANDLED
    return effect


def flags(u: Vpl011) -> Any:
    return Flags.from_raw(read(u, FR))


def test_what_linux_probes(port: Vpl011) -> None:
    """drivers/amba reads eight bytes of ids: the part is 0x041011 whatever the revision, the cell id 0xb105f00d."""
    ids = [read(port, PERIPH_ID + 4 * i) for i in range(8)]
    assert sum(v << 8 * i for i, v in enumerate(ids[:4])) & 0x000FFFFF == 0x00041011
    assert sum(v << 8 * i for i, v in enumerate(ids[4:])) == 0xB105F00D
    assert ids[2] >> 4 >= 3  # revision r1p5: Linux takes the FIFO to be 32 deep


def test_sending(port: Vpl011) -> None:
    assert flags(port).TXFE and not flags(port).TXFF and not flags(port).BUSY
    write(port, IMSC, TX)
    assert not port.line  # nothing sent yet, nothing to announce (2.8.2)
    assert write(port, DR, 0x41) == Effect.SENT
    assert port.line and read(port, MIS) == TX
    write(port, ICR, TX)
    assert not port.line and read(port, RIS) == 0
    assert write(port, DR, 0x42, width=1) == Effect.SENT


def test_receiving(port: Vpl011) -> None:
    write(port, IMSC, RX | RT)
    assert flags(port).RXFE
    assert vpl011_queue(port, 0x61)
    assert port.line and read(port, RIS) == RT and not flags(port).RXFE
    write(port, ICR, 0x7FF)
    assert port.line, "a character waits: the interrupt must not be lost by clearing it"
    assert vpl011_access(port, DR, 1, False, 0) == (Outcome.HANDLED, 0x61, Effect.TOOK)
    assert not port.line and flags(port).RXFE
    assert vpl011_access(port, DR, 4, False, 0) == (Outcome.HANDLED, 0, Effect.NONE)


@pytest.mark.parametrize(("level", "trigger"), [(0, 4), (1, 8), (2, 16), (3, 24), (4, 28), (7, 28)])
def test_receive_level(port: Vpl011, level: int, trigger: int) -> None:
    write(port, IFLS, level << 3)
    for count in range(1, 33):
        vpl011_queue(port, count)
        assert bool(read(port, RIS) & RX) == (count >= trigger)
    assert flags(port).RXFF


def test_without_fifo(port: Vpl011) -> None:
    write(port, LCR_H, int(LineControl(WLEN=3)))
    vpl011_queue(port, 1)
    assert flags(port).RXFF and read(port, RIS) & RX


def test_queue_is_full(port: Vpl011) -> None:
    for i in range(QUEUE_SIZE):
        assert vpl011_queue(port, i & 0xFF)
    assert vpl011_room(port) == 0 and not vpl011_queue(port, 0)
    assert [read(port, DR) for _ in range(QUEUE_SIZE)] == [i & 0xFF for i in range(QUEUE_SIZE)]


def test_registers_that_remember(port: Vpl011) -> None:
    for offset, mask in ((IBRD, 0xFFFF), (FBRD, 0x3F), (LCR_H, 0xFF), (CR, 0xFF87), (IFLS, 0x3F), (IMSC, 0x7FF)):
        write(port, offset, 0xFFFFFFFF)
        assert read(port, offset) == mask
        write(port, offset, 0)
        assert read(port, offset) == 0


def test_access_sizes(port: Vpl011) -> None:
    write(port, IBRD, 0x1234)
    assert (read(port, IBRD, 1), read(port, IBRD, 2), read(port, IBRD + 1, 1)) == (0x34, 0x1234, 0x12)
    for offset, width in ((DR, 8), (IBRD + 1, 2), (IBRD + 2, 4), (FR, 0)):
        assert vpl011_access(port, offset, width, False, 0)[0] == Outcome.FORBIDDEN
    write(port, DR + 1, 0xFF, width=1)  # no register begins there: nothing is sent
    assert read(port, RIS) == 0


def test_unknown_offsets_are_zero(port: Vpl011) -> None:
    known = {int(r.offset) for r in REGISTERS}
    for offset in range(0, 0x1000, 4):
        if offset not in known:
            write(port, offset, 0xFFFFFFFF)
            assert read(port, offset) == 0
    assert read(port, RSR_ECR) == 0


class PortMachine(RuleBasedStateMachine):
    """Any sequence of guest accesses and typed characters, beside a model of what should come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.port = zeroed(Vpl011)
        vpl011_reset(self.port)
        self.queue: deque[int] = deque()
        self.sent = False
        self.mask = 0
        self.level = 2
        self.fifo = True

    @rule(character=st.integers(0, 255))
    def type(self, character: int) -> None:
        taken = vpl011_queue(self.port, character)
        assert taken == (len(self.queue) < QUEUE_SIZE)
        if taken:
            self.queue.append(character)

    @rule(count=st.integers(1, 600))
    def paste(self, count: int) -> None:
        for i in range(count):
            self.type(i & 0xFF)

    @rule(count=st.integers(1, 600))
    def fetch(self, count: int) -> None:
        for _ in range(count):
            outcome, value, effect = vpl011_access(self.port, DR, 4, False, 0)
            assert outcome == Outcome.HANDLED
            assert effect == (Effect.TOOK if self.queue else Effect.NONE)
            assert value == (self.queue.popleft() if self.queue else 0)

    @rule(character=st.integers(0, 0xFFFF_FFFF))
    def send(self, character: int) -> None:
        assert write(self.port, DR, character) == Effect.SENT
        self.sent = True

    @rule(bits=st.integers(0, 0xFFFF_FFFF))
    def clear(self, bits: int) -> None:
        write(self.port, ICR, bits)
        self.sent = self.sent and not bits & TX

    @rule(bits=st.integers(0, 0xFFFF_FFFF))
    def set_mask(self, bits: int) -> None:
        write(self.port, IMSC, bits)
        self.mask = bits & 0x7FF

    @rule(level=st.integers(0, 4))
    def set_level(self, level: int) -> None:
        write(self.port, IFLS, level << 3 | 2)
        self.level = level

    @rule(on=st.booleans())
    @precondition(lambda self: len(self.queue) < 100)
    def set_fifo(self, on: bool) -> None:
        write(self.port, LCR_H, FIFO_ON if on else 0x60)
        self.fifo = on

    @rule(offset=st.integers(0x4C, 0xFFF), width=st.sampled_from([1, 2, 4, 8]), value=st.integers(0, 0xFFFF_FFFF))
    def poke(self, offset: int, width: int, value: int) -> None:
        _, _, effect = vpl011_access(self.port, offset, width, True, value)
        assert effect == Effect.NONE

    @invariant()
    def agrees(self) -> None:
        trigger = [4, 8, 16, 24, 28][self.level] if self.fifo else 1
        raw = (TX if self.sent else 0) | (RT if self.queue else 0) | (RX if len(self.queue) >= trigger else 0)
        assert read(self.port, RIS) == raw
        assert read(self.port, MIS) == raw & self.mask
        assert self.port.line == (raw & self.mask != 0)
        assert flags(self.port).RXFE == (not self.queue)
        assert flags(self.port).RXFF == (len(self.queue) >= (32 if self.fifo else 1))
        assert vpl011_room(self.port) == QUEUE_SIZE - len(self.queue)


TestPort = PortMachine.TestCase
