#include <stddef.h>
#include <stdint.h>

static void copy(uint8_t *to, const uint8_t *from, size_t size)
{
    size_t at = 0;
    for (; size - at >= 8; at += 8) {
        uint64_t word;
        __builtin_memcpy(&word, from + at, 8);
        __builtin_memcpy(to + at, &word, 8);
    }
    for (; at < size; at++)
        to[at] = from[at];
}

uint64_t kernel(uint64_t data, uint64_t size, uint64_t out, uint64_t seed)
{
    copy((uint8_t *)out, (const uint8_t *)data, size);
    return size;
}
