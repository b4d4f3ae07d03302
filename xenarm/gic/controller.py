"""What the machine's interrupt controller turned out to be, and the numbers that both architectures share."""

from freestanding import Struct, fn, u32, u64, zeroed

from xenarm.config import CONFIG
from xenarm.core.addresses import HostPhys

__all__ = [
    "GIC",
    "PPI_HYP_TIMER",
    "PPI_MAINTENANCE",
    "PPI_VIRTUAL_TIMER",
    "PRIORITIES_DEFAULT",
    "PRIORITY_MAINTENANCE",
    "PRIORITY_MASK_ALL",
    "SGI_KICK",
    "SGI_POST",
    "SGI_STOP",
    "Gic",
    "gic_is_v3",
]

PPI_MAINTENANCE = 25  # where the tree does not say, as OMAP5's
PPI_HYP_TIMER: int = CONFIG.PPI_HYP_TIMER
PPI_VIRTUAL_TIMER: int = CONFIG.PPI_VIRTUAL_TIMER
SGI_KICK = 0
SGI_STOP = 1  # the hypervisor has failed
SGI_POST = 2  # as a kick, but all that there is may be an SGI in `VgicCpu.kicked`

PRIORITIES_DEFAULT = 0xA0A0_A0A0  # four interrupts of middle priority
PRIORITY_MAINTENANCE = 0xC0  # the least urgent: what a guest brings about, again and again if it likes, is served after timers, kicks and the serial port
PRIORITY_MASK_ALL = 0xF0  # let every priority through; four bits are the least a GIC has

assert CONFIG.GICV2 or CONFIG.GICV3, "Kconfig has chosen no interrupt controller"


class Gic(Struct):
    """Set once by the first CPU, before others start. `gicc` and `gich` are a GICv2's: those of a GICv3 are the CPU's own."""

    gicd: u64  # where EL2 has it, which is not where the machine has it; the same of the next two
    gicc: u64
    gich: u64
    machine_gicd: u64
    machine_gicc: u64
    lists: u64  # GICH_LR0
    gicv: HostPhys  # a GICv3's is for guests that see a GICv2; 0: it has none
    gicv_size: u64
    intids: u32
    list_registers: u32
    list_mask: u32  # one bit for each
    lists_run: u32  # GICH_HCR or ICH_HCR_EL2 of a guest without anything special
    maintenance_ppi: u32
    patience: u32  # looks at what other CPUs are to do for one load of a guest
    active_registers: u32  # a GICv3's ICH_AP0R<n>_EL2, and as many ICH_AP1R<n>_EL2
    v3: bool
    sre_open: bool  # on some CPU a guest can clear ICC_SRE_EL1.SRE by itself
    legacy: bool  # every CPU of a GICv3 lets a guest's accesses be by memory (ICC_SRE_EL1.SRE clear)


GIC = zeroed(Gic)


@fn(inline=True)
def gic_is_v3() -> bool:
    """Whether the machine has a GICv3. A constant where Kconfig leaves no choice. What a domain sees: `version.py`."""
    return CONFIG.GICV3 and (GIC.v3 or not CONFIG.GICV2)
