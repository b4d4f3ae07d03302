"""List registers: how a vCPU's pending interrupts reach the hardware that shows them to the guest (ARM IHI 0048B, chapter 5).

Everything here runs on the CPU that runs the vCPU. An interrupt is in at most one list register; an SGI with several senders
is listed for one of them at a time, and its end brings the next. Functions named `shared_*` need the distributor's lock. What is to be
done where there are too few: `overflow.py`.
"""

from freestanding import ctz, fn, truncate, u8, u32, wrapping_sub

from xenarm.abi.affinity import vcpu_of_affinity
from xenarm.core.domain import Domain, Vcpu, vcpu_domain
from xenarm.gic.controller import GIC
from xenarm.gic.host import gic_deactivate, gic_lists_control, gic_lists_empty, gic_read_lr, gic_write_lr
from xenarm.gic.registers import INTID_MASK, GichControl, LrState
from xenarm.gic.state import SGIS, SHARED_WORDS, IrqWord, VcpuTag
from xenarm.gic.version import vgic_is_v3

__all__ = [
    "forget_requests",
    "free_index",
    "latched",
    "lists_collect",
    "lists_index",
    "lists_known",
    "lists_lowered",
    "lists_publish",
    "lists_states",
    "own_list",
    "own_list_sgi",
    "own_ready",
    "own_strip",
    "own_unlist",
    "release",
    "route_target",
    "shared_list",
    "shared_ready",
    "shared_strip",
]

CPUID_SHIFT = 10
WORD_MASK = INTID_MASK & ~31


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
    """Own interrupts that belong into a list register: pending and on. What is listed and high waits for its end."""
    own = v.vgic.own
    return (own.pending | (own.level & ~own.edge & ~v.vgic.listed)) & own.on


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
    """What to write for a ready own interrupt that becomes listed; it leaves the pending word."""
    own = v.vgic.own
    bit = u32(1) << intid
    if intid < SGIS:
        return sgi_value(v, intid)
    own.pending &= ~bit
    end = LrState.EOI if own.level & ~own.edge & bit != 0 else u32(0)
    return own.template[intid] | LrState.PENDING | end


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
def latched(w: IrqWord, bit_index: u32) -> u32:
    """What `pending` remembers of an interrupt that leaves a list register, pending there: not what its line says by itself, or it would still be
    pending when that has fallen (IHI 0048B 4.3.7, IHI 0069 12.9, GICD_ISPENDR). What ISPENDR has set beside a line that is high goes with it.
    """
    return u32(1) << bit_index & ~(w.level & ~w.edge)


@fn
def own_unlist(v: Vcpu, intid: u32, value: u32) -> None:
    """The pending state of a list register's value goes back to the vCPU's words."""
    v.vgic.own.pending |= latched(v.vgic.own, intid)
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
def route_target(d: Domain, route: u32) -> u32:
    """The vCPU that a shared interrupt goes to: the first target of a GICv2's, the one with the affinity of a GICv3's, if there is one."""
    if not vgic_is_v3(d):
        return ctz(route)
    return vcpu_of_affinity(d.affinities, route)


@fn(inline=True)
def shared_ready(w: IrqWord) -> u32:
    """Shared interrupts that are pending and on."""
    return (w.pending | (w.level & ~w.edge)) & w.on


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
    """What to write for a ready shared interrupt that becomes listed. A high level asks for a maintenance interrupt at its end."""
    bit = u32(1) << bit_index
    w.pending &= ~bit
    return w.template[bit_index] | LrState.PENDING | (LrState.EOI if w.level & ~w.edge & bit != 0 else u32(0))


@fn
def shared_merge(v: Vcpu, w: IrqWord, bit_index: u32, index: u32, value: u32) -> None:
    """A shared interrupt that is still listed. A level that is high is looked at again when the guest ends it, and so is what is to go elsewhere then."""
    bit = u32(1) << bit_index
    merged = value
    if w.level & ~w.edge & bit != 0:
        merged |= LrState.EOI
    if w.pending & bit != 0 and route_target(vcpu_domain(v), w.route[bit_index]) != v.id:
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
        w.pending |= latched(w, intid & 31)


@fn
def lists_lowered(v: Vcpu, index: u32) -> None:
    """A level-sensitive interrupt's line has fallen: what was not acknowledged is taken back, and its end is of no interest."""
    value = gic_read_lr(index)
    if value & LrState.MASK == LrState.PENDING:
        strip(v, index, LrState.PENDING)
    elif value & LrState.EOI != 0:
        put(v, index, value & ~u32(LrState.EOI | LrState.PENDING))
