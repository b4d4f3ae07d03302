"""ARMv7's part of `access.py`: the guarded loads and stores, and the vectors that go on behind them.

The vectors are those of the runtime but for data aborts: one in `walk_guarded` is counted in TPIDRURO and skipped. What they change is free in a called function.
"""

import guests.runtime.head  # noqa: F401  # its vectors
from freestanding import assembly
from xenarm.arm32.registers import Reader, Writer, coprocessor, reader, writer

__all__ = ["read_skipped", "write_skipped", "write_vectors"]

DATA_ABORT = 4  # of the eight vectors
IRQ = 6
UNUSED = 5
LOADS = ("ldrb r0, [r0]", "ldrh r0, [r0]", "ldr r0, [r0]", "ldrd r0, r1, [r0]")
STORES = ("strb r2, [r0]", "strh r2, [r0]", "str r2, [r0]", "strd r2, r3, [r0]")


def by_width(instructions: tuple[str, ...], width: str) -> str:
    """r0: address; the logarithm of the width in a register. A row has four words; of a load, the upper half is zero but for the widest."""
    rows = "\n".join(f"    {instruction}\n    bx lr\n    nop\n    nop" for instruction in instructions)
    return f"    adr r12, 1f\n    add r12, r12, {width}, lsl #4\n    mov r1, #0\n    bx r12\n1:\n{rows}"


def entry(number: int) -> str:
    if number == DATA_ABORT:
        return "    b walk_abort"
    return "    nop" if number == UNUSED else "    b guest_irq" if number == IRQ else f"    b guest_fault_{number}"


assembly(
    f"""
    .section .text.walk_access, "ax"
    .balign 4
    .arm
    .global walk_load
    .type walk_load, %function
    .global walk_store
    .type walk_store, %function
walk_guarded:
walk_load:
{by_width(LOADS, "r2")}
walk_store:
    mov r1, r2
    ldrd r2, r3, [sp]
{by_width(STORES, "r1")}
walk_guarded_end:
walk_abort:
    sub lr, lr, #8
    ldr r12, =walk_guarded
    cmp lr, r12
    blo 1f
    ldr r12, =walk_guarded_end
    cmp lr, r12
    bhs 1f
    mrc {coprocessor("tpidruro", "r12")}
    add r12, r12, #1
    mcr {coprocessor("tpidruro", "r12")}
    add lr, lr, #4
    movs pc, lr
1:  add lr, lr, #8
    b guest_fault_{DATA_ABORT}
    .ltorg

    .section .vectors.text, "ax"
    .balign 32
    .global walk_vectors
walk_vectors:
{chr(10).join(entry(number) for number in range(8))}
""",
    arch="armv7",
)

write_vectors: Writer = writer("vbar")
read_skipped: Reader = reader("tpidruro")
write_skipped: Writer = writer("tpidruro")
