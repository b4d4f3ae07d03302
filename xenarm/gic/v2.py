"""The physical GICv2 (ARM IHI 0048B): distributor, each CPU's interface, the virtual interface's registers.

Priority drop and deactivation are split (EOImode), so that an interrupt can stay active on behalf of a guest.
"""

from freestanding import Array, Struct, array, fn, truncate, u8, u32, u64, zeroed

from xenarm.arm64.instructions import data_sync_inner_stores, mmio_read32, mmio_write8, mmio_write32
from xenarm.arm64.mmu import mmu_map_device
from xenarm.core.addresses import HostPhys
from xenarm.core.domain import MAX_CPUS
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, Fdt, Node
from xenarm.devicetree.values import Range, fdt_find_compatible, fdt_interrupt, fdt_reg
from xenarm.gic.registers import SGIR_TARGETS_SHIFT, Gicc, GiccControl, Gicd, Gich, GichControl
from xenarm.gic.state import LIST_REGISTERS

__all__ = [
    "GIC",
    "PPI_HYP_TIMER",
    "PPI_VIRTUAL_TIMER",
    "SGI_KICK",
    "gic_acknowledge",
    "gic_cpu_init",
    "gic_deactivate",
    "gic_drop",
    "gic_enable_spi",
    "gic_end",
    "gic_init",
    "gic_kick",
    "gic_kick_others",
    "gich_init",
    "gich_read",
    "gich_read_lr",
    "gich_write",
    "gich_write_lr",
]

PPI_HYP_TIMER = 26  # Arm's base system architecture gives these PPIs their numbers
PPI_VIRTUAL_TIMER = 27
SGI_KICK = 0

PRIORITY_DEFAULT = 0xA0
PRIORITY_MASK_ALL = 0xF0  # let every priority through; four bits are the least a GIC has
CONTROL_RUN = int(GiccControl(ENABLE=True, EOIMODE=True))
HCR_RUN = int(GichControl(EN=True))
DISTRIBUTOR_ENABLE = 1


class GicV2(Struct):
    """Where the parts of the controller lie, and what it turned out to have."""

    gicd: u64
    gicc: u64
    gich: u64
    gicv: HostPhys
    gicv_size: u64
    intids: u32
    list_registers: u32
    list_mask: u32  # one bit for each
    maintenance_ppi: u32
    interface: Array[u8] = array(u8, MAX_CPUS)  # each CPU's bit in ITARGETSR and SGIR


GIC = zeroed(GicV2)


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
    return mmio_read32(GIC.gich + u64(offset))


@fn(inline=True)
def gich_write(offset: u32, value: u32) -> None:
    mmio_write32(GIC.gich + u64(offset), value)


@fn(inline=True)
def gich_read_lr(index: u32) -> u32:
    return gich_read(Gich.LR0 + index * 4)


@fn(inline=True)
def gich_write_lr(index: u32, value: u32) -> None:
    gich_write(Gich.LR0 + index * 4, value)


@fn
def gic_node(fdt: Fdt) -> Node:
    node = fdt_find_compatible(fdt, b"arm,cortex-a15-gic")
    if node == NO_NODE:
        node = fdt_find_compatible(fdt, b"arm,gic-400")
    return node


@fn
def map_part(fdt: Fdt, node: Node, index: u32) -> Range:
    part = fdt_reg(fdt, node, index)
    if part.result == Result.OK:
        mmu_map_device(HostPhys(part.base), part.size)
    return part


@fn
def gic_init(fdt: Fdt) -> Result:
    """Find the controller in the device tree and set up the distributor and this CPU's interface.

    NOT_FOUND: no GICv2, or one without the virtualization extensions' four register ranges.
    """
    node = gic_node(fdt)
    if node == NO_NODE:
        return Result.NOT_FOUND
    gicd = map_part(fdt, node, 0)
    gicc = map_part(fdt, node, 1)
    gich = map_part(fdt, node, 2)
    gicv = fdt_reg(fdt, node, 3)
    if gicd.result != Result.OK or gicc.result != Result.OK or gich.result != Result.OK or gicv.result != Result.OK:
        return Result.NOT_FOUND
    maintenance = fdt_interrupt(fdt, node, 0)
    if maintenance.result != Result.OK or maintenance.intid >= 32:
        return Result.NOT_FOUND
    GIC.gicd = gicd.base
    GIC.gicc = gicc.base
    GIC.gich = gich.base
    GIC.gicv = HostPhys(gicv.base)
    GIC.gicv_size = gicv.size
    GIC.maintenance_ppi = maintenance.intid
    distributor_init()
    return Result.OK


@fn
def distributor_init() -> None:
    """Every SPI off, inactive, level-sensitive, of middle priority and aimed at no CPU; then forwarding on."""
    gicd_write(Gicd.CTLR, 0)
    words = (gicd_read(Gicd.TYPER) & 0x1F) + 1
    GIC.intids = words * 32
    for word in range(u32(1), words):
        gicd_write(Gicd.ICENABLER + word * 4, 0xFFFF_FFFF)
        gicd_write(Gicd.ICPENDR + word * 4, 0xFFFF_FFFF)
        gicd_write(Gicd.ICACTIVER + word * 4, 0xFFFF_FFFF)
        gicd_write(Gicd.ICFGR + word * 8, 0)
        gicd_write(Gicd.ICFGR + word * 8 + 4, 0)
        for group in range(u32(8)):
            gicd_write(Gicd.IPRIORITYR + word * 32 + group * 4, PRIORITY_DEFAULT * 0x0101_0101)
            gicd_write(Gicd.ITARGETSR + word * 32 + group * 4, 0)
    gicd_write(Gicd.CTLR, DISTRIBUTOR_ENABLE)


@fn
def gic_cpu_init(cpu: u32) -> None:
    """Set up this CPU's banked registers, its interface and its virtual interface."""
    gicd_write(Gicd.ICENABLER, 0xFFFF_FFFF)
    gicd_write(Gicd.ICACTIVER, 0xFFFF_FFFF)
    for group in range(u32(8)):
        gicd_write(Gicd.IPRIORITYR + group * 4, PRIORITY_DEFAULT * 0x0101_0101)
    ours = u32(1 << SGI_KICK | 1 << PPI_HYP_TIMER | 1 << PPI_VIRTUAL_TIMER)
    gicd_write(Gicd.ISENABLER, ours | u32(1) << GIC.maintenance_ppi)
    GIC.interface[cpu] = own_interface()
    gicc_write(Gicc.PMR, PRIORITY_MASK_ALL)
    gicc_write(Gicc.BPR, 0)
    gicc_write(Gicc.CTLR, CONTROL_RUN)
    gich_init()


@fn
def own_interface() -> u8:
    """This CPU's bit: what ITARGETSR0 reads as. A GIC with one CPU interface reads zero there, and takes bit 0."""
    bit = truncate(u8, gicd_read(Gicd.ITARGETSR))
    return u8(1) if bit == 0 else bit


@fn
def gich_init() -> None:
    GIC.list_registers = min((gich_read(Gich.VTR) & 0x3F) + 1, u32(LIST_REGISTERS))
    GIC.list_mask = (u32(1) << GIC.list_registers) - 1
    for index in range(GIC.list_registers):
        gich_write_lr(index, 0)
    gich_write(Gich.APR, 0)
    gich_write(Gich.VMCR, 0)
    gich_write(Gich.HCR, HCR_RUN)


@fn
def gic_enable_spi(intid: u32, cpu: u32, level: bool) -> None:
    """Let a shared interrupt reach a CPU. An INTID that the controller does not have is ignored."""
    if intid < 32 or intid >= GIC.intids:
        return
    config = Gicd.ICFGR + (intid >> 4) * 4
    edge = u32(2) << ((intid & 15) * 2)
    gicd_write(config, gicd_read(config) & ~edge if level else gicd_read(config) | edge)
    mmio_write8(GIC.gicd + u64(Gicd.ITARGETSR + intid), GIC.interface[cpu])
    gicd_write(Gicd.ISENABLER + (intid >> 5) * 4, u32(1) << (intid & 31))


@fn(inline=True)
def gic_acknowledge() -> u32:
    """GICC_IAR: the interrupt to handle, with the sender of an SGI; from INTID_SPURIOUS on there is none."""
    return mmio_read32(GIC.gicc + Gicc.IAR)


@fn(inline=True)
def gic_end(iar: u32) -> None:
    """Drop the running priority and deactivate."""
    gicc_write(Gicc.EOIR, iar)
    gicc_write(Gicc.DIR, iar)


@fn(inline=True)
def gic_drop(iar: u32) -> None:
    """Drop the running priority only: the interrupt stays active for the guest to end."""
    gicc_write(Gicc.EOIR, iar)


@fn(inline=True)
def gic_deactivate(intid: u32) -> None:
    gicc_write(Gicc.DIR, intid)


@fn
def gic_kick(cpu: u32) -> None:
    """Make another CPU leave its guest, or its wait, and look at its mail. Memory written before is seen there."""
    data_sync_inner_stores()
    gicd_write(Gicd.SGIR, u32(GIC.interface[cpu]) << SGIR_TARGETS_SHIFT | SGI_KICK)


@fn
def gic_kick_others(cpus: u32, me: u32) -> None:
    """Kick the first `cpus` CPUs but this one."""
    for cpu in range(cpus):
        if cpu != me:
            gic_kick(cpu)
