"""The ways out of a guest while exits or interrupts are traced: a second table of vectors, so that the first one costs nothing for it.

Each exit goes through the same functions as untraced, in the same order. Which table a CPU uses it decides itself when it is kicked.
"""

from freestanding import assembly, fn, linker_symbol, u64, usize

from xenarm.arm.instructions import instruction_sync
from xenarm.arm.short import NOT_HERE_BIT
from xenarm.arm64.registers import write_vbar_el2
from xenarm.arm64.vectors import CALL, CALLEE_SAVED, LEAVE, LOOP, SAVE, Harden, harden_here, move_pairs, own_fault, table_part, vector
from xenarm.config import CONFIG
from xenarm.core.trace import EXIT_FIQ, EXIT_IRQ, EXIT_SERROR

__all__ = ["vectors_trace"]

TRACED_VECTORS = linker_symbol("traced_vectors")
TRACED_LOOP_VECTORS = linker_symbol("traced_loop_vectors")
TRACED_CALL_VECTORS = linker_symbol("traced_call_vectors")
SYNCHRONOUS = 0  # the reason is in ESR_EL2


def entry(reason: int, then: str, harden: str) -> str:
    """A vector: x0 to x17 and x30 saved, so that any function may be called. Goes on with x0 = SP, x1 = what `traced_begin` says."""
    return vector(f"{SAVE}{harden}\n    mov x0, sp\n    mov x1, #{reason}\n    bl traced_begin\n    mov x1, x0\n    mov x0, sp\n    b {then}")


SHORT_SYNC_EITHER = """    cbnz x1, 1f
    bl short_sync_v2
    b 2f
1:  bl short_sync_v3
2:"""
SHORT_SYNC = SHORT_SYNC_EITHER if CONFIG.GICV2 and CONFIG.GICV3 else f"    bl short_sync_{'v2' if CONFIG.GICV2 else 'v3'}"


def traced_table(label: str, part: str, harden: str = "") -> str:
    from_guest = [
        entry(SYNCHRONOUS, "traced_sync", harden),
        entry(EXIT_IRQ, "traced_irq", harden),
        entry(EXIT_FIQ, "traced_fiq", harden),
        entry(EXIT_SERROR, "traced_serror", harden),
    ]
    entries = [*8 * [vector(own_fault())], *from_guest, entry(SYNCHRONOUS, "traced_full", harden), *from_guest[1:]]
    return table_part(label, part, entries)


HARDENED_TABLES = f"""
{traced_table("traced_loop_vectors", "traced_loop", LOOP)}
{traced_table("traced_call_vectors", "traced_call", CALL)}
"""

CODE = f"""
{traced_table("traced_vectors", "traced")}
{HARDENED_TABLES if CONFIG.HARDEN_BRANCH_PREDICTOR else ""}
    .section .text.trap, "ax"
traced_sync:
{SHORT_SYNC}
    cbz x0, traced_leave
    tbz x0, #{NOT_HERE_BIT}, traced_rest
    mov x0, sp
    bl trap_sync
    cbz x0, traced_leave
traced_full:
{move_pairs("stp", CALLEE_SAVED)}
    mov x0, sp
    mov x29, xzr
    bl trap_full
    mov x0, sp
    bl traced_end
    b guest_leave

traced_rest:
    mov x1, x0
    mov x0, sp
    bl guest_rest
    b traced_leave

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


@fn
def vectors_trace() -> None:
    """This CPU's exits are traced from now on."""
    how = harden_here()
    if CONFIG.HARDEN_BRANCH_PREDICTOR and how != Harden.NONE:
        write_vbar_el2(u64(usize(TRACED_LOOP_VECTORS) if how == Harden.LOOP else usize(TRACED_CALL_VECTORS)))
    else:
        write_vbar_el2(u64(usize(TRACED_VECTORS)))
    instruction_sync()
