"""Traps that only AArch64 has: accesses to system registers. The rest is `xenarm/arm/traps.py`'s."""

from freestanding import fn, truncate, u32, u64

from xenarm.arm.verdict import Verdict, VerdictHandler
from xenarm.arm64.guest import guest_register, guest_register_set
from xenarm.arm64.guest_sysregs import sysreg_access
from xenarm.arm64.inject import guest_is_at_el0
from xenarm.arm64.registers import Ec, SysregSyndrome, read_spsr_el2
from xenarm.core.domain import Vcpu

__all__ = ["CONDITIONAL", "SYSTEM_TRAPS"]


@fn
def trap_sysreg(v: Vcpu, esr: u64) -> Verdict:
    syndrome = SysregSyndrome.from_raw(esr)
    value = u64(0) if syndrome.READ else guest_register(v, syndrome.RT)
    iss = truncate(u32, esr) & 0x1FF_FFFF
    handled, result = sysreg_access(v, iss, guest_is_at_el0(read_spsr_el2()), value)
    if not handled:
        return Verdict.UNDEFINED
    if syndrome.READ:
        guest_register_set(v, syndrome.RT, result)
    return Verdict.HANDLED


SYSTEM_TRAPS: dict[int, VerdictHandler] = {Ec.SYSREG: trap_sysreg}
CONDITIONAL: tuple[int, ...] = ()
"""Classes whose instruction may be conditional: none in AArch64."""
