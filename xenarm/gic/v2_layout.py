"""Where interrupt controllers of the GICv2's kind differ: the architecture's own (ARM IHI 0048B), and HiSilicon's HiP04, for sixteen CPUs.

There is no public manual of HiP04's: what is here is what Linux (drivers/irqchip/irq-hip04.c) and Xen (arch/arm/gic-hip04.c) drive it by.
List registers, the CPU interface and all other registers are the architecture's.
"""

from typing import TYPE_CHECKING

from freestanding import Struct, fn, table, u8, u16, u32, zeroed

from xenarm.config import CONFIG
from xenarm.devicetree.reader import Fdt, Node
from xenarm.devicetree.values import fdt_compatible
from xenarm.gic.registers import SGIR_TARGETS_SHIFT, Gich

__all__ = ["ARCHITECTURE", "HIP04", "LAYOUT", "LAYOUTS", "InterfaceBit", "Layout", "layout", "layout_choose"]

if TYPE_CHECKING:
    InterfaceBit = u16
else:
    InterfaceBit = u16 if CONFIG.GIC_HIP04 else u8
"""One of the CPUs in GICD_ITARGETSR and GICD_SGIR."""


class Layout(Struct, frozen=True):
    """One controller's: offsets of GICH_APR and GICH_LR0; bytes of GICD_ITARGETSR for each interrupt, with a bit for each CPU; where GICD_SGIR
    has its list of CPUs; the most CPUs and INTIDs."""

    apr: u32
    lists: u32
    target_size: u32
    sgir_targets: u32
    cpus: u32
    intids: u32


ARCHITECTURE = Layout(apr=Gich.APR, lists=Gich.LR0, target_size=1, sgir_targets=SGIR_TARGETS_SHIFT, cpus=8, intids=1020)
HIP04 = Layout(apr=0x70, lists=0x80, target_size=2, sgir_targets=8, cpus=16, intids=510)
LAYOUTS = table(Layout, [ARCHITECTURE, HIP04] if CONFIG.GIC_HIP04 else [ARCHITECTURE])


class Chosen(Struct):
    """Row of LAYOUTS that the machine has."""

    row: u32


LAYOUT = zeroed(Chosen)


@fn
def layout_choose(fdt: Fdt, node: Node) -> bool:
    """Whether a node of the device tree is a GICv2 with virtualization; the layout is that one's from now on."""
    hip04 = CONFIG.GIC_HIP04 and fdt_compatible(fdt, node, b"hisilicon,hip04-intc")
    if CONFIG.GIC_HIP04:
        LAYOUT.row = 1 if hip04 else 0
    return hip04 or fdt_compatible(fdt, node, b"arm,cortex-a15-gic") or fdt_compatible(fdt, node, b"arm,gic-400")


@fn(inline=True)
def layout() -> Layout:
    """The machine's; a constant where the image has one only."""
    return LAYOUTS[LAYOUT.row] if CONFIG.GIC_HIP04 else LAYOUTS[0]
