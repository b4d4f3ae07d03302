"""What stage 2 of one domain remembers."""

from freestanding import Distinct, Struct, u16, u64

from xenarm.core.addresses import HostPhys
from xenarm.core.spinlock import Spinlock

__all__ = ["P2m", "Vmid"]


class Vmid(Distinct, type=u16):
    """The tag that keeps one domain's translations apart from another's; 8 bits, 0 belongs to nobody."""


class P2m(Struct):
    """A domain's stage-2 tables: a run of pages that is its own, the root first, taken from one after the other; and its VMID."""

    lock: Spinlock
    root: HostPhys
    vmid: Vmid
    vttbr: u64
    table_pages: u64  # in use
    pool_pages: u64  # there are no more
