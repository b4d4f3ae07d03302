"""AArch32 as a guest's state: its PSR, the syndromes of its traps, conditions and IT blocks, what an exception makes of the PSR.

Nothing here touches a register: HYP mode of ARMv7 and EL2 of ARMv8 both do with it what their registers are. Sections are those of the
Arm ARM for ARMv7-A (DDI 0406C); what ARMv8 has beyond is named.
"""

from freestanding import Bits, bits, fn, u32, u64

from xenarm.config import CONFIG

__all__ = [
    "ABORT_DISTANCE",
    "Condition",
    "CoprocessorSyndrome",
    "FETCH_DISTANCE",
    "MASK_IRQ",
    "MASK_IRQ_ABORT",
    "Mode",
    "NO_MACHINE_TYPE",
    "PSR_RESET",
    "Psr",
    "SCTLR_RESET",
    "Sctlr",
    "THUMB",
    "Ttbcr",
    "VECTORS_SIZE",
    "VECTOR_DATA_ABORT",
    "VECTOR_PREFETCH_ABORT",
    "VECTOR_UNDEFINED",
    "WideSyndrome",
    "advance_it",
    "condition_holds",
    "external_abort",
    "in_vain",
    "it_state",
    "taken_psr",
    "undefined_distance",
    "vectors_base",
]


class Condition(Bits, type=u64):
    """The syndrome of a trapped instruction that may be conditional."""

    CV: bool = bits(24)
    COND: u32 = bits(23, 20)


REGISTER_BIT = 1 if CONFIG.ARM64 else 0
"""EL2 of AArch64 is told of registers by their AArch64 numbers, which have a bit more (DDI 0487, D1.6.1)."""


class CoprocessorSyndrome(Bits, type=u64):
    """That of a trapped MCR or MRC."""

    OPC2: u32 = bits(19, 17)
    OPC1: u32 = bits(16, 14)
    CRN: u32 = bits(13, 10)
    RT: u32 = bits(8 + REGISTER_BIT, 5)
    CRM: u32 = bits(4, 1)
    READ: bool = bits(0)


class WideSyndrome(Bits, type=u64):
    """That of a trapped MCRR or MRRC."""

    OPC1: u32 = bits(19, 16)
    RT2: u32 = bits(13 + REGISTER_BIT, 10)
    RT: u32 = bits(8 + REGISTER_BIT, 5)
    CRM: u32 = bits(4, 1)
    READ: bool = bits(0)


class Psr(Bits, type=u64):
    """CPSR and SPSR (B1.3.3), as EL2 of ARMv8 sees them too (SPSR_EL2)."""

    M: u32 = bits(4, 0)
    T: bool = bits(5)
    F: bool = bits(6)
    I: bool = bits(7)  # noqa: E741
    A: bool = bits(8)
    E: bool = bits(9)
    IT_HIGH: u32 = bits(15, 10)
    IL: bool = bits(20)  # ARMv8
    SS: bool = bits(21)  # SPSR_EL2 only; CPSR.DIT
    PAN: bool = bits(22)  # ARMv8.1
    SSBS: bool = bits(23)  # ARMv8.5
    J: bool = bits(24)  # ARMv7; SPSR_EL2.DIT
    IT_LOW: u32 = bits(26, 25)
    FLAGS: u32 = bits(31, 28)


class Sctlr(Bits, type=u64):
    """SCTLR and HSCTLR, as far as both agree; V, SPAN, TE and DSSBS are SCTLR's (B4.1.130, B4.1.75)."""

    M: bool = bits(0)
    A: bool = bits(1)
    C: bool = bits(2)
    I: bool = bits(12)  # noqa: E741  the manual's name
    V: bool = bits(13)
    WXN: bool = bits(19)
    SPAN: bool = bits(23)  # ARMv8.1; one before
    EE: bool = bits(25)
    TE: bool = bits(30)
    DSSBS: bool = bits(31)  # ARMv8.5; zero before


class Ttbcr(Bits, type=u64):
    """TTBCR in its long-descriptor format (B4.1.153)."""

    T0SZ: u32 = bits(2, 0)
    IRGN0: u32 = bits(9, 8)
    ORGN0: u32 = bits(11, 10)
    SH0: u32 = bits(13, 12)
    EPD1: bool = bits(23)
    EAE: bool = bits(31)


class Mode:
    """CPSR.M."""

    USR = 0x10
    FIQ = 0x11
    IRQ = 0x12
    SVC = 0x13
    MON = 0x16
    ABT = 0x17
    HYP = 0x1A
    UND = 0x1B
    SYS = 0x1F


SCTLR_RESET = 0x00C5_0078
"""Bits that are one, little-endian, ARM vectors at 0 (B4.1.130)."""
PSR_RESET = int(Psr(M=Mode.SVC, F=True, I=True, A=True))
NO_MACHINE_TYPE = 0xFFFF_FFFF
"""In r1 of a kernel that is handed a device tree (Linux's Documentation/arch/arm/booting.rst)."""

THUMB = int(Psr(T=True))
IT = int(Psr(IT_LOW=3, IT_HIGH=63))

# ---- exceptions (B1.8, B1.9) ---------------------------------------------------------------------------------------------

VECTORS_SIZE = 0x20
HIGH_VECTORS = 0xFFFF_0000
VECTOR_UNDEFINED = 0x04
VECTOR_PREFETCH_ABORT = 0x0C
VECTOR_DATA_ABORT = 0x10
ABORT_DISTANCE = 8  # of LR_abt from the instruction
FETCH_DISTANCE = 4
MASK_IRQ = int(Psr(I=True))
MASK_IRQ_ABORT = int(Psr(I=True, A=True))
EXTERNAL_LONG = 1 << 9 | 0x10  # DFSR, IFSR of a synchronous external abort: LPAE, STATUS (B3.13.5)
EXTERNAL_SHORT = 0x08

HIGH = int(Sctlr(V=True))
SPAN = int(Sctlr(SPAN=True))
BIG_ENDIAN = int(Sctlr(EE=True))
TAKES_THUMB = int(Sctlr(TE=True))
DSSBS = int(Sctlr(DSSBS=True))
LONG_DESCRIPTORS = int(Ttbcr(EAE=True))
CLEARED = int(Psr(M=31, T=True, E=True, IL=True, SS=True, SSBS=True, J=not CONFIG.ARM64)) | IT
DATA_BIG_ENDIAN = int(Psr(E=True))
PAN = int(Psr(PAN=True))
SSBS = int(Psr(SSBS=True))


@fn
def vectors_base(sctlr: u64, vbar: u64) -> u64:
    """Where exceptions go."""
    return u64(HIGH_VECTORS) if sctlr & HIGH != 0 else vbar & 0xFFFF_FFFF


@fn
def taken_psr(psr: u64, mode: u64, masks: u64, sctlr: u64) -> u64:
    """The PSR after an exception into a mode, as SCTLR says, outside any IT block (ARMv8: DDI 0487, G1.12.5)."""
    taken = psr & ~u64(CLEARED) | mode | masks
    if sctlr & TAKES_THUMB != 0:
        taken |= THUMB
    if sctlr & BIG_ENDIAN != 0:
        taken |= DATA_BIG_ENDIAN
    if CONFIG.ARM64 and sctlr & SPAN == 0:
        taken |= PAN
    if CONFIG.ARM64 and sctlr & DSSBS != 0:
        taken |= SSBS
    return taken


@fn
def undefined_distance(psr: u64) -> u64:
    """Of LR_und from the instruction."""
    return u64(2) if psr & THUMB != 0 else u64(4)


@fn
def external_abort(ttbcr: u64) -> u64:
    """DFSR or IFSR of a synchronous external abort, in the guest's format of tables."""
    return u64(EXTERNAL_LONG) if ttbcr & LONG_DESCRIPTORS != 0 else u64(EXTERNAL_SHORT)


# ---- instructions that may be conditional ------------------------------------------------------------------------------


@fn(inline=True)
def it_state(psr: u64) -> u64:
    """CPSR.IT as ITSTATE (A2.5.2)."""
    return (psr >> 25) & 3 | (psr >> 8) & 0xFC


@fn
def advance_it(psr: u64) -> u64:
    """ITAdvance (A2.5.2)."""
    state = it_state(psr)
    next_state = u64(0) if state & 7 == 0 else state & 0xE0 | state << 1 & 0x1F
    return psr & ~u64(IT) | (next_state & 3) << 25 | (next_state & 0xFC) << 8


@fn
def condition_holds(condition: u64, psr: u64) -> bool:
    """ConditionPassed (A8.3.1)."""
    n = (psr >> 31) & 1 != 0
    z = (psr >> 30) & 1 != 0
    c = (psr >> 29) & 1 != 0
    overflow = (psr >> 28) & 1 != 0
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
def in_vain(esr: u64, psr: u64) -> bool:
    """A conditional instruction may trap though its condition fails (B1.14.2): then it is to be skipped. For classes that tell conditions."""
    syndrome = Condition.from_raw(esr)
    if syndrome.CV:
        return not condition_holds(u64(syndrome.COND), psr)
    state = it_state(psr)
    return psr & THUMB != 0 and state & 0xF != 0 and not condition_holds(state >> 4, psr)
