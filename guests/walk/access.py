"""Loads and stores that may abort, and instructions that may be undefined: the guest goes on behind them and knows of it.

The vectors are those of the runtime but for synchronous exceptions: one in `walk_guarded`, and one of an undefined instruction anywhere, is
counted in TPIDRRO_EL0 and skipped.
"""

from typing import Any

from freestanding import assembly, external, fn, linker_symbol, operation, u32, u64
from guests.runtime.head import fault
from xenarm.arm.instructions import instruction_sync
from xenarm.arm64.registers import Reader, Writer, reader, writer

__all__ = ["WIDTHS", "guarded_reader", "guarded_writer", "load", "skipped", "store", "vectors_own"]

WIDTHS = 4  # 1, 2, 4 and 8 bytes, by their logarithm
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

VECTORS_AT = linker_symbol("walk_vectors")
write_vbar_el1: Writer = writer("vbar_el1")
read_skipped: Reader = reader("tpidrro_el0")
write_skipped: Writer = writer("tpidrro_el0")


@external("walk_load")
def walk_load(address: u64, width: u64) -> u64:
    raise NotImplementedError("there is no machine here")


@external("walk_store")
def walk_store(address: u64, width: u64, value: u64) -> None:
    raise NotImplementedError("there is no machine here")


def guarded_reader(name: str, register: str) -> Any:
    """Reads a system register, which the assembler is given: `() -> u64`, 0 if that is undefined."""

    def model() -> u64:
        return u64(0)

    model.__name__ = model.__qualname__ = f"guarded_read_{name.lower()}"
    return operation(aarch64=f"mov {{ret}}, xzr\n    mrs {{ret}}, {register}")(model)


def guarded_writer(name: str, register: str) -> Any:
    """Writes one: `(value: u64) -> None`, and waits until it is seen."""

    def model(value: u64) -> None:
        return None

    model.__name__ = model.__qualname__ = f"guarded_write_{name.lower()}"
    return operation(aarch64=f"msr {register}, {{value}}\n    isb")(model)


@fn
def vectors_own() -> None:
    """On each CPU, before anything else of this module."""
    write_vbar_el1(u64(VECTORS_AT))
    write_skipped(0)
    instruction_sync()


@fn
def skipped() -> bool:
    """Whether something had to be skipped since this was asked last."""
    found = read_skipped() != 0
    write_skipped(0)
    return found


@fn
def load(address: u64, width: u32) -> tuple[bool, u64]:
    """(It aborted, what was loaded). `width`: the logarithm."""
    value = walk_load(address, u64(width))
    aborted = skipped()
    return aborted, u64(0) if aborted else value


@fn
def store(address: u64, width: u32, value: u64) -> bool:
    """Whether it aborted."""
    walk_store(address, u64(width), value)
    return skipped()
