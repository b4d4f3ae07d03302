"""Random numbers: the same seed gives the same sequence (xorshift64*, Vigna 2016)."""

from freestanding import Array, Struct, array, fn, u32, u64, wrapping_add, wrapping_mul, zeroed
from guests.runtime.link import MAX_CPUS

__all__ = ["dice_seed", "draw", "draw_below", "draw_value"]

MULTIPLIER = 0x2545_F491_4F6C_DD1D
GOLDEN = 0x9E37_79B9_7F4A_7C15


class Dice(Struct):
    """One state for each CPU."""

    state: Array[u64] = array(u64, MAX_CPUS)


DICE = zeroed(Dice)


@fn
def dice_seed(cpu: u32, seed: u64) -> None:
    """Start a CPU's sequence; the state must not be 0."""
    mixed = wrapping_mul(wrapping_add(seed, u64(1)), u64(GOLDEN))
    DICE.state[cpu] = mixed if mixed != 0 else u64(GOLDEN)


@fn
def draw(cpu: u32) -> u64:
    """64 random bits."""
    x = DICE.state[cpu]
    x ^= x >> 12
    x ^= x << 25
    x ^= x >> 27
    DICE.state[cpu] = x
    return wrapping_mul(x, u64(MULTIPLIER))


@fn
def draw_below(cpu: u32, limit: u32) -> u32:
    """From 0 to `limit` - 1."""
    return u32((draw(cpu) >> 32) % u64(limit))


@fn
def draw_value(cpu: u32) -> u64:
    """A value that likes to be at an edge: all zeros or ones, one bit, small, small and negative, or anything."""
    kind = draw_below(cpu, 8)
    value = draw(cpu)
    match kind:
        case 0:
            return 0
        case 1:
            return 0xFFFF_FFFF_FFFF_FFFF
        case 2:
            return u64(1) << (value & 63)
        case 3:
            return value & 0xFF
        case 4:
            return ~(value & 0xFF)
        case 5:
            return value & 0xFFFF_FFFF
        case _:
            return value
