"""Coprocessor registers of a guest in AArch32 that trap: tables for CP15 and CP14 of what each reads as and what a write does."""

from freestanding import fn, table, u32, u64

from xenarm.arm.aarch32 import CoprocessorSyndrome, WideSyndrome
from xenarm.arm.hw import read_actlr_el1, read_midr_el1
from xenarm.arm.trapped_registers import (
    EL0,
    ICC_ROWS,
    Handler,
    Row,
    interface_enable,
    os_lock_status,
    physical_timer_compare,
    physical_timer_control,
    physical_timer_value,
    raz_read_only,
    raz_wi,
    row_forbids,
    set_way,
    sgi_register,
    write_ignored,
)
from xenarm.config import CONFIG
from xenarm.core.domain import Vcpu, vcpu_domain

if CONFIG.ARM64:
    from xenarm.arm64.identification import MOST_MVFR, aarch32_id
else:
    from xenarm.arm32.identification import MOST_MVFR, aarch32_id

__all__ = ["CP14_ROWS", "CP15_ROWS", "WIDE_ROWS", "coprocessor_key", "cp10_access", "cp14_access", "cp15_access", "cp15_wide_access", "is_debug_address"]

EXACT = int(CoprocessorSyndrome(OPC2=7, OPC1=7, CRN=15, CRM=15))
NOT_CRM = int(CoprocessorSyndrome(OPC2=7, OPC1=7, CRN=15))
NOT_OPC2 = int(CoprocessorSyndrome(OPC1=7, CRN=15, CRM=15))
HIGH_CRM = int(CoprocessorSyndrome(OPC1=7, CRN=15, CRM=8))
DEBUG_BASE = int(WideSyndrome(CRM=1))  # DBGDRAR
DEBUG_OFFSET = int(WideSyndrome(CRM=2))  # DBGDSAR
WIDE_EXACT = int(WideSyndrome(OPC1=15, CRM=15))
DEBUG_V7_1 = 5 << 16  # DBGDIDR.Version
TWO_BREAKPOINTS = 1 << 24  # DBGDIDR.BRPs, the least there can be (C11.11.15)
L2_CPUS_SHIFT = 24
MOST_L2_CPUS = 3


def coprocessor_key(opc1: int, crn: int, crm: int, opc2: int) -> int:
    """A register's encoding as it stands in the syndrome."""
    return int(CoprocessorSyndrome(OPC1=opc1, CRN=crn, CRM=crm, OPC2=opc2))


# ---- handlers: (handled, value read) ----------------------------------------------------------------------------------


@fn
def debug_id(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    """DBGDIDR: variant and revision are MIDR's."""
    midr = read_midr_el1()
    return read, TWO_BREAKPOINTS | DEBUG_V7_1 | (midr >> 16) & 0xF0 | midr & 0xF


@fn
def actlr(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    return True, read_actlr_el1() & 0xFFFF_FFFF


@fn
def l2_control(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    """L2CTLR of Cortex-A15 and its successors: how many CPUs there are, less one, in two bits; writes are ignored."""
    return True, u64(min(vcpu_domain(v).vcpu_count - 1, MOST_L2_CPUS)) << L2_CPUS_SHIFT


def exact(opc1: int, crn: int, crm: int, opc2: int, handler: Handler, pl0: bool = False) -> Row:
    return Row(EXACT | EL0 * pl0, coprocessor_key(opc1, crn, crm, opc2), handler)


def any_of(mask: int, opc1: int, crn: int, crm: int, opc2: int, handler: Handler) -> Row:
    return Row(mask, coprocessor_key(opc1, crn, crm, opc2) & mask, handler)


def wide(opc1: int, crm: int, handler: Handler, pl0: bool = False) -> Row:
    return Row(WIDE_EXACT | EL0 * pl0, int(WideSyndrome(OPC1=opc1, CRM=crm)), handler)


ARMV8_ROWS: list[Row] = [
    exact(0, 12, 12, 5, interface_enable),  # ICC_SRE
    any_of(HIGH_CRM, 0, 14, 8, 0, raz_wi),  # PMEVCNTRn, PMEVTYPERn, PMCCFILTR
]

CP15_ROWS = table(
    Row,
    [
        exact(0, 14, 2, 0, physical_timer_value, pl0=True),  # CNTP_TVAL
        exact(0, 14, 2, 1, physical_timer_control, pl0=True),  # CNTP_CTL
        exact(0, 1, 0, 1, actlr),  # ACTLR
        exact(0, 7, 6, 2, set_way),  # DCISW
        exact(0, 7, 10, 2, set_way),  # DCCSW
        exact(0, 7, 14, 2, set_way),  # DCCISW
        exact(1, 9, 0, 2, l2_control),  # L2CTLR
        exact(1, 9, 0, 3, raz_wi),  # L2ECTLR
        *([exact(0, *encoding, handler) for encoding, handler in ICC_ROWS] if CONFIG.GICV3 else []),
        any_of(NOT_OPC2, 0, 9, 12, 0, raz_wi),  # PMCR, PMCNTENSET/CLR, PMOVSR, PMSWINC, PMSELR, PMCEID0/1
        any_of(NOT_OPC2, 0, 9, 13, 0, raz_wi),  # PMCCNTR, PMXEVTYPER, PMXEVCNTR
        any_of(NOT_OPC2, 0, 9, 14, 0, raz_wi),  # PMUSERENR, PMINTENSET/CLR, PMOVSSET
        *(ARMV8_ROWS if CONFIG.ARM64 else []),
        any_of(NOT_OPC2, 0, 0, 3, 0, raz_read_only),  # identification registers that are reserved
        any_of(NOT_OPC2, 0, 0, 4, 0, raz_read_only),
        any_of(NOT_OPC2, 0, 0, 5, 0, raz_read_only),
        any_of(NOT_OPC2, 0, 0, 6, 0, raz_read_only),
        any_of(NOT_OPC2, 0, 0, 7, 0, raz_read_only),
    ],
)
"""Searched in order. What is not here is undefined: implementation-defined registers (HCR.TIDCP) and others."""

WIDE_ROWS = table(
    Row,
    [
        wide(2, 14, physical_timer_compare, pl0=True),  # CNTP_CVAL
        *([wide(opc1, 12, sgi_register(opc1 == 0)) for opc1 in (0, 1, 2)] if CONFIG.GICV3 else []),  # ICC_SGI1R, ASGI1R, SGI0R
    ],
)
"""64-bit registers of CP15."""

CP14_ROWS = table(
    Row,
    [
        exact(0, 0, 0, 0, debug_id, pl0=True),  # DBGDIDR
        exact(0, 0, 1, 0, raz_read_only, pl0=True),  # DBGDSCRint
        exact(0, 0, 2, 2, raz_wi),  # DBGDSCRext
        exact(0, 0, 5, 0, raz_wi, pl0=True),  # DBGDTRRXint, DBGDTRTXint
        exact(0, 0, 7, 0, raz_wi),  # DBGVCR
        any_of(NOT_CRM, 0, 0, 0, 4, raz_wi),  # DBGBVRn
        any_of(NOT_CRM, 0, 0, 0, 5, raz_wi),  # DBGBCRn
        any_of(NOT_CRM, 0, 0, 0, 6, raz_wi),  # DBGWVRn
        any_of(NOT_CRM, 0, 0, 0, 7, raz_wi),  # DBGWCRn
        any_of(NOT_CRM, 0, 1, 0, 1, raz_wi),  # DBGBXVRn
        exact(0, 1, 0, 0, raz_read_only, pl0=True),  # DBGDRAR
        exact(0, 1, 0, 4, write_ignored),  # DBGOSLAR
        exact(0, 1, 1, 4, os_lock_status),  # DBGOSLSR
        exact(0, 1, 3, 4, raz_wi),  # DBGOSDLR
        exact(0, 1, 4, 4, raz_wi),  # DBGPRCR
        exact(0, 2, 0, 0, raz_read_only, pl0=True),  # DBGDSAR
        exact(0, 7, 2, 7, raz_read_only),  # DBGDEVID
        exact(0, 7, 8, 6, raz_wi),  # DBGCLAIMSET
        exact(0, 7, 9, 6, raz_wi),  # DBGCLAIMCLR
        exact(0, 7, 14, 6, raz_read_only),  # DBGAUTHSTATUS
    ],
)
"""Trace and Jazelle registers are not here; ThumbEE's are the guest's own."""

# ---- identification registers -----------------------------------------------------------------------------------------

ID_MASK = int(CoprocessorSyndrome(OPC1=7, CRN=15))  # opc1 0, CRn 0
FP_MASK = int(CoprocessorSyndrome(OPC1=7, OPC2=7, CRM=15))
FP_KEY = int(CoprocessorSyndrome(OPC1=7))  # of VMRS, as a trap tells it: the register in CRn
MVFR0_AT = 7  # MVFR1 at 6, MVFR2 at 5
FIRST_MVFR = 3 * 8  # their numbers for `aarch32_id`


@fn
def is_identification(crm: u32, opc2: u32) -> bool:
    """Those that are not reserved; ARMv8 has three more (ID_PFR2, ID_DFR1, ID_MMFR5)."""
    return crm == 1 or crm == 2 or (CONFIG.ARM64 and crm == 3 and opc2 >= 4)


@fn
def cp15_access(v: Vcpu, iss: u32, at_pl0: bool, value: u64) -> tuple[bool, u64]:
    """(handled, value read) of a trapped MCR or MRC; not handled means undefined."""
    syndrome = CoprocessorSyndrome.from_raw(u64(iss))
    if iss & ID_MASK == 0 and is_identification(syndrome.CRM, syndrome.OPC2) and syndrome.READ and not at_pl0:
        return True, aarch32_id(v, syndrome.CRM * 8 + syndrome.OPC2)
    for row in CP15_ROWS:
        if iss & row.mask == row.key:
            if row_forbids(row, at_pl0):
                return False, 0
            return row.handler(v, syndrome.READ, value)
    return False, 0


@fn
def cp15_wide_access(v: Vcpu, iss: u32, at_pl0: bool, value: u64) -> tuple[bool, u64]:
    """The same of MCRR and MRRC."""
    for row in WIDE_ROWS:
        if iss & row.mask == row.key:
            if row_forbids(row, at_pl0):
                return False, 0
            return row.handler(v, iss & 1 != 0, value)
    return False, 0


@fn
def cp14_access(v: Vcpu, iss: u32, at_pl0: bool, value: u64) -> tuple[bool, u64]:
    """The same for CP14."""
    read = iss & 1 != 0
    for row in CP14_ROWS:
        if iss & row.mask == row.key:
            if row_forbids(row, at_pl0):
                return False, 0
            return row.handler(v, read, value)
    return False, 0


@fn
def is_debug_address(iss: u32) -> bool:
    """DBGDRAR or DBGDSAR by MRRC: there are no debug registers in memory."""
    key = iss & WIDE_EXACT
    return iss & 1 != 0 and (key == DEBUG_BASE or key == DEBUG_OFFSET)


@fn
def cp10_access(v: Vcpu, iss: u32, at_pl0: bool) -> tuple[bool, u64]:
    """VMRS of the FP unit's identification, which HCR.TID3 traps."""
    at = CoprocessorSyndrome.from_raw(u64(iss)).CRN
    if iss & 1 == 0 or at_pl0 or iss & FP_MASK != FP_KEY or at > MVFR0_AT or MVFR0_AT - at > MOST_MVFR:
        return False, 0
    return True, aarch32_id(v, FIRST_MVFR + MVFR0_AT - at)
