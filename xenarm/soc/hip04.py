"""HiSilicon's HiP04 (there is no public manual: what Linux's arch/arm/mach-hisi/platmcpm.c starts its CPUs by).

CPUs are held in reset. One that is let go begins in the boot wrapper, a piece of firmware in RAM; there it waits for an interrupt, and goes where
the firmware's relocation area says. Before a cluster's first one its part of the fabric must take part in coherency.
"""

from freestanding import Struct, fn, u32, u64, usize, zeroed

from xenarm.arm.hw import read_mpidr_el1
from xenarm.arm.instructions import data_sync_all, mmio_read32, mmio_write32
from xenarm.devicetree.reader import NO_NODE, Fdt, fdt_property
from xenarm.devicetree.values import fdt_find_compatible, fdt_reg, fdt_u32
from xenarm.soc.registers import LOOKS, Started, bits_set, pause, registers_at, registers_of

__all__ = ["KEPT", "hip04_prepare", "hip04_restart", "hip04_start", "hip04_wrapper", "restart_offset"]

RELEASE = 0x524  # of the system controller (SC_CPU_RESET_DREQ): a one ends a reset. For each cluster, 8 bytes apart
STATUS = 0x1520  # SC_CPU_RESET_STATUS: a one while in reset
CLUSTER_STRIDE = 8
CLUSTER_DEBUG = 1 << 13
CORE = 1 << 0 | 1 << 4 | 1 << 9  # CPU 0's core, NEON unit and debug logic; the next one's are one bit further
SNOOP = 0x0C  # of the fabric (FAB_SF_MODE): a bit for each cluster
CLUSTERS = 4
CPUS = 4  # of a cluster
WORDS = 4  # of `boot-method`: where the wrapper lies and its size, where the relocation area lies and its size
MAGIC = 0xA5A5_A5A5
RESTART = 0xDEAD_BEEF

KEPT = (("hisilicon,sysctrl", "turns CPUs off, restarts the machine"), ("hisilicon,hip04-fabric", "keeps the clusters' caches coherent"))


class Chip(Struct):
    """Bases of registers; `restart` is one, 0 for none; `wrapper` and `area` are what the tree says of the firmware; `clusters` take part already, a bit each."""

    restart: u64
    sysctrl: u64
    fabric: u64
    wrapper: u64
    area: u64
    clusters: u32


CHIP = zeroed(Chip)


@fn
def boot_method(fdt: Fdt, index: u32) -> u64:
    """A word of the wrapper's node; 0 when there is none."""
    node = fdt_find_compatible(fdt, b"hisilicon,hip04-bootwrapper")
    if node == NO_NODE:
        return 0
    _, words = fdt_property(fdt, node, b"boot-method")
    return u64(words.load_be32(usize(index) * 4)) if len(words) == WORDS * 4 else u64(0)


@fn
def hip04_wrapper(fdt: Fdt) -> tuple[u64, u64]:
    """(Address, size) of the firmware's piece of RAM; (0, 0) without one."""
    return boot_method(fdt, 0), boot_method(fdt, 1)


@fn
def restart_offset(fdt: Fdt) -> u64:
    """Of the register of the system controller that restarts the machine: its binding's `reboot-offset`. 0 where the tree does not say, as Linux's own for D01 does not."""
    node = fdt_find_compatible(fdt, b"hisilicon,sysctrl")
    if node == NO_NODE:
        return 0
    offset = u64(fdt_u32(fdt, node, b"reboot-offset", 0))
    return offset if offset % 4 == 0 and offset < fdt_reg(fdt, node, 0).size else u64(0)


@fn
def hip04_prepare(fdt: Fdt) -> None:
    CHIP.sysctrl = registers_of(fdt, b"hisilicon,sysctrl")
    offset = restart_offset(fdt)
    CHIP.restart = CHIP.sysctrl + offset if CHIP.sysctrl != 0 and offset != 0 else u64(0)
    CHIP.fabric = registers_of(fdt, b"hisilicon,hip04-fabric")
    CHIP.wrapper = boot_method(fdt, 0)
    area = boot_method(fdt, 2)
    CHIP.area = registers_at(area, boot_method(fdt, 3)) if area != 0 else u64(0)
    if CHIP.sysctrl == 0 or CHIP.fabric == 0 or CHIP.area == 0:
        CHIP.sysctrl = 0
        return
    _ = snoops(u32(read_mpidr_el1() >> 8 & 0xFF))


@fn
def released(cluster: u32, bits: u32) -> bool:
    """End resets; whether they have ended."""
    at = CHIP.sysctrl + u64(cluster) * CLUSTER_STRIDE
    mmio_write32(at + RELEASE, bits)
    for _ in range(LOOKS):
        if mmio_read32(at + STATUS) & bits == 0:
            return True
    return False


@fn
def snoops(cluster: u32) -> bool:
    """Have a cluster take part in coherency."""
    bits_set(CHIP.fabric + SNOOP, u32(1) << cluster)
    for _ in range(LOOKS):
        if mmio_read32(CHIP.fabric + SNOOP) >> cluster & 1 != 0:
            CHIP.clusters |= u32(1) << cluster
            return True
    return False


@fn
def hip04_start(fdt: Fdt, mpidr: u64, entry: u64) -> Started:
    cluster, cpu = u32(mpidr >> 8 & 0xFF), u32(mpidr & 0xFF)
    if CHIP.sysctrl == 0 or cluster >= CLUSTERS or cpu >= CPUS:
        return Started.REFUSED
    mmio_write32(CHIP.area, u32(CHIP.wrapper))
    mmio_write32(CHIP.area + 4, MAGIC)
    mmio_write32(CHIP.area + 8, u32(entry))
    mmio_write32(CHIP.area + 12, 0)
    data_sync_all()
    if CHIP.clusters >> cluster & 1 == 0 and not (released(cluster, CLUSTER_DEBUG) and snoops(cluster)):
        return Started.REFUSED
    _ = released(cluster, u32(CORE) << cpu)
    pause(1)
    return Started.WAKE


@fn
def hip04_restart() -> None:
    """Linux's drivers/power/reset/hisi-reboot.c."""
    if CHIP.restart != 0:
        mmio_write32(CHIP.restart, RESTART)
