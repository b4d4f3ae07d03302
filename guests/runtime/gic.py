"""A guest's side of the GIC: enough to take interrupts and to send software-generated ones.

GICv2 (ARM IHI 0048B) or GICv3 (IHI 0069), as the tree says. Of a GICv3 everything is in group 1, and a CPU is named by its MPIDR.
"""

from freestanding import Array, Struct, array, fn, truncate, u8, u32, u64, zeroed
from guests.runtime.cpu import cpu_number
from guests.runtime.link import MAX_CPUS
from guests.runtime.registers import read_mpidr_el1
from xenarm.arm.instructions import (
    data_sync_all,
    instruction_sync,
    mmio_read8,
    mmio_read32,
    mmio_read64,
    mmio_write8,
    mmio_write32,
    mmio_write64,
)
from xenarm.abi.affinity import MPIDR_AFFINITY
from xenarm.config import CONFIG
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, Fdt, Node
from xenarm.devicetree.values import fdt_find_compatible, fdt_reg, fdt_u32
from xenarm.gic.registers import INTID_MASK, INTID_SPURIOUS, SGIR_TARGETS_SHIFT, Gicc, GiccControl, Gicd
from xenarm.gic.registers3 import (
    Gicd3,
    GicdControl,
    Gicr,
    GicrType,
    GicrWaker,
    IccSgi,
    read_icc_iar1,
    write_icc_bpr1,
    write_icc_ctlr,
    write_icc_eoir1,
    write_icc_igrpen1,
    write_icc_pmr,
    write_icc_sgi1r,
    write_icc_sre_el1,
)

__all__ = [
    "GIC",
    "HAS_V3",
    "gic_acknowledge",
    "gic_control",
    "gic_cpu_init",
    "gic_enable",
    "gic_end",
    "gic_find",
    "gic_init",
    "gic_own_target",
    "gic_redistributor",
    "gic_registers",
    "gic_route",
    "gic_send",
    "gic_send_others",
    "gic_sgi_value",
    "gic_store_sgi",
    "intid_of",
]

HAS_V3 = CONFIG.ARM64  # a GICv3 is for AArch64 guests only
PRIORITY = 0xA0
MOST_REGIONS = 8
PRIORITY_MASK_ALL = 0xF0
ENABLE = int(GiccControl(ENABLE=True))
CONTROL3 = int(GicdControl(ENABLE_LOW=True, ENABLE_GROUP1=True, ARE=True))
SYSTEM_REGISTERS = 7
ALL = 0xFFFF_FFFF
AWAKE_MASK = int(GicrWaker(PROCESSOR_SLEEP=True))
ASLEEP = int(GicrWaker(CHILDREN_ASLEEP=True))
LAST = int(GicrType(LAST=True))
TO_OTHERS = int(IccSgi(IRM=True))
FILTER_OTHERS = 1 << 24
SGI_SHIFT = 24
PLACE = MPIDR_AFFINITY | 1 << 31  # of MPIDR_EL1; bit 31 is always set, so that no target is 0


class Region(Struct):
    """A region of redistributors."""

    base: u64
    size: u64


class Gic(Struct):
    """Where the distributor lies (0: there is none), and the CPU interface of a GICv2 or the redistributors of a GICv3."""

    gicd: u64
    gicc: u64
    v3: bool
    gicr: u64  # of the first region
    regions: u32
    region: Array[Region] = array(Region, MOST_REGIONS)
    own: Array[u64] = array(u64, MAX_CPUS)  # each CPU's RD_base


GIC = zeroed(Gic)


@fn
def gic_node(fdt: Fdt) -> Node:
    node = fdt_find_compatible(fdt, b"arm,gic-v3") if HAS_V3 else NO_NODE
    GIC.v3 = node != NO_NODE
    if node == NO_NODE:
        node = fdt_find_compatible(fdt, b"arm,cortex-a15-gic")
    return fdt_find_compatible(fdt, b"arm,gic-400") if node == NO_NODE else node


@fn
def find_regions(fdt: Fdt, node: Node) -> None:
    """Linux's binding arm,gic-v3.yaml."""
    for index in range(min(fdt_u32(fdt, node, b"#redistributor-regions", 1), u32(MOST_REGIONS))):
        region = fdt_reg(fdt, node, 1 + index)
        if region.result == Result.OK:
            GIC.region[GIC.regions].base = region.base
            GIC.region[GIC.regions].size = region.size
            GIC.regions += 1


@fn
def gic_find(fdt: Fdt) -> Result:
    """Find the controller, which stays as it is; NOT_FOUND when the tree has none."""
    node = gic_node(fdt)
    if node == NO_NODE:
        return Result.NOT_FOUND
    distributor = fdt_reg(fdt, node, 0)
    interface = fdt_reg(fdt, node, 1)
    if distributor.result != Result.OK or interface.result != Result.OK:
        return Result.NOT_FOUND
    GIC.gicd = distributor.base
    if HAS_V3 and GIC.v3:
        GIC.gicr = interface.base
        find_regions(fdt, node)
    else:
        GIC.gicc = interface.base
    return Result.OK


@fn
def gic_init(fdt: Fdt) -> Result:
    """Find the controller and turn it on for this CPU; NOT_FOUND when the tree has none."""
    if gic_find(fdt) != Result.OK:
        return Result.NOT_FOUND
    gic_control(True)
    gic_cpu_init()
    return Result.OK


@fn
def gic_control(on: bool) -> None:
    """Whether the distributor forwards anything."""
    running = u32(CONTROL3) if HAS_V3 and GIC.v3 else u32(1)
    mmio_write32(GIC.gicd + Gicd.CTLR, running if on else u32(0))


# ---- each CPU's part --------------------------------------------------------------------------------------------------


@fn
def search_region(region: Region, wanted: u64) -> u64:
    at = u64(0)
    while at + Gicr.FRAME <= region.size:
        kind = mmio_read64(region.base + at + Gicr.TYPER)
        if kind >> 32 == wanted:
            return region.base + at
        if kind & LAST != 0:
            return 0
        at += Gicr.FRAME
    return 0


@fn
def gic_redistributor(mpidr: u64) -> u64:
    """RD_base of the CPU with an affinity; 0 when there is none."""
    wanted = (mpidr >> 32 & 0xFF) << 24 | mpidr & 0xFF_FFFF
    for index in range(GIC.regions):
        base = search_region(GIC.region[index], wanted)
        if base != 0:
            return base
    return 0


@fn
def redistributor_init(base: u64) -> None:
    mmio_write32(base + Gicr.WAKER, mmio_read32(base + Gicr.WAKER) & ~u32(AWAKE_MASK))
    while mmio_read32(base + Gicr.WAKER) & ASLEEP != 0:
        pass
    mmio_write32(base + Gicr.SGI_BASE + Gicd.IGROUPR, ALL)


@fn
def cpu_init_v3() -> None:
    base = gic_redistributor(read_mpidr_el1())
    GIC.own[cpu_number()] = base
    if base != 0:
        redistributor_init(base)
    write_icc_sre_el1(SYSTEM_REGISTERS)
    instruction_sync()
    write_icc_pmr(PRIORITY_MASK_ALL)
    write_icc_bpr1(0)
    write_icc_ctlr(0)
    write_icc_igrpen1(1)
    instruction_sync()


@fn
def gic_cpu_init() -> None:
    """Turn this CPU's interface on, for every priority."""
    if HAS_V3 and GIC.v3:
        cpu_init_v3()
        return
    mmio_write32(GIC.gicc + Gicc.PMR, PRIORITY_MASK_ALL)
    mmio_write32(GIC.gicc + Gicc.BPR, 0)
    mmio_write32(GIC.gicc + Gicc.CTLR, ENABLE)


@fn
def gic_own_target() -> u64:
    """What names this CPU as a target. GICv2: its bit, as ITARGETSR0 reads, or bit 0 where a GIC of one CPU reads as zero there."""
    if HAS_V3 and GIC.v3:
        return read_mpidr_el1() & PLACE
    bit = mmio_read8(GIC.gicd + Gicd.ITARGETSR)
    return u64(1) if bit == 0 else u64(bit)


# ---- interrupts -------------------------------------------------------------------------------------------------------


@fn
def gic_registers(intid: u32) -> u64:
    """Where an interrupt has its place in IGROUPR, ISENABLER and so on: the distributor, or this CPU's SGI_base."""
    return GIC.own[cpu_number()] + Gicr.SGI_BASE if HAS_V3 and GIC.v3 and intid < 32 else GIC.gicd


@fn
def gic_route(intid: u32, target: u64) -> None:
    """Send a shared interrupt to a CPU."""
    if HAS_V3 and GIC.v3:
        mmio_write64(GIC.gicd + u64(Gicd3.IROUTER + intid * 8), target & MPIDR_AFFINITY)
    else:
        mmio_write8(GIC.gicd + u64(Gicd.ITARGETSR + intid), truncate(u8, target))


@fn
def gic_enable(intid: u32) -> None:
    """Let an interrupt reach this CPU."""
    base = gic_registers(intid)
    bit = u32(1) << (intid & 31)
    mmio_write8(base + u64(Gicd.IPRIORITYR + intid), PRIORITY)
    if intid >= 32:
        gic_route(intid, gic_own_target())
    if HAS_V3 and GIC.v3:
        group = base + u64(Gicd.IGROUPR + (intid >> 5) * 4)
        mmio_write32(group, mmio_read32(group) | bit)
    mmio_write32(base + u64(Gicd.ISENABLER + (intid >> 5) * 4), bit)


@fn
def acknowledge_v3() -> u32:
    """What the interrupt says has happened is seen by what follows."""
    iar = truncate(u32, read_icc_iar1())
    data_sync_all()
    return iar


@fn
def gic_acknowledge() -> u32:
    """GICC_IAR or ICC_IAR1_EL1: what to hand to `gic_end`."""
    return acknowledge_v3() if HAS_V3 and GIC.v3 else mmio_read32(GIC.gicc + Gicc.IAR)


@fn
def intid_of(iar: u32) -> tuple[bool, u32]:
    """(there is one, its INTID)."""
    intid = iar & INTID_MASK
    return intid < INTID_SPURIOUS, intid


@fn
def gic_end(iar: u32) -> None:
    if HAS_V3 and GIC.v3:
        write_icc_eoir1(u64(iar))
    else:
        mmio_write32(GIC.gicc + Gicc.EOIR, iar)


# ---- software-generated interrupts ------------------------------------------------------------------------------------


@fn
def sgi_value_v3(target: u64, sgi: u32) -> u64:
    """For ICC_SGI1R_EL1."""
    low = target & 0xFF
    upper = (target >> 32 & 0xFF) << 48 | (low >> 4) << 44 | (target >> 16 & 0xFF) << 32 | (target >> 8 & 0xFF) << 16
    return upper | u64(sgi) << SGI_SHIFT | u64(1) << (low & 15)


@fn
def gic_sgi_value(target: u64, sgi: u32) -> u64:
    """What to store to GICD_SGIR or ICC_SGI1R_EL1 for an SGI to one CPU."""
    return sgi_value_v3(target, sgi) if HAS_V3 and GIC.v3 else target << SGIR_TARGETS_SHIFT | u64(sgi)


@fn
def gic_store_sgi(value: u64) -> None:
    """To GICD_SGIR or ICC_SGI1R_EL1. Memory written before is seen by the handlers."""
    data_sync_all()
    if HAS_V3 and GIC.v3:
        write_icc_sgi1r(value)
        instruction_sync()
    else:
        mmio_write32(GIC.gicd + Gicd.SGIR, truncate(u32, value))


@fn
def gic_send(target: u64, sgi: u32) -> None:
    """Send a software-generated interrupt to one CPU, this one too."""
    gic_store_sgi(gic_sgi_value(target, sgi))


@fn
def gic_send_others(sgi: u32) -> None:
    """To all CPUs but this one."""
    gic_store_sgi(TO_OTHERS | u64(sgi) << SGI_SHIFT if HAS_V3 and GIC.v3 else u64(FILTER_OTHERS | sgi))
