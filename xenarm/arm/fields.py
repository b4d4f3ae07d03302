"""Fields of registers that AArch64 and ARMv7 have alike, under AArch64's names: bits that only one has are zero in the other."""

from freestanding import Bits, bits, u32, u64

__all__ = ["AbortSyndrome", "Ccsidr", "Cnthctl", "Hcr", "Par", "TimerControl"]


class AbortSyndrome(Bits, type=u64):
    """ESR_EL2 for a data or instruction abort."""

    ISV: bool = bits(24)
    SAS: u32 = bits(23, 22)
    SSE: bool = bits(21)
    SRT: u32 = bits(20, 16)
    SF: bool = bits(15)
    FNV: bool = bits(10)
    EA: bool = bits(9)
    CM: bool = bits(8)
    S1PTW: bool = bits(7)
    WNR: bool = bits(6)
    FSC: u32 = bits(5, 0)


class Hcr(Bits, type=u64):
    """HCR_EL2; HCR, whose VA is VSE (DDI 0406C, B4.1.66)."""

    VM: bool = bits(0)
    SWIO: bool = bits(1)
    PTW: bool = bits(2)
    FMO: bool = bits(3)
    IMO: bool = bits(4)
    AMO: bool = bits(5)
    VSE: bool = bits(8)
    FB: bool = bits(9)
    BSU: u32 = bits(11, 10)
    TWI: bool = bits(13)
    TWE: bool = bits(14)
    TID0: bool = bits(15)
    TID1: bool = bits(16)
    TID3: bool = bits(18)
    TSC: bool = bits(19)
    TIDCP: bool = bits(20)
    TACR: bool = bits(21)  # HCR.TAC
    TSW: bool = bits(22)
    RW: bool = bits(31)
    TLOR: bool = bits(35)
    TERR: bool = bits(36)
    TME: bool = bits(39)
    APK: bool = bits(40)
    API: bool = bits(41)
    NV: bool = bits(42)
    FIEN: bool = bits(47)
    AMVOFFEN: bool = bits(51)
    ENSCXT: bool = bits(53)
    ATA: bool = bits(56)
    TID5: bool = bits(58)


class Cnthctl(Bits, type=u64):
    """CNTHCTL_EL2 with HCR_EL2.E2H clear."""

    EL1PCTEN: bool = bits(0)
    EL1PCEN: bool = bits(1)


class TimerControl(Bits, type=u64):
    """CNTP_CTL_EL0, CNTV_CTL_EL0, CNTHP_CTL_EL2."""

    ENABLE: bool = bits(0)
    IMASK: bool = bits(1)
    ISTATUS: bool = bits(2)


class Ccsidr(Bits, type=u64):
    """CCSIDR_EL1 in its 32-bit format."""

    LINE_SIZE: u32 = bits(2, 0)  # log2 of the bytes, less 4
    ASSOCIATIVITY: u32 = bits(12, 3)  # less 1
    SETS: u32 = bits(27, 13)  # less 1


class Par(Bits, type=u64):
    """PAR_EL1 after an address translation instruction."""

    F: bool = bits(0)
    PA: u64 = bits(47, 12)
