"""Registers of a bit, two bits or a byte for each interrupt, as a distributor or a redistributor of either version has them.

Handlers get the number of the 32-bit register in its row; writers also the value and a mask of the bytes written. Word 0 is the vCPU's own:
its handlers run on the CPU that runs it. (ARM IHI 0048B 4.3, IHI 0069 12.9 to 12.11)
"""

from collections.abc import Callable

from freestanding import ctz, fn, truncate, u8, u32

from xenarm.core.domain import Domain, Extra, Vcpu
from xenarm.gic.controller import GIC
from xenarm.gic.lists import forget_requests, lists_known, lists_states, own_strip, shared_strip
from xenarm.gic.overflow import free_holders, own_flush, vgic_update_on
from xenarm.gic.registers import LrState
from xenarm.gic.state import SGI_BITS, SHARED_WORDS, VGIC_INTIDS, IrqWord
from xenarm.gic.version import vcpu_vgic_is_v3
from xenarm.gic.vgic import clear_own_pending, refill_if_short, set_own_pending, shared_deliver, vcpu_kick, vgic_look, vgic_sample, word_update_template

__all__ = [
    "ALL",
    "PRIORITY_MASK",
    "Read",
    "WORDS",
    "Write",
    "clear_active",
    "clear_pending",
    "control_write",
    "enable",
    "read_active",
    "read_config",
    "read_enabled",
    "read_group",
    "read_pending",
    "read_priority",
    "read_zero",
    "recall_shared",
    "route_write",
    "set_active",
    "set_pending",
    "word_of",
    "write_config",
    "write_group",
    "write_ignored",
    "write_priority",
]

WORDS = SHARED_WORDS + 1
ALL = 0xFFFF_FFFF
CTLR_MASK = 3
PRIORITY_MASK = 0xF8F8_F8F8  # a list register holds five bits

Read = Callable[[Domain, Vcpu, u32], u32]
Write = Callable[[Domain, Vcpu, u32, u32, u32], None]


@fn(inline=True)
def word_of(d: Domain, v: Vcpu, n: u32) -> IrqWord:
    """Word 0 is the vCPU's own; callers have checked n."""
    return v.vgic.own if n == 0 else d.vgic.words[n - 1]


@fn
def read_zero(d: Domain, v: Vcpu, n: u32) -> u32:
    return 0


@fn
def write_ignored(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    pass


@fn
def control_write(d: Domain, v: Vcpu, value: u32) -> None:
    """The group enables of GICD_CTLR: what was forwarded and no longer is comes back from the list registers; every vCPU looks for itself."""
    if d.vgic.ctlr == value & CTLR_MASK:
        return  # every vCPU's look at everything is dear: a guest could have the others do nothing else
    with d.vgic.lock:
        d.vgic.ctlr = value & CTLR_MASK
        for i in range(u32(SHARED_WORDS)):
            w = d.vgic.words[i]
            before = w.on
            vgic_update_on(w, d.vgic.ctlr)
            recall_shared(d, v, i, before & ~w.on)
            shared_deliver(d, i, ALL)
    for i in range(d.vcpu_count):
        other = d.vcpus[i]
        if other is not None and other is not v:
            other.vgic.attention.store_release(1)
            vcpu_kick(other)
    vgic_update_on(v.vgic.own, d.vgic.ctlr)
    own_strip(v, ~v.vgic.own.on, LrState.PENDING, True)
    own_flush(v)
    refill_if_short()


@fn
def recall_shared(d: Domain, v: Vcpu, i: u32, bits: u32) -> None:
    """Pending interrupts of shared word i that may no longer be shown come back, here or on the CPU that holds them. The lock is held."""
    w = d.vgic.words[i]
    w.recall |= bits
    tell_holders(d, v, i, bits)


@fn
def tell_holders(d: Domain, v: Vcpu, i: u32, bits: u32) -> None:
    """`recall`, `drop` or `deactivate` bits were set: carry them out here, or have the holder's CPU do it. The lock is held."""
    w = d.vgic.words[i]
    rest = bits
    while rest != 0:
        bit_index = ctz(rest)
        rest &= rest - 1
        holder = u32(w.holder[bit_index])
        if holder == v.id + 1:
            carry_out(v, w, i * 32 + 32 + bit_index)
        elif holder != 0 and holder <= d.vcpu_count:
            other = d.vcpus[holder - 1]
            if other is not None:
                other.vgic.attention.store_release(1)
                vcpu_kick(other)
        else:
            forget_requests(w, bit_index)


@fn
def carry_out(v: Vcpu, w: IrqWord, intid: u32) -> None:
    bit = u32(1) << (intid & 31)
    if (w.recall | w.drop) & bit != 0:
        shared_strip(v, w, intid, LrState.PENDING, w.drop & bit == 0)
    if w.deactivate & bit != 0:
        shared_strip(v, w, intid, LrState.ACTIVE, False)
    forget_requests(w, intid & 31)


# ---- one bit for each interrupt ---------------------------------------------------------------------------------------


@fn(inline=True)
def fixed_sgis(v: Vcpu) -> u32:
    """SGIs whose enables and pending state are not software's to set: all of a GICv2's, none of a GICv3's."""
    return u32(0) if vcpu_vgic_is_v3(v) else u32(SGI_BITS)


@fn
def read_enabled(d: Domain, v: Vcpu, n: u32) -> u32:
    return word_of(d, v, n).enabled if n < WORDS else u32(0)


@fn
def own_on_changed(d: Domain, v: Vcpu) -> None:
    vgic_update_on(v.vgic.own, d.vgic.ctlr)
    own_strip(v, ~v.vgic.own.on, LrState.PENDING, True)
    own_flush(v)


@fn
def shared_on_changed(d: Domain, v: Vcpu, i: u32) -> None:
    w = d.vgic.words[i]
    before = w.on
    vgic_update_on(w, d.vgic.ctlr)
    recall_shared(d, v, i, before & ~w.on)
    shared_deliver(d, i, w.on & ~before)


def enable(on: bool) -> Write:
    """ISENABLER or ICENABLER. SGIs of a GICv2 are always enabled."""

    @fn
    def write(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
        if n >= WORDS:
            return
        w = word_of(d, v, n)
        if n == 0:
            w.enabled = w.enabled | value if on else w.enabled & ~value | fixed_sgis(v)
            own_on_changed(d, v)
            return
        with d.vgic.lock:
            w.enabled = w.enabled | value if on else w.enabled & ~value
            shared_on_changed(d, v, n - 1)
        refill_if_short()

    return write


@fn
def read_group(d: Domain, v: Vcpu, n: u32) -> u32:
    return word_of(d, v, n).group1 if n < WORDS else u32(0)


@fn
def own_relist(d: Domain, v: Vcpu, bits: u32) -> None:
    """Own interrupts have another priority or group: those that are pending are listed with it."""
    own_strip(v, bits, LrState.PENDING, True)
    own_on_changed(d, v)


@fn
def shared_relist(d: Domain, v: Vcpu, i: u32, bits: u32) -> None:
    """The same of shared word i. The lock is held."""
    recall_shared(d, v, i, bits)
    shared_deliver(d, i, bits)


@fn
def write_group(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    if n >= WORDS:
        return
    w = word_of(d, v, n)
    with d.vgic.lock:
        changed = w.group1 ^ value
        w.group1 = value
        for i in range(u32(32)):
            word_update_template(w, n * 32, i)
        if n != 0:
            shared_on_changed(d, v, n - 1)
            shared_relist(d, v, n - 1, changed)
    if n == 0:
        own_relist(d, v, changed)
    refill_if_short()


@fn
def read_pending(d: Domain, v: Vcpu, n: u32) -> u32:
    if n >= WORDS:
        return 0
    w = word_of(d, v, n)
    return w.pending | (w.level & ~w.edge) | lists_states(v, n, LrState.PENDING) | remote_states(d, v, n, LrState.PENDING)


@fn
def remote_listed(d: Domain, v: Vcpu, n: u32) -> u32:
    """Shared interrupts in other CPUs' list registers."""
    if n == 0:
        return 0
    w = d.vgic.words[n - 1]
    found = u32(0)
    for i in range(u32(32)):
        if w.holder[i] != 0 and u32(w.holder[i]) != v.id + 1:
            found |= u32(1) << i
    return found


@fn
def remote_states(d: Domain, v: Vcpu, n: u32, state: u32) -> u32:
    """Those of them that are in a state (LrState.PENDING or ACTIVE) which nobody has yet asked to be taken from them."""
    rest = remote_listed(d, v, n)
    if rest == 0:
        return 0
    w = d.vgic.words[n - 1]
    asked = u32(0)
    looks = GIC.patience  # for all of them: a guest that has many holders does not wait the longer
    found = u32(0)
    while rest != 0:
        bit_index = ctz(rest)
        rest &= rest - 1
        holder = u32(w.holder[bit_index])
        other = d.vcpus[holder - 1] if holder != 0 and holder <= d.vcpu_count else None
        if other is None:
            continue
        if holder != asked:
            looks = vgic_sample(other, looks)
            asked = holder
        if lists_known(other, n * 32 + bit_index) & state != 0:
            found |= u32(1) << bit_index
    return found & ~(w.drop if state == LrState.PENDING else w.deactivate)


@fn
def set_pending(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    """ISPENDR; the bits of a GICv2's SGIs are read-only."""
    if n >= WORDS:
        return
    if n == 0:
        set_own_pending(v, value & ~fixed_sgis(v))
        own_flush(v)
        return
    with d.vgic.lock:
        d.vgic.words[n - 1].pending |= value
        shared_deliver(d, n - 1, value)
    refill_if_short()


@fn
def clear_pending(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    """ICPENDR; a level-sensitive interrupt stays pending while its line is high."""
    if n >= WORDS:
        return
    if n == 0:
        clear_own_pending(v, value & ~fixed_sgis(v))
        own_flush(v)
        return
    with d.vgic.lock:
        w = d.vgic.words[n - 1]
        w.pending &= ~value
        w.drop |= value
        tell_holders(d, v, n - 1, value)
        shared_deliver(d, n - 1, value & w.level)
    refill_if_short()


@fn
def ends_settle(d: Domain, v: Vcpu) -> None:
    """Ends that have been counted so far, of interrupts that no list register holds, come before what the guest does next."""
    if v.extra & Extra.SPILLED != 0:
        vgic_look(v)


@fn
def read_active(d: Domain, v: Vcpu, n: u32) -> u32:
    if n >= WORDS:
        return 0
    ends_settle(d, v)
    listed = lists_states(v, n, LrState.ACTIVE) | remote_states(d, v, n, LrState.ACTIVE)
    return listed | word_of(d, v, n).active


@fn
def set_active(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    """ISACTIVER: nobody has acknowledged such an interrupt, only ICACTIVER or a split end deactivates it."""
    if n >= WORDS:
        return
    ends_settle(d, v)
    fresh = value & ~lists_states(v, n, LrState.ACTIVE) & ~remote_states(d, v, n, LrState.ACTIVE)
    if n == 0:
        v.vgic.own.active |= fresh
        own_on_changed(d, v)
        return
    with d.vgic.lock:
        d.vgic.words[n - 1].active |= fresh
        shared_on_changed(d, v, n - 1)
    refill_if_short()


@fn
def clear_active(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    """ICACTIVER."""
    if n >= WORDS:
        return
    ends_settle(d, v)
    if n == 0:
        free_holders(v.vgic.own, value)
        own_strip(v, value, LrState.ACTIVE, False)
        own_on_changed(d, v)
        return
    with d.vgic.lock:
        w = d.vgic.words[n - 1]
        free_holders(w, value)
        w.deactivate |= value
        tell_holders(d, v, n - 1, value)
        shared_on_changed(d, v, n - 1)
    refill_if_short()


# ---- one byte for each interrupt --------------------------------------------------------------------------------------


@fn
def read_priority(d: Domain, v: Vcpu, n: u32) -> u32:
    if n >= VGIC_INTIDS // 4:
        return 0
    w = word_of(d, v, n >> 3)
    first = (n & 7) * 4
    return u32(w.priority[first]) | u32(w.priority[first + 1]) << 8 | u32(w.priority[first + 2]) << 16 | u32(w.priority[first + 3]) << 24


@fn
def priorities_store(w: IrqWord, first: u32, merged: u32, intids: u32) -> u32:
    """Four priorities of a word whose first INTID is `intids`, from number `first` on: which of them are new, a bit each."""
    changed = u32(0)
    for lane in range(u32(4)):
        priority = truncate(u8, merged >> (lane * 8))
        if w.priority[first + lane] != priority:
            changed |= u32(1) << (first + lane)
        w.priority[first + lane] = priority
        word_update_template(w, intids, first + lane)
    return changed


@fn
def write_priority(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    """Of an active interrupt it takes effect when that is pending next."""
    if n >= VGIC_INTIDS // 4:
        return
    word = n >> 3
    w = word_of(d, v, word)
    merged = (read_priority(d, v, n) & ~mask | value & mask) & PRIORITY_MASK
    with d.vgic.lock:
        changed = priorities_store(w, (n & 7) * 4, merged, word * 32)
        if word != 0:
            shared_relist(d, v, word - 1, changed)
    if word == 0:
        own_relist(d, v, changed)
    refill_if_short()


# ---- two bits for each interrupt --------------------------------------------------------------------------------------


@fn
def spread(bits: u32) -> u32:
    """Sixteen bits to the upper bits of sixteen pairs."""
    x = bits & 0xFFFF
    x = (x | x << 8) & 0x00FF_00FF
    x = (x | x << 4) & 0x0F0F_0F0F
    x = (x | x << 2) & 0x3333_3333
    x = (x | x << 1) & 0x5555_5555
    return x << 1


@fn
def gather(pairs: u32) -> u32:
    """The upper bits of sixteen pairs to sixteen bits."""
    x = (pairs >> 1) & 0x5555_5555
    x = (x | x >> 1) & 0x3333_3333
    x = (x | x >> 2) & 0x0F0F_0F0F
    x = (x | x >> 4) & 0x00FF_00FF
    return (x | x >> 8) & 0xFFFF


@fn
def read_config(d: Domain, v: Vcpu, n: u32) -> u32:
    """ICFGR: SGIs are edge-triggered."""
    if n >= WORDS * 2:
        return 0
    return spread(word_of(d, v, n >> 1).edge >> ((n & 1) * 16))


@fn
def write_config(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    """The configuration of SGIs and PPIs is fixed, as it is on Arm's own controllers."""
    if n >= WORDS * 2 or n < 2:
        return
    half = (n & 1) * 16
    with d.vgic.lock:
        w = word_of(d, v, n >> 1)
        w.edge = w.edge & ~(u32(0xFFFF) << half) | gather(value) << half



# ---- where shared interrupts go ---------------------------------------------------------------------------------------


@fn
def route_write(d: Domain, v: Vcpu, intid: u32, route: u32) -> None:
    """GICD_ITARGETSR or GICD_IROUTER of a shared interrupt: if it is pending it goes to its new target at once. The lock is held."""
    w = d.vgic.words[(intid >> 5) - 1]
    if w.route[intid & 31] == route:
        return
    w.route[intid & 31] = route
    recall_shared(d, v, (intid >> 5) - 1, u32(1) << (intid & 31))
    shared_deliver(d, (intid >> 5) - 1, u32(1) << (intid & 31))
