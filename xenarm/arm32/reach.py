"""RAM that HYP mode has no address for, behind the image's space and beyond 4 GiB: each CPU sees a page of it at a time, at an address of its own.

Only guests' memory lies there. EL2 comes to it to clear it, to load it, and to read and write what a guest shares with it.
"""

from freestanding import Ptr, View, fn, linker_symbol, u8, u64, usize

from xenarm.arm.cpu import cpu_index
from xenarm.arm.image_map import image_entry, image_entry_set
from xenarm.arm.instructions import data_sync_inner, data_sync_inner_stores, instruction_sync, tlb_invalidate_el2_va
from xenarm.arm.layout import DATA, Stage1Entry
from xenarm.core.addresses import DIRECT_END, PAGE_SHIFT, PAGE_SIZE

__all__ = ["ram_at", "ram_run", "ram_write"]

MAPS_MEMORY = True

SHOWN = linker_symbol("__shown_start")
PAGE = DATA | int(Stage1Entry(TABLE=True))
OFFSET = PAGE_SIZE - 1


@fn
def show(at: usize, entry: u64) -> None:
    """Another page in this CPU's place: break before make (Arm ARM B3.10.1), as other CPUs may have looked it up by speculation."""
    image_entry_set(at, 0)
    data_sync_inner_stores()
    tlb_invalidate_el2_va(u64(at))
    data_sync_inner()
    image_entry_set(at, entry)
    data_sync_inner_stores()
    instruction_sync()


@fn
def ram_at(machine: u64) -> usize:
    """Where this CPU finds a byte of RAM, and what follows it in its page, until it asks for another one."""
    if machine < DIRECT_END:
        return usize(machine)
    at = usize(SHOWN) + (usize(cpu_index()) << PAGE_SHIFT)
    entry = machine & ~u64(OFFSET) | PAGE
    if image_entry(at) != entry:
        show(at, entry)
    return at + usize(machine & OFFSET)


@fn
def ram_run(machine: u64, size: u64) -> u64:
    """How much of a range `ram_at` its beginning shows: all of it, or what is left of the page."""
    return size if machine < DIRECT_END else min(size, PAGE_SIZE - (machine & OFFSET))


@fn
def ram_write(machine: u64, data: View[u8]) -> None:
    """Copy data there."""
    at = machine
    rest = data
    while len(rest) > 0:
        run = usize(ram_run(at, u64(len(rest))))
        Ptr[u8](ram_at(at)).slice(run).copy_from(rest[:run])
        at += u64(run)
        rest = rest[run:]
