"""The ways out of a guest while exits or interrupts are traced: a second table of vectors, so that the first one costs nothing for it."""

from freestanding import assembly, fn, linker_symbol, u64

from xenarm.arm.instructions import instruction_sync
from xenarm.arm32.registers import write_hvbar
from xenarm.arm32.vectors import LEAVE, SAVE, TABLES, entry_table, own_table, stores_repaired, table_kind
from xenarm.config import CONFIG
from xenarm.core.trace import EXIT_FIQ, EXIT_IRQ

__all__ = ["vectors_trace"]

traced_vectors = table_kind(*(linker_symbol(f"traced_{kind}vectors") for kind in ("", "stores_", "icache_", "icache_stores_", "predictor_")))
SYNCHRONOUS = 0  # the reason is in HSR


def begin(reason: int) -> str:
    """All registers saved, and the exit noted; goes on with r0 = SP."""
    return f"{SAVE}\n{saved(reason)}"


def saved(reason: int) -> str:
    return f"    mov r0, sp\n    mov r2, #{reason}\n    mov r3, #0\n    bl traced_begin\n    mov r0, sp"


CODE = f"""
    .section .vectors.text, "ax"
    .arch_extension virt
{entry_table("traced_vectors", "traced_trap", "traced_irq", "traced_fiq")}
{"".join(own_table(name, "traced_", "traced") for name in TABLES)}
{stores_repaired("traced", SAVE)}
traced_trap:
{SAVE}
traced_trap_saved:
{saved(SYNCHRONOUS)}
    bl short_sync_v2
    orrs r0, r0, r1
    beq traced_leave
    mov r0, sp
    bl trap_sync
    orrs r0, r0, r1
    beq traced_leave
    mov r0, sp
    bl trap_full
traced_leave:
    mov r0, sp
    bl traced_end
{LEAVE}

traced_irq:
{begin(EXIT_IRQ)}
    bl traced_short_irq
    orrs r2, r0, r1
    beq traced_leave
    mov r2, r0
    mov r3, r1
    mov r0, sp
    bl trap_irq
    b traced_leave

traced_fiq:
{begin(EXIT_FIQ)}
    bl trap_fiq
    b traced_leave
"""

if CONFIG.TRACE:
    assembly(CODE, arch="armv7")


@fn
def vectors_trace() -> None:
    """This CPU's exits are traced from now on."""
    write_hvbar(u64(traced_vectors()))
    instruction_sync()
