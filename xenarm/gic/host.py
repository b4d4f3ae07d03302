"""The machine's interrupt controller: the one list of operations, on a GICv2 or a GICv3 as the device tree says.

List registers have the layout of GICH_LR (ARM IHI 0048B 5.3.12) on both; `v3.py` turns it into that of ICH_LR<n>_EL2.
"""

from freestanding import fn, u32, u64

from xenarm.config import CONFIG
from xenarm.core.domain import Vcpu
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, ROOT, Fdt, Node, fdt_nodes
from xenarm.devicetree.values import fdt_by_phandle, fdt_status_okay, fdt_u32
from xenarm.gic.controller import GIC, gic_is_v3
from xenarm.gic.v2_layout import layout
from xenarm.gic.v2 import (
    v2_acknowledge,
    v2_compatible,
    v2_cpu_init,
    v2_deactivate,
    v2_drop,
    v2_enable_spi,
    v2_end,
    v2_ends_split,
    v2_groups,
    v2_init,
    v2_kick,
    v2_lists_control,
    v2_lists_empty,
    v2_lists_ended,
    v2_lists_reset,
    v2_lists_status,
    v2_read_lr,
    v2_stop,
    v2_wake_others,
    v2_write_lr,
)
from xenarm.gic.v3 import (
    v3_acknowledge,
    v3_by_memory,
    v3_by_registers,
    v3_compatible,
    v3_cpu_init,
    v3_deactivate,
    v3_drop,
    v3_enable_spi,
    v3_end,
    v3_ends_split,
    v3_groups,
    v3_init,
    v3_kick,
    v3_lists_control,
    v3_lists_empty,
    v3_lists_ended,
    v3_lists_reset,
    v3_lists_status,
    v3_read_lr,
    v3_region,
    v3_region_count,
    v3_stop,
    v3_takes_affinity3,
    v3_write_lr,
)

__all__ = [
    "NO_GIC",
    "gic_acknowledge",
    "gic_by_memory",
    "gic_by_registers",
    "gic_cpu_init",
    "gic_deactivate",
    "gic_drop",
    "gic_enable_spi",
    "gic_end",
    "gic_ends_split",
    "gic_groups",
    "gic_init",
    "gic_is_v3",
    "gic_kick",
    "gic_kick_others",
    "gic_lists_control",
    "gic_lists_empty",
    "gic_lists_ended",
    "gic_lists_reset",
    "gic_lists_status",
    "gic_most_cpus",
    "gic_read_lr",
    "gic_region",
    "gic_region_count",
    "gic_stop_others",
    "gic_takes_affinity3",
    "gic_wake_others",
    "gic_write_lr",
]

NO_GIC = b"no %s with virtualization in the device tree" % b" or ".join([b"GICv2"] * CONFIG.GICV2 + [b"GICv3"] * CONFIG.GICV3)
"""What to say when the machine has none that this image has a driver for."""

PATIENCE = 1_000_000  # far more than any exception takes


@fn
def init_at(fdt: Fdt, node: Node) -> Result:
    """NOT_FOUND: the node is no controller that the image has a driver for."""
    if CONFIG.GICV3 and v3_compatible(fdt, node):
        GIC.v3 = True
        return v3_init(fdt, node)
    if CONFIG.GICV2 and v2_compatible(fdt, node):
        return v2_init(fdt, node)
    return Result.NOT_FOUND


@fn
def gic_init(fdt: Fdt) -> Result:
    """Find the controller in the device tree and set up its distributor.

    NOT_FOUND: none that the image has a driver for, or one without virtualization. Most trees name it as the root's interrupt parent.
    """
    GIC.patience = PATIENCE
    node = fdt_by_phandle(fdt, fdt_u32(fdt, ROOT, b"interrupt-parent", 0))
    if node != NO_NODE and init_at(fdt, node) == Result.OK:
        return Result.OK
    for other in fdt_nodes(fdt):
        if fdt_status_okay(fdt, other) and init_at(fdt, other) == Result.OK:
            return Result.OK
    return Result.NOT_FOUND


@fn
def gic_cpu_init(cpu: u32) -> Result:
    """Set up this CPU's part of the controller, and its virtual interface. NOT_FOUND: a GICv3 without a redistributor for it."""
    if CONFIG.GICV3 and gic_is_v3():
        return v3_cpu_init(cpu)
    v2_cpu_init(cpu)
    return Result.OK


@fn
def gic_most_cpus(cpus: u32) -> u32:
    """So many CPUs of the machine as its controller has room for."""
    return cpus if CONFIG.GICV3 and gic_is_v3() else min(cpus, layout().cpus)


@fn
def gic_enable_spi(intid: u32, cpu: u32, level: bool) -> None:
    """Let a shared interrupt reach a CPU. An INTID that the controller does not have is ignored."""
    if CONFIG.GICV3 and gic_is_v3():
        v3_enable_spi(intid, cpu, level)
    else:
        v2_enable_spi(intid, cpu, level)


@fn
def gic_region_count() -> u32:
    """Regions of redistributors; a GICv2 has none."""
    return v3_region_count() if CONFIG.GICV3 and gic_is_v3() else u32(0)


@fn
def gic_region(index: u32) -> tuple[u64, u64]:
    """(Address, size) of one of them."""
    return v3_region(index) if CONFIG.GICV3 else (u64(0), u64(0))


# ---- this CPU's interrupts --------------------------------------------------------------------------------------------


@fn(inline=True)
def gic_acknowledge() -> u32:
    """The interrupt to handle, with the sender of a GICv2's SGI; from INTID_SPURIOUS on there is none."""
    return v3_acknowledge() if CONFIG.GICV3 and gic_is_v3() else v2_acknowledge()


@fn(inline=True)
def gic_end(iar: u32) -> None:
    """Drop the running priority and deactivate."""
    if CONFIG.GICV3 and gic_is_v3():
        v3_end(iar)
    else:
        v2_end(iar)


@fn(inline=True)
def gic_drop(iar: u32) -> None:
    """Drop the running priority only: the interrupt stays active for the guest to end."""
    if CONFIG.GICV3 and gic_is_v3():
        v3_drop(iar)
    else:
        v2_drop(iar)


@fn(inline=True)
def gic_deactivate(intid: u32) -> None:
    if CONFIG.GICV3 and gic_is_v3():
        v3_deactivate(intid)
    else:
        v2_deactivate(intid)


@fn
def gic_kick(cpu: u32) -> None:
    """Make another CPU leave its guest, or its wait, and look at its mail. Memory written before is seen there."""
    if CONFIG.GICV3 and gic_is_v3():
        v3_kick(cpu)
    else:
        v2_kick(cpu)


@fn
def gic_kick_others(cpus: u32, me: u32) -> None:
    """Kick the first `cpus` CPUs but this one."""
    for cpu in range(cpus):
        if cpu != me:
            gic_kick(cpu)


@fn
def gic_wake_others() -> None:
    """Interrupt the other CPUs, those too that have not come yet. Where there is a GICv3 none of them sleeps for an interrupt."""
    if CONFIG.GICV2 and not gic_is_v3():
        v2_wake_others()


@fn
def gic_stop_others(cpus: u32, me: u32) -> None:
    """Have the first `cpus` CPUs but this one stop for good, as soon as they can be interrupted."""
    for cpu in range(cpus):
        if cpu != me:
            if CONFIG.GICV3 and gic_is_v3():
                v3_stop(cpu)
            else:
                v2_stop(cpu)


# ---- list registers ---------------------------------------------------------------------------------------------------


@fn(inline=True)
def gic_read_lr(index: u32) -> u32:
    return v3_read_lr(index) if CONFIG.GICV3 and gic_is_v3() else v2_read_lr(index)


@fn(inline=True)
def gic_write_lr(index: u32, value: u32) -> None:
    if CONFIG.GICV3 and gic_is_v3():
        v3_write_lr(index, value)
    else:
        v2_write_lr(index, value)


@fn(inline=True)
def gic_lists_empty() -> u32:
    """List registers without an interrupt, a bit each."""
    return v3_lists_empty() if CONFIG.GICV3 and gic_is_v3() else v2_lists_empty()


@fn(inline=True)
def gic_lists_ended() -> u32:
    """List registers whose interrupt has ended and asked for a maintenance interrupt then, a bit each."""
    return v3_lists_ended() if CONFIG.GICV3 and gic_is_v3() else v2_lists_ended()


@fn(inline=True)
def gic_lists_control(value: u32) -> None:
    """GICH_HCR or ICH_HCR_EL2, whose low bits are the same (`GichControl`)."""
    if CONFIG.GICV3 and gic_is_v3():
        v3_lists_control(value)
    else:
        v2_lists_control(value)


@fn
def gic_lists_status() -> u32:
    """The same, with what it has counted."""
    return v3_lists_status() if CONFIG.GICV3 and gic_is_v3() else v2_lists_status()


@fn
def gic_groups() -> u32:
    """Groups that the guest's CPU interface takes: bit 0 group 0, bit 1 group 1."""
    return v3_groups() if CONFIG.GICV3 and gic_is_v3() else v2_groups()


@fn
def gic_ends_split() -> bool:
    """Whether the guest has chosen that its ends drop the priority only (EOImode)."""
    return v3_ends_split() if CONFIG.GICV3 and gic_is_v3() else v2_ends_split()


@fn
def gic_by_memory() -> None:
    """This CPU's virtual interface is for a guest that sees a GICv2, on a GICv3."""
    v3_by_memory()


@fn
def gic_by_registers() -> None:
    """By system registers again, where a guest may have turned them off."""
    v3_by_registers()


@fn
def gic_takes_affinity3() -> bool:
    """Whether a vCPU may have affinity 3. A GICv2 knows no affinities."""
    return v3_takes_affinity3() if CONFIG.GICV3 and gic_is_v3() else True


@fn
def gic_lists_reset() -> None:
    """This CPU's virtual interface as after reset, enabled, its list registers empty."""
    if CONFIG.GICV3 and gic_is_v3():
        v3_lists_reset()
    else:
        v2_lists_reset()
