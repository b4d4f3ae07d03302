"""What the vectors call for a guest that they leave, and go back to, with nothing on its stack: it yields, waits, or wakes another."""

from collections.abc import Callable

from freestanding import export, fn, truncate, u32, u64

from xenarm.arm.cpu import SHARING
from xenarm.arm.instructions import data_memory_barrier
from xenarm.arm.run import vcpu_reconsidered, vcpu_wait_for_interrupt, vcpu_yield
from xenarm.arm.schedule import leaving, load_extra, own_translations, pick, picked, settle, vcpu_give_way, wake
from xenarm.arm.short import SENDS, VALUE_SHIFT, WAITS
from xenarm.arm.timer import timers_off, timers_quiet, timers_watch
from xenarm.arm64.switch import vcpu_address, vcpu_of
from xenarm.config import CONFIG
from xenarm.core.domain import Vcpu, vcpu_here
from xenarm.core.sched.scheduler import sched_block, sched_yield
from xenarm.core.sched.state import STOP_WAITS, SchedCpu, SchedVcpu
from xenarm.core.trace import trace_schedule
from xenarm.gic.context import vgic_finished, vgic_load_v2, vgic_load_v3, vgic_quiet_v2, vgic_quiet_v3, vgic_save_v2, vgic_save_v3
from xenarm.gic.vgic import vgic_attend
from xenarm.gic.vgicd import vgicd_send

GOES_ON = 0
NOT_ASKED = 0  # instead of a time


@export("guest_yields")
def guest_yields(v: Vcpu) -> tuple[SchedVcpu | None, u64]:
    """WFE, or Xen's SCHEDOP_yield: others go first, once. What the scheduler chose, and until when: for `guest_yielded`."""
    sched_yield(v.sched)
    return pick(vcpu_here(v))


@export("guest_sends")
def guest_sends(v: Vcpu, left: u64) -> None:
    """A store to GICD_SGIR that is not for the vCPU alone."""
    if CONFIG.GICV2:
        vgicd_send(v, truncate(u32, left >> VALUE_SHIFT))
    if v.choose != 0:
        vcpu_reconsidered(v)


@fn(inline=False)
def waits_elsewise(v: Vcpu) -> tuple[SchedVcpu | None, u64]:
    vcpu_wait_for_interrupt(v)
    return None, NOT_ASKED


@fn(inline=False)
def wait_kicked(v: Vcpu) -> tuple[SchedVcpu | None, u64]:
    wake(v)
    return waits_elsewise(v)


@export("guest_rest")
def guest_rest(v: Vcpu, left: u64) -> None:
    """What the short way left of a trap that is traced: without the vectors' own ways, which end elsewhere."""
    if left & SENDS != 0:
        guest_sends(v, left)
    elif left & WAITS != 0:
        vcpu_wait_for_interrupt(v)
    else:
        vcpu_yield(v)


@fn(inline=False)
def turn_otherwise(chosen: SchedVcpu | None, until: u64, v: Vcpu, saved: bool) -> u64:
    """Where not all is as usual. `saved`: all but `vgic_finished` has been done."""
    if until == NOT_ASKED:
        return GOES_ON
    if chosen is None or vcpu_of(chosen) is v:
        return no_turn(chosen, until, v)
    if saved:
        vgic_finished(v)
        return vcpu_address(vcpu_of(chosen))
    c = vcpu_here(v)
    picked(c, until)
    _ = trace_schedule(vcpu_of(chosen))
    if v.sched.stopped.load() & STOP_WAITS != 0:
        timers_watch(v, c)
    leaving(v, c)
    return vcpu_address(vcpu_of(chosen))


@fn
def no_turn(chosen: SchedVcpu | None, until: u64, v: Vcpu) -> u64:
    """The scheduler has nobody else for now."""
    picked(vcpu_here(v), until)
    if chosen is None:
        _ = trace_schedule(None)
        vcpu_give_way(v, None, False)
    else:
        _ = trace_schedule(v)
        settle(v)
    vcpu_reconsidered(v)
    return GOES_ON


@fn(inline=False)
def return_with_extra(v: Vcpu, c: SchedCpu) -> None:
    load_extra(v, c)
    return_kicked(v)


@fn(inline=True)
def return_kicked(v: Vcpu) -> None:
    data_memory_barrier()
    if v.vgic.kicked.load() != 0:
        return_changed(v)


@fn(inline=False)
def return_changed(v: Vcpu) -> None:
    vgic_attend(v)
    vcpu_reconsidered(v)


def turns(gic: str, vgic_quiet: Callable[[Vcpu], bool], vgic_save: Callable[[Vcpu], bool], vgic_load: Callable[[Vcpu], None]) -> None:
    """What the vectors call on a machine with that interrupt controller."""

    @export(f"guest_waits_{gic}")
    def guest_waits(v: Vcpu) -> tuple[SchedVcpu | None, u64]:
        """WFI. As `guest_yields`, for `guest_waited`. It may end without an interrupt, as the architecture allows (Arm ARM D1.6.2)."""
        if not SHARING.on or not vgic_quiet(v) or not timers_quiet(v):
            return waits_elsewise(v)
        sched_block(v.sched)
        data_memory_barrier()
        if v.vgic.kicked.load() != 0:
            return wait_kicked(v)
        return pick(vcpu_here(v))

    @fn(inline=True)
    def turn(chosen: SchedVcpu | None, until: u64, v: Vcpu, waits: bool) -> u64:
        """The address of the vCPU that the vectors are to switch to, or GOES_ON. In the usual case without a call that registers are saved for."""
        c = vcpu_here(v)
        if chosen is None or vcpu_of(chosen) is v or until <= c.alarm.enough or v.extra != 0 or (waits and not timers_off()):
            return turn_otherwise(chosen, until, v, False)
        c.alarm.choose_at = until
        if vgic_save(v):
            return turn_otherwise(chosen, until, v, True)
        return vcpu_address(vcpu_of(chosen))

    @export(f"guest_yielded_{gic}")
    def guest_yielded(chosen: SchedVcpu | None, until: u64, v: Vcpu) -> u64:
        return turn(chosen, until, v, False)

    @export(f"guest_waited_{gic}")
    def guest_waited(chosen: SchedVcpu | None, until: u64, v: Vcpu) -> u64:
        return turn(chosen, until, v, True)

    @export(f"vcpu_return_{gic}")
    def vcpu_return(v: Vcpu) -> None:
        """The vectors have switched to a vCPU that they left, and go back to its guest."""
        c = vcpu_here(v)
        vgic_load(v)
        own_translations(v, c)
        if v.extra != 0:
            return_with_extra(v, c)
        else:
            return_kicked(v)


if CONFIG.GICV2:
    turns("v2", vgic_quiet_v2, vgic_save_v2, vgic_load_v2)
if CONFIG.GICV3:
    turns("v3", vgic_quiet_v3, vgic_save_v3, vgic_load_v3)
