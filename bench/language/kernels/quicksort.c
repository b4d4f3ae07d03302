#include <stddef.h>
#include <stdint.h>

#define SHORT 12
#define DEPTH 64

void *memcpy(void *, const void *, size_t);

static void insertion(uint32_t *a, size_t low, size_t high)
{
    for (size_t i = low + 1; i <= high; i++) {
        uint32_t value = a[i];
        size_t at = i;
        for (; at > low && a[at - 1] > value; at--)
            a[at] = a[at - 1];
        a[at] = value;
    }
}

static void swap(uint32_t *a, size_t i, size_t j)
{
    uint32_t kept = a[i];
    a[i] = a[j];
    a[j] = kept;
}

static size_t partition(uint32_t *a, size_t low, size_t high)
{
    size_t middle = low + (high - low) / 2;
    if (a[middle] < a[low])
        swap(a, middle, low);
    if (a[high] < a[low])
        swap(a, high, low);
    if (a[high] < a[middle])
        swap(a, high, middle);
    uint32_t value = a[middle];
    size_t i = low, j = high;
    for (;;) {
        while (a[i] < value)
            i++;
        while (a[j] > value)
            j--;
        if (i >= j)
            return j;
        swap(a, i++, j--);
    }
}

static void quicksort(uint32_t *a, size_t count)
{
    size_t lows[DEPTH], highs[DEPTH], depth = 0;
    lows[depth] = 0;
    highs[depth++] = count - 1;
    while (depth > 0) {
        size_t low = lows[--depth], high = highs[depth];
        while (high - low >= SHORT) {
            size_t at = partition(a, low, high);
            if (at - low > high - at) {
                lows[depth] = low;
                highs[depth++] = at;
                low = at + 1;
            } else {
                lows[depth] = at + 1;
                highs[depth++] = high;
                high = at;
            }
        }
        insertion(a, low, high);
    }
}

uint64_t kernel(uint64_t data, uint64_t size, uint64_t out, uint64_t seed)
{
    uint32_t *a = (uint32_t *)out;
    size_t count = size / 4;
    memcpy(a, (const void *)data, size);
    quicksort(a, count);
    return a[count / 2];
}
