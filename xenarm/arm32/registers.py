"""CP15 registers of ARMv7 with the virtualization extensions that HYP mode uses, declared once as data: encodings, fields, accessors.

Sections are those of the Arm ARM for ARMv7-A (DDI 0406C), chapter B4. Accessors go by the AArch64 name of the counterpart and by 64 bits, as
`xenarm/arm/hw.py` says.
"""

from collections.abc import Callable
from typing import Any

from freestanding import Bits, bits, fn, operation, truncate, u32, u64

from xenarm.arm.aarch32 import PSR_RESET as PSR_RESET
from xenarm.arm.aarch32 import SCTLR_RESET as SCTLR_RESET
from xenarm.arm.aarch32 import Mode as Mode
from xenarm.arm.aarch32 import Psr as Psr
from xenarm.arm.aarch32 import Sctlr as Sctlr
from xenarm.arm.aarch32 import Ttbcr as Ttbcr
from xenarm.arm.fields import AbortSyndrome as AbortSyndrome
from xenarm.arm.fields import Ccsidr as Ccsidr
from xenarm.arm.fields import Cnthctl as Cnthctl
from xenarm.arm.fields import Hcr as Hcr
from xenarm.arm.fields import Par as Par
from xenarm.arm.fields import TimerControl as TimerControl

MODEL: dict[str, int] = {}
"""What CPython sees in place of the registers, by their own names."""

CP15: dict[str, tuple[int, int, int, int]] = {
    "midr": (0, 0, 0, 0),
    "ctr": (0, 0, 0, 1),
    "mpidr": (0, 0, 0, 5),
    "revidr": (0, 0, 0, 6),
    "id_pfr0": (0, 0, 1, 0),
    "id_pfr1": (0, 0, 1, 1),
    "id_mmfr0": (0, 0, 1, 4),
    "ccsidr": (1, 0, 0, 0),
    "clidr": (1, 0, 0, 1),
    "csselr": (2, 0, 0, 0),
    "sctlr": (0, 1, 0, 0),
    "actlr": (0, 1, 0, 1),
    "cpacr": (0, 1, 0, 2),
    "ttbcr": (0, 2, 0, 2),
    "dacr": (0, 3, 0, 0),
    "dfsr": (0, 5, 0, 0),
    "ifsr": (0, 5, 0, 1),
    "adfsr": (0, 5, 1, 0),
    "aifsr": (0, 5, 1, 1),
    "dfar": (0, 6, 0, 0),
    "ifar": (0, 6, 0, 2),
    "mair0": (0, 10, 2, 0),  # PRRR, while TTBCR.EAE is clear
    "mair1": (0, 10, 2, 1),  # NMRR
    "amair0": (0, 10, 3, 0),
    "amair1": (0, 10, 3, 1),
    "vbar": (0, 12, 0, 0),
    "contextidr": (0, 13, 0, 1),
    "tpidrurw": (0, 13, 0, 2),
    "tpidruro": (0, 13, 0, 3),
    "tpidrprw": (0, 13, 0, 4),
    "cntfrq": (0, 14, 0, 0),
    "cntkctl": (0, 14, 1, 0),
    "cntp_tval": (0, 14, 2, 0),
    "cntp_ctl": (0, 14, 2, 1),
    "cntv_ctl": (0, 14, 3, 1),
    "vpidr": (4, 0, 0, 0),
    "vmpidr": (4, 0, 0, 5),
    "hsctlr": (4, 1, 0, 0),
    "hcr": (4, 1, 1, 0),
    "hdcr": (4, 1, 1, 1),
    "hcptr": (4, 1, 1, 2),
    "hstr": (4, 1, 1, 3),
    "htcr": (4, 2, 0, 2),
    "vtcr": (4, 2, 1, 2),
    "hsr": (4, 5, 2, 0),
    "hdfar": (4, 6, 0, 0),
    "hifar": (4, 6, 0, 2),
    "hpfar": (4, 6, 0, 4),
    "hmair0": (4, 10, 2, 0),
    "hmair1": (4, 10, 2, 1),
    "hvbar": (4, 12, 0, 0),
    "htpidr": (4, 13, 0, 2),
    "cnthctl": (4, 14, 1, 0),
    "cnthp_ctl": (4, 14, 2, 1),
}
"""32-bit registers: opc1, CRn, CRm, opc2 (B3.17)."""

CP14: dict[str, tuple[int, int, int, int]] = {
    "teecr": (6, 0, 0, 0),
    "teehbr": (6, 1, 0, 0),
}
"""ThumbEE's, which every Cortex-A15 and A7 has (B4.1.148)."""

CP15_WIDE: dict[str, tuple[int, int]] = {
    "ttbr0": (0, 2),
    "ttbr1": (1, 2),
    "httbr": (4, 2),
    "vttbr": (6, 2),
    "par": (0, 7),
    "cntpct": (0, 14),
    "cntvct": (1, 14),
    "cntp_cval": (2, 14),
    "cntv_cval": (3, 14),
    "cntvoff": (4, 14),
    "cnthp_cval": (6, 14),
}
"""64-bit registers: opc1, CRm."""

BANKED = tuple(f"{name}_{mode}" for mode in ("svc", "abt", "und", "irq", "fiq") for name in ("sp", "lr", "spsr")) + ("sp_usr",)
"""Of the modes of PL1 and PL0; LR_usr is the hypervisor's own LR (B1.3.2)."""

BANKED_FIQ = tuple(f"r{n}_fiq" for n in range(8, 13))


def coprocessor(register: str, operand: str) -> str:
    """Operands of MRC and MCR for a 32-bit register."""
    opc1, crn, crm, opc2 = CP15[register] if register in CP15 else CP14[register]
    return f"{'p15' if register in CP15 else 'p14'}, {opc1}, {operand}, c{crn}, c{crm}, {opc2}"


def coprocessor_wide(register: str, low: str, high: str) -> str:
    """Operands of MRRC and MCRR for a 64-bit register."""
    opc1, crm = CP15_WIDE[register]
    return f"p15, {opc1}, {low}, {high}, c{crm}"


def _read_template(register: str) -> str:
    if register in CP15_WIDE:
        return f"mrrc {coprocessor_wide(register, '{ret:lo}', '{ret:hi}')}"
    return f"mrc {coprocessor(register, '{ret}')}" if register in CP15 else f"mrs {{ret}}, {register}"


def _write_template(register: str) -> str:
    if register in CP15_WIDE:
        return f"mcrr {coprocessor_wide(register, '{value:lo}', '{value:hi}')}"
    return f"mcr {coprocessor(register, '{value}')}" if register in CP15 else f"msr {register}, {{value}}"


Reader = Callable[[], u64]
Writer = Callable[[u64], None]


def reader(register: str) -> Any:
    """The function that reads a register: `() -> u64`."""
    if register in CP15_WIDE:

        def model_wide() -> u64:
            return u64(MODEL.get(register, 0))

        model_wide.__name__ = model_wide.__qualname__ = f"read_{register}"
        return operation(armv7=_read_template(register))(model_wide)

    def model() -> u32:
        return u32(MODEL.get(register, 0))

    model.__name__ = model.__qualname__ = f"raw_{register}"
    raw: Callable[[], u32] = operation(armv7=_read_template(register))(model)

    @fn(inline=True)
    def read_register() -> u64:
        return u64(raw())

    return read_register


def writer(register: str) -> Any:
    """The function that writes a register: `(value: u64) -> None`, the low half to one of 32 bits; no barrier is implied."""
    if register in CP15_WIDE:

        def model_wide(value: u64) -> None:
            MODEL[register] = int(value)

        model_wide.__name__ = model_wide.__qualname__ = f"write_{register}"
        return operation(armv7=_write_template(register))(model_wide)

    def model(value: u32) -> None:
        MODEL[register] = int(value)

    model.__name__ = model.__qualname__ = f"raw_write_{register}"
    raw: Callable[[u32], None] = operation(armv7=_write_template(register))(model)

    @fn(inline=True)
    def write_register(value: u64) -> None:
        raw(truncate(u32, value))

    return write_register


class Hsr(Bits, type=u64):
    """HSR: why the exception was taken (B3.13.6)."""

    EC: u32 = bits(31, 26)
    IL: bool = bits(25)
    ISS: u32 = bits(24, 0)


class Ec:
    """Exception classes (HSR.EC, table B3-25)."""

    UNKNOWN = 0x00
    WFX = 0x01
    CP15_32 = 0x03
    CP15_64 = 0x04
    CP14_32 = 0x05
    CP14_DT = 0x06
    CP0_13 = 0x07
    CP10_ID = 0x08
    JAZELLE = 0x09
    CP14_64 = 0x0C
    SVC_HYP = 0x11
    HVC = 0x12
    SMC = 0x13
    PREFETCH_ABORT_GUEST = 0x20
    PREFETCH_ABORT_HYP = 0x21
    DATA_ABORT_GUEST = 0x24
    DATA_ABORT_HYP = 0x25


HVC_CLASS = Ec.HVC
"""Of a guest's hypercalls and PSCI."""
SMC_CLASS = Ec.SMC
WFX_CLASS = Ec.WFX
INSTRUCTION_ABORT_CLASS = Ec.PREFETCH_ABORT_GUEST
DATA_ABORT_CLASS = Ec.DATA_ABORT_GUEST


class Hcptr(Bits, type=u64):
    """HCPTR: coprocessors that trap (B4.1.63)."""

    TCP: u32 = bits(13, 0)
    TTA: bool = bits(20)


class Hdcr(Bits, type=u64):
    """HDCR (B4.1.69)."""

    HPMN: u32 = bits(4, 0)
    TPMCR: bool = bits(5)
    TPM: bool = bits(6)
    TDA: bool = bits(9)
    TDOSA: bool = bits(10)
    TDRA: bool = bits(11)


class Htcr(Bits, type=u64):
    """HTCR (B4.1.76)."""

    T0SZ: u32 = bits(2, 0)
    IRGN0: u32 = bits(9, 8)
    ORGN0: u32 = bits(11, 10)
    SH0: u32 = bits(13, 12)
    RES1_23: bool = bits(23)
    RES1_31: bool = bits(31)


class Vtcr(Bits, type=u64):
    """VTCR (B4.1.159). T0SZ is signed; S repeats its sign."""

    T0SZ: u32 = bits(3, 0)
    S: bool = bits(4)
    SL0: u32 = bits(7, 6)
    IRGN0: u32 = bits(9, 8)
    ORGN0: u32 = bits(11, 10)
    SH0: u32 = bits(13, 12)
    RES1: bool = bits(31)


HSCTLR_RES1 = 0x30C5_0878
HCPTR_GUEST = int(Hcptr(TCP=0x33FF, TTA=True))
"""Every coprocessor but 10 and 11, the FP unit's, traps."""

read_esr_el2: Reader = reader("hsr")
write_esr_el2: Writer = writer("hsr")
read_far_el2: Reader = reader("hdfar")
read_fetch_far: Reader = reader("hifar")
read_hpfar_el2: Reader = reader("hpfar")
read_elr_el2: Reader = reader("elr_hyp")
write_elr_el2: Writer = writer("elr_hyp")
read_spsr_el2: Reader = reader("spsr")
write_spsr_el2: Writer = writer("spsr_cxsf")
read_hcr_el2: Reader = reader("hcr")
write_hcr_el2: Writer = writer("hcr")
read_hdcr: Reader = reader("hdcr")
write_hdcr: Writer = writer("hdcr")
write_hcptr: Writer = writer("hcptr")
write_hstr: Writer = writer("hstr")
write_cnthctl_el2: Writer = writer("cnthctl")
write_cntvoff_el2: Writer = writer("cntvoff")
write_cnthp_ctl_el2: Writer = writer("cnthp_ctl")
write_cnthp_cval_el2: Writer = writer("cnthp_cval")
read_cntpct_el0: Reader = reader("cntpct")
read_cntfrq_el0: Reader = reader("cntfrq")
read_cntv_ctl_el0: Reader = reader("cntv_ctl")
write_cntv_ctl_el0: Writer = writer("cntv_ctl")
read_cntv_cval_el0: Reader = reader("cntv_cval")
write_cntv_cval_el0: Writer = writer("cntv_cval")
write_cntkctl_el1: Writer = writer("cntkctl")
write_vtcr_el2: Writer = writer("vtcr")
read_vttbr_el2: Reader = reader("vttbr")
write_vttbr_el2: Writer = writer("vttbr")
write_vpidr: Writer = writer("vpidr")
read_midr_el1: Reader = reader("midr")
read_mpidr_el1: Reader = reader("mpidr")
read_revidr: Reader = reader("revidr")
read_ctr_el0: Reader = reader("ctr")
read_par_el1: Reader = reader("par")
write_par_el1: Writer = writer("par")
read_clidr_el1: Reader = reader("clidr")
read_ccsidr_el1: Reader = reader("ccsidr")
read_csselr_el1: Reader = reader("csselr")
write_csselr_el1: Writer = writer("csselr")
write_hvbar: Writer = writer("hvbar")
read_actlr_el1: Reader = reader("actlr")
read_sctlr_el1: Reader = reader("sctlr")
read_vbar_el1: Reader = reader("vbar")
read_ttbcr: Reader = reader("ttbcr")
read_ttbr0: Reader = reader("ttbr0")
read_ttbr1: Reader = reader("ttbr1")
read_dfsr: Reader = reader("dfsr")
read_ifsr: Reader = reader("ifsr")
read_dfar: Reader = reader("dfar")
read_ifar: Reader = reader("ifar")
write_dfsr: Writer = writer("dfsr")
write_ifsr: Writer = writer("ifsr")
write_dfar: Writer = writer("dfar")
write_ifar: Writer = writer("ifar")
write_sctlr: Writer = writer("sctlr")
