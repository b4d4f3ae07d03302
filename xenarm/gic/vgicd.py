"""The virtual GICv2's distributor: a table of what lies in each 128 bytes, and how it is read and written (ARM IHI 0048B, 4.3)."""

from collections.abc import Callable

from freestanding import Struct, ctz, fn, table, truncate, u8, u32, u64, wrapping_sub

from xenarm.core.access import Access, Outcome
from xenarm.core.domain import Domain, Vcpu, vcpu_domain
from xenarm.gic.lists import own_strip
from xenarm.gic.overflow import own_flush
from xenarm.gic.registers import Gicd, LrState, Typer
from xenarm.gic.state import VGIC_INTIDS
from xenarm.gic.vgic import refill_if_short, vgic_raise_sgi
from xenarm.gic.words import (
    ALL,
    WORDS,
    Read,
    Write,
    clear_active,
    clear_pending,
    control_write,
    enable,
    read_active,
    read_config,
    read_enabled,
    read_group,
    read_pending,
    read_priority,
    read_zero,
    route_write,
    set_active,
    set_pending,
    word_of,
    write_config,
    write_group,
    write_ignored,
    write_priority,
)

__all__ = ["BLOCKS", "BLOCK_SHIFT", "Block", "REGISTERS", "blocks", "vgicd_access", "vgicd_read", "vgicd_typer", "vgicd_write"]

BLOCK_SHIFT = 7
IIDR = 0x0200_043B  # Arm's GIC-400 r0p0
FILTER_LIST = 0
FILTER_OTHERS = 1
FILTER_SELF = 2


class Block(Struct, frozen=True):
    """128 bytes of registers: the offset where their kind begins, whether single bytes may be accessed, the two handlers.

    Handlers get the number of the 32-bit register from that offset; writers also the value and a mask of the bytes written.
    """

    base: u32
    bytes: bool
    read: Callable[[Domain, Vcpu, u32], u32]
    write: Callable[[Domain, Vcpu, u32, u32, u32], None]


# ---- control ----------------------------------------------------------------------------------------------------------


@fn(inline=True)
def vgicd_typer(d: Domain) -> u32:
    """GICD_TYPER."""
    return wrapping_sub(u32(Typer(IT_LINES=WORDS - 1)) | d.vcpu_count << 5, u32(Typer(CPU_NUMBER=1)))


@fn
def read_head(d: Domain, v: Vcpu, n: u32) -> u32:
    if n == Gicd.TYPER // 4:
        return vgicd_typer(d)
    if n == Gicd.CTLR // 4:
        return d.vgic.ctlr
    return u32(IIDR) if n == Gicd.IIDR // 4 else u32(0)


@fn
def write_head(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    if n == Gicd.CTLR // 4:
        control_write(d, v, value)


# ---- targets ----------------------------------------------------------------------------------------------------------


@fn
def read_targets(d: Domain, v: Vcpu, n: u32) -> u32:
    """For a vCPU's own interrupts, its own bit in each byte: how software learns its CPU interface number."""
    if n >= VGIC_INTIDS // 4:
        return 0
    if n < 8:
        return (u32(1) << v.id) * 0x0101_0101
    w = word_of(d, v, n >> 3)
    first = (n & 7) * 4
    return w.route[first] | w.route[first + 1] << 8 | w.route[first + 2] << 16 | w.route[first + 3] << 24


@fn
def write_targets(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    """Bits of CPUs that the domain does not have are dropped. An active interrupt stays where it is."""
    if n >= VGIC_INTIDS // 4 or n < 8:
        return
    merged = read_targets(d, v, n) & ~mask | value & mask
    present = (u32(1) << d.vcpu_count) - 1
    with d.vgic.lock:
        for lane in range(u32(4)):
            route_write(d, v, n * 4 + lane, (merged >> (lane * 8)) & 0xFF & present)
    refill_if_short()


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
        if mask == ALL:
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
        vgic_raise_sgi(v, v, sgi)
        return
    present = (u32(1) << d.vcpu_count) - 1
    targets = (value >> 16) & 0xFF if filter == FILTER_LIST else ~self_bit
    rest = targets & present if filter != 3 else u32(0)
    while rest != 0:
        target = d.vcpus[ctz(rest)]
        rest &= rest - 1
        if target is not None:
            vgic_raise_sgi(v, target, sgi)


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


def blocks(registers: list[tuple[int, int, bool, Read, Write]]) -> list[Block]:
    """A register table by blocks of 128 bytes, so that an access finds its row by a shift."""
    rows = [Block(base, bytes_, read, write) for base, size, bytes_, read, write in registers for _ in range(size >> BLOCK_SHIFT)]
    starts = [base for base, *_ in registers]
    ends = [base + size for base, size, *_ in registers]
    assert starts == [0, *ends[:-1]] and ends[-1] == Gicd.SIZE, "the distributor's registers leave a gap or overlap"
    return rows


BLOCKS = table(Block, blocks(REGISTERS))


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
