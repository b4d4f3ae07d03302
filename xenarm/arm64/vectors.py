"""EL2's exception vectors, the ways into and out of a guest, reporting of its own faults.

While a guest runs, SP_EL2 points at its `Vcpu`, and the stack is free below it. A trap saves the few registers that the short way changes;
what that leaves goes on with all that a C function may change, and at last the full way, where all registers lie in the frame.
ELR_EL2 and SPSR_EL2 stay where they are. A guest whose vCPU waits or yields is left and gone back to here, with no C function under way.
"""

from freestanding import assembly, external, fn, linker_symbol, offset_of, size_of, u64, usize
from xenarm.arm.frame import CrashFrame
from xenarm.arm.instructions import instruction_sync
from xenarm.arm64.registers import write_vbar_el2
from xenarm.arm.short import SENDS_BIT, WAITS_BIT, YIELDS_BIT
from xenarm.config import CONFIG
from xenarm.core.domain import Vcpu

__all__ = ["enter_guest", "vectors_choose"]


VECTORS_FIRST = linker_symbol("vectors")
VECTORS_V3 = linker_symbol("vectors_v3")


CRASH_STACK = 0x800
REGS = offset_of(Vcpu, "regs")
FEW = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (16, 17))  # what a function exported with preserve=True may change, and x9
MORE = ((10, 11), (12, 13), (14, 15))
CALLER_SAVED = tuple((n, n + 1) for n in range(0, 18, 2))  # x18 is never touched: the image is compiled to keep off it
CALLEE_SAVED = tuple((n, n + 1) for n in range(18, 30, 2))

assert REGS == 0, "SP points at the frame"
assert offset_of(CrashFrame, "sp") == 31 * 8


def move_pairs(instruction: str, pairs: tuple[tuple[int, int], ...]) -> str:
    return "\n".join(f"    {instruction} x{a}, x{b}, [sp, #{REGS + 8 * a}]" for a, b in pairs)


SAVE = f"{move_pairs('stp', CALLER_SAVED)}\n    str x30, [sp, #{REGS + 240}]"
RESTORE = f"{move_pairs('ldp', CALLER_SAVED)}\n    ldr x30, [sp, #{REGS + 240}]"
SAVE_FEW = f"{move_pairs('stp', FEW)}\n    str x30, [sp, #{REGS + 240}]"
RESTORE_FEW = f"{move_pairs('ldp', FEW)}\n    ldr x30, [sp, #{REGS + 240}]"
ERET = "    eret\n    dsb nsh\n    isb"  # nothing is fetched past ERET
LEAVE = f"{RESTORE}\n{ERET}"


def vector(body: str) -> str:
    return f"    .balign 128\n{body}\n"


def own_fault() -> str:
    """The hypervisor itself is at fault: x0 is kept in TPIDR_EL2, which nothing else uses."""
    return f"""
    msr tpidr_el2, x0
    b el2_fault
"""


def guest_call(function: str) -> str:
    return f"{SAVE}\n    mov x0, sp\n    bl {function}\n{LEAVE}"


def short_call(function: str, rest: str) -> str:
    return f"{SAVE_FEW}\n    mov x0, sp\n    bl {function}\n    cbnz x0, {rest}\n{RESTORE_FEW}\n{ERET}"


def vector_table(label: str, gic: str) -> str:
    """The table for a machine with that controller: EL2's own faults, AArch64, AArch32."""
    others = [short_call(f"short_irq_{gic}", f"guest_irq_{gic}"), guest_call("trap_fiq"), guest_call("trap_serror")]
    entries = 8 * [own_fault()] + [short_call(f"short_sync_{gic}", f"guest_sync_{gic}"), *others, f"{SAVE}\n    b guest_full", *others]
    return f"    .balign 2048\n    .global {label}\n{label}:\n" + "".join(vector(body) for body in entries)


def beyond_short(gic: str) -> str:
    """What the short way left."""
    return f"""
guest_sync_{gic}:
{move_pairs("stp", MORE)}
    tbnz x0, #{YIELDS_BIT}, guest_yield_{gic}
    tbnz x0, #{WAITS_BIT}, guest_wait_{gic}
    tbnz x0, #{SENDS_BIT}, guest_send
    mov x0, sp
    bl trap_sync
    cbnz x0, guest_full
{LEAVE}

guest_irq_{gic}:
    mov x1, x0
    mov x0, sp
    bl short_post_{gic}
    cbnz x0, guest_irq
{RESTORE_FEW}
{ERET}

guest_wait_{gic}:
    mov x0, sp
    bl guest_waits_{gic}
    mov x2, sp
    bl guest_waited_{gic}
    cbnz x0, guest_turn_{gic}
{LEAVE}

guest_yield_{gic}:
    mov x0, sp
    bl guest_yields
    mov x2, sp
    bl guest_yielded_{gic}
    cbnz x0, guest_turn_{gic}
{LEAVE}
"""


NL = "\n"
GICS = [*(["v3"] if CONFIG.GICV3 else []), *(["v2"] if CONFIG.GICV2 else [])]
VECTORS_AT_BOOT = vector_table("vectors", "v2" if CONFIG.GICV2 else "v3")
VECTORS_OTHER = vector_table("vectors_v3", "v3") if CONFIG.GICV2 and CONFIG.GICV3 else ""

VECTORS = f"""
    .section .vectors.text, "ax"
{VECTORS_AT_BOOT}
{VECTORS_OTHER}
    .section .text.trap, "ax"
{NL.join(beyond_short(gic) for gic in GICS)}

guest_send:
    mov x1, sp
    bl guest_sends
    cbnz x0, guest_kick
{LEAVE}

guest_kick:
    mov x1, x0
    mov x0, sp
    bl guest_kicks
{LEAVE}

guest_irq:
{move_pairs("stp", MORE)}
    mov x1, x0
    mov x0, sp
    bl trap_irq
{LEAVE}

guest_full:
{move_pairs("stp", CALLEE_SAVED)}
    mov x0, sp
    mov x29, xzr
    bl trap_full
guest_leave:
{move_pairs("ldp", CALLEE_SAVED)}
{LEAVE}

    .global enter_guest
enter_guest:
    mov sp, x0
    b guest_leave

el2_fault:
    msr tpidrro_el0, x1
    adrp x0, crash_claim
    add x0, x0, :lo12:crash_claim
1:  ldaxr w1, [x0]
    cbnz w1, 2f
    stxr w1, w0, [x0]
    cbnz w1, 1b
    add x0, x0, #16
    mrs x1, tpidrro_el0
{chr(10).join(f"    stp x{n}, x{n + 1}, [x0, #{8 * n}]" for n in range(1, 29, 2))}
    stp x29, x30, [x0, #{8 * 29}]
    mrs x1, tpidr_el2
    str x1, [x0]
    mov x1, sp
    mrs x2, elr_el2
    stp x1, x2, [x0, #{offset_of(CrashFrame, "sp")}]
    mrs x1, spsr_el2
    mrs x2, esr_el2
    stp x1, x2, [x0, #{offset_of(CrashFrame, "spsr")}]
    mrs x1, far_el2
    str x1, [x0, #{offset_of(CrashFrame, "far")}]
    adrp x1, crash_stack_end
    add x1, x1, :lo12:crash_stack_end
    mov sp, x1
    bl panic_exception
2:  wfe
    b 2b

    .section .bss.crash, "aw", %nobits
    .balign 16
crash_claim:
    .space {16 + (size_of(CrashFrame) + 15) // 16 * 16}
    .space {CRASH_STACK}
crash_stack_end:
"""


assembly(VECTORS, arch="aarch64")


@fn
def vectors_choose(v3: bool) -> None:
    """Guests' traps on this CPU take the short way of the machine's interrupt controller; after reset the one for a GICv2, if the image has that."""
    if CONFIG.GICV2 and CONFIG.GICV3 and v3:
        write_vbar_el2(u64(usize(VECTORS_V3)))
    else:
        write_vbar_el2(u64(usize(VECTORS_FIRST)))
    instruction_sync()


@external("enter_guest")
def enter_guest(v: Vcpu) -> None:
    """Load all general registers from the frame and ERET; the stack below the frame is free again. Does not return."""
    raise NotImplementedError("a guest needs an emulated CPU")
