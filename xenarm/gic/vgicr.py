"""The virtual GICv3's redistributors: two pages of 64 KiB for each vCPU, RD_base and SGI_base (ARM IHI 0069, 12.10 and 12.11).

Any vCPU may use any redistributor. What belongs to the CPU that runs another vCPU is left to it as an errand; a load shows what is known
here of its state. A redistributor forwards interrupts whether GICR_WAKER says that it sleeps or not, as most emulated ones do.
"""

from collections.abc import Callable

from freestanding import ctz, fn, table, truncate, u8, u32, u64

from xenarm.abi.affinity import affinity_of
from xenarm.arm.cpu import this_vcpu
from xenarm.core.access import Access, Outcome
from xenarm.core.domain import Domain, Vcpu
from xenarm.gic.controller import GIC
from xenarm.gic.regions import gicr_find, gicr_is_last
from xenarm.gic.lists import lists_known
from xenarm.gic.registers import Gicd, LrState
from xenarm.gic.registers3 import Gicr, GicrType, GicrWaker
from xenarm.gic.state import Wish
from xenarm.gic.vgic import vcpu_kick, vgic_sample
from xenarm.gic.vgicd import BLOCK_SHIFT, Block, blocks
from xenarm.gic.vgicd3 import IIDR3, id_read
from xenarm.gic.words import (
    ALL,
    PRIORITY_MASK,
    Read,
    Write,
    clear_active,
    clear_pending,
    enable,
    read_active,
    read_config,
    read_enabled,
    read_group,
    read_pending,
    read_priority,
    read_zero,
    set_active,
    set_pending,
    write_group,
    write_ignored,
    write_priority,
)

__all__ = ["BLOCKS_SGI", "REGISTERS_SGI", "vgicr_access"]

PAGE = 0x1000
SLEEP = int(GicrWaker(PROCESSOR_SLEEP=True))
ASLEEP = int(GicrWaker(CHILDREN_ASLEEP=True))
PIDR0 = 0x93  # of a GIC-500's redistributor, where its distributor has 0x92
LAST = int(GicrType(LAST=True))

# ---- RD_base ----------------------------------------------------------------------------------------------------------


@fn
def control_read(d: Domain, v: Vcpu, offset: u32) -> u32:
    """RD_base by words. There are no LPIs, so that GICR_CTLR and the registers of their tables are reserved."""
    if offset == Gicr.TYPER:
        return v.id << 8 | (u32(LAST) if gicr_is_last(d.layout, v.id) else u32(0))
    if offset == Gicr.TYPER + 4:
        return affinity_of(d.affinities, v.id)
    if offset == Gicr.WAKER:
        return v.vgic.waker
    if offset == Gicr.IIDR:
        return IIDR3
    if offset == Gicr.PIDR0:
        return PIDR0
    return id_read(offset)


@fn
def control_write(v: Vcpu, offset: u32, value: u32) -> None:
    """GICR_WAKER: the CPU interface follows at once."""
    if offset == Gicr.WAKER:
        v.vgic.waker = u32(SLEEP | ASLEEP) if value & SLEEP != 0 else u32(0)


# ---- SGI_base ---------------------------------------------------------------------------------------------------------


@fn
def errand_sent(v: Vcpu) -> None:
    """Have the CPU that runs the vCPU look; one that is off looks when it starts. The lock is held."""
    v.vgic.errand.waits = True
    v.vgic.attention.store_release(1)
    vcpu_kick(v)


def asking(what: str, setter: bool, write: Write) -> Write:
    """A store to a register with a bit for each of the vCPU's own interrupts: `write` here, as an errand elsewhere."""

    @fn
    def handler(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
        if n != 0:
            return
        if v is this_vcpu():
            write(d, v, 0, value, mask)
            return
        with d.vgic.lock:
            wish: Wish = getattr(v.vgic.errand, what)
            wish.set = wish.set | value if setter else wish.set & ~value
            wish.clear = wish.clear & ~value if setter else wish.clear | value
            errand_sent(v)

    return handler


def with_wishes(what: str, known: Callable[[Vcpu], u32], read: Read) -> Read:
    """A load from such a register: of another vCPU's, what is so, known or asked for."""
    listed = what != "enabled"

    @fn
    def handler(d: Domain, v: Vcpu, n: u32) -> u32:
        if n != 0:
            return 0
        if v is this_vcpu():
            return read(d, v, 0)
        if listed:
            _ = vgic_sample(v, GIC.patience)
        with d.vgic.lock:
            wish: Wish = getattr(v.vgic.errand, what)
            return known(v) & ~wish.clear | wish.set

    return handler


@fn
def listed_in(v: Vcpu, state: u32) -> u32:
    """Own interrupts that its list registers hold in a state, as last published."""
    found = u32(0)
    rest = v.vgic.listed
    while rest != 0:
        intid = ctz(rest)
        rest &= rest - 1
        if lists_known(v, intid) & state != 0:
            found |= u32(1) << intid
    return found


@fn
def known_enabled(v: Vcpu) -> u32:
    return v.vgic.own.enabled


@fn
def known_pending(v: Vcpu) -> u32:
    own = v.vgic.own
    return own.pending | (own.level & ~own.edge) | listed_in(v, LrState.PENDING)


@fn
def known_active(v: Vcpu) -> u32:
    return v.vgic.own.active | listed_in(v, LrState.ACTIVE)


@fn
def group_read(d: Domain, v: Vcpu, n: u32) -> u32:
    return read_group(d, v, 0) if n == 0 else u32(0)


@fn
def group_write(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    if n != 0:
        return
    if v is this_vcpu():
        write_group(d, v, 0, value, mask)
        return
    with d.vgic.lock:
        v.vgic.own.group1 = value
        v.vgic.errand.refresh = True
        errand_sent(v)


@fn
def priority_read(d: Domain, v: Vcpu, n: u32) -> u32:
    return read_priority(d, v, n) if n < 8 else u32(0)


@fn
def priority_write(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    if n >= 8:
        return
    if v is this_vcpu():
        write_priority(d, v, n, value, mask)
        return
    merged = (read_priority(d, v, n) & ~mask | value & mask) & PRIORITY_MASK
    with d.vgic.lock:
        for lane in range(u32(4)):
            v.vgic.own.priority[n * 4 + lane] = truncate(u8, merged >> (lane * 8))
        v.vgic.errand.refresh = True
        errand_sent(v)


@fn
def config_read(d: Domain, v: Vcpu, n: u32) -> u32:
    """GICR_ICFGR0 and 1; what SGIs and PPIs are is fixed."""
    return read_config(d, v, n) if n < 2 else u32(0)


REGISTERS_SGI: list[tuple[int, int, bool, Read, Write]] = [
    (0, 0x80, False, read_zero, write_ignored),
    (Gicd.IGROUPR, 0x80, False, group_read, group_write),
    (Gicd.ISENABLER, 0x80, False, with_wishes("enabled", known_enabled, read_enabled), asking("enabled", True, enable(True))),
    (Gicd.ICENABLER, 0x80, False, with_wishes("enabled", known_enabled, read_enabled), asking("enabled", False, enable(False))),
    (Gicd.ISPENDR, 0x80, False, with_wishes("pending", known_pending, read_pending), asking("pending", True, set_pending)),
    (Gicd.ICPENDR, 0x80, False, with_wishes("pending", known_pending, read_pending), asking("pending", False, clear_pending)),
    (Gicd.ISACTIVER, 0x80, False, with_wishes("active", known_active, read_active), asking("active", True, set_active)),
    (Gicd.ICACTIVER, 0x80, False, with_wishes("active", known_active, read_active), asking("active", False, clear_active)),
    (Gicd.IPRIORITYR, 0x80, True, priority_read, priority_write),
    (0x480, 0x780, False, read_zero, write_ignored),
    (Gicd.ICFGR, 0x80, False, config_read, write_ignored),
    (0xC80, 0x380, False, read_zero, write_ignored),  # IGRPMODR0 and NSACR of two security states
]
"""The first page: offset, length in bytes, whether bytes may be accessed, read, write."""

BLOCKS_SGI = table(Block, blocks(REGISTERS_SGI))


# ---- accesses ---------------------------------------------------------------------------------------------------------


@fn
def sgi_byte(d: Domain, v: Vcpu, offset: u32, a: Access) -> u64:
    """A byte of GICR_IPRIORITYR<n>."""
    row = BLOCKS_SGI[offset >> BLOCK_SHIFT]
    number = (offset - row.base) >> 2
    shift = (offset & 3) * 8
    if a.write:
        row.write(d, v, number, (truncate(u32, a.value) & 0xFF) << shift, u32(0xFF) << shift)
        return 0
    return u64((row.read(d, v, number) >> shift) & 0xFF)


@fn
def sgi_access(d: Domain, v: Vcpu, offset: u32, a: Access) -> u64:
    """In SGI_base."""
    if offset >= PAGE:
        return 0
    row = BLOCKS_SGI[offset >> BLOCK_SHIFT]
    if a.width == 1 and row.bytes:
        return sgi_byte(d, v, offset, a)
    if a.width != 4 or offset & 3 != 0:
        return 0
    if a.write:
        row.write(d, v, (offset - row.base) >> 2, truncate(u32, a.value), ALL)
        return 0
    return u64(row.read(d, v, (offset - row.base) >> 2))


@fn
def control_access(d: Domain, v: Vcpu, offset: u32, a: Access) -> u64:
    """In RD_base."""
    if a.width == 8 and offset == Gicr.TYPER and not a.write:
        return u64(control_read(d, v, offset)) | u64(control_read(d, v, offset + 4)) << 32
    if a.width != 4 or offset & 3 != 0:
        return 0
    if a.write:
        control_write(v, offset, truncate(u32, a.value))
        return 0
    return u64(control_read(d, v, offset))


@fn
def vgicr_access(d: Domain, v: Vcpu, a: Access) -> tuple[Outcome, u64]:
    """An access of any width, by any vCPU."""
    vcpu, inside = gicr_find(d.layout, u64(a.address))
    owner = d.vcpus[vcpu] if vcpu < d.vcpu_count else None
    if owner is None:
        return Outcome.UNHANDLED, 0
    if inside >= Gicr.SGI_BASE:
        return Outcome.HANDLED, sgi_access(d, owner, inside - Gicr.SGI_BASE, a)
    return Outcome.HANDLED, control_access(d, owner, inside, a)
