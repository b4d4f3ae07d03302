"""AArch64's part of `access.py`: the guarded loads and stores, and the vectors that go on behind them.

The vectors are those of the runtime but for synchronous exceptions: one in `walk_guarded`, and one of an undefined instruction anywhere, is
counted in TPIDRRO_EL0 and skipped.
"""

from freestanding import assembly
from guests.runtime.head import fault
from xenarm.arm64.registers import Reader, Writer, reader, writer

__all__ = ["read_skipped", "write_skipped", "write_vectors"]

DATA_ABORT = 0x25
SYNC = 4  # of the sixteen vectors

HANDLER = f"""
    sub sp, sp, #16
    stp x9, x10, [sp]
    mrs x9, esr_el1
    lsr x9, x9, #26
    cbz x9, 2f
    cmp x9, #{DATA_ABORT}
    b.ne 3f
    mrs x9, elr_el1
    ldr x10, =walk_guarded
    cmp x9, x10
    b.lo 3f
    ldr x10, =walk_guarded_end
    cmp x9, x10
    b.hs 3f
2:  mrs x9, elr_el1
    add x9, x9, #4
    msr elr_el1, x9
    mrs x9, tpidrro_el0
    add x9, x9, #1
    msr tpidrro_el0, x9
    ldp x9, x10, [sp]
    add sp, sp, #16
    eret
3:
{fault(SYNC)}
    .ltorg
"""

LOADS = ("ldrb w0", "ldrh w0", "ldr w0", "ldr x0")
STORES = ("strb w2", "strh w2", "str w2", "str x2")


def by_width(instructions: tuple[str, ...]) -> str:
    """x0: address; x1: logarithm of the width."""
    rows = "\n".join(f"    {instruction}, [x0]\n    ret" for instruction in instructions)
    return f"    adr x3, 1f\n    add x3, x3, x1, lsl #3\n    br x3\n1:\n{rows}"


VECTORS = "\n".join(f"    .balign 128\n{'    b walk_sync' if kind == SYNC else fault(kind)}" for kind in range(16))

assembly(
    f"""
    .section .text.walk_access, "ax"
    .global walk_load
    .global walk_store
walk_guarded:
walk_load:
{by_width(LOADS)}
walk_store:
{by_width(STORES)}
walk_guarded_end:
walk_sync:
{HANDLER}
    .balign 2048
    .global walk_vectors
walk_vectors:
{VECTORS}
""",
    arch="aarch64",
)

write_vectors: Writer = writer("vbar_el1")
read_skipped: Reader = reader("tpidrro_el0")
write_skipped: Writer = writer("tpidrro_el0")
