#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEVELS 64
#define TASKS 32

struct task {
    struct task *next, *previous;
    uint32_t level;
    bool queued;
    uint32_t id;
};

struct level {
    struct task *first, *last;
};

struct queue {
    uint64_t ready;
    struct level levels[LEVELS];
};

#define TASK(n) {.level = (n) * 37 % LEVELS / 4 * 4, .id = (n)}
#define FOUR(n) TASK(n), TASK((n) + 1), TASK((n) + 2), TASK((n) + 3)

static struct queue queue;
static struct task tasks[TASKS] = {FOUR(0), FOUR(4), FOUR(8), FOUR(12), FOUR(16), FOUR(20), FOUR(24), FOUR(28)};

static void enqueue(struct queue *q, struct task *task)
{
    struct level *level = &q->levels[task->level];
    task->previous = level->last;
    task->next = NULL;
    if (level->last) {
        level->last->next = task;
    } else {
        level->first = task;
        q->ready |= 1ull << task->level;
    }
    level->last = task;
    task->queued = true;
}

static void dequeue(struct queue *q, struct task *task)
{
    struct level *level = &q->levels[task->level];
    if (task->previous)
        task->previous->next = task->next;
    else
        level->first = task->next;
    if (task->next)
        task->next->previous = task->previous;
    else
        level->last = task->previous;
    if (!level->first)
        q->ready &= ~(1ull << task->level);
    task->queued = false;
}

static struct task *pick(struct queue *q)
{
    if (!q->ready)
        return NULL;
    struct task *first = q->levels[__builtin_ctzll(q->ready)].first;
    if (first) {
        dequeue(q, first);
        enqueue(q, first);
    }
    return first;
}

uint64_t kernel(uint64_t data, uint64_t size, uint64_t out, uint64_t seed)
{
    uint64_t state = seed, check = 0;
    for (uint64_t turn = 0; turn < size; turn++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        struct task *task = &tasks[(state >> 33) % TASKS];
        if (task->queued)
            dequeue(&queue, task);
        else
            enqueue(&queue, task);
        if (turn % 2 == 1) {
            struct task *best = pick(&queue);
            if (best)
                check = check * 31 + best->id;
        }
    }
    return check;
}
