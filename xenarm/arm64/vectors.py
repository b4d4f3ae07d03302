"""EL2's exception vectors, the ways into and out of a guest, reporting of its own faults.

While a guest runs, SP_EL2 points at its `Vcpu`, and the stack is free below it. A trap saves the few registers that the short way changes;
what that leaves goes on with all that a C function may change, and at last the full way, where all registers lie in the frame.
ELR_EL2 and SPSR_EL2 stay where they are. A guest whose vCPU waits or yields is left and gone back to here, with no C function under way.
CPUs whose branch prediction guests could train have tables of their own, which see to that first (`processor.py`): the others pay nothing.
"""

from freestanding import Array, Ptr, Struct, array, assembly, external, fn, linker_symbol, offset_of, size_of, u8, u32, u64, usize, zeroed
from xenarm.arm.cpu import Harden, cpu_index
from xenarm.arm.frame import CrashFrame
from xenarm.arm.instructions import instruction_sync
from xenarm.arm64.registers import write_vbar_el2
from xenarm.arm.short import SENDS_BIT, WAITS_BIT, YIELDS_BIT
from xenarm.config import CONFIG
from xenarm.core.domain import MAX_CPUS, Vcpu

__all__ = ["Harden", "enter_guest", "harden_here", "hardening_choose", "hardening_set", "vectors_choose", "vectors_used"]

MAPS_MEMORY = True

VECTORS_FIRST = linker_symbol("vectors")
VECTORS_V3 = linker_symbol("vectors_v3")
LOOP_VECTORS = linker_symbol("loop_vectors")
LOOP_VECTORS_V3 = linker_symbol("loop_vectors_v3")
CALL_VECTORS = linker_symbol("call_vectors")
CALL_VECTORS_V3 = linker_symbol("call_vectors_v3")
HARDENING = linker_symbol("hardening")


class Hardening(Struct):
    """What the tables use: turns of the loop, the firmware's function. The same for all CPUs."""

    loops: u32
    call: u32


class Hardened(Struct):
    """Each CPU's choice."""

    how: Array[Harden] = array(Harden, MAX_CPUS)


HARDENED = zeroed(Hardened)

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


# In place of the guest's history of branches, one of our own; then what else clears it, a hint to CPUs without it (CLRBHB). x0 to x3 are saved.
LOOP = f"""
    adrp x0, hardening
    ldr w0, [x0, :lo12:hardening]
1:  b 2f
2:  subs w0, w0, #1
    b.ne 1b
    hint #22
    dsb nsh
    isb"""
CALL = f"""
    adrp x0, hardening
    ldr w0, [x0, :lo12:hardening + {offset_of(Hardening, "call")}]
    smc #0"""


def guest_call(function: str) -> str:
    return f"{SAVE}\n    mov x0, sp\n    bl {function}\n{LEAVE}"


def table_part(label: str, part: str, entries: list[str]) -> str:
    return f'    .section .part.{part}, "ax"\n    .balign 2048\n    .global {label}\n{label}:\n{"".join(entries)}'


def short_call(function: str, rest: str, harden: str) -> str:
    return f"{SAVE_FEW}{harden}\n    mov x0, sp\n    bl {function}\n    cbnz x0, {rest}\n{RESTORE_FEW}\n{ERET}"


def rare_call(function: str, harden: str) -> str:
    """What is no matter of time goes on elsewhere where it must do more: a vector has room for 32 instructions."""
    return f"{SAVE}{harden}\n    b guest_{function}" if harden else guest_call(f"trap_{function}")


def vector_table(label: str, part: str, gic: str, harden: str = "") -> str:
    """The table for a machine with that controller, a part of the image of its own: EL2's own faults, AArch64, AArch32."""
    others = [short_call(f"short_irq_{gic}", f"guest_irq_{gic}", harden), rare_call("fiq", harden), rare_call("serror", harden)]
    short = short_call(f"short_sync_{gic}", f"guest_sync_{gic}", harden)
    short32 = short_call(f"short_sync32_{gic}", f"guest_sync32_{gic}", harden) if CONFIG.AARCH32_GUESTS else f"{SAVE}{harden}\n    b guest_full"
    entries = 8 * [own_fault()] + [short, *others, short32, *others]
    return table_part(label, part, [vector(body) for body in entries])


def hardened_tables() -> str:
    """One more of each kind for each controller."""
    kinds = {"loop": LOOP, "call": CALL}
    return NL.join(
        vector_table(f"{kind}_vectors", kind, gic, code) if gic == GICS[-1] else vector_table(f"{kind}_vectors_v3", f"{kind}_v3", gic, code)
        for kind, code in kinds.items()
        for gic in GICS
    )


def beyond_short32(gic: str) -> str:
    """The same of AArch32."""
    return f"""
guest_sync32_{gic}:
{move_pairs("stp", MORE)}
    tbnz x0, #{YIELDS_BIT}, guest_yield_{gic}
    tbnz x0, #{WAITS_BIT}, guest_wait_{gic}
    tbz x0, #{SENDS_BIT}, guest_full
    b guest_send
"""


def beyond_short(gic: str) -> str:
    """What the short way left."""
    return f"""{beyond_short32(gic) if CONFIG.AARCH32_GUESTS else ""}
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
VECTORS_AT_BOOT = vector_table("vectors", "plain", "v2" if CONFIG.GICV2 else "v3")
VECTORS_OTHER = vector_table("vectors_v3", "plain_v3", "v3") if CONFIG.GICV2 and CONFIG.GICV3 else ""
VECTORS_HARDENED = f"""
{hardened_tables()}
    .section .text.trap, "ax"
guest_fiq:
    mov x0, sp
    bl trap_fiq
{LEAVE}
guest_serror:
    mov x0, sp
    bl trap_serror
{LEAVE}
    .section .bss.hardening, "aw", %nobits
    .balign 8
    .global hardening
hardening:
    .space {size_of(Hardening)}
"""

VECTORS = f"""
{VECTORS_AT_BOOT}
{VECTORS_OTHER}
{VECTORS_HARDENED if CONFIG.HARDEN_BRANCH_PREDICTOR else ""}
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
    .section .bss.0raw, "aw", %nobits
    .balign 16
    .space {CRASH_STACK}
crash_stack_end:
"""


assembly(VECTORS, arch="aarch64")


@fn
def harden_here() -> Harden:
    """This CPU's choice."""
    return HARDENED.how[cpu_index()] if CONFIG.HARDEN_BRANCH_PREDICTOR else Harden.NONE


@fn
def hardening_choose(cpu: u32, how: Harden) -> None:
    """For a CPU, before it next asks `vectors_choose`."""
    if CONFIG.HARDEN_BRANCH_PREDICTOR:
        HARDENED.how[cpu] = how


@fn
def hardening_set(loops: u32, call: u32) -> None:
    """What the tables are to use, before any CPU uses them."""
    if CONFIG.HARDEN_BRANCH_PREDICTOR:
        words = Ptr[Hardening](usize(HARDENING)).ref()
        words.loops = max(loops, 1)
        words.call = call


@fn
def vectors_used(how: Harden, cpus: u32) -> bool:
    """Whether one of the first so many CPUs needs the tables of that kind."""
    if CONFIG.HARDEN_BRANCH_PREDICTOR:
        for cpu in range(cpus):
            if HARDENED.how[cpu] == how:
                return True
        return False
    else:
        return how == Harden.NONE


@fn
def vectors_hardened(how: Harden, v3: bool) -> usize:
    if how == Harden.LOOP:
        return usize(LOOP_VECTORS_V3) if CONFIG.GICV2 and CONFIG.GICV3 and v3 else usize(LOOP_VECTORS)
    return usize(CALL_VECTORS_V3) if CONFIG.GICV2 and CONFIG.GICV3 and v3 else usize(CALL_VECTORS)


@fn
def vectors_choose(v3: bool) -> None:
    """Guests' traps on this CPU take the short way of the machine's interrupt controller; after reset the one for a GICv2, if the image has that."""
    how = harden_here()
    if CONFIG.HARDEN_BRANCH_PREDICTOR and how != Harden.NONE:
        write_vbar_el2(u64(vectors_hardened(how, v3)))
    elif CONFIG.GICV2 and CONFIG.GICV3 and v3:
        write_vbar_el2(u64(usize(VECTORS_V3)))
    else:
        write_vbar_el2(u64(usize(VECTORS_FIRST)))
    instruction_sync()


@external("enter_guest")
def enter_guest(v: Vcpu) -> None:
    """Load all general registers from the frame and ERET; the stack below the frame is free again. Does not return."""
    raise NotImplementedError("a guest needs an emulated CPU")
