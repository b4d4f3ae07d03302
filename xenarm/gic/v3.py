"""The physical GICv3 (ARM IHI 0069): distributor with affinity routing, redistributors, the system registers of each CPU's interfaces.

All interrupts are in group 1. Priority drop and deactivation are split (EOImode), so that an interrupt can stay active on behalf of a
guest. LPIs are not used. A vCPU that sees a GICv2 has its CPU interface in memory (`Vcpu.vgic.legacy`): ICC_SRE_EL1.SRE is clear while a CPU runs it.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from freestanding import Array, Struct, array, export, fn, truncate, u32, u64, zeroed

from xenarm.abi.affinity import MPIDR_AFFINITY
from xenarm.arm.hw import Hcr, read_hcr_el2, write_hcr_el2
from xenarm.arm.instructions import (
    cpu_relax,
    data_sync_all,
    data_sync_inner_stores,
    instruction_sync,
    mmio_read32,
    mmio_read64,
    mmio_write8,
    mmio_write32,
    mmio_write64,
)
from xenarm.arm.mmu import mmu_map_device
from xenarm.arm64.registers import read_aa64pfr0, read_mpidr_el1
from xenarm.config import CONFIG
from xenarm.core.addresses import PAGE_SIZE, HostPhys
from xenarm.core.domain import MAX_CPUS, Vcpu
from xenarm.core.log import log_warning
from xenarm.core.result import Result
from xenarm.core.sched.state import SCHED_CPUS
from xenarm.devicetree.reader import Fdt, Node
from xenarm.devicetree.values import fdt_compatible, fdt_interrupt, fdt_reg, fdt_u32, fdt_u64
from xenarm.gic.controller import GIC, PPI_HYP_TIMER, PPI_VIRTUAL_TIMER, PRIORITIES_DEFAULT, PRIORITY_MAINTENANCE, PRIORITY_MASK_ALL, SGI_KICK, SGI_POST, SGI_STOP
from xenarm.gic.registers import Gicd, GichControl, GichMachineControl, LrState
from xenarm.gic.registers3 import (
    Gicd3,
    GicdControl,
    Gicr,
    GicrType,
    GicrWaker,
    IccControl,
    IchControl,
    IchType,
    read_icc_iar1,
    read_icc_sre_el1,
    read_icc_sre_el2,
    read_ich_ap0r,
    read_ich_ap1r,
    read_ich_eisr,
    read_ich_elrsr,
    read_ich_hcr,
    read_ich_lr,
    read_ich_vmcr,
    read_ich_vtr,
    sgi_target,
    write_icc_bpr1,
    write_icc_ctlr,
    write_icc_dir,
    write_icc_eoir1,
    write_icc_igrpen1,
    write_icc_pmr,
    write_icc_sgi1r,
    write_icc_sre_el1,
    write_icc_sre_el2,
    write_ich_ap0r,
    write_ich_ap1r,
    write_ich_hcr,
    write_ich_lr,
    write_ich_vmcr,
)
from xenarm.gic.state import LIST_REGISTERS

__all__ = [
    "ich_lr",
    "v3_acknowledge",
    "v3_by_memory",
    "v3_by_registers",
    "v3_compatible",
    "v3_cpu_init",
    "v3_deactivate",
    "v3_drop",
    "v3_enable_spi",
    "v3_find",
    "v3_end",
    "v3_ends_split",
    "v3_groups",
    "v3_init",
    "v3_kick",
    "v3_lists_control",
    "v3_lists_empty",
    "v3_lists_ended",
    "v3_lists_reset",
    "v3_lists_status",
    "v3_load_interface",
    "v3_read_lr",
    "v3_read_lr_inline",
    "v3_region",
    "v3_region_count",
    "v3_ring",
    "v3_save_interface",
    "v3_start",
    "v3_stop",
    "v3_takes_affinity3",
    "v3_write_first_lr",
    "v3_write_lr",
    "v3_write_lr_inline",
]

F = TypeVar("F", bound=Callable[..., Any])
MOST_REGIONS = 8
MOST_STRIDE = 1 << 32
PATIENCE = 1_000_000  # looks at a register that the controller is to change
CONTROL_RUN = int(GicdControl(ENABLE_LOW=True, ENABLE_GROUP1=True, ARE=True))
CONTROL_ARE = int(GicdControl(ARE=True))
RWP = int(GicdControl(RWP=True))
REDISTRIBUTOR_RWP = 1 << 3
HCR_RUN = int(GichControl(EN=True)) | int(IchControl(TDIR=True))
HCR_RUN_COMMON = int(GichControl(EN=True)) | int(IchControl(TC=True))  # where ICC_DIR_EL1 does not trap by itself
SPLIT_ENDS = int(GichMachineControl(SPLIT_ENDS=True))
GROUPS = int(GichMachineControl(GROUP0=True, GROUP1=True))
EOIMODE = int(IccControl(EOIMODE=True))
OVERRIDES = int(Hcr(FMO=True, IMO=True, AMO=True))
SYSTEM_REGISTERS_ON = 1  # SRE
MEMORY_MAPPED = 0
ENABLE = 8  # of ICC_SRE_EL2
SYSTEM_REGISTERS = 7  # ICC_SRE_EL1 and _EL2: SRE, DFB, DIB. EL2's Enable stays clear: EL1's accesses to ICC_SRE_EL1 trap
CHILDREN_ASLEEP = int(GicrWaker(CHILDREN_ASLEEP=True))
PROCESSOR_SLEEP = int(GicrWaker(PROCESSOR_SLEEP=True))
LAST = int(GicrType(LAST=True))
VLPIS = int(GicrType(VLPIS=True))
SYSTEM_INTERFACE_SHIFT = 24  # ID_AA64PFR0_EL1.GIC
ARCH_REVISION_SHIFT = 4  # GICD_PIDR2
MOST_INTIDS = 1020
LINKED = 1 << 61  # ICH_LR<n>_EL2.HW
ALL = 0xFFFF_FFFF


class Region(Struct):
    """Redistributors of several CPUs, one behind the other."""

    base: u64
    size: u64


class Redistributors(Struct):
    """Where they may be, each CPU's own, and how each CPU is reached."""

    count: u32
    regions: Array[Region] = array(Region, MOST_REGIONS)
    stride: u64  # 0: as GICR_TYPER says
    own: Array[u64] = array(u64, MAX_CPUS)  # RD_base
    affinity: Array[u64] = array(u64, MAX_CPUS)  # as GICD_IROUTER<n> wants it
    kick: Array[u64] = array(u64, MAX_CPUS)  # ICC_SGI1R_EL1 for SGI_KICK


REDIST = zeroed(Redistributors)


@fn(inline=True)
def gicd_read(offset: u32) -> u32:
    return mmio_read32(GIC.gicd + u64(offset))


@fn(inline=True)
def gicd_write(offset: u32, value: u32) -> None:
    mmio_write32(GIC.gicd + u64(offset), value)


@fn
def wait_clear(address: u64, bits: u32) -> bool:
    for _ in range(PATIENCE):
        if mmio_read32(address) & bits == 0:
            return True
        cpu_relax()
    return False


# ---- what the tree says -----------------------------------------------------------------------------------------------


@fn
def v3_compatible(fdt: Fdt, node: Node) -> bool:
    """Whether a node of the device tree is a GICv3."""
    return fdt_compatible(fdt, node, b"arm,gic-v3")


@fn
def add_region(fdt: Fdt, node: Node, index: u32) -> bool:
    part = fdt_reg(fdt, node, 1 + index)
    if part.result != Result.OK or part.size < Gicr.FRAME:
        return False
    REDIST.regions[index].base = part.base
    REDIST.regions[index].size = part.size
    REDIST.count = index + 1
    return True


@fn
def find_legacy(fdt: Fdt, node: Node, first: u32) -> None:
    """Behind the regions of redistributors a GICv3 may have GICC, GICH and GICV: the CPU interfaces of a GICv2. That its CPUs have them too is still to be seen."""
    gicc = fdt_reg(fdt, node, first)
    gicv = fdt_reg(fdt, node, first + 2)
    if gicc.result == Result.OK and gicv.result == Result.OK and gicv.base & (PAGE_SIZE - 1) == 0 and gicv.size >= PAGE_SIZE:
        GIC.machine_gicc = gicc.base
        GIC.gicv = HostPhys(gicv.base)
        GIC.legacy = True


@fn
def v3_find(fdt: Fdt, node: Node) -> Result:
    """Linux's binding arm,gic-v3.yaml: the distributor, then `#redistributor-regions` regions of redistributors."""
    gicd = fdt_reg(fdt, node, 0)
    if gicd.result != Result.OK or gicd.size < Gicd3.SIZE:
        return Result.NOT_FOUND
    GIC.machine_gicd = gicd.base
    regions = fdt_u32(fdt, node, b"#redistributor-regions", 1)
    if regions > MOST_REGIONS:
        log_warning(f"GICv3: {regions} regions of redistributors, of which {MOST_REGIONS} are used: CPUs of others stay off")
    result, stride = fdt_u64(fdt, node, b"redistributor-stride")
    REDIST.stride = stride if result == Result.OK and stride >= Gicr.FRAME and stride <= MOST_STRIDE else u64(0)
    REDIST.count = 0
    for index in range(min(regions, u32(MOST_REGIONS))):
        if not add_region(fdt, node, index):
            break
    if CONFIG.GICV2_ON_V3 and REDIST.count == regions:
        find_legacy(fdt, node, 1 + regions)
    return Result.OK if REDIST.count > 0 else Result.NOT_FOUND


@fn
def v3_region_count() -> u32:
    return REDIST.count


@fn
def v3_region(index: u32) -> tuple[u64, u64]:
    """(Address, size)."""
    return REDIST.regions[index].base, REDIST.regions[index].size


@fn
def v3_init(fdt: Fdt, node: Node) -> Result:
    """Find the controller's parts and set up the distributor.

    NOT_FOUND: its registers or its maintenance interrupt are not in the tree, are not those of a GICv3, or EL2 may not use its system registers.
    """
    if v3_find(fdt, node) != Result.OK:
        return Result.NOT_FOUND
    GIC.gicd = GIC.machine_gicd
    mmu_map_device(HostPhys(GIC.gicd), Gicd3.SIZE)
    for index in range(REDIST.count):
        mmu_map_device(HostPhys(REDIST.regions[index].base), REDIST.regions[index].size)
    return v3_start(fdt, node)


@fn
def v3_start(fdt: Fdt, node: Node) -> Result:
    """The parts are found and mapped."""
    revision = gicd_read(Gicd3.PIDR2) >> ARCH_REVISION_SHIFT & 0xF
    if revision < 3 or read_aa64pfr0() >> SYSTEM_INTERFACE_SHIFT & 0xF == 0:
        return Result.NOT_FOUND
    maintenance = fdt_interrupt(fdt, node, 0)
    if maintenance.result != Result.OK or maintenance.intid >= 32:
        return Result.NOT_FOUND
    GIC.maintenance_ppi = maintenance.intid
    distributor_init()
    return Result.OK


# ---- distributor ------------------------------------------------------------------------------------------------------


@fn
def distributor_init() -> None:
    """Affinity routing on; every SPI off, inactive, level-sensitive, in group 1, of middle priority; then forwarding on."""
    gicd_write(Gicd.CTLR, 0)
    wait_clear(GIC.gicd + Gicd.CTLR, RWP)
    gicd_write(Gicd.CTLR, CONTROL_ARE)
    words = (gicd_read(Gicd.TYPER) & 0x1F) + 1
    GIC.intids = min(words * 32, u32(MOST_INTIDS))
    for word in range(u32(1), words):
        gicd_write(Gicd.ICENABLER + word * 4, ALL)
        gicd_write(Gicd.ICPENDR + word * 4, ALL)
        gicd_write(Gicd.ICACTIVER + word * 4, ALL)
        gicd_write(Gicd.IGROUPR + word * 4, ALL)
        gicd_write(Gicd.ICFGR + word * 8, 0)
        gicd_write(Gicd.ICFGR + word * 8 + 4, 0)
        for group in range(u32(8)):
            gicd_write(Gicd.IPRIORITYR + word * 32 + group * 4, PRIORITIES_DEFAULT)
    wait_clear(GIC.gicd + Gicd.CTLR, RWP)
    gicd_write(Gicd.CTLR, CONTROL_RUN)


@fn
def v3_enable_spi(intid: u32, cpu: u32, level: bool) -> None:
    if intid < 32 or intid >= GIC.intids:
        return
    config = Gicd.ICFGR + (intid >> 4) * 4
    edge = u32(2) << ((intid & 15) * 2)
    gicd_write(config, gicd_read(config) & ~edge if level else gicd_read(config) | edge)
    mmio_write64(GIC.gicd + u64(Gicd3.IROUTER + intid * 8), REDIST.affinity[cpu])
    gicd_write(Gicd.ISENABLER + (intid >> 5) * 4, u32(1) << (intid & 31))


# ---- redistributors ---------------------------------------------------------------------------------------------------


@fn
def type_affinity(mpidr: u64) -> u64:
    """MPIDR_EL1's affinity as GICR_TYPER has it, in its upper half."""
    return ((mpidr >> 32 & 0xFF) << 24 | mpidr & 0xFF_FFFF) << 32


@fn
def frame_size(kind: u64) -> u64:
    if REDIST.stride != 0:
        return REDIST.stride
    return u64(2 * Gicr.FRAME) if kind & VLPIS != 0 else u64(Gicr.FRAME)


@fn
def search_region(region: Region, wanted: u64) -> u64:
    """RD_base of the redistributor for an affinity; 0 when the region has none."""
    at = u64(0)
    while region.size >= Gicr.FRAME and at <= region.size - Gicr.FRAME:
        base = region.base + at
        if mmio_read32(base + Gicr.PIDR2) >> ARCH_REVISION_SHIFT & 0xF < 3:
            return 0
        kind = mmio_read64(base + Gicr.TYPER)
        if kind & ~u64(0xFFFF_FFFF) == wanted:
            return base
        if kind & LAST != 0:
            return 0
        at += frame_size(kind)
    return 0


@fn
def find_redistributor(mpidr: u64) -> u64:
    for index in range(REDIST.count):
        base = search_region(REDIST.regions[index], type_affinity(mpidr))
        if base != 0:
            return base
    return 0


@fn
def redistributor_init(base: u64) -> bool:
    """Wake it; SGIs and PPIs in group 1, of middle priority, inactive, off but those that are ours. False: it does not wake."""
    mmio_write32(base + Gicr.WAKER, mmio_read32(base + Gicr.WAKER) & ~u32(PROCESSOR_SLEEP))
    if not wait_clear(base + Gicr.WAKER, CHILDREN_ASLEEP):
        return False
    frame = base + Gicr.SGI_BASE
    mmio_write32(frame + Gicd.ICENABLER, ALL)
    wait_clear(base + Gicr.CTLR, REDISTRIBUTOR_RWP)
    mmio_write32(frame + Gicd.ICACTIVER, ALL)
    mmio_write32(frame + Gicd.ICPENDR, ALL)
    mmio_write32(frame + Gicd.IGROUPR, ALL)
    for group in range(u64(8)):
        mmio_write32(frame + Gicd.IPRIORITYR + group * 4, PRIORITIES_DEFAULT)
    mmio_write8(frame + Gicd.IPRIORITYR + u64(GIC.maintenance_ppi), PRIORITY_MAINTENANCE)
    ours = u32(1 << SGI_KICK | 1 << SGI_STOP | 1 << SGI_POST | 1 << PPI_HYP_TIMER | 1 << PPI_VIRTUAL_TIMER)
    mmio_write32(frame + Gicd.ISENABLER, ours | u32(1) << GIC.maintenance_ppi)
    return True


@fn
def note_affinity(cpu: u32, mpidr: u64) -> None:
    """How others reach this CPU."""
    REDIST.affinity[cpu] = mpidr & MPIDR_AFFINITY
    REDIST.kick[cpu] = sgi_target(truncate(u32, type_affinity(mpidr) >> 32)) | u64(SGI_KICK) << 24
    SCHED_CPUS[cpu].doorbell = REDIST.kick[cpu] | u64(SGI_POST) << 24


@fn(inline=True)
def memory_mapped() -> bool:
    """Whether the accesses of the guest that this CPU has are by memory. The CPU knows it best, and it costs the others little."""
    return CONFIG.GICV2_ON_V3 and read_icc_sre_el1() & SYSTEM_REGISTERS_ON == 0


@fn
def memory_mapped_possible() -> bool:
    """Whether SRE can be clear for a guest on this CPU: it may be fixed. Interrupts must be routed to EL2 (IHI 0069 table 11-2), where they are masked."""
    hcr = read_hcr_el2()
    write_hcr_el2(hcr | OVERRIDES)
    instruction_sync()
    write_icc_sre_el1(MEMORY_MAPPED)
    instruction_sync()
    possible = read_icc_sre_el1() & SYSTEM_REGISTERS_ON == 0
    write_icc_sre_el1(SYSTEM_REGISTERS)
    instruction_sync()
    write_hcr_el2(hcr)
    instruction_sync()
    return possible


@fn
def note_system_registers() -> None:
    """What a guest on this CPU may do about ICC_SRE_EL1.SRE: that EL2's Enable is fixed too is allowed where EL2's SRE is (ICC_SRE_EL2)."""
    untrapped = read_icc_sre_el2() & ENABLE != 0
    if CONFIG.GICV2_ON_V3 or untrapped:
        if not memory_mapped_possible():
            GIC.legacy = False
        elif untrapped:
            GIC.sre_open = True


@fn
def v3_cpu_init(cpu: u32) -> Result:
    """Set up this CPU's redistributor and its interfaces. NOT_FOUND: it has no redistributor, or it does not wake."""
    mpidr = read_mpidr_el1()
    base = find_redistributor(mpidr)
    if base == 0 or not redistributor_init(base):
        return Result.NOT_FOUND
    REDIST.own[cpu] = base
    note_affinity(cpu, mpidr)
    write_icc_sre_el2(SYSTEM_REGISTERS)
    instruction_sync()
    write_icc_sre_el1(SYSTEM_REGISTERS)
    instruction_sync()
    note_system_registers()
    write_icc_pmr(PRIORITY_MASK_ALL)
    write_icc_bpr1(0)
    write_icc_ctlr(EOIMODE)
    write_icc_igrpen1(1)
    v3_lists_reset()
    instruction_sync()
    return Result.OK


# ---- the CPU interface ------------------------------------------------------------------------------------------------


@fn(inline=True)
def v3_acknowledge() -> u32:
    """ICC_IAR1_EL1. What the interrupt says has happened is seen by what follows (IHI 0069 4.1.1)."""
    iar = truncate(u32, read_icc_iar1())
    data_sync_all()
    return iar


@fn(inline=True)
def v3_end(intid: u32) -> None:
    write_icc_eoir1(u64(intid))
    write_icc_dir(u64(intid))


@fn(inline=True)
def v3_drop(intid: u32) -> None:
    write_icc_eoir1(u64(intid))


@fn(inline=True)
def v3_deactivate(intid: u32) -> None:
    write_icc_dir(u64(intid))


@fn
def v3_kick(cpu: u32) -> None:
    data_sync_inner_stores()
    write_icc_sgi1r(REDIST.kick[cpu])
    instruction_sync()


@fn(inline=True)
def v3_ring(doorbell: u64) -> None:
    """The same by SGI_POST, for `SchedCpu.doorbell`."""
    data_sync_inner_stores()
    write_icc_sgi1r(doorbell)
    instruction_sync()


@fn
def v3_stop(cpu: u32) -> None:
    data_sync_inner_stores()
    write_icc_sgi1r(REDIST.kick[cpu] | u64(SGI_STOP) << 24)
    instruction_sync()


# ---- the virtual interface --------------------------------------------------------------------------------------------


@fn(inline=True)
def stores_seen() -> None:
    """Before a register of the virtual interface is read: it shows what a guest's stores to GICV did."""
    if memory_mapped():
        data_sync_all()
        instruction_sync()


@fn(inline=True)
def writes_seen() -> None:
    """After such a register was written: a guest's loads from GICV see it."""
    if memory_mapped():
        instruction_sync()
        data_sync_all()


@fn
def interface_choose(how: u64) -> None:
    """Whether a guest's accesses are by system registers or by memory. ICH_VMCR_EL2 depends on it: VFIQEn is fixed under system registers."""
    write_icc_sre_el1(how)
    instruction_sync()


@fn
def v3_by_memory() -> None:
    """The guest that this CPU has begins with what every GICv2 has, whatever it did to ICC_SRE_EL1: EL2's Enable may be fixed too, and then that does not trap."""
    interface_choose(MEMORY_MAPPED)


@fn
def v3_by_registers() -> None:
    """The reverse, for a guest with system registers after one that has done without, or has turned them off."""
    interface_choose(SYSTEM_REGISTERS)


@fn(inline=True)
def ich_lr(value: u32) -> u64:
    """ICH_LR<n>_EL2 from the layout of GICH_LR without a sender: INTID; EOI and the physical INTID; priority; group and HW; state."""
    lr = u64(value)
    return lr & 0x3FF | (lr & 0x000F_FC00) << 22 | (lr & 0x0F80_0000) << 28 | (lr & 0xC000_0000) << 30 | (lr & 0x3000_0000) << 34


@fn(inline=True)
def gich_lr(lr: u64) -> u32:
    """The reverse; the guest sees to it that nothing else is in there."""
    value = lr & 0x3FF | lr >> 22 & 0x000F_FC00 | lr >> 28 & 0x0F80_0000 | lr >> 30 & 0xC000_0000 | lr >> 34 & 0x3000_0000
    return truncate(u32, value)


@fn(inline=True)
def ich_lr_sent(value: u32) -> u64:
    """`ich_lr` with a sender: a guest that sees a GICv2 finds it in GICV_IAR, out of the same bits of the virtual INTID (12.4.8, vINTID). A physical INTID has them otherwise."""
    if CONFIG.GIC_HW_TIMER_LINK and value & LrState.HW != 0:
        return ich_lr(value)
    lr = u64(value)
    return lr & 0x1FFF | (lr & 0x0008_0000) << 22 | (lr & 0x0F80_0000) << 28 | (lr & 0xC000_0000) << 30 | (lr & 0x3000_0000) << 34


@fn(inline=True)
def gich_lr_sent(lr: u64) -> u32:
    if CONFIG.GIC_HW_TIMER_LINK and lr & LINKED != 0:
        return gich_lr(lr)
    value = lr & 0x1FFF | lr >> 22 & 0x0008_0000 | lr >> 28 & 0x0F80_0000 | lr >> 30 & 0xC000_0000 | lr >> 34 & 0x3000_0000
    return truncate(u32, value)


to_ich_lr, from_ich_lr = (ich_lr_sent, gich_lr_sent) if CONFIG.GICV2_ON_V3 else (ich_lr, gich_lr)


def lean(symbol: str) -> Callable[[F], F]:
    """A function out of line that is cheap for callers that have a GICv2: it leaves them most registers."""
    chosen: Callable[[F], F] = export(symbol, preserve=True) if CONFIG.GICV3 else fn
    return chosen


@fn(inline=True)
def v3_read_lr_inline(index: u32) -> u32:
    stores_seen()
    return from_ich_lr(read_ich_lr(index))


@fn(inline=True)
def v3_write_lr_inline(index: u32, value: u32) -> None:
    write_ich_lr(index, to_ich_lr(value))
    writes_seen()


@lean("v3_read_lr")
def v3_read_lr(index: u32) -> u32:
    return v3_read_lr_inline(index)


@lean("v3_write_lr")
def v3_write_lr(index: u32, value: u32) -> None:
    v3_write_lr_inline(index, value)


@fn(inline=True)
def v3_write_first_lr(value: u32) -> None:
    write_ich_lr(0, to_ich_lr(value))


@fn(inline=True)
def v3_lists_empty() -> u32:
    stores_seen()
    return truncate(u32, read_ich_elrsr())


@fn(inline=True)
def v3_lists_ended() -> u32:
    stores_seen()
    return truncate(u32, read_ich_eisr())


@fn(inline=True)
def v3_lists_control(value: u32) -> None:
    write_ich_hcr(u64(value))
    writes_seen()


@fn(inline=True)
def v3_lists_status() -> u32:
    stores_seen()
    return truncate(u32, read_ich_hcr())


@fn
def v3_takes_affinity3() -> bool:
    """Whether the virtual CPU interface has affinity 3 in its SGIs."""
    return IchType.from_raw(read_ich_vtr()).A3V


@fn
def v3_groups() -> u32:
    stores_seen()
    return truncate(u32, read_ich_vmcr()) & GROUPS


@fn(inline=True)
def v3_ends_split() -> bool:
    stores_seen()
    return read_ich_vmcr() & SPLIT_ENDS != 0


@fn
def v3_lists_reset() -> None:
    kind = IchType.from_raw(read_ich_vtr())
    GIC.list_registers = min(kind.LIST_REGS + 1, u32(LIST_REGISTERS))
    GIC.list_mask = (u32(1) << GIC.list_registers) - 1
    GIC.active_registers = u32(1) << (kind.PREEMPTION - 4)  # five bits of preemption: 32 levels
    for index in range(GIC.list_registers):
        v3_write_lr(index, 0)
    for n in range(GIC.active_registers):
        write_ich_ap0r(n, 0)
        write_ich_ap1r(n, 0)
    write_ich_vmcr(0)
    GIC.lists_run = u32(HCR_RUN) if kind.TDS else u32(HCR_RUN_COMMON)
    write_ich_hcr(u64(GIC.lists_run))
    writes_seen()


@fn(inline=True)
def v3_save_interface(v: Vcpu) -> None:
    """ICH_VMCR_EL2 and the active priorities of both groups. Whoever has the CPU next finds system registers."""
    stores_seen()
    v.vmcr = read_ich_vmcr()
    for n in range(GIC.active_registers):
        v.vgic.active0[n] = truncate(u32, read_ich_ap0r(n))
        v.vgic.active1[n] = truncate(u32, read_ich_ap1r(n))
    if CONFIG.GICV2_ON_V3 and v.vgic.legacy:
        interface_choose(SYSTEM_REGISTERS)


@fn(inline=True)
def v3_load_interface(v: Vcpu) -> None:
    if CONFIG.GICV2_ON_V3 and v.vgic.legacy:
        interface_choose(MEMORY_MAPPED)
    elif GIC.sre_open:
        v3_by_registers()
    write_ich_vmcr(v.vmcr)
    for n in range(GIC.active_registers):
        write_ich_ap0r(n, u64(v.vgic.active0[n]))
        write_ich_ap1r(n, u64(v.vgic.active1[n]))
    write_ich_hcr(u64(v.vgic.control))
    writes_seen()
