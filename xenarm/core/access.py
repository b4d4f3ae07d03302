"""One memory access of a guest that stage 2 stopped, and what became of it. Apart from `mmio.py`, so that devices may import it."""

from freestanding import IntEnum, Struct, u8, u32, u64
from xenarm.core.addresses import GuestPhys

__all__ = ["Access", "Outcome"]


class Access(Struct, frozen=True):
    """A load or store, decoded: `width` in bytes, `value` what a store writes (zero-extended)."""

    address: GuestPhys
    width: u32
    write: bool
    value: u64


class Outcome(IntEnum, type=u8, must_use=True):
    """What a device made of an access."""

    HANDLED = 0
    UNHANDLED = 1  # nothing lives there
    FORBIDDEN = 2  # a device does, and it takes no such access
