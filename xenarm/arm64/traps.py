"""Traps from a guest beyond the short way: calls, distributor accesses, interrupts; a table by exception class for the rest.

`trap_sync` runs with x0-x17 and x30 in the frame and may not look at other registers there; what needs them goes on to `trap_full`.
"""

from collections.abc import Callable

from freestanding import IntEnum, Struct, View, export, fn, table, truncate, u8, u32, u64, wrapping_sub

from xenarm.abi.hypercall import HYPERCALL_TAG
from xenarm.arm64.guest_sysregs import sysreg_access
from xenarm.arm64.inject import guest_is_at_el0, inject_data_abort, inject_instruction_abort, inject_undefined, skip_instruction
from xenarm.arm64.instructions import address_translate_el1_read, instruction_sync
from xenarm.arm64.irq import irq_acknowledged
from xenarm.arm64.registers import (
    AbortSyndrome,
    Ec,
    Hcr,
    Par,
    SysregSyndrome,
    read_elr_el2,
    read_esr_el2,
    read_far_el2,
    read_hcr_el2,
    read_hpfar_el2,
    read_par_el1,
    read_spsr_el2,
    read_vbar_el1,
    write_elr_el2,
    write_hcr_el2,
    write_par_el1,
)
from xenarm.arm64.run import vcpu_checkpoint, vcpu_off, vcpu_wait_for_interrupt, vcpu_yield
from xenarm.arm64.schedule import vcpu_reconsider
from xenarm.arm64.short import DONE, PAGE_OFFSET, WORD_ACCESS, WRITE, ZERO_REGISTER
from xenarm.core.access import Access, Outcome
from xenarm.core.addresses import GuestPhys
from xenarm.core.domain import ShutdownReason, Vcpu, domain_name, vcpu_domain
from xenarm.core.fault import Fault, fault_report
from xenarm.core.hypercall import hypercall
from xenarm.core.log import guest_message_allowed, log_warning
from xenarm.core.mmio import mmio_access
from xenarm.core.shutdown import domain_shutdown
from xenarm.gic.vgicd import vgicd_read, vgicd_write
from xenarm.psci.guest import psci_call

__all__ = ["HANDLERS", "Verdict"]

NEEDS_FULL = 1
VECTORS_SIZE = 0x800
INSTRUCTION_SIZE = 4
SHORT_FRAME_REGISTERS = 18
FSC_TYPE = 0x3C
FSC_TRANSLATION = 0x04
FSC_PERMISSION = 0x0C
WFE = 1
HCR_VSE = int(Hcr(VSE=True))


class Verdict(IntEnum, type=u8, must_use=True):
    """What a handler made of a trap."""

    HANDLED = 0  # go on after the instruction
    UNDEFINED = 1  # it is undefined to the guest
    STAY = 2  # the handler has set where to go on


# ---- with the caller-saved registers ----------------------------------------------------------------------------------------------------


@export("trap_sync")
def trap_sync(v: Vcpu) -> u64:
    """A synchronous exception from the guest: DONE, or NEEDS_FULL with nothing changed."""
    esr = read_esr_el2()
    if esr >> 26 == Ec.WFX:
        skip_instruction(esr)
        if esr & WFE == 0:
            vcpu_wait_for_interrupt(v)
        else:
            vcpu_yield(v)
        return DONE
    answer = trap_call(v, esr)
    if v.choose != 0 and answer == DONE:
        reconsider(v)
    return answer


@fn(inline=True)
def trap_call(v: Vcpu, esr: u64) -> u64:
    ec = esr >> 26
    if ec == Ec.HVC64:
        return trap_hvc(v, esr)
    if esr >> 21 == WORD_ACCESS:
        return trap_word_access(v, esr)
    if ec == Ec.SMC64:
        skip_instruction(esr)
        v.regs[0] = psci_call(v)
        return DONE
    return NEEDS_FULL


@fn(inline=True)
def trap_hvc(v: Vcpu, esr: u64) -> u64:
    """HVC #0 is PSCI's, HVC #0xEA1 Xen's; ELR_EL2 already points behind the instruction."""
    tag = esr & 0xFFFF
    if tag == 0:
        v.regs[0] = psci_call(v)
        return DONE
    if tag == HYPERCALL_TAG:
        v.regs[0] = hypercall(v)
        return DONE
    return NEEDS_FULL


@fn(inline=True)
def trap_word_access(v: Vcpu, esr: u64) -> u64:
    """The distributor, by a plain load or store of a word. Stage 2 maps nothing there, so it can only be a translation fault."""
    offset = truncate(u32, read_far_el2()) & PAGE_OFFSET
    rt = truncate(u32, esr >> 16) & 31
    if read_hpfar_el2() != v.gicd_frame or offset & 3 != 0:
        return NEEDS_FULL
    if rt >= SHORT_FRAME_REGISTERS and rt < 30:
        return NEEDS_FULL
    skip_instruction(esr)
    if esr & WRITE != 0:
        value = u32(0) if rt == ZERO_REGISTER else truncate(u32, v.regs[rt])
        vgicd_write(vcpu_domain(v), v, offset, value)
        return DONE
    loaded = vgicd_read(vcpu_domain(v), v, offset)
    if rt != ZERO_REGISTER:
        v.regs[rt] = u64(loaded)
    return DONE


@export("trap_irq")
def trap_irq(v: Vcpu, acknowledged: u64) -> None:
    """What `short_irq` gave."""
    if irq_acknowledged(v, truncate(u32, acknowledged)):
        vcpu_checkpoint(v)
    if v.choose != 0:
        reconsider(v)


@fn(inline=False)
def reconsider(v: Vcpu) -> None:
    """Something may have a better claim to this CPU. What happened while the vCPU did not run may have been its domain's end, or a pause."""
    vcpu_reconsider(v)
    vcpu_checkpoint(v)


@export("trap_fiq")
def trap_fiq(v: Vcpu) -> None:
    """Nothing is routed as FIQ."""
    log_warning("an FIQ came and belongs to nobody")


@export("trap_serror")
def trap_serror(v: Vcpu) -> None:
    """An asynchronous external abort while the guest ran: it is the guest's (HCR_EL2.VSE)."""
    d = vcpu_domain(v)
    if guest_message_allowed(d.id):
        log_warning(f"domain {domain_name(d)} vcpu {v.id} pc {read_elr_el2():#x}: SError, syndrome {read_esr_el2():#x}")
    write_hcr_el2(read_hcr_el2() | HCR_VSE)


# ---- the full way -----------------------------------------------------------------------------------------------------


@fn
def register_value(v: Vcpu, rt: u32) -> u64:
    return u64(0) if rt == ZERO_REGISTER else v.regs[rt]


@fn
def set_register(v: Vcpu, rt: u32, value: u64) -> None:
    if rt != ZERO_REGISTER:
        v.regs[rt] = value


@fn
def trap_sysreg(v: Vcpu, esr: u64) -> Verdict:
    syndrome = SysregSyndrome.from_raw(esr)
    value = u64(0) if syndrome.READ else register_value(v, syndrome.RT)
    iss = truncate(u32, esr) & 0x1FF_FFFF
    handled, result = sysreg_access(v, iss, guest_is_at_el0(read_spsr_el2()), value)
    if not handled:
        return Verdict.UNDEFINED
    if syndrome.READ:
        set_register(v, syndrome.RT, result)
    return Verdict.HANDLED


@fn
def trap_undefined(v: Vcpu, esr: u64) -> Verdict:
    return Verdict.UNDEFINED


@fn
def trap_unknown_call(v: Vcpu, esr: u64) -> Verdict:
    """HVC of an immediate that means nothing here. ELR_EL2 points behind it already; undefined is the instruction itself."""
    write_elr_el2(wrapping_sub(read_elr_el2(), INSTRUCTION_SIZE))
    return Verdict.UNDEFINED


@fn
def fault_address(esr: u64) -> tuple[bool, u64]:
    """The guest-physical address of a stage-2 abort. HPFAR_EL2 is not valid after a permission fault (Arm ARM D1.11.4): ask stage 1."""
    far = read_far_el2()
    syndrome = AbortSyndrome.from_raw(esr)
    if syndrome.FSC & FSC_TYPE != FSC_PERMISSION or syndrome.S1PTW:
        return True, (read_hpfar_el2() >> 4 << 12) | far & PAGE_OFFSET
    before = read_par_el1()
    address_translate_el1_read(far)
    instruction_sync()
    par = Par.from_raw(read_par_el1())
    write_par_el1(before)
    return not par.F, par.PA << 12 | far & PAGE_OFFSET


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
        value = register_value(v, syndrome.SRT)
        value = value if width == 8 else value & ((u64(1) << (width * 8)) - 1)
    access = Access(address=GuestPhys(address), width=width, write=syndrome.WNR, value=value)
    outcome, loaded = mmio_access(vcpu_domain(v), v, access)
    if outcome == Outcome.HANDLED and not syndrome.WNR:
        set_register(v, syndrome.SRT, extend(loaded, syndrome, width))
    return outcome


@fn
def complain(v: Vcpu, syndrome: AbortSyndrome, address: u64, outcome: Outcome) -> None:
    access: View[u8] = b"write" if syndrome.WNR else b"read"
    consequence: View[u8] = b"FORBIDDEN by the device, external abort" if outcome == Outcome.FORBIDDEN else b"external abort"
    width = u32(1) << syndrome.SAS if syndrome.ISV else u32(0)
    fault_report(vcpu_domain(v), Fault(vcpu=v.id, pc=read_elr_el2(), address=address, width=width, access=access, consequence=consequence))


@fn
def trap_data_abort(v: Vcpu, esr: u64) -> Verdict:
    """A load or store that stage 2 stopped: a device's, or one that the guest may not do, and is told so by an external abort."""
    syndrome = AbortSyndrome.from_raw(esr)
    known, address = fault_address(esr)
    outcome = Outcome.UNHANDLED
    if known and not syndrome.S1PTW and syndrome.FSC & FSC_TYPE == FSC_TRANSLATION:
        if syndrome.CM:
            return Verdict.HANDLED
        if syndrome.ISV:
            outcome = emulate(v, syndrome, address)
            if outcome == Outcome.HANDLED:
                return Verdict.HANDLED
    complain(v, syndrome, address, outcome)
    inject_data_abort(read_far_el2())
    return Verdict.STAY


@fn
def trap_instruction_abort(v: Vcpu, esr: u64) -> Verdict:
    """A fetch that stage 2 stopped. At the guest's own vectors no exception can help it any more: the domain has crashed."""
    d = vcpu_domain(v)
    _, address = fault_address(esr)
    crash = wrapping_sub(read_elr_el2(), read_vbar_el1()) < VECTORS_SIZE
    consequence: View[u8] = b"crash" if crash else b"external abort"
    fault_report(d, Fault(vcpu=v.id, pc=read_elr_el2(), address=address, width=4, access=b"fetch", consequence=consequence))
    if crash:
        domain_shutdown(d, ShutdownReason.CRASH)
        vcpu_off(v)
    inject_instruction_abort(read_far_el2())
    return Verdict.STAY


class Handler(Struct, frozen=True):
    """What to do for an exception class."""

    call: Callable[[Vcpu, u64], Verdict]


BY_CLASS: dict[int, Callable[[Vcpu, u64], Verdict]] = {
    Ec.HVC64: trap_unknown_call,
    Ec.SYSREG: trap_sysreg,
    Ec.INSTRUCTION_ABORT_LOWER: trap_instruction_abort,
    Ec.DATA_ABORT_LOWER: trap_data_abort,
}
"""Everything else is undefined to the guest: AArch32 coprocessor accesses, FP traps that nothing sets, unknown classes."""

HANDLERS = table(Handler, [Handler(BY_CLASS.get(ec, trap_undefined)) for ec in range(64)])


@export("trap_full")
def trap_full(v: Vcpu) -> None:
    """A synchronous exception that the short way left: all registers are in the frame."""
    esr = read_esr_el2()
    match HANDLERS[(esr >> 26) & 63].call(v, esr):
        case Verdict.HANDLED:
            skip_instruction(esr)
        case Verdict.UNDEFINED:
            inject_undefined()
        case Verdict.STAY:
            pass
    if v.choose != 0:
        reconsider(v)
