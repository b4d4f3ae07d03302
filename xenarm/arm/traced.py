"""Tracing of exits and interrupts: functions that the second tables of vectors call, and the choice between the tables.

Each exit goes through the same functions as untraced, in the same order. Which table a CPU uses it decides itself when it is kicked.
"""

from freestanding import export, fn, u32, u64

from xenarm.arch import cpu_index, cpus_online
from xenarm.arm.hw import read_esr_el2
from xenarm.arm.short import DONE, timer_or_other_v2, timer_or_other_v3
from xenarm.arm.variant import vectors_choose
from xenarm.config import CONFIG
from xenarm.core.domain import Vcpu
from xenarm.core.result import Result
from xenarm.core.trace import CLASSES, TRACE, trace_attended, trace_exit_begin, trace_exit_end, trace_irq, trace_start
from xenarm.gic.controller import PPI_VIRTUAL_TIMER, gic_is_v3
from xenarm.gic.host import gic_kick_others

if CONFIG.ARM64:
    from xenarm.arm64.traced import vectors_trace
else:
    from xenarm.arm32.traced import vectors_trace

__all__ = ["SYNCHRONOUS", "tracing_attend", "tracing_switch", "tracing_vectors"]

NEEDS_VECTORS = CLASSES["exit"] | CLASSES["irq"]
SYNCHRONOUS = 0  # the reason is in the syndrome


@export("traced_begin")
def traced_begin(v: Vcpu, reason: u64) -> u64:
    """1 on a machine with a GICv3, else 0."""
    trace_exit_begin(v, read_esr_el2() >> 26 if reason == SYNCHRONOUS else reason)
    return u64(1) if gic_is_v3() else u64(0)


@export("traced_end")
def traced_end(v: Vcpu) -> None:
    trace_exit_end(v)


@export("traced_short_irq")
def traced_short_irq(v: Vcpu) -> u64:
    """`short_irq`, whose interrupt nobody else would note."""
    left = timer_or_other_v3(v) if CONFIG.GICV3 and gic_is_v3() else timer_or_other_v2(v)
    if left == DONE:
        trace_irq(PPI_VIRTUAL_TIMER, 0)
    return left


@fn(inline=True)
def tracing_attend() -> None:
    """On each kick: take notice of what is to be traced, if that has changed."""
    if CONFIG.TRACE and TRACE.news.load() != 0:
        take_notice()


@fn(inline=False)
def take_notice() -> None:
    changed, classes = trace_attended()
    if changed:
        if classes & NEEDS_VECTORS != 0:
            vectors_trace()
        else:
            vectors_choose(gic_is_v3())


@fn
def tracing_vectors() -> None:
    """The table that traces, where the CPU has been asked to trace by now."""
    if TRACE.classes.load() & NEEDS_VECTORS != 0:
        vectors_trace()


@fn
def tracing_switch(classes: u32) -> Result:
    """Have all CPUs trace these classes, and no others, from now on. NO_MEMORY: some CPU traces nothing."""
    result = trace_start(classes)
    gic_kick_others(cpus_online(), cpu_index())
    tracing_attend()
    return result
