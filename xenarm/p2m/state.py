"""What stage 2 of one domain remembers."""

from freestanding import Distinct, Struct, u16, u64

from xenarm.core.addresses import HostPhys
from xenarm.core.spinlock import Spinlock

__all__ = ["P2m", "Vmid"]


class Vmid(Distinct, type=u16):
    """The tag that keeps one domain's translations apart from another's; 8 bits, 0 belongs to nobody."""


class P2m(Struct):
    """The root of a domain's stage-2 tables, its VMID, and how many pages the tables take."""

    lock: Spinlock
    root: HostPhys
    vmid: Vmid
    vttbr: u64
    table_pages: u64
