#include <stddef.h>
#include <stdint.h>

#define WORDS 64
#define BITS (WORDS * 64)

static uint64_t map[WORDS];

static size_t find_free(const uint64_t *m, size_t start)
{
    size_t word = start / 64;
    if (word >= WORDS)
        return BITS;
    uint64_t free = ~m[word] & ~0ull << start % 64;
    while (!free) {
        if (++word == WORDS)
            return BITS;
        free = ~m[word];
    }
    return word * 64 + __builtin_ctzll(free);
}

uint64_t kernel(uint64_t data, uint64_t size, uint64_t out, uint64_t seed)
{
    uint64_t state = seed, check = 0;
    for (uint64_t turn = 0; turn < size; turn++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        size_t bit = find_free(map, (state >> 33) % 512);
        if (bit < BITS) {
            map[bit / 64] |= 1ull << bit % 64;
            check += bit;
        }
        if (turn % 4 == 3) {
            bit = (state >> 50) % BITS;
            map[bit / 64] &= ~(1ull << bit % 64);
        }
    }
    return check;
}
