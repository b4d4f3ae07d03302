"""Zeroing pages that only CPUs with caches on look at: ARMv7 has no instruction for it, so it is stores of four registers."""

from freestanding import fn, operation, u64, usize

from xenarm.core.addresses import PAGE_SIZE

__all__ = ["page_zero"]

STORE = "stm {ret}!, {{r4, r5, r6, r8}}\n"  # r7 is the frame pointer


@operation(
    armv7=f"mov {{ret}}, {{base}}\nmov r4, #0\nmov r5, #0\nmov r6, #0\nmov r8, #0\n1: {STORE * 8}cmp {{ret}}, {{end}}\nblo 1b",
    clobbers=("r4", "r5", "r6", "r8", "memory", "cc"),
)
def zero_run(base: usize, end: usize) -> usize:
    """Zero 128 bytes at a time. The result means nothing."""
    from freestanding import hosted

    hosted.engine().memory.write(int(base), bytes(int(end) - int(base)))
    return end


@fn
def page_zero(page: u64) -> None:
    """Make a page read as zero, at an address that HYP mode has mapped."""
    _ = zero_run(usize(page), usize(page) + PAGE_SIZE)
