"""The virtual GICv3's distributor, with affinity routing always on and a single security state; SGIs by system register (ARM IHI 0069, 12.9).

What a vCPU has for itself lies in its redistributor (`vgicr.py`): here those registers are reserved. Reserved registers, and accesses of a
size that a register does not take, read as zero and ignore writes.
"""

from freestanding import ctz, fn, table, truncate, u32, u64

from xenarm.abi.affinity import affinity_mpidr, vcpu_of_affinity
from xenarm.config import CONFIG
from xenarm.core.access import Access, Outcome
from xenarm.core.domain import Domain, Vcpu, vcpu_domain
from xenarm.gic.registers import Gicd
from xenarm.gic.registers3 import Gicd3, GicdControl, Typer3
from xenarm.gic.state import VGIC_INTIDS
from xenarm.gic.version import vgic_is_v3
from xenarm.gic.vgic import refill_if_short, vgic_raise_sgi
from xenarm.gic.vgicd import BLOCK_SHIFT, Block, blocks, vgicd_read, vgicd_write
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
    write_config,
    write_group,
    write_ignored,
    write_priority,
)

__all__ = ["BLOCKS3", "IIDR3", "REGISTERS3", "distributor_read", "distributor_write", "id_read", "sgi_first", "vgicd3_access", "vgicd3_typer", "vgic_send_sgi"]

IIDR3 = 0x0000_043B  # Arm's GIC-500
CONTROL_FIXED = int(GicdControl(ARE=True, DS=True))
TYPER = int(Typer3(IT_LINES=WORDS - 1, ID_BITS=9, NO_1N=True))
A3V = int(Typer3(A3V=True))
ROUTE_LOW = 0x00FF_FFFF  # affinities 0 to 2; bit 31 is none, as each interrupt goes to one vCPU (TYPER.No1N)
IROUTER_END = Gicd3.IROUTER + VGIC_INTIDS * 8
UPPER = 0xFFFF_FFFF_0000_0000
LOWER = 0xFFFF_FFFF
WHOLE = UPPER | LOWER
FIRST_ROUTER = Gicd3.IROUTER + 32 * 8
PAGE = 0x1000


@fn(inline=True)
def vgicd3_typer(d: Domain) -> u32:
    """GICD_TYPER."""
    return TYPER | d.affinities.typer if CONFIG.MPIDR_LEVELS else u32(TYPER)


@fn
def read_head(d: Domain, v: Vcpu, n: u32) -> u32:
    if n == Gicd.TYPER // 4:
        return vgicd3_typer(d)
    if n == Gicd.CTLR // 4:
        return d.vgic.ctlr | CONTROL_FIXED
    return u32(IIDR3) if n == Gicd.IIDR // 4 else u32(0)


@fn
def write_head(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
    if n == Gicd.CTLR // 4:
        control_write(d, v, value)


def shared_read(read: Read, first: int) -> Read:
    """The registers from number `first` on; those before are the redistributors'."""

    @fn
    def handler(d: Domain, v: Vcpu, n: u32) -> u32:
        return read(d, v, n) if n >= first else u32(0)

    return handler


def shared_write(write: Write, first: int) -> Write:
    @fn
    def handler(d: Domain, v: Vcpu, n: u32, value: u32, mask: u32) -> None:
        if n >= first:
            write(d, v, n, value, mask)

    return handler


def shared(base: int, first: int, bytes_: bool, read: Read, write: Write, size: int = 0x80) -> tuple[int, int, bool, Read, Write]:
    return base, size, bytes_, shared_read(read, first), shared_write(write, first)


REGISTERS3: list[tuple[int, int, bool, Read, Write]] = [
    (Gicd.CTLR, 0x80, False, read_head, write_head),
    shared(Gicd.IGROUPR, 1, False, read_group, write_group),
    shared(Gicd.ISENABLER, 1, False, read_enabled, enable(True)),
    shared(Gicd.ICENABLER, 1, False, read_enabled, enable(False)),
    shared(Gicd.ISPENDR, 1, False, read_pending, set_pending),
    shared(Gicd.ICPENDR, 1, False, read_pending, clear_pending),
    shared(Gicd.ISACTIVER, 1, False, read_active, set_active),
    shared(Gicd.ICACTIVER, 1, False, read_active, clear_active),
    shared(Gicd.IPRIORITYR, 8, True, read_priority, write_priority, 0x400),
    (Gicd.ITARGETSR, 0x400, False, read_zero, write_ignored),
    shared(Gicd.ICFGR, 2, False, read_config, write_config, 0x100),
    (Gicd.ICFGR + 0x100, 0x300, False, read_zero, write_ignored),  # IGRPMODR and NSACR of two security states; SGIR without affinity routing
]
"""The first page: offset, length in bytes, whether bytes may be accessed, read, write."""

BLOCKS3 = table(Block, blocks(REGISTERS3))

ID_VALUES = table(u32, [0x44, 0, 0, 0, 0x92, 0xB4, 0x3B, 0, 0x0D, 0xF0, 0x05, 0xB1])  # PIDR4-7, PIDR0-3, CIDR0-3 of a GIC-500


assert len(ID_VALUES) * 4 == Gicd3.SIZE - Gicd3.ID


@fn
def id_read(offset: u32) -> u32:
    """The identification registers, which a distributor and a redistributor have at the same offset."""
    return ID_VALUES[(offset - Gicd3.ID) >> 2] if offset >= Gicd3.ID and offset < Gicd3.SIZE else u32(0)


@fn
def route_read(d: Domain, offset: u32) -> u32:
    """Half of a GICD_IROUTER<n>: affinities 0 to 2, or affinity 3."""
    if offset < FIRST_ROUTER or offset >= IROUTER_END:
        return 0
    intid = (offset - Gicd3.IROUTER) >> 3
    route = d.vgic.words[(intid >> 5) - 1].route[intid & 31]
    return route & ROUTE_LOW if offset & 4 == 0 else route >> 24


@fn
def route_store(d: Domain, v: Vcpu, offset: u32, value: u64, mask: u64) -> None:
    """To a GICD_IROUTER<n>, or half of one. Affinity 3 is RES0 without GICD_TYPER.A3V."""
    if offset < FIRST_ROUTER or offset >= IROUTER_END:
        return
    with d.vgic.lock:
        w = d.vgic.words[((offset - Gicd3.IROUTER) >> 8) - 1]
        intid = (offset - Gicd3.IROUTER) >> 3
        new = affinity_mpidr(w.route[intid & 31]) & ~mask | value & mask
        upper = truncate(u32, new >> 32) << 24 if vgicd3_typer(d) & A3V != 0 else u32(0)
        route_write(d, v, intid, truncate(u32, new) & ROUTE_LOW | upper)
    refill_if_short()


@fn
def word_read(d: Domain, v: Vcpu, offset: u32) -> u32:
    if offset < PAGE:
        row = BLOCKS3[offset >> BLOCK_SHIFT]
        return row.read(d, v, (offset - row.base) >> 2)
    return id_read(offset) if offset >= Gicd3.ID else route_read(d, offset)


@fn
def word_write(d: Domain, v: Vcpu, offset: u32, value: u32) -> None:
    if offset < PAGE:
        row = BLOCKS3[offset >> BLOCK_SHIFT]
        row.write(d, v, (offset - row.base) >> 2, value, ALL)
    elif offset & 4 != 0:
        route_store(d, v, offset, u64(value) << 32, UPPER)
    else:
        route_store(d, v, offset, u64(value), LOWER)


@fn
def priority_byte(d: Domain, v: Vcpu, offset: u32, a: Access) -> u64:
    """A byte of GICD_IPRIORITYR<n>."""
    row = BLOCKS3[offset >> BLOCK_SHIFT]
    shift = (offset & 3) * 8
    if a.write:
        row.write(d, v, (offset - row.base) >> 2, (truncate(u32, a.value) & 0xFF) << shift, u32(0xFF) << shift)
        return 0
    return u64((row.read(d, v, (offset - row.base) >> 2) >> shift) & 0xFF)


@fn
def route_access(d: Domain, v: Vcpu, offset: u32, a: Access) -> u64:
    """A whole GICD_IROUTER<n>."""
    if a.write:
        route_store(d, v, offset, a.value, WHOLE)
        return 0
    return u64(route_read(d, offset)) | u64(route_read(d, offset + 4)) << 32


@fn
def vgicd3_access(d: Domain, v: Vcpu, a: Access) -> tuple[Outcome, u64]:
    """An access of any width."""
    offset = truncate(u32, u64(a.address) - d.layout.gicd)
    if a.width == 1 and offset < PAGE and BLOCKS3[offset >> BLOCK_SHIFT].bytes:
        return Outcome.HANDLED, priority_byte(d, v, offset, a)
    wide = a.width == 8 and offset >= Gicd3.IROUTER and offset < IROUTER_END
    if offset & (a.width - 1) != 0 or not (a.width == 4 or wide):
        return Outcome.HANDLED, 0
    if wide:
        return Outcome.HANDLED, route_access(d, v, offset, a)
    if a.write:
        word_write(d, v, offset, truncate(u32, a.value))
        return Outcome.HANDLED, 0
    return Outcome.HANDLED, u64(word_read(d, v, offset))


@fn(inline=True)
def distributor_read(d: Domain, v: Vcpu, offset: u32) -> u32:
    """A load of an aligned word in the first page, of a distributor of either version."""
    if not vgic_is_v3(d):
        return vgicd_read(d, v, offset)
    row = BLOCKS3[(offset >> BLOCK_SHIFT) & 31]
    return row.read(d, v, (offset - row.base) >> 2)


@fn(inline=True)
def distributor_write(d: Domain, v: Vcpu, offset: u32, value: u32) -> None:
    if not vgic_is_v3(d):
        vgicd_write(d, v, offset, value)
        return
    row = BLOCKS3[(offset >> BLOCK_SHIFT) & 31]
    row.write(d, v, (offset - row.base) >> 2, value, ALL)


# ---- software-generated interrupts ------------------------------------------------------------------------------------

SGI_SHIFT = 24
IRM = 1 << 40


@fn
def send_to(d: Domain, v: Vcpu, index: u32, sgi: u32, group1: bool) -> None:
    """An SGI of group 0 alone does not reach who has it in group 1 (8.1.10)."""
    target = d.vcpus[index]
    if target is not None and (group1 or target.vgic.own.group1 >> sgi & 1 == 0):
        vgic_raise_sgi(v, target, sgi)


@fn
def sgi_first(value: u64) -> u32:
    """Affinities, packed, that the first bit of the target list stands for. Affinity 0 is the range selector times sixteen, and the bit's number:
    in a domain without GICD_TYPER.RSS nobody has those from 16 on."""
    return truncate(u32, value >> 40 & 0xF0 | value >> 8 & 0xFF00 | value >> 16 & 0xFF_0000 | value >> 24 & 0xFF00_0000)


@fn
def vgic_send_sgi(v: Vcpu, value: u64, group1: bool) -> None:
    """A store to ICC_SGI1R_EL1 (`group1`), which with a single security state raises interrupts of both groups, or to ICC_SGI0R_EL1 or ICC_ASGI1R_EL1."""
    d = vcpu_domain(v)
    sgi = truncate(u32, value >> SGI_SHIFT) & 0xF
    if value & IRM != 0:
        for i in range(d.vcpu_count):
            if i != v.id:
                send_to(d, v, i, sgi, group1)
        return
    first = sgi_first(value)
    targets = truncate(u32, value) & 0xFFFF
    while targets != 0:
        index = vcpu_of_affinity(d.affinities, first | ctz(targets))
        targets &= targets - 1
        if index < d.vcpu_count:
            send_to(d, v, index, sgi, group1)
