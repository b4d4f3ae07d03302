"""The one physical serial port: found by `stdout-path`, driven through a table of drivers keyed by `compatible`.

Output waits in a ring until the transmitter's interrupt has room for it, so that nobody waits for the line; early in the boot and in a
panic it is sent at once. The lock of the terminal, which `core/log.py` owns, guards the ring; here only the interrupt mask has one, a leaf.
"""

from collections.abc import Callable

from freestanding import Struct, View, array, fn, place, table, u8, u32, u64, zeroed
from xenarm.config import CONFIG
from xenarm.core.addresses import machine_has_device
from xenarm.core.result import Result
from xenarm.core.spinlock import Spinlock
from xenarm.devicetree.reader import NO_NODE, Fdt, Node
from xenarm.devicetree.values import fdt_compatible, fdt_find_compatible, fdt_interrupt, fdt_reg, fdt_stdout
from xenarm.drivers.cadence import cadence_acknowledge, cadence_get, cadence_interrupts, cadence_put, cadence_setup
from xenarm.drivers.exynos4210 import exynos_acknowledge, exynos_get, exynos_interrupts, exynos_put, exynos_setup
from xenarm.drivers.line import PATIENCE
from xenarm.drivers.ns16550 import ns16550_acknowledge, ns16550_describe, ns16550_get, ns16550_interrupts, ns16550_put, ns16550_setup
from xenarm.drivers.pl011 import pl011_acknowledge, pl011_get, pl011_interrupts, pl011_put, pl011_setup, sbsa_setup
from xenarm.drivers.scif import scif
from xenarm.drivers.scif_registers import HSCIF, SCIF, SCIFA, Kind

__all__ = [
    "RING",
    "RING_SIZE",
    "SERIAL",
    "SERIAL_DRIVERS",
    "SERIAL_SIZE",
    "serial_acknowledge",
    "serial_attach",
    "serial_drain",
    "serial_find",
    "serial_flush",
    "serial_get",
    "serial_put",
    "serial_queue",
    "serial_receive",
    "serial_rescue",
    "serial_setup",
    "serial_write",
]


RING_SIZE: int = CONFIG.SERIAL_RING_SIZE
assert RING_SIZE & (RING_SIZE - 1) == 0, "CONFIG_SERIAL_RING_SIZE must be a power of two"


class SerialDriver(Struct, frozen=True):
    """What a port's driver can do; but for `describe`, every function takes the base of its registers.

    `put` looks so many times for room; `acknowledge` comes first in each interrupt, before the FIFOs are looked at.
    """

    compatible: View[u8]
    describe: Callable[[Fdt, Node], bool]  # read what the node says beside `reg`; False: it makes no sense
    setup: Callable[[u64], None]
    put: Callable[[u64, u8, u32], bool]
    get: Callable[[u64], tuple[bool, u8]]
    interrupts: Callable[[u64, bool, bool], None]
    acknowledge: Callable[[u64], None]


class Serial(Struct):
    """The port in use; none as long as `base` is 0."""

    base: u64  # where EL2 has it, once it is mapped
    machine: u64
    size: u64
    driver: u32  # row of SERIAL_DRIVERS
    intid: u32  # its interrupt, 0 for none
    stuck: bool  # it took no character for too long, and what does not fit is lost until it takes one again


class Ring(Struct):
    """Output that the port has not taken yet: `tail` up to `head`, both counted from the start."""

    on: bool  # the port's interrupts are handled
    head: u64
    tail: u64
    lost: u64  # characters that found no room


class Mask(Struct):
    """Which interrupts the port has."""

    lock: Spinlock
    receive: bool
    send: bool


RING = zeroed(Ring)
RING_TEXT = place(array(u8, RING_SIZE), section=".bss.0raw" if RING_SIZE >= 4096 else "")  # a large one is worth not being cleared
MASK = zeroed(Mask)
SERIAL = zeroed(Serial)
SERIAL_SIZE = 0x1000  # of the registers of every port in the table


@fn
def nothing_else(fdt: Fdt, node: Node) -> bool:
    """The node of most ports says nothing beside `reg`."""
    return True


def pl011(compatible: bytes, setup: Callable[[u64], None]) -> SerialDriver:
    return SerialDriver(compatible, nothing_else, setup, pl011_put, pl011_get, pl011_interrupts, pl011_acknowledge)


def ns16550(compatible: bytes) -> SerialDriver:
    return SerialDriver(
        compatible, ns16550_describe, ns16550_setup, ns16550_put, ns16550_get, ns16550_interrupts, ns16550_acknowledge
    )


def cadence(compatible: bytes) -> SerialDriver:
    return SerialDriver(compatible, nothing_else, cadence_setup, cadence_put, cadence_get, cadence_interrupts, cadence_acknowledge)


def exynos(compatible: bytes) -> SerialDriver:
    return SerialDriver(compatible, nothing_else, exynos_setup, exynos_put, exynos_get, exynos_interrupts, exynos_acknowledge)


def renesas(compatible: bytes, kind: Kind) -> SerialDriver:
    f = scif(kind)
    return SerialDriver(compatible, nothing_else, f.setup, f.put, f.get, f.interrupts, f.acknowledge)


NS16550_KIN = (
    b"ns16550a",
    b"ns16550",
    b"snps,dw-apb-uart",
    b"ti,omap4-uart",
    b"ti,omap3-uart",
    b"ti,omap2-uart",
    b"brcm,bcm2835-aux-uart",
)
SERIAL_DRIVERS = table(
    SerialDriver,
    [
        *([pl011(b"arm,pl011", pl011_setup), pl011(b"arm,sbsa-uart", sbsa_setup)] if CONFIG.UART_PL011 else []),
        *([ns16550(name) for name in NS16550_KIN] if CONFIG.UART_NS16550 else []),
        *([cadence(b"cdns,uart-r1p12"), cadence(b"cdns,uart-r1p8"), cadence(b"xlnx,xuartps")] if CONFIG.UART_CADENCE else []),
        *([exynos(b"samsung,exynos4210-uart")] if CONFIG.UART_EXYNOS4210 else []),
        *([renesas(b"renesas,scif", SCIF), renesas(b"renesas,hscif", HSCIF), renesas(b"renesas,scifa", SCIFA)] if CONFIG.UART_SCIF else []),
    ],
)
"""By `compatible`. What the configuration leaves out is not reachable from here, and so not in the image."""


@fn
def driver_of(fdt: Fdt, node: Node) -> tuple[bool, u32]:
    for i, driver in enumerate(SERIAL_DRIVERS):
        if fdt_compatible(fdt, node, driver.compatible):
            return True, u32(i)
    return False, 0


@fn
def serial_find(fdt: Fdt) -> Result:
    """Look up the console's port: NOT_FOUND without `stdout-path`, DENIED without a driver, INVALID without a sound `reg`.

    When the tree names none, the first port that there is a driver for is used. Not when it names one that we cannot
    drive: some other port's clock may be off, and touching it could hang the bus.
    """
    result = use(fdt, fdt_stdout(fdt))
    if result == Result.NOT_FOUND:
        for driver in SERIAL_DRIVERS:
            if use(fdt, fdt_find_compatible(fdt, driver.compatible)) == Result.OK:
                return result
    return result


@fn
def use(fdt: Fdt, node: Node) -> Result:
    """Make the port of a node the console."""
    if node == NO_NODE:
        return Result.NOT_FOUND
    known, driver = driver_of(fdt, node)
    if not known:
        return Result.DENIED
    place = fdt_reg(fdt, node, 0)
    if not SERIAL_DRIVERS[driver].describe(fdt, node):
        return Result.INVALID
    if place.result != Result.OK or not machine_has_device(place.base, SERIAL_SIZE):
        return Result.INVALID
    interrupt = fdt_interrupt(fdt, node, 0)
    SERIAL.intid = interrupt.intid
    serial_attach(place.base, driver)
    SERIAL.size = place.size
    return Result.OK


@fn
def serial_attach(base: u64, driver: u32) -> None:
    """Make the port at `base` the console. Its registers must be mapped before `serial_setup`."""
    SERIAL.base = base
    SERIAL.machine = base
    SERIAL.driver = driver


@fn
def serial_setup() -> None:
    """Bring the port into a known state."""
    if SERIAL.base != 0:
        SERIAL_DRIVERS[SERIAL.driver].setup(SERIAL.base)


@fn
def serial_rescue() -> None:
    """The board's own port, for when there is no device tree that could name one."""
    if CONFIG.RESCUE_UART != 0 and SERIAL.base == 0:
        serial_attach(CONFIG.RESCUE_UART, 0)


@fn
def send_now(character: u8) -> None:
    """Wait for the port. One that has stopped costs the wait only once."""
    patience = u32(1) if SERIAL.stuck else u32(PATIENCE)
    SERIAL.stuck = not SERIAL_DRIVERS[SERIAL.driver].put(SERIAL.base, character, patience)


@fn
def offer(character: u8) -> bool:
    """Whether the port takes a character without a wait."""
    return SERIAL_DRIVERS[SERIAL.driver].put(SERIAL.base, character, 1)


@fn
def serial_put(character: u8) -> None:
    """Send one character as it is, in its turn; nowhere without a port, and lost when the ring is full."""
    if SERIAL.base == 0:
        return
    if not RING.on:
        send_now(character)
    elif RING.head != RING.tail or not offer(character):
        push(character)


@fn
def push(character: u8) -> None:
    if RING.head - RING.tail == RING_SIZE:
        RING.lost += 1
        return
    RING_TEXT[RING.head & (RING_SIZE - 1)] = character
    RING.head += 1
    if RING.head - RING.tail == 1:
        switch_interrupt(False, True)


@fn
def serial_acknowledge() -> None:
    """The port's interrupt has come. The lock of the terminal is held."""
    if SERIAL.base != 0:
        SERIAL_DRIVERS[SERIAL.driver].acknowledge(SERIAL.base)


@fn
def serial_drain() -> None:
    """Fill the port's FIFO from the ring. The lock of the terminal is held."""
    if SERIAL.base == 0 or RING.head == RING.tail:
        return
    while RING.tail < RING.head and offer(RING_TEXT[RING.tail & (RING_SIZE - 1)]):
        RING.tail += 1
    if RING.head == RING.tail:
        switch_interrupt(False, False)


@fn
def serial_queue(on: bool) -> None:
    """Let output wait in the ring, from the moment that the port's interrupt is handled, or a port without one is polled."""
    RING.on = on


@fn
def serial_flush() -> None:
    """Before the machine ends, and in a panic: send what waits, and wait for the port from now on."""
    RING.on = False
    if SERIAL.base != 0:
        while RING.tail < RING.head:
            send_now(RING_TEXT[RING.tail & (RING_SIZE - 1)])
            RING.tail += 1


@fn
def serial_write(text: View[u8]) -> None:
    """Send text, with the carriage return that a terminal wants before a line feed."""
    for character in text:
        if character == 0x0A:
            serial_put(0x0D)
        serial_put(character)


@fn
def serial_get() -> tuple[bool, u8]:
    """(True, a character received), or (False, 0)."""
    if SERIAL.base == 0:
        return False, 0
    return SERIAL_DRIVERS[SERIAL.driver].get(SERIAL.base)


@fn
def serial_receive(on: bool) -> None:
    """Let the port interrupt when it has received something, or not."""
    if SERIAL.base != 0:
        switch_interrupt(True, on)


@fn
def switch_interrupt(receiver: bool, on: bool) -> None:
    """The receiver's or the transmitter's; the other stays."""
    with MASK.lock:
        if receiver:
            MASK.receive = on
        else:
            MASK.send = on
        SERIAL_DRIVERS[SERIAL.driver].interrupts(SERIAL.base, MASK.receive, MASK.send)
