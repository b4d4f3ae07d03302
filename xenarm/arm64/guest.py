"""A guest's state at EL1 when it starts, and EL2's controls over guests."""

from freestanding import fn, u32, u64

from xenarm.arm.instructions import instruction_sync
from xenarm.arm64.aarch32 import aarch32_general, aarch32_register, aarch32_register_set, aarch32_system
from xenarm.arm64.feature_controls import features_hold, strays_expect
from xenarm.arm64.features import CPTR_GUEST, CPTR_GUEST_NO_FP, held
from xenarm.arm64.registers import (
    PSR_RESET,
    SCTLR_EL1_RES1,
    Hcr,
    read_midr_el1,
    write_afsr0_el1,
    write_afsr1_el1,
    write_amair_el1,
    write_contextidr_el1,
    write_cpacr_el1,
    write_cptr_el2,
    write_csselr_el1,
    write_elr_el1,
    write_elr_el2,
    write_esr_el1,
    write_far_el1,
    write_hstr_el2,
    write_mair_el1,
    write_mdscr_el1,
    write_par_el1,
    write_sctlr_el1,
    write_sp_el0,
    write_sp_el1,
    write_spsr_el1,
    write_spsr_el2,
    write_tcr_el1,
    write_tpidr_el0,
    write_tpidr_el1,
    write_tpidrro_el0,
    write_ttbr0_el1,
    write_ttbr1_el1,
    write_vbar_el1,
    write_vpidr_el2,
)
from xenarm.arm64.switch import fp_clear, fp_reset
from xenarm.core.domain import Vcpu, vcpu_is_aarch32

__all__ = ["HCR_GUEST", "HCR_NO_GUEST", "cpu_control", "guest_register", "guest_register_set", "load_general", "load_system"]

HCR_SET, HCR_CLEAR = held("HCR_EL2")
HCR_GUEST = int(
    Hcr(
        VM=True,
        SWIO=True,
        FMO=True,
        IMO=True,
        AMO=True,
        FB=True,
        BSU=1,
        TSC=True,
        TSW=True,
        RW=True,
    )
) | HCR_SET
"""What `features.py` asks for is among it. WFE traps besides while others wait for the CPU."""
assert HCR_GUEST & HCR_CLEAR == 0

HCR_NO_GUEST = int(Hcr(RW=True))
ZERO_REGISTER = 31


@fn
def guest_register(v: Vcpu, n: u32) -> u64:
    """Register 0 to 30, as the syndrome names it; 31 reads as zero."""
    if vcpu_is_aarch32(v):
        return aarch32_register(v, n)
    return u64(0) if n == ZERO_REGISTER else v.regs[n]


@fn
def guest_register_set(v: Vcpu, n: u32, value: u64) -> None:
    if vcpu_is_aarch32(v):
        aarch32_register_set(v, n, value)
    elif n != ZERO_REGISTER:
        v.regs[n] = value


@fn
def cpu_control() -> None:
    """EL2's controls over guests, on every CPU alike. What differs among vCPUs comes with the switch."""
    write_vpidr_el2(read_midr_el1())
    write_cptr_el2(CPTR_GUEST)
    instruction_sync()
    fp_clear()
    write_cptr_el2(CPTR_GUEST_NO_FP)
    features_hold()
    write_hstr_el2(0)


@fn
def load_system(v: Vcpu) -> None:
    """EL1 as after a warm reset; what the architecture leaves unknown there is zero, so that nothing passes from one guest to the next."""
    write_sctlr_el1(SCTLR_EL1_RES1)
    write_cpacr_el1(0)
    write_vbar_el1(0)
    write_ttbr0_el1(0)
    write_ttbr1_el1(0)
    write_tcr_el1(0)
    write_mair_el1(0)
    write_amair_el1(0)
    write_contextidr_el1(0)
    write_tpidr_el0(0)
    write_tpidrro_el0(0)
    write_tpidr_el1(0)
    write_sp_el0(0)
    write_sp_el1(0)
    write_elr_el1(0)
    write_spsr_el1(0)
    write_esr_el1(0)
    write_far_el1(0)
    write_afsr0_el1(0)
    write_afsr1_el1(0)
    write_par_el1(0)
    write_csselr_el1(0)
    write_mdscr_el1(0)
    strays_expect(v)
    if vcpu_is_aarch32(v):
        aarch32_system(v)


@fn
def load_general(v: Vcpu) -> None:
    """Registers as PSCI promises them (DEN0022 6.4): EL1h, all masked, the context in x0."""
    v.regs.fill(0)
    fp_reset(v)
    if vcpu_is_aarch32(v):
        aarch32_general(v)
        return
    v.regs[0] = v.context
    write_elr_el2(v.entry)
    write_spsr_el2(PSR_RESET)
