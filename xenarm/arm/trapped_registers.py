"""Registers of a guest that trap: what a row of such a table is, and the answers that both execution states give.

What Xen shows its guests is shown here: no PMU, no self-hosted debug beyond what boots Linux, no features that EL2 would have to switch.
"""

from collections.abc import Callable

from freestanding import Struct, fn, u32, u64

from xenarm.arm.cache import set_way_clean_invalidate
from xenarm.arm.timer import (
    ptimer_read_compare,
    ptimer_read_control,
    ptimer_read_value,
    ptimer_write_compare,
    ptimer_write_control,
    ptimer_write_value,
)
from xenarm.core.domain import Vcpu
from xenarm.gic.version import vcpu_vgic_is_v3
from xenarm.gic.vgicc import icc_control, icc_deactivate, icc_mask, icc_running
from xenarm.gic.vgicd3 import vgic_send_sgi

__all__ = [
    "ICC_ROWS",
    "Handler",
    "EL0",
    "Row",
    "interface_enable",
    "os_lock_status",
    "physical_timer_compare",
    "physical_timer_control",
    "physical_timer_value",
    "raz_read_only",
    "raz_wi",
    "row_forbids",
    "set_way",
    "sgi_register",
    "write_ignored",
]

Handler = Callable[[Vcpu, bool, u64], tuple[bool, u64]]
"""Told read or write and the value written; gives (handled, value read)."""

OSLSR_IMPLEMENTED = 1 << 3  # OS lock implemented, not locked
SYSTEM_REGISTERS = 7  # ICC_SRE_EL1: SRE, DFB, DIB


EL0 = 1 << 31  # of `Row.mask`, beyond the encoding: EL0 may access it


class Row(Struct, frozen=True):
    """Registers whose encoding under `mask` is `key`."""

    mask: u32
    key: u32
    handler: Callable[[Vcpu, bool, u64], tuple[bool, u64]]


@fn(inline=True)
def row_forbids(row: Row, at_el0: bool) -> bool:
    return at_el0 and row.mask & EL0 == 0


ICC_ROWS: tuple[tuple[tuple[int, int, int], Handler], ...] = (
    ((12, 11, 1), icc_deactivate),  # ICC_DIR
    ((12, 12, 4), icc_control),  # ICC_CTLR
    ((12, 11, 3), icc_running),  # ICC_RPR
    ((4, 6, 0), icc_mask),  # ICC_PMR
)
"""What may trap of a GICv3's CPU interface, by CRn, CRm and op2: in both execution states they are the same."""


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
def set_way(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    """Done on this CPU, which the vCPU does not leave, always as clean and invalidate: an invalidate alone could undo EL2's own writes."""
    if read:
        return False, 0
    set_way_clean_invalidate(value)
    return True, 0


@fn
def interface_enable(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    """A GICv3's CPU interface is by system registers and by nothing else; a GICv2 has none of them."""
    return True, SYSTEM_REGISTERS if vcpu_vgic_is_v3(v) else u64(0)


def sgi_register(group1: bool) -> Handler:
    @fn
    def handler(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
        """Write-only, and not there with a GICv2."""
        if read or not vcpu_vgic_is_v3(v):
            return False, 0
        vgic_send_sgi(v, value, group1)
        return True, 0

    return handler


def timer_register(read_register: Callable[[Vcpu], u64], write_register: Callable[[Vcpu, u64], None]) -> Handler:
    @fn
    def handler(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
        if read:
            return True, read_register(v)
        write_register(v, value)
        return True, 0

    return handler


physical_timer_value = timer_register(ptimer_read_value, ptimer_write_value)
physical_timer_control = timer_register(ptimer_read_control, ptimer_write_control)
physical_timer_compare = timer_register(ptimer_read_compare, ptimer_write_compare)
