"""What a CPU does with its vCPU: wait for its power, load its state, enter the guest, wait with it for interrupts."""

from collections.abc import Callable

from freestanding import Atomic, Struct, atomic, export, fn, truncate, u32, u64, zeroed

from xenarm.abi.affinity import affinity_mpidr, affinity_of
from xenarm.arm.cpu import SHARING, cpu_index, this_vcpu
from xenarm.arm.hw import Hcr, read_cntpct_el0, read_hcr_el2, write_hcr_el2
from xenarm.arm.instructions import cpu_relax, instruction_sync, wait_for_interrupt
from xenarm.arm.irq import irq_acknowledged, irq_handle
from xenarm.arm.mmu import icache_invalidate
from xenarm.arm.once import once_release
from xenarm.arm.schedule import (
    domain_runs,
    settle,
    vcpu_choose,
    vcpu_reconsider,
    vcpu_resumed,
    vcpu_switch,
    vcpu_wait,
)
from xenarm.arm.short import DONE, SHORT_POST, timer_or_other_v2, timer_or_other_v3
from xenarm.arm.timer import alarms_init, timers_control, timers_reset
from xenarm.arm.traced import tracing_vectors
from xenarm.arm.variant import HCR_GUEST, HCR_NO_GUEST, cpu_control, enter_guest, load_general, load_system, vcpu_address, vcpu_prepare, vectors_choose
from xenarm.arm.vcpu import cpus_online
from xenarm.config import CONFIG
from xenarm.core.console import console_poll, console_polled
from xenarm.core.domain import DOMAINS, MAX_DOMAINS, Domain, DomainState, Extra, Power, Vcpu, vcpu_domain, vcpu_place
from xenarm.core.event_channel import channels_vcpu_starts
from xenarm.core.sched.scheduler import sched_wake, sched_yield
from xenarm.core.sched.state import NEVER, SCHED_CPUS
from xenarm.core.scrub import scrub_help
from xenarm.core.shutdown import domain_vcpu_left
from xenarm.core.trace import trace_exit_end, trace_irq, trace_power
from xenarm.gic.controller import PPI_VIRTUAL_TIMER, SGI_POST
from xenarm.gic.host import gic_is_v3, gic_kick_others
from xenarm.gic.vgic import vcpu_has_interrupt, vgic_look, vgic_park, vgic_vcpu_reset

__all__ = [
    "arch_start_domains",
    "cpu_run",
    "vcpu_checkpoint",
    "vcpu_mpidr",
    "vcpu_off",
    "vcpu_reconsidered",
    "vcpu_to_check",
    "vcpu_wait_for_interrupt",
    "vcpu_yield",
]

TWE = int(Hcr(TWE=True))
MPIDR_RES1 = 1 << 31


@fn
def vcpu_mpidr(v: Vcpu) -> u64:
    return MPIDR_RES1 | affinity_mpidr(affinity_of(vcpu_domain(v).affinities, v.id))


@fn
def vcpu_load(v: Vcpu) -> None:
    """Registers as at a start, by `power` ON_PENDING."""
    v.extra &= ~u32(Extra.SERROR)
    write_hcr_el2(HCR_GUEST | read_hcr_el2() & TWE)
    load_system(v)
    timers_reset(v)
    vgic_vcpu_reset(v)
    vgic_look(v)
    if CONFIG.EVENT_CHANNELS:
        channels_vcpu_starts(v)
    load_general(v)
    instruction_sync()


@fn
def wait_for_power(v: Vcpu) -> None:
    """Interrupts stay masked: WFI wakes for them, and they are handled here. When its domain ends with all vCPUs off, one of them settles it."""
    while True:
        domain_vcpu_left(vcpu_domain(v))
        if domain_runs(v) and turned_on(v):
            return
        if SHARING.on:
            vcpu_wait(v, False)
        else:
            wait_for_interrupt()
            irq_handle(v)


@fn
def turned_on(v: Vcpu) -> bool:
    """Whether the vCPU goes from ON_PENDING to ON: not if its domain has begun to end meanwhile, which `domain_vcpu_left` then sees."""
    claimed, _ = v.power.compare_swap(u32(Power.ON_PENDING), u32(Power.ON))
    if claimed and not domain_runs(v):
        v.power.store_release(u32(Power.OFF))
        return False
    if claimed:
        trace_power(v, u64(Power.ON), 0)
    return claimed


@fn
def vcpu_run(v: Vcpu) -> None:
    """Run the vCPU that this CPU has from whenever it is turned on. From any depth of the stack, which is given up. Does not return."""
    wait_for_power(v)
    vcpu_load(v)
    if v.choose != 0:
        vcpu_reconsider(v)
    enter_guest(v)


@export("vcpu_main")
def vcpu_main(v: Vcpu) -> None:
    """Where a vCPU's stack begins: its CPU has just switched to it. Does not return."""
    vcpu_resumed(v)
    vcpu_run(v)


@fn
def vcpu_off(v: Vcpu) -> None:
    """The vCPU that this CPU has is turned off. Does not return."""
    vgic_park(v)
    timers_reset(v)
    trace_power(v, u64(Power.OFF), 0)
    trace_exit_end(v)
    v.power.store_release(u32(Power.OFF))
    vcpu_run(v)


@fn(inline=True)
def vcpu_to_check(v: Vcpu) -> bool:
    """Whether `vcpu_checkpoint` would do anything."""
    d = vcpu_domain(v)
    return d.paused.load_acquire() != 0 or d.state.load_acquire() != u32(DomainState.RUNNING)


@fn
def vcpu_checkpoint(v: Vcpu) -> None:
    """After a kick: wait while the domain is paused. Does not return when it ends."""
    while vcpu_domain(v).paused.load_acquire() != 0 and domain_runs(v):
        if SHARING.on:
            vcpu_wait(v, True)
        else:
            wait_for_interrupt()
            irq_handle(v)
    if not domain_runs(v):
        vcpu_off(v)


@fn
def vcpu_wait_for_interrupt(v: Vcpu) -> None:
    """WFI: until an interrupt is pending for the vCPU, whether the guest masks it or not. Does not return when its domain ends."""
    if SHARING.on:
        wait_shared(v)
    elif CONFIG.GICV3 and gic_is_v3():
        wait_alone_v3(v)
    else:
        wait_alone_v2(v)


@fn(inline=False)
def wait_shared(v: Vcpu) -> None:
    vcpu_wait(v, False)
    vcpu_reconsidered(v)


@fn
def vcpu_reconsidered(v: Vcpu) -> None:
    """Before the guest goes on, where anything may have happened: ask the scheduler if need be, and look at the domain."""
    if v.choose != 0:
        vcpu_reconsider(v)
    if vcpu_to_check(v):
        vcpu_checkpoint(v)


@fn
def not_posted(v: Vcpu, left: u64) -> u64:
    """Where no CPU posts SGIs."""
    return left


def waiting_alone(timer_or_other: Callable[[Vcpu], u64], posted_or_other: Callable[[Vcpu, u64], u64]) -> Callable[[Vcpu], None]:
    @fn(inline=True)
    def wait_alone(v: Vcpu) -> None:
        """Nobody else is to run on this CPU."""
        while not vcpu_has_interrupt(v):
            if not console_poll():
                wait_for_interrupt()
            other = timer_or_other(v)
            if other == DONE:
                trace_irq(PPI_VIRTUAL_TIMER, 0)
                return
            if posted_or_other(v, other) == DONE:
                trace_irq(SGI_POST, 0)
                return
            if irq_acknowledged(v, truncate(u32, other)) and vcpu_to_check(v):
                vcpu_checkpoint(v)

    return wait_alone


wait_alone_v2 = waiting_alone(timer_or_other_v2, SHORT_POST.get("v2", not_posted))
wait_alone_v3 = waiting_alone(timer_or_other_v3, SHORT_POST.get("v3", not_posted))


@fn
def vcpu_yield(v: Vcpu) -> None:
    """Others go first, once. Does not return when its domain ends."""
    if SHARING.on:
        sched_yield(v.sched)
        vcpu_reconsider(v)
        vcpu_checkpoint(v)


# ---- CPUs --------------------------------------------------------------------------------------------------------------


class Start(Struct):
    """Until the domains are built there is nothing to run."""

    given: Atomic[u32] = atomic(u32)
    settled: Atomic[u32] = atomic(u32)  # CPUs that use the vectors which stay
    over: Atomic[u32] = atomic(u32)  # what only the boot used is gone


START = zeroed(Start)


@fn
def vectors_settle() -> None:
    """The CPU's table, now that it is known what the CPU needs."""
    vectors_choose(gic_is_v3())
    if CONFIG.TRACE:
        tracing_vectors()


@fn
def cpu_run() -> None:
    """A CPU on its own stack: it turns to its vCPUs, and is here while the scheduler has none for it. Does not return."""
    me = this_vcpu()
    me.due = NEVER
    vcpu_place(me, me.cpu)
    SCHED_CPUS[me.cpu].own = vcpu_address(me)
    cpu_control()
    timers_control()
    while START.given.load_acquire() == 0:
        if CONFIG.BOOT_SCRUB:
            while scrub_help():
                pass
        wait_for_interrupt()
        irq_handle(me)
    vectors_settle()
    _ = START.settled.fetch_add(1)
    while START.over.load_acquire() == 0:
        cpu_relax()
    console_polled()
    while True:
        chosen = vcpu_choose(me)
        if chosen is not None:
            write_hcr_el2(HCR_GUEST | read_hcr_el2() & TWE)
            vcpu_switch(me, chosen)
            write_hcr_el2(HCR_NO_GUEST | read_hcr_el2() & TWE)
            continue
        settle(me)
        if not console_poll():
            wait_for_interrupt()
        irq_handle(me)


@export("boot_end")
def boot_end() -> None:
    """The boot is over, and its code and data go. Every CPU runs vCPUs from now on. Does not return."""
    vectors_settle()
    START.given.store_release(1)
    gic_kick_others(cpus_online(), cpu_index())
    while START.settled.load_acquire() < cpus_online() - 1:
        cpu_relax()
    once_release()
    START.over.store_release(1)
    cpu_run()


@fn
def arch_start_domains() -> None:
    """Make every domain ready, and have all CPUs run them. Does not return."""
    icache_invalidate()
    alarms_init()
    for i in range(MAX_DOMAINS):
        if DOMAINS[i].state.load() == u32(DomainState.RUNNING):
            domain_start(DOMAINS[i])
    boot_end()


@fn
def domain_start(d: Domain) -> None:
    """Make its vCPUs ready for the first switch to each. Where none waits for another, they wait for their power on CPUs of their own."""
    for i in range(d.vcpu_count):
        v = d.vcpus[i]
        if v is not None:
            vcpu_prepare(v, vcpu_mpidr(v), d.p2m.vttbr)
            v.due = NEVER
            if not SHARING.on:
                v.extra |= Extra.ALONE
            vcpu_place(v, v.sched.cpu)
            if not SHARING.on or v.power.load() == u32(Power.ON_PENDING):
                _ = sched_wake(v.sched, read_cntpct_el0())
