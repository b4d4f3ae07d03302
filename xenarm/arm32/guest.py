"""A guest's state in SVC mode when it starts, and HYP mode's controls over guests."""

from freestanding import fn, truncate, u64

from xenarm.arm.aarch32 import NO_MACHINE_TYPE, THUMB
from xenarm.arm.frame import BOOT_CONTEXT_SHIFT, FP_WORDS, REGISTERS, Register
from xenarm.arm32.registers import (
    HCPTR_GUEST,
    PSR_RESET,
    SCTLR_RESET,
    Hcr,
    Hdcr,
    read_hdcr,
    read_midr_el1,
    write_elr_el2,
    write_hcptr,
    write_hdcr,
    write_hstr,
    write_spsr_el2,
    write_vpidr,
)
from xenarm.arm32.switch import SCTLR, VMPIDR, fp_restore, system_restore
from xenarm.core.domain import Vcpu

__all__ = ["HCR_GUEST", "HCR_NO_GUEST", "HDCR_GUEST", "arch_runs_aarch32", "cpu_control", "load_general", "load_system", "strays_load", "strays_unload"]

HCR_GUEST = int(
    Hcr(
        VM=True,
        SWIO=True,
        FMO=True,
        IMO=True,
        AMO=True,
        FB=True,
        BSU=1,
        TWI=True,
        TID3=True,
        TSC=True,
        TIDCP=True,
        TACR=True,
        TSW=True,
    )
)
"""WFE traps besides while others wait for the CPU."""

HCR_NO_GUEST = 0

HDCR_GUEST = int(Hdcr(TPM=True, TPMCR=True, TDA=True, TDOSA=True, TDRA=True))


@fn
def arch_runs_aarch32() -> bool:
    """Whether CPUs have AArch32 for kernels: ARMv7 is that."""
    return True


@fn
def cpu_control() -> None:
    """HYP mode's controls over guests, on every CPU alike. What differs among vCPUs comes with the switch. HDCR.HPMN stays as at reset."""
    write_vpidr(read_midr_el1())
    write_hcptr(HCPTR_GUEST)
    write_hdcr(read_hdcr() | HDCR_GUEST)
    write_hstr(0)


@fn
def load_system(v: Vcpu) -> None:
    """PL1 as after a warm reset; what the architecture leaves unknown there is zero, so that nothing passes from one guest to the next."""
    for i in range(VMPIDR):
        v.system[i] = 0
    v.system[SCTLR] = SCTLR_RESET
    system_restore(v)


@fn
def load_general(v: Vcpu) -> None:
    """Registers as PSCI promises them (DEN0022 6.4): SVC mode, all masked, Thumb by bit 0 of the entry, the context in r0; or as for a kernel."""
    for i in range(REGISTERS):
        v.regs[i] = 0
    for i in range(FP_WORDS):
        v.fp[i] = 0
    v.regs[0] = truncate(Register, v.context)
    if v.context >> BOOT_CONTEXT_SHIFT != 0:
        v.regs[1] = NO_MACHINE_TYPE
        v.regs[2] = Register(v.context >> BOOT_CONTEXT_SHIFT)
    fp_restore(v)
    write_elr_el2(v.entry & ~u64(1))
    write_spsr_el2(PSR_RESET | THUMB if v.entry & 1 != 0 else u64(PSR_RESET))


@fn(inline=True)
def strays_unload(v: Vcpu) -> None:
    """ARMv7 has no registers of features that a guest is not shown."""


@fn(inline=True)
def strays_load(v: Vcpu) -> None:
    pass
