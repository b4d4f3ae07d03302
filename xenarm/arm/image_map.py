"""The level 3 tables that map the image and its window: their entries, by address."""

from freestanding import Ptr, Slice, fn, linker_symbol, u64, usize

from xenarm.arm.layout import ENTRIES, IMAGE_TABLE, IMAGE_TABLES
from xenarm.core.addresses import PAGE_SHIFT, PAGE_SIZE

__all__ = ["image_entry", "image_entry_set", "image_pages"]

MAPS_MEMORY = True

IMAGE_START = linker_symbol("__image_start")
BOOT_TABLES = linker_symbol("boot_tables")


@fn(inline=True)
def image_pages() -> Slice[u64]:
    """The tables, one behind the other."""
    return Ptr[u64](usize(BOOT_TABLES) + IMAGE_TABLE * PAGE_SIZE).slice(IMAGE_TABLES * ENTRIES)


@fn(inline=True)
def image_entry(virtual: usize) -> u64:
    """What maps an address in the image or its window."""
    return image_pages()[(virtual - usize(IMAGE_START)) >> PAGE_SHIFT]


@fn(inline=True)
def image_entry_set(virtual: usize, descriptor: u64) -> None:
    image_pages()[(virtual - usize(IMAGE_START)) >> PAGE_SHIFT] = descriptor
