"""The short way out of a guest in AArch32 and back: what `arm/short.py` answers of AArch64, where the instruction is no conditional one.

A vector of its own calls `short_sync32_v2`, or that for a GICv3. r0 to r7 are x0 to x7 in every mode; their upper halves mean nothing. Conditions, IT
blocks and the other registers are the full way's. A 32-bit program of a 64-bit guest comes here too, as far as its kernel lets it reach anything.
"""

from collections.abc import Callable

from freestanding import export, operation, truncate, u32, u64

from xenarm.abi.hypercall import HYPERCALL_TAG, Hypercall, SchedOp
from xenarm.abi.psci import GUEST_PSCI_VERSION
from xenarm.arm.aarch32 import Psr
from xenarm.arm.hw import WFX_CLASS, read_esr_el2, skip_instruction
from xenarm.arm.short import DONE, EC_SHIFT, NOT_HERE, SHORT_SYNC, VERSION_CALL, WAITS, WFE, WORD_ACCESS, YIELDS
from xenarm.arm64.registers import MODEL, Ec, read_spsr_el2
from xenarm.config import CONFIG
from xenarm.core.domain import Vcpu

__all__ = ["SHORT_SYNC32"]

PSCI_CALL = Ec.HVC32 << EC_SHIFT | 1 << 25  # ESR_EL2 of HVC #0, which is never conditional
XEN_CALL = PSCI_CALL | HYPERCALL_TAG
SAME_REGISTERS = 8  # r0 to r7, in every mode
IT_BLOCK = int(Psr(IT_HIGH=0x3F, IT_LOW=3))
CONDITION_SHIFT = 20
ALWAYS = 0x1E  # ESR_EL2.CV, and COND as of an instruction without a condition


@operation(aarch64="mov {ret}, x12")
def read_r12() -> u64:
    """The guest's still: the vectors have not saved it, and nothing on the short way uses it."""
    return u64(MODEL.get("r12", 0))


SHORT_SYNC32: dict[str, Callable[[Vcpu], u64]] = {}


def entry(name: str, short_sync: Callable[[Vcpu], u64]) -> None:
    @export(f"short_sync32_{name}", preserve=True)
    def short_sync32(v: Vcpu) -> u64:
        """A synchronous exception: DONE, NOT_HERE with nothing changed, or what is left to do."""
        esr = truncate(u32, read_esr_el2())
        if esr == PSCI_CALL and truncate(u32, v.regs[0]) == VERSION_CALL:
            v.regs[0] = GUEST_PSCI_VERSION
            return DONE
        if read_spsr_el2() & IT_BLOCK != 0:
            return NOT_HERE
        if esr >> 21 == WORD_ACCESS and (esr >> 16) & 31 < SAME_REGISTERS:
            return short_sync(v)  # it asks for no more of this kind than AArch64 has: four bytes, a whole register
        if esr >> EC_SHIFT == WFX_CLASS and (esr >> CONDITION_SHIFT) & 0x1F == ALWAYS:
            skip_instruction(u64(esr))
            return u64(WAITS) << (esr & WFE)
        if esr != XEN_CALL or truncate(u32, read_r12()) != Hypercall.SCHED_OP or truncate(u32, v.regs[0]) != SchedOp.YIELD:
            return NOT_HERE
        v.regs[0] = 0
        return YIELDS

    SHORT_SYNC32[name] = short_sync32


if CONFIG.AARCH32_GUESTS:
    for version, of_aarch64 in SHORT_SYNC.items():
        entry(version, of_aarch64)
