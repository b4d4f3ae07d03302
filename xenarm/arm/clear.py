"""Clearing memory for its next owner: zeros that reach memory itself, since a guest begins with its caches off."""

from freestanding import fn, u64

from xenarm.arm.hw import page_zero
from xenarm.arm.instructions import data_sync_all
from xenarm.arm.mmu import cache_line, clean_invalidate
from xenarm.arm.reach import ram_at, ram_run
from xenarm.core.addresses import KIB, PAGE_SIZE, HostPhys

__all__ = ["memory_clear"]

PIECE = 16 * KIB  # what is written and then cleaned: it fits into a first-level cache


@fn
def memory_clear(base: HostPhys, size: u64) -> None:
    """Make whole pages read as zero, for caches and without. Nobody else has them."""
    line = cache_line()
    done = u64(0)
    while done < size:
        run = ram_run(u64(base) + done, min(size - done, u64(PIECE)))
        at = u64(ram_at(u64(base) + done))
        for n in range(run // PAGE_SIZE):
            page_zero(at + n * PAGE_SIZE)
        clean_invalidate(at, run, line)
        data_sync_all()
        done += run
