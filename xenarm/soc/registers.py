"""What the SoCs' modules share: registers found in the tree and mapped, short waits."""

from freestanding import IntEnum, View, fn, u8, u32, u64

from xenarm.arm.hw import read_cntfrq_el0, read_cntpct_el0
from xenarm.arm.instructions import cpu_relax, instruction_sync, mmio_read32, mmio_write32
from xenarm.arm.mmu import mmu_map_device
from xenarm.core.addresses import HostPhys, machine_has_device
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, Fdt, Node
from xenarm.devicetree.values import fdt_find_compatible, fdt_reg

__all__ = ["LOOKS", "Started", "bits_clear", "bits_set", "nothing", "pause", "registers_at", "registers_of", "registers_of_node"]

LOOKS = 100_000  # at a bit that hardware sets within microseconds


class Started(IntEnum, type=u8, must_use=True):
    """What became of the attempt to start a CPU."""

    REFUSED = 0
    CALLED = 1  # it comes
    WAKE = 2  # it sleeps, and comes once an interrupt has woken it


@fn
def registers_at(base: u64, size: u64) -> u64:
    """Map registers whose place the SoC's manual gives."""
    mmu_map_device(HostPhys(base), size)
    return base


@fn
def registers_of_node(fdt: Fdt, node: Node) -> u64:
    """A node's registers, mapped; 0 when there are none."""
    place = fdt_reg(fdt, node, 0)
    if place.result != Result.OK or not machine_has_device(place.base, place.size):
        return 0
    return registers_at(place.base, place.size)


@fn
def registers_of(fdt: Fdt, compatible: View[u8]) -> u64:
    """The registers of the first node that is compatible, mapped; 0 when there are none."""
    node = fdt_find_compatible(fdt, compatible)
    return registers_of_node(fdt, node) if node != NO_NODE else 0


@fn
def bits_set(register: u64, mask: u32) -> None:
    mmio_write32(register, mmio_read32(register) | mask)


@fn
def bits_clear(register: u64, mask: u32) -> None:
    mmio_write32(register, mmio_read32(register) & ~mask)


@fn
def pause(milliseconds: u64) -> None:
    """Let at least so much time pass: as CPUs start, and as the machine ends."""
    end = read_cntpct_el0() + read_cntfrq_el0() * milliseconds // 1000 + 1
    while read_cntpct_el0() < end:
        instruction_sync()
        cpu_relax()


@fn
def nothing() -> None:
    """For what a SoC has no way to do."""
