"""Where EL2 finds RAM: all of it at its machine address."""

from freestanding import Ptr, View, fn, u8, u64, usize

__all__ = ["ram_at", "ram_run", "ram_write"]

MAPS_MEMORY = True


@fn(inline=True)
def ram_at(machine: u64) -> usize:
    return usize(machine)


@fn(inline=True)
def ram_run(machine: u64, size: u64) -> u64:
    return size


@fn(inline=True)
def ram_write(machine: u64, data: View[u8]) -> None:
    """Copy data there."""
    Ptr[u8](usize(machine)).slice(len(data)).copy_from(data)
