"""More interrupts than list registers: which are listed, which wait in the words, and the ends of those that had to leave after the guest
acknowledged them.

Pending ones are listed by priority. Where none is, an active one makes room: it is *spilled*, the guest's end of it is counted
(EOICount, IHI 0048B 5.3.1, IHI 0069 12.4.7, ICH_HCR_EL2), its deactivation by GICC_DIR or ICC_DIR_EL1 traps. It is never listed again.
"""

from freestanding import ctz, fn, u32

from xenarm.core.domain import Domain, Extra, Vcpu, vcpu_domain
from xenarm.gic.controller import GIC
from xenarm.gic.host import gic_ends_split, gic_groups, gic_lists_control, gic_lists_status, gic_read_lr, gic_write_lr
from xenarm.gic.lists import free_index, latched, own_list, own_ready, own_unlist, release, route_target, shared_list, shared_ready
from xenarm.gic.registers import INTID_MASK, GichControl, LrState
from xenarm.gic.state import SHARED_WORDS, IrqWord, VcpuTag

__all__ = [
    "EOI_COUNT",
    "end_spilled",
    "free_holders",
    "lists_ends",
    "lists_refill",
    "own_flush",
    "vgic_update_on",
]

GROUP0 = 1
GROUP1 = 2
WORST_PRIORITY = 0xFF
UNTAKEN = 0x100  # beside a priority: of a group that the guest's CPU interface does not take
NOTHING = 0xFFFF_FFFF
NO_LIST = 32
TELL_SHORT = int(GichControl(UIE=True, NPIE=True))
TELL_NONE_PENDING = int(GichControl(NPIE=True))
GROUP0_ON, GROUP0_OFF = int(GichControl(GROUP0_ON=True)), int(GichControl(GROUP0_OFF=True))
GROUP1_ON, GROUP1_OFF = int(GichControl(GROUP1_ON=True)), int(GichControl(GROUP1_OFF=True))
TELL_ENDS = int(GichControl(LRENPIE=True))
COUNT_SHIFT = 27
EOI_COUNT = 31 << COUNT_SHIFT


@fn
def vgic_update_on(w: IrqWord, ctlr: u32) -> None:
    """Rebuild `on` after a change of enables, groups, GICD_CTLR, or of what is active outside a list register."""
    forwarded = u32(0)
    if ctlr & GROUP0 != 0:
        forwarded |= ~w.group1
    if ctlr & GROUP1 != 0:
        forwarded |= w.group1
    w.on = w.enabled & forwarded & ~w.active


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


# ---- the most urgent ----------------------------------------------------------------------------------------------------


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
def free_of_others(d: Domain, v: Vcpu, w: IrqWord, ready: u32) -> u32:
    """Of a shared word's ready interrupts those that this vCPU is to have."""
    rest = ready
    mine = u32(0)
    while rest != 0:
        bit_index = ctz(rest)
        rest &= rest - 1
        if w.holder[bit_index] == 0 and route_target(d, w.route[bit_index]) == v.id:
            mine |= u32(1) << bit_index
    return mine


@fn
def of_groups(w: IrqWord, groups: u32) -> u32:
    """A word's interrupts of some groups."""
    return (~w.group1 if groups & GROUP0 != 0 else u32(0)) | (w.group1 if groups & GROUP1 != 0 else u32(0))


@fn
def most_urgent_of(d: Domain, v: Vcpu, groups: u32) -> tuple[u32, u32]:
    """The same of some groups."""
    own = v.vgic.own
    best, priority = best_of(own, own_ready(v) & ~v.vgic.listed & of_groups(own, groups), u32(0), u32(NOTHING), u32(WORST_PRIORITY))
    for n in range(u32(SHARED_WORDS)):
        w = d.vgic.words[n]
        ready = shared_ready(w) & of_groups(w, groups)
        if ready != 0:
            best, priority = best_of(w, free_of_others(d, v, w, ready), n * 32 + 32, best, priority)
    return best, priority


@fn
def most_urgent(d: Domain, v: Vcpu, groups: u32) -> tuple[u32, u32]:
    """(intid, urgency) of what should be listed next; NOTHING when all is. What the guest's CPU interface does not take (`groups`) is less urgent than all
    that it does: an interface releases what is pending in it when its group is turned off (IHI 0069 12.2, ICC_IGRPEN0_EL1), so that none of the
    other group is kept out (4.7).
    """
    best, priority = most_urgent_of(d, v, groups)
    if best != NOTHING or groups == GROUP0 | GROUP1:
        return best, priority
    best, priority = most_urgent_of(d, v, ~groups)
    return best, priority + UNTAKEN


# ---- room ---------------------------------------------------------------------------------------------------------------


@fn
def victim(v: Vcpu, priority: u32, groups: u32) -> u32:
    """The list register to make room in: of the pending ones the least urgent, if it is less urgent than `priority`; where none is pending, of the
    active ones the least urgent. NO_LIST: there is none. What is linked to a physical interrupt stays: its end must reach the hardware."""
    pending, active = u32(NO_LIST), u32(NO_LIST)
    least, idlest = priority >> 3, u32(0)
    crowded = False
    for index in range(GIC.list_registers):
        value = gic_read_lr(index)
        level = value >> 23 & 0x1F
        if value & LrState.MASK == 0:
            return index
        if value & LrState.MASK == LrState.PENDING:
            crowded = True
            if groups & (GROUP1 if value & LrState.GROUP1 != 0 else u32(GROUP0)) == 0:
                level += UNTAKEN >> 3
            if level > least:
                least, pending = level, index
        elif value & LrState.HW == 0 and level >= idlest:
            idlest, active = level, index
    return pending if crowded else active


@fn
def put_back(d: Domain, v: Vcpu, index: u32) -> None:
    """What a list register holds goes back to the words. The lock is held."""
    value = gic_read_lr(index)
    gic_write_lr(index, 0)
    release(v, index)
    intid = value & INTID_MASK
    w = v.vgic.own if intid < 32 else d.vgic.words[(intid >> 5) - 1]
    bit = u32(1) << (intid & 31)
    if value & LrState.PENDING != 0:
        if intid < 32:
            own_unlist(v, intid, value)
        else:
            w.pending |= latched(w, intid & 31) & ~w.drop  # its line may have fallen, or it been cleared, on another CPU
    if value & LrState.ACTIVE != 0:
        w.active |= bit
        w.on &= ~bit
        w.holder[intid & 31] = VcpuTag(v.id + 1)
        v.extra |= Extra.SPILLED


@fn
def refill_one(d: Domain, v: Vcpu) -> bool:
    """List the most urgent interrupt there is; True when one was, and there may be more."""
    groups = gic_groups()
    intid, priority = most_urgent(d, v, groups)
    if intid == NOTHING:
        v.vgic.short = False
        return False
    v.vgic.short = True
    if free_index(v) >= NO_LIST:
        index = victim(v, priority, groups)
        if index >= NO_LIST:
            return False
        put_back(d, v, index)
    if intid < 32:
        return own_list(v, intid)
    return shared_list(v, d.vgic.words[(intid >> 5) - 1], intid)


@fn
def lists_refill(v: Vcpu) -> None:
    """List by priority, taking less urgent ones back; while some find no room, ask to be told when list registers become empty, or none is pending."""
    d = vcpu_domain(v)
    counted = gic_lists_status() & EOI_COUNT if v.extra & Extra.SPILLED != 0 else u32(0)  # `lists_ends` has still to see it
    with d.vgic.lock:
        for _ in range(GIC.list_registers + 1):
            if not refill_one(d, v):
                break
    lists_tell(v, counted)


@fn
def tell_groups(groups: u32) -> u32:
    """When the guest turns a group on that is off, or off one that is on, it is to be asked anew what is listed."""
    first = GROUP0_OFF if groups & GROUP0 != 0 else u32(GROUP0_ON)
    return first | (GROUP1_OFF if groups & GROUP1 != 0 else u32(GROUP1_ON))


@fn
def lists_tell(v: Vcpu, counted: u32) -> None:
    """Which maintenance interrupts there are to be."""
    control = GIC.lists_run | vcpu_domain(v).affinities.trap
    if v.vgic.short:
        control |= tell_groups(gic_groups())
        control |= TELL_SHORT if GIC.list_registers > 1 else u32(TELL_NONE_PENDING)  # of a single one at most one is in use: UIE would never end
    if v.extra & Extra.SPILLED != 0:
        control |= TELL_ENDS
    v.vgic.control = control
    gic_lists_control(control | counted)


# ---- ends of what was spilled -------------------------------------------------------------------------------------------


@fn
def spilled_of(v: Vcpu, w: IrqWord) -> u32:
    """A word's interrupts that this vCPU has acknowledged, and no list register holds."""
    rest = w.active
    found = u32(0)
    while rest != 0:
        bit_index = ctz(rest)
        rest &= rest - 1
        if u32(w.holder[bit_index]) == v.id + 1:
            found |= u32(1) << bit_index
    return found


@fn
def most_urgent_spilled(d: Domain, v: Vcpu) -> u32:
    """The one that preempted the others: its end must come first (IHI 0048B 3.2.4, IHI 0069 4.8). NOTHING when there is none."""
    best, priority = best_of(v.vgic.own, spilled_of(v, v.vgic.own), u32(0), u32(NOTHING), u32(WORST_PRIORITY))
    for n in range(u32(SHARED_WORDS)):
        w = d.vgic.words[n]
        if w.active != 0:
            best, priority = best_of(w, spilled_of(v, w), n * 32 + 32, best, priority)
    return best


@fn
def free_holders(w: IrqWord, bits: u32) -> None:
    """These are active outside a list register no more: nobody has them. Of a shared word the lock is held."""
    rest = bits & w.active
    w.active &= ~rest
    while rest != 0:
        w.holder[ctz(rest)] = 0
        rest &= rest - 1


@fn
def end_spilled(d: Domain, w: IrqWord, bits: u32) -> None:
    free_holders(w, bits)
    vgic_update_on(w, d.vgic.ctlr)


@fn
def lists_ends(d: Domain, v: Vcpu) -> None:
    """Carry out what the guest has ended of the spilled ones. The lock is held; what is pending again has still to be listed.

    Priority drops of split ends may be counted too: there GICC_DIR and ICC_DIR_EL1 tell.
    """
    if v.extra & Extra.SPILLED == 0:
        return
    count = u32(0) if gic_ends_split() else gic_lists_status() >> COUNT_SHIFT
    while True:
        intid = most_urgent_spilled(d, v)
        if intid == NOTHING:
            v.extra &= ~u32(Extra.SPILLED)
            break
        if count == 0:
            break
        count -= 1
        end_spilled(d, v.vgic.own if intid < 32 else d.vgic.words[(intid >> 5) - 1], u32(1) << (intid & 31))
        v.vgic.short = True
    lists_tell(v, 0)
