"""A run queue by priority: a bitmap of levels with a doubly linked list each, and round robin within a level."""

from freestanding import Array, Struct, array, ctz, export, fn, u32, u64, usize, wrapping_add, wrapping_mul, zeroed

LEVELS = 64
TASKS = 32


class Task(Struct):
    next: "Task | None"
    previous: "Task | None"
    level: u32
    queued: bool
    id: u32


class Level(Struct):
    first: Task | None
    last: Task | None


class Queue(Struct):
    ready: u64  # a bit for each level that has tasks
    levels: Array[Level] = array(Level, LEVELS)


QUEUE = zeroed(Queue)
ALL_TASKS = array(Task, TASKS)
for number in range(TASKS):
    ALL_TASKS[number].id = number
    ALL_TASKS[number].level = number * 37 % LEVELS // 4 * 4


@fn
def enqueue(q: Queue, task: Task) -> None:
    """At the end of its level."""
    level = q.levels[task.level]
    last = level.last
    task.previous = last
    task.next = None
    if last is None:
        level.first = task
        q.ready |= u64(1) << task.level
    else:
        last.next = task
    level.last = task
    task.queued = True


@fn
def dequeue(q: Queue, task: Task) -> None:
    level = q.levels[task.level]
    before = task.previous
    after = task.next
    if before is None:
        level.first = after
    else:
        before.next = after
    if after is None:
        level.last = before
    else:
        after.previous = before
    if level.first is None:
        q.ready &= ~(u64(1) << task.level)
    task.queued = False


@fn
def pick(q: Queue) -> Task | None:
    """The first of the most urgent level, which goes to its end."""
    if q.ready == 0:
        return None
    first = q.levels[ctz(q.ready)].first
    if first is not None:
        dequeue(q, first)
        enqueue(q, first)
    return first


@export("kernel")
def kernel(data: u64, size: u64, out: u64, seed: u64) -> u64:
    state = seed
    check = u64(0)
    for turn in range(size):
        state = wrapping_add(wrapping_mul(state, u64(6364136223846793005)), u64(1442695040888963407))
        task = ALL_TASKS[(state >> 33) % TASKS]
        if task.queued:
            dequeue(QUEUE, task)
        else:
            enqueue(QUEUE, task)
        if turn % 2 == 1:
            best = pick(QUEUE)
            if best is not None:
                check = wrapping_add(wrapping_mul(check, u64(31)), u64(best.id))
    return check
