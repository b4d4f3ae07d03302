"""Where a domain's redistributors lie: in up to MOST_GICR_REGIONS regions, filled one after the other (Linux's binding arm,gic-v3.yaml)."""

from freestanding import fn, truncate, u32, u64

from xenarm.abi.affinity import NO_VCPU
from xenarm.core.domain import MOST_GICR_REGIONS, GuestLayout
from xenarm.gic.registers3 import Gicr

__all__ = ["gicr_add", "gicr_find", "gicr_is_last", "gicr_placed"]

FRAME_SHIFT = 17

assert 1 << FRAME_SHIFT == Gicr.FRAME


@fn
def gicr_placed(layout: GuestLayout) -> u32:
    """vCPUs whose redistributors have a place."""
    if layout.gicr_count == 0:
        return 0
    last = layout.gicr[layout.gicr_count - 1]
    return last.first + last.count


@fn
def gicr_add(layout: GuestLayout, base: u64, size: u64, vcpus: u32) -> None:
    """Use a region, if there is still need for one and room in it, for as many of so many vCPUs as fit."""
    placed = gicr_placed(layout)
    count = truncate(u32, min(size >> FRAME_SHIFT, u64(vcpus - placed)))
    if count > 0 and layout.gicr_count < MOST_GICR_REGIONS:
        region = layout.gicr[layout.gicr_count]
        region.base = base
        region.first = placed
        region.count = count
        layout.gicr_count += 1


@fn
def gicr_find(layout: GuestLayout, address: u64) -> tuple[u32, u32]:
    """(The vCPU whose redistributor is there, or NO_VCPU; the offset in it)."""
    for i in range(layout.gicr_count):
        region = layout.gicr[i]
        if address >= region.base and (address - region.base) >> FRAME_SHIFT < u64(region.count):
            offset = truncate(u32, address - region.base)
            return region.first + (offset >> FRAME_SHIFT), offset & (Gicr.FRAME - 1)
    return NO_VCPU, 0


@fn
def gicr_is_last(layout: GuestLayout, vcpu: u32) -> bool:
    """Whether a vCPU's redistributor is the last of its region (GICR_TYPER.Last)."""
    for i in range(layout.gicr_count):
        if vcpu + 1 == layout.gicr[i].first + layout.gicr[i].count:
            return True
    return False
