"""What a handler makes of a trap."""

from collections.abc import Callable

from freestanding import IntEnum, fn, u8, u64, wrapping_sub

from xenarm.arm.hw import read_elr_el2, write_elr_el2
from xenarm.core.domain import Vcpu

__all__ = ["Verdict", "VerdictHandler", "trap_unknown_call"]

CALL_SIZE = 4  # of HVC, also in Thumb


class Verdict(IntEnum, type=u8, must_use=True):
    """What is to follow."""

    HANDLED = 0  # go on after the instruction
    UNDEFINED = 1  # it is undefined to the guest
    STAY = 2  # the handler has set where to go on


VerdictHandler = Callable[[Vcpu, u64], Verdict]
"""Given the syndrome."""


@fn
def trap_unknown_call(v: Vcpu, esr: u64) -> Verdict:
    """HVC of an immediate that means nothing here. ELR_EL2 points behind it already; undefined is the instruction itself."""
    write_elr_el2(wrapping_sub(read_elr_el2(), CALL_SIZE))
    return Verdict.UNDEFINED
