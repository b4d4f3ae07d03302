"""The shared line: who prints when, and where input goes, with the port, the counter and the distributor replaced."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freestanding import View
from xenarm.arm import instructions
from xenarm.arm64.registers import MODEL
from xenarm.core import console, log
from xenarm.core.console import CONSOLE
from xenarm.core.domain import DOMAINS, Domain, DomainState
from xenarm.core.log import NOBODY, TERMINAL
from xenarm.core.vpl011 import QUEUE_SIZE, vpl011_access, vpl011_reset
from xenarm.drivers import pl011_registers as regs
from xenarm.drivers.serial import RING, RING_SIZE, SERIAL

PORT = 0x9000000


class Port(instructions.ModelBus):
    """A PL011 with a wire at each end."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = bytearray()
        self.typed: deque[int] = deque()
        self.mask = 0

    def read(self, address: int, width: int) -> int:
        offset = address - PORT
        if offset == regs.FR:
            return int(regs.Flags(TXFE=True, RXFE=not self.typed))
        if offset == regs.DR:
            return self.typed.popleft()
        return super().read(address, width)

    def write(self, address: int, width: int, value: int) -> None:
        if address == PORT + regs.DR:
            self.shown.append(value & 0xFF)
        elif address == PORT + regs.IMSC:
            self.mask = value

    @property
    def text(self) -> str:
        return self.shown.decode().replace("\r\n", "\n")


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[Port]:
    made = Port()
    monkeypatch.setattr(instructions, "BUS", made)
    SERIAL.base, SERIAL.driver = PORT, 0
    yield made
    SERIAL.base = 0
    MODEL.clear()
    for i in range(3):
        DOMAINS[i].state.value = 0


def domains(*names: str) -> list[Domain]:
    made = []
    for i, name in enumerate(names):
        d = DOMAINS[i]
        d.id, d.name_length = i, len(name)
        for k, c in enumerate(name.encode()):
            d.name[k] = c
        d.state.value = int(DomainState.RUNNING)
        vpl011_reset(DOMAINS[i].serial)
        DOMAINS[i].output.length = DOMAINS[i].output.waiting = 0
        DOMAINS[i].output.returned = False
        made.append(d)
    TERMINAL.owner = NOBODY
    TERMINAL.shared = len(names) > 1
    CONSOLE.focus, CONSOLE.switches, CONSOLE.held, CONSOLE.waiting = 0, 0, False, False
    return made


def say(d: Domain, text: str) -> None:
    for c in text.encode():
        console.console_put(d, c)


def taken(i: int) -> bytes:
    """What domain `i` reads from its port."""
    out = bytearray()
    while True:
        _, flags, _ = vpl011_access(DOMAINS[i].serial, regs.FR, 4, False, 0)
        if regs.Flags.from_raw(flags).RXFE:
            return bytes(out)
        out.append(vpl011_access(DOMAINS[i].serial, regs.DR, 4, False, 0)[1])


def clean(text: str) -> str:
    return re.sub(r"\(xenarm\) \[ *\d+\.\d+\] ", "(xenarm) ", text)


def test_one_domain_has_the_line_to_itself(port: Port) -> None:
    (only,) = domains("only")
    say(only, "boot\r\nprompt # ")
    assert port.shown == b"boot\r\nprompt # "
    log.stage(View(b"hello", 0, 5))
    assert clean(port.text).endswith("prompt # \n(xenarm) hello\n")


def test_lines_carry_names(port: Port) -> None:
    one, two = domains("one", "two")
    say(one, "a\r\nb\n")
    say(two, "c\n")
    assert port.text == "(one) a\n(one) b\n(two) c\n"


def test_lines_do_not_mix(port: Port) -> None:
    one, two = domains("one", "two")
    for a, b in zip("first\n", "other\n", strict=True):
        say(one, a)
        say(two, b)
    assert port.text == "(one) first\n(two) other\n"


def test_a_prompt_shows_at_once(port: Port) -> None:
    one, _ = domains("one", "two")
    say(one, "login: ")
    assert port.text == "(one) login: "


def test_hypervisor_interrupts_a_line(port: Port) -> None:
    one, _ = domains("one", "two")
    say(one, "log")
    log.stage(View(b"news", 0, 4))
    say(one, "in: ")
    assert clean(port.text) == "(one) log\n(xenarm) news\n(one) login: "


def test_a_lone_carriage_return(port: Port) -> None:
    one, _ = domains("one", "two")
    say(one, "10%\r20%\r\nend\r\n")
    assert port.text == "(one) 10%\n(one) 20%\n(one) end\n"


@given(st.lists(st.tuples(st.integers(0, 1), st.text("ab\n", max_size=6)), max_size=30))
def test_no_character_is_lost(steps: list[tuple[int, str]]) -> None:
    """Whatever the order, a domain's own lines come out whole and in order."""
    made = Port()
    instructions.BUS, old = made, instructions.BUS
    SERIAL.base, SERIAL.driver = PORT, 0
    try:
        pair = domains("one", "two")
        wrote = ["", ""]
        for i, text in steps:
            say(pair[i], text)
            wrote[i] += text
        for i in (0, 1):
            say(pair[i], "\n")
            wrote[i] += "\n"
            console.console_poll()
        say(pair[0], "\n")
        wrote[0] += "\n"
        for i, name in enumerate(("one", "two")):
            lines = [line[6:] for line in made.text.splitlines() if line.startswith(f"({name}) ")]
            assert lines == repeated(wrote[i], lines)
    finally:
        instructions.BUS = old
        SERIAL.base = 0


def repeated(wrote: str, lines: list[str]) -> list[str]:
    """The lines that a domain wrote, with the beginnings of interrupted ones that were shown before them."""
    expected = []
    rest = list(lines)
    for line in wrote.splitlines():
        while rest and rest[0] != line and line.startswith(rest[0]):
            expected.append(rest.pop(0))
        expected.append(line)
        if rest:
            rest.pop(0)
    return expected


# ---- input


def test_typed_characters_arrive(port: Port) -> None:
    domains("one")
    port.typed.extend(b"hello\r")
    console.console_irq()
    assert taken(0) == b"hello\r"


def test_switching(port: Port) -> None:
    domains("one", "two")
    port.typed.extend(b"a\x01\x01\x01b\x01c\x01\x01d")
    console.console_irq()
    assert (taken(0), taken(1)) == (b"a", b"b\x01c\x01\x01d")
    assert "input goes to two" in port.text
    port.typed.extend(b"\x01\x01\x01q")
    console.console_irq()
    assert CONSOLE.focus == console.HYPERVISOR and (taken(0), taken(1)) == (b"", b"")
    port.typed.extend(b"\x01\x01\x01e")
    console.console_irq()
    assert taken(0) == b"e"


def test_input_leaves_a_dead_domain(port: Port) -> None:
    domains("one", "two")
    DOMAINS[0].state.value = int(DomainState.DEAD)
    port.typed.extend(b"x")
    console.console_irq()
    assert taken(1) == b"x"
    DOMAINS[1].state.value = int(DomainState.DEAD)
    port.typed.extend(b"y")
    console.console_irq()
    assert not port.typed


def test_backpressure_loses_nothing(port: Port) -> None:
    """A paste of any length waits in the port until the guest has read."""
    domains("one")
    data = bytes(i * 7 & 0xFF for i in range(QUEUE_SIZE * 5)).replace(b"\x01", b"\x02")
    port.typed.extend(data)
    port.mask = 0x50
    console.console_irq()
    assert port.typed and port.mask == 0 and CONSOLE.held
    got = bytearray()
    while CONSOLE.held or port.typed:
        got += taken(0)
        console.resume()
    got += taken(0)
    assert bytes(got) == data
    assert port.mask == 0x50


def test_a_domain_that_does_not_read_can_be_left(port: Port) -> None:
    domains("one", "two")
    port.typed.extend(b"x" * (QUEUE_SIZE * 2) + b"\x01\x01\x01y")
    console.console_irq()
    assert taken(1) == b"y"


class Handler:
    """Called by pointer, as a function of the language is: by an attribute that names the engine."""

    def __init__(self) -> None:
        self.pressed = bytearray()

    def __getattr__(self, name: str) -> Callable[[int], None]:
        return self.pressed.append


def test_keys_typed_ahead_wait_in_the_port(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than are taken at once, and a CTRL-a that is held back among them; three of them end it."""
    handler = Handler()
    monkeypatch.setattr(CONSOLE, "handler", handler)
    domains("one", "two")
    CONSOLE.focus = console.HYPERVISOR
    keys = b"qd" * 50 + b"\x01\x01" + b"rt" * 50
    port.typed.extend(keys + b"\x01\x01\x01for one")
    console.console_irq()
    assert handler.pressed == keys and not port.typed
    assert taken(0) == b"for one"


def test_what_waits_is_shown_when_the_other_falls_silent(port: Port) -> None:
    one, two = domains("one", "two")
    MODEL["cntfrq_el0"], MODEL["cntpct_el0"] = 1000, 100
    say(one, "prompt # ")
    say(two, "news\nmore")
    assert port.text == "(one) prompt # "
    assert console.console_poll()
    MODEL["cntpct_el0"] += 60
    assert not console.console_poll()
    assert port.text == "(one) prompt # \n(two) news\n(two) more"
    MODEL["cntpct_el0"] += 60
    say(one, "ls")
    assert port.text.endswith("\n(two) more\n(one) prompt # ls")


def test_a_full_queue_breaks_in(port: Port) -> None:
    one, two = domains("one", "two")
    MODEL["cntfrq_el0"], MODEL["cntpct_el0"] = 1000, 100
    say(one, "busy")
    say(two, "x" * 99 + "\n")
    say(two, "y" * console.WAITING_SIZE)
    assert f"(two) {'x' * 99}\n(two) yyy" in port.text


class SlowPort(Port):
    """A PL011 whose FIFO of 16 empties only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.fifo = bytearray()

    def read(self, address: int, width: int) -> int:
        if address == PORT + regs.FR:
            return int(regs.Flags(TXFF=len(self.fifo) == 16, RXFE=True))
        return super().read(address, width)

    def write(self, address: int, width: int, value: int) -> None:
        if address == PORT + regs.DR:
            self.fifo.append(value & 0xFF)
        else:
            super().write(address, width, value)

    def drain(self) -> None:
        self.shown += self.fifo
        self.fifo.clear()


@pytest.fixture
def slow(port: Port, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowPort]:
    made = SlowPort()
    monkeypatch.setattr(instructions, "BUS", made)
    SERIAL.intid = 33
    RING.on, RING.head, RING.tail, RING.lost = True, 0, 0, 0
    CONSOLE.dealt = 0
    yield made
    RING.on, RING.head, RING.tail = False, 0, 0
    SERIAL.intid = 0


def print_politely(d: Domain, text: bytes) -> int:
    """As a driver does: until the port says that it is full. How much was taken."""
    for n, c in enumerate(text):
        _, flags, _ = vpl011_access(d.serial, regs.FR, 4, False, 0)
        if regs.Flags.from_raw(flags).TXFF:
            return n
        console.console_put(d, c)
    return len(text)


def test_a_flood_leaves_the_others_their_share_and_loses_nothing(slow: SlowPort) -> None:
    flooding, calm = domains("flood", "calm")
    console.console_start()
    line = b"0123456789abcdef" * 3 + b"\n"
    sent = 0
    for turn in range(200):
        sent += print_politely(flooding, (line * 100)[sent % len(line) :])
        assert RING.head - RING.tail <= RING_SIZE
        if turn % 20 == 0:
            assert print_politely(calm, b"calm\n") == 5
        slow.drain()
        console.console_irq()
        assert RING.lost == 0
    while RING.tail < RING.head:
        slow.drain()
        console.console_irq()
    slow.drain()
    console.console_poll()
    assert slow.text.count("(calm) calm\n") == 10
    body = "".join(part for part in re.findall(r"(?<=\(flood\) )[0-9a-f]{48}(?=\n)", slow.text))
    assert len(body) // 48 == sent // len(line)


def test_a_guest_that_ignores_its_full_port_loses_only_its_own(slow: SlowPort) -> None:
    flooding, calm = domains("flood", "calm")
    console.console_start()
    say(flooding, "x" * 100_000)
    assert DOMAINS[0].output.lost > 90_000 and RING.lost == 0
    assert RING.head - RING.tail < RING_SIZE // 2
    say(calm, "calm\n")
    assert not DOMAINS[1].serial.full
    while RING.tail < RING.head:
        slow.drain()
        console.console_irq()
    assert not DOMAINS[0].serial.full
    _, pending, _ = vpl011_access(DOMAINS[0].serial, regs.RIS, 4, False, 0)
    assert regs.Interrupts.from_raw(pending).TX
