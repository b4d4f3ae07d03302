"""How often the guest has begun: a counter in RAM that no module fills, which a restart of the domain leaves as it was."""

from freestanding import Ptr, Struct, fn, linker_symbol, u64, usize

__all__ = ["life_begin"]

MAPS_MEMORY = True

IMAGE_START = linker_symbol("__image_start")
BEYOND = 1024 * 1024  # the image's end, in the block of 2 MiB that is its own
MAGIC = 0x6C69_7665_735F_6F66


class Lives(Struct):
    """`magic`: somebody has counted here before."""

    magic: u64
    count: u64


@fn
def life_begin() -> u64:
    """Number of this life, from 0."""
    lives = Ptr[Lives](usize(IMAGE_START) + BEYOND).ref()
    if lives.magic != MAGIC:
        lives.magic = MAGIC
        lives.count = 0
    else:
        lives.count += 1
    return lives.count
