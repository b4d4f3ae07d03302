"""System registers of AArch64 that EL2 uses, declared once: their fields (Arm ARM DDI 0487, chapter D19) and their accessors."""

from collections.abc import Callable
from typing import Any

from freestanding import Bits, bits, operation, u32, u64

from xenarm.arm.fields import AbortSyndrome as AbortSyndrome
from xenarm.arm.fields import Ccsidr as Ccsidr
from xenarm.arm.fields import Cnthctl as Cnthctl
from xenarm.arm.fields import Hcr as Hcr
from xenarm.arm.fields import Par as Par
from xenarm.arm.fields import TimerControl as TimerControl


MODEL: dict[str, int] = {}
"""What CPython sees in place of the system registers."""


def reader(register: str) -> Any:
    """The operation that reads a system register: `() -> u64`."""

    def model() -> u64:
        return u64(MODEL.get(register, 0))

    model.__name__ = model.__qualname__ = f"read_{register}"
    return operation(aarch64=f"mrs {{ret}}, {register}")(model)


def writer(register: str) -> Any:
    """The operation that writes a system register: `(value: u64) -> None`; no barrier is implied."""

    def model(value: u64) -> None:
        MODEL[register] = int(value)

    model.__name__ = model.__qualname__ = f"write_{register}"
    return operation(aarch64=f"msr {register}, {{value}}")(model)


Reader = Callable[[], u64]
Writer = Callable[[u64], None]


class Esr(Bits, type=u64):
    """ESR_EL2: why the exception was taken (D19.2.37)."""

    EC: u32 = bits(31, 26)
    IL: bool = bits(25)
    ISS: u32 = bits(24, 0)


class SysregSyndrome(Bits, type=u64):
    """ESR_EL2 for a trapped MSR, MRS or system instruction."""

    OP0: u32 = bits(21, 20)
    OP2: u32 = bits(19, 17)
    OP1: u32 = bits(16, 14)
    CRN: u32 = bits(13, 10)
    RT: u32 = bits(9, 5)
    CRM: u32 = bits(4, 1)
    READ: bool = bits(0)


def sysreg_key(op0: int, op1: int, crn: int, crm: int, op2: int) -> int:
    """A register's encoding as it stands in ESR_EL2.ISS."""
    return int(SysregSyndrome(OP0=op0, OP1=op1, CRN=crn, CRM=crm, OP2=op2))


class Ec:
    """Exception classes (ESR_EL2.EC)."""

    UNKNOWN = 0x00
    WFX = 0x01
    CP15_32 = 0x03
    CP15_64 = 0x04
    CP14_32 = 0x05
    CP14_DT = 0x06
    FP = 0x07
    CP10 = 0x08
    PAUTH = 0x09
    CP14_64 = 0x0C
    ILLEGAL = 0x0E
    HVC32 = 0x12
    SMC32 = 0x13
    HVC64 = 0x16
    SMC64 = 0x17
    SYSREG = 0x18
    SVE = 0x19
    INSTRUCTION_ABORT_LOWER = 0x20
    INSTRUCTION_ABORT_SAME = 0x21
    PC_ALIGNMENT = 0x22
    DATA_ABORT_LOWER = 0x24
    DATA_ABORT_SAME = 0x25
    SP_ALIGNMENT = 0x26
    SERROR = 0x2F
    BRK = 0x3C


HVC_CLASS = Ec.HVC64
"""Of a guest's hypercalls and PSCI."""
SMC_CLASS = Ec.SMC64
WFX_CLASS = Ec.WFX
INSTRUCTION_ABORT_CLASS = Ec.INSTRUCTION_ABORT_LOWER
DATA_ABORT_CLASS = Ec.DATA_ABORT_LOWER


class Cptr(Bits, type=u64):
    """CPTR_EL2 with HCR_EL2.E2H clear."""

    RES1_LOW: u32 = bits(7, 0)
    TZ: bool = bits(8)
    RES1_9: bool = bits(9)
    TFP: bool = bits(10)
    TSM: bool = bits(12)
    RES1_13: bool = bits(13)
    TTA: bool = bits(20)
    TAM: bool = bits(30)
    TCPAC: bool = bits(31)


class Mdcr(Bits, type=u64):
    """MDCR_EL2."""

    HPMN: u32 = bits(4, 0)
    TPMCR: bool = bits(5)
    TPM: bool = bits(6)
    TDE: bool = bits(8)
    TDA: bool = bits(9)
    TDOSA: bool = bits(10)
    TDRA: bool = bits(11)
    E2PB: u32 = bits(13, 12)
    TPMS: bool = bits(14)
    TTRF: bool = bits(19)
    E2TB: u32 = bits(25, 24)


class Hcrx(Bits, type=u64):
    """HCRX_EL2, which is there with FEAT_HCX."""

    ENAS0: bool = bits(0)
    ENALS: bool = bits(1)
    ENASR: bool = bits(2)
    SMPME: bool = bits(5)
    TALLINT: bool = bits(6)
    MSCEN: bool = bits(11)
    TCR2EN: bool = bits(14)
    SCTLR2EN: bool = bits(15)
    GCSEN: bool = bits(22)
    ENFPM: bool = bits(23)


class Mpam2(Bits, type=u64):
    """MPAM2_EL2."""

    TRAPMPAM1EL1: bool = bits(48)
    TRAPMPAM0EL1: bool = bits(49)


class MpamHcr(Bits, type=u64):
    """MPAMHCR_EL2, which is there where MPAMIDR_EL1.HAS_HCR says so."""

    TRAP_MPAMIDR_EL1: bool = bits(31)


class Tcr(Bits, type=u64):
    """TCR_EL2 with HCR_EL2.E2H clear."""

    T0SZ: u32 = bits(5, 0)
    IRGN0: u32 = bits(9, 8)
    ORGN0: u32 = bits(11, 10)
    SH0: u32 = bits(13, 12)
    TG0: u32 = bits(15, 14)
    PS: u32 = bits(18, 16)
    RES1_23: bool = bits(23)
    RES1_31: bool = bits(31)


class Tcr1(Bits, type=u64):
    """TCR_EL1, for an image that finds itself at EL1 and must say so."""

    T0SZ: u32 = bits(5, 0)
    IRGN0: u32 = bits(9, 8)
    ORGN0: u32 = bits(11, 10)
    SH0: u32 = bits(13, 12)
    TG0: u32 = bits(15, 14)
    EPD1: bool = bits(23)
    IPS: u32 = bits(34, 32)


class Vtcr(Bits, type=u64):
    """VTCR_EL2."""

    T0SZ: u32 = bits(5, 0)
    SL0: u32 = bits(7, 6)
    IRGN0: u32 = bits(9, 8)
    ORGN0: u32 = bits(11, 10)
    SH0: u32 = bits(13, 12)
    TG0: u32 = bits(15, 14)
    PS: u32 = bits(18, 16)
    VS: bool = bits(19)
    RES1: bool = bits(31)


class Sctlr(Bits, type=u64):
    """SCTLR_EL2 and SCTLR_EL1, as far as both agree."""

    M: bool = bits(0)
    A: bool = bits(1)
    C: bool = bits(2)
    SA: bool = bits(3)
    I: bool = bits(12)  # noqa: E741  the manual's name
    WXN: bool = bits(19)
    SPAN: bool = bits(23)  # SCTLR_EL1: an exception leaves PSTATE.PAN
    DSSBS: bool = bits(44)  # PSTATE.SSBS after an exception


class Spsr(Bits, type=u64):
    """SPSR_EL2 for an exception taken from AArch64."""

    M: u32 = bits(4, 0)
    F: bool = bits(6)
    I: bool = bits(7)  # noqa: E741
    A: bool = bits(8)
    D: bool = bits(9)
    SSBS: bool = bits(12)
    PAN: bool = bits(22)
    DIT: bool = bits(24)


SCTLR_EL2_RES1 = 0x30C5_0830
SCTLR_EL1_RES1 = 0x30D0_0980
"""SCTLR_EL1 bits that were RES1 in Armv8.0: LSMAOE, nTLSMD, SPAN, EIS, TSCXT, EOS; and bits 8 and 7 as at reset."""
CPTR_RES1 = int(Cptr(RES1_LOW=0xFF, RES1_9=True, RES1_13=True))

PSR_MODE_EL1H = 0b0101
PSR_MODE_EL1T = 0b0100
PSR_MODE_EL0T = 0b0000
PSR_RESET = int(Spsr(M=PSR_MODE_EL1H, F=True, I=True, A=True, D=True))

read_esr_el2: Reader = reader("esr_el2")
read_elr_el2: Reader = reader("elr_el2")
write_elr_el2: Writer = writer("elr_el2")
read_spsr_el2: Reader = reader("spsr_el2")
write_spsr_el2: Writer = writer("spsr_el2")
read_far_el2: Reader = reader("far_el2")
read_fetch_far: Reader = read_far_el2
read_hpfar_el2: Reader = reader("hpfar_el2")
read_hcr_el2: Reader = reader("hcr_el2")
write_hcr_el2: Writer = writer("hcr_el2")
write_cptr_el2: Writer = writer("cptr_el2")
write_mdcr_el2: Writer = writer("mdcr_el2")
write_hstr_el2: Writer = writer("hstr_el2")
write_cnthctl_el2: Writer = writer("cnthctl_el2")
write_cntvoff_el2: Writer = writer("cntvoff_el2")
read_cntvoff_el2: Reader = reader("cntvoff_el2")
write_cnthp_ctl_el2: Writer = writer("cnthp_ctl_el2")
write_cnthp_cval_el2: Writer = writer("cnthp_cval_el2")
read_cntpct_el0: Reader = reader("cntpct_el0")
read_cntfrq_el0: Reader = reader("cntfrq_el0")
read_cntv_ctl_el0: Reader = reader("cntv_ctl_el0")
write_cntv_ctl_el0: Writer = writer("cntv_ctl_el0")
read_cntv_cval_el0: Reader = reader("cntv_cval_el0")
write_cntv_cval_el0: Writer = writer("cntv_cval_el0")
write_cntkctl_el1: Writer = writer("cntkctl_el1")
write_vtcr_el2: Writer = writer("vtcr_el2")
read_vtcr_el2: Reader = reader("vtcr_el2")
write_vttbr_el2: Writer = writer("vttbr_el2")
read_vttbr_el2: Reader = reader("vttbr_el2")
write_vmpidr_el2: Writer = writer("vmpidr_el2")
write_vpidr_el2: Writer = writer("vpidr_el2")
read_midr_el1: Reader = reader("midr_el1")
read_mpidr_el1: Reader = reader("mpidr_el1")
read_currentel: Reader = reader("currentel")
read_sctlr_el1: Reader = reader("sctlr_el1")
write_sctlr_el1: Writer = writer("sctlr_el1")
write_vbar_el2: Writer = writer("vbar_el2")
read_far_el1: Reader = reader("far_el1")
read_tcr_el1: Reader = reader("tcr_el1")
read_vbar_el1: Reader = reader("vbar_el1")
write_vbar_el1: Writer = writer("vbar_el1")
write_elr_el1: Writer = writer("elr_el1")
write_spsr_el1: Writer = writer("spsr_el1")
write_esr_el1: Writer = writer("esr_el1")
write_far_el1: Writer = writer("far_el1")
write_cpacr_el1: Writer = writer("cpacr_el1")
write_ttbr0_el1: Writer = writer("ttbr0_el1")
write_ttbr1_el1: Writer = writer("ttbr1_el1")
write_tcr_el1: Writer = writer("tcr_el1")
write_mair_el1: Writer = writer("mair_el1")
write_amair_el1: Writer = writer("amair_el1")
write_contextidr_el1: Writer = writer("contextidr_el1")
read_tpidr_el0: Reader = reader("tpidr_el0")
write_tpidr_el0: Writer = writer("tpidr_el0")
write_tpidrro_el0: Writer = writer("tpidrro_el0")
write_tpidr_el1: Writer = writer("tpidr_el1")
write_sp_el0: Writer = writer("sp_el0")
write_sp_el1: Writer = writer("sp_el1")
write_afsr0_el1: Writer = writer("afsr0_el1")
write_afsr1_el1: Writer = writer("afsr1_el1")
write_csselr_el1: Writer = writer("csselr_el1")
write_mdscr_el1: Writer = writer("mdscr_el1")
read_par_el1: Reader = reader("par_el1")
write_par_el1: Writer = writer("par_el1")
read_actlr_el1: Reader = reader("actlr_el1")
read_clidr_el1: Reader = reader("clidr_el1")
read_ccsidr_el1: Reader = reader("ccsidr_el1")
read_csselr_el1: Reader = reader("csselr_el1")
read_ctr_el0: Reader = reader("ctr_el0")
read_dczid_el0: Reader = reader("dczid_el0")
read_aa64mmfr0: Reader = reader("id_aa64mmfr0_el1")
read_aa64mmfr1: Reader = reader("id_aa64mmfr1_el1")
read_aa64mmfr2: Reader = reader("id_aa64mmfr2_el1")
read_aa64pfr0: Reader = reader("id_aa64pfr0_el1")
read_aa64pfr1: Reader = reader("id_aa64pfr1_el1")
read_aa64dfr0: Reader = reader("id_aa64dfr0_el1")
read_aa64isar0: Reader = reader("id_aa64isar0_el1")
read_aa64isar1: Reader = reader("id_aa64isar1_el1")
read_aa64isar2: Reader = reader("S3_0_C0_C6_2")
