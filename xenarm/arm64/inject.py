"""Exceptions that a guest takes because EL2 says so: undefined instruction, external abort (Arm ARM D1.10)."""

from freestanding import fn, u64, wrapping_add

from xenarm.arm64.registers import (
    PSR_MODE_EL1H,
    PSR_RESET,
    Ec,
    read_elr_el2,
    read_spsr_el2,
    read_vbar_el1,
    write_elr_el1,
    write_elr_el2,
    write_esr_el1,
    write_far_el1,
    write_spsr_el1,
    write_spsr_el2,
)

__all__ = [
    "VECTORS_SIZE",
    "guest_is_at_el0",
    "guest_vectors",
    "inject_data_abort",
    "inject_instruction_abort",
    "inject_undefined",
    "skip_instruction",
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


@fn
def guest_is_at_el0(spsr: u64) -> bool:
    return spsr & 0xF == 0 or spsr & MODE_AARCH32 != 0


@fn
def guest_vectors() -> u64:
    """Where the guest's exception vectors are."""
    return read_vbar_el1()


@fn
def vector_offset(spsr: u64) -> u64:
    """Where EL1's table has the entry for an exception from the interrupted mode."""
    if spsr & MODE_AARCH32 != 0:
        return VECTOR_LOWER_32
    if spsr & 0xF == 0:
        return VECTOR_LOWER_64
    return VECTOR_SAME_SPX if spsr & 0xF == PSR_MODE_EL1H else u64(VECTOR_SAME_SP0)


@fn
def take_exception(esr: u64) -> None:
    """Make the guest's next instruction the one at its vector, as if EL1 had taken a synchronous exception where it stands."""
    spsr = read_spsr_el2()
    write_spsr_el1(spsr)
    write_elr_el1(read_elr_el2())
    write_esr_el1(esr)
    write_elr_el2(wrapping_add(read_vbar_el1(), vector_offset(spsr)))
    write_spsr_el2(PSR_RESET)


@fn
def inject_undefined() -> None:
    take_exception(u64(Ec.UNKNOWN << EC_SHIFT | IL))


@fn
def abort_class(lower: u64, same: u64) -> u64:
    return (lower if guest_is_at_el0(read_spsr_el2()) else same) << EC_SHIFT


@fn
def inject_data_abort(address: u64) -> None:
    """A synchronous external abort at a virtual address."""
    write_far_el1(address)
    take_exception(abort_class(Ec.DATA_ABORT_LOWER, Ec.DATA_ABORT_SAME) | IL | EXTERNAL_ABORT)


@fn
def inject_instruction_abort(address: u64) -> None:
    write_far_el1(address)
    take_exception(abort_class(Ec.INSTRUCTION_ABORT_LOWER, Ec.INSTRUCTION_ABORT_SAME) | IL | EXTERNAL_ABORT)


@fn(inline=True)
def skip_instruction(esr: u64) -> None:
    """Go on after the trapped instruction: 4 bytes, or 2 for a short Thumb one (ESR_EL2.IL)."""
    write_elr_el2(wrapping_add(read_elr_el2(), u64(2) + ((esr >> 24) & 2)))


@fn(inline=True)
def trapped_in_vain(esr: u64) -> bool:
    """Whether a conditional instruction trapped though its condition fails: AArch64 has none that trap."""
    return False
