"""What the vectors call for a guest that they leave, and go back to, with nothing on its stack: it yields, waits, or wakes another."""

from collections.abc import Callable
from dataclasses import dataclass

from freestanding import export, fn, truncate, u32, u64

from xenarm.arm.instructions import data_memory_barrier
from xenarm.arm.run import vcpu_reconsidered, vcpu_wait_for_interrupt, vcpu_yield
from xenarm.arm.schedule import leaving, load_extra, own_translations, pick, picked, settle, vcpu_give_way, wake
from xenarm.arm.short import SENDS, VALUE_SHIFT, WAITS
from xenarm.arm.timer import timers_off, timers_watch, vtimer_quiet
from xenarm.arm64.switch import vcpu_address, vcpu_of
from xenarm.config import CONFIG
from xenarm.core.domain import Extra, Vcpu, vcpu_here
from xenarm.core.sched.scheduler import sched_block, sched_yield
from xenarm.core.sched.state import STOP_WAITS, SchedCpu, SchedVcpu
from xenarm.core.trace import trace_schedule
from xenarm.gic.context import (
    vgic_finished,
    vgic_load_v2,
    vgic_load_v3,
    vgic_quiet_v2,
    vgic_quiet_v3,
    vgic_save_quiet_v2,
    vgic_save_quiet_v3,
    vgic_save_v2,
    vgic_save_v3,
)
from xenarm.gic.vgic import cpus_kick, vgic_attend, vgic_send

GOES_ON = 0
NOT_ASKED = 0  # instead of a time: the scheduler has not been asked, the vCPU waits with all that may take
KICKED = 1  # the same, and it blocks already


@export("guest_yields")
def guest_yields(v: Vcpu) -> tuple[SchedVcpu | None, u64]:
    """WFE, or Xen's SCHEDOP_yield: others go first, once. What the scheduler chose, and until when: for `guest_yielded`."""
    sched_yield(v.sched)
    return pick(vcpu_here(v))


@export("guest_sends")
def guest_sends(left: u64, v: Vcpu) -> u64:
    """An SGI to another vCPU, `v.addressee`: the CPUs that must ask the scheduler, for `guest_kicks`."""
    target = v.addressee
    return vgic_send(target, truncate(u32, left >> VALUE_SHIFT)) if target is not None else u64(0)


@export("guest_kicks")
def guest_kicks(v: Vcpu, cpus: u64) -> None:
    """Maybe this one too, which may know already."""
    if v.choose == 0:
        cpus_kick(cpus)
    if v.choose != 0:
        vcpu_reconsidered(v)


@export("guest_rest")
def guest_rest(v: Vcpu, left: u64) -> None:
    """What the short way left of a trap that is traced: without the vectors' own ways, which end elsewhere."""
    if left & SENDS != 0:
        cpus = guest_sends(left, v)
        if cpus != 0:
            guest_kicks(v, cpus)
    elif left & WAITS != 0:
        vcpu_wait_for_interrupt(v)
    else:
        vcpu_yield(v)


@fn(inline=False)
def turn_otherwise(after: Vcpu | None, until: u64, v: Vcpu, saved: bool) -> u64:
    """Where not all is as usual. `saved`: all but `vgic_finished` has been done."""
    if after is None or after is v:
        no_turn(after, until, v)
        return GOES_ON
    if saved:
        vgic_finished(v)
        return vcpu_address(after)
    c = vcpu_here(v)
    picked(c, until)
    _ = trace_schedule(after)
    if v.sched.stopped.load() & STOP_WAITS != 0:
        timers_watch(v, c)
    leaving(v, c)
    return vcpu_address(after)


@fn
def no_turn(after: Vcpu | None, until: u64, v: Vcpu) -> None:
    """The scheduler has nobody else for now; or has not been asked."""
    if until <= KICKED:
        if until == KICKED:
            wake(v)
        vcpu_wait_for_interrupt(v)
        return
    picked(vcpu_here(v), until)
    _ = trace_schedule(after)
    if after is None:
        vcpu_give_way(v, None, False)
    else:
        settle(v)
    vcpu_reconsidered(v)


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


@dataclass(frozen=True)
class Vgic:
    """What the switch does with the virtual interface of one controller."""

    quiet: Callable[[Vcpu], bool]
    save_quiet: Callable[[Vcpu], None]
    save: Callable[[Vcpu], bool]
    load: Callable[[Vcpu], None]


def turns(gic: str, vgic: Vgic) -> None:
    """What the vectors call on a machine with that interrupt controller."""
    vgic_quiet, vgic_save_quiet, vgic_save, vgic_load = vgic.quiet, vgic.save_quiet, vgic.save, vgic.load

    @export(f"guest_waits_{gic}")
    def guest_waits(v: Vcpu) -> tuple[SchedVcpu | None, u64]:
        """WFI. As `guest_yields`, for `guest_waited`. It may end without an interrupt, as the architecture allows (Arm ARM D1.6.2)."""
        if v.extra & (Extra.ALONE | Extra.PTIMER) != 0 or not vgic_quiet(v) or not vtimer_quiet():
            return None, NOT_ASKED
        sched_block(v.sched)
        data_memory_barrier()
        if v.vgic.kicked.load() != 0:
            return None, KICKED
        return pick(vcpu_here(v))

    @fn(inline=True)
    def turn(chosen: SchedVcpu | None, until: u64, v: Vcpu, waits: bool) -> u64:
        """The address of the vCPU that the vectors are to switch to, or GOES_ON. In the usual case without a call that registers are saved for."""
        c = vcpu_here(v)
        after = vcpu_of(chosen) if chosen is not None else None
        if after is None or after is v or until <= c.alarm.enough or v.extra != 0 or (waits and not timers_off()):
            return turn_otherwise(after, until, v, False)
        c.alarm.choose_at = until
        if waits:
            vgic_save_quiet(v)
        elif vgic_save(v):
            return turn_otherwise(after, until, v, True)
        return vcpu_address(after)

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
    turns("v2", Vgic(vgic_quiet_v2, vgic_save_quiet_v2, vgic_save_v2, vgic_load_v2))
if CONFIG.GICV3:
    turns("v3", Vgic(vgic_quiet_v3, vgic_save_quiet_v3, vgic_save_v3, vgic_load_v3))
