"""Clearing memory for its next owner: zeros that reach memory itself, since a guest begins with its caches off."""

from freestanding import Ptr, fn, operation, u64, usize

from xenarm.arm64.instructions import data_sync_all
from xenarm.arm64.mmu import cache_line, dcache_clean_invalidate
from xenarm.arm64.zero import zero_block
from xenarm.core.addresses import KIB, HostPhys

__all__ = ["arch_memory_clear"]

MAPS_MEMORY = True

UNROLLED = 4 * KIB // 4  # whole pages are whole fours of blocks up to this size
PIECE = 16 * KIB  # what is written and then cleaned: it fits into a first-level cache


def _write_zeros(base: int, size: int) -> None:
    from freestanding import hosted

    hosted.engine().memory.write(base, bytes(size))


STEP = "dc zva, {ret}\ndc civac, {ret}\nadd {ret}, {ret}, {block}\n"


@operation(aarch64=f"mov {{ret}}, {{base}}\n1: {STEP * 4}cmp {{ret}}, {{end}}\nb.lo 1b", clobbers=("memory", "cc"))
def zero_blocks(base: u64, end: u64, block: u64) -> u64:
    """Zero and write back four blocks at a time, `block` being both DC ZVA's size and a cache line's. The result means nothing."""
    _write_zeros(int(base), int(end) - int(base))
    return end


@fn
def arch_memory_clear(base: HostPhys, size: u64) -> None:
    """Make whole pages read as zero, for caches and without. They are mapped, and nobody else has them."""
    block = zero_block()
    if block == cache_line() and block <= UNROLLED:
        _ = zero_blocks(u64(base), u64(base) + size, block)
        data_sync_all()
        return
    done = u64(0)
    while done < size:
        piece = min(size - done, u64(PIECE))
        Ptr[u64](usize(u64(base) + done)).slice(usize(piece // 8)).fill(0)
        dcache_clean_invalidate(HostPhys(u64(base) + done), piece)
        done += piece
