"""Exceptions that a guest takes because HYP mode says so, and going on behind a trapped instruction (Arm ARM B1.8, B1.9)."""

from freestanding import fn, u64, wrapping_add

from xenarm.arm32.registers import (
    Condition,
    Mode,
    Psr,
    Sctlr,
    Ttbcr,
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

VECTORS_SIZE = 0x20
HIGH_VECTORS = 0xFFFF_0000
VECTOR_UNDEFINED = 0x04
VECTOR_PREFETCH_ABORT = 0x0C
VECTOR_DATA_ABORT = 0x10
EXTERNAL_LONG = 1 << 9 | 0x10  # DFSR, IFSR of a synchronous external abort: LPAE, STATUS (B3.13.5)
EXTERNAL_SHORT = 0x08
MODE_MASK = 0x1F
THUMB = int(Psr(T=True))
HIGH = int(Sctlr(V=True))
TAKES_THUMB = int(Sctlr(TE=True))
BIG_ENDIAN = int(Sctlr(EE=True))
LONG_DESCRIPTORS = int(Ttbcr(EAE=True))
IT_LOW = int(Psr(IT_LOW=3))
IT_HIGH = int(Psr(IT_HIGH=63))
CLEARED = int(Psr(M=31, T=True, E=True, J=True)) | IT_LOW | IT_HIGH
DATA_BIG_ENDIAN = int(Psr(E=True))
MASK_IRQ = int(Psr(I=True))
MASK_IRQ_ABORT = int(Psr(I=True, A=True))

write_lr_und: Writer = writer("lr_und")
write_lr_abt: Writer = writer("lr_abt")
write_spsr_und: Writer = writer("spsr_und")
write_spsr_abt: Writer = writer("spsr_abt")


@fn
def guest_is_at_el0(spsr: u64) -> bool:
    return spsr & MODE_MASK == Mode.USR


@fn
def guest_vectors() -> u64:
    """Where the guest's exception vectors are."""
    return u64(HIGH_VECTORS) if read_sctlr_el1() & HIGH != 0 else read_vbar_el1()


@fn
def exception_psr(spsr: u64, mode: u64, masks: u64) -> u64:
    """CPSR after an exception into a mode: as SCTLR.TE and EE say, outside any IT block."""
    sctlr = read_sctlr_el1()
    taken = spsr & ~u64(CLEARED) | mode | masks
    if sctlr & TAKES_THUMB != 0:
        taken |= THUMB
    if sctlr & BIG_ENDIAN != 0:
        taken |= DATA_BIG_ENDIAN
    return taken


@fn
def enter_vector(spsr: u64, mode: u64, masks: u64, vector: u64) -> None:
    write_spsr_el2(exception_psr(spsr, mode, masks))
    write_elr_el2(guest_vectors() + vector)


@fn
def inject_undefined() -> None:
    spsr = read_spsr_el2()
    write_spsr_und(spsr)
    write_lr_und(wrapping_add(read_elr_el2(), u64(2) if spsr & THUMB != 0 else u64(4)))
    enter_vector(spsr, Mode.UND, MASK_IRQ, VECTOR_UNDEFINED)


@fn
def status() -> u64:
    """How the guest's format of tables tells of a synchronous external abort."""
    return u64(EXTERNAL_LONG) if read_ttbcr() & LONG_DESCRIPTORS != 0 else u64(EXTERNAL_SHORT)


@fn
def take_abort(distance: u64, vector: u64) -> None:
    spsr = read_spsr_el2()
    write_spsr_abt(spsr)
    write_lr_abt(wrapping_add(read_elr_el2(), distance))
    enter_vector(spsr, Mode.ABT, MASK_IRQ_ABORT, vector)


@fn
def inject_data_abort(address: u64) -> None:
    """A synchronous external abort at a virtual address."""
    write_dfar(address)
    write_dfsr(status())
    take_abort(8, VECTOR_DATA_ABORT)


@fn
def inject_instruction_abort(address: u64) -> None:
    write_ifar(address)
    write_ifsr(status())
    take_abort(4, VECTOR_PREFETCH_ABORT)


# ---- instructions that may be conditional ------------------------------------------------------------------------------


@fn(inline=True)
def it_state(spsr: u64) -> u64:
    """CPSR.IT as ITSTATE (A2.5.2)."""
    return (spsr >> 25) & 3 | (spsr >> 8) & 0xFC


@fn
def advance_it(spsr: u64) -> u64:
    """ITAdvance (A2.5.2)."""
    state = it_state(spsr)
    next_state = u64(0) if state & 7 == 0 else state & 0xE0 | state << 1 & 0x1F
    return spsr & ~u64(IT_LOW | IT_HIGH) | (next_state & 3) << 25 | (next_state & 0xFC) << 8


@fn(inline=True)
def skip_instruction(esr: u64) -> None:
    """Go on after the trapped instruction: 4 bytes, or 2 for a short Thumb one (HSR.IL); an IT block goes on too."""
    write_elr_el2(wrapping_add(read_elr_el2(), u64(2) + ((esr >> 24) & 2)))
    spsr = read_spsr_el2()
    if spsr & THUMB != 0:
        write_spsr_el2(advance_it(spsr))


@fn
def condition_holds(condition: u64, spsr: u64) -> bool:
    """ConditionPassed (A8.3.1)."""
    n = (spsr >> 31) & 1 != 0
    z = (spsr >> 30) & 1 != 0
    c = (spsr >> 29) & 1 != 0
    overflow = (spsr >> 28) & 1 != 0
    met = True
    match condition >> 1:
        case 0:
            met = z
        case 1:
            met = c
        case 2:
            met = n
        case 3:
            met = overflow
        case 4:
            met = c and not z
        case 5:
            met = n == overflow
        case 6:
            met = n == overflow and not z
        case _:
            return True
    return met if condition & 1 == 0 else not met


@fn
def trapped_in_vain(esr: u64) -> bool:
    """A conditional instruction may trap though its condition fails (B1.14.2): then it is to be skipped. For classes that tell conditions."""
    syndrome = Condition.from_raw(esr)
    spsr = read_spsr_el2()
    if syndrome.CV:
        return not condition_holds(u64(syndrome.COND), spsr)
    state = it_state(spsr)
    return spsr & THUMB != 0 and state & 0xF != 0 and not condition_holds(state >> 4, spsr)
