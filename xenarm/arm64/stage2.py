"""How EL2 is told of stage 2: VTCR_EL2 (Arm ARM D19.2.165)."""

from freestanding import fn, u64

from xenarm.arm64.registers import Vtcr, read_aa64mmfr0

__all__ = ["stage2_control"]

LARGEST_PARANGE = 5  # 48 bits: what a descriptor of the 4 KiB granule holds without LPA
PS_SHIFT = 16
COMMON = int(Vtcr(SL0=1, IRGN0=1, ORGN0=1, SH0=3, RES1=True))


@fn
def stage2_control(ipa_bits: u64) -> u64:
    """VTCR_EL2 for guest-physical addresses of so many bits, tables from level 1 on, and the CPU's own physical size."""
    return COMMON | (64 - ipa_bits) | min(read_aa64mmfr0() & 0xF, u64(LARGEST_PARANGE)) << PS_SHIFT
