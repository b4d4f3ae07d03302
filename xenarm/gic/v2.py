"""The physical GICv2 (ARM IHI 0048B): distributor, each CPU's interface, the virtual interface's registers.

Priority drop and deactivation are split (EOImode), so that an interrupt can stay active on behalf of a guest.
"""

from collections.abc import Callable

from freestanding import Array, Struct, array, fn, truncate, u8, u16, u32, u64, wrapping_add, zeroed

from xenarm.arm.instructions import (
    data_sync_inner_stores,
    mmio_read32,
    mmio_read32_of,
    mmio_reader32,
    mmio_write8,
    mmio_write16,
    mmio_write32,
    mmio_write32_of,
    mmio_writer32,
)
from xenarm.arm.mmu import mmu_map_small_device
from xenarm.config import CONFIG
from xenarm.core.addresses import KIB, PAGE_SIZE, HostPhys
from xenarm.core.domain import MAX_CPUS, Vcpu
from xenarm.core.result import Result
from xenarm.core.sched.state import SCHED_CPUS
from xenarm.devicetree.reader import Fdt, Node
from xenarm.devicetree.values import Range, Regs, fdt_interrupt, fdt_regs, regs_entry
from xenarm.gic.controller import (
    GIC,
    PPI_HYP_TIMER,
    PPI_MAINTENANCE,
    PPI_VIRTUAL_TIMER,
    PRIORITIES_DEFAULT,
    PRIORITY_MAINTENANCE,
    PRIORITY_MASK_ALL,
    SGI_KICK,
    SGI_POST,
    SGI_STOP,
)
from xenarm.gic.registers import Gicc, GiccControl, Gicd, Gich, GichControl, GichMachineControl
from xenarm.gic.state import LIST_REGISTERS
from xenarm.gic.v2_layout import InterfaceBit, layout, layout_choose

__all__ = [
    "INTERFACES",
    "v2_acknowledge",
    "v2_compatible",
    "v2_cpu_init",
    "v2_deactivate",
    "v2_drop",
    "v2_enable_spi",
    "v2_end",
    "v2_ends_split",
    "v2_groups",
    "v2_init",
    "v2_kick",
    "v2_lists_control",
    "v2_lists_empty",
    "v2_lists_ended",
    "v2_lists_reset",
    "v2_lists_status",
    "v2_load_interface",
    "v2_read_lr",
    "v2_ring",
    "v2_save_interface",
    "v2_stop",
    "v2_wake_others",
    "v2_write_first_lr",
    "v2_write_lr",
]

CONTROL_RUN = int(GiccControl(ENABLE=True, EOIMODE=True))
HCR_RUN = int(GichControl(EN=True))
SPLIT_ENDS = int(GichMachineControl(SPLIT_ENDS=True))
GROUPS = int(GichMachineControl(GROUP0=True, GROUP1=True))
DISTRIBUTOR_ENABLE = 1
OTHERS = 1 << 24
ALIASED = 64 * KIB
LAST_ALIAS = ALIASED - PAGE_SIZE
DISTRIBUTOR, INTERFACE, CONTROL = PAGE_SIZE, 2 * PAGE_SIZE, PAGE_SIZE  # bytes of GICD, GICC and GICH
IIDR_IMPLEMENTER = 0xFFF
ARM = 0x43B


class Interfaces(Struct):
    """Each CPU's bit in GICD_ITARGETSR and GICD_SGIR."""

    bit: Array[InterfaceBit] = array(InterfaceBit, MAX_CPUS)


INTERFACES = zeroed(Interfaces)


gicc_read_iar: Callable[[u64], u64] = mmio_reader32(Gicc.IAR)  # of GIC.gicc
gicc_write_eoir: Callable[[u64, u64], None] = mmio_writer32(Gicc.EOIR)
gicc_write_dir: Callable[[u64, u64], None] = mmio_writer32(Gicc.DIR)
gicd_write_sgir: Callable[[u64, u64], None] = mmio_writer32(Gicd.SGIR)  # of GIC.gicd
gich_read_vmcr: Callable[[u64], u64] = mmio_reader32(Gich.VMCR)  # of GIC.gich
gich_read_elrsr: Callable[[u64], u64] = mmio_reader32(Gich.ELRSR0)
gich_write_hcr: Callable[[u64, u64], None] = mmio_writer32(Gich.HCR)
gich_write_vmcr: Callable[[u64, u64], None] = mmio_writer32(Gich.VMCR)


@fn(inline=True)
def read_apr_found(gich: u64) -> u64:
    return u64(mmio_read32(gich + u64(layout().apr)))


@fn(inline=True)
def write_apr_found(gich: u64, value: u64) -> None:
    mmio_write32(gich + u64(layout().apr), truncate(u32, value))


@fn(inline=True)
def write_lr0_found(gich: u64, value: u64) -> None:
    mmio_write32(GIC.lists, truncate(u32, value))


FIXED: tuple[Callable[[u64], u64], Callable[[u64, u64], None], Callable[[u64, u64], None]] = (
    mmio_reader32(Gich.APR),
    mmio_writer32(Gich.APR),
    mmio_writer32(Gich.LR0),
)
gich_read_apr, gich_write_apr, gich_write_lr0 = (read_apr_found, write_apr_found, write_lr0_found) if CONFIG.GIC_HIP04 else FIXED


@fn(inline=True)
def gicd_read(offset: u32) -> u32:
    return mmio_read32(GIC.gicd + u64(offset))


@fn(inline=True)
def gicd_write(offset: u32, value: u32) -> None:
    mmio_write32(GIC.gicd + u64(offset), value)


@fn(inline=True)
def gicc_write(offset: u32, value: u32) -> None:
    mmio_write32(GIC.gicc + u64(offset), value)


@fn(inline=True)
def gich_read(offset: u32) -> u32:
    return mmio_read32(wrapping_add(GIC.gich, u64(offset)))


@fn(inline=True)
def gich_write(offset: u32, value: u32) -> None:
    mmio_write32(wrapping_add(GIC.gich, u64(offset)), value)


@fn(inline=True)
def v2_read_lr(index: u32) -> u32:
    return mmio_read32_of(GIC.lists, u64(index))


@fn(inline=True)
def v2_write_lr(index: u32, value: u32) -> None:
    mmio_write32_of(GIC.lists, u64(index), value)


@fn(inline=True)
def v2_write_first_lr(value: u32) -> None:
    gich_write_lr0(GIC.gich, u64(value))


@fn(inline=True)
def v2_lists_empty() -> u32:
    return truncate(u32, gich_read_elrsr(GIC.gich))


@fn(inline=True)
def v2_lists_ended() -> u32:
    return gich_read(Gich.EISR0)


@fn(inline=True)
def v2_lists_control(value: u32) -> None:
    gich_write(Gich.HCR, value)


@fn(inline=True)
def v2_lists_status() -> u32:
    return gich_read(Gich.HCR)


@fn
def v2_groups() -> u32:
    return gich_read(Gich.VMCR) & GROUPS


@fn
def v2_ends_split() -> bool:
    return gich_read(Gich.VMCR) & SPLIT_ENDS != 0


@fn(inline=True)
def v2_save_interface(v: Vcpu) -> None:
    gich = GIC.gich
    vmcr = gich_read_vmcr(gich)
    apr = gich_read_apr(gich)
    v.vmcr = vmcr
    v.apr = apr


@fn(inline=True)
def v2_load_interface(v: Vcpu) -> None:
    gich = GIC.gich
    vmcr = v.vmcr
    apr = v.apr
    gich_write_vmcr(gich, vmcr)
    gich_write_apr(gich, apr)
    gich_write_hcr(gich, u64(v.vgic.control))


@fn
def v2_compatible(fdt: Fdt, node: Node) -> bool:
    """Whether a node of the device tree is a GICv2 with virtualization, or what this image drives as one."""
    return layout_choose(fdt, node)


@fn
def map_interface(gicc: Range) -> u64:
    """Map the CPU interface; by how much its place differs from what the tree says.

    Each of its pages may fill 64 KiB with copies of itself, so that a 64 KiB page table can tell them apart (SBSA, "GICv2 memory map").
    Then the last copy of the first page and the first one of the second make up the usual 8 KiB.
    """
    GIC.gicc = mmu_map_small_device(HostPhys(gicc.base), INTERFACE)
    if gicc.size != 2 * ALIASED:
        return 0
    last = mmu_map_small_device(HostPhys(gicc.base + LAST_ALIAS), INTERFACE)
    first = mmio_read32(GIC.gicc + Gicc.IIDR)
    if first & IIDR_IMPLEMENTER != ARM or first != mmio_read32(last + Gicc.IIDR):
        return 0
    GIC.gicc = last
    return LAST_ALIAS


@fn
def v2_init(fdt: Fdt, node: Node) -> Result:
    """Find the controller's parts and set up the distributor.

    NOT_FOUND: it lacks some of the virtualization extensions' four register ranges.
    """
    regs = zeroed(Regs)
    fdt_regs(fdt, node, regs)
    gicd = regs_entry(fdt, regs, 0)
    gicc = regs_entry(fdt, regs, 1)
    gich = regs_entry(fdt, regs, 2)
    gicv = regs_entry(fdt, regs, 3)
    if gicd.result != Result.OK or gicc.result != Result.OK or gich.result != Result.OK or gicv.result != Result.OK:
        return Result.NOT_FOUND
    maintenance = fdt_interrupt(fdt, node, 0)
    if maintenance.result == Result.INVALID or maintenance.intid >= 32:
        return Result.NOT_FOUND
    skipped = map_interface(gicc)
    GIC.gicd = mmu_map_small_device(HostPhys(gicd.base), DISTRIBUTOR)
    GIC.gich = mmu_map_small_device(HostPhys(gich.base), CONTROL)
    GIC.machine_gicd = gicd.base
    GIC.machine_gicc = gicc.base + skipped
    GIC.lists = GIC.gich + u64(layout().lists)
    GIC.gicv = HostPhys(gicv.base + skipped)
    GIC.gicv_size = gicv.size - skipped
    GIC.maintenance_ppi = maintenance.intid if maintenance.result == Result.OK else PPI_MAINTENANCE
    distributor_init()
    return Result.OK


@fn
def distributor_init() -> None:
    """Every SPI off, inactive, level-sensitive, of middle priority and aimed at no CPU; then forwarding on."""
    gicd_write(Gicd.CTLR, 0)
    GIC.intids = min(((gicd_read(Gicd.TYPER) & 0x1F) + 1) * 32, layout().intids)
    words = (GIC.intids + 31) // 32
    for word in range(u32(1), words):
        gicd_write(Gicd.ICENABLER + word * 4, 0xFFFF_FFFF)
        gicd_write(Gicd.ICPENDR + word * 4, 0xFFFF_FFFF)
        gicd_write(Gicd.ICACTIVER + word * 4, 0xFFFF_FFFF)
        gicd_write(Gicd.ICFGR + word * 8, 0)
        gicd_write(Gicd.ICFGR + word * 8 + 4, 0)
    priorities = GIC.gicd + Gicd.IPRIORITYR
    targets = GIC.gicd + Gicd.ITARGETSR
    for four in range(u64(8), u64(words) * 8):
        mmio_write32_of(priorities, four, PRIORITIES_DEFAULT)
        for part in range(u64(layout().target_size)):
            mmio_write32_of(targets, four * u64(layout().target_size) + part, 0)
    gicd_write(Gicd.CTLR, DISTRIBUTOR_ENABLE)


@fn
def v2_cpu_init(cpu: u32) -> None:
    """Set up this CPU's banked registers, its interface and its virtual interface."""
    gicd_write(Gicd.ICENABLER, 0xFFFF_FFFF)
    gicd_write(Gicd.ICACTIVER, 0xFFFF_FFFF)
    for group in range(u32(8)):
        gicd_write(Gicd.IPRIORITYR + group * 4, PRIORITIES_DEFAULT)
    mmio_write8(GIC.gicd + u64(Gicd.IPRIORITYR + GIC.maintenance_ppi), PRIORITY_MAINTENANCE)
    ours = u32(1 << SGI_KICK | 1 << SGI_STOP | 1 << SGI_POST | 1 << PPI_HYP_TIMER | 1 << PPI_VIRTUAL_TIMER)
    gicd_write(Gicd.ISENABLER, ours | u32(1) << GIC.maintenance_ppi)
    INTERFACES.bit[cpu] = own_interface()
    SCHED_CPUS[cpu].doorbell = u64(sgir(cpu) | SGI_POST)
    gicc_write(Gicc.PMR, PRIORITY_MASK_ALL)
    gicc_write(Gicc.BPR, 0)
    gicc_write(Gicc.CTLR, CONTROL_RUN)
    v2_lists_reset()


@fn
def own_interface() -> InterfaceBit:
    """This CPU's bit: what ITARGETSR0 reads as. A GIC with one CPU interface reads zero there, and takes bit 0."""
    bit = truncate(InterfaceBit, gicd_read(Gicd.ITARGETSR) & ((u32(1) << layout().cpus) - 1))
    return InterfaceBit(1) if bit == 0 else bit


@fn(inline=True)
def sgir(cpu: u32) -> u32:
    """GICD_SGIR for one CPU and interrupt 0."""
    return u32(INTERFACES.bit[cpu]) << layout().sgir_targets


@fn
def v2_lists_reset() -> None:
    GIC.list_registers = min((gich_read(Gich.VTR) & 0x3F) + 1, u32(LIST_REGISTERS))
    GIC.list_mask = (u32(1) << GIC.list_registers) - 1
    GIC.lists_run = HCR_RUN
    for index in range(GIC.list_registers):
        v2_write_lr(index, 0)
    gich_write_apr(GIC.gich, 0)
    gich_write(Gich.VMCR, 0)
    gich_write(Gich.HCR, HCR_RUN)


@fn
def target(intid: u32, bit: InterfaceBit) -> None:
    """Let a shared interrupt go to one CPU."""
    at = GIC.gicd + u64(Gicd.ITARGETSR + intid * layout().target_size)
    if layout().target_size == 2:
        mmio_write16(at, u16(bit))
    else:
        mmio_write8(at, truncate(u8, bit))


@fn
def v2_enable_spi(intid: u32, cpu: u32, level: bool) -> None:
    """Let a shared interrupt reach a CPU. An INTID that the controller does not have is ignored."""
    if intid < 32 or intid >= GIC.intids:
        return
    config = Gicd.ICFGR + (intid >> 4) * 4
    edge = u32(2) << ((intid & 15) * 2)
    gicd_write(config, gicd_read(config) & ~edge if level else gicd_read(config) | edge)
    target(intid, INTERFACES.bit[cpu])
    gicd_write(Gicd.ISENABLER + (intid >> 5) * 4, u32(1) << (intid & 31))


@fn(inline=True)
def v2_acknowledge() -> u32:
    """GICC_IAR: the interrupt to handle, with the sender of an SGI; from INTID_SPURIOUS on there is none."""
    return truncate(u32, gicc_read_iar(GIC.gicc))


@fn(inline=True)
def v2_end(iar: u32) -> None:
    """Drop the running priority and deactivate."""
    gicc = GIC.gicc
    gicc_write_eoir(gicc, u64(iar))
    if CONFIG.ARM64:
        gicc_write_dir(gicc, u64(iar))
    else:
        gicc_write(Gicc.DIR, iar)  # beyond the offsets of an A32 store


@fn(inline=True)
def v2_drop(iar: u32) -> None:
    """Drop the running priority only: the interrupt stays active for the guest to end."""
    gicc_write(Gicc.EOIR, iar)


@fn(inline=True)
def v2_deactivate(intid: u32) -> None:
    gicc_write(Gicc.DIR, intid)


@fn(inline=True)
def v2_kick(cpu: u32) -> None:
    """Make another CPU leave its guest, or its wait, and look at its mail. Memory written before is seen there."""
    data_sync_inner_stores()
    gicd_write(Gicd.SGIR, sgir(cpu) | SGI_KICK)


@fn(inline=True)
def v2_ring(doorbell: u64) -> None:
    """The same by SGI_POST, for `SchedCpu.doorbell`."""
    data_sync_inner_stores()
    gicd_write_sgir(GIC.gicd, doorbell)


@fn
def v2_wake_others() -> None:
    """Interrupt every other CPU, those too that have not come yet (GICD_SGIR.TargetListFilter)."""
    gicd_write(Gicd.SGIR, OTHERS | SGI_KICK)


@fn
def v2_stop(cpu: u32) -> None:
    """Make another CPU stop for good."""
    data_sync_inner_stores()
    gicd_write(Gicd.SGIR, sgir(cpu) | SGI_STOP)
