"""Quicksort with the median of three, an explicit stack, and insertion sort for short runs."""

from freestanding import Array, Ptr, Slice, Struct, View, array, export, fn, u32, u64, usize, zeroed

MAPS_MEMORY = True
SHORT = 12
DEPTH = 64


class Stack(Struct):
    """Runs still to be sorted: first and last index."""

    depth: usize
    low: Array[usize] = array(usize, DEPTH)
    high: Array[usize] = array(usize, DEPTH)


@fn
def insertion(a: Slice[u32], low: usize, high: usize) -> None:
    for i in range(low + 1, high + 1):
        value = a[i]
        at = i
        while at > low and a[at - 1] > value:
            a[at] = a[at - 1]
            at -= 1
        a[at] = value


@fn
def swap(a: Slice[u32], i: usize, j: usize) -> None:
    kept = a[i]
    a[i] = a[j]
    a[j] = kept


@fn
def pivot(a: Slice[u32], low: usize, high: usize) -> u32:
    """The median of three, with the others on their sides of it."""
    middle = low + (high - low) // 2
    if a[middle] < a[low]:
        swap(a, middle, low)
    if a[high] < a[low]:
        swap(a, high, low)
    if a[high] < a[middle]:
        swap(a, high, middle)
    return a[middle]


@fn
def partition(a: Slice[u32], low: usize, high: usize) -> usize:
    """The last index of the lower part (Hoare)."""
    value = pivot(a, low, high)
    i = low
    j = high
    while True:
        while a[i] < value:
            i += 1
        while a[j] > value:
            j -= 1
        if i >= j:
            return j
        swap(a, i, j)
        i += 1
        j -= 1


@fn
def push(stack: Stack, low: usize, high: usize) -> None:
    stack.low[stack.depth] = low
    stack.high[stack.depth] = high
    stack.depth += 1


@fn
def quicksort(a: Slice[u32]) -> None:
    stack = zeroed(Stack)
    push(stack, 0, len(a) - 1)
    while stack.depth > 0:
        stack.depth -= 1
        low = stack.low[stack.depth]
        high = stack.high[stack.depth]
        while high - low >= SHORT:
            at = partition(a, low, high)
            if at - low > high - at:
                push(stack, low, at)
                low = at + 1
            else:
                push(stack, at + 1, high)
                high = at
        insertion(a, low, high)


@fn
def copied(to: Slice[u32], source: View[u32]) -> Slice[u32]:
    to.copy_from(source)
    return to


@export("kernel")
def kernel(data: u64, size: u64, out: u64, seed: u64) -> u64:
    count = usize(size) // 4
    a = copied(Ptr[u32](usize(out)).slice(count), Ptr[u32](usize(data)).slice(count))
    quicksort(a)
    return u64(a[count // 2])
