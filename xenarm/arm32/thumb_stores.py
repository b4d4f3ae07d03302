"""Erratum 766422: a Cortex-A15 r0p4 may name a wrong register in HSR when stage 2 stops a store in Thumb state.

Only the vectors of such CPUs call this, before all else: the instruction is read, and HSR made right, so that nobody else need know of it.
"""

from freestanding import export, fn, u32, u64, usize

from xenarm.arm.aarch32 import THUMB
from xenarm.arm.guest_words import guest_address_translate, guest_byte_read
from xenarm.arm.hw import AbortSyndrome
from xenarm.arm32.registers import Ec, read_elr_el2, read_esr_el2, read_spsr_el2, write_esr_el2
from xenarm.core.domain import Vcpu, vcpu_domain
from xenarm.p2m.state import P2m

__all__ = ["store_register"]

NO_REGISTER = 16
STORE_BY_SP = 0x9000  # STR Rt, [SP, #imm8]: Rt in bits 10 to 8
WIDE = 0xE800  # first halfwords from here on have a second one
WIDE_STORES = 0xF800  # STRB, STRH, STR of 32 bits: Rt is in the second halfword, bits 15 to 12
WIDE_LOAD = 1 << 4


@fn
def store_register(first: u32, second: u32) -> u32:
    """Rt of a Thumb instruction that HSR can describe as a store: one register, no write back (Arm ARM A6.2.4, A6.3.10). NO_REGISTER: it is none."""
    if first >= WIDE:
        return second >> 12 if first & (0xFF00 | WIDE_LOAD) == WIDE_STORES else u32(NO_REGISTER)
    match first >> 11:
        case 0b01100 | 0b01110 | 0b10000:  # STR, STRB, STRH by an immediate
            return first & 7
        case 0b01010:  # STR, STRH, STRB by a register; LDRSB is the fourth
            return first & 7 if first & 0x0600 != 0x0600 else u32(NO_REGISTER)
        case 0b10010:
            return first >> 8 & 7
        case _:
            return u32(NO_REGISTER)


@fn
def fetch(p: P2m, address: u64) -> tuple[bool, u32]:
    """A halfword of the guest's code. What may be fetched may be read by its kernel. False: it is not there any more."""
    there, machine = guest_address_translate(p, address, False)
    if not there:
        return False, 0
    return True, u32(guest_byte_read(machine)) | u32(guest_byte_read(machine + 1)) << 8


@fn
def trapped_store(p: P2m) -> u32:
    """Rt of the instruction that trapped; NO_REGISTER if another vCPU has changed it meanwhile."""
    pc = read_elr_el2()
    there, first = fetch(p, pc)
    if not there:
        return NO_REGISTER
    second = u32(0)
    if first >= WIDE:
        there, second = fetch(p, (pc + 2) & 0xFFFF_FFFF)
    return store_register(first, second) if there else u32(NO_REGISTER)


@export("store_repair")
def store_repair(v: Vcpu) -> None:
    """Write the register that is stored into HSR. Where it cannot be told HSR describes nothing, and the guest finds an external abort."""
    esr = read_esr_el2()
    syndrome = AbortSyndrome.from_raw(esr)
    if esr >> 26 != Ec.DATA_ABORT_GUEST or not syndrome.ISV or not syndrome.WNR or read_spsr_el2() & THUMB == 0:
        return
    rt = trapped_store(vcpu_domain(v).p2m)
    write_esr_el2(syndrome.replace(SRT=rt & 15, ISV=rt != NO_REGISTER).raw)
