"""Traps that only ARMv7 has, by class. The rest is `xenarm/arm/traps.py`'s."""

from xenarm.arm.coprocessor_traps import COPROCESSOR_TRAPS
from xenarm.arm.verdict import VerdictHandler
from xenarm.arm32.registers import Ec

__all__ = ["CONDITIONAL", "SYSTEM_TRAPS"]

SYSTEM_TRAPS: dict[int, VerdictHandler] = COPROCESSOR_TRAPS

CONDITIONAL: tuple[int, ...] = (Ec.WFX, Ec.CP15_32, Ec.CP15_64, Ec.CP14_32, Ec.CP14_DT, Ec.CP0_13, Ec.CP10_ID, Ec.JAZELLE, Ec.CP14_64, Ec.SMC)
"""Classes whose instruction may be conditional and trap though the condition fails."""
