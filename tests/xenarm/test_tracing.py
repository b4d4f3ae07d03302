"""Saying the trace: a few lines at a time, only as far as the port's ring has room, and all of them in the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from freestanding import zeroed
from tests.xenarm.test_console import PORT, Port, port
from xenarm.arm import traced
from xenarm.arm.instructions import STACK_OFFSET
from xenarm.arm64.registers import MODEL
from xenarm.arm.vcpu import CPUS
from xenarm.core import trace, tracing
from xenarm.core.domain import SLOTS
from xenarm.core.log import LOG, NOBODY, TERMINAL
from xenarm.core.result import Result
from xenarm.core.sched.state import NEVER, SCHED_CPUS
from xenarm.core.trace import ALL_CLASSES, CLASSES, TRACE, Ring
from xenarm.core.trace_dump import DUMP
from xenarm.core.tracing import LINES_AT_ONCE, PORT_ROOM, TRACING
from xenarm.drivers import pl011_registers as regs
from xenarm.drivers.serial import RING, RING_SIZE, serial_drain
from xenarm.tools import trace as tool

__all__ = ["port"]

HZ = 1_000_000
EVENTS = 40


class Wire:
    """A port that takes so many characters, and then no more for now."""

    def __init__(self, port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 0
        self.port = port
        monkeypatch.setattr(port, "read", self.read)
        monkeypatch.setattr(port, "write", self.write)

    def read(self, address: int, width: int) -> int:
        if address == PORT + regs.FR:
            return int(regs.Flags(TXFE=self.room > 0, TXFF=self.room == 0, RXFE=True))
        return Port.read(self.port, address, width)

    def write(self, address: int, width: int, value: int) -> None:
        if address == PORT + regs.DR:
            self.room -= 1
        Port.write(self.port, address, width, value)


@pytest.fixture
def wire(port: Port, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """One CPU with a full ring of events, and a port that the ring of characters is for."""
    MODEL["cntfrq_el0"], MODEL["cntpct_el0"] = HZ, 1
    made = zeroed(Ring)
    trace.trace_attach(0, made)
    made.classes = ALL_CLASSES
    TRACE.classes.store(ALL_CLASSES)
    for i in range(EVENTS):
        trace.trace_mark(i, ~i & 0xFFFF)
    TERMINAL.owner = NOBODY
    RING.on, RING.head, RING.tail, RING.lost = True, 0, 0, 0
    alarm = SCHED_CPUS[0].alarm
    alarm.soonest = alarm.choose_at = alarm.ptimer = NEVER
    yield Wire(port, monkeypatch)
    RING.on, RING.head, RING.tail = False, 0, 0
    TRACE.rings[0] = None
    TRACE.classes.store(0)
    TRACING.on = False
    DUMP.going = False
    LOG.written = 0
    STACK_OFFSET[0] = 0
    SLOTS[0].vcpu.choose = 0


def test_the_ring_of_the_port_keeps_its_room(wire: Wire) -> None:
    """While the port takes nothing, no more is said than a quarter of its ring and the line that passed it."""
    TRACING.on, TRACING.classes = True, ALL_CLASSES
    tracing.tracing_dump(EVENTS)
    for _ in range(20):
        SCHED_CPUS[0].alarm.soonest = NEVER
        tracing.tracing_continue()
    waiting = int(RING.head - RING.tail)
    assert PORT_ROOM < waiting <= PORT_ROOM + 200 < RING_SIZE // 2
    assert RING.lost == 0 and DUMP.going
    assert SCHED_CPUS[0].alarm.soonest == 1 + HZ // 1000, "who goes on?"


def test_all_of_it_is_said_in_the_end(wire: Wire) -> None:
    TRACING.on, TRACING.classes = True, ALL_CLASSES
    tracing.tracing_dump(EVENTS)
    assert TRACE.classes.load() == 0, "what is said would be overwritten"
    for _ in range(10 * EVENTS):
        wire.room = 60
        serial_drain()
        before = int(RING.head)
        tracing.tracing_continue()
        assert int(RING.head) - before <= (LINES_AT_ONCE + 1) * 100
        if not DUMP.going:
            break
    assert not DUMP.going and TRACE.classes.load() == ALL_CLASSES, "tracing goes on"
    wire.room = RING_SIZE
    serial_drain()
    assert RING.lost == 0
    result = tool.read_console(wire.port.text.encode())
    assert result.damaged == 0 and [s.a for s in result.samples[0]][-EVENTS:] == list(range(EVENTS))


def test_only_one_cpu_says_it(wire: Wire) -> None:
    tracing.tracing_dump(EVENTS)
    before = RING.head
    TRACING.sayer = 1
    tracing.tracing_continue()
    assert RING.head == before


def test_the_vectors_follow_the_classes(wire: Wire) -> None:
    """Only exits and interrupts need the second table; without them the CPU is back at the first."""
    CPUS.online.store(1)
    at = []
    for name in ("sched", "exit", "irq", "domain"):
        assert traced.tracing_switch(CLASSES[name]) == Result.OK
        at.append(int(MODEL["vbar_el2"]))
    assert traced.tracing_switch(0) == Result.OK
    at.append(int(MODEL["vbar_el2"]))
    CPUS.online.store(0)
    assert TRACE.news.load() & 1 == 0, "this CPU has taken notice"
    first, second = at[0], at[1]
    assert first != second and at == [first, second, second, first, first]
