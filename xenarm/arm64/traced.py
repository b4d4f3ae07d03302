"""The ways out of a guest while exits or interrupts are traced: a second table of vectors, so that the first one costs nothing for it.

Each exit goes through the same functions as untraced, in the same order. Which table a CPU uses it decides itself when it is kicked.
"""

from freestanding import assembly, export, fn, linker_symbol, u32, u64, usize

from xenarm.arch import cpu_index, cpus_online
from xenarm.arm64.instructions import instruction_sync
from xenarm.arm64.registers import read_esr_el2, write_vbar_el2
from xenarm.arm64.short import DONE, timer_or_other_v2, timer_or_other_v3
from xenarm.arm64.vectors import CALLEE_SAVED, LEAVE, SAVE, move_pairs, own_fault, vector, vectors_choose
from xenarm.config import CONFIG
from xenarm.core.domain import Vcpu
from xenarm.core.result import Result
from xenarm.core.trace import CLASSES, EXIT_FIQ, EXIT_IRQ, EXIT_SERROR, TRACE, trace_attended, trace_exit_begin, trace_exit_end, trace_irq, trace_start
from xenarm.gic.controller import PPI_VIRTUAL_TIMER, gic_is_v3
from xenarm.gic.host import gic_kick_others

__all__ = ["tracing_attend", "tracing_switch"]

TRACED_VECTORS = linker_symbol("traced_vectors")
NEEDS_VECTORS = CLASSES["exit"] | CLASSES["irq"]
SYNCHRONOUS = 0  # the reason is in ESR_EL2


def entry(reason: int, then: str) -> str:
    """A vector: x0 to x17 and x30 saved, so that any function may be called. Goes on with x0 = SP, x1 = what `traced_begin` says."""
    return vector(f"{SAVE}\n    mov x0, sp\n    mov x1, #{reason}\n    bl traced_begin\n    mov x1, x0\n    mov x0, sp\n    b {then}")


SHORT_SYNC_EITHER = """    cbnz x1, 1f
    bl short_sync_v2
    b 2f
1:  bl short_sync_v3
2:"""
SHORT_SYNC = SHORT_SYNC_EITHER if CONFIG.GICV2 and CONFIG.GICV3 else f"    bl short_sync_{'v2' if CONFIG.GICV2 else 'v3'}"


FROM_GUEST = [
    entry(SYNCHRONOUS, "traced_sync"),
    entry(EXIT_IRQ, "traced_irq"),
    entry(EXIT_FIQ, "traced_fiq"),
    entry(EXIT_SERROR, "traced_serror"),
]

CODE = f"""
    .section .vectors.text, "ax"
    .balign 2048
    .global traced_vectors
traced_vectors:
{8 * vector(own_fault())}
{"".join(2 * FROM_GUEST)}
    .section .text.trap, "ax"
traced_sync:
{SHORT_SYNC}
    cbz x0, traced_leave
    mov x0, sp
    bl trap_sync
    cbz x0, traced_leave
{move_pairs("stp", CALLEE_SAVED)}
    mov x0, sp
    mov x29, xzr
    bl trap_full
    mov x0, sp
    bl traced_end
    b guest_leave

traced_irq:
    bl traced_short_irq
    cbz x0, traced_leave
    mov x1, x0
    mov x0, sp
    bl trap_irq
    b traced_leave

traced_fiq:
    bl trap_fiq
    b traced_leave

traced_serror:
    bl trap_serror
traced_leave:
    mov x0, sp
    bl traced_end
{LEAVE}
"""

if CONFIG.TRACE:
    assembly(CODE, arch="aarch64")


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
    left = timer_or_other_v3(v) if gic_is_v3() else timer_or_other_v2(v)
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
            write_vbar_el2(u64(usize(TRACED_VECTORS)))
            instruction_sync()
        else:
            vectors_choose(gic_is_v3())


@fn
def tracing_switch(classes: u32) -> Result:
    """Have all CPUs trace these classes, and no others, from now on. NO_MEMORY: some CPU traces nothing."""
    result = trace_start(classes)
    gic_kick_others(cpus_online(), cpu_index())
    tracing_attend()
    return result
