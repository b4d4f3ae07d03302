"""Which CPU this is: from the stack pointer, since every CPU's stack lies in its own slot. Right at any exception level."""

from freestanding import fn, linker_symbol, truncate, u32, u64, usize

from xenarm.arm64.instructions import read_stack_pointer
from xenarm.core.domain import CPU_SLOTS, SLOT_SHIFT, Vcpu

__all__ = ["cpu_index", "this_vcpu"]

SLOTS_START = linker_symbol("__slots_start")


@fn(inline=True)
def cpu_index() -> u32:
    """The running CPU's number, from 0."""
    return truncate(u32, (read_stack_pointer() - u64(usize(SLOTS_START))) >> SLOT_SHIFT)


@fn(inline=True)
def this_vcpu() -> Vcpu:
    """The vCPU that this CPU runs or could run."""
    return CPU_SLOTS[cpu_index()].vcpu
