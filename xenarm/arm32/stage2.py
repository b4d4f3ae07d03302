"""How HYP mode is told of stage 2: VTCR (Arm ARM B4.1.159)."""

from freestanding import fn, u64

from xenarm.arm32.registers import Vtcr

__all__ = ["stage2_control"]

COMMON = int(Vtcr(SL0=1, IRGN0=1, ORGN0=1, SH0=3, RES1=True))
SIGNED_SIZE = 0x1F  # T0SZ with its sign repeated in S: 32 less the bits of an address


@fn
def stage2_control(ipa_bits: u64) -> u64:
    """VTCR for guest-physical addresses of 33 to 40 bits, tables from level 1 on."""
    return COMMON | (64 - ipa_bits) & SIGNED_SIZE
