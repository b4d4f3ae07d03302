"""vCPUs taking turns on CPUs: asking the scheduler, switching, waiting. Interrupts are masked throughout.

A vCPU that waits with nobody to take its place keeps its CPU's registers: it goes on without a switch. When another CPU is to run it, that one
kicks this, which gives the registers up. Order: a vCPU sets its state and then looks at `kicked`; who kicks sets `kicked` and then
looks at its state. Whoever comes second sees the other.

A guest that yields or waits by a plain trap is left and gone back to by the vectors, with nothing on its stack (`run.py`). All else switches by
`vcpu_switch`, from any depth of the stack.
"""

from freestanding import fn, u32, u64

from xenarm.arm.cpu import SHARING, this_vcpu
from xenarm.arm.instructions import (
    data_memory_barrier,
    data_sync_local,
    instruction_sync,
    tlb_invalidate_guest_stage1_local,
    wait_for_interrupt,
)
from xenarm.arm.irq import irq_handle
from xenarm.arm.hw import Hcr, read_cntpct_el0, read_hcr_el2, write_hcr_el2
from xenarm.arm.variant import context_switch, fp_give, strays_load, strays_unload, vcpu_of
from xenarm.arm64.aarch32 import aarch32_arrives, aarch32_leaves
from xenarm.arm.timer import alarm_choose_at, alarm_set, timers_load, timers_look, timers_unload, timers_watch
from xenarm.config import CONFIG
from xenarm.core.console import console_poll
from xenarm.core.domain import MAX_CPUS, SLOTS, DomainState, Extra, Power, Vcpu, domain_all_left, vcpu_domain, vcpu_here, vcpu_is_aarch32
from xenarm.core.sched.scheduler import sched_block, sched_pick, sched_wake
from xenarm.core.sched.state import STOP_WAITS, SchedCpu, SchedVcpu
from xenarm.core.trace import trace_schedule, trace_wake
from xenarm.gic.context import vgic_finished, vgic_load, vgic_save
from xenarm.gic.host import gic_kick
from xenarm.gic.vgic import cpus_kick, vcpu_has_interrupt, vgic_attend, vgic_leaves

__all__ = [
    "domain_runs",
    "leaving",
    "load_extra",
    "own_translations",
    "pick",
    "picked",
    "settle",
    "unload_extra",
    "vcpu_breathe",
    "vcpu_choose",
    "vcpu_give_way",
    "vcpu_reconsider",
    "vcpu_resumed",
    "vcpu_switch",
    "vcpu_wait",
    "wake",
]

VSE = int(Hcr(VSE=True))
CPU_BITS = (1 << (MAX_CPUS - 1).bit_length()) - 1  # where MAX_CPUS is a power of two, the compiler sees that an index holds


@fn
def domain_runs(v: Vcpu) -> bool:
    d = v.domain
    return d is not None and d.state.load_acquire() == u32(DomainState.RUNNING)


@fn(inline=True)
def pick(c: SchedCpu) -> tuple[SchedVcpu | None, u64]:
    """What the CPU is to run now, and until when. `picked` must follow."""
    return sched_pick(c, read_cntpct_el0())


@fn(inline=True)
def picked(c: SchedCpu, until: u64) -> None:
    alarm_choose_at(c, until)
    if c.kick != 0:
        send_kicks(c)


@fn(inline=False)
def vcpu_choose(v: Vcpu) -> Vcpu | None:
    """What the CPU that has `v` is to run now."""
    c = vcpu_here(v)
    v.choose = 0
    chosen, until = pick(c)
    picked(c, until)
    return trace_schedule(vcpu_of(chosen) if chosen is not None else None)


@fn(inline=False)
def send_kicks(c: SchedCpu) -> None:
    kick = c.kick
    c.kick = 0
    cpus_kick(kick)


@fn
def settle(v: Vcpu) -> None:
    """The vCPU goes on where it is: nothing may be left of what was set for others."""
    alarm_set(vcpu_here(v))


# ---- switching ---------------------------------------------------------------------------------------------------------


@fn(inline=True)
def leaving(v: Vcpu, c: SchedCpu) -> None:
    """The vCPU's registers are about to leave this CPU, which turns to another vCPU."""
    unload_extra(v, c)
    if vgic_save(v):
        vgic_finished(v)


@fn(inline=False)
def unload_extra(v: Vcpu, c: SchedCpu) -> None:
    if v.extra & Extra.FP != 0:
        fp_give(v)
    if v.extra & Extra.SERROR != 0:
        hcr = read_hcr_el2()
        if hcr & VSE == 0:
            v.extra &= ~u32(Extra.SERROR)
        write_hcr_el2(hcr & ~u64(VSE))
    if CONFIG.AARCH32_GUESTS and vcpu_is_aarch32(v):
        aarch32_leaves(v)
    if v.extra & Extra.STRAYS != 0:
        strays_unload(v)
    if v.extra & Extra.SPILLED != 0:
        vgic_leaves(v)
    timers_unload(v, c)


@fn(inline=False)
def load_extra(v: Vcpu, c: SchedCpu) -> None:
    if v.extra & Extra.SERROR != 0:
        write_hcr_el2(read_hcr_el2() | VSE)
    if CONFIG.AARCH32_GUESTS and vcpu_is_aarch32(v):
        aarch32_arrives(v)
    if v.extra & Extra.STRAYS != 0:
        strays_load(v)
    timers_load(v, c)


@fn(inline=False)
def vcpu_switch(before: Vcpu, after: Vcpu) -> None:
    """This CPU goes on with another vCPU. Returns when `before` runs again, on whatever CPU."""
    c = vcpu_here(before)
    if before.sched.stopped.load() & STOP_WAITS != 0:
        timers_watch(before, c)
    leaving(before, c)
    if after.sched.on_cpu.load_acquire() != 0:
        gic_kick(after.cpu)  # a CPU that idles still has its registers
    context_switch(before, after)
    vcpu_resumed(before)


@fn(inline=False)
def vcpu_resumed(v: Vcpu) -> None:
    c = vcpu_here(v)
    vgic_load(v)
    own_translations(v, c)
    load_extra(v, c)
    data_memory_barrier()
    if v.vgic.kicked.load() != 0 and v.domain is not None:
        vgic_attend(v)


@fn(inline=True)
def own_translations(v: Vcpu, c: SchedCpu) -> None:
    """The TLB tells domains apart, not their vCPUs, whose translations of one ASID may differ: it must not hold another's (Arm ARM D8.14.1)."""
    d = v.domain
    cpu = c.id & CPU_BITS
    if d is not None and d.last_ran[cpu] != v.tag:
        d.last_ran[cpu] = v.tag
        instruction_sync()
        tlb_invalidate_guest_stage1_local()
        data_sync_local()


@fn
def vcpu_give_way(v: Vcpu, chosen: Vcpu | None, paused: bool) -> None:
    """What the scheduler chose is not `v`. Returns when it chooses `v`."""
    if chosen is None:
        idle(v, paused)
    else:
        vcpu_switch(v, chosen)


@fn
def vcpu_reconsider(v: Vcpu) -> None:
    """Ask the scheduler whether `v` goes on. Returns when it does."""
    while True:
        chosen = vcpu_choose(v)
        if chosen is v:
            settle(v)
        else:
            vcpu_give_way(v, chosen, False)
        if v.choose == 0:
            return


@fn
def vcpu_breathe() -> None:
    """In the middle of long work for a vCPU's own domain: handle an interrupt, and let others run whose turn it is.

    Not in the handler of an interrupt, and without locks. During the boot there is nobody.
    """
    v = this_vcpu()
    if v.domain is not None:
        _ = irq_handle(v)
        if SHARING.on and v.choose != 0:
            vcpu_reconsider(v)


# ---- waiting -----------------------------------------------------------------------------------------------------------


@fn(inline=True)
def ready(v: Vcpu, paused: bool) -> bool:
    """Whether a waiting vCPU has something to do: an interrupt, or that its pause is over, or its domain's end; one that is off, to be turned on."""
    if v.power.load_acquire() == u32(Power.ON):
        if paused:
            return not domain_runs(v) or vcpu_domain(v).paused.load_acquire() == 0
        return vcpu_has_interrupt(v) or not domain_runs(v)
    d = v.domain
    return (v.power.load_acquire() == u32(Power.ON_PENDING) and domain_runs(v)) or (d is not None and domain_all_left(d))


@fn
def wake(v: Vcpu) -> None:
    cpus_kick(sched_wake(trace_wake(v).sched, read_cntpct_el0()))


@fn
def vcpu_wait(v: Vcpu, paused: bool) -> None:
    """Until the vCPU, which this CPU has, is ready; others may run meanwhile."""
    while True:
        timers_look(v)
        if v.vgic.kicked.load() != 0:
            vgic_attend(v)
        if ready(v, paused):
            return
        sched_block(v.sched)
        data_memory_barrier()
        if v.vgic.kicked.load() != 0:
            wake(v)
            continue
        chosen = vcpu_choose(v)
        if chosen is v:
            settle(v)
        else:
            vcpu_give_way(v, chosen, paused)


@fn
def idle(v: Vcpu, paused: bool) -> None:
    """Nobody wants this CPU, which keeps the registers of `v`. Returns when the scheduler chooses `v` again, here or elsewhere."""
    settle(v)
    while True:
        if not console_poll():
            wait_for_interrupt()
        _ = irq_handle(v)
        if ready(v, paused):
            wake(v)
        if v.choose == 0:
            continue
        chosen = vcpu_choose(v)
        if chosen is v:
            settle(v)
            return
        if chosen is not None:
            vcpu_switch(v, chosen)
            return
        if v.sched.stopped.load_acquire() == 0:
            vcpu_switch(v, SLOTS[v.cpu].vcpu)
            return
        settle(v)
