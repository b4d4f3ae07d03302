"""Physical interrupts, taken from a guest or found while waiting. One is handled for each exception: the next traps at once."""

from freestanding import fn, u32, u64

from xenarm.abi.layout import GUEST_TIMER_VIRT_PPI
from xenarm.arm.cpu import SHARING
from xenarm.arm.dump import dump_asked, dump_wanted
from xenarm.arm.timer import alarm_expired, vtimer_expired
from xenarm.arm.traced import tracing_attend
from xenarm.config import CONFIG
from xenarm.core.console import console_interrupt, console_irq, console_poll, console_polled, console_waits
from xenarm.core.domain import Vcpu
from xenarm.core.halt import halt
from xenarm.core.listing import listing_continue
from xenarm.core.log import log_warning
from xenarm.core.trace import trace_irq
from xenarm.core.tracing import tracing_continue
from xenarm.gic.controller import GIC, PPI_HYP_TIMER, PPI_VIRTUAL_TIMER, SGI_KICK, SGI_POST, SGI_STOP
from xenarm.gic.host import gic_acknowledge, gic_drop, gic_end, gic_lists_control
from xenarm.gic.registers import INTID_MASK, INTID_SPURIOUS
from xenarm.gic.vgic import vgic_attend, vgic_maintenance, vgic_raise_own

__all__ = ["irq_acknowledged", "irq_handle"]


@fn(inline=True)
def irq_handle(v: Vcpu) -> bool:
    """Handle what is pending for this CPU, if anything. True: it was a kick, so that more than its interrupts may have changed for `v`."""
    return irq_acknowledged(v, gic_acknowledge())


@fn(inline=True)
def irq_acknowledged(v: Vcpu, iar: u32) -> bool:
    """The same for what GICC_IAR gave."""
    intid = iar & INTID_MASK
    if intid == PPI_VIRTUAL_TIMER:
        trace_irq(u64(intid), 0)
        virtual_timer(v, iar)
        return False
    return irq_other(v, iar, intid)


@fn(inline=True)
def virtual_timer(v: Vcpu, iar: u32) -> None:
    if CONFIG.GIC_HW_TIMER_LINK:
        gic_drop(iar)
        vgic_raise_own(v, GUEST_TIMER_VIRT_PPI)
    else:
        vtimer_expired(v)
        gic_end(iar)


@fn(inline=False)
def irq_other(v: Vcpu, iar: u32, intid: u32) -> bool:
    if intid >= INTID_SPURIOUS:
        return False
    gic_end(iar)
    trace_irq(u64(intid), u64(iar))
    if intid == SGI_KICK or intid == SGI_POST:
        tracing_attend()
        if v.domain is not None:
            vgic_attend(v)
        if SHARING.on:
            v.choose = 1
        if console_waits():
            console_poll()
        if dump_wanted():
            dump_asked(v)
        return True
    if intid == PPI_HYP_TIMER:
        alarm_expired(v)
        tracing_continue()
        listing_continue()
        console_polled()
    elif intid == SGI_STOP:
        halt()
    elif intid == GIC.maintenance_ppi:
        if v.domain is not None:
            vgic_maintenance(v)
        else:
            gic_lists_control(0)  # of a vCPU that has gone; the next one's is loaded with it
    elif intid == console_interrupt():
        console_irq()
    else:
        log_warning(f"interrupt {intid} came and belongs to nobody")
    return False
