"""Where EL2 finds RAM: all of it at its machine address."""

from freestanding import fn, u64, usize

__all__ = ["ram_at", "ram_run"]


@fn(inline=True)
def ram_at(machine: u64) -> usize:
    return usize(machine)


@fn(inline=True)
def ram_run(machine: u64, size: u64) -> u64:
    return size
