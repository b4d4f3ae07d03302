"""The end of the boot: what only it used becomes free memory."""

from freestanding import Struct, address_of, fn, linker_symbol, u64, usize, zeroed

from xenarm.arm.mmu import image_physical, image_size, mmu_release, pool_close, pool_left
from xenarm.core.addresses import PAGE_SIZE, HostPhys
from xenarm.core.domain import FIRST_SLOT_MEMORY, SLOT_MEMORY, SLOTS
from xenarm.core.fault import HOST_TREE
from xenarm.core.memory import pages_free
from xenarm.devicetree.reader import fdt_bytes

__all__ = ["boot_is_over", "image_kept", "once_release"]

MAPS_MEMORY = True

TEXT_START = linker_symbol("__once_text_start")
CONSTANTS_END = linker_symbol("__once_rodata_end")
DATA_START = linker_symbol("__kept_end")
DATA_END = linker_symbol("__once_data_end")
TREE_END = linker_symbol("__tree_end")  # where the first slot's memory begins
DEEP_STACK = FIRST_SLOT_MEMORY - SLOT_MEMORY


class Once(Struct):
    """Whether the boot is over."""

    over: bool


STATE = zeroed(Once)


@fn
def boot_is_over() -> bool:
    """From now on nothing of `.once` may be looked at."""
    return STATE.over


@fn
def tree_left() -> usize:
    """Where the room for the device tree's nodes goes on after the last one."""
    return (address_of(HOST_TREE) + fdt_bytes(HOST_TREE) + (PAGE_SIZE - 1)) & ~usize(PAGE_SIZE - 1)


@fn
def image_kept() -> u64:
    """Bytes of the image that stay after the boot."""
    boots = usize(CONSTANTS_END) - usize(TEXT_START) + (usize(DATA_END) - usize(DATA_START))
    return image_size() - u64(boots + len(pool_left()) + (usize(TREE_END) - tree_left()) + DEEP_STACK)


@fn
def release(first: usize, end: usize, at: usize) -> None:
    if first < end:
        mmu_release(first, end, at)
        pages_free(HostPhys(image_physical(first)), u64(end - first) // PAGE_SIZE)


@fn
def once_release() -> None:
    """Give back the boot's own code, constants and data, the table pages that it did not need, and the lower part of the first CPU's stack.

    Called once, from code that stays, not deep in the stack.
    """
    STATE.over = True
    pool_close()
    left = pool_left()
    release(usize(TEXT_START), usize(CONSTANTS_END), usize(TEXT_START))
    release(usize(DATA_START), usize(DATA_END), usize(DATA_START))
    release(address_of(left), address_of(left) + len(left), address_of(left))
    release(tree_left(), usize(TREE_END), tree_left())
    release(usize(TREE_END), usize(TREE_END) + DEEP_STACK, address_of(SLOTS[0].stack) - DEEP_STACK)
