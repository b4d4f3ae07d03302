"""System registers of a guest in AArch64 that trap: one table of what each reads as and what a write does.

What a guest sees of the CPU's features is `features.py`'s.
"""

from collections.abc import Callable

from freestanding import Struct, fn, table, u32, u64

from xenarm.arm.trapped_registers import (
    Handler,
    EL0,
    ICC_ROWS,
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
from xenarm.arm64.features import LIMITS, visible
from xenarm.arm64.registers import SysregSyndrome, read_actlr_el1, reader, sysreg_key
from xenarm.config import CONFIG
from xenarm.core.domain import Vcpu
from xenarm.gic.version import vcpu_vgic_is_v3

__all__ = ["ROWS", "ID_ROWS", "id_register", "sysreg_access"]

OP0 = 0x30_0000  # the fields of the syndrome
OP2 = 0xE_0000
OP1 = 0x1_C000
CRN = 0x3C00
CRM = 0x1E
EXACT = OP0 | OP1 | CRN | CRM | OP2


@fn
def actlr(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    return True, read_actlr_el1()


def exact(op0: int, op1: int, crn: int, crm: int, op2: int, handler: Handler, el0: bool = False) -> Row:
    return Row(EXACT | EL0 * el0, sysreg_key(op0, op1, crn, crm, op2), handler)


def any_of(mask: int, key: int, handler: Handler) -> Row:
    return Row(mask, key & mask, handler)


ROWS = table(
    Row,
    [
        exact(3, 3, 14, 2, 0, physical_timer_value, el0=True),  # CNTP_TVAL_EL0
        exact(3, 3, 14, 2, 1, physical_timer_control, el0=True),  # CNTP_CTL_EL0
        exact(3, 3, 14, 2, 2, physical_timer_compare, el0=True),  # CNTP_CVAL_EL0
        exact(1, 0, 7, 6, 2, set_way),  # DC ISW
        exact(1, 0, 7, 10, 2, set_way),  # DC CSW
        exact(1, 0, 7, 14, 2, set_way),  # DC CISW
        exact(3, 0, 1, 0, 1, actlr),  # ACTLR_EL1
        exact(3, 0, 12, 12, 5, interface_enable),  # ICC_SRE_EL1
        *([exact(3, 0, *encoding, handler) for encoding, handler in ICC_ROWS] if CONFIG.GICV3 else []),
        *([exact(3, 0, 12, 11, op2, sgi_register(op2 == 5)) for op2 in (5, 6, 7)] if CONFIG.GICV3 else []),  # ICC_SGI1R, ASGI1R, SGI0R_EL1
        # Debug (op0 = 2)
        exact(2, 0, 1, 0, 0, raz_read_only),  # MDRAR_EL1
        exact(2, 0, 1, 0, 4, write_ignored),  # OSLAR_EL1
        exact(2, 0, 1, 1, 4, os_lock_status),  # OSLSR_EL1
        exact(2, 0, 1, 3, 4, raz_wi),  # OSDLR_EL1
        exact(2, 0, 1, 4, 4, raz_wi),  # DBGPRCR_EL1
        exact(2, 0, 0, 2, 0, raz_wi),  # MDCCINT_EL1
        exact(2, 0, 0, 2, 2, raz_wi),  # MDSCR_EL1
        exact(2, 0, 7, 8, 6, raz_wi),  # DBGCLAIMSET_EL1
        exact(2, 0, 7, 9, 6, raz_wi),  # DBGCLAIMCLR_EL1
        exact(2, 0, 7, 14, 6, raz_read_only),  # DBGAUTHSTATUS_EL1
        exact(2, 3, 0, 1, 0, raz_read_only, el0=True),  # MDCCSR_EL0
        exact(2, 3, 0, 4, 0, raz_wi, el0=True),  # DBGDTR_EL0
        exact(2, 3, 0, 5, 0, raz_wi, el0=True),  # DBGDTRRX_EL0, DBGDTRTX_EL0
        any_of(OP0 | OP1 | CRN | OP2, sysreg_key(2, 0, 0, 0, 4), raz_wi),  # DBGBVRn_EL1
        any_of(OP0 | OP1 | CRN | OP2, sysreg_key(2, 0, 0, 0, 5), raz_wi),  # DBGBCRn_EL1
        any_of(OP0 | OP1 | CRN | OP2, sysreg_key(2, 0, 0, 0, 6), raz_wi),  # DBGWVRn_EL1
        any_of(OP0 | OP1 | CRN | OP2, sysreg_key(2, 0, 0, 0, 7), raz_wi),  # DBGWCRn_EL1
        # Performance monitors
        exact(3, 3, 9, 14, 0, raz_wi),  # PMUSERENR_EL0
        exact(3, 0, 9, 14, 1, raz_wi),  # PMINTENSET_EL1
        exact(3, 0, 9, 14, 2, raz_wi),  # PMINTENCLR_EL1
        any_of(OP0 | OP1 | CRN | CRM, sysreg_key(3, 3, 9, 12, 0), raz_wi),  # PMCR, PMCNTEN*, PMOVSCLR, PMSWINC, PMSELR, PMCEID*
        any_of(OP0 | OP1 | CRN | CRM, sysreg_key(3, 3, 9, 13, 0), raz_wi),  # PMCCNTR, PMXEVTYPER, PMXEVCNTR
        exact(3, 3, 9, 14, 3, raz_wi),  # PMOVSSET_EL0
        any_of(OP0 | OP1 | CRN | sysreg_key(0, 0, 0, 8, 0), sysreg_key(3, 3, 14, 8, 0), raz_wi),  # PMEVCNTRn, PMEVTYPERn, PMCCFILTR
    ],
)
"""Searched in order. What is not here is undefined: implementation-defined registers (HCR_EL2.TIDCP), and others."""


# ---- identification registers: op0 3, op1 0, CRn 0, CRm 1 to 7 ---------------------------------------------------------


class IdRow(Struct, frozen=True):
    """An identification register: its hardware value, and the fields of it that a guest may see."""

    read: Callable[[], u64]
    visible: u64


class Limit(Struct, frozen=True):
    """A field of which a guest sees at most so much (features.py)."""

    number: u32
    low: u32
    most: u64


def id_reader(crm: int, op2: int) -> Callable[[], u64]:
    read: Callable[[], u64] = reader(f"S3_0_C0_C{crm}_{op2}")

    @fn
    def read_id() -> u64:
        return read()

    return read_id


ID_ROWS = table(IdRow, [IdRow(id_reader(n >> 3, n & 7), visible(n)) for n in range(8, 64)])
ID_LIMITS = table(Limit, [Limit(*limit) for limit in LIMITS])
AA64PFR0 = 4 * 8
AA64PFR0_GIC = 1 << 24  # system registers of a GICv3
ID_MASK = OP0 | OP1 | CRN
ID_KEY = sysreg_key(3, 0, 0, 0, 0)


@fn
def id_register(v: Vcpu, number: u32) -> u64:
    """By CRm times 8 plus op2, from 8 on."""
    row = ID_ROWS[number - 8]
    value = row.read() & row.visible
    for limit in ID_LIMITS:
        if limit.number == number and value >> limit.low & 0xF > limit.most:
            value = value & ~(u64(0xF) << limit.low) | limit.most << limit.low
    if number == AA64PFR0 and vcpu_vgic_is_v3(v):
        value |= AA64PFR0_GIC
    return value


@fn
def sysreg_access(v: Vcpu, iss: u32, at_el0: bool, value: u64) -> tuple[bool, u64]:
    """(handled, value read) of a trapped access; not handled means undefined."""
    syndrome = SysregSyndrome.from_raw(u64(iss))
    if iss & ID_MASK == ID_KEY and syndrome.CRM >= 1 and syndrome.CRM <= 7 and syndrome.READ and not at_el0:
        return True, id_register(v, syndrome.CRM * 8 + syndrome.OP2)
    for row in ROWS:
        if iss & row.mask == row.key:
            if row_forbids(row, at_el0):
                return False, 0
            return row.handler(v, syndrome.READ, value)
    return False, 0
