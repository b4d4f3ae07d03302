"""The switch of a CPU from one vCPU to another: CP15, banked registers, VFP/NEON, the stack.

What is saved here lies in the `Vcpu`; list registers are `gic/context.py`'s. Between a vCPU's registers being saved and another's being
loaded the CPU has no stack: only so can the one be handed over before the other is waited for.
"""

from freestanding import Ptr, address_of, assembly, external, fn, offset_of, u32, u64, usize, wrapping_sub

from xenarm.arm.frame import SAVED_WORDS, SYSTEM_WORDS, Register
from xenarm.arm32.registers import BANKED, BANKED_FIQ, CP14, CP15, CP15_WIDE, coprocessor, coprocessor_wide
from xenarm.core.domain import Vcpu
from xenarm.core.sched.state import SchedVcpu

__all__ = ["LOADED_REGISTERS", "SAVED_REGISTERS", "SCTLR", "VMPIDR", "context_switch", "fp_restore", "fp_give", "fp_take", "mvfr0", "mvfr1", "system_restore", "vcpu_address", "vcpu_of", "vcpu_prepare"]

MAPS_MEMORY = True

SAVED_REGISTERS = (
    "elr_hyp",
    "spsr",
    *BANKED,
    *BANKED_FIQ,
    "sctlr",
    "cpacr",
    "ttbr0",
    "ttbr1",
    "ttbcr",
    "dacr",
    "dfsr",
    "ifsr",
    "adfsr",
    "aifsr",
    "dfar",
    "ifar",
    "par",
    "mair0",
    "mair1",
    "amair0",
    "amair1",
    "vbar",
    "contextidr",
    "tpidrurw",
    "tpidruro",
    "tpidrprw",
    "csselr",
    "teecr",
    "teehbr",
    "cntkctl",
    "cntv_ctl",
    "cntv_cval",
)
"""A guest's state. Not here: what every guest finds alike (ACTLR and debug trap; FCSEIDR is fixed where there is LPAE; CNTVOFF is 0)."""

LOADED_REGISTERS = (*SAVED_REGISTERS, "vmpidr", "vttbr")
"""The last ones are HYP's, and constant for a vCPU."""


def words(register: str) -> int:
    return 2 if register in CP15_WIDE else 1


def place(register: str) -> int:
    """Where a register lies in `Vcpu.system`, in words."""
    return sum(words(r) for r in LOADED_REGISTERS[: LOADED_REGISTERS.index(register)])


SCTLR = place("sctlr")
VMPIDR = place("vmpidr")
VTTBR = place("vttbr")

assert sum(words(r) for r in LOADED_REGISTERS) == SYSTEM_WORDS

SAVED = offset_of(Vcpu, "saved")
SYSTEM = offset_of(Vcpu, "system")
FP = offset_of(Vcpu, "fp")
HERE = offset_of(Vcpu, "here")
CPU = offset_of(Vcpu, "cpu")
CHOOSE = offset_of(Vcpu, "choose")
SCHED = offset_of(Vcpu, "sched")
ON_CPU = offset_of(Vcpu, "sched") + offset_of(SchedVcpu, "on_cpu")
STACK = 8  # in `saved`, behind r4 to r11
LINK = 9
FPEXC_EN = 1 << 30

assert SAVED_WORDS == 10


def save_one(register: str) -> str:
    at = f"[r2, #{4 * place(register)}]"
    if register in CP15_WIDE:
        return f"    mrrc {coprocessor_wide(register, 'r4', 'r5')}\n    str r4, {at}\n    str r5, [r2, #{4 * place(register) + 4}]"
    if register in CP15 or register in CP14:
        return f"    mrc {coprocessor(register, 'r4')}\n    str r4, {at}"
    return f"    mrs r4, {register}\n    str r4, {at}"


def load_one(register: str) -> str:
    at = f"[r2, #{4 * place(register)}]"
    if register in CP15_WIDE:
        return f"    ldr r4, {at}\n    ldr r5, [r2, #{4 * place(register) + 4}]\n    mcrr {coprocessor_wide(register, 'r4', 'r5')}"
    if register in CP15 or register in CP14:
        return f"    ldr r4, {at}\n    mcr {coprocessor(register, 'r4')}"
    return f"    ldr r4, {at}\n    msr {register + '_cxsf' if register.startswith('spsr') and register == 'spsr' else register}, r4"


def at_field(register: str, vcpu: str, offset: int) -> str:
    return f"    movw {register}, #{offset}\n    add {register}, {register}, {vcpu}"


SAVE_SYSTEM = at_field("r2", "r0", SYSTEM) + "\n" + "\n".join(save_one(r) for r in SAVED_REGISTERS)


def load_system(registers: tuple[str, ...], vcpu: str) -> str:
    return at_field("r2", vcpu, SYSTEM) + "\n" + "\n".join(load_one(r) for r in registers)


SAVE_FP = f"""
{at_field("r2", "r0", FP)}
    vmrs r3, fpexc
    orr r4, r3, #{FPEXC_EN}
    vmsr fpexc, r4
    isb
    vmrs r4, fpscr
    vstmia r2!, {{d0-d15}}
    vstmia r2!, {{d16-d31}}
    stm r2, {{r3, r4}}
"""


def load_fp(vcpu: str) -> str:
    """d0 to d31, FPSCR, and at last FPEXC, which may turn the unit off."""
    return f"""
{at_field("r2", vcpu, FP)}
    mov r4, #{FPEXC_EN}
    vmsr fpexc, r4
    isb
    vldmia r2!, {{d0-d15}}
    vldmia r2!, {{d16-d31}}
    ldm r2, {{r3, r4}}
    vmsr fpscr, r4
    vmsr fpexc, r3
"""


CODE = f"""
    .section .text.fp_switch, "ax"
    .arch_extension virt
    .fpu neon-vfpv4
    .global context_switch
    .type context_switch, %function
context_switch:
{at_field("r2", "r0", SAVED)}
    stm r2, {{r4-r11}}
    str sp, [r2, #{4 * STACK}]
    str lr, [r2, #{4 * LINK}]
{SAVE_SYSTEM}
{SAVE_FP}
    ldr r5, [r0, #{CPU}]
    ldr r7, [r0, #{HERE}]
    movw r6, #{ON_CPU}
    add r2, r0, r6
    mov r3, #0
    dmb ish
    str r3, [r2]
    add r2, r1, r6
    mov r4, #1
1:  ldr r3, [r2]
    cmp r3, #0
    bne 2f
    dmb ish
    str r4, [r2]
    str r5, [r1, #{CPU}]
    str r7, [r1, #{HERE}]
    str r3, [r1, #{CHOOSE}]
{load_fp("r1")}
{load_system(LOADED_REGISTERS, "r1")}
{at_field("r2", "r1", SAVED)}
    ldm r2, {{r4-r11}}
    ldr sp, [r2, #{4 * STACK}]
    ldr lr, [r2, #{4 * LINK}]
    bx lr
2:  yield
    b 1b

    .global fp_restore
    .type fp_restore, %function
fp_restore:
    push {{r4, lr}}
{load_fp("r0")}
    pop {{r4, pc}}

    .global mvfr0
    .type mvfr0, %function
mvfr0:
    vmrs r0, mvfr0
    bx lr
    .global mvfr1
    .type mvfr1, %function
mvfr1:
    vmrs r0, mvfr1
    bx lr
    .global fp_switch_end
fp_switch_end:

    .section .text.vcpu_begin, "ax"
    .global system_restore
    .type system_restore, %function
system_restore:
    push {{r4, r5}}
{load_system(SAVED_REGISTERS, "r0")}
    pop {{r4, r5}}
    bx lr

    .global vcpu_begin
    .type vcpu_begin, %function
vcpu_begin:
    mov r7, #0
    mov lr, #0
    mov r0, sp
    bl vcpu_main
"""

assembly(CODE, arch="armv7")


@external("context_switch")
def context_switch(before: Vcpu, after: Vcpu) -> None:
    """Leave one vCPU's registers and stack, and go on where another left off. Returns when the first one is switched to, on whatever CPU.

    While another CPU still holds the second, this one waits, having given up the first.
    """
    raise NotImplementedError("a switch needs an emulated CPU")


@external("fp_restore")
def fp_restore(v: Vcpu) -> None:
    """Load this CPU's FP registers from the vCPU."""


@external("system_restore")
def system_restore(v: Vcpu) -> None:
    """Load this CPU's CP15 and banked registers of a guest from the vCPU: SAVED_REGISTERS."""


@external("mvfr0")
def mvfr0() -> u32:
    """The FP unit's identification, as are those of `mvfr1`."""
    return u32(0)


@external("mvfr1")
def mvfr1() -> u32:
    return u32(0)


@fn
def fp_give(v: Vcpu) -> None:
    """The switch itself takes FP registers."""


@fn
def fp_take(v: Vcpu) -> None:
    """They never trap."""


@fn(inline=True)
def vcpu_of(s: SchedVcpu) -> Vcpu:
    """The vCPU that a scheduler's vCPU is part of."""
    return Ptr[Vcpu](wrapping_sub(address_of(s), usize(SCHED))).ref()


@fn(inline=True)
def vcpu_address(v: Vcpu) -> u64:
    return u64(address_of(v))


@external("vcpu_begin")
def vcpu_begin() -> None:
    """Where a vCPU's stack begins: `vcpu_main`."""
    raise NotImplementedError("a switch needs an emulated CPU")


@fn
def vcpu_prepare(v: Vcpu, vmpidr: u64, vttbr: u64) -> None:
    """A vCPU that has never run: the first switch to it enters `vcpu_main` on an empty stack."""
    for i in range(SYSTEM_WORDS):
        v.system[i] = 0
    v.saved[LINK] = Register(address_of(vcpu_begin))
    v.saved[STACK] = Register(address_of(v))
    v.system[VMPIDR] = Register(vmpidr)
    v.system[VTTBR] = Register(vttbr & 0xFFFF_FFFF)
    v.system[VTTBR + 1] = Register(vttbr >> 32)
