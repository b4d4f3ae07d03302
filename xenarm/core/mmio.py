"""A domain's emulated devices: which handler answers an access to a guest-physical address."""

from collections.abc import Callable

from freestanding import Array, Struct, array, fn, u32, u64
from xenarm.config import CONFIG
from xenarm.core.access import Access, Outcome
from xenarm.core.addresses import GuestPhys
from xenarm.core.domain import Domain, Vcpu
from xenarm.core.result import Result

__all__ = ["Access", "MmioHandler", "Outcome", "mmio_access", "mmio_register", "mmio_reset"]

MOST_REGIONS = 8

# Given the access as it came, with its guest-physical address; the value counts for loads that were handled.
MmioHandler = Callable[[Domain, Vcpu, Access], tuple[Outcome, u64]]


class Region(Struct):
    """Addresses `base` to `base + size - 1`, and who answers there."""

    base: u64
    size: u64
    handler: Callable[[Domain, Vcpu, Access], tuple[Outcome, u64]] | None


class Regions(Struct):
    """A domain's devices, in no order, without overlap. Fixed before the domain runs, so that reading takes no lock."""

    count: u32
    regions: Array[Region] = array(Region, MOST_REGIONS)


REGIONS = array(Regions, CONFIG.MAX_DOMAINS)


@fn
def mmio_reset(d: Domain) -> None:
    """Forget the devices of whoever had this slot before."""
    REGIONS[d.id].count = 0


@fn
def overlaps(region: Region, base: u64, size: u64) -> bool:
    return base < region.base + region.size and region.base < base + size


@fn
def mmio_register(
    d: Domain, base: GuestPhys, size: u64, handler: Callable[[Domain, Vcpu, Access], tuple[Outcome, u64]]
) -> Result:
    """Give a range to a device while the domain is built: BUSY when another has part of it, NO_MEMORY when the table is full."""
    devices = REGIONS[d.id]
    if devices.count == MOST_REGIONS:
        return Result.NO_MEMORY
    for i in range(devices.count):
        if overlaps(devices.regions[i], u64(base), size):
            return Result.BUSY
    region = devices.regions[devices.count]
    region.base = u64(base)
    region.size = size
    region.handler = handler
    devices.count += 1
    return Result.OK


@fn
def mmio_access(d: Domain, v: Vcpu, a: Access) -> tuple[Outcome, u64]:
    """Carry out a load or store of a guest. UNHANDLED when no device lies there, or the access leaves it at its end."""
    devices = REGIONS[d.id]
    address = u64(a.address)
    for i in range(devices.count):
        region = devices.regions[i]
        if region.base <= address and address - region.base < region.size:
            if u64(a.width) > region.size - (address - region.base):
                return Outcome.UNHANDLED, 0
            handler = region.handler
            if handler is not None:
                return handler(d, v, a)
    return Outcome.UNHANDLED, 0
