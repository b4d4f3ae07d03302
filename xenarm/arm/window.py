"""The window behind the image: addresses of stacks and domains, which get memory one by one, when they are first used.

So the configuration's largest numbers cost addresses and no memory. A domain or a vCPU that is not reads as zero, from a page that all of
them share, and cannot be written: a compiler may look at any static before it knows that it has to. The pages below a stack are never mapped.
"""

from collections.abc import Callable

from freestanding import Array, Struct, address_of, array, fn, u32, u64, usize, zeroed

from xenarm.arm.image_map import image_entry, image_entry_set
from xenarm.arm.instructions import data_sync_inner, data_sync_inner_stores, instruction_sync, tlb_invalidate_el2
from xenarm.arm.layout import DATA, Stage1Entry
from xenarm.core.addresses import PAGE_SIZE, HostPhys
from xenarm.core.domain import SLOT_COUNT, SLOT_MEMORY, SLOTS
from xenarm.core.result import Result

__all__ = ["slot_claim", "slot_is_used", "window_bytes", "window_claim", "window_pages_from"]

MAPS_MEMORY = True

READ_ONLY = int(Stage1Entry(READ_ONLY=True))
PAGE = DATA | int(Stage1Entry(TABLE=True))


class Window(Struct):
    """What has memory, and from where: an allocator of pages of zeros, once there is one."""

    take: Callable[[], HostPhys] | None
    pages: u64
    slots: Array[bool] = array(bool, SLOT_COUNT)


WINDOW = zeroed(Window)


@fn
def window_pages_from(take: Callable[[], HostPhys]) -> None:
    """Where its pages come from: each of zeros, 0 for none left."""
    WINDOW.take = take


@fn
def give_page(virtual: usize) -> Result:
    """A page of zeros for an address that has none: break before make, since the shared page may be in a TLB (Arm ARM D8.14.1)."""
    before = image_entry(virtual)
    if before != 0 and before & READ_ONLY == 0:
        return Result.OK
    take = WINDOW.take
    page = take() if take is not None else HostPhys(0)
    if u64(page) == 0:
        return Result.NO_MEMORY
    if before != 0:
        image_entry_set(virtual, 0)
        data_sync_inner_stores()
        tlb_invalidate_el2()
        data_sync_inner()
    image_entry_set(virtual, u64(page) | PAGE)
    data_sync_inner_stores()
    instruction_sync()
    WINDOW.pages += 1
    return Result.OK


@fn
def window_claim(start: usize, size: usize) -> Result:
    """See that addresses of the window have memory of their own, zero at first; the first to use them says so. Boot only: not locked.

    NO_MEMORY: there are no pages left; those already given stay.
    """
    at = start & ~usize(PAGE_SIZE - 1)
    while at < start + size:
        result = give_page(at)
        if result != Result.OK:
            return result
        at += PAGE_SIZE
    return Result.OK


@fn
def slot_claim(number: u32) -> Result:
    """The same for a slot: its stack and its vCPU. The first one's memory is the image's own."""
    if number == 0 or WINDOW.slots[number]:
        WINDOW.slots[number] = True
        return Result.OK
    result = window_claim(address_of(SLOTS[number].stack), SLOT_MEMORY)
    WINDOW.slots[number] = result == Result.OK
    return result


@fn
def slot_is_used(number: u32) -> bool:
    return number == 0 or (number < SLOT_COUNT and WINDOW.slots[number])


@fn
def window_bytes() -> u64:
    """The memory that was given."""
    return WINDOW.pages * PAGE_SIZE
