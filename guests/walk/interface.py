"""This CPU's interface of either version, by what it does, with the registers of group 0 and those of group 1; and interrupts by number.

QEMU's GICv2 has no registers of group 1 but ABPR (GICC_AIAR, GICC_AEOIR and GICC_AHPPIR read as zero, bare and virtual): there GICC_CTLR.AckCtl is on,
with which those of group 0 serve both (IHI 0048B 4.4, GICC_CTLR).
"""

from freestanding import fn, truncate, u8, u32, u64
from guests.runtime.cpu import cpu_number
from guests.runtime.gic import GIC, gic_own_target, gic_redistributor, gic_registers, gic_route
from guests.runtime.registers import read_mpidr_el1
from guests.walk.icc import Reader, Writer, icc_reader, icc_writer, read_isr, write_icc_sgi1r
from xenarm.arm.instructions import data_sync_all, instruction_sync, mmio_read32, mmio_write8, mmio_write32
from xenarm.gic.registers import Gicc, Gicd
from xenarm.gic.registers3 import Gicr

__all__ = [
    "BOTH",
    "SPURIOUS",
    "acknowledge",
    "active_of",
    "binary_point",
    "common_point",
    "configure",
    "deactivate",
    "distributor_groups",
    "drop",
    "groups",
    "highest",
    "interface_start",
    "line_bit",
    "line_setup",
    "one_for_both",
    "priority_mask",
    "reset_interrupts",
    "running",
    "send_self",
    "set_group",
    "set_line",
    "set_priority",
    "signals",
    "split_ends",
    "state_of",
    "target",
]

read_icc_iar0: Reader = icc_reader("icc_iar0_el1")
read_icc_hppir0: Reader = icc_reader("icc_hppir0_el1")
read_icc_hppir1: Reader = icc_reader("icc_hppir1_el1")
read_icc_rpr: Reader = icc_reader("icc_rpr_el1")
read_icc_ctlr: Reader = icc_reader("icc_ctlr_el1")
write_icc_eoir0: Writer = icc_writer("icc_eoir0_el1")
write_icc_bpr0: Writer = icc_writer("icc_bpr0_el1")
write_icc_igrpen0: Writer = icc_writer("icc_igrpen0_el1")
read_icc_iar1: Reader = icc_reader("icc_iar1_el1")
write_icc_eoir1: Writer = icc_writer("icc_eoir1_el1")
write_icc_bpr1: Writer = icc_writer("icc_bpr1_el1")
write_icc_igrpen1: Writer = icc_writer("icc_igrpen1_el1")
write_icc_ctlr: Writer = icc_writer("icc_ctlr_el1")
write_icc_dir: Writer = icc_writer("icc_dir_el1")
write_icc_pmr: Writer = icc_writer("icc_pmr_el1")
write_icc_sre_el1: Writer = icc_writer("icc_sre_el1")

SPURIOUS = 1023
BOTH = 3
GROUPS = 3  # of GICC_CTLR
ACKNOWLEDGE_BOTH = 1 << 2
FIQ_ENABLE = 1 << 3
COMMON_V2, SPLIT_V2 = 1 << 4, 1 << 9
COMMON_V3, SPLIT_V3 = 1 << 0, 1 << 1
ABPR, HPPIR = 0x1C, 0x18
SELF = 2 << 24
ARE = 1 << 4
ALL = 0xFFFF_FFFF
MASK_NONE = 0xF8
LEAST = 64


# ---- CPU interface ----------------------------------------------------------------------------------------------------


@fn
def acknowledge(group: u32) -> u32:
    if GIC.v3:
        iar = truncate(u32, read_icc_iar1() if group != 0 else read_icc_iar0())
        data_sync_all()
        return iar
    return mmio_read32(GIC.gicc + Gicc.IAR)


@fn
def drop(group: u32, iar: u32) -> None:
    """The end of an interrupt, or with split ends the drop of its priority."""
    if not GIC.v3:
        mmio_write32(GIC.gicc + Gicc.EOIR, iar)
    elif group != 0:
        write_icc_eoir1(u64(iar))
    else:
        write_icc_eoir0(u64(iar))
    instruction_sync()


@fn
def deactivate(iar: u32) -> None:
    if GIC.v3:
        write_icc_dir(u64(iar))
        instruction_sync()
    else:
        mmio_write32(GIC.gicc + Gicc.DIR, iar)


@fn
def highest(group: u32) -> u32:
    if GIC.v3:
        return truncate(u32, read_icc_hppir1() if group != 0 else read_icc_hppir0())
    return mmio_read32(GIC.gicc + HPPIR)


@fn
def running() -> u32:
    return truncate(u32, read_icc_rpr()) if GIC.v3 else mmio_read32(GIC.gicc + Gicc.RPR)


@fn
def priority_mask(value: u32) -> None:
    if GIC.v3:
        write_icc_pmr(u64(value))
        instruction_sync()
    else:
        mmio_write32(GIC.gicc + Gicc.PMR, value)


@fn
def binary_point(group: u32, value: u32) -> None:
    if not GIC.v3:
        mmio_write32(GIC.gicc + (ABPR if group != 0 else Gicc.BPR), value)
    elif group != 0:
        write_icc_bpr1(u64(value))
    else:
        write_icc_bpr0(u64(value))
    instruction_sync()


@fn
def change_control(bit: u32, on: bool) -> None:
    if GIC.v3:
        control = truncate(u32, read_icc_ctlr()) & BOTH
        write_icc_ctlr(u64(control | bit if on else control & ~bit))
        instruction_sync()
    else:
        control = mmio_read32(GIC.gicc + Gicc.CTLR)
        mmio_write32(GIC.gicc + Gicc.CTLR, control | bit if on else control & ~bit)


@fn
def split_ends(on: bool) -> None:
    """EOImode."""
    change_control(u32(SPLIT_V3) if GIC.v3 else u32(SPLIT_V2), on)


@fn
def common_point(on: bool) -> None:
    """CBPR."""
    change_control(u32(COMMON_V3) if GIC.v3 else u32(COMMON_V2), on)


@fn
def groups(mask: u32) -> None:
    """Which groups the interface signals: bit 0 and bit 1. Group 0 by FIQ, as a GICv3 always does."""
    if GIC.v3:
        write_icc_igrpen0(u64(mask & 1))
        write_icc_igrpen1(u64(mask >> 1))
        instruction_sync()
    else:
        control = mmio_read32(GIC.gicc + Gicc.CTLR) & ~u32(GROUPS)
        mmio_write32(GIC.gicc + Gicc.CTLR, control | FIQ_ENABLE | mask)


@fn
def one_for_both(on: bool) -> None:
    """AckCtl, of a GICv2."""
    if not GIC.v3:
        change_control(u32(ACKNOWLEDGE_BOTH), on)


@fn
def signals() -> u32:
    """What the CPU sees: bit 0 a pending FIQ, bit 1 a pending IRQ."""
    instruction_sync()
    return truncate(u32, read_isr() >> 6) & 3


@fn
def interface_start() -> None:
    """On each CPU: every priority, both groups, no binary point."""
    if GIC.v3:
        base = gic_redistributor(read_mpidr_el1() & 0xFF_FFFF)
        GIC.own[cpu_number()] = base
        mmio_write32(base + Gicr.WAKER, 0)
        write_icc_sre_el1(7)
        instruction_sync()
    priority_mask(MASK_NONE)
    binary_point(0, 2)
    binary_point(1, 3)
    split_ends(False)
    common_point(False)
    one_for_both(True)
    groups(BOTH)


@fn
def target() -> u64:
    """What names this CPU."""
    return gic_own_target()


# ---- interrupts -------------------------------------------------------------------------------------------------------


@fn
def distributor_groups(mask: u32) -> None:
    mmio_write32(GIC.gicd + Gicd.CTLR, mask | ARE if GIC.v3 else mask)


@fn
def at(register: u32, intid: u32) -> u64:
    return gic_registers(intid) + u64(register + (intid >> 5) * 4)


@fn
def set_line(register: u32, intid: u32) -> None:
    """A one in ISENABLER, ICPENDR and so on."""
    mmio_write32(at(register, intid), u32(1) << (intid & 31))


@fn
def line_bit(register: u32, intid: u32) -> u32:
    return mmio_read32(at(register, intid)) >> (intid & 31) & 1


@fn
def state_of(intid: u32) -> u32:
    """Bit 0: pending; bit 4: active; bit 8: enabled."""
    return line_bit(Gicd.ISPENDR, intid) | line_bit(Gicd.ISACTIVER, intid) << 4 | line_bit(Gicd.ISENABLER, intid) << 8


@fn
def active_of(intid: u32) -> u32:
    """Which are active of the 32 that an interrupt is one of."""
    return mmio_read32(at(Gicd.ISACTIVER, intid))


@fn
def set_priority(intid: u32, priority: u32) -> None:
    mmio_write8(gic_registers(intid) + u64(Gicd.IPRIORITYR + intid), truncate(u8, priority))


@fn
def set_group(intid: u32, group: u32) -> None:
    bit = u32(1) << (intid & 31)
    before = mmio_read32(at(Gicd.IGROUPR, intid))
    mmio_write32(at(Gicd.IGROUPR, intid), before | bit if group != 0 else before & ~bit)


@fn
def configure(intid: u32, edge: bool) -> None:
    """Of a shared one."""
    register = GIC.gicd + u64(Gicd.ICFGR + (intid >> 4) * 4)
    bit = u32(2) << ((intid & 15) * 2)
    before = mmio_read32(register)
    mmio_write32(register, before | bit if edge else before & ~bit)


@fn
def line_setup(intid: u32, priority: u32, group: u32) -> None:
    """On, idle, edge-triggered where that can be said, to this CPU."""
    set_line(Gicd.ICENABLER, intid)
    set_line(Gicd.ICPENDR, intid)
    set_line(Gicd.ICACTIVER, intid)
    if intid >= 32:
        configure(intid, True)
        gic_route(intid, target())
    set_group(intid, group)
    set_priority(intid, priority)
    set_line(Gicd.ISENABLER, intid)


@fn
def reset_interrupts() -> None:
    """This CPU's own and the first shared ones off and idle."""
    for intid in range(u32(0), u32(LEAST), u32(32)):
        mmio_write32(at(Gicd.ICENABLER, intid), ALL)
        mmio_write32(at(Gicd.ICPENDR, intid), ALL)
        mmio_write32(at(Gicd.ICACTIVER, intid), ALL)
        mmio_write32(at(Gicd.IGROUPR, intid), 0)


@fn
def send_self(sgi: u32) -> None:
    """In whatever group it is."""
    if GIC.v3:
        write_icc_sgi1r(u64(1) << (read_mpidr_el1() & 15) | u64(sgi) << 24)
        instruction_sync()
    else:
        mmio_write32(GIC.gicd + Gicd.SGIR, SELF | sgi)
