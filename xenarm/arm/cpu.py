"""Which vCPU and which CPU this is: from the stack pointer, since every vCPU's stack lies in its own slot. Right at any exception level."""

from freestanding import IntEnum, Struct, fn, linker_symbol, truncate, u8, u32, usize, zeroed

from xenarm.arm.instructions import read_stack_pointer
from xenarm.core.domain import SLOTS, SLOT_SHIFT, Vcpu

__all__ = ["SHARING", "Harden", "cpu_index", "this_vcpu"]

SLOTS_START = linker_symbol("__slots_start")


class Harden(IntEnum, type=u8):
    """What a CPU does first when a guest leaves: nothing, a loop that replaces the branch history, a call of the firmware; on ARMv7, ICIALLU or BPIALL."""

    NONE = 0
    LOOP = 1
    CALL = 2
    ICACHE = 3
    PREDICTOR = 4


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
