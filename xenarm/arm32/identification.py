"""Identification registers of ARMv7: CP15 with opc1 0, CRn 0, CRm 1 and 2, and the FP unit's; and what of them a guest may see."""

from collections.abc import Callable

from freestanding import Struct, fn, operation, table, u32, u64

from xenarm.arm32.registers import MODEL
from xenarm.arm32.switch import mvfr0, mvfr1
from xenarm.core.domain import Vcpu

__all__ = ["ID_ROWS", "MOST_MVFR", "aarch32_id"]

MOST_MVFR = 1
FIRST = 8
MVFR0 = 24


class IdRow(Struct, frozen=True):
    """An identification register: its hardware value, and the fields of it that a guest may see."""

    read: Callable[[], u32]
    visible: u32


def fields(*lowest_bits: int) -> int:
    """The complement of four-bit fields."""
    return 0xFFFF_FFFF & ~sum(0xF << bit for bit in lowest_bits)


VISIBLE: dict[tuple[int, int], int] = {
    (1, 1): fields(12),  # ID_PFR1: the virtualization extensions
    (1, 2): fields(12, 16, 24),  # ID_DFR0: CopTrc, MMapTrc, PerfMon
    (1, 3): 0,  # ID_AFR0, implementation defined
}
"""By (CRm, opc2); whole registers that are not here are shown as they are."""


def id_reader(crm: int, opc2: int) -> Callable[[], u32]:
    def model() -> u32:
        return u32(MODEL.get(f"id_{crm}_{opc2}", 0))

    model.__name__ = model.__qualname__ = f"read_id_{crm}_{opc2}"
    read: Callable[[], u32] = operation(armv7=f"mrc p15, 0, {{ret}}, c0, c{crm}, {opc2}")(model)

    @fn
    def read_id() -> u32:
        return read()

    return read_id


ID_ROWS = table(IdRow, [IdRow(id_reader(n >> 3, n & 7), VISIBLE.get((n >> 3, n & 7), fields())) for n in range(FIRST, MVFR0)])


@fn
def aarch32_id(v: Vcpu, number: u32) -> u64:
    """By CRm times 8 plus opc2, from 8 on; MVFR0 and MVFR1 are 24 and 25."""
    if number >= MVFR0:
        return u64(mvfr0() if number == MVFR0 else mvfr1())
    row = ID_ROWS[number - FIRST]
    return u64(row.read() & row.visible)
