"""What a handler makes of a trap."""

from collections.abc import Callable

from freestanding import IntEnum, u8, u64

from xenarm.core.domain import Vcpu

__all__ = ["Verdict", "VerdictHandler"]


class Verdict(IntEnum, type=u8, must_use=True):
    """What is to follow."""

    HANDLED = 0  # go on after the instruction
    UNDEFINED = 1  # it is undefined to the guest
    STAY = 2  # the handler has set where to go on


VerdictHandler = Callable[[Vcpu, u64], Verdict]
"""Given the syndrome."""
