"""The generic timer's virtual timer as a regular tick on the first CPU."""

from freestanding import Atomic, Struct, atomic, fn, u32, u64, zeroed
from guests.runtime.cpu import write_cntv_ctl_el0, write_cntv_cval_el0, counter
from guests.runtime.registers import TIMER_COMPATIBLE, TimerControl, read_cntfrq_el0
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, Fdt
from xenarm.devicetree.values import fdt_find_compatible, fdt_interrupt

__all__ = ["TICKS_PER_SECOND", "TIMER", "timer_init", "timer_ticks", "timer_tick"]

TICKS_PER_SECOND = 10
VIRTUAL = 2  # the order of interrupts in Linux's binding arm,arch_timer.yaml: secure, non-secure, virtual, hypervisor
RUN = int(TimerControl(ENABLE=True))


class Timer(Struct):
    """`intid` 0: the tree names no timer."""

    intid: u32
    period: u64  # of a tick, in steps of the counter
    next: u64
    ticks: Atomic[u64] = atomic(u64)


TIMER = zeroed(Timer)


@fn
def timer_init(fdt: Fdt) -> None:
    """Find the timer and start the tick."""
    node = fdt_find_compatible(fdt, TIMER_COMPATIBLE)
    if node == NO_NODE:
        return
    interrupt = fdt_interrupt(fdt, node, VIRTUAL)
    if interrupt.result != Result.OK:
        return
    TIMER.intid = interrupt.intid
    TIMER.period = max(read_cntfrq_el0() // TICKS_PER_SECOND, 1)
    TIMER.next = counter()
    timer_program()


@fn
def timer_program() -> None:
    TIMER.next += TIMER.period
    write_cntv_cval_el0(TIMER.next)
    write_cntv_ctl_el0(RUN)


@fn
def timer_tick() -> None:
    """On the timer's interrupt."""
    TIMER.ticks.fetch_add(1)
    now = counter()
    if now > TIMER.next + TIMER.period:  # ticks were missed: do not catch up
        TIMER.next = now
    timer_program()


@fn
def timer_ticks() -> u64:
    return TIMER.ticks.load()
