"""Whom affinities name, by the tree: the CPUs of a target list, and affinities that nobody has."""

from freestanding import fn, table, truncate, u32, u64
from guests.runtime.interrupts import SGI_PING
from guests.runtime.machine import MACHINE
from xenarm.gic.registers3 import IccSgi

__all__ = ["LEVELS", "NOT_AFFINITIES", "highest", "nobody_beside", "sgi_to_list", "targets_of", "with_level"]

LEVELS = table(u32, [0, 8, 16, 32])
"""Where MPIDR_EL1 has each level."""

NOT_AFFINITIES = table(u64, [0x100_0000, 0x8000_0000, 0x100_0000_0000])
"""Bits of a CPU_ON's target that are none."""

LIST_BITS = 4
LEVEL = 0xFF


@fn
def with_level(affinity: u64, shift: u32, value: u32) -> u64:
    """The same affinities but for one level."""
    return affinity & ~(u64(LEVEL) << shift) | u64(value) << shift


@fn
def highest(shift: u32) -> u32:
    """The largest value of a level that a CPU has."""
    most = u32(0)
    for number in range(MACHINE.cpus):
        most = max(most, truncate(u32, MACHINE.mpidr[number] >> shift) & LEVEL)
    return most


@fn
def is_somebody(affinity: u64) -> bool:
    for number in range(MACHINE.cpus):
        if MACHINE.mpidr[number] == affinity:
            return True
    return False


@fn
def nobody_beside(affinity: u64, shift: u32) -> u64:
    """The first affinities that differ from these in one level alone, and that nobody has; these, if all are somebody's."""
    for value in range(u32(LEVEL + 1)):
        found = with_level(affinity, shift, value)
        if not is_somebody(found):
            return found
    return affinity


@fn
def targets_of(affinity: u64) -> u32:
    """Which bits of the target list that these affinities belong to name a CPU."""
    found = u32(0)
    for number in range(MACHINE.cpus):
        other = MACHINE.mpidr[number]
        if other >> LIST_BITS == affinity >> LIST_BITS:
            found |= u32(1) << (truncate(u32, other) & ((1 << LIST_BITS) - 1))
    return found


@fn
def sgi_to_list(affinity: u64, targets: u32) -> u64:
    """What to store for an SGI to some of the target list that these affinities belong to (ARM IHI 0069, ICC_SGI1R_EL1)."""
    low = truncate(u32, affinity)
    sgi = IccSgi(
        TARGETS=targets,
        AFF1=low >> 8 & LEVEL,
        INTID=SGI_PING,
        AFF2=low >> 16 & LEVEL,
        IRM=False,
        RS=low >> LIST_BITS & 0xF,
        AFF3=truncate(u32, affinity >> 32) & LEVEL,
    )
    return sgi.raw
