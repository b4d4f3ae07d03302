"""Traps that only AArch64 knows: accesses to its system registers, and all that a guest in AArch32 does. The rest is `xenarm/arm/traps.py`'s.

Whatever AArch32 does comes by vectors of its own, with all registers in the frame: also what a 32-bit program of a 64-bit guest does.
"""

from freestanding import fn, truncate, u32, u64

from xenarm.abi.hypercall import HYPERCALL_TAG
from xenarm.arm.coprocessor_traps import COPROCESSOR_TRAPS
from xenarm.arm.run import vcpu_wait_for_interrupt, vcpu_yield
from xenarm.arm.verdict import Verdict, VerdictHandler, trap_unknown_call
from xenarm.arm64.guest import guest_register, guest_register_set
from xenarm.arm64.guest_sysregs import sysreg_access
from xenarm.arm64.inject import guest_is_at_el0
from xenarm.arm64.registers import Ec, SysregSyndrome
from xenarm.arm64.switch import fp_take
from xenarm.config import CONFIG
from xenarm.core.domain import Vcpu
from xenarm.core.hypercall import hypercall_aarch32
from xenarm.psci.guest import psci_call

__all__ = ["CONDITIONAL", "SYSTEM_TRAPS"]

LOW = 0xFFFF_FFFF
WFE = 1


@fn
def trap_sysreg(v: Vcpu, esr: u64) -> Verdict:
    syndrome = SysregSyndrome.from_raw(esr)
    value = u64(0) if syndrome.READ else guest_register(v, syndrome.RT)
    iss = truncate(u32, esr) & 0x1FF_FFFF
    handled, result = sysreg_access(v, iss, guest_is_at_el0(v), value)
    if not handled:
        return Verdict.UNDEFINED
    if syndrome.READ:
        guest_register_set(v, syndrome.RT, result)
    return Verdict.HANDLED


# ---- AArch32 ------------------------------------------------------------------------------------------------------------


@fn
def trap_wait(v: Vcpu, esr: u64) -> Verdict:
    """WFI, WFE."""
    if esr & WFE == 0:
        vcpu_wait_for_interrupt(v)
    else:
        vcpu_yield(v)
    return Verdict.HANDLED


@fn
def trap_fp(v: Vcpu, esr: u64) -> Verdict:
    """The first use of FP or SIMD is done again."""
    fp_take(v)
    return Verdict.STAY


@fn
def trap_smc32(v: Vcpu, esr: u64) -> Verdict:
    """Undefined at EL0, where it does not even trap, so that a program can never ask for its kernel."""
    if guest_is_at_el0(v):
        return Verdict.UNDEFINED
    v.regs[0] = psci_call(v) & LOW
    return Verdict.HANDLED


@fn
def trap_hvc32(v: Vcpu, esr: u64) -> Verdict:
    """As in AArch64; the number of a hypercall is in r12. ELR_EL2 already points behind the instruction, which is no conditional one."""
    tag = esr & 0xFFFF
    if tag == 0:
        v.regs[0] = psci_call(v) & LOW
    elif tag == HYPERCALL_TAG:
        v.regs[0] = hypercall_aarch32(v) & LOW
    else:
        return trap_unknown_call(v, esr)
    return Verdict.STAY


OF_PROGRAMS: dict[int, VerdictHandler] = {Ec.WFX: trap_wait, Ec.FP: trap_fp}
OF_GUESTS: dict[int, VerdictHandler] = {**COPROCESSOR_TRAPS, Ec.HVC32: trap_hvc32, Ec.SMC32: trap_smc32}
SYSTEM_TRAPS: dict[int, VerdictHandler] = {Ec.SYSREG: trap_sysreg, **OF_PROGRAMS, **(OF_GUESTS if CONFIG.AARCH32_GUESTS else {})}

CONDITIONAL: tuple[int, ...] = (Ec.WFX, Ec.CP15_32, Ec.CP15_64, Ec.CP14_32, Ec.CP14_DT, Ec.CP10, Ec.CP14_64, Ec.SMC32)
"""Classes whose instruction may be conditional, in AArch32, and trap though the condition fails."""
