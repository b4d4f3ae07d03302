"""Loads and stores that may abort, and system registers that may be undefined: the guest goes on behind them and knows of it.

`access64.py` and `access32.py` are the two architectures' parts.
"""

from typing import Any

from freestanding import external, fn, linker_symbol, operation, u32, u64, usize
from xenarm.arm.instructions import instruction_sync
from xenarm.config import CONFIG

if CONFIG.ARM64:
    from guests.walk.access64 import read_skipped, write_skipped, write_vectors
else:
    from guests.walk.access32 import read_skipped, write_skipped, write_vectors

__all__ = ["WIDTHS", "guarded_reader", "guarded_writer", "load", "skipped", "store", "vectors_own"]

WIDTHS = 4  # 1, 2, 4 and 8 bytes, by their logarithm
VECTORS_AT = linker_symbol("walk_vectors")


@external("walk_load")
def walk_load(address: u64, width: u64) -> u64:
    raise NotImplementedError("there is no machine here")


@external("walk_store")
def walk_store(address: u64, width: u64, value: u64) -> None:
    raise NotImplementedError("there is no machine here")


def guarded_reader(name: str, register: str) -> Any:
    """Reads a system register, which the assembler is given: `() -> u64`, 0 if that is undefined."""

    def model() -> u64:
        return u64(0)

    model.__name__ = model.__qualname__ = f"guarded_read_{name.lower()}"
    return operation(aarch64=f"mov {{ret}}, xzr\n    mrs {{ret}}, {register}")(model)


def guarded_writer(name: str, register: str) -> Any:
    """Writes one: `(value: u64) -> None`, and waits until it is seen."""

    def model(value: u64) -> None:
        return None

    model.__name__ = model.__qualname__ = f"guarded_write_{name.lower()}"
    return operation(aarch64=f"msr {register}, {{value}}\n    isb")(model)


@fn
def vectors_own() -> None:
    """On each CPU, before anything else of this module."""
    write_vectors(u64(usize(VECTORS_AT)))
    write_skipped(0)
    instruction_sync()


@fn
def skipped() -> bool:
    """Whether something had to be skipped since this was asked last."""
    found = read_skipped() != 0
    write_skipped(0)
    return found


@fn
def load(address: u64, width: u32) -> tuple[bool, u64]:
    """(It aborted, what was loaded). `width`: the logarithm."""
    value = walk_load(address, u64(width))
    aborted = skipped()
    return aborted, u64(0) if aborted else value


@fn
def store(address: u64, width: u32, value: u64) -> bool:
    """Whether it aborted."""
    walk_store(address, u64(width), value)
    return skipped()
