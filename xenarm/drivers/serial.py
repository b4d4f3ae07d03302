"""The one physical serial port: found by `stdout-path`, driven through a table of drivers keyed by `compatible`.

Nothing here locks: `core/log.py` owns the lock of the terminal.
"""

from collections.abc import Callable

from freestanding import Struct, View, fn, table, u8, u32, u64, zeroed
from xenarm.config import CONFIG
from xenarm.core.addresses import MACHINE_END
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, Fdt, Node
from xenarm.devicetree.values import fdt_compatible, fdt_find_compatible, fdt_interrupt, fdt_reg, fdt_stdout
from xenarm.drivers.pl011 import PATIENCE, pl011_get, pl011_put, pl011_receive, pl011_setup, sbsa_setup

__all__ = [
    "SERIAL",
    "SERIAL_SIZE",
    "serial_attach",
    "serial_find",
    "serial_get",
    "serial_put",
    "serial_receive",
    "serial_rescue",
    "serial_setup",
    "serial_write",
]


class SerialDriver(Struct, frozen=True):
    """What a port's driver can do; every function takes the base of its registers."""

    compatible: View[u8]
    setup: Callable[[u64], None]
    put: Callable[[u64, u8, u32], bool]
    get: Callable[[u64], tuple[bool, u8]]
    receive: Callable[[u64, bool], None]


class Serial(Struct):
    """The port in use; none as long as `base` is 0."""

    base: u64
    driver: u32  # row of SERIAL_DRIVERS
    intid: u32  # its interrupt, 0 for none
    stuck: bool  # it took no character for too long, and what does not fit is lost until it takes one again


SERIAL = zeroed(Serial)
SERIAL_SIZE = 0x1000  # of the registers of every port in the table
SERIAL_DRIVERS = table(
    SerialDriver,
    [
        SerialDriver(b"arm,pl011", pl011_setup, pl011_put, pl011_get, pl011_receive),
        SerialDriver(b"arm,sbsa-uart", sbsa_setup, pl011_put, pl011_get, pl011_receive),
    ],
)


@fn
def driver_of(fdt: Fdt, node: Node) -> tuple[bool, u32]:
    for i, driver in enumerate(SERIAL_DRIVERS):
        if fdt_compatible(fdt, node, driver.compatible):
            return True, u32(i)
    return False, 0


@fn
def serial_find(fdt: Fdt) -> Result:
    """Look up the console's port: NOT_FOUND without `stdout-path`, DENIED without a driver, INVALID without `reg`.

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
    if place.result != Result.OK or place.base == 0 or place.base > MACHINE_END - SERIAL_SIZE:
        return Result.INVALID
    interrupt = fdt_interrupt(fdt, node, 0)
    SERIAL.intid = interrupt.intid
    serial_attach(place.base, driver)
    return Result.OK


@fn
def serial_attach(base: u64, driver: u32) -> None:
    """Make the port at `base` the console. Its registers must be mapped before `serial_setup`."""
    SERIAL.base = base
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
def serial_put(character: u8) -> None:
    """Send one character as it is; nowhere without a port. A port that has stopped costs the wait only once."""
    if SERIAL.base != 0:
        patience = u32(1) if SERIAL.stuck else u32(PATIENCE)
        SERIAL.stuck = not SERIAL_DRIVERS[SERIAL.driver].put(SERIAL.base, character, patience)


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
        SERIAL_DRIVERS[SERIAL.driver].receive(SERIAL.base, on)
