"""Coprocessor registers of a guest that trap: one table for CP15, one for CP14, of what each reads as and what a write does.

What Xen shows its guests is shown here: no PMU, no self-hosted debug beyond what boots Linux, nothing that HYP mode would have to switch.
"""

from collections.abc import Callable

from freestanding import Struct, fn, operation, table, u32, u64

from xenarm.arm.cache import set_way_clean_invalidate
from xenarm.arm.timer import (
    ptimer_read_compare,
    ptimer_read_control,
    ptimer_read_value,
    ptimer_write_compare,
    ptimer_write_control,
    ptimer_write_value,
)
from xenarm.arm32.registers import MODEL, CoprocessorSyndrome, read_actlr, read_midr_el1
from xenarm.arm32.switch import mvfr0, mvfr1
from xenarm.core.domain import Vcpu, vcpu_domain

__all__ = ["CP14_ROWS", "CP15_ROWS", "ID_ROWS", "coprocessor_key", "cp10_access", "cp14_access", "cp15_access", "physical_timer_wide"]

Handler = Callable[[Vcpu, bool, u64], tuple[bool, u64]]

EXACT = int(CoprocessorSyndrome(OPC2=7, OPC1=7, CRN=15, CRM=15))
NOT_CRM = int(CoprocessorSyndrome(OPC2=7, OPC1=7, CRN=15))
NOT_OPC2 = int(CoprocessorSyndrome(OPC1=7, CRN=15, CRM=15))
OSLSR_IMPLEMENTED = 1 << 3  # OS lock implemented, not locked
DEBUG_V7_1 = 5 << 16  # DBGDIDR.Version
TWO_BREAKPOINTS = 1 << 24  # DBGDIDR.BRPs, the least there can be (C11.11.15)
L2_CPUS_SHIFT = 24


def coprocessor_key(opc1: int, crn: int, crm: int, opc2: int) -> int:
    """A register's encoding as it stands in HSR.ISS."""
    return int(CoprocessorSyndrome(OPC1=opc1, CRN=crn, CRM=crm, OPC2=opc2))


class Row(Struct, frozen=True):
    """Registers whose encoding under `mask` is `key`: the handler is told read or write and the value written."""

    mask: u32
    key: u32
    pl0: bool  # user mode may access it
    handler: Callable[[Vcpu, bool, u64], tuple[bool, u64]]


# ---- handlers: (handled, value read) ----------------------------------------------------------------------------------


@fn
def raz_wi(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    return True, 0


@fn
def raz_read_only(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    return read, 0


@fn
def write_ignored(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    return not read, 0


@fn
def os_lock_status(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    return read, OSLSR_IMPLEMENTED


@fn
def debug_id(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    """DBGDIDR: variant and revision are MIDR's."""
    midr = read_midr_el1()
    return read, TWO_BREAKPOINTS | DEBUG_V7_1 | (midr >> 16) & 0xF0 | midr & 0xF


@fn
def actlr(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    return True, read_actlr()


@fn
def l2_control(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    """L2CTLR of Cortex-A15 and A7: how many CPUs there are, less one; writes are ignored."""
    return True, u64(vcpu_domain(v).vcpu_count - 1) << L2_CPUS_SHIFT


@fn
def set_way(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    """Done on this CPU, which the vCPU does not leave, always as clean and invalidate: an invalidate alone could undo HYP mode's own writes."""
    if read:
        return False, 0
    set_way_clean_invalidate(value)
    return True, 0


def timer_register(read_register: Callable[[Vcpu], u64], write_register: Callable[[Vcpu, u64], None]) -> Handler:
    @fn
    def handler(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
        if read:
            return True, read_register(v)
        write_register(v, value)
        return True, 0

    return handler


physical_timer_wide = timer_register(ptimer_read_compare, ptimer_write_compare)
"""CNTP_CVAL, the one 64-bit register that is a guest's and traps."""


def exact(opc1: int, crn: int, crm: int, opc2: int, handler: Handler, pl0: bool = False) -> Row:
    return Row(EXACT, coprocessor_key(opc1, crn, crm, opc2), pl0, handler)


def any_of(mask: int, opc1: int, crn: int, crm: int, opc2: int, handler: Handler) -> Row:
    return Row(mask, coprocessor_key(opc1, crn, crm, opc2) & mask, False, handler)


CP15_ROWS = table(
    Row,
    [
        exact(0, 14, 2, 0, timer_register(ptimer_read_value, ptimer_write_value), pl0=True),  # CNTP_TVAL
        exact(0, 14, 2, 1, timer_register(ptimer_read_control, ptimer_write_control), pl0=True),  # CNTP_CTL
        exact(0, 1, 0, 1, actlr),  # ACTLR
        exact(0, 7, 6, 2, set_way),  # DCISW
        exact(0, 7, 10, 2, set_way),  # DCCSW
        exact(0, 7, 14, 2, set_way),  # DCCISW
        exact(1, 9, 0, 2, l2_control),  # L2CTLR
        exact(1, 9, 0, 3, raz_wi),  # L2ECTLR
        any_of(NOT_OPC2, 0, 9, 12, 0, raz_wi),  # PMCR, PMCNTENSET/CLR, PMOVSR, PMSWINC, PMSELR, PMCEID0/1
        any_of(NOT_OPC2, 0, 9, 13, 0, raz_wi),  # PMCCNTR, PMXEVTYPER, PMXEVCNTR
        any_of(NOT_OPC2, 0, 9, 14, 0, raz_wi),  # PMUSERENR, PMINTENSET/CLR, PMOVSSET
        any_of(NOT_OPC2, 0, 0, 3, 0, raz_read_only),  # identification registers that are reserved
        any_of(NOT_OPC2, 0, 0, 4, 0, raz_read_only),
        any_of(NOT_OPC2, 0, 0, 5, 0, raz_read_only),
        any_of(NOT_OPC2, 0, 0, 6, 0, raz_read_only),
        any_of(NOT_OPC2, 0, 0, 7, 0, raz_read_only),
    ],
)
"""Searched in order. What is not here is undefined: implementation-defined registers (HCR.TIDCP) and others."""

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


# ---- identification registers: opc1 0, CRn 0, CRm 1 and 2 --------------------------------------------------------------


class IdRow(Struct, frozen=True):
    """An identification register: its hardware value, and the fields of it that a guest may see."""

    read: Callable[[], u32]
    visible: u32


def fields(*lowest_bits: int) -> int:
    """The complement of four-bit fields."""
    return 0xFFFF_FFFF & ~sum(0xF << bit for bit in lowest_bits)


VISIBLE: dict[tuple[int, int], int] = {
    (1, 1): fields(12),  # ID_PFR1: the virtualization extensions
    (1, 2): fields(12, 16, 24),  # ID_DFR0: CopTrc, MMapTrc, PerfMon
    (1, 3): 0,  # ID_AFR0, implementation defined
}
"""By (CRm, opc2); whole registers that are not here are shown as they are."""


def id_reader(crm: int, opc2: int) -> Callable[[], u32]:
    def model() -> u32:
        return u32(MODEL.get(f"id_{crm}_{opc2}", 0))

    model.__name__ = model.__qualname__ = f"read_id_{crm}_{opc2}"
    read: Callable[[], u32] = operation(armv7=f"mrc p15, 0, {{ret}}, c0, c{crm}, {opc2}")(model)

    @fn
    def read_id() -> u32:
        return read()

    return read_id


ID_ROWS = table(IdRow, [IdRow(id_reader(n >> 3, n & 7), VISIBLE.get((n >> 3, n & 7), fields())) for n in range(8, 24)])
ID_MASK = int(CoprocessorSyndrome(OPC1=7, CRN=15))
MVFR1 = coprocessor_key(7, 6, 0, 0)
MVFR0 = coprocessor_key(7, 7, 0, 0)


@fn
def id_register(number: u32) -> u64:
    """By CRm times 8 plus opc2, from 8 on."""
    row = ID_ROWS[number - 8]
    return u64(row.read() & row.visible)


@fn
def cp15_access(v: Vcpu, iss: u32, at_pl0: bool, value: u64) -> tuple[bool, u64]:
    """(handled, value read) of a trapped MCR or MRC; not handled means undefined."""
    syndrome = CoprocessorSyndrome.from_raw(u64(iss))
    if iss & ID_MASK == 0 and (syndrome.CRM == 1 or syndrome.CRM == 2) and syndrome.READ and not at_pl0:
        return True, id_register(syndrome.CRM * 8 + syndrome.OPC2)
    for row in CP15_ROWS:
        if iss & row.mask == row.key:
            if at_pl0 and not row.pl0:
                return False, 0
            return row.handler(v, syndrome.READ, value)
    return False, 0


@fn
def cp14_access(v: Vcpu, iss: u32, at_pl0: bool, value: u64) -> tuple[bool, u64]:
    """The same for CP14."""
    read = iss & 1 != 0
    for row in CP14_ROWS:
        if iss & row.mask == row.key:
            if at_pl0 and not row.pl0:
                return False, 0
            return row.handler(v, read, value)
    return False, 0


@fn
def cp10_access(iss: u32, at_pl0: bool) -> tuple[bool, u64]:
    """VMRS of the FP unit's identification, which HCR.TID3 traps."""
    if iss & 1 == 0 or at_pl0:
        return False, 0
    if iss & EXACT == MVFR0:
        return True, u64(mvfr0())
    if iss & EXACT == MVFR1:
        return True, u64(mvfr1())
    return False, 0
