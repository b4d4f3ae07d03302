"""Stage-2 aborts of a guest: loads and stores on emulated devices, what the guest may not touch, fetches from nowhere."""

from freestanding import View, fn, u8, u32, u64

from xenarm.arm.hw import (
    AbortSyndrome,
    Par,
    fetches_vectors,
    inject_data_abort,
    inject_instruction_abort,
    read_elr_el2,
    read_far_el2,
    read_fetch_far,
    read_hpfar_el2,
    read_par_el1,
    write_par_el1,
)
from xenarm.arm.instructions import address_translate_el1_read, address_translate_el1_write, instruction_sync
from xenarm.arm.run import vcpu_off
from xenarm.arm.short import PAGE_OFFSET
from xenarm.arm.variant import guest_register, guest_register_set
from xenarm.arm.verdict import Verdict
from xenarm.core.access import Access, Outcome
from xenarm.core.addresses import GuestPhys
from xenarm.core.domain import ShutdownReason, Vcpu, vcpu_domain
from xenarm.core.fault import Fault, fault_report
from xenarm.core.mmio import mmio_access
from xenarm.core.shutdown import domain_shutdown
from xenarm.p2m.stage2 import p2m_maps

__all__ = ["trap_data_abort", "trap_instruction_abort"]

FSC_TYPE = 0x3C
FSC_TRANSLATION = 0x04
FSC_PERMISSION = 0x0C


@fn
def fault_address(esr: u64, far: u64) -> tuple[bool, u64]:
    """The guest-physical address of a stage-2 abort. HPFAR_EL2 is not valid after a permission fault (Arm ARM D1.11.4): ask stage 1."""
    syndrome = AbortSyndrome.from_raw(esr)
    if syndrome.FSC & FSC_TYPE != FSC_PERMISSION or syndrome.S1PTW:
        return True, (read_hpfar_el2() >> 4 << 12) | far & PAGE_OFFSET
    par = Par.from_raw(stage1(far, False))
    return not par.F, par.PA << 12 | far & PAGE_OFFSET


@fn
def stage1(far: u64, write: bool) -> u64:
    """What stage 1 makes of an address, as PAR_EL1 says it."""
    before = read_par_el1()
    if write:
        address_translate_el1_write(far)
    else:
        address_translate_el1_read(far)
    instruction_sync()
    par = read_par_el1()
    write_par_el1(before)
    return par


@fn
def is_stage1s(far: u64, write: bool) -> bool:
    """Whether stage 1 does not let the guest there: a Cortex-A57 may say stage 2 of an access over two pages (erratum 834220). It is tried again."""
    return Par.from_raw(stage1(far, write)).F


@fn
def extend(value: u64, syndrome: AbortSyndrome, width: u32) -> u64:
    """What a load leaves in its register."""
    bits = width * 8
    low = value if bits == 64 else value & ((u64(1) << bits) - 1)
    if syndrome.SSE and bits < 64 and (low >> (bits - 1)) & 1 != 0:
        low |= ~u64(0) << bits
    return low if syndrome.SF else low & 0xFFFF_FFFF


@fn
def emulate(v: Vcpu, syndrome: AbortSyndrome, address: u64) -> Outcome:
    """Carry out a load or store on an emulated device."""
    width = u32(1) << syndrome.SAS
    value = u64(0)
    if syndrome.WNR:
        value = guest_register(v, syndrome.SRT)
        value = value if width == 8 else value & ((u64(1) << (width * 8)) - 1)
    access = Access(address=GuestPhys(address), width=width, write=syndrome.WNR, value=value)
    outcome, loaded = mmio_access(vcpu_domain(v), v, access)
    if outcome == Outcome.HANDLED and not syndrome.WNR:
        guest_register_set(v, syndrome.SRT, extend(loaded, syndrome, width))
    return outcome


@fn
def complain(v: Vcpu, syndrome: AbortSyndrome, address: u64, outcome: Outcome) -> None:
    refused = outcome == Outcome.FORBIDDEN
    access: View[u8] = b"write" if syndrome.WNR else b"read"
    consequence: View[u8] = b"FORBIDDEN by the device, external abort" if refused else b"external abort"
    width = u32(1) << syndrome.SAS if syndrome.ISV else u32(0)
    fault_report(vcpu_domain(v), Fault(vcpu=v.id, pc=read_elr_el2(), address=address, width=width, access=access, consequence=consequence, refused=refused))


@fn
def is_over(v: Vcpu, syndrome: AbortSyndrome, address: u64) -> bool:
    """A translation fault where something is mapped: another vCPU's hypercall was just exchanging the entry. The instruction is tried again."""
    return syndrome.FSC & FSC_TYPE == FSC_TRANSLATION and p2m_maps(vcpu_domain(v).p2m, GuestPhys(address))


@fn
def trap_data_abort(v: Vcpu, esr: u64) -> Verdict:
    """A load or store that stage 2 stopped: a device's, or one that the guest may not do, and is told so by an external abort."""
    syndrome = AbortSyndrome.from_raw(esr)
    far = read_far_el2()
    known, address = fault_address(esr, far)
    outcome = Outcome.UNHANDLED
    if known and not syndrome.S1PTW and syndrome.FSC & FSC_TYPE == FSC_TRANSLATION:
        if syndrome.CM:
            return Verdict.HANDLED
        if syndrome.ISV:
            outcome = emulate(v, syndrome, address)
            if outcome == Outcome.HANDLED:
                return Verdict.HANDLED
    if (known and is_over(v, syndrome, address)) or (not syndrome.S1PTW and is_stage1s(far, syndrome.WNR)):
        return Verdict.STAY
    complain(v, syndrome, address, outcome)
    inject_data_abort(v, far)
    return Verdict.STAY


@fn
def trap_instruction_abort(v: Vcpu, esr: u64) -> Verdict:
    """A fetch that stage 2 stopped. At the guest's own vectors no exception can help it any more: the domain has crashed."""
    d = vcpu_domain(v)
    far = read_fetch_far()
    known, address = fault_address(esr, far)
    if known and is_over(v, AbortSyndrome.from_raw(esr), address):
        return Verdict.STAY
    crash = fetches_vectors(v)
    consequence: View[u8] = b"crash" if crash else b"external abort"
    fault_report(d, Fault(vcpu=v.id, pc=read_elr_el2(), address=address, width=4, access=b"fetch", consequence=consequence))
    if crash:
        domain_shutdown(d, ShutdownReason.CRASH)
        vcpu_off(v)
    inject_instruction_abort(v, far)
    return Verdict.STAY
