"""The virtual distributor's registers: a table of what lies in each 128 bytes, and how it is read and written (ARM IHI 0048B, 4.3)."""

from collections.abc import Callable

from freestanding import Struct, ctz, fn, table, truncate, u8, u32, u64

from xenarm.core.access import Access, Outcome
from xenarm.core.domain import Domain, Vcpu
from xenarm.gic.lists import forget_requests, lists_states, own_flush, own_strip, shared_ready, shared_strip
from xenarm.gic.registers import Gicd, LrState, Typer
from xenarm.gic.state import SHARED_WORDS, VGIC_INTIDS, IrqWord
from xenarm.gic.vgic import refill_if_short, shared_deliver, vcpu_kick, vgic_raise_sgi, vgic_update_on, word_update_template

__all__ = ["BLOCKS", "vgicd_access", "vgicd_read", "vgicd_write"]

WORDS = SHARED_WORDS + 1
BLOCK_SHIFT = 7
IIDR = 0x0200_043B  # Arm's GIC-400 r0p0
ALL = 0xFFFF_FFFF
SGI_BITS = 0xFFFF
CTLR_MASK = 3
FILTER_LIST = 0
FILTER_OTHERS = 1
FILTER_SELF = 2
PRIORITY_MASK = 0xF8F8_F8F8  # a list register holds five bits

Read = Callable[[Domain, Vcpu, u32], u32]
Write = Callable[[Domain, Vcpu, u32, u32, u32], None]


class Block(Struct, frozen=True):
    """128 bytes of registers: the offset where their kind begins, whether single bytes may be accessed, the two handlers.

    Handlers get the number of the 32-bit register from that offset; writers also the value and a mask of the bytes written.
    """

    base: u32
    bytes: bool
    read: Callable[[Domain, Vcpu, u32], u32]
    write: Callable[[Domain, Vcpu, u32, u32, u32], None]


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


# ---- control ----------------------------------------------------------------------------------------------------------


@fn(inline=True)
def vgicd_typer(d: Domain) -> u32:
    """GICD_TYPER."""
    return u32(Typer(IT_LINES=WORDS - 1)) | (d.vcpu_count - 1) << 5


@fn
def read_head(d: Domain, v: Vcpu, n: u32) -> u32:
    if n == Gicd.TYPER // 4:
        return vgicd_typer(d)
    if n == Gicd.CTLR // 4:
        return d.vgic.ctlr
    return u32(IIDR) if n == Gicd.IIDR // 4 else u32(0)


@fn
def write_head(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    """GICD_CTLR: what was forwarded and no longer is comes back from the list registers; every vCPU looks for itself."""
    if n != Gicd.CTLR // 4:
        return
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
    """GICD_ISENABLER or GICD_ICENABLER. SGIs are always enabled."""

    @fn
    def write(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
        if n >= WORDS:
            return
        w = word_of(d, v, n)
        if n == 0:
            w.enabled = w.enabled | value if on else w.enabled & ~value | SGI_BITS
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
def write_group(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    if n >= WORDS:
        return
    w = word_of(d, v, n)
    with d.vgic.lock:
        w.group1 = value
        for i in range(u32(32)):
            word_update_template(w, n * 32, i)
        if n != 0:
            shared_on_changed(d, v, n - 1)
    if n == 0:
        own_on_changed(d, v)
    refill_if_short()


@fn
def read_pending(d: Domain, v: Vcpu, n: u32) -> u32:
    """Pending in the distributor or in a list register of this CPU; another CPU's are known as they were listed."""
    if n >= WORDS:
        return 0
    w = word_of(d, v, n)
    return w.pending | (w.level & ~w.edge) | lists_states(v, n, LrState.PENDING) | remote_listed(d, v, n)


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
def set_pending(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    """GICD_ISPENDR; the bits of SGIs are read-only."""
    if n >= WORDS:
        return
    if n == 0:
        v.vgic.own.pending |= value & ~u32(SGI_BITS)
        own_flush(v)
        return
    with d.vgic.lock:
        d.vgic.words[n - 1].pending |= value
        shared_deliver(d, n - 1, value)
    refill_if_short()


@fn
def clear_pending(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    """GICD_ICPENDR; a level-sensitive interrupt stays pending while its line is high."""
    if n >= WORDS:
        return
    if n == 0:
        v.vgic.own.pending &= ~value | SGI_BITS
        own_strip(v, value & ~u32(SGI_BITS), LrState.PENDING, False)
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
def read_active(d: Domain, v: Vcpu, n: u32) -> u32:
    if n >= WORDS:
        return 0
    return word_of(d, v, n).active | lists_states(v, n, LrState.ACTIVE)


@fn
def set_active(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    """GICD_ISACTIVER: such an interrupt is listed as active, so that the guest can end it."""
    if n >= WORDS:
        return
    fresh = value & ~lists_states(v, n, LrState.ACTIVE)
    if n == 0:
        v.vgic.own.active |= fresh & ~v.vgic.listed
        own_flush(v)
        return
    with d.vgic.lock:
        d.vgic.words[n - 1].active |= fresh & ~remote_listed(d, v, n)
        shared_deliver(d, n - 1, fresh)
    refill_if_short()


@fn
def clear_active(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    """GICD_ICACTIVER."""
    if n >= WORDS:
        return
    if n == 0:
        v.vgic.own.active &= ~value
        own_strip(v, value, LrState.ACTIVE, False)
        own_flush(v)
        return
    with d.vgic.lock:
        w = d.vgic.words[n - 1]
        w.active &= ~value
        w.deactivate |= value
        tell_holders(d, v, n - 1, value)
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
def write_priority(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    """Takes effect when the interrupt is listed next."""
    if n >= VGIC_INTIDS // 4:
        return
    w = word_of(d, v, n >> 3)
    first = (n & 7) * 4
    merged = (read_priority(d, v, n) & ~mask | value & mask) & PRIORITY_MASK
    for lane in range(u32(4)):
        w.priority[first + lane] = truncate(u8, merged >> (lane * 8))
        word_update_template(w, (n >> 3) * 32, first + lane)


@fn
def read_targets(d: Domain, v: Vcpu, n: u32) -> u32:
    """For a vCPU's own interrupts, its own bit in each byte: how software learns its CPU interface number."""
    if n >= VGIC_INTIDS // 4:
        return 0
    if n < 8:
        return (u32(1) << v.id) * 0x0101_0101
    w = word_of(d, v, n >> 3)
    first = (n & 7) * 4
    return u32(w.targets[first]) | u32(w.targets[first + 1]) << 8 | u32(w.targets[first + 2]) << 16 | u32(w.targets[first + 3]) << 24


@fn
def write_targets(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    """Bits of CPUs that the domain does not have are dropped. An interrupt under way stays where it is."""
    if n >= VGIC_INTIDS // 4 or n < 8:
        return
    w = word_of(d, v, n >> 3)
    first = (n & 7) * 4
    merged = read_targets(d, v, n) & ~mask | value & mask
    present = truncate(u8, (u32(1) << d.vcpu_count) - 1)
    with d.vgic.lock:
        for lane in range(u32(4)):
            w.targets[first + lane] = truncate(u8, merged >> (lane * 8)) & present
        shared_deliver(d, (n >> 3) - 1, u32(0xF) << first & shared_ready(w))
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
    """GICD_ICFGR: SGIs are edge-triggered."""
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


# ---- software-generated interrupts ------------------------------------------------------------------------------------


@fn
def read_sgi(d: Domain, v: Vcpu, n: u32) -> u32:
    """GICD_CPENDSGIR and GICD_SPENDSGIR: the senders of pending SGIs, a byte each. GICD_SGIR is write-only."""
    if n < 4 or n >= 12:
        return 0
    group = n & 3
    senders = u32(0)
    for lane in range(u32(4)):
        senders |= u32(v.vgic.sgi_senders[group * 4 + lane]) << (lane * 8)
    return senders


@fn
def write_sgi(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    if n == 0:
        send_sgi(d, v, value)
    elif n >= 4 and n < 8:
        clear_senders(v, (n - 4) * 4, value & mask)
    elif n >= 8 and n < 12:
        set_senders(v, (n - 8) * 4, value & mask)


@fn
def send_sgi(d: Domain, v: Vcpu, value: u32) -> None:
    """GICD_SGIR."""
    sgi = value & 0xF
    filter = (value >> 24) & 3
    self_bit = u32(1) << v.id
    if filter == FILTER_SELF:
        vgic_raise_sgi(v, sgi, v.id)
        return
    present = (u32(1) << d.vcpu_count) - 1
    targets = (value >> 16) & 0xFF if filter == FILTER_LIST else ~self_bit
    rest = targets & present if filter != 3 else u32(0)
    while rest != 0:
        target = d.vcpus[ctz(rest)]
        rest &= rest - 1
        if target is not None:
            vgic_raise_sgi(target, sgi, v.id)


@fn
def clear_senders(v: Vcpu, first: u32, value: u32) -> None:
    for lane in range(u32(4)):
        gone = truncate(u8, value >> (lane * 8))
        sgi = first + lane
        if gone != 0:
            own_strip(v, u32(1) << sgi, LrState.PENDING, True)
            v.vgic.sgi_senders[sgi] &= ~gone
            if v.vgic.sgi_senders[sgi] == 0:
                v.vgic.own.pending &= ~(u32(1) << sgi)
    own_flush(v)


@fn
def set_senders(v: Vcpu, first: u32, value: u32) -> None:
    for lane in range(u32(4)):
        new = truncate(u8, value >> (lane * 8))
        if new != 0:
            v.vgic.sgi_senders[first + lane] |= new
            v.vgic.own.pending |= u32(1) << (first + lane)
    own_flush(v)


# ---- identification ---------------------------------------------------------------------------------------------------

ID_VALUES = table(u32, [0x04, 0, 0, 0, 0x90, 0xB4, 0x2B, 0, 0x0D, 0xF0, 0x05, 0xB1])  # PIDR4-7, PIDR0-3, CIDR0-3 of a GIC-400


ID_FIRST = (Gicd.ID & 0x7F) // 4
ID_COUNT = 12
assert ID_FIRST + ID_COUNT == 0x80 // 4


@fn
def read_id(d: Domain, v: Vcpu, n: u32) -> u32:
    if n < ID_FIRST or n >= ID_FIRST + ID_COUNT:
        return 0
    return ID_VALUES[n - ID_FIRST]


REGISTERS: list[tuple[int, int, bool, Read, Write]] = [
    (Gicd.CTLR, 0x80, False, read_head, write_head),
    (Gicd.IGROUPR, 0x80, False, read_group, write_group),
    (Gicd.ISENABLER, 0x80, False, read_enabled, enable(True)),
    (Gicd.ICENABLER, 0x80, False, read_enabled, enable(False)),
    (Gicd.ISPENDR, 0x80, False, read_pending, set_pending),
    (Gicd.ICPENDR, 0x80, False, read_pending, clear_pending),
    (Gicd.ISACTIVER, 0x80, False, read_active, set_active),
    (Gicd.ICACTIVER, 0x80, False, read_active, clear_active),
    (Gicd.IPRIORITYR, 0x400, True, read_priority, write_priority),
    (Gicd.ITARGETSR, 0x400, True, read_targets, write_targets),
    (Gicd.ICFGR, 0x100, False, read_config, write_config),
    (0xD00, 0x100, False, read_zero, write_ignored),  # implementation defined
    (Gicd.NSACR, 0x100, False, read_zero, write_ignored),
    (Gicd.SGIR, 0x80, True, read_sgi, write_sgi),
    (0xF80, 0x80, False, read_id, write_ignored),
]
"""Offset, length in bytes, whether bytes may be accessed, read, write."""


def blocks() -> list[Block]:
    """The register table by blocks of 128 bytes, so that an access finds its row by a shift."""
    rows = [Block(base, bytes_, read, write) for base, size, bytes_, read, write in REGISTERS for _ in range(size >> BLOCK_SHIFT)]
    starts = [base for base, *_ in REGISTERS]
    ends = [base + size for base, size, *_ in REGISTERS]
    assert starts == [0, *ends[:-1]] and ends[-1] == Gicd.SIZE, "the distributor's registers leave a gap or overlap"
    return rows


BLOCKS = table(Block, blocks())


@fn(inline=True)
def vgicd_read(d: Domain, v: Vcpu, offset: u32) -> u32:
    """A 32-bit load."""
    row = BLOCKS[(offset >> BLOCK_SHIFT) & 31]
    return row.read(d, v, (offset - row.base) >> 2)


@fn(inline=True)
def vgicd_write(d: Domain, v: Vcpu, offset: u32, value: u32) -> None:
    """A 32-bit store."""
    row = BLOCKS[(offset >> BLOCK_SHIFT) & 31]
    row.write(d, v, (offset - row.base) >> 2, value, ALL)


@fn
def vgicd_access(d: Domain, v: Vcpu, a: Access) -> tuple[Outcome, u64]:
    """An access of any width. FORBIDDEN: misaligned, or narrower or wider than the register takes (IHI 0048B 4.1.3)."""
    offset = truncate(u32, u64(a.address)) & (Gicd.SIZE - 1)
    row = BLOCKS[(offset >> BLOCK_SHIFT) & 31]
    number = (offset - row.base) >> 2
    if a.width == 4 and offset & 3 == 0:
        if a.write:
            row.write(d, v, number, truncate(u32, a.value), ALL)
            return Outcome.HANDLED, 0
        return Outcome.HANDLED, u64(row.read(d, v, number))
    if a.width != 1 or not row.bytes:
        return Outcome.FORBIDDEN, 0
    shift = (offset & 3) * 8
    if a.write:
        row.write(d, v, number, (truncate(u32, a.value) & 0xFF) << shift, u32(0xFF) << shift)
        return Outcome.HANDLED, 0
    return Outcome.HANDLED, u64((row.read(d, v, number) >> shift) & 0xFF)
