"""The virtual GIC's doings: interrupts raised, delivered to the right vCPU, looked at again.

A vCPU's own interrupts are raised by the CPU that runs it, without a lock; another CPU leaves mail or an errand and kicks. Shared interrupts
are raised under the distributor's lock, from any CPU.
"""

from freestanding import ctz, fn, truncate, u8, u32, u64, wrapping_sub

from xenarm.abi.affinity import Affinities, affinity_of
from xenarm.abi.layout import GUEST_TIMER_VIRT_PPI
from xenarm.arm.cpu import SHARING, this_vcpu
from xenarm.arm.instructions import cpu_relax, data_memory_barrier
from xenarm.arm.hw import read_cntpct_el0
from xenarm.config import CONFIG
from xenarm.core.addresses import PAGE_SIZE, GuestPhys
from xenarm.core.domain import Domain, Extra, Power, Vcpu, vcpu_domain
from xenarm.core.result import Result
from xenarm.core.sched.scheduler import sched_allow, sched_claim, sched_claimed, sched_wake
from xenarm.core.sched.state import STOP_WAITS
from xenarm.core.trace import trace_kick, trace_kicks, trace_on_schedule, trace_wake
from xenarm.gic.controller import GIC, PPI_VIRTUAL_TIMER
from xenarm.gic.host import gic_by_memory, gic_by_registers, gic_kick, gic_lists_control, gic_lists_ended, gic_lists_reset, gic_lists_status, gic_read_lr, gic_write_lr
from xenarm.gic.lists import (
    forget_requests,
    lists_collect,
    lists_index,
    lists_lowered,
    lists_publish,
    lists_states,
    own_list,
    own_list_sgi,
    own_ready,
    own_strip,
    route_target,
    shared_list,
    shared_ready,
    shared_strip,
)
from xenarm.gic.overflow import EOI_COUNT, end_spilled, free_holders, lists_ends, lists_refill, own_flush, vgic_update_on
from xenarm.gic.registers import SGIR_TARGETS_SHIFT, LrState
from xenarm.gic.registers3 import GicrWaker, sgi_target
from xenarm.gic.state import LOOK, SGI_BITS, SGIS, SHARED_WORDS, SHORT_TARGETS, VGIC_INTIDS, Errand, IrqWord, Wish
from xenarm.gic.version import vcpu_vgic_is_v3, vgic_is_v3
from xenarm.p2m.stage2 import MemoryKind, p2m_map, p2m_tables_for

__all__ = [
    "cpus_kick",
    "clear_own_pending",
    "refill_if_short",
    "set_own_pending",
    "shared_deliver",
    "vcpu_has_interrupt",
    "vcpu_kick",
    "vgic_attend",
    "vgic_init",
    "vgic_leaves",
    "vgic_look",
    "vgic_maintenance",
    "vgic_map_cpu_interface",
    "vgic_park",
    "vgic_raise_own",
    "vgic_raise_ppi",
    "vgic_raise_sgi",
    "vgic_set_own_level",
    "vgic_sample",
    "vgic_send",
    "vgic_set_spi_level",
    "vgic_tables",
    "vgic_update_on",
    "vgic_vcpu_forget",
    "vgic_vcpu_reset",
    "word_update_template",
]

WAKER_ASLEEP = int(GicrWaker(PROCESSOR_SLEEP=True, CHILDREN_ASLEEP=True))
CPUID_SHIFT = 10
NO_SGI = 0xFFFF_FFFF_FFFF_FFFF


# ---- state ------------------------------------------------------------------------------------------------------------


@fn
def word_update_template(w: IrqWord, first: u32, bit_index: u32) -> None:
    """What a list register holds of an interrupt beside its state: number, priority (5 bits of it), group, link (GICH_LR.HW)."""
    group = LrState.GROUP1 if (w.group1 >> bit_index) & 1 != 0 else u32(0)
    w.template[bit_index] = (first + bit_index) | (u32(w.priority[bit_index]) & 0xF8) << 20 | group
    if CONFIG.GIC_HW_TIMER_LINK and first + bit_index == GUEST_TIMER_VIRT_PPI:
        w.template[bit_index] |= LrState.HW | PPI_VIRTUAL_TIMER << 10


@fn
def word_reset(w: IrqWord, first: u32) -> None:
    w.enabled = 0
    w.on = 0
    w.pending = 0
    w.active = 0
    w.level = 0
    w.edge = 0
    w.group1 = 0
    w.recall = 0
    w.drop = 0
    w.deactivate = 0
    w.priority.fill(0)
    w.route.fill(0)
    w.holder.fill(0)
    for i in range(u32(32)):
        w.template[i] = first + i
    if CONFIG.GIC_HW_TIMER_LINK and first == 0:
        word_update_template(w, first, GUEST_TIMER_VIRT_PPI)


@fn
def vgic_init(d: Domain) -> None:
    """The distributor as after reset: everything off, priority 0, SPIs level-sensitive and aimed at no vCPU."""
    with d.vgic.lock:
        for i in range(d.vcpu_count):
            v = d.vcpus[i]
            if v is not None:
                vgic_vcpu_forget(v)
        d.vgic.ctlr = 0
        for n in range(u32(SHARED_WORDS)):
            word_reset(d.vgic.words[n], n * 32 + 32)


@fn
def own_word_reset(v: Vcpu) -> None:
    word_reset(v.vgic.own, 0)
    v.vgic.own.edge = SGI_BITS
    v.vgic.own.enabled = u32(0) if vcpu_vgic_is_v3(v) else u32(SGI_BITS)
    v.vgic.waker = WAKER_ASLEEP
    v.vgic.sgi_senders.fill(0)


@fn
def vgic_vcpu_forget(v: Vcpu) -> None:
    """What other vCPUs see of one that is off: as after reset, until they store something else. The lock is held, or the domain is being built."""
    own_word_reset(v)
    errand_done(v.vgic.errand)


@fn
def sgi_to_self(v: Vcpu) -> u64:
    """ICC_SGI1R_EL1, or the target list of GICD_SGIR, for an SGI 0 to the vCPU alone. A GICv2's on a GICv3 sends by neither of the short ways."""
    if CONFIG.GICV2_ON_V3 and v.vgic.legacy:
        return NO_SGI
    if CONFIG.GICV3 and vcpu_vgic_is_v3(v):
        return sgi_target(affinity_of(vcpu_domain(v).affinities, v.id))
    return u64(1) << (v.id + SGIR_TARGETS_SHIFT)


@fn
def levels_reset(v: Vcpu, a: Affinities) -> None:
    """Where affinity 0 has another number of values than sixteen."""
    v.vgic.near &= (u64(1) << min(u32(SHORT_TARGETS), u32(1) << a.aff1)) - 1
    v.vgic.control |= a.trap
    gic_lists_control(v.vgic.control)


@fn
def vgic_vcpu_reset(v: Vcpu) -> None:
    """A vCPU's banked registers as after reset; on its own CPU, its list registers and CPU interface too.

    SGIs are edge-triggered, and a GICv2's always enabled. What came after `vgic_park` may be listed still: forgotten here, it would show in the
    next life, or ask for maintenance without end.
    """
    if CONFIG.GICV2_ON_V3 and v.vgic.legacy:
        gic_by_memory()
    elif CONFIG.GICV3 and GIC.sre_open:
        gic_by_registers()
    gic_lists_reset()
    own_word_reset(v)
    v.vgic.listed = 0
    v.vgic.lr_used = 0
    v.vgic.lr_shared = 0
    v.vgic.short = False
    v.vgic.control = GIC.lists_run
    v.vgic.near = 0 if CONFIG.GICV2_ON_V3 and v.vgic.legacy else u64(1 << SHORT_TARGETS) - 1
    if CONFIG.MPIDR_LEVELS and vcpu_domain(v).affinities.levels:
        levels_reset(v, vcpu_domain(v).affinities)
    v.extra &= ~u32(Extra.SPILLED)
    _ = v.vgic.kicked.fetch_and(LOOK)
    v.vgic.mail_flags.store(0)
    v.vgic.attention.store(0)
    v.vgic.sgi_self = sgi_to_self(v)
    for sgi in range(u32(SGIS)):
        v.vgic.mail[sgi].senders.store(0)
    vgic_update_on(v.vgic.own, vcpu_domain(v).vgic.ctlr)


@fn
def vgic_map_cpu_interface(d: Domain) -> Result:
    """Show the hardware's virtual CPU interface where the guest's tree says that its CPU interface is, but for the page of GICC_DIR (`vgicc.py`)."""
    return p2m_map(d.p2m, GuestPhys(d.layout.gicc), GIC.gicv, u64(PAGE_SIZE), MemoryKind.DEVICE)


@fn
def vgic_tables(d: Domain) -> u64:
    """Pages of stage-2 tables that showing it takes at most. A GICv3's is no memory."""
    if vgic_is_v3(d):
        return 0
    return p2m_tables_for(d.layout.gicc, u64(GIC.gicv), u64(PAGE_SIZE))


@fn
def vgic_park(v: Vcpu) -> None:
    """The vCPU goes off: shared interrupts in its list registers become pending again, its own are forgotten."""
    d = vcpu_domain(v)
    own_strip(v, 0xFFFF_FFFF, LrState.MASK, False)
    with d.vgic.lock:
        for n in range(u32(SHARED_WORDS)):
            w = d.vgic.words[n]
            for i in range(u32(32)):
                if u32(w.holder[i]) == v.id + 1:
                    shared_strip(v, w, n * 32 + 32 + i, LrState.MASK, True)
                    end_spilled(d, w, u32(1) << i)
        vgic_vcpu_forget(v)


@fn
def vcpu_has_interrupt(v: Vcpu) -> bool:
    """Whether an interrupt is pending for the vCPU that this CPU runs: what ends its WFI."""
    used = v.vgic.lr_used
    while used != 0:
        if gic_read_lr(ctz(used)) & LrState.PENDING != 0:
            return True
        used &= used - 1
    return own_ready(v) != 0


@fn
def runs(v: Vcpu) -> bool:
    """Whether the vCPU is on: else its list registers stay empty."""
    return v.power.load() == u32(Power.ON)


# ---- other CPUs -------------------------------------------------------------------------------------------------------


@fn(inline=True)
def vcpu_kick(v: Vcpu) -> None:
    """Make the vCPU's CPU look at its mail, once for all that came since it last looked; and wake the vCPU if it waits."""
    if v.vgic.kicked.fetch_or(LOOK) == 0:
        vcpu_tell(v)


@fn(inline=True)
def vcpu_tell(v: Vcpu) -> None:
    """`kicked` has been set, which was 0."""
    if SHARING.on:
        kick_shared(v)
    else:
        gic_kick(v.cpu)
        trace_kick(u64(1) << v.cpu, 0)


@fn(inline=False)
def kick_shared(v: Vcpu) -> None:
    """`kicked` must be seen set before the vCPU's state is looked at: it sets its state first, and looks at `kicked` then."""
    data_memory_barrier()
    if v.sched.stopped.load_acquire() & STOP_WAITS != 0:
        cpus_kick(sched_allow(trace_wake(v).sched, STOP_WAITS, read_cntpct_el0()))
    elif v.sched.on_cpu.load_acquire() != 0:
        gic_kick(v.cpu)
        trace_kick(u64(1) << v.cpu, 0)


@fn
def cpus_kick(cpus: u64) -> None:
    """Have the CPUs of a set ask the scheduler. This one does before it goes back to its guest."""
    me = this_vcpu()
    rest = trace_kicks(cpus)
    while rest != 0:
        cpu = ctz(rest)
        rest &= rest - 1
        if cpu == me.cpu:
            me.choose = 1
        else:
            gic_kick(cpu)


@fn(inline=True)
def take_mail(v: Vcpu) -> None:
    """PPIs that other CPUs raised, and SGIs that other vCPUs sent. A flag may come after its letter was already taken: then there is none."""
    flags = v.vgic.mail_flags.exchange(0)
    v.vgic.own.pending |= flags & ~u32(SGI_BITS)
    flags &= SGI_BITS
    while flags != 0:
        sgi = ctz(flags)
        flags &= flags - 1
        senders = v.vgic.mail[sgi].senders.exchange(0)
        if senders != 0:
            sgi_came(v, sgi, senders)


@fn(inline=False)
def sgi_came(v: Vcpu, sgi: u32, senders: u32) -> None:
    """An SGI from some vCPUs, at least one."""
    if senders & (senders - 1) != 0 or not own_list_sgi(v, sgi, ctz(senders)):
        v.vgic.sgi_senders[sgi] |= truncate(u8, senders)
        v.vgic.own.pending |= u32(1) << sgi


@fn
def vgic_attend(v: Vcpu) -> None:
    """After a kick: mail, and shared interrupts that changed. A vCPU that is off looks when it starts."""
    posted = v.vgic.kicked.exchange(0)  # seen before the mail is looked at: a load-acquire does not pass a store-release (Arm ARM B2.3.7)
    if not runs(v):
        return
    if posted & LrState.PENDING != 0:
        sgi_came(v, posted & (SGIS - 1), u32(1) << sender_of(posted))
    if v.vgic.mail_flags.load_acquire() != 0:
        take_mail(v)
    if v.vgic.attention.load_acquire() != 0 and v.vgic.attention.exchange(0) != 0:
        shared_attend(vcpu_domain(v), v)
    if own_ready(v) != 0:
        own_flush(v)


@fn
def vgic_look(v: Vcpu) -> None:
    """A vCPU has just been turned on: shared interrupts and errands may wait for it."""
    shared_attend(vcpu_domain(v), v)
    own_flush(v)


# ---- errands ----------------------------------------------------------------------------------------------------------


@fn
def set_own_pending(v: Vcpu, bits: u32) -> None:
    """ISPENDR of a vCPU's own; `own_flush` has still to be called."""
    v.vgic.own.pending |= bits
    rest = bits & SGI_BITS
    while rest != 0:
        v.vgic.sgi_senders[ctz(rest)] |= 1
        rest &= rest - 1


@fn
def clear_own_pending(v: Vcpu, bits: u32) -> None:
    """ICPENDR of a vCPU's own."""
    v.vgic.own.pending &= ~bits
    own_strip(v, bits, LrState.PENDING, False)
    rest = bits & SGI_BITS
    while rest != 0:
        v.vgic.sgi_senders[ctz(rest)] = 0
        rest &= rest - 1


@fn
def wish_done(w: Wish) -> None:
    w.set = 0
    w.clear = 0


@fn
def errand_done(e: Errand) -> None:
    e.waits = False
    e.refresh = False
    wish_done(e.enabled)
    wish_done(e.pending)
    wish_done(e.active)


@fn
def run_errand(v: Vcpu) -> None:
    """Store to this vCPU's registers what others asked for. The lock is held; `own_flush` has still to be called."""
    e = v.vgic.errand
    own = v.vgic.own
    own.enabled = own.enabled & ~e.enabled.clear | e.enabled.set
    clear_own_pending(v, e.pending.clear)
    set_own_pending(v, e.pending.set)
    free_holders(own, e.active.clear)
    own_strip(v, e.active.clear, LrState.ACTIVE, False)
    own.active |= e.active.set & ~lists_states(v, 0, LrState.ACTIVE)
    if e.refresh:
        for i in range(u32(32)):
            word_update_template(own, 0, i)
        own_strip(v, 0xFFFF_FFFF, LrState.PENDING, True)
    errand_done(e)


# ---- own interrupts ---------------------------------------------------------------------------------------------------


@fn
def vgic_raise_own(v: Vcpu, intid: u32) -> None:
    """An edge of one of the vCPU's PPIs, on its own CPU."""
    bit = u32(1) << intid
    v.vgic.own.pending |= bit
    if v.vgic.own.on & bit != 0 and not own_list(v, intid):
        lists_refill(v)


@fn
def vgic_raise_ppi(target: Vcpu, intid: u32) -> None:
    """An edge of a PPI of any vCPU, from any CPU. One that is off forgets it: its next life begins with nothing pending."""
    if target is this_vcpu() and runs(target):
        vgic_raise_own(target, intid)
        return
    _ = target.vgic.mail_flags.fetch_or(u32(1) << intid)
    vcpu_kick(target)


@fn
def vgic_set_own_level(v: Vcpu, intid: u32, level: bool) -> None:
    """The line of a level-sensitive PPI, on the vCPU's own CPU."""
    bit = u32(1) << intid
    own = v.vgic.own
    if not level:
        own.level &= ~bit
        if v.vgic.listed & bit != 0:
            lists_lowered(v, u32(v.vgic.lr_of[intid]))
        return
    own.level |= bit
    if own_ready(v) & bit != 0 and not own_list(v, intid):
        lists_refill(v)


@fn
def vgic_raise_sgi(v: Vcpu, target: Vcpu, sgi: u32) -> None:
    """An SGI from the vCPU that this CPU runs, to itself or to another of its domain. A GICv3's has no sender: 0 stands for all."""
    sender = u32(0) if vcpu_vgic_is_v3(v) else v.id
    if target is v:
        target.vgic.sgi_senders[sgi] |= u8(1) << sender
        vgic_raise_own(target, sgi)
        return
    vgic_mail_sgi(target, sgi, sender)


@fn(inline=True)
def vgic_mail_sgi(target: Vcpu, sgi: u32, sender: u32) -> None:
    """An SGI to another vCPU, whose CPU will bring it."""
    leave_mail(target, sgi, sender)
    vcpu_kick(target)


@fn(inline=True)
def sender_of(word: u32) -> u32:
    return word >> CPUID_SHIFT & 7


@fn(inline=True)
def vgic_send(target: Vcpu, word: u32) -> u64:
    """An SGI to another vCPU, as a list register has it beside `template`; 0: it has been posted in `kicked`, and the vCPU's CPU is to be told.

    The CPUs that must ask the scheduler. A vCPU that waits is claimed: until it is woken nobody else touches it, and if no CPU has its
    registers either, what will be its list registers can be written here. All calls are the last that is done.
    """
    if word == 0 or trace_on_schedule() or not sched_claim(target.sched):
        return send_unclaimed(target, word)
    if target.sched.on_cpu.load_acquire() != 0 or not list_asleep(target, word):
        return send_claimed(target, word)
    return sched_claimed(target.sched, read_cntpct_el0())


@fn(inline=False)
def send_unclaimed(target: Vcpu, word: u32) -> u64:
    if word == 0:
        vcpu_tell(target)
    else:
        vgic_mail_sgi(target, word & (SGIS - 1), sender_of(word))
    me = this_vcpu()
    return u64(1) << me.cpu if me.choose != 0 else u64(0)


@fn(inline=False)
def send_claimed(target: Vcpu, word: u32) -> u64:
    """It finds the SGI when it runs."""
    leave_mail(target, word & (SGIS - 1), sender_of(word))
    _ = target.vgic.kicked.fetch_or(LOOK)
    return sched_claimed(target.sched, read_cntpct_el0())


@fn(inline=True)
def leave_mail(target: Vcpu, sgi: u32, sender: u32) -> None:
    _ = target.vgic.mail[sgi].senders.fetch_or(u32(1) << sender)
    _ = target.vgic.mail_flags.fetch_or(u32(1) << sgi)


@fn(inline=True)
def list_asleep(v: Vcpu, word: u32) -> bool:
    """Put an SGI into what a vCPU's list registers will be. False, and nothing done: it is off or waits already, or not all of them are free."""
    sgi = word & (SGIS - 1)
    bit = u32(1) << sgi
    if v.vgic.own.on & ~v.vgic.own.pending & bit == 0 or v.vgic.lr_used != 0:
        return False
    v.vgic.lr_used = 1
    v.vgic.listed = bit
    v.vgic.lr_of[sgi] = 0
    v.vgic.lr[0] = v.vgic.own.template[sgi] | word
    return True


# ---- shared interrupts ------------------------------------------------------------------------------------------------


@fn
def shared_vcpu(d: Domain, w: IrqWord, bit_index: u32) -> Vcpu | None:
    """Who is to have a shared interrupt: whoever holds it, else the first of its targets."""
    holder = u32(w.holder[bit_index])
    index = holder - 1 if holder != 0 else route_target(d, w.route[bit_index])
    return d.vcpus[index] if index < d.vcpu_count else None


@fn
def shared_deliver(d: Domain, n: u32, bits: u32, news: bool = True) -> None:
    """Bring ready interrupts of shared word n on their way. The lock is held.

    Without `news`, one that is short of list registers is left alone, as it looks by itself: two of them would kick each other for ever.
    """
    w = d.vgic.words[n]
    rest = bits & shared_ready(w)
    me = this_vcpu()
    while rest != 0:
        bit_index = ctz(rest)
        rest &= rest - 1
        v = shared_vcpu(d, w, bit_index)
        if v is None:
            continue
        if v is me and runs(v):
            if not shared_list(v, w, n * 32 + 32 + bit_index):
                v.vgic.short = True
        elif runs(v) and (news or not v.vgic.short):
            v.vgic.attention.store_release(1)
            vcpu_kick(v)


@fn
def take_back(v: Vcpu, w: IrqWord, first: u32) -> None:
    """Do to this CPU's list registers what other CPUs wrote to the distributor's registers. The lock is held."""
    rest = w.recall | w.drop | w.deactivate
    while rest != 0:
        bit_index = ctz(rest)
        bit = u32(1) << bit_index
        rest &= rest - 1
        if u32(w.holder[bit_index]) != v.id + 1:
            continue
        if (w.recall | w.drop) & bit != 0:
            shared_strip(v, w, first + bit_index, LrState.PENDING, w.drop & bit == 0)
            if w.active & bit != 0 and lists_index(v, first + bit_index) < 32:  # acknowledged before another CPU's ISACTIVER got here
                w.active &= ~bit
                vgic_update_on(w, vcpu_domain(v).vgic.ctlr)
        if w.deactivate & bit != 0:
            shared_strip(v, w, first + bit_index, LrState.ACTIVE, False)
        forget_requests(w, bit_index)


@fn
def shared_attend(d: Domain, v: Vcpu) -> None:
    """Look at all shared interrupts on behalf of the vCPU that this CPU runs."""
    with d.vgic.lock:
        if vgic_is_v3(d) and v.vgic.errand.waits:
            run_errand(v)
        lists_ends(d, v)
        vgic_update_on(v.vgic.own, d.vgic.ctlr)
        own_strip(v, ~v.vgic.own.on, LrState.PENDING, True)
        lists_collect(v)
        for n in range(u32(SHARED_WORDS)):
            w = d.vgic.words[n]
            if w.recall | w.drop | w.deactivate != 0:
                take_back(v, w, n * 32 + 32)
            if shared_ready(w) != 0:
                shared_deliver(d, n, 0xFFFF_FFFF, False)
    if v.vgic.sample.load() != 0:
        lists_publish(v)
    if v.vgic.short:
        lists_refill(v)


@fn
def vgic_sample(other: Vcpu, looks: u32) -> u32:
    """Have another vCPU's list registers as they are in its `lr`: its CPU publishes them, and a vCPU without a CPU has them there.

    How many of the looks are left. Without any, they are as they were when they were last published. No lock is held. Two that wait for
    each other answer each other.
    """
    if not runs(other) or other.sched.on_cpu.load_acquire() == 0:
        return looks
    me = this_vcpu()
    other.vgic.sample.store(1)
    other.vgic.attention.store_release(1)
    vcpu_kick(other)
    left = looks
    while left > 0 and other.vgic.sample.load_acquire() != 0 and other.sched.on_cpu.load_acquire() != 0:
        if me.vgic.sample.load() != 0:
            lists_publish(me)
        cpu_relax()
        left -= 1
    return left


@fn
def shared_lowered(d: Domain, w: IrqWord, intid: u32) -> None:
    """The line of a level-sensitive SPI has fallen: it is taken back from the list register that has it, here or elsewhere. The lock is held."""
    holder = u32(w.holder[intid & 31])
    me = this_vcpu()
    v = d.vcpus[holder - 1] if holder != 0 and holder <= d.vcpu_count else None
    if v is None:
        return
    if v is me:
        index = lists_index(me, intid)
        if index < 32:
            lists_lowered(me, index)
    else:
        w.drop |= u32(1) << (intid & 31)
        v.vgic.attention.store_release(1)
        vcpu_kick(v)


@fn
def vgic_set_spi_level(d: Domain, intid: u32, level: bool) -> None:
    """The line of an SPI, moved by an emulated or physical device, from any CPU. An INTID beyond the domain's is ignored."""
    if intid < 32 or intid >= VGIC_INTIDS:
        return
    n = (intid >> 5) - 1
    bit = u32(1) << (intid & 31)
    with d.vgic.lock:
        w = d.vgic.words[n]
        if not level:
            w.level &= ~bit
            if w.edge & bit == 0:
                shared_lowered(d, w, intid)
        elif w.level & bit == 0:
            w.level |= bit
            w.pending |= w.edge & bit
            shared_deliver(d, n, bit)
    refill_if_short()


@fn
def refill_if_short() -> None:
    """List registers ran out while the lock was held: sort them out by priority."""
    v = this_vcpu()
    if v.vgic.short and v.domain is not None:
        lists_refill(v)


@fn
def vgic_leaves(v: Vcpu) -> None:
    """The vCPU's list registers are about to leave this CPU, and it has spilled interrupts: ends that have been counted are remembered as a kick."""
    v.vgic.control = gic_lists_status()
    if v.vgic.control & EOI_COUNT != 0:
        v.vgic.attention.store(1)
        _ = v.vgic.kicked.fetch_or(LOOK)
        cpus_kick(sched_wake(v.sched, read_cntpct_el0()))


@fn
def vgic_maintenance(v: Vcpu) -> None:
    """List registers that asked for it have ended, or most are empty: look for what comes next (IHI 0048B 5.3.4)."""
    ended = gic_lists_ended() & v.vgic.lr_used
    while ended != 0:
        index = ctz(ended)
        ended &= ended - 1
        gic_write_lr(index, 0)
    lists_collect(v)
    own_flush(v)
    shared_attend(vcpu_domain(v), v)
