"""The guest's serial port, a PL011 or its SBSA subset: the one that `stdout-path` names, or else the first in the tree.

Xen's dom0less trees have no `stdout-path`.
"""

from freestanding import Atomic, Array, Printer, Struct, View, array, atomic, fn, u8, u32, u64, wrapping_add, zeroed
from guests.runtime.cpu import interrupts_off, interrupts_on
from xenarm.arm.instructions import wait_for_interrupt
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, Fdt, Node
from xenarm.devicetree.values import fdt_compatible, fdt_find_compatible, fdt_interrupt, fdt_reg, fdt_stdout
from xenarm.drivers.pl011 import pl011_get, pl011_interrupts, pl011_put, pl011_setup, sbsa_setup

__all__ = ["CONSOLE", "console_init", "console_input", "console_receive", "console_write", "printk", "say"]

INPUT_SIZE = 256
assert INPUT_SIZE & (INPUT_SIZE - 1) == 0, "indices wrap around"


class Console(Struct):
    """The port, and what was typed and not yet read. `base` 0: there is none, and output goes nowhere."""

    base: u64
    intid: u32  # 0: none, and nothing can be typed
    node: Node
    written: Atomic[u32] = atomic(u32)
    read: Atomic[u32] = atomic(u32)
    input: Array[u8] = array(u8, INPUT_SIZE)


CONSOLE = zeroed(Console)


@fn
def console_node(fdt: Fdt) -> Node:
    node = fdt_stdout(fdt)
    if node == NO_NODE:
        node = fdt_find_compatible(fdt, b"arm,sbsa-uart")
    return fdt_find_compatible(fdt, b"arm,pl011") if node == NO_NODE else node


@fn
def console_init(fdt: Fdt) -> None:
    """Find the port and set it up. Without one the guest stays silent."""
    node = console_node(fdt)
    if node == NO_NODE:
        return
    place = fdt_reg(fdt, node, 0)
    primecell = fdt_compatible(fdt, node, b"arm,pl011")
    if place.result != Result.OK or not (primecell or fdt_compatible(fdt, node, b"arm,sbsa-uart")):
        return
    CONSOLE.base = place.base
    CONSOLE.node = node
    if primecell:
        pl011_setup(place.base)
    else:
        sbsa_setup(place.base)
    interrupt = fdt_interrupt(fdt, node, 0)
    if interrupt.result == Result.OK:
        CONSOLE.intid = interrupt.intid
        pl011_interrupts(place.base, True, False)


@fn
def console_write(text: View[u8]) -> None:
    if CONSOLE.base != 0:
        for character in text:
            pl011_put(CONSOLE.base, character)


@fn
def console_receive() -> None:
    """On the port's interrupt: take what has come. When nobody reads, the newest is lost."""
    for _ in range(INPUT_SIZE):
        present, character = pl011_get(CONSOLE.base)
        if not present:
            return
        at = CONSOLE.written.load()
        if at - CONSOLE.read.load() < INPUT_SIZE:
            CONSOLE.input[at & (INPUT_SIZE - 1)] = character
            CONSOLE.written.store_release(wrapping_add(at, u32(1)))


@fn
def console_input() -> u8:
    """The next character, waited for with the CPU asleep."""
    at = CONSOLE.read.load()
    interrupts_off()
    while CONSOLE.written.load_acquire() == at:
        wait_for_interrupt()  # a pending interrupt ends it though masked (Arm ARM D1.7.2)
        interrupts_on()
        interrupts_off()
    interrupts_on()
    character = CONSOLE.input[at & (INPUT_SIZE - 1)]
    CONSOLE.read.store_release(wrapping_add(at, u32(1)))
    return character


@fn
def begin() -> None:
    pass


@fn
def end() -> None:
    console_write(b"\r\n")


printk = Printer(begin, console_write, end)
"""A line."""
say = Printer(begin, console_write, begin)
"""Text without a line's end."""
