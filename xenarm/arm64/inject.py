"""Exceptions that a guest takes because EL2 says so: undefined instruction, external abort (Arm ARM D1.10)."""

from freestanding import fn, u64, wrapping_add, wrapping_sub

from xenarm.arm.aarch32 import THUMB, VECTORS_SIZE as AARCH32_VECTORS_SIZE
from xenarm.arm.aarch32 import Mode, advance_it, in_vain
from xenarm.arm64.aarch32 import aarch32_data_abort, aarch32_instruction_abort, aarch32_undefined, aarch32_vectors
from xenarm.arm64.registers import (
    PSR_MODE_EL1H,
    PSR_RESET,
    Ec,
    Sctlr,
    Spsr,
    read_elr_el2,
    read_sctlr_el1,
    read_spsr_el2,
    read_vbar_el1,
    write_elr_el1,
    write_elr_el2,
    write_esr_el1,
    write_far_el1,
    write_spsr_el1,
    write_spsr_el2,
)
from xenarm.core.domain import Vcpu, vcpu_is_aarch32

__all__ = [
    "fetches_vectors",
    "guest_is_at_el0",
    "inject_data_abort",
    "inject_instruction_abort",
    "inject_undefined",
    "skip_instruction",
    "skip_trapped",
    "trapped_in_vain",
]

VECTORS_SIZE = 0x800
EC_SHIFT = 26
IL = 1 << 25
EXTERNAL_ABORT = 0x10
MODE_MASK = 0x1F
MODE_AARCH32 = 0x10
VECTOR_SAME_SP0 = 0x000
VECTOR_SAME_SPX = 0x200
VECTOR_LOWER_64 = 0x400
VECTOR_LOWER_32 = 0x600
PAN = int(Spsr(PAN=True))
SSBS = int(Spsr(SSBS=True))
DIT = int(Spsr(DIT=True))
DIT_AARCH32 = 1 << 21


@fn
def guest_is_at_el0(v: Vcpu) -> bool:
    spsr = read_spsr_el2()
    if vcpu_is_aarch32(v):
        return spsr & MODE_MASK == Mode.USR
    return spsr & 0xF == 0 or spsr & MODE_AARCH32 != 0


@fn
def fetches_vectors(v: Vcpu) -> bool:
    """Whether the guest is at its own exception vectors."""
    if vcpu_is_aarch32(v):
        return wrapping_sub(read_elr_el2(), aarch32_vectors()) < AARCH32_VECTORS_SIZE
    return wrapping_sub(read_elr_el2(), read_vbar_el1()) < VECTORS_SIZE


@fn
def vector_offset(spsr: u64) -> u64:
    """Where EL1's table has the entry for an exception from the interrupted mode."""
    if spsr & MODE_AARCH32 != 0:
        return VECTOR_LOWER_32
    if spsr & 0xF == 0:
        return VECTOR_LOWER_64
    return VECTOR_SAME_SPX if spsr & 0xF == PSR_MODE_EL1H else u64(VECTOR_SAME_SP0)


@fn
def entry_state(spsr: u64) -> u64:
    """PSTATE as it is when EL1 takes an exception (Arm ARM D1.4.1), from what was interrupted: privileged accesses to a process's memory, store
    bypass and data-independent timing are as the guest's kernel relies on. Where the CPU has no such bit, ERET takes none."""
    sctlr = Sctlr.from_raw(read_sctlr_el1())
    state = u64(PSR_RESET) | spsr & PAN
    if not sctlr.SPAN:
        state |= PAN
    if sctlr.DSSBS:
        state |= SSBS
    if spsr & (DIT if spsr & MODE_AARCH32 == 0 else u64(DIT_AARCH32)) != 0:
        state |= DIT
    return state


@fn
def take_exception(esr: u64) -> None:
    """Make the guest's next instruction the one at its vector, as if EL1 had taken a synchronous exception where it stands."""
    spsr = read_spsr_el2()
    write_spsr_el1(spsr)
    write_elr_el1(read_elr_el2())
    write_esr_el1(esr)
    write_elr_el2(wrapping_add(read_vbar_el1(), vector_offset(spsr)))
    write_spsr_el2(entry_state(spsr))


@fn
def inject_undefined(v: Vcpu) -> None:
    if vcpu_is_aarch32(v):
        aarch32_undefined(v)
    else:
        take_exception(u64(Ec.UNKNOWN << EC_SHIFT | IL))


@fn
def abort_class(v: Vcpu, lower: u64, same: u64) -> u64:
    return (lower if guest_is_at_el0(v) else same) << EC_SHIFT


@fn
def inject_data_abort(v: Vcpu, address: u64) -> None:
    """A synchronous external abort at a virtual address."""
    if vcpu_is_aarch32(v):
        aarch32_data_abort(v, address)
        return
    write_far_el1(address)
    take_exception(abort_class(v, Ec.DATA_ABORT_LOWER, Ec.DATA_ABORT_SAME) | IL | EXTERNAL_ABORT)


@fn
def inject_instruction_abort(v: Vcpu, address: u64) -> None:
    if vcpu_is_aarch32(v):
        aarch32_instruction_abort(v, address)
        return
    write_far_el1(address)
    take_exception(abort_class(v, Ec.INSTRUCTION_ABORT_LOWER, Ec.INSTRUCTION_ABORT_SAME) | IL | EXTERNAL_ABORT)


@fn(inline=True)
def skip_instruction(esr: u64) -> None:
    """Go on after an instruction of AArch64 that trapped."""
    write_elr_el2(wrapping_add(read_elr_el2(), u64(2) + ((esr >> 24) & 2)))


@fn
def skip_trapped(esr: u64) -> None:
    """Go on after an instruction of either state: 4 bytes, or 2 for a short Thumb one (ESR_EL2.IL); an IT block goes on too."""
    skip_instruction(esr)
    spsr = read_spsr_el2()
    if spsr & (MODE_AARCH32 | THUMB) == MODE_AARCH32 | THUMB:
        write_spsr_el2(advance_it(spsr))


@fn
def trapped_in_vain(esr: u64) -> bool:
    """Whether a conditional instruction trapped though its condition fails: AArch64 has none that trap. For classes that tell conditions."""
    spsr = read_spsr_el2()
    return spsr & MODE_AARCH32 != 0 and in_vain(esr, spsr)
