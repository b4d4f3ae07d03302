"""Clearing memory by DC ZVA, where it may be used."""

from freestanding import fn, operation, u64

from xenarm.arm.instructions import data_sync_all
from xenarm.arm.clear import memory_clear
from xenarm.arm.mmu import cache_line
from xenarm.arm64.zero import zero_block
from xenarm.core.addresses import KIB, HostPhys

__all__ = ["arch_memory_clear"]

UNROLLED = 4 * KIB // 4  # whole pages are whole fours of blocks up to this size


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
    """Make whole pages read as zero, for caches and without. Nobody else has them."""
    block = zero_block()
    if block == cache_line() and block <= UNROLLED:
        _ = zero_blocks(u64(base), u64(base) + size, block)
        data_sync_all()
        return
    memory_clear(base, size)
