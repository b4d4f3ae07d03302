"""The timers' interrupts as the device tree has them: the image takes them for given (Linux's binding arm,arch_timer.yaml)."""

from freestanding import View, fn, u8, u32

from xenarm.core.log import log_error
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, Fdt
from xenarm.devicetree.values import Interrupts, fdt_find_compatible, fdt_interrupts, interrupts_entry
from xenarm.gic.controller import PPI_HYP_TIMER, PPI_VIRTUAL_TIMER

__all__ = ["timer_node_check"]

VIRTUAL = 2  # entries of `interrupts`: secure, non-secure, virtual, hypervisor
HYPERVISOR = 3


@fn
def agrees(fdt: Fdt, interrupts: Interrupts, entry: u32, taken: u32, symbol: View[u8]) -> bool:
    """An entry that is missing says nothing."""
    interrupt = interrupts_entry(fdt, interrupts, entry)
    if interrupt.result != Result.OK or interrupt.intid == taken:
        return True
    log_error(f"timer: interrupts: entry {entry} is {interrupt.intid}, this image takes {taken}; build it with CONFIG_{symbol}={interrupt.intid}")
    return False


@fn
def timer_node_check(fdt: Fdt) -> Result:
    """INVALID: the timers' interrupts would not be seen."""
    node = fdt_find_compatible(fdt, b"arm,armv8-timer")
    if node == NO_NODE:
        node = fdt_find_compatible(fdt, b"arm,armv7-timer")
    if node == NO_NODE:
        return Result.OK
    interrupts = fdt_interrupts(fdt, node)
    sound = agrees(fdt, interrupts, VIRTUAL, PPI_VIRTUAL_TIMER, b"PPI_VIRTUAL_TIMER") and agrees(fdt, interrupts, HYPERVISOR, PPI_HYP_TIMER, b"PPI_HYP_TIMER")
    return Result.OK if sound else Result.INVALID
