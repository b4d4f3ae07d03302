"""What of a guest's CPU interface the hardware does not do alone: deactivation after split ends, of interrupts that list registers hold or do not.

GICC_DIR lies in a page of its own, which stage 2 does not map (IHI 0048B 4.4.15); ICC_DIR_EL1 traps by ICH_HCR_EL2.TDIR or, where that is not
implemented, by TC, which the other registers common to both groups then do too (IHI 0069 12.4.7, ICH_HCR_EL2).
"""

from freestanding import ctz, fn, truncate, u32, u64

from xenarm.config import CONFIG
from xenarm.core.access import Access, Outcome
from xenarm.core.domain import Domain, Vcpu, vcpu_domain
from xenarm.gic.controller import GIC
from xenarm.gic.host import gic_ends_split
from xenarm.gic.registers import INTID_MASK
from xenarm.gic.registers3 import IccControl, IchType, Typer3, read_ich_ap0r, read_ich_ap1r, read_ich_vmcr, read_ich_vtr, write_ich_vmcr
from xenarm.gic.state import VGIC_INTIDS
from xenarm.gic.version import vcpu_vgic_is_v3
from xenarm.gic.words import ALL, clear_active

__all__ = ["GICC_DIR_PAGE", "icc_control", "icc_deactivate", "icc_mask", "icc_running", "vgicc_access"]

GICC_DIR_PAGE = 0x1000
"""Bytes from the CPU interface's beginning."""

INTID_MASK_V3 = 0xFF_FFFF
IDLE_PRIORITY = 0xFF
MASK_SHIFT = 24  # ICH_VMCR_EL2.VPMR
MASK_BITS = 0xF8
COMMON_POINT = 1 << 4  # VCBPR
SPLIT = 1 << 9  # VEOIM
SELECTS = int(Typer3(RSS=True))


@fn
def deactivate(v: Vcpu, intid: u32) -> None:
    """Without split ends it is no end (IHI 0048B 4.4.15: unpredictable)."""
    if intid < VGIC_INTIDS and gic_ends_split():
        clear_active(vcpu_domain(v), v, intid >> 5, u32(1) << (intid & 31), ALL)


@fn
def vgicc_access(d: Domain, v: Vcpu, a: Access) -> tuple[Outcome, u64]:
    """The page of GICC_DIR, of which all else is reserved. It reads as zero. FORBIDDEN: 64 bits, which AArch32 cannot say anyway (IHI 0048B 4.1.4)."""
    if a.width == 8:
        return Outcome.FORBIDDEN, 0
    if a.write and a.width == 4 and u64(a.address) & (GICC_DIR_PAGE - 1) == 0:
        deactivate(v, truncate(u32, a.value) & INTID_MASK)
    return Outcome.HANDLED, 0


# ---- system registers ---------------------------------------------------------------------------------------------------


@fn
def icc_deactivate(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    """ICC_DIR_EL1."""
    if read or not vcpu_vgic_is_v3(v):
        return False, 0
    deactivate(v, truncate(u32, value) & INTID_MASK_V3)
    return True, 0


@fn
def icc_mask(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    """ICC_PMR_EL1."""
    if not vcpu_vgic_is_v3(v):
        return False, 0
    vmcr = read_ich_vmcr()
    if not read:
        write_ich_vmcr(vmcr & ~(u64(0xFF) << MASK_SHIFT) | (value & MASK_BITS) << MASK_SHIFT)
    return True, vmcr >> MASK_SHIFT & 0xFF


@fn
def icc_control(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    """ICC_CTLR_EL1."""
    if not vcpu_vgic_is_v3(v):
        return False, 0
    vmcr = read_ich_vmcr()
    if not read:
        asked = IccControl.from_raw(value)
        vmcr &= ~u64(COMMON_POINT | SPLIT)
        vmcr |= (u64(COMMON_POINT) if asked.CBPR else u64(0)) | (u64(SPLIT) if asked.EOIMODE else u64(0))
        write_ich_vmcr(vmcr)
        return True, 0
    kind = IchType.from_raw(read_ich_vtr())
    known = IccControl(
        CBPR=vmcr & COMMON_POINT != 0,
        EOIMODE=vmcr & SPLIT != 0,
        PRIORITY_BITS=kind.PRIORITY_BITS,
        ID_BITS=kind.ID_BITS,
        SEIS=kind.SEIS,
        A3V=kind.A3V,
        RSS=vcpu_domain(v).affinities.typer & SELECTS != 0,
    )
    return True, known.raw


@fn
def icc_running(v: Vcpu, read: bool, value: u64) -> tuple[bool, u64]:
    """ICC_RPR_EL1: of the active priorities the most urgent."""
    if not read or not vcpu_vgic_is_v3(v):
        return False, 0
    shift = 7 - IchType.from_raw(read_ich_vtr()).PREEMPTION
    for n in range(GIC.active_registers):
        active = truncate(u32, read_ich_ap0r(n) | read_ich_ap1r(n))
        if active != 0:
            return True, u64((n * 32 + ctz(active)) << shift)
    return True, IDLE_PRIORITY
