"""Clearing memory for its next owner: zeros that reach memory itself, since a guest begins with its caches off."""

from freestanding import Ptr, fn, u64, usize

from xenarm.arm.mmu import dcache_clean_invalidate
from xenarm.core.addresses import KIB, HostPhys

__all__ = ["memory_clear"]

MAPS_MEMORY = True

PIECE = 16 * KIB  # what is written and then cleaned: it fits into a first-level cache


@fn
def memory_clear(base: HostPhys, size: u64) -> None:
    """Make whole pages read as zero, for caches and without. They are mapped, and nobody else has them."""
    done = u64(0)
    while done < size:
        piece = min(size - done, u64(PIECE))
        Ptr[u64](usize(u64(base) + done)).slice(usize(piece // 8)).fill(0)
        dcache_clean_invalidate(HostPhys(u64(base) + done), piece)
        done += piece
