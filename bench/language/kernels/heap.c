#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAPACITY 1024

struct timer {
    uint64_t deadline, owner;
};

static struct heap {
    size_t count;
    struct timer timers[CAPACITY];
} heap;

static bool push(struct heap *h, struct timer timer)
{
    if (h->count == CAPACITY)
        return false;
    size_t at = h->count++;
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (h->timers[parent].deadline <= timer.deadline)
            break;
        h->timers[at] = h->timers[parent];
        at = parent;
    }
    h->timers[at] = timer;
    return true;
}

static struct timer pop(struct heap *h)
{
    struct timer first = h->timers[0];
    struct timer last = h->timers[--h->count];
    size_t at = 0;
    for (size_t child = 1; child < h->count; child = 2 * at + 1) {
        if (child + 1 < h->count && h->timers[child + 1].deadline < h->timers[child].deadline)
            child++;
        if (last.deadline <= h->timers[child].deadline)
            break;
        h->timers[at] = h->timers[child];
        at = child;
    }
    h->timers[at] = last;
    return first;
}

uint64_t kernel(uint64_t data, uint64_t size, uint64_t out, uint64_t seed)
{
    const uint32_t *keys = (const uint32_t *)data;
    uint64_t *sorted = (uint64_t *)out;
    size_t count = size / 4 < CAPACITY ? size / 4 : CAPACITY;
    for (size_t i = 0; i < count; i++)
        push(&heap, (struct timer){keys[i], i});
    uint64_t check = 0;
    for (size_t i = 0; i < count; i++) {
        struct timer timer = pop(&heap);
        sorted[i] = timer.deadline;
        check = (check ^ timer.owner) + timer.deadline;
    }
    return check;
}
