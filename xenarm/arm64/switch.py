"""The switch of a CPU from one vCPU to another: system registers, the stack; and FP/SIMD registers, when the guest first uses them.

What is saved here lies in the `Vcpu`; list registers are `gic/context.py`'s. Between a vCPU's registers being saved and another's being
loaded the CPU has no vCPU's stack: only so can the one be handed over before the other is waited for, on the CPU's own.
"""

from freestanding import Ptr, address_of, assembly, export, external, fn, offset_of, u32, u64, usize, wrapping_sub

from xenarm.arm.frame import SYSTEM_WORDS
from xenarm.arm.instructions import cpu_relax, instruction_sync
from xenarm.arm64.aarch32 import aarch32_fp_gives, aarch32_fp_takes
from xenarm.arm64.feature_controls import RARE_REGISTERS
from xenarm.arm64.features import CPTR_GUEST, CPTR_GUEST_NO_FP
from xenarm.arm64.registers import write_cptr_el2
from xenarm.arm64.vectors import GICS, LEAVE, NL
from xenarm.core.domain import Extra, Vcpu, vcpu_is_aarch32
from xenarm.core.sched.state import SchedCpu, SchedVcpu
from xenarm.gic.host import gic_kick

__all__ = [
    "CNTV_CTL",
    "CNTV_CVAL",
    "VMPIDR",
    "VTTBR",
    "context_switch",
    "fp_give",
    "fp_reset",
    "fp_take",
    "vcpu_address",
    "vcpu_of",
    "vcpu_prepare",
]

MAPS_MEMORY = True

SAVED_REGISTERS = (
    "elr_el2",
    "spsr_el2",
    "cpacr_el1",
    "ttbr0_el1",
    "ttbr1_el1",
    "vbar_el1",
    "mair_el1",
    "contextidr_el1",
    "tpidr_el0",
    "tpidrro_el0",
    "tpidr_el1",
    "sp_el0",
    "sp_el1",
    "elr_el1",
    "spsr_el1",
    "esr_el1",
    "far_el1",
    "par_el1",
    "csselr_el1",
    "cntkctl_el1",
    "cntv_ctl_el0",
    "cntv_cval_el0",
    "sctlr_el1",
    "tcr_el1",
)
"""A guest's state. Not here: what hardly a CPU has (`feature_controls.py`), what every guest finds alike (HCR_EL2 but for `Extra.SERROR` and
`Extra.AARCH32`, MDSCR_EL1, ACTLR_EL1, the PMU trap; CNTVOFF_EL2 is 0), and what only AArch32 has (`aarch32.py`)."""

LOADED_REGISTERS = (*SAVED_REGISTERS, "vmpidr_el2", "vttbr_el2")
"""The last ones are EL2's, and constant for a vCPU. What turns stage 1 on is loaded after them: see `load_system`."""

CNTV_CTL = LOADED_REGISTERS.index("cntv_ctl_el0")
CNTV_CVAL = LOADED_REGISTERS.index("cntv_cval_el0")
VMPIDR = LOADED_REGISTERS.index("vmpidr_el2")
VTTBR = LOADED_REGISTERS.index("vttbr_el2")

assert len(LOADED_REGISTERS) + len(RARE_REGISTERS) == SYSTEM_WORDS
assert len(SAVED_REGISTERS) % 2 == 0 and SAVED_REGISTERS[-2:] == ("sctlr_el1", "tcr_el1") and LOADED_REGISTERS[-2:] == ("vmpidr_el2", "vttbr_el2")

SAVED = offset_of(Vcpu, "saved")
SYSTEM = offset_of(Vcpu, "system")
RESUME = offset_of(Vcpu, "resume")
FP = offset_of(Vcpu, "fp")
HERE = offset_of(Vcpu, "here")  # and `cpu`, `choose`
SCHED = offset_of(Vcpu, "sched")
OWN = offset_of(SchedCpu, "own")
ON_CPU = SCHED + offset_of(SchedVcpu, "on_cpu")
LINK = 12  # x30 in `saved`
STACK = 13

assert HERE % 8 == 0 and offset_of(Vcpu, "cpu") == HERE + 8 and offset_of(Vcpu, "choose") == HERE + 12
assert SYSTEM + 8 * SYSTEM_WORDS <= 512, "LDP and STP reach them from the vCPU's address"


def move_saved(pair: str, vcpu: str) -> str:
    """x18 to x29, then x30 and SP (in x3). x18 is the guest's: a short trap leaves it in the register, where the image never touches it."""
    lines = [f"    {pair} x{n}, x{n + 1}, [x2, #{8 * (n - 18)}]" for n in range(18, 30, 2)]
    return "\n".join([f"    add x2, {vcpu}, #{SAVED}", *lines, f"    {pair} x30, x3, [x2, #{8 * LINK}]"])


def move_guest(pair: str, vcpu: str) -> str:
    """x18 to x29 of the guest, in its frame: nothing has used them."""
    return "\n".join(f"    {pair} x{n}, x{n + 1}, [{vcpu}, #{8 * n}]" for n in range(18, 30, 2))


def save_system() -> str:
    pairs = zip(SAVED_REGISTERS[::2], SAVED_REGISTERS[1::2], strict=True)
    return "\n".join(f"    mrs x3, {a}\n    mrs x4, {b}\n    stp x3, x4, [x1, #{SYSTEM + 16 * n}]" for n, (a, b) in enumerate(pairs))


NO_WALKS = 1 << 23 | 1 << 7 | 1  # TCR_EL1.EPD1 and EPD0; SCTLR_EL1.M, which makes them count


def load_system() -> str:
    """While one guest's tables and another's stage 2 are loaded together no address translation may walk them, not even a speculated one,
    which some cores do (errata 1319537, 1319367, 1530924, 1165522): stage 1 is on, without walks, until all but itself is there."""
    on = len(SAVED_REGISTERS) // 2 - 1
    pairs = list(enumerate(zip(LOADED_REGISTERS[::2], LOADED_REGISTERS[1::2], strict=True)))
    lines = [f"    ldp x3, x4, [x0, #{SYSTEM + 16 * n}]\n    msr {a}, x3\n    msr {b}, x4" for n, (a, b) in pairs if n != on]
    return "\n".join(
        [
            f"    mov x3, #{NO_WALKS & 0xFFFF}\n    movk x3, #{NO_WALKS >> 16}, lsl #16",
            "    msr tcr_el1, x3\n    isb\n    msr sctlr_el1, x3\n    isb",
            *lines,
            f"    ldp x3, x4, [x0, #{SYSTEM + 16 * on}]\n    isb\n    msr sctlr_el1, x3\n    isb\n    msr tcr_el1, x4",
        ]
    )


def move_fp(pair: str) -> str:
    """V0 to V31, then FPCR and FPSR."""
    lines = [f"    {pair} q{n}, q{n + 1}, [x2, #{16 * n}]" for n in range(0, 32, 2)]
    special = ["mrs x3, fpcr", "mrs x4, fpsr", "stp x3, x4, [x2, #512 - 16]"]
    if pair == "ldp":
        special = ["ldp x3, x4, [x2, #512 - 16]", "msr fpcr, x3", "msr fpsr, x4"]
    return "\n".join([f"    add x2, x0, #{FP}", *lines, "    add x2, x2, #16", *(f"    {line}" for line in special)])


CLEAR_FP = "\n".join([f"    movi v{n}.2d, #0" for n in range(32)]) + "\n    msr fpcr, xzr\n    msr fpsr, xzr"

def resume_guest(gic: str) -> str:
    return f"""
resume_guest_{gic}:
    mov sp, x0
    bl vcpu_return_{gic}
{move_guest("ldp", "sp")}
{LEAVE}
"""


def guest_turn(gic: str) -> str:
    return f"""
    .global guest_turn_{gic}
guest_turn_{gic}:
    mov x1, sp
{move_guest("stp", "x1")}
    adr x30, resume_guest_{gic}"""


# x0: the vCPU that comes; x1: the one that goes. The guests' exits are at guest_turn, C functions call context_switch.
CODE = f"""
    .section .text.context_switch, "ax"
    .global context_switch
context_switch:
    mov x2, x0
    mov x0, x1
    mov x1, x2
    mov x3, sp
{move_saved("stp", "x1")}
    adr x30, resume_function
    b switch_registers

resume_function:
{move_saved("ldp", "x0")}
    mov sp, x3
    ret

{NL.join(resume_guest(gic) for gic in GICS)}
{(NL + "    b switch_registers" + NL).join(guest_turn(gic) for gic in GICS)}
switch_registers:
    str x30, [x1, #{RESUME}]
{save_system()}
    ldp x4, x5, [x1, #{HERE}]
    add x2, x1, #{ON_CPU}
    stlr wzr, [x2]
1:  add x2, x0, #{ON_CPU}
    ldar w3, [x2]
    cbnz w3, 2f
    mov w3, #1
    str w3, [x2]
    stp x4, x5, [x0, #{HERE}]
{load_system()}
    ldr x30, [x0, #{RESUME}]
    ret
2:  ldr x2, [x4, #{OWN}]
    mov x3, #{SAVED + 8 * STACK}
    ldr x3, [x2, x3]
    mov sp, x3
    stp x4, x5, [sp, #-32]!
    str x0, [sp, #16]
    bl vcpu_await
    ldr x0, [sp, #16]
    ldp x4, x5, [sp]
    b 1b
    .global context_switch_end
context_switch_end:

    .section .text.fp_switch, "ax"
    .arch_extension fp
    .arch_extension simd
    .global fp_save
fp_save:
{move_fp("stp")}
    ret
    .global fp_restore
fp_restore:
{move_fp("ldp")}
    ret
    .global fp_clear
fp_clear:
{CLEAR_FP}
    ret
    .global fp_switch_end
fp_switch_end:

    .section .text.vcpu_begin, "ax"
    .global vcpu_begin
vcpu_begin:
    mov sp, x0
    mov x29, xzr
    mov x30, xzr
    bl vcpu_main
"""

assembly(CODE, arch="aarch64")


@external("context_switch")
def context_switch(before: Vcpu, after: Vcpu) -> None:
    """Leave one vCPU's registers and stack, and go on where another left off. Returns when the first one is switched to, on whatever CPU.

    While another CPU still holds the second, this one waits in `vcpu_await`, having given up the first.
    """
    raise NotImplementedError("a switch needs an emulated CPU")


@export("vcpu_await")
def vcpu_await(v: Vcpu) -> None:
    """A CPU that idles still has the vCPU's registers: ask for them, and wait until it has given them up, which takes it a bounded time."""
    gic_kick(v.cpu)
    while v.sched.on_cpu.load_acquire() != 0:
        cpu_relax()


# ---- FP and SIMD: a CPU's registers are zero, and trap, until the vCPU that it has uses them --------------------------------------------


@external("fp_save")
def fp_save(v: Vcpu) -> None:
    """This CPU's FP/SIMD registers into the vCPU."""


@external("fp_restore")
def fp_restore(v: Vcpu) -> None:
    """Load this CPU's FP/SIMD registers from the vCPU."""


@external("fp_clear")
def fp_clear() -> None:
    """Zero in this CPU's FP/SIMD registers: what traps cannot be told by speculation either."""


@fn(inline=False)
def fp_take(v: Vcpu) -> None:
    """The vCPU that this CPU has uses FP or SIMD."""
    write_cptr_el2(CPTR_GUEST)
    instruction_sync()
    if v.fp_saved:
        fp_restore(v)
    if vcpu_is_aarch32(v):
        aarch32_fp_takes(v)
    v.extra |= Extra.FP


@fn(inline=True)
def fp_give(v: Vcpu) -> None:
    """The vCPU's registers are about to leave this CPU, and FP and SIMD registers are among them."""
    fp_save(v)
    if vcpu_is_aarch32(v):
        aarch32_fp_gives(v)
    v.fp_saved = True
    fp_forget(v)


@fn(inline=True)
def fp_reset(v: Vcpu) -> None:
    """FP and SIMD registers of the vCPU that this CPU has are zero."""
    v.fp_saved = False
    if v.extra & Extra.FP != 0:
        fp_forget(v)


@fn(inline=False)
def fp_forget(v: Vcpu) -> None:
    fp_clear()
    v.extra &= ~u32(Extra.FP)
    write_cptr_el2(CPTR_GUEST_NO_FP)


@external("vcpu_begin")
def vcpu_begin() -> None:
    """Where a vCPU's stack begins: `vcpu_main`."""
    raise NotImplementedError("a switch needs an emulated CPU")


@fn(inline=True)
def vcpu_of(s: SchedVcpu) -> Vcpu:
    """The vCPU that a scheduler's vCPU is part of."""
    return Ptr[Vcpu](wrapping_sub(address_of(s), usize(SCHED))).ref()


@fn(inline=True)
def vcpu_address(v: Vcpu) -> u64:
    """For the vectors."""
    return u64(address_of(v))


@fn
def vcpu_prepare(v: Vcpu, vmpidr: u64, vttbr: u64) -> None:
    """A vCPU that has never run: the first switch to it enters `vcpu_main` on an empty stack."""
    for i in range(SYSTEM_WORDS):
        v.system[i] = 0
    v.resume = address_of(vcpu_begin)
    v.system[VMPIDR] = vmpidr
    v.system[VTTBR] = vttbr
