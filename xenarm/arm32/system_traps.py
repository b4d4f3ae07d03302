"""Traps that only AArch32 has: accesses to coprocessor registers. The rest is `xenarm/arm/traps.py`'s."""

from freestanding import fn, truncate, u32, u64

from xenarm.arm32.banked import guest_register, guest_register_set
from xenarm.arm.verdict import Verdict, VerdictHandler
from xenarm.arm32.guest_registers import cp10_access, cp14_access, cp15_access, physical_timer_wide
from xenarm.arm32.inject import guest_is_at_el0
from xenarm.arm32.registers import CoprocessorSyndrome, Ec, WideSyndrome, read_spsr_el2
from xenarm.core.domain import Vcpu

__all__ = ["CONDITIONAL", "SYSTEM_TRAPS"]

ISS = 0x1FF_FFFF
PHYSICAL_TIMER = int(WideSyndrome(OPC1=2, CRM=14))
DEBUG_BASE = int(WideSyndrome(OPC1=0, CRM=1))  # DBGDRAR
DEBUG_OFFSET = int(WideSyndrome(OPC1=0, CRM=2))  # DBGDSAR
WIDE_KEY = int(WideSyndrome(OPC1=15, CRM=15))


@fn
def at_pl0() -> bool:
    return guest_is_at_el0(read_spsr_el2())


@fn
def finish(v: Vcpu, syndrome: CoprocessorSyndrome, handled: bool, result: u64) -> Verdict:
    if not handled:
        return Verdict.UNDEFINED
    if syndrome.READ:
        guest_register_set(v, syndrome.RT, result)
    return Verdict.HANDLED


@fn
def trap_cp15(v: Vcpu, esr: u64) -> Verdict:
    syndrome = CoprocessorSyndrome.from_raw(esr)
    handled, result = cp15_access(v, truncate(u32, esr) & ISS, at_pl0(), guest_register(v, syndrome.RT))
    return finish(v, syndrome, handled, result)


@fn
def trap_cp14(v: Vcpu, esr: u64) -> Verdict:
    syndrome = CoprocessorSyndrome.from_raw(esr)
    handled, result = cp14_access(v, truncate(u32, esr) & ISS, at_pl0(), guest_register(v, syndrome.RT))
    return finish(v, syndrome, handled, result)


@fn
def trap_cp10(v: Vcpu, esr: u64) -> Verdict:
    syndrome = CoprocessorSyndrome.from_raw(esr)
    handled, result = cp10_access(truncate(u32, esr) & ISS, at_pl0())
    return finish(v, syndrome, handled, result)


@fn
def trap_cp15_wide(v: Vcpu, esr: u64) -> Verdict:
    """MCRR and MRRC: the physical timer's comparator."""
    syndrome = WideSyndrome.from_raw(esr)
    if truncate(u32, esr) & WIDE_KEY != PHYSICAL_TIMER:
        return Verdict.UNDEFINED
    value = guest_register(v, syndrome.RT) | guest_register(v, syndrome.RT2) << 32
    handled, result = physical_timer_wide(v, syndrome.READ, value)
    if syndrome.READ and handled:
        guest_register_set(v, syndrome.RT, result & 0xFFFF_FFFF)
        guest_register_set(v, syndrome.RT2, result >> 32)
    return Verdict.HANDLED


@fn
def trap_cp14_wide(v: Vcpu, esr: u64) -> Verdict:
    """DBGDRAR and DBGDSAR: no registers in memory."""
    syndrome = WideSyndrome.from_raw(esr)
    key = truncate(u32, esr) & WIDE_KEY
    if not syndrome.READ or (key != DEBUG_BASE and key != DEBUG_OFFSET):
        return Verdict.UNDEFINED
    guest_register_set(v, syndrome.RT, 0)
    guest_register_set(v, syndrome.RT2, 0)
    return Verdict.HANDLED


SYSTEM_TRAPS: dict[int, VerdictHandler] = {
    Ec.CP15_32: trap_cp15,
    Ec.CP15_64: trap_cp15_wide,
    Ec.CP14_32: trap_cp14,
    Ec.CP14_64: trap_cp14_wide,
    Ec.CP10_ID: trap_cp10,
}

CONDITIONAL = (Ec.WFX, Ec.CP15_32, Ec.CP15_64, Ec.CP14_32, Ec.CP14_DT, Ec.CP0_13, Ec.CP10_ID, Ec.JAZELLE, Ec.CP14_64, Ec.SMC)
"""Classes whose instruction may be conditional and trap though the condition fails."""
