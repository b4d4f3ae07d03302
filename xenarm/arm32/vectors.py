"""HYP mode's exception vectors, the ways into and out of a guest, reporting of the hypervisor's own faults.

While a guest runs, SP_hyp points at its `Vcpu`, and the stack is free below it. One store saves every general register that the guest's
modes share; those that are banked by mode stay in place, as do ELR_hyp and SPSR_hyp. HYP mode has the LR of user mode for its own.
"""

from freestanding import assembly, external, fn, linker_symbol, offset_of, size_of, u32, u64, usize
from xenarm.arm.cpu import Harden
from xenarm.arm.frame import CrashFrame
from xenarm.arm.instructions import instruction_sync
from xenarm.arm32.registers import Mode, coprocessor, write_hvbar
from xenarm.core.domain import Vcpu

__all__ = ["HYP_VECTORS", "LR_INDEX", "enter_guest", "vectors_choose", "vectors_used"]

LR_INDEX = 14  # of LR_usr in the frame; 13 is free, since SP is banked


PLAIN_VECTORS = linker_symbol("vectors")
CRASH_STACK = 0x800
LR = 4 * LR_INDEX

assert offset_of(Vcpu, "regs") == 0, "SP points at the frame"

SAVE = f"    stm sp, {{r0-r12}}\n    str lr, [sp, #{LR}]"
RESTORE = f"    ldr lr, [sp, #{LR}]\n    ldm sp, {{r0-r12}}"
LEAVE = f"{RESTORE}\n    eret\n    dsb\n    isb"  # nothing is fetched past ERET

HYP_VECTORS = ("reset", "undefined", "call", "prefetch_abort", "data_abort")


def own_fault(name: str, number: int) -> str:
    """The hypervisor itself is at fault: r0 is kept in HTPIDR, which nothing else uses."""
    return f"""
hyp_{name}:
    mcr {coprocessor("htpidr", "r0")}
    mov r0, #{number}
    b hyp_fault
"""


VECTORS = f"""
    .section .vectors.text, "ax"
    .arch_extension virt
    .balign 32
    .global vectors
vectors:
    b hyp_reset
    b hyp_undefined
    b hyp_call
    b hyp_prefetch_abort
    b data_abort
    b guest_trap
    b guest_irq
    b guest_fiq

guest_trap:
{SAVE}
    mov r0, sp
    bl short_sync_v2
    orrs r0, r0, r1
    bne 1f
{LEAVE}
1:  mov r0, sp
    bl trap_sync
    orrs r0, r0, r1
    bne 2f
{LEAVE}
2:  mov r0, sp
    bl trap_full
guest_leave:
{LEAVE}

guest_irq:
{SAVE}
    mov r0, sp
    bl short_irq_v2
    orrs r2, r0, r1
    bne 1f
{LEAVE}
1:  mov r2, r0
    mov r3, r1
    mov r0, sp
    bl trap_irq
    b guest_leave

guest_fiq:
{SAVE}
    mov r0, sp
    bl trap_fiq
    b guest_leave

data_abort:
    mcr {coprocessor("htpidr", "r0")}
    mrs r0, spsr
    and r0, r0, #0x1f
    cmp r0, #{Mode.HYP:#x}
    mrc {coprocessor("htpidr", "r0")}
    beq hyp_data_abort
{SAVE}
    mov r0, sp
    bl trap_serror
    b guest_leave

    .global enter_guest
    .type enter_guest, %function
enter_guest:
    mov sp, r0
    b guest_leave

{"".join(own_fault(name, number) for number, name in enumerate(HYP_VECTORS))}
hyp_fault:
    mcr {coprocessor("tpidruro", "r1")}
    mcr {coprocessor("tpidrprw", "r2")}
    mov r2, r0
    ldr r0, =crash_claim
1:  ldrex r1, [r0]
    cmp r1, #0
    bne 2f
    strex r1, r0, [r0]
    cmp r1, #0
    bne 1b
    add r0, r0, #16
    str r2, [r0, #{offset_of(CrashFrame, "vector")}]
    mrc {coprocessor("tpidruro", "r1")}
    mrc {coprocessor("tpidrprw", "r2")}
    add r0, r0, #4
    stm r0, {{r1-r12}}
    sub r0, r0, #4
    mrc {coprocessor("htpidr", "r1")}
    str r1, [r0]
    str sp, [r0, #{offset_of(CrashFrame, "sp")}]
    str lr, [r0, #{LR}]
    mrs r1, elr_hyp
    str r1, [r0, #{offset_of(CrashFrame, "elr")}]
    mrs r1, spsr
    str r1, [r0, #{offset_of(CrashFrame, "spsr")}]
    mrc {coprocessor("hsr", "r1")}
    str r1, [r0, #{offset_of(CrashFrame, "esr")}]
    ldr r3, [r0, #{offset_of(CrashFrame, "vector")}]
    cmp r3, #{HYP_VECTORS.index("prefetch_abort")}
    mrceq {coprocessor("hifar", "r1")}
    mrcne {coprocessor("hdfar", "r1")}
    str r1, [r0, #{offset_of(CrashFrame, "far")}]
    ldr sp, =crash_stack_end
    bl panic_exception
2:  wfe
    b 2b
    .ltorg

    .section .bss.crash, "aw", %nobits
    .balign 16
crash_claim:
    .space {16 + (size_of(CrashFrame) + 15) // 16 * 16}
    .space {CRASH_STACK}
crash_stack_end:
"""


assembly(VECTORS, arch="armv7")


@external("enter_guest")
def enter_guest(v: Vcpu) -> None:
    """Load all general registers from the frame and ERET; the stack below the frame is free again. Does not return."""
    raise NotImplementedError("a guest needs an emulated CPU")


@fn
def vectors_used(how: Harden, cpus: u32) -> bool:
    """There is one set, for all CPUs."""
    return True


@fn
def vectors_choose(v3: bool) -> None:
    """This CPU's exits are not traced. There is one set of vectors, for a GICv2."""
    write_hvbar(u64(usize(PLAIN_VECTORS)))
    instruction_sync()
