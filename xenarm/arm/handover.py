"""What a CPU that does not come by PSCI finds: whom the boot waits for, and what that one needs. Such a CPU comes with its caches off, and not always alone."""

from freestanding import Ptr, Struct, fn, linker_symbol, size_of, u32, u64, usize

from xenarm.abi.affinity import MPIDR_AFFINITY
from xenarm.arm.instructions import data_memory_barrier, data_sync_all, dcache_clean_invalidate_va
from xenarm.config import CONFIG
from xenarm.gic.controller import GIC

__all__ = ["ALONE", "Handover", "handover"]

MAPS_MEMORY = True

ALONE = linker_symbol("secondary_alone")
PLACE = linker_symbol("secondary_handover")
AFFINITY = MPIDR_AFFINITY if CONFIG.ARM64 else MPIDR_AFFINITY & 0xFFFF_FFFF


class Handover(Struct):
    """`awaited`: the MPIDR's affinities of the CPU that may go on; `secondary_alone` holds all others. The rest is for one out of reset."""

    awaited: u64
    number: u32
    gicd: u32
    gicc: u32
    hz: u32


assert size_of(Handover) == 24


@fn
def handover(mpidr: u64, number: u32) -> None:
    """Name the CPU that is to come, and its number."""
    h = Ptr[Handover](usize(PLACE)).ref()
    h.number = number
    if CONFIG.SOC_FROM_RESET:
        h.gicd = u32(GIC.gicd)
        h.gicc = u32(GIC.gicc)
    data_memory_barrier()
    h.awaited = mpidr & AFFINITY
    data_memory_barrier()
    dcache_clean_invalidate_va(u64(usize(PLACE)))
    data_sync_all()
