"""Guests in AArch32 under EL2 of AArch64: their registers by mode, the state that only they have, exceptions that they take.

The general registers of all modes lie in X0 to X30 (Arm ARM DDI 0487, D1.6.1); what AArch32 leaves in an upper half is unknown. SPSR_svc is SPSR_EL1, DFSR is
ESR_EL1, DFAR and IFAR are the halves of FAR_EL1; the rest has names of its own.
"""

from freestanding import fn, truncate, u32, u64, wrapping_add

from xenarm.arm.aarch32 import (
    ABORT_DISTANCE,
    FETCH_DISTANCE,
    MASK_IRQ,
    MASK_IRQ_ABORT,
    NO_MACHINE_TYPE,
    PSR_RESET,
    SCTLR_RESET,
    THUMB,
    VECTOR_DATA_ABORT,
    VECTOR_PREFETCH_ABORT,
    VECTOR_UNDEFINED,
    Mode,
    Psr,
    external_abort,
    taken_psr,
    undefined_distance,
    vectors_base,
)
from xenarm.arm.fields import Hcr
from xenarm.arm64.registers import (
    Reader,
    Writer,
    read_aa64pfr0,
    read_elr_el2,
    read_far_el1,
    read_hcr_el2,
    read_sctlr_el1,
    read_spsr_el2,
    read_tcr_el1,
    read_vbar_el1,
    reader,
    write_elr_el2,
    write_esr_el1,
    write_far_el1,
    write_hcr_el2,
    write_sctlr_el1,
    write_spsr_el2,
    write_tcr_el1,
    writer,
)
from xenarm.core.domain import Vcpu

__all__ = [
    "BOOT_TREE_SHIFT",
    "arch_runs_aarch32",
    "aarch32_arrives",
    "aarch32_data_abort",
    "aarch32_fp_gives",
    "aarch32_fp_takes",
    "aarch32_general",
    "aarch32_instruction_abort",
    "aarch32_leaves",
    "aarch32_register",
    "aarch32_register_set",
    "aarch32_system",
    "aarch32_undefined",
    "aarch32_vectors",
]

BOOT_TREE_SHIFT = 32
"""Where in a vCPU's context the device tree's address is for Linux's boot protocol: r2."""

LOW = 0xFFFF_FFFF
RW = int(Hcr(RW=True))
MODE_MASK = 0x1F

read_spsr_abt: Reader = reader("spsr_abt")
write_spsr_abt: Writer = writer("spsr_abt")
read_spsr_und: Reader = reader("spsr_und")
write_spsr_und: Writer = writer("spsr_und")
read_spsr_irq: Reader = reader("spsr_irq")
write_spsr_irq: Writer = writer("spsr_irq")
read_spsr_fiq: Reader = reader("spsr_fiq")
write_spsr_fiq: Writer = writer("spsr_fiq")
read_dacr32: Reader = reader("dacr32_el2")
write_dacr32: Writer = writer("dacr32_el2")
read_ifsr32: Reader = reader("ifsr32_el2")
write_ifsr32: Writer = writer("ifsr32_el2")
read_fpexc32: Reader = reader("fpexc32_el2")
write_fpexc32: Writer = writer("fpexc32_el2")

AT_EL1 = 2  # of ID_AA64PFR0_EL1.EL1: AArch64 and AArch32


@fn
def arch_runs_aarch32() -> bool:
    """Whether this CPU has AArch32 for kernels, and not for programs at most."""
    return (read_aa64pfr0() >> 4) & 0xF == AT_EL1


# ---- general registers ------------------------------------------------------------------------------------------------

SP = 13
LR = 14
FIRST_FIQ = 8
FIQ_SHIFT = 16
ZERO_REGISTER = 31
LR_ABT = 20
LR_UND = 22


@fn
def banked(mode: u64, n: u32) -> u32:
    """The number that AArch64 has for register `n` in a mode. The syndrome has it already, but QEMU up to 7.2 at least gives AArch32's in data aborts;
    what is mapped stays what it is, since nothing of another mode is in it."""
    if n < FIRST_FIQ or n > LR:
        return n
    if mode == Mode.FIQ:
        return n + FIQ_SHIFT
    if n < SP:
        return n
    match mode:
        case Mode.IRQ:
            return 17 - (n - SP)
        case Mode.SVC:
            return 19 - (n - SP)
        case Mode.ABT:
            return 21 - (n - SP)
        case Mode.UND:
            return 23 - (n - SP)
        case _:
            return n


@fn
def aarch32_register(v: Vcpu, n: u32) -> u64:
    at = banked(read_spsr_el2() & MODE_MASK, n)
    return u64(0) if at >= ZERO_REGISTER else v.regs[at] & LOW


@fn
def aarch32_register_set(v: Vcpu, n: u32, value: u64) -> None:
    at = banked(read_spsr_el2() & MODE_MASK, n)
    if at < ZERO_REGISTER:
        v.regs[at] = value & LOW


# ---- state that only AArch32 has --------------------------------------------------------------------------------------


@fn(inline=False)
def aarch32_leaves(v: Vcpu) -> None:
    """The vCPU's registers leave this CPU, and EL1 is AArch64's again."""
    a = v.aarch32
    a.spsr_abt = truncate(u32, read_spsr_abt())
    a.spsr_und = truncate(u32, read_spsr_und())
    a.spsr_irq = truncate(u32, read_spsr_irq())
    a.spsr_fiq = truncate(u32, read_spsr_fiq())
    a.dacr = truncate(u32, read_dacr32())
    a.ifsr = truncate(u32, read_ifsr32())
    write_hcr_el2(read_hcr_el2() | RW)


@fn(inline=False)
def aarch32_arrives(v: Vcpu) -> None:
    a = v.aarch32
    write_spsr_abt(u64(a.spsr_abt))
    write_spsr_und(u64(a.spsr_und))
    write_spsr_irq(u64(a.spsr_irq))
    write_spsr_fiq(u64(a.spsr_fiq))
    write_dacr32(u64(a.dacr))
    write_ifsr32(u64(a.ifsr))
    # Cortex-A57 and A72 may miss DACR32_EL2 unless registers of AArch64 are written after it (errata 852523, 853709).
    write_tcr_el1(read_tcr_el1())
    write_sctlr_el1(read_sctlr_el1())
    write_hcr_el2(read_hcr_el2() & ~u64(RW))


@fn
def aarch32_fp_takes(v: Vcpu) -> None:
    """FPEXC is only reached while FP does not trap."""
    write_fpexc32(u64(v.aarch32.fpexc))


@fn
def aarch32_fp_gives(v: Vcpu) -> None:
    v.aarch32.fpexc = truncate(u32, read_fpexc32())


@fn
def aarch32_system(v: Vcpu) -> None:
    """Beside what AArch64 resets: EL1 as after a warm reset of AArch32. HCR_EL2 has just been set as for AArch64."""
    a = v.aarch32
    a.spsr_abt = 0
    a.spsr_und = 0
    a.spsr_irq = 0
    a.spsr_fiq = 0
    a.dacr = 0
    a.ifsr = 0
    a.fpexc = 0
    aarch32_arrives(v)
    write_sctlr_el1(SCTLR_RESET)


@fn
def aarch32_general(v: Vcpu) -> None:
    """Registers as PSCI promises them (DEN0022 6.4): SVC mode, all masked, Thumb by bit 0 of the entry, the context in r0; or as for a kernel."""
    v.regs[0] = v.context & LOW
    if v.context >> BOOT_TREE_SHIFT != 0:
        v.regs[1] = NO_MACHINE_TYPE
        v.regs[2] = v.context >> BOOT_TREE_SHIFT
    write_elr_el2(v.entry & (LOW - 1))
    write_spsr_el2(PSR_RESET | THUMB if v.entry & 1 != 0 else u64(PSR_RESET))


# ---- exceptions that EL2 has the guest take -----------------------------------------------------------------------------

DIT = int(Psr(J=True))  # in SPSR_EL2; where SPSR_EL2 has SS, AArch32's own PSRs have it
SS = int(Psr(SS=True))
DIT_SHIFT = 3


@fn
def own_psr(spsr: u64) -> u64:
    """SPSR_EL2 as AArch32 has it in its own SPSRs."""
    return spsr & ~u64(DIT | SS) | (spsr & DIT) >> DIT_SHIFT


@fn
def aarch32_vectors() -> u64:
    return vectors_base(read_sctlr_el1(), read_vbar_el1())


@fn
def enter_vector(spsr: u64, mode: u64, masks: u64, vector: u64) -> None:
    write_spsr_el2(taken_psr(spsr, mode, masks, read_sctlr_el1()))
    write_elr_el2((aarch32_vectors() + vector) & LOW)


@fn
def aarch32_undefined(v: Vcpu) -> None:
    spsr = read_spsr_el2()
    write_spsr_und(own_psr(spsr))
    v.regs[LR_UND] = wrapping_add(read_elr_el2(), undefined_distance(spsr)) & LOW
    enter_vector(spsr, Mode.UND, MASK_IRQ, VECTOR_UNDEFINED)


@fn
def take_abort(v: Vcpu, distance: u64, vector: u64) -> None:
    spsr = read_spsr_el2()
    write_spsr_abt(own_psr(spsr))
    v.regs[LR_ABT] = wrapping_add(read_elr_el2(), distance) & LOW
    enter_vector(spsr, Mode.ABT, MASK_IRQ_ABORT, vector)


@fn
def aarch32_data_abort(v: Vcpu, address: u64) -> None:
    """A synchronous external abort at a virtual address: DFAR and DFSR."""
    write_far_el1(read_far_el1() & ~u64(LOW) | address & LOW)
    write_esr_el1(external_abort(read_tcr_el1()))
    take_abort(v, ABORT_DISTANCE, VECTOR_DATA_ABORT)


@fn
def aarch32_instruction_abort(v: Vcpu, address: u64) -> None:
    """IFAR and IFSR."""
    write_far_el1(read_far_el1() & LOW | address << 32)
    write_ifsr32(external_abort(read_tcr_el1()))
    take_abort(v, FETCH_DISTANCE, VECTOR_PREFETCH_ABORT)
