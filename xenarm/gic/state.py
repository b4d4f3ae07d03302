"""What the virtual GIC remembers: words of 32 interrupts, the shared distributor, one vCPU's part.

A vCPU's own word (SGIs and PPIs), its list registers and their cached values are touched only by the CPU that runs it, without a lock;
others leave mail. Shared words belong to the distributor's lock.
"""

from typing import TYPE_CHECKING

from freestanding import Array, Atomic, Struct, array, atomic, u8, u16, u32, u64

from xenarm.config import CONFIG
from xenarm.core.spinlock import Spinlock

__all__ = [
    "LIST_REGISTERS",
    "LOOK",
    "SGIS",
    "SGI_BITS",
    "SHARED_WORDS",
    "SHORT_TARGETS",
    "VGIC_INTIDS",
    "Errand",
    "IrqWord",
    "Mail",
    "VcpuTag",
    "VgicCpu",
    "Vgicd",
    "Wish",
]

SGIS = 16
SGI_BITS = 0xFFFF
VGIC_INTIDS: int = CONFIG.VGIC_INTIDS
SHARED_WORDS = VGIC_INTIDS // 32 - 1
LOOK = 1 << 31  # of `VgicCpu.kicked`
LIST_REGISTERS = 16  # what we use of them; GICv2 allows 64, GICv3 16, implementations have 4
ACTIVE_REGISTERS = 4  # the most that a GICv3 has for each group

SHORT_TARGETS = 1 << min(CONFIG.MAX_DOMAIN_CPUS, 8).bit_length() - 1  # vCPUs that the short way of SGIs sends to, the first ones: a power of two

assert VGIC_INTIDS % 32 == 0 and 64 <= VGIC_INTIDS <= 1020 - 1020 % 32, "VGIC_INTIDS is a multiple of 32 from 64 to 992"


if TYPE_CHECKING:
    VcpuTag = u8
else:
    VcpuTag = u8 if CONFIG.MAX_DOMAIN_CPUS <= 255 else u16
"""A vCPU's id plus one, or 0 for none."""


class IrqWord(Struct):
    """32 interrupts, one bit each.

    `pending` and `active` are what no list register holds; `on` is enabled and the group forwarded by GICD_CTLR.
    """

    enabled: u32
    on: u32
    pending: u32
    active: u32
    level: u32
    edge: u32
    group1: u32
    recall: u32  # pending state to be taken back from another CPU's list register
    drop: u32  # pending state to be forgotten there
    deactivate: u32  # active state to be forgotten there
    priority: Array[u8] = array(u8, 32)
    route: Array[u32] = array(u32, 32)  # shared ones: their byte of GICD_ITARGETSR, or the affinities of a GICv3's GICD_IROUTER, packed
    holder: Array[VcpuTag] = array(VcpuTag, 32)  # shared ones: whose list register holds it, a vCPU's id plus one. Only that vCPU's CPU clears it
    template: Array[u32] = array(u32, 32)  # list-register value less its state bits


class Vgicd(Struct):
    """The distributor of one domain."""

    lock: Spinlock
    ctlr: u32
    words: Array[IrqWord] = array(IrqWord, SHARED_WORDS)


class Mail(Struct):
    """SGIs from other vCPUs: one bit for each sender."""

    senders: Atomic[u32] = atomic(u32)


class Wish(Struct):
    """Bits to set and bits to clear; none is in both: the later store counts."""

    set: u32
    clear: u32


class Errand(Struct):
    """What other vCPUs stored to this one's redistributor (GICv3). Belongs to the distributor's lock; carried out by the CPU that runs the vCPU."""

    waits: bool
    refresh: bool  # priorities or groups changed
    enabled: Wish
    pending: Wish
    active: Wish


class VgicCpu(Struct):
    """One vCPU's banked registers and list registers. Everything but the atomics belongs to the CPU that runs the vCPU."""

    own: IrqWord
    sgi_senders: Array[u8] = array(u8, SGIS)
    listed: u32  # own interrupts that are in a list register
    lr_of: Array[u8] = array(u8, 32)  # in which one
    lr: Array[u32] = array(u32, LIST_REGISTERS)  # as last written or read
    lr_used: u32  # may hold something; a clear bit is surely free
    lr_shared: u32  # of these, those whose interrupt is shared
    short: bool  # more is pending than there are list registers
    legacy: bool  # a GICv2's, on a GICv3
    control: u32  # GICH_HCR: with UIE while short
    mail: Array[Mail] = array(Mail, SGIS)
    mail_flags: Atomic[u32] = atomic(u32)  # SGIs that have letters; PPIs raised elsewhere
    attention: Atomic[u32] = atomic(u32)  # shared words or GICD_CTLR changed
    kicked: Atomic[u32] = atomic(u32)  # 0; LOOK at mail, attention and the domain; one SGI as a list register has it beside `template`: posted; or both
    near: u64  # targets beside it in affinity 0, from vCPU 0 on, that the short way of a GICv3's SGIs sends to, a bit each
    sgi_self: u64  # what names this vCPU alone in GICD_SGIR, or in a GICv3's ICC_SGI1R_EL1
    active0: Array[u32] = array(u32, ACTIVE_REGISTERS)  # a GICv3's ICH_AP0R<n>_EL2 and ICH_AP1R<n>_EL2, while no CPU has the vCPU
    active1: Array[u32] = array(u32, ACTIVE_REGISTERS)
    waker: u32  # GICR_WAKER
    sample: Atomic[u32] = atomic(u32)  # another CPU waits for `lr` as the list registers are
    errand: Errand
