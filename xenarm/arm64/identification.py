"""What a guest in AArch32 sees of identification registers, which AArch64 reads under names of its own (Arm ARM D19.2.58 and on)."""

from freestanding import fn, table, u32, u64

from xenarm.arm64.guest_sysregs import id_register
from xenarm.gic.host import gic_is_v3

__all__ = ["MOST_MVFR", "aarch32_id"]

MOST_MVFR = 2
FIRST = 8
COUNT = 24
PFR1 = 9
PFR1_GIC = 1 << 28  # system registers of a GICv3


def fields(*lowest_bits: int) -> int:
    """The complement of four-bit fields."""
    return 0xFFFF_FFFF & ~sum(0xF << bit for bit in lowest_bits)


HIDDEN: dict[tuple[int, int], int] = {
    (1, 0): fields(20, 28),  # ID_PFR0: AMU, RAS
    (1, 1): fields(12, 28),  # ID_PFR1: Virtualization, GIC
    (1, 2): fields(12, 16, 24, 28),  # ID_DFR0: CopTrc, MMapTrc, PerfMon, TraceFilt
    (1, 3): 0,  # ID_AFR0, implementation defined
    (3, 5): 0,  # ID_DFR1
}
"""By (CRm, op2); the others are shown as guests in AArch64 see them."""

VISIBLE = table(u64, [HIDDEN.get((n >> 3, n & 7), fields()) for n in range(FIRST, FIRST + COUNT)])


@fn
def aarch32_id(number: u32) -> u64:
    """By CRm times 8 plus opc2, from 8 on; MVFR0 to MVFR2 are 24 to 26, as AArch64 has them."""
    value = id_register(number) & VISIBLE[number - FIRST]
    return value | PFR1_GIC if number == PFR1 and gic_is_v3() else value
