"""Finding the console's port, and the PL011 driver against a port that is slow, dead, or talkative."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from freestanding import View, zeroed
from tests.xenarm.trees import compile_source
from xenarm.arm import instructions
from xenarm.core.result import Result
from xenarm.devicetree.reader import Fdt, FdtError, fdt_open
from xenarm.drivers import pl011, serial
from xenarm.drivers import pl011_registers as regs
from xenarm.drivers.serial import RING, RING_SIZE, SERIAL

BASE = 0x9000000


def no_port() -> None:
    SERIAL.base = SERIAL.intid = 0
    RING.on, RING.head, RING.tail, RING.lost = False, 0, 0, 0
    serial.MASK.receive = serial.MASK.send = False


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    no_port()
    yield
    no_port()


def tree(chosen: str, more: str = "") -> Fdt:
    blob = compile_source(f"""/dts-v1/;
    / {{ #address-cells = <1>; #size-cells = <1>; interrupt-parent = <&gic>;
        chosen {{ {chosen} }};
        gic: gic@8000000 {{ #interrupt-cells = <3>; interrupt-controller; reg = <0x8000000 0x1000>; }};
        other@1000 {{ compatible = "vendor,uart"; reg = <0x1000 0x1000>; }};
        off@8000 {{ compatible = "arm,pl011"; reg = <0x8000 0x1000>; status = "disabled"; }};
        first@{BASE:x} {{ compatible = "arm,pl011", "arm,primecell"; reg = <{BASE:#x} 0x1000>; interrupts = <0 1 4>; }};
        second@a000000 {{ compatible = "arm,sbsa-uart"; reg = <0xa000000 0x1000>; }};
        wide {{ #address-cells = <2>; #size-cells = <1>; ranges;
            far {{ compatible = "arm,pl011"; reg = <0x10000 0x0 0x1000>; }};
            image {{ compatible = "arm,pl011"; reg = <0x7f 0xc01ff000 0x1000>; }};
            behind {{ compatible = "arm,pl011"; reg = <0x80 0x200000 0x1000>; }};
        }};
        broken@b000000 {{ compatible = "arm,pl011"; }};
        {more}
    }};""")
    made = zeroed(Fdt)
    assert fdt_open(made, View(blob, 0, len(blob))) == FdtError.NONE
    return made


@pytest.mark.parametrize(
    ("chosen", "result", "base", "intid"),
    [
        ('stdout-path = "/first";', Result.OK, BASE, 33),
        ('stdout-path = "/second@a000000:115200n8";', Result.OK, 0xA000000, 0),
        ('linux,stdout-path = "/first";', Result.OK, BASE, 33),
        ("", Result.NOT_FOUND, BASE, 33),
        ('stdout-path = "/nowhere";', Result.NOT_FOUND, BASE, 33),
        ('stdout-path = "/other";', Result.DENIED, 0, 0),
        ('stdout-path = "/broken";', Result.INVALID, 0, 0),
        ('stdout-path = "/wide/far";', Result.INVALID, 0, 0),
        ('stdout-path = "/wide/image";', Result.INVALID, 0, 0),
        ('stdout-path = "/wide/behind";', Result.OK, 0x80_0020_0000, 0),
    ],
)
def test_which_port(chosen: str, result: Result, base: int, intid: int) -> None:
    assert serial.serial_find(tree(chosen)) == result
    assert (SERIAL.base, SERIAL.intid) == (base, intid)


class Port(instructions.ModelBus):
    """A port whose transmitter is full for `full` looks at its flags before each character."""

    def __init__(self, full: int = 0) -> None:
        super().__init__()
        self.full, self.looks, self.sent, self.log = full, 0, bytearray(), list[tuple[int, int]]()

    def read(self, address: int, width: int) -> int:
        if address == BASE + regs.FR:
            self.looks += 1
            return int(regs.Flags(TXFF=self.looks <= self.full, RXFE=True))
        return super().read(address, width)

    def write(self, address: int, width: int, value: int) -> None:
        self.log.append((address - BASE, value))
        if address == BASE + regs.DR:
            self.sent.append(value)
            self.looks = 0


def bus(monkeypatch: pytest.MonkeyPatch, port: Port) -> Port:
    monkeypatch.setattr(instructions, "BUS", port)
    return port


def test_waits_while_the_port_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    port = bus(monkeypatch, Port(full=20))
    SERIAL.base, SERIAL.driver = BASE, 0
    serial.serial_write(View(b"a\nb", 0, 3))
    assert port.sent == b"a\r\nb"


def test_a_stopped_port_costs_the_wait_once(monkeypatch: pytest.MonkeyPatch) -> None:
    port = bus(monkeypatch, Port(full=1 << 60))
    SERIAL.base, SERIAL.driver, SERIAL.stuck = BASE, 0, False
    serial.serial_put(0x61)
    assert SERIAL.stuck and port.looks == pl011.PATIENCE
    serial.serial_put(0x62)
    assert port.looks == pl011.PATIENCE + 1
    port.full = 0
    serial.serial_put(0x63)
    assert port.sent == b"c" and not SERIAL.stuck


class Fifo(instructions.ModelBus):
    """A port with a FIFO that empties when it is told to; its interrupt mask is remembered."""

    def __init__(self, depth: int = 16) -> None:
        super().__init__()
        self.depth, self.fifo, self.sent, self.mask, self.looks = depth, bytearray(), bytearray(), 0, 0

    def read(self, address: int, width: int) -> int:
        assert address == BASE + regs.FR
        self.looks += 1
        return int(regs.Flags(TXFF=len(self.fifo) == self.depth, RXFE=True))

    def write(self, address: int, width: int, value: int) -> None:
        if address == BASE + regs.DR:
            assert len(self.fifo) < self.depth
            self.fifo.append(value)
        elif address == BASE + regs.IMSC:
            self.mask = value

    def drain(self, count: int = 16) -> None:
        """The line takes characters."""
        self.sent += self.fifo[:count]
        del self.fifo[:count]


def ring(monkeypatch: pytest.MonkeyPatch) -> Fifo:
    port = Fifo()
    monkeypatch.setattr(instructions, "BUS", port)
    SERIAL.base, SERIAL.driver, SERIAL.intid = BASE, 0, 33
    serial.serial_receive(True)
    serial.serial_queue(True)
    return port


def test_nobody_waits_and_nothing_is_lost_or_reordered(monkeypatch: pytest.MonkeyPatch) -> None:
    port = ring(monkeypatch)
    text = bytes(range(0x20, 0x7F)) * 10
    for c in text:
        serial.serial_put(c)
    assert port.looks <= len(text) and port.fifo == text[:16]
    assert port.mask == pl011.RECEIVE | pl011.SEND
    while port.mask & pl011.SEND:
        port.drain(8)
        serial.serial_drain()
    port.drain()
    assert port.sent == text and RING.lost == 0
    assert port.mask == pl011.RECEIVE


def test_a_full_ring_loses_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    ring(monkeypatch)
    for _ in range(RING_SIZE + 16 + 5):
        serial.serial_put(0x61)
    assert RING.lost == 5 and RING.head - RING.tail == RING_SIZE


def test_a_flush_waits_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    port = ring(monkeypatch)
    for c in b"x" * 16 + b"last words":
        serial.serial_put(c)
    port.depth = 1000
    serial.serial_flush()
    port.drain(1000)
    assert port.sent == b"x" * 16 + b"last words"
    serial.serial_put(0x21)
    assert port.fifo == b"!" and not RING.on


def test_a_port_without_interrupt_has_the_ring_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the FIFO does not take waits until the port is polled."""
    port = ring(monkeypatch)
    SERIAL.intid = 0
    serial.serial_queue(True)
    for c in b"x" * 16 + b"later":
        serial.serial_put(c)
    assert RING.on and RING.head - RING.tail == 5
    port.drain(1000)
    serial.serial_drain()
    port.drain(1000)
    assert port.sent == b"x" * 16 + b"later" and RING.head == RING.tail


def test_setup_turns_the_port_off_to_change_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    port = bus(monkeypatch, Port())
    pl011.pl011_setup(BASE)
    offsets = [offset for offset, _ in port.log]
    assert offsets.index(regs.CR) < offsets.index(regs.LCR_H) < len(offsets) - 1 - offsets[::-1].index(regs.CR)
    assert dict(port.log)[regs.IMSC] == 0
    assert dict(port.log)[regs.CR] & 1


def test_without_a_port_nothing_happens() -> None:
    serial.serial_write(View(b"x", 0, 1))
    serial.serial_receive(True)
    assert serial.serial_get() == (False, 0)
