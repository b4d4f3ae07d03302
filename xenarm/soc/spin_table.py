"""CPUs that firmware left spinning on a word of memory (Linux's Documentation/arm64/booting.rst; Devicetree Specification 3.8.1).

The word may be one CPU's or everybody's, and lies in memory that firmware keeps or in RAM: `arm64/head.py` sorts out who was meant.
"""

from freestanding import fn, u64

from xenarm.arm.instructions import data_sync_all, mmio_write64, send_event
from xenarm.arm.mmu import dcache_clean_invalidate, mmu_map_ram
from xenarm.core.addresses import DIRECT_END, PAGE_SIZE, HostPhys
from xenarm.core.result import Result
from xenarm.devicetree.reader import Fdt, Node
from xenarm.devicetree.values import fdt_string, fdt_u64
from xenarm.soc.registers import Started

__all__ = ["spin_release", "spin_start", "spins"]

WORD = 8


@fn
def spins(fdt: Fdt, cpu: Node) -> bool:
    sound, method = fdt_string(fdt, cpu, b"enable-method")
    return sound and method.equals(b"spin-table")


@fn
def spin_release(fdt: Fdt, cpu: Node) -> u64:
    """The address of the word; 0 when there is none that makes sense."""
    result, address = fdt_u64(fdt, cpu, b"cpu-release-addr")
    return address if result == Result.OK and address % WORD == 0 and address <= DIRECT_END - PAGE_SIZE else 0


@fn
def spin_start(fdt: Fdt, cpu: Node, entry: u64) -> Started:
    word = spin_release(fdt, cpu)
    if word == 0:
        return Started.REFUSED
    mmu_map_ram(HostPhys(word & ~u64(PAGE_SIZE - 1)), PAGE_SIZE)
    mmio_write64(word, entry)
    dcache_clean_invalidate(HostPhys(word), WORD)
    data_sync_all()
    send_event()
    return Started.CALLED
