"""List registers: how a vCPU's pending interrupts reach the hardware that shows them to the guest (ARM IHI 0048B, chapter 5).

Everything here runs on the CPU that runs the vCPU. An interrupt is in at most one list register; an SGI with several senders
is listed for one of them at a time, and its end brings the next. Functions named `shared_*` need the distributor's lock.
"""

from freestanding import ctz, fn, truncate, u8, u32, u64, wrapping_sub

from xenarm.abi.affinity import vcpu_of_affinity
from xenarm.core.domain import Domain, Vcpu, vcpu_domain
from xenarm.gic.controller import GIC
from xenarm.gic.host import gic_deactivate, gic_is_v3, gic_lists_control, gic_lists_empty, gic_read_lr, gic_write_lr
from xenarm.gic.registers import INTID_MASK, GichControl, LrState
from xenarm.gic.state import SGIS, SHARED_WORDS, IrqWord, VcpuTag

__all__ = [
    "HCR_RUN",
    "forget_requests",
    "lists_collect",
    "lists_index",
    "lists_known",
    "lists_lowered",
    "lists_publish",
    "lists_refill",
    "lists_states",
    "own_flush",
    "own_list",
    "own_list_sgi",
    "own_ready",
    "own_strip",
    "release",
    "route_target",
    "shared_list",
    "shared_ready",
    "shared_strip",
]

CPUID_SHIFT = 10
WORD_MASK = INTID_MASK & ~31
HCR_RUN = int(GichControl(EN=True))
HCR_RUN_SHORT = int(GichControl(EN=True, UIE=True))
WORST_PRIORITY = 0xFF
NOTHING = 0xFFFF_FFFF


@fn(inline=True)
def put(v: Vcpu, index: u32, value: u32) -> None:
    v.vgic.lr[index] = value
    v.vgic.lr_used |= u32(1) << index
    gic_write_lr(index, value)


@fn
def release(v: Vcpu, index: u32) -> None:
    """The list register is empty: its interrupt may be listed anew. Needs no lock: only the holder clears `holder`."""
    intid = v.vgic.lr[index] & INTID_MASK
    v.vgic.lr_used &= ~(u32(1) << index)
    if intid < 32:
        v.vgic.listed &= ~(u32(1) << intid)
    else:
        v.vgic.lr_shared &= ~(u32(1) << index)
        vcpu_domain(v).vgic.words[(intid >> 5) - 1].holder[intid & 31] = 0


@fn
def lists_collect(v: Vcpu) -> None:
    """Find out which list registers the guest has finished with."""
    empty = gic_lists_empty() & v.vgic.lr_used
    while empty != 0:
        release(v, ctz(empty))
        empty &= empty - 1


@fn(inline=True)
def free_index(v: Vcpu) -> u32:
    """A free list register; 32 when there is none."""
    free = ~v.vgic.lr_used & GIC.list_mask
    if free == 0:
        lists_collect(v)
        free = ~v.vgic.lr_used & GIC.list_mask
    return ctz(free)


@fn
def lists_states(v: Vcpu, word: u32, state: u32) -> u32:
    """Which of 32 interrupts this CPU's list registers hold in a state (LrState.PENDING or ACTIVE)."""
    found = u32(0)
    used = v.vgic.lr_used
    while used != 0:
        index = ctz(used)
        used &= used - 1
        if v.vgic.lr[index] & WORD_MASK == word << 5 and gic_read_lr(index) & state != 0:
            found |= u32(1) << (v.vgic.lr[index] & 31)
    return found


@fn
def lists_publish(v: Vcpu) -> None:
    """What the guest has made of this CPU's list registers, for another that waits for it."""
    used = v.vgic.lr_used
    while used != 0:
        index = ctz(used)
        used &= used - 1
        v.vgic.lr[index] = gic_read_lr(index)
    v.vgic.sample.store_release(0)


@fn
def lists_known(v: Vcpu, intid: u32) -> u32:
    """A list register's value for an interrupt of another vCPU, as last written or published; 0 when none has it."""
    index = lists_index(v, intid)
    return v.vgic.lr[index] if index < 32 else u32(0)


# ---- a vCPU's own interrupts ------------------------------------------------------------------------------------------


@fn(inline=True)
def own_ready(v: Vcpu) -> u32:
    """Own interrupts that belong into a list register: pending and on, or active. What is listed and high waits for its end."""
    own = v.vgic.own
    return (own.pending | (own.level & ~own.edge & ~v.vgic.listed)) & own.on | (own.active & ~v.vgic.listed)


@fn
def sgi_value(v: Vcpu, sgi: u32) -> u32:
    """Take the first sender of a pending SGI; while others wait, its end raises a maintenance interrupt."""
    own = v.vgic.own
    senders = v.vgic.sgi_senders[sgi]
    rest = senders & wrapping_sub(senders, u8(1))
    v.vgic.sgi_senders[sgi] = rest
    value = own.template[sgi] | ctz(senders) << CPUID_SHIFT | LrState.PENDING
    if rest != 0:
        return value | LrState.EOI
    own.pending &= ~(u32(1) << sgi)
    return value


@fn
def own_value(v: Vcpu, intid: u32) -> u32:
    """What to write for an own interrupt that becomes listed; it leaves the pending and active words."""
    own = v.vgic.own
    bit = u32(1) << intid
    active = LrState.ACTIVE if own.active & bit != 0 else u32(0)
    own.active &= ~bit
    if own.on & bit == 0 or (own.pending | (own.level & ~own.edge)) & bit == 0:
        return own.template[intid] | active
    if intid < SGIS:
        return sgi_value(v, intid) | active
    own.pending &= ~bit
    end = LrState.EOI if own.level & ~own.edge & bit != 0 else u32(0)
    return own.template[intid] | active | LrState.PENDING | end


@fn
def own_merge(v: Vcpu, intid: u32, index: u32, value: u32) -> None:
    """An own interrupt that is still listed becomes pending again."""
    own = v.vgic.own
    merged = value
    if intid < SGIS:
        sender = u8(1) << ((value >> CPUID_SHIFT) & 7)
        if v.vgic.sgi_senders[intid] & sender != 0:
            merged |= LrState.PENDING
            v.vgic.sgi_senders[intid] &= ~sender
        if v.vgic.sgi_senders[intid] != 0:
            merged |= LrState.EOI
        else:
            own.pending &= ~(u32(1) << intid)
    else:
        merged |= LrState.PENDING
        own.pending &= ~(u32(1) << intid)
    if merged != value:
        put(v, index, merged)


@fn
def own_list(v: Vcpu, intid: u32) -> bool:
    """Bring a ready own interrupt into a list register. False: none is free."""
    bit = u32(1) << intid
    if v.vgic.listed & bit != 0:
        index = u32(v.vgic.lr_of[intid])
        value = gic_read_lr(index)
        if value & LrState.MASK != 0:
            own_merge(v, intid, index, value)
            return True
        put(v, index, own_value(v, intid))
        return True
    index = free_index(v)
    if index >= 32:
        return False
    put(v, index, own_value(v, intid))
    v.vgic.listed |= bit
    v.vgic.lr_of[intid] = u8(index)
    return True


@fn(inline=True)
def own_list_sgi(v: Vcpu, sgi: u32, sender: u32) -> bool:
    """Bring an SGI that has just come into a list register at once. False, and nothing done: it is off, waits or is listed already, no list
    register is known to be free, or there is no such sender.
    """
    bit = u32(1) << sgi
    if sender >= 8 or v.vgic.sgi_senders[sgi] != 0 or v.vgic.own.on & ~v.vgic.own.pending & bit == 0:
        return False
    index = u32(v.vgic.lr_of[sgi])
    if v.vgic.listed & bit != 0:
        if gic_read_lr(index) & LrState.MASK != 0:
            return False
    else:
        free = ~v.vgic.lr_used & GIC.list_mask
        if free == 0:
            return False
        index = ctz(free)
        v.vgic.listed |= bit
        v.vgic.lr_of[sgi] = truncate(u8, index)
    put(v, index, v.vgic.own.template[sgi] | LrState.PENDING | sender << CPUID_SHIFT)
    return True


@fn
def own_flush(v: Vcpu) -> None:
    """List everything of the vCPU's own that is ready; what finds no room waits for the maintenance interrupt."""
    ready = own_ready(v)
    again = ready & v.vgic.listed
    ready &= ~again
    while again != 0:  # these need no room
        own_list(v, ctz(again))
        again &= again - 1
    while ready != 0:
        if not own_list(v, ctz(ready)):
            lists_refill(v)
            return
        ready &= ready - 1


@fn
def own_unlist(v: Vcpu, intid: u32, value: u32) -> None:
    """The pending state of a list register's value goes back to the vCPU's words."""
    v.vgic.own.pending |= u32(1) << intid
    if intid < SGIS:
        v.vgic.sgi_senders[intid] |= u8(1) << ((value >> CPUID_SHIFT) & 7)


@fn
def strip(v: Vcpu, index: u32, state: u32) -> u32:
    """Take state bits out of a list register; gives its value before."""
    value = gic_read_lr(index)
    left = value & ~state
    if left & LrState.MASK != 0:
        put(v, index, left)
    else:
        gic_write_lr(index, 0)
        release(v, index)
        if value & LrState.HW != 0:
            gic_deactivate((value >> CPUID_SHIFT) & INTID_MASK)
    return value


@fn
def own_strip(v: Vcpu, bits: u32, state: u32, keep: bool) -> None:
    """Take PENDING or ACTIVE from own interrupts' list registers; `keep`: pending goes back to the pending word."""
    rest = bits & v.vgic.listed
    while rest != 0:
        intid = ctz(rest)
        rest &= rest - 1
        value = strip(v, u32(v.vgic.lr_of[intid]), state)
        if keep and value & LrState.PENDING != 0:
            own_unlist(v, intid, value)


# ---- shared interrupts: the distributor's lock is held ----------------------------------------------------------------


@fn(inline=True)
def route_target(route: u32) -> u32:
    """The vCPU that a shared interrupt goes to: the first target of a GICv2's, the one with the affinity of a GICv3's, if there is one."""
    if not gic_is_v3():
        return ctz(route)
    return vcpu_of_affinity(u64(route))


@fn(inline=True)
def shared_ready(w: IrqWord) -> u32:
    """Shared interrupts that are pending and on, or active outside a list register."""
    return (w.pending | (w.level & ~w.edge)) & w.on | w.active


@fn
def lists_index(v: Vcpu, intid: u32) -> u32:
    """The list register that holds a shared interrupt; 32 when none does."""
    used = v.vgic.lr_used
    while used != 0:
        index = ctz(used)
        if v.vgic.lr[index] & INTID_MASK == intid:
            return index
        used &= used - 1
    return 32


@fn
def shared_value(w: IrqWord, bit_index: u32) -> u32:
    """What to write for a shared interrupt that becomes listed. A high level asks for a maintenance interrupt at its end."""
    bit = u32(1) << bit_index
    value = w.template[bit_index]
    if w.active & bit != 0:
        value |= LrState.ACTIVE
    if w.on & bit != 0:
        if w.level & ~w.edge & bit != 0:
            value |= LrState.PENDING | LrState.EOI
        if w.pending & bit != 0:
            value |= LrState.PENDING
        w.pending &= ~bit
    w.active &= ~bit
    return value


@fn
def shared_merge(v: Vcpu, w: IrqWord, bit_index: u32, index: u32, value: u32) -> None:
    """A shared interrupt that is still listed. A level that is high is looked at again when the guest ends it, and so is what is to go elsewhere then."""
    bit = u32(1) << bit_index
    merged = value
    if w.level & ~w.edge & bit != 0:
        merged |= LrState.EOI
    if w.pending & bit != 0 and route_target(w.route[bit_index]) != v.id:
        merged |= LrState.EOI
    elif w.pending & bit != 0:
        merged |= LrState.PENDING
        w.pending &= ~bit
    if merged != value:
        put(v, index, merged)


@fn
def forget_requests(w: IrqWord, bit_index: u32) -> None:
    """Nothing is to be taken back from a list register any more."""
    bit = u32(1) << bit_index
    w.recall &= ~bit
    w.drop &= ~bit
    w.deactivate &= ~bit


@fn
def shared_list(v: Vcpu, w: IrqWord, intid: u32) -> bool:
    """Bring a ready shared interrupt, held by nobody else, into a list register. False: none is free."""
    bit_index = intid & 31
    index = u32(32)
    if u32(w.holder[bit_index]) == v.id + 1:
        index = lists_index(v, intid)
        value = gic_read_lr(index) if index < 32 else u32(0)
        if value & LrState.MASK != 0:
            shared_merge(v, w, bit_index, index, value)
            return True
    if index >= 32:
        index = free_index(v)
    if index >= 32:
        return False
    put(v, index, shared_value(w, bit_index))
    v.vgic.lr_shared |= u32(1) << index
    w.holder[bit_index] = VcpuTag(v.id + 1)
    forget_requests(w, bit_index)  # they meant what was listed before, and has ended meanwhile
    return True


@fn
def shared_strip(v: Vcpu, w: IrqWord, intid: u32, state: u32, keep: bool) -> None:
    """Take PENDING or ACTIVE from this CPU's list register of a shared interrupt."""
    index = lists_index(v, intid)
    if index >= 32:
        return
    value = strip(v, index, state)
    if keep and value & LrState.PENDING != 0:
        w.pending |= u32(1) << (intid & 31)


@fn
def lists_lowered(v: Vcpu, index: u32) -> None:
    """A level-sensitive interrupt's line has fallen: what was not acknowledged is taken back, and its end is of no interest."""
    value = gic_read_lr(index)
    if value & LrState.MASK == LrState.PENDING:
        strip(v, index, LrState.PENDING)
    elif value & LrState.EOI != 0:
        put(v, index, value & ~u32(LrState.EOI | LrState.PENDING))


# ---- more pending than list registers ---------------------------------------------------------------------------------


@fn
def best_of(w: IrqWord, ready: u32, first: u32, best: u32, priority: u32) -> tuple[u32, u32]:
    """The most urgent of the ready interrupts of a word and of what was found before; a lower number is more urgent."""
    rest = ready
    while rest != 0:
        bit_index = ctz(rest)
        rest &= rest - 1
        if u32(w.priority[bit_index]) < priority or best == NOTHING:
            best = first + bit_index
            priority = u32(w.priority[bit_index])
    return best, priority


@fn
def free_of_others(v: Vcpu, w: IrqWord, ready: u32) -> u32:
    """Of a shared word's ready interrupts those that this vCPU is to have."""
    rest = ready
    mine = u32(0)
    while rest != 0:
        bit_index = ctz(rest)
        rest &= rest - 1
        if w.holder[bit_index] == 0 and route_target(w.route[bit_index]) == v.id:
            mine |= u32(1) << bit_index
    return mine


@fn
def most_urgent(d: Domain, v: Vcpu) -> tuple[u32, u32]:
    """(intid, priority) of what should be listed next; NOTHING when all is."""
    best, priority = best_of(v.vgic.own, own_ready(v) & ~v.vgic.listed, u32(0), u32(NOTHING), u32(WORST_PRIORITY))
    for n in range(u32(SHARED_WORDS)):
        w = d.vgic.words[n]
        ready = shared_ready(w)
        if ready != 0:
            best, priority = best_of(w, free_of_others(v, w, ready), n * 32 + 32, best, priority)
    return best, priority


@fn
def evict(d: Domain, v: Vcpu, priority: u32) -> bool:
    """Make room by taking back the least urgent pending interrupt, if it is less urgent than `priority`."""
    worst = priority >> 3
    victim = u32(32)
    for index in range(GIC.list_registers):
        value = gic_read_lr(index)
        if value & LrState.MASK == LrState.PENDING and (value >> 23) & 0x1F > worst:
            worst = (value >> 23) & 0x1F
            victim = index
    if victim >= 32:
        return False
    value = strip(v, victim, LrState.PENDING)
    intid = value & INTID_MASK
    if intid < 32:
        own_unlist(v, intid, value)
    else:
        d.vgic.words[(intid >> 5) - 1].pending |= u32(1) << (intid & 31)
    return True


@fn
def refill_one(d: Domain, v: Vcpu) -> bool:
    """List the most urgent interrupt there is; True when one was, and there may be more."""
    intid, priority = most_urgent(d, v)
    if intid == NOTHING:
        v.vgic.short = False
        return False
    v.vgic.short = True
    if free_index(v) >= 32 and not evict(d, v, priority):
        return False
    if intid < 32:
        return own_list(v, intid)
    return shared_list(v, d.vgic.words[(intid >> 5) - 1], intid)


@fn
def lists_refill(v: Vcpu) -> None:
    """List by priority, taking less urgent ones back; while some find no room, ask to be told when list registers become empty."""
    d = vcpu_domain(v)
    with d.vgic.lock:
        for _ in range(GIC.list_registers + 1):
            if not refill_one(d, v):
                break
    v.vgic.control = HCR_RUN_SHORT if v.vgic.short else u32(HCR_RUN)
    gic_lists_control(v.vgic.control)
