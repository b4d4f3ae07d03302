"""Clearing memory for its next owner: zeros that reach memory itself, since a guest begins with its caches off."""

from freestanding import fn, u64

from xenarm.arm.hw import page_zero
from xenarm.arm.mmu import dcache_clean_invalidate
from xenarm.core.addresses import KIB, PAGE_SIZE, HostPhys

__all__ = ["memory_clear"]

PIECE = 16 * KIB  # what is written and then cleaned: it fits into a first-level cache


@fn
def memory_clear(base: HostPhys, size: u64) -> None:
    """Make whole pages read as zero, for caches and without. They are mapped, and nobody else has them."""
    done = u64(0)
    while done < size:
        piece = min(size - done, u64(PIECE))
        page = u64(base) + done
        for n in range(piece // PAGE_SIZE):
            page_zero(page + n * PAGE_SIZE)
        dcache_clean_invalidate(HostPhys(page), piece)
        done += piece
