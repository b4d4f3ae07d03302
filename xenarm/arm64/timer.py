"""A guest's timers: the virtual one is the hardware's own, the physical one is emulated on EL2's.

The virtual timer's line stays high until the guest moves its comparator. Where its list register is not linked to the physical interrupt,
EL2 masks it at the timer (CNTV_CTL.IMASK), which the guest undoes when it sets the timer anew.
"""

from freestanding import fn, truncate, u32, u64, wrapping_add, wrapping_sub

from xenarm.arm64.instructions import instruction_sync
from xenarm.arm64.registers import (
    Cnthctl,
    TimerControl,
    read_cntpct_el0,
    read_cntv_ctl_el0,
    write_cnthctl_el2,
    write_cnthp_ctl_el2,
    write_cnthp_cval_el2,
    write_cntkctl_el1,
    write_cntv_ctl_el0,
    write_cntv_cval_el0,
    write_cntvoff_el2,
)
from xenarm.abi.layout import GUEST_TIMER_PHYS_NS_PPI, GUEST_TIMER_VIRT_PPI
from xenarm.core.domain import Vcpu
from xenarm.gic.vgic import vgic_raise_own, vgic_set_own_level

__all__ = [
    "ptimer_expired",
    "ptimer_read_compare",
    "ptimer_read_control",
    "ptimer_read_value",
    "ptimer_write_compare",
    "ptimer_write_control",
    "ptimer_write_value",
    "timers_reset",
    "vtimer_expired",
    "vtimer_mask",
]

ENABLE = int(TimerControl(ENABLE=True))
IMASK = int(TimerControl(IMASK=True))
ISTATUS = int(TimerControl(ISTATUS=True))
COUNTER_ONLY = int(Cnthctl(EL1PCTEN=True))
SIGN = 1 << 31


@fn
def timers_reset(v: Vcpu) -> None:
    """Both timers off; the guest may read the physical counter, its timer's registers trap."""
    v.ptimer_control = 0
    v.ptimer_compare = 0
    write_cntv_ctl_el0(0)
    write_cntv_cval_el0(0)
    write_cntvoff_el2(0)
    write_cntkctl_el1(0)
    write_cnthp_ctl_el2(0)
    write_cnthctl_el2(COUNTER_ONLY)


@fn(inline=True)
def vtimer_mask() -> None:
    """The line falls, though the condition stays met."""
    write_cntv_ctl_el0(read_cntv_ctl_el0() | IMASK)
    instruction_sync()


@fn(inline=True)
def vtimer_expired(v: Vcpu) -> None:
    """PPI 27 without the list register's link: mask the line, then it can be ended here."""
    vtimer_mask()
    vgic_raise_own(v, GUEST_TIMER_VIRT_PPI)


@fn
def met(v: Vcpu) -> bool:
    return v.ptimer_control & ENABLE != 0 and read_cntpct_el0() >= v.ptimer_compare


@fn
def ptimer_update(v: Vcpu) -> None:
    """Set the interrupt line; while the condition is yet to come and may interrupt, arm EL2's own timer for it."""
    armed = v.ptimer_control & (ENABLE | IMASK) == ENABLE
    due = met(v)
    vgic_set_own_level(v, GUEST_TIMER_PHYS_NS_PPI, armed and due)
    if armed and not due:
        write_cnthp_cval_el2(v.ptimer_compare)
        write_cnthp_ctl_el2(ENABLE)
    else:
        write_cnthp_ctl_el2(0)
    instruction_sync()


@fn
def ptimer_expired(v: Vcpu) -> None:
    """EL2's timer has fired. Where no guest uses it, it is turned off."""
    ptimer_update(v)


@fn
def ptimer_read_control(v: Vcpu) -> u64:
    return v.ptimer_control | (ISTATUS if met(v) else u64(0))


@fn
def ptimer_write_control(v: Vcpu, value: u64) -> None:
    v.ptimer_control = value & (ENABLE | IMASK)
    ptimer_update(v)


@fn
def ptimer_read_compare(v: Vcpu) -> u64:
    return v.ptimer_compare


@fn
def ptimer_write_compare(v: Vcpu, value: u64) -> None:
    v.ptimer_compare = value
    ptimer_update(v)


@fn
def ptimer_read_value(v: Vcpu) -> u64:
    """CNTP_TVAL_EL0: the low 32 bits of what is left."""
    return u64(truncate(u32, wrapping_sub(v.ptimer_compare, read_cntpct_el0())))


@fn
def ptimer_write_value(v: Vcpu, value: u64) -> None:
    """A signed 32-bit distance from now."""
    low = value & 0xFFFF_FFFF
    distance = wrapping_sub(low ^ SIGN, u64(SIGN))
    ptimer_write_compare(v, wrapping_add(read_cntpct_el0(), distance))
