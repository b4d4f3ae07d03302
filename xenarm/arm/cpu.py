"""Which vCPU and which CPU this is: from the stack pointer, since every vCPU's stack lies in its own slot. Right at any exception level."""

from freestanding import Struct, fn, linker_symbol, truncate, u32, usize, zeroed

from xenarm.arm.instructions import read_stack_pointer
from xenarm.core.domain import SLOTS, SLOT_SHIFT, Vcpu

__all__ = ["SHARING", "cpu_index", "this_vcpu"]

SLOTS_START = linker_symbol("__slots_start")


class Sharing(Struct):
    """Whether vCPUs take turns on CPUs: under any scheduler but `null`. Fixed before the first one runs."""

    on: bool


SHARING = zeroed(Sharing)


@fn(inline=True)
def this_vcpu() -> Vcpu:
    """The vCPU whose registers this CPU has; one without a domain when it has none."""
    return SLOTS[truncate(u32, (read_stack_pointer() - usize(SLOTS_START)) >> SLOT_SHIFT)].vcpu


@fn(inline=True)
def cpu_index() -> u32:
    """The running CPU's number, from 0."""
    return this_vcpu().cpu
