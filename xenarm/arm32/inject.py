"""Exceptions that a guest takes because HYP mode says so, and going on behind a trapped instruction (Arm ARM B1.8, B1.9)."""

from freestanding import fn, u64, wrapping_add, wrapping_sub

from xenarm.arm.aarch32 import (
    ABORT_DISTANCE,
    FETCH_DISTANCE,
    MASK_IRQ,
    MASK_IRQ_ABORT,
    THUMB,
    VECTORS_SIZE,
    VECTOR_DATA_ABORT,
    VECTOR_PREFETCH_ABORT,
    VECTOR_UNDEFINED,
    advance_it,
    external_abort,
    in_vain,
    taken_psr,
    undefined_distance,
    vectors_base,
)
from xenarm.arm32.registers import (
    Mode,
    Writer,
    read_elr_el2,
    read_sctlr_el1,
    read_spsr_el2,
    read_ttbcr,
    read_vbar_el1,
    write_dfar,
    write_dfsr,
    write_elr_el2,
    write_ifar,
    write_ifsr,
    write_spsr_el2,
    writer,
)
from xenarm.core.domain import Vcpu

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

MODE_MASK = 0x1F

write_lr_und: Writer = writer("lr_und")
write_lr_abt: Writer = writer("lr_abt")
write_spsr_und: Writer = writer("spsr_und")
write_spsr_abt: Writer = writer("spsr_abt")


@fn
def guest_is_at_el0(v: Vcpu) -> bool:
    return read_spsr_el2() & MODE_MASK == Mode.USR


@fn
def guest_vectors() -> u64:
    return vectors_base(read_sctlr_el1(), read_vbar_el1())


@fn
def fetches_vectors(v: Vcpu) -> bool:
    """Whether the guest is at its own exception vectors."""
    return wrapping_sub(read_elr_el2(), guest_vectors()) < VECTORS_SIZE


@fn
def enter_vector(spsr: u64, mode: u64, masks: u64, vector: u64) -> None:
    write_spsr_el2(taken_psr(spsr, mode, masks, read_sctlr_el1()))
    write_elr_el2(guest_vectors() + vector)


@fn
def inject_undefined(v: Vcpu) -> None:
    spsr = read_spsr_el2()
    write_spsr_und(spsr)
    write_lr_und(wrapping_add(read_elr_el2(), undefined_distance(spsr)))
    enter_vector(spsr, Mode.UND, MASK_IRQ, VECTOR_UNDEFINED)


@fn
def take_abort(distance: u64, vector: u64) -> None:
    spsr = read_spsr_el2()
    write_spsr_abt(spsr)
    write_lr_abt(wrapping_add(read_elr_el2(), distance))
    enter_vector(spsr, Mode.ABT, MASK_IRQ_ABORT, vector)


@fn
def inject_data_abort(v: Vcpu, address: u64) -> None:
    """A synchronous external abort at a virtual address."""
    write_dfar(address)
    write_dfsr(external_abort(read_ttbcr()))
    take_abort(ABORT_DISTANCE, VECTOR_DATA_ABORT)


@fn
def inject_instruction_abort(v: Vcpu, address: u64) -> None:
    write_ifar(address)
    write_ifsr(external_abort(read_ttbcr()))
    take_abort(FETCH_DISTANCE, VECTOR_PREFETCH_ABORT)


@fn(inline=True)
def skip_instruction(esr: u64) -> None:
    """Go on after the trapped instruction: 4 bytes, or 2 for a short Thumb one (HSR.IL); an IT block goes on too."""
    write_elr_el2(wrapping_add(read_elr_el2(), u64(2) + ((esr >> 24) & 2)))
    spsr = read_spsr_el2()
    if spsr & THUMB != 0:
        write_spsr_el2(advance_it(spsr))


skip_trapped = skip_instruction
"""The same on the full way."""


@fn
def trapped_in_vain(esr: u64) -> bool:
    """Whether a conditional instruction trapped though its condition fails. For classes that tell conditions."""
    return in_vain(esr, read_spsr_el2())
