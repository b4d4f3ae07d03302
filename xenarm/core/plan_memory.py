"""A domain's memory and the places of its devices, as its node asks for them (Xen's docs/misc/arm/device-tree/booting.txt)."""

from freestanding import fn, u32, u64
from xenarm.abi.layout import GUEST_GICC_BASE, GUEST_GICD_BASE, GUEST_GICR1_BASE, GUEST_GICR1_SIZE, GUEST_GICR_BASE, GUEST_GICR_FRAME, GUEST_GICR_SIZE, GUEST_PL011_BASE, GUEST_PL011_SIZE, GUEST_RAM0_SIZE, GUEST_RAM1_SIZE, GUEST_VPL011_SPI
from xenarm.config import CONFIG
from xenarm.core.addresses import KIB, MIB, PAGE_SIZE
from xenarm.core.console import console_place
from xenarm.core.memory import memory_conflict, memory_free, memory_holds
from xenarm.core.plan_state import Plan, refuse, refuse_number, refuse_overlap
from xenarm.core.result import Result
from xenarm.core.static_memory import MOST_STATIC, static_memory
from xenarm.devicetree.reader import Fdt, fdt_property
from xenarm.devicetree.values import fdt_u64
from xenarm.gic.controller import GIC
from xenarm.gic.host import gic_region, gic_region_count
from xenarm.gic.regions import gicr_add, gicr_placed
from xenarm.gic.state import VGIC_INTIDS
from xenarm.p2m.stage2 import p2m_limit

__all__ = ["plan_layout", "plan_memory", "plan_tables"]

MOST_RAM_KIB = (GUEST_RAM0_SIZE + GUEST_RAM1_SIZE) // KIB
TABLE_ROOM = 64 * KIB  # stage-2 tables, taken beside a domain's RAM


@fn
def plan_static(fdt: Fdt, plan: Plan, kib: u64) -> bool:
    """RAM at machine addresses of its own: `memory` says how much it is together, as Xen wants it."""
    total = u64(0)
    for i in range(u32(MOST_STATIC)):
        place = static_memory(fdt, plan.node, i)
        if place.result != Result.OK:
            break
        if place.size == 0 or (place.base | place.size) & (PAGE_SIZE - 1) != 0 or not memory_holds(place.base, place.size):
            return refuse(fdt, plan, plan.node, b"xen,static-mem is not in whole pages of the machine's memory", b"correct address and size")
        if CONFIG.DIRECT_MAP and plan.direct and place.base + place.size > p2m_limit():
            return refuse(fdt, plan, plan.node, b"direct-map reaches beyond the 40 bits of a guest's addresses", b"choose memory below")
        total += place.size
    if total == 0:
        return refuse(fdt, plan, plan.node, b"xen,static-mem is malformed", b"give addresses and sizes, in #xen,static-mem-address-cells and -size-cells")
    if total // KIB != kib or (total > GUEST_RAM0_SIZE and not plan.direct):
        return refuse_number(fdt, plan, b"memory", kib, total // KIB, b" KiB of xen,static-mem", b"give both the same size, at most 3 GiB")
    other = memory_conflict(plan.node)
    if other is not None:
        return refuse_overlap(fdt, plan, plan.node, b"xen,static-mem", other, b"give each its own memory")
    plan.memory = total
    plan.static = True
    return True


@fn
def plan_tables(fdt: Fdt, plan: Plan) -> bool:
    """The size of the domain's pool of translation tables, where the tree gives one."""
    if not plan.special:
        return True
    present, value = fdt_property(fdt, plan.node, b"xen,domain-p2m-mem-mb")
    if not present:
        return True
    if len(value) != 4 or value.load_be32(0) == 0:
        return refuse(fdt, plan, plan.node, b"xen,domain-p2m-mem-mb is no number of MiB", b"give it in one cell, or leave it out")
    plan.table_pages = u64(value.load_be32(0)) * (MIB // PAGE_SIZE)
    return True


@fn
def plan_memory(fdt: Fdt, plan: Plan) -> bool:
    result, kib = fdt_u64(fdt, plan.node, b"memory")
    if result == Result.NOT_FOUND:
        return refuse(fdt, plan, plan.node, b"memory is missing", b"give the domain's RAM in KiB, as two cells")
    if result != Result.OK or kib == 0:
        return refuse(fdt, plan, plan.node, b"memory is no number of KiB", b"give it as two cells, for 64 MiB <0 0x10000>")
    if plan.special and fdt_property(fdt, plan.node, b"xen,static-mem")[0]:
        return plan_static(fdt, plan, kib)
    if CONFIG.DIRECT_MAP and plan.direct:
        return refuse(fdt, plan, plan.node, b"direct-map is for memory at fixed addresses only", b"give xen,static-mem, or leave direct-map out")
    free = memory_free()
    free -= min(free, TABLE_ROOM)
    if kib > MOST_RAM_KIB or kib * KIB > free:
        return refuse_number(fdt, plan, b"memory", kib, free // KIB, b" KiB", b"ask for less, or give the machine more")
    plan.memory = (kib * KIB + (PAGE_SIZE - 1)) & ~u64(PAGE_SIZE - 1)
    return True


@fn
def plan_layout(fdt: Fdt, plan: Plan) -> bool:
    """Where the devices are: as in Xen's guest memory map; where guest memory is machine memory, as in the machine, where none of it can be."""
    plan.layout.gicd = u64(GUEST_GICD_BASE)
    plan.layout.gicc = u64(GUEST_GICC_BASE)
    plan.layout.uart = u64(GUEST_PL011_BASE)
    plan.layout.uart_intid = GUEST_VPL011_SPI
    direct, _ = fdt_property(fdt, plan.node, b"direct-map")
    plan.direct = direct
    if not direct:
        if CONFIG.GICV3 and plan.gic_v3:
            gicr_add(plan.layout, u64(GUEST_GICR_BASE), GUEST_GICR_SIZE, plan.vcpus)
            if plan.vcpus > GUEST_GICR_SIZE // GUEST_GICR_FRAME:
                gicr_add(plan.layout, u64(GUEST_GICR1_BASE), GUEST_GICR1_SIZE, plan.vcpus)
        return True
    if CONFIG.DIRECT_MAP:
        return plan_layout_direct(fdt, plan)
    else:
        return refuse(fdt, plan, plan.node, b"direct-map asks for what this image has not", b"build it with CONFIG_DIRECT_MAP, or leave direct-map out")


@fn
def plan_layout_direct(fdt: Fdt, plan: Plan) -> bool:
    """The devices where the machine has them."""
    plan.layout.gicd = GIC.machine_gicd
    plan.layout.gicc = GIC.machine_gicc
    if (GIC.machine_gicd | GIC.machine_gicc) & (PAGE_SIZE - 1) != 0:
        return refuse(fdt, plan, plan.node, b"direct-map: the machine's interrupt controller is not on page boundaries", b"leave direct-map out")
    if CONFIG.GICV3 and plan.gic_v3 and not plan_redistributors(plan):
        return refuse(fdt, plan, plan.node, b"direct-map: the machine has fewer redistributors than the domain has CPUs", b"leave direct-map out")
    return plan_layout_uart(fdt, plan) if CONFIG.VPL011 and plan.vpl011 else True


@fn
def plan_redistributors(plan: Plan) -> bool:
    """In the machine's own regions, those that begin where a page does."""
    for index in range(gic_region_count()):
        base, size = gic_region(index)
        if base & (PAGE_SIZE - 1) == 0:
            gicr_add(plan.layout, base, size, plan.vcpus)
    return gicr_placed(plan.layout) == plan.vcpus


@fn
def plan_layout_uart(fdt: Fdt, plan: Plan) -> bool:
    """The place and the interrupt of the machine's own port, as Xen does it."""
    base, size, intid = console_place()
    if base & (PAGE_SIZE - 1) != 0 or size < GUEST_PL011_SIZE or intid < 32 or intid >= VGIC_INTIDS:
        return refuse(fdt, plan, plan.node, b"vpl011 of a direct-map domain takes the place of the machine's port, which is not fit for it", b"leave vpl011 out")
    plan.layout.uart = base
    plan.layout.uart_intid = intid
    return True
