"""Zeroing pages by the cache's own instruction (DC ZVA), for what only CPUs with caches on look at: tables, stacks, the hypervisor's own data."""

from freestanding import Ptr, fn, operation, u64, usize

from xenarm.arm64.registers import read_dczid_el0
from xenarm.core.addresses import PAGE_SIZE

__all__ = ["page_zero", "zero_block"]

MAPS_MEMORY = True

FORBIDDEN = 1 << 4  # DCZID_EL0.DZP: DC ZVA traps or is undefined
UNROLLED = PAGE_SIZE // 8
STEP = "dc zva, {ret}\nadd {ret}, {ret}, {block}\n"


@operation(aarch64=f"mov {{ret}}, {{base}}\n1: {STEP * 8}cmp {{ret}}, {{end}}\nb.lo 1b", clobbers=("memory", "cc"))
def zero_eight_blocks(base: u64, end: u64, block: u64) -> u64:
    """Zero eight blocks at a time. The result means nothing."""
    from freestanding import hosted

    hosted.engine().memory.write(int(base), bytes(int(end) - int(base)))
    return end


@fn
def zero_block() -> u64:
    """What DC ZVA zeroes, in bytes; 0 when it may not be used (Arm ARM D19.2.34)."""
    dczid = read_dczid_el0()
    return u64(0) if dczid & FORBIDDEN != 0 else u64(4) << (dczid & 0xF)


@fn
def page_zero(page: u64) -> None:
    """Make a page read as zero, at an address that EL2 has mapped."""
    block = zero_block()
    if block != 0 and block <= UNROLLED:
        _ = zero_eight_blocks(page, page + PAGE_SIZE, block)
    else:
        Ptr[u64](usize(page)).slice(PAGE_SIZE // 8).fill(0)
