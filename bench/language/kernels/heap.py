"""A binary heap of deadlines: everything is put in, everything is taken out, the earliest first."""

from freestanding import Array, Ptr, Slice, Struct, View, array, export, fn, u32, u64, usize, wrapping_add, zeroed

MAPS_MEMORY = True
CAPACITY = 1024


class Timer(Struct, frozen=True):
    deadline: u64
    owner: u64


class Heap(Struct):
    count: usize
    timers: Array[Timer] = array(Timer, CAPACITY)


HEAP = zeroed(Heap)


@fn
def push(heap: Heap, timer: Timer) -> bool:
    """False when it is full."""
    if heap.count == CAPACITY:
        return False
    at = heap.count
    heap.count += 1
    while at > 0:
        parent = (at - 1) // 2
        if heap.timers[parent].deadline <= timer.deadline:
            break
        heap.timers[at] = heap.timers[parent]
        at = parent
    heap.timers[at] = timer
    return True


@fn
def pop(heap: Heap) -> Timer:
    """The earliest; the heap must not be empty."""
    first = heap.timers[0]
    heap.count -= 1
    last = heap.timers[heap.count]
    at = usize(0)
    child = usize(1)
    while child < heap.count:
        if child + 1 < heap.count and heap.timers[child + 1].deadline < heap.timers[child].deadline:
            child += 1
        if last.deadline <= heap.timers[child].deadline:
            break
        heap.timers[at] = heap.timers[child]
        at = child
        child = 2 * at + 1
    heap.timers[at] = last
    return first


@fn
def run(keys: View[u32], out: Slice[u64]) -> u64:
    owner = u64(0)
    for key in keys:
        push(HEAP, Timer(deadline=u64(key), owner=owner))
        owner += 1
    check = u64(0)
    for i in range(len(keys)):
        timer = pop(HEAP)
        out[i] = timer.deadline
        check = wrapping_add(check ^ timer.owner, timer.deadline)
    return check


@export("kernel")
def kernel(data: u64, size: u64, out: u64, seed: u64) -> u64:
    count = min(usize(size) // 4, CAPACITY)
    return run(Ptr[u32](usize(data)).slice(count), Ptr[u64](usize(out)).slice(count))
