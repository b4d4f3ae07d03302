"""A guest's timers: the virtual one is the hardware's own, the physical one is emulated on EL2's.

EL2's timer of a CPU is its alarm: for the physical timer of the vCPU that it has, for the timers of vCPUs that wait and that it had last,
and for the end of a time slice. It may be set too soon: then it is set anew when it fires, so that a slice which begins needs no new setting.

The virtual timer's line stays high until the guest moves its comparator. Where its list register is not linked to the physical interrupt,
EL2 masks it at the timer (CNTV_CTL.IMASK), which the guest undoes when it sets the timer anew.
"""

from freestanding import ctz, fn, truncate, u32, u64, wrapping_add, wrapping_sub

from xenarm.arm.instructions import instruction_sync
from xenarm.arm.hw import (
    Cnthctl,
    Hcr,
    TimerControl,
    read_cntpct_el0,
    read_cntv_ctl_el0,
    read_cntv_cval_el0,
    read_hcr_el2,
    write_cnthctl_el2,
    write_cnthp_ctl_el2,
    write_cnthp_cval_el2,
    write_cntkctl_el1,
    write_cntv_ctl_el0,
    write_cntv_cval_el0,
    write_cntvoff_el2,
    write_hcr_el2,
)
from xenarm.abi.layout import GUEST_TIMER_PHYS_NS_PPI, GUEST_TIMER_VIRT_PPI
from xenarm.core.domain import MAX_CPUS, SLOTS, Extra, Vcpu, vcpu_here
from xenarm.core.sched.scheduler import sched_wake
from xenarm.core.sched.state import NEVER, SCHED_CPUS, STOP_WAITS, WAITING_WORDS, Alarm, SchedCpu
from xenarm.core.trace import trace_on_schedule, trace_wake
from xenarm.gic.vgic import cpus_kick, vgic_raise_own, vgic_set_own_level

__all__ = [
    "alarm_by",
    "alarm_choose_at",
    "alarm_expired",
    "alarm_set",
    "alarms_init",
    "ptimer_read_compare",
    "ptimer_read_control",
    "ptimer_read_value",
    "ptimer_write_compare",
    "ptimer_write_control",
    "ptimer_write_value",
    "timers_control",
    "timers_load",
    "timers_look",
    "timers_off",
    "timers_reset",
    "timers_unload",
    "timers_watch",
    "vtimer_expired",
    "vtimer_mask",
    "vtimer_quiet",
]

ENABLE = int(TimerControl(ENABLE=True))
IMASK = int(TimerControl(IMASK=True))
ISTATUS = int(TimerControl(ISTATUS=True))
COUNTER_ONLY = int(Cnthctl(EL1PCTEN=True))
SIGN = 1 << 31
TWE = int(Hcr(TWE=True))


@fn
def alarms_init() -> None:
    for i in range(MAX_CPUS):
        a = SCHED_CPUS[i].alarm
        a.choose_at = NEVER
        a.enough = NEVER
        a.set_for = NEVER
        a.ptimer = NEVER
        a.soonest = NEVER


@fn(inline=True)
def alarm_choose_at(c: SchedCpu, at: u64) -> None:
    """When the scheduler wants to be asked. A timer that is set for sooner may stay: asking is then put off when it fires."""
    c.alarm.choose_at = at
    if at < c.alarm.enough:
        alarm_set(c)


@fn(inline=False)
def alarm_set(c: SchedCpu) -> None:
    """Set the timer, and have the guest's WFE trap while others wait for this CPU."""
    a = c.alarm
    at = min(min(a.choose_at, a.soonest), a.ptimer)
    write_cnthp_cval_el2(at)
    write_cnthp_ctl_el2(u64(ENABLE) if at != NEVER else u64(0))
    instruction_sync()
    a.set_for = at
    others = a.choose_at != NEVER
    a.enough = at if others and not trace_on_schedule() else u64(NEVER)
    hcr = read_hcr_el2()
    if (hcr & TWE != 0) != others:
        write_hcr_el2(hcr ^ TWE)


@fn
def alarm_by(cpu: u32, at: u64) -> None:
    """On the CPU itself: `alarm_expired` is to be called at that time, or sooner."""
    c = SCHED_CPUS[cpu]
    c.alarm.soonest = min(c.alarm.soonest, at)
    alarm_set(c)


@fn
def alarm_expired(v: Vcpu) -> None:
    """EL2's timer has fired on the CPU that has `v`."""
    c = vcpu_here(v)
    a = c.alarm
    now = read_cntpct_el0()
    if a.soonest <= now:
        wake_due(a, now)
    if a.choose_at <= now:
        a.choose_at = NEVER
        v.choose = 1
    if a.ptimer <= now and v.domain is not None:
        ptimer_update(v)
    else:
        alarm_set(c)


@fn
def wake_due(a: Alarm, now: u64) -> None:
    """Wake the vCPUs whose timers are due. One that has begun to run elsewhere meanwhile is not harmed by it."""
    soonest = u64(NEVER)
    for word in range(u32(WAITING_WORDS)):
        rest = a.waiting[word].bits.load()
        while rest != 0:
            n = ctz(rest)
            rest &= rest - 1
            v = SLOTS[MAX_CPUS + word * 64 + n].vcpu
            due = v.due
            if due <= now:
                _ = a.waiting[word].bits.fetch_and(~(u64(1) << n))
                cpus_kick(sched_wake(trace_wake(v).sched, now))
            else:
                soonest = min(soonest, due)
    a.soonest = soonest


@fn(inline=True)
def waiting_add(a: Alarm, v: Vcpu) -> None:
    n = v.number - MAX_CPUS
    _ = a.waiting[n >> 6].bits.fetch_or(u64(1) << (n & 63))


@fn(inline=True)
def waiting_remove(a: Alarm, v: Vcpu) -> None:
    n = v.number - MAX_CPUS
    _ = a.waiting[n >> 6].bits.fetch_and(~(u64(1) << (n & 63)))


@fn(inline=True)
def timers_off() -> bool:
    """Whether the virtual timer of the vCPU that this CPU has is off."""
    return read_cntv_ctl_el0() & ENABLE == 0


@fn(inline=True)
def timers_watch(v: Vcpu, c: SchedCpu) -> None:
    """The vCPU waits, and its registers are about to leave this CPU, which wakes it when a timer of its is due."""
    if not timers_off():
        watch(v, c)


@fn(inline=False)
def watch(v: Vcpu, c: SchedCpu) -> None:
    due = v.ptimer_compare if v.extra & Extra.PTIMER != 0 else u64(NEVER)
    if read_cntv_ctl_el0() & (ENABLE | IMASK) == ENABLE:
        due = min(due, read_cntv_cval_el0())
    if due != NEVER:
        a = c.alarm
        v.extra |= Extra.WATCHED
        v.due = due
        v.due_cpu = c.id
        a.soonest = min(a.soonest, due)
        waiting_add(a, v)
        if due < a.set_for:
            alarm_set(c)


@fn(inline=True)
def timers_unload(v: Vcpu, c: SchedCpu) -> None:
    """The vCPU's registers are about to leave this CPU; it has something in `extra`."""
    if v.extra & Extra.PTIMER != 0:
        c.alarm.ptimer = NEVER
        if v.sched.stopped.load() & STOP_WAITS != 0:
            watch(v, c)


@fn(inline=True)
def timers_load(v: Vcpu, c: SchedCpu) -> None:
    """This CPU has the vCPU's registers, and its timers with them; it has something in `extra`."""
    if v.extra & Extra.WATCHED != 0:
        v.extra &= ~u32(Extra.WATCHED)
        v.due = NEVER
        waiting_remove(SCHED_CPUS[v.due_cpu].alarm, v)
    if v.extra & Extra.PTIMER != 0:
        c.alarm.ptimer = v.ptimer_compare
        if v.ptimer_compare < c.alarm.set_for:
            alarm_set(c)


@fn(inline=True)
def vtimer_quiet() -> bool:
    """Whether `timers_look` would find nothing of the virtual timer."""
    control = read_cntv_ctl_el0()
    return control & ENABLE == 0 or control & (IMASK | ISTATUS) != ISTATUS


@fn(inline=True)
def timers_look(v: Vcpu) -> None:
    """Raise the interrupts of timers that expired before this CPU could tell."""
    if read_cntv_ctl_el0() & (ENABLE | IMASK | ISTATUS) == ENABLE | ISTATUS:
        vtimer_expired(v)
    if v.ptimer_control & (ENABLE | IMASK) == ENABLE:
        ptimer_update(v)


@fn
def timers_control() -> None:
    """For every CPU: guests may read the physical counter, the physical timer's registers trap, virtual time is physical time."""
    write_cnthctl_el2(COUNTER_ONLY)
    write_cntvoff_el2(0)
    write_cnthp_ctl_el2(0)


@fn
def timers_reset(v: Vcpu) -> None:
    """Both timers of the vCPU that this CPU has are off."""
    v.ptimer_control = 0
    v.ptimer_compare = 0
    v.extra &= ~u32(Extra.PTIMER)
    write_cntv_ctl_el0(0)
    write_cntv_cval_el0(0)
    write_cntkctl_el1(0)
    vcpu_here(v).alarm.ptimer = NEVER


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
    c = vcpu_here(v)
    if armed and not due:
        v.extra |= Extra.PTIMER
        c.alarm.ptimer = v.ptimer_compare
    else:
        v.extra &= ~u32(Extra.PTIMER)
        c.alarm.ptimer = NEVER
    alarm_set(c)


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
