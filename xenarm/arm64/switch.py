"""The switch of a CPU from one vCPU to another: system registers, FP/SIMD, the stack.

What is saved here lies in the `Vcpu`; list registers are `gic/context.py`'s. Between a vCPU's registers being saved and another's being
loaded the CPU has no stack: only so can the one be handed over before the other is waited for.
"""

from freestanding import assembly, external, fn, offset_of, u64, usize, address_of

from xenarm.arm.frame import SYSTEM_WORDS
from xenarm.core.domain import Vcpu
from xenarm.core.sched.state import SchedVcpu

__all__ = ["CNTV_CTL", "CNTV_CVAL", "HCR", "VMPIDR", "VTTBR", "context_switch", "fp_restore", "vcpu_prepare"]

MAPS_MEMORY = True

SAVED_REGISTERS = (
    "elr_el2",
    "spsr_el2",
    "sctlr_el1",
    "cpacr_el1",
    "ttbr0_el1",
    "ttbr1_el1",
    "tcr_el1",
    "vbar_el1",
    "mair_el1",
    "amair_el1",
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
    "afsr0_el1",
    "afsr1_el1",
    "par_el1",
    "csselr_el1",
    "cntkctl_el1",
    "cntv_ctl_el0",
    "cntv_cval_el0",
    "hcr_el2",
)
"""A guest's state. Not here: what every guest finds alike (MDSCR_EL1, ACTLR_EL1 and the PMU trap; CNTVOFF_EL2 is 0)."""

LOADED_REGISTERS = (*SAVED_REGISTERS, "vmpidr_el2", "vttbr_el2")
"""The last ones are EL2's, and constant for a vCPU."""

CNTV_CTL = LOADED_REGISTERS.index("cntv_ctl_el0")
CNTV_CVAL = LOADED_REGISTERS.index("cntv_cval_el0")
HCR = LOADED_REGISTERS.index("hcr_el2")
VMPIDR = LOADED_REGISTERS.index("vmpidr_el2")
VTTBR = LOADED_REGISTERS.index("vttbr_el2")

assert len(LOADED_REGISTERS) == SYSTEM_WORDS and len(SAVED_REGISTERS) % 2 == 0

SAVED = offset_of(Vcpu, "saved")
SYSTEM = offset_of(Vcpu, "system")
FP = offset_of(Vcpu, "fp")
CPU = offset_of(Vcpu, "cpu")
ON_CPU = offset_of(Vcpu, "sched") + offset_of(SchedVcpu, "on_cpu")
LINK = 12  # x30 in `saved`
STACK = 13


def move_saved(pair: str, vcpu: str) -> str:
    """x18 to x29, then x30 and SP (in x3). x18 is the guest's: a short trap leaves it in the register, where the image never touches it."""
    lines = [f"    {pair} x{n}, x{n + 1}, [x2, #{8 * (n - 18)}]" for n in range(18, 30, 2)]
    return "\n".join([f"    add x2, {vcpu}, #{SAVED}", *lines, f"    {pair} x30, x3, [x2, #{8 * LINK}]"])


def save_system() -> str:
    pairs = range(0, len(SAVED_REGISTERS), 2)
    lines = [
        f"    mrs x3, {SAVED_REGISTERS[n]}\n    mrs x4, {SAVED_REGISTERS[n + 1]}\n    stp x3, x4, [x2, #{8 * n}]" for n in pairs
    ]
    return f"    add x2, x0, #{SYSTEM}\n" + "\n".join(lines)


def load_system() -> str:
    pairs = range(0, len(LOADED_REGISTERS), 2)
    lines = [
        f"    ldp x3, x4, [x2, #{8 * n}]\n    msr {LOADED_REGISTERS[n]}, x3\n    msr {LOADED_REGISTERS[n + 1]}, x4" for n in pairs
    ]
    return f"    add x2, x1, #{SYSTEM}\n" + "\n".join(lines)


def move_fp(pair: str, vcpu: str) -> str:
    """V0 to V31, then FPCR and FPSR."""
    lines = [f"    {pair} q{n}, q{n + 1}, [x2, #{16 * n}]" for n in range(0, 32, 2)]
    special = ["mrs x3, fpcr", "mrs x4, fpsr", "stp x3, x4, [x2, #512 - 16]"]
    if pair == "ldp":
        special = ["ldp x3, x4, [x2, #512 - 16]", "msr fpcr, x3", "msr fpsr, x4"]
    return "\n".join([f"    add x2, {vcpu}, #{FP}", *lines, "    add x2, x2, #16", *(f"    {line}" for line in special)])


CODE = f"""
    .section .text.fp_switch, "ax"
    .arch_extension fp
    .arch_extension simd
    .global context_switch
context_switch:
    mov x3, sp
{move_saved("stp", "x0")}
{save_system()}
{move_fp("stp", "x0")}
    ldr w5, [x0, #{CPU}]
    add x2, x0, #{ON_CPU}
    stlr wzr, [x2]
    add x2, x1, #{ON_CPU}
    mov w4, #1
1:  ldar w3, [x2]
    cbnz w3, 2f
    str w4, [x2]
    str w5, [x1, #{CPU}]
{load_system()}
{move_fp("ldp", "x1")}
{move_saved("ldp", "x1")}
    mov sp, x3
    ret
2:  yield
    b 1b
    .global context_switch_end
context_switch_end:

    .global fp_restore
fp_restore:
{move_fp("ldp", "x0")}
    ret
    .global fp_switch_end
fp_switch_end:

    .section .text.vcpu_begin, "ax"
    .global vcpu_begin
vcpu_begin:
    mov x29, xzr
    mov x30, xzr
    mov x0, sp
    bl vcpu_main
"""

assembly(CODE, arch="aarch64")


@external("context_switch")
def context_switch(before: Vcpu, after: Vcpu) -> None:
    """Leave one vCPU's registers and stack, and go on where another left off. Returns when the first one is switched to, on whatever CPU.

    While another CPU still holds the second, this one waits, having given up the first.
    """
    raise NotImplementedError("a switch needs an emulated CPU")


@external("fp_restore")
def fp_restore(v: Vcpu) -> None:
    """Load this CPU's FP/SIMD registers from the vCPU."""


@external("vcpu_begin")
def vcpu_begin() -> None:
    """Where a vCPU's stack begins: `vcpu_main`."""
    raise NotImplementedError


@fn
def vcpu_prepare(v: Vcpu, vmpidr: u64, vttbr: u64, hcr: u64) -> None:
    """A vCPU that has never run: the first switch to it enters `vcpu_main` on an empty stack."""
    for i in range(SYSTEM_WORDS):
        v.system[i] = 0
    v.saved[LINK] = u64(address_of(vcpu_begin))
    v.saved[STACK] = u64(address_of(v))
    v.system[HCR] = hcr
    v.system[VMPIDR] = vmpidr
    v.system[VTTBR] = vttbr
