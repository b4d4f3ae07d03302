"""An allocator's bitmap: find a free bit from a hint on, take it, now and then give one back."""

from freestanding import Array, Struct, array, ctz, export, fn, u32, u64, usize, wrapping_add, wrapping_mul, zeroed

WORDS = 64
BITS = WORDS * 64


class Bitmap(Struct):
    words: Array[u64] = array(u64, WORDS)


MAP = zeroed(Bitmap)


@fn
def find_free(m: Bitmap, start: usize) -> usize:
    """The first clear bit from `start` on; BITS when there is none."""
    word = start // 64
    if word >= WORDS:
        return BITS
    free = ~m.words[word] & (u64(0xFFFF_FFFF_FFFF_FFFF) << (start % 64))
    while free == 0:
        word += 1
        if word == WORDS:
            return BITS
        free = ~m.words[word]
    return word * 64 + usize(ctz(free))


@fn
def take(m: Bitmap, bit: usize) -> None:
    m.words[bit // 64] |= u64(1) << (bit % 64)


@fn
def give_back(m: Bitmap, bit: usize) -> None:
    m.words[bit // 64] &= ~(u64(1) << (bit % 64))


@export("kernel")
def kernel(data: u64, size: u64, out: u64, seed: u64) -> u64:
    state = seed
    check = u64(0)
    for turn in range(size):
        state = wrapping_add(wrapping_mul(state, u64(6364136223846793005)), u64(1442695040888963407))
        hint = usize(state >> 33) % 512
        bit = find_free(MAP, hint)
        if bit < BITS:
            take(MAP, bit)
            check = wrapping_add(check, u64(bit))
        if turn % 4 == 3:
            give_back(MAP, usize(state >> 50) % BITS)
    return check
