"""Traps that only AArch32 has: accesses to coprocessor registers. The rest is `xenarm/arm/traps.py`'s."""

from collections.abc import Callable

from freestanding import fn, truncate, u32, u64

from xenarm.arm.aarch32 import CoprocessorSyndrome, WideSyndrome
from xenarm.arm.coprocessors import cp10_access, cp14_access, cp15_access, cp15_wide_access, is_debug_address
from xenarm.arm.hw import guest_is_at_el0
from xenarm.arm.variant import guest_register, guest_register_set
from xenarm.arm.verdict import Verdict, VerdictHandler
from xenarm.arm32.registers import Ec
from xenarm.core.domain import Vcpu

__all__ = ["COPROCESSOR_TRAPS"]

ISS = 0x1FF_FFFF
LOW = 0xFFFF_FFFF


def transfer(access: Callable[[Vcpu, u32, bool, u64], tuple[bool, u64]]) -> VerdictHandler:
    """The handler for MCR and MRC of a coprocessor."""

    @fn
    def trap_transfer(v: Vcpu, esr: u64) -> Verdict:
        syndrome = CoprocessorSyndrome.from_raw(esr)
        handled, result = access(v, truncate(u32, esr) & ISS, guest_is_at_el0(v), guest_register(v, syndrome.RT) & LOW)
        if handled and syndrome.READ:
            guest_register_set(v, syndrome.RT, result)
        return Verdict.HANDLED if handled else Verdict.UNDEFINED

    return trap_transfer


@fn
def fp_identification(v: Vcpu, iss: u32, at_pl0: bool, value: u64) -> tuple[bool, u64]:
    return cp10_access(v, iss, at_pl0)


@fn
def set_pair(v: Vcpu, syndrome: WideSyndrome, value: u64) -> None:
    guest_register_set(v, syndrome.RT, value & LOW)
    guest_register_set(v, syndrome.RT2, value >> 32)


@fn
def trap_cp15_wide(v: Vcpu, esr: u64) -> Verdict:
    """MCRR and MRRC."""
    syndrome = WideSyndrome.from_raw(esr)
    value = guest_register(v, syndrome.RT) & LOW | guest_register(v, syndrome.RT2) << 32
    handled, result = cp15_wide_access(v, truncate(u32, esr) & ISS, guest_is_at_el0(v), value)
    if handled and syndrome.READ:
        set_pair(v, syndrome, result)
    return Verdict.HANDLED if handled else Verdict.UNDEFINED


@fn
def trap_cp14_wide(v: Vcpu, esr: u64) -> Verdict:
    if not is_debug_address(truncate(u32, esr) & ISS):
        return Verdict.UNDEFINED
    set_pair(v, WideSyndrome.from_raw(esr), 0)
    return Verdict.HANDLED


COPROCESSOR_TRAPS: dict[int, VerdictHandler] = {
    Ec.CP15_32: transfer(cp15_access),
    Ec.CP15_64: trap_cp15_wide,
    Ec.CP14_32: transfer(cp14_access),
    Ec.CP14_64: trap_cp14_wide,
    Ec.CP10_ID: transfer(fp_identification),
}
