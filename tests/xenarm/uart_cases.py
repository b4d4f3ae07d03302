"""Every serial driver against a model of its port: polled, by interrupts, with a port that stops, with more input than it takes.

`test_uarts.py` runs these in a configuration that has all drivers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freestanding import View, zeroed
from tests.xenarm import uart_models as models
from tests.xenarm.trees import compile_source
from xenarm.arm import instructions
from xenarm.core.result import Result
from xenarm.devicetree.reader import Fdt, FdtError, fdt_open
from xenarm.drivers import ns16550, serial
from xenarm.drivers.serial import RING, SERIAL

BASE = 0x9000000

PORTS: dict[str, tuple[str, Callable[[], models.Uart]]] = {
    "pl011": ('compatible = "arm,pl011";', lambda: models.Pl011(BASE)),
    "sbsa": ('compatible = "arm,sbsa-uart";', lambda: models.Sbsa(BASE)),
    "16550": ('compatible = "ns16550a";', lambda: models.Ns16550(BASE)),
    "16550 without FIFOs": ('compatible = "ns16550";', lambda: models.Ns16550(BASE, fifos=False)),
    "designware": (
        'compatible = "allwinner,sun7i-a20-uart", "snps,dw-apb-uart"; reg-shift = <2>; reg-io-width = <4>;',
        lambda: models.Ns16550(BASE, 2, 4, designware=True),
    ),
    "omap": ('compatible = "ti,omap4-uart";', lambda: models.Omap(BASE)),
    "omap without FIFOs": ('compatible = "ti,omap2-uart";', lambda: models.Omap(BASE, fifos=False)),
    "bcm2835": ('compatible = "brcm,bcm2835-aux-uart";', lambda: models.Ns16550(BASE, 2, 4)),
    "cadence": ('compatible = "cdns,uart-r1p12", "xlnx,xuartps";', lambda: models.Cadence(BASE)),
    "exynos": ('compatible = "samsung,exynos4210-uart";', lambda: models.Exynos(BASE)),
    "scif": ('compatible = "renesas,scif-r8a7790", "renesas,rcar-gen2-scif", "renesas,scif";', lambda: models.Scif(BASE)),
    "hscif": ('compatible = "renesas,hscif";', lambda: models.Hscif(BASE)),
    "scifa": ('compatible = "renesas,scifa";', lambda: models.Scifa(BASE)),
}


def tree(properties: str) -> Fdt:
    blob = compile_source(f"""/dts-v1/;
    / {{ #address-cells = <1>; #size-cells = <1>; interrupt-parent = <&gic>;
        chosen {{ stdout-path = "/serial@{BASE:x}"; }};
        gic: gic@8000000 {{ #interrupt-cells = <3>; interrupt-controller; reg = <0x8000000 0x1000>; }};
        serial@{BASE:x} {{ {properties} reg = <{BASE:#x} 0x1000>; interrupts = <0 1 4>; }};
    }};""")
    made = zeroed(Fdt)
    assert fdt_open(made, View(blob, 0, len(blob))) == FdtError.NONE
    return made


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    SERIAL.base = SERIAL.intid = 0
    SERIAL.stuck = False
    RING.on, RING.head, RING.tail, RING.lost = False, 0, 0, 0


@pytest.fixture(params=PORTS)
def port(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> models.Uart:
    """A port that the boot has found and set up."""
    return start(request.param, monkeypatch)


def start(name: str, monkeypatch: pytest.MonkeyPatch) -> models.Uart:
    properties, make = PORTS[name]
    made = make()
    monkeypatch.setattr(instructions, "BUS", made)
    RING.on, RING.head, RING.tail, RING.lost = False, 0, 0, 0
    assert serial.serial_find(tree(properties)) == Result.OK
    serial.serial_setup()
    return made


def service(port: models.Uart, got: bytearray, most: int = 100) -> None:
    """The interrupt's handler as the console has it, for as long as the line is high. It must fall."""
    for _ in range(most):
        if not port.irq():
            return
        serial.serial_acknowledge()
        serial.serial_drain()
        while True:
            there, character = serial.serial_get()
            if not there:
                break
            got.append(int(character))
    raise AssertionError("the interrupt never ends")


def test_polled_output(port: models.Uart) -> None:
    text = bytes(range(256)) * 2
    for c in text:
        serial.serial_put(c)
        port.send()  # the line is as fast as the CPU
    port.send(1000)
    assert port.line == text and not port.irq()


def test_nothing_is_written_to_a_full_port(port: models.Uart) -> None:
    """The model fails when it is; a port that has stopped costs the whole wait only once."""
    port.stopped = True
    for c in range(150):
        serial.serial_put(c & 0x7F)
    waited = port.looks
    assert SERIAL.stuck
    serial.serial_put(0x41)
    assert port.looks - waited < 10
    kept = bytes(port.tx)
    port.stopped = False
    port.send(1000)
    serial.serial_put(0x42)
    port.send(1000)
    assert not SERIAL.stuck and port.line == kept + b"B"


def test_interrupts_are_off_until_asked_for(port: models.Uart) -> None:
    port.receive(b"x")
    assert not port.irq()
    serial.serial_receive(True)
    got = bytearray()
    service(port, got)
    assert got == b"x"
    port.receive(b"yz")
    serial.serial_receive(False)
    assert not port.irq()


@pytest.mark.parametrize("name", PORTS)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=20), st.integers(0, 30)), max_size=25))
def test_by_interrupts_nothing_is_lost_or_reordered(
    monkeypatch: pytest.MonkeyPatch, name: str, steps: list[tuple[bytes, bytes, int]]
) -> None:
    """Output of any amounts, input in between, a line of any speed: all arrives, in order, and each interrupt ends."""
    port = start(name, monkeypatch)
    serial.serial_receive(True)
    serial.serial_queue(True)
    said, heard, got = bytearray(), bytearray(), bytearray()
    for out, come, speed in steps:
        for c in out:
            serial.serial_put(c)
        said += out
        come = come[: 1 if "without" in name else port.depth]
        port.receive(come)
        heard += come
        for _ in range(speed):
            port.send()
            service(port, got)
        service(port, got)
    while RING.head != RING.tail or port.tx:
        port.send()
        service(port, got)
    assert port.line == said and got == heard and RING.lost == 0 and port.overruns == 0
    assert not port.irq(), "a port with nothing to do is quiet"


def test_more_input_than_the_port_takes(port: models.Uart) -> None:
    """What was there first is kept, and the port goes on afterwards."""
    serial.serial_receive(True)
    port.receive(bytes(range(200)))
    got = bytearray()
    service(port, got)
    assert got == bytes(range(min(200, port.depth)))
    port.receive(b"more")
    service(port, got)
    assert got.endswith(b"more")


def test_what_firmware_is_sending_goes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The set-up waits for the transmitter, so that the boot loader's last words are not cut."""

    class Slow(models.Cadence):
        def load(self, register: int) -> int:
            if register == self.SR:
                self.send()
            return super().load(register)

    port = Slow(BASE)
    port.cr = 0x14
    port.tx += b"starting kernel\n"
    monkeypatch.setattr(instructions, "BUS", port)
    assert serial.serial_find(tree(PORTS["cadence"][0])) == Result.OK
    serial.serial_setup()
    assert port.line == b"starting kernel\n"


def test_designwares_own_interrupts_end(monkeypatch: pytest.MonkeyPatch) -> None:
    port = start("designware", monkeypatch)
    assert isinstance(port, models.Ns16550)
    serial.serial_receive(True)
    got = bytearray()
    port.busy_detected = True
    service(port, got)
    port.timeout = True
    service(port, got)
    assert got == b""


@pytest.mark.parametrize("properties", ["reg-shift = <4>;", "reg-io-width = <2>;", "reg-io-width = <8>;"])
def test_a_node_that_makes_no_sense(properties: str) -> None:
    assert serial.serial_find(tree(f'compatible = "ns16550a"; {properties}')) == Result.INVALID
    assert SERIAL.base == 0


def test_omap_port_is_turned_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """And tells of an empty transmitter, not of one with some room: of that the driver makes no use, and the interrupt would not end."""
    port = start("omap", monkeypatch)
    assert isinstance(port, models.Omap) and port.mdr1 == 0 and port.scr & 8
    assert ns16550.PORT.depth == 16
    start("omap without FIFOs", monkeypatch)
    assert ns16550.PORT.depth == 1


@pytest.mark.parametrize("left", [0x83, 0x1B])
def test_designwares_line_control_is_set_however_busy_it_is(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    """Somebody types while the port is set up, and the firmware has left something else."""
    port = models.Ns16550(BASE, 2, 4, designware=True)
    port.lcr, port.receiving, port.rx, port.marks = left, 20, bytearray(b"x"), [""]
    monkeypatch.setattr(instructions, "BUS", port)
    assert serial.serial_find(tree(PORTS["designware"][0])) == Result.OK
    serial.serial_setup()
    assert port.lcr == 3 and not port.irq()


@pytest.mark.parametrize("error", ["break", "frame", "parity"])
def test_a_character_with_an_error_stops_nothing(port: models.Uart, error: str) -> None:
    """It is received, as zero or whatever it became; the interrupt ends, and those after it come too."""
    serial.serial_receive(True)
    got = bytearray()
    for data, fault in ((b"a", ""), (b"\0" if error == "break" else b"b", error), (b"c", "")):
        port.receive(data, fault)
        service(port, got)
    assert got == (b"a\0c" if error == "break" else b"abc")
    port.receive(b"\0", "break")  # more of them than are looked at one by one
    port.receive(b"\0", "break")
    service(port, got)
    port.receive(b"d")
    service(port, got)
    assert got.endswith(b"d") and not port.irq()


def test_too_much_input_while_something_is_sent(port: models.Uart) -> None:
    """All of the output goes out in order, and input is received afterwards."""
    serial.serial_receive(True)
    serial.serial_queue(True)
    text, got = bytes(range(32, 127)) * 2, bytearray()
    for c in text:
        serial.serial_put(c)
    port.receive(bytes(200))
    for _ in range(len(text) + 10):
        port.send()
        service(port, got)
    assert port.line == text and port.overruns and RING.head == RING.tail
    port.receive(b"z")
    service(port, got)
    assert got.endswith(b"z") and not port.irq()
