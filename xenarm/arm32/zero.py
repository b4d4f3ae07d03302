"""Zeroing pages that only CPUs with caches on look at: ARMv7 has no instruction for it."""

from freestanding import Ptr, fn, u64, usize

from xenarm.core.addresses import PAGE_SIZE

__all__ = ["page_zero"]

MAPS_MEMORY = True


@fn
def page_zero(page: u64) -> None:
    """Make a page read as zero, at an address that HYP mode has mapped."""
    Ptr[u64](usize(page)).slice(PAGE_SIZE // 8).fill(0)
