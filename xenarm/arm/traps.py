"""Traps from a guest beyond the short way: calls, distributor accesses, interrupts; a table by exception class for the rest.

`trap_sync` finds the caller-saved registers in the frame and may not look at others there; what needs them goes on to `trap_full`.
"""

from collections.abc import Callable

from freestanding import Struct, export, fn, table, truncate, u32, u64

from xenarm.abi.hypercall import HYPERCALL_TAG
from xenarm.arm.aborts import trap_data_abort, trap_instruction_abort
from xenarm.arm.frame import TRAP_REGISTERS, Register
from xenarm.arm.hw import (
    DATA_ABORT_CLASS,
    HVC_CLASS,
    INSTRUCTION_ABORT_CLASS,
    SMC_CLASS,
    WFX_CLASS,
    Hcr,
    inject_undefined,
    read_elr_el2,
    read_esr_el2,
    read_far_el2,
    read_hcr_el2,
    read_hpfar_el2,
    skip_instruction,
    skip_trapped,
    trapped_in_vain,
    write_hcr_el2,
)
from xenarm.arm.irq import irq_acknowledged
from xenarm.arm.run import vcpu_checkpoint, vcpu_to_check, vcpu_wait_for_interrupt, vcpu_yield
from xenarm.arm.schedule import vcpu_reconsider
from xenarm.arm.short import DONE, PAGE_OFFSET, WORD_ACCESS, WRITE, ZERO_REGISTER
from xenarm.arm.variant import fp_take
from xenarm.arm.verdict import Verdict, VerdictHandler, trap_unknown_call
from xenarm.arm64.registers import Ec
from xenarm.config import CONFIG
from xenarm.core.domain import NOT_SHORT, Extra, Vcpu, domain_name, vcpu_domain
from xenarm.core.hypercall import hypercall
from xenarm.core.log import guest_message_allowed, log_warning
from xenarm.gic.vgicd3 import distributor_read, distributor_write
from xenarm.psci.guest import psci_call

if CONFIG.ARM64:
    import xenarm.arm64.short32  # noqa: F401  # for the vectors
    import xenarm.arm64.turns  # noqa: F401
    from xenarm.arm64.system_traps import CONDITIONAL, SYSTEM_TRAPS
else:
    from xenarm.arm32.system_traps import CONDITIONAL, SYSTEM_TRAPS

    if CONFIG.ERRATUM_766422:
        import xenarm.arm32.thumb_stores  # noqa: F401  # for the vectors

__all__ = ["HANDLERS"]

NEEDS_FULL = 1
FP_CLASS = Ec.FP
WFE = 1
HCR_VSE = int(Hcr(VSE=True))


# ---- with the caller-saved registers ----------------------------------------------------------------------------------------------------


@export("trap_sync")
def trap_sync(v: Vcpu) -> u64:
    """A synchronous exception from the guest: DONE, or NEEDS_FULL with nothing changed."""
    esr = read_esr_el2()
    if esr >> 26 == WFX_CLASS:
        skip_instruction(esr)
        if not CONFIG.ARM64 and trapped_in_vain(esr):
            return DONE
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
    if ec == HVC_CLASS:
        return trap_hvc(v, esr)
    if esr >> 21 == WORD_ACCESS:
        return trap_word_access(v, esr)
    if CONFIG.ARM64 and ec == FP_CLASS:
        fp_take(v)
        return DONE
    if ec == SMC_CLASS and (CONFIG.ARM64 or not trapped_in_vain(esr)):
        skip_instruction(esr)
        v.regs[0] = truncate(Register, psci_call(v))
        return DONE
    return NEEDS_FULL


@fn(inline=True)
def trap_hvc(v: Vcpu, esr: u64) -> u64:
    """HVC #0 is PSCI's, HVC #0xEA1 Xen's; ELR_EL2 already points behind the instruction."""
    tag = esr & 0xFFFF
    if tag == 0:
        v.regs[0] = truncate(Register, psci_call(v))
        return DONE
    if tag == HYPERCALL_TAG:
        v.regs[0] = truncate(Register, hypercall(v))
        return DONE
    return NEEDS_FULL


@fn(inline=True)
def trap_word_access(v: Vcpu, esr: u64) -> u64:
    """The distributor, by a plain load or store of a word. Stage 2 maps nothing there, so it can only be a translation fault."""
    offset = truncate(u32, read_far_el2()) & PAGE_OFFSET
    rt = truncate(u32, esr >> 16) & 31
    frame = v.gicd_frame & ~u64(NOT_SHORT) if CONFIG.GICV2_ON_V3 else v.gicd_frame
    if read_hpfar_el2() != frame or offset & 3 != 0:
        return NEEDS_FULL
    if rt >= TRAP_REGISTERS and rt < 30:
        return NEEDS_FULL
    skip_instruction(esr)
    if esr & WRITE != 0:
        value = u32(0) if rt == ZERO_REGISTER else truncate(u32, v.regs[rt])
        distributor_write(vcpu_domain(v), v, offset, value)
        return DONE
    loaded = distributor_read(vcpu_domain(v), v, offset)
    if rt != ZERO_REGISTER:
        v.regs[rt] = Register(loaded)
    return DONE


@export("trap_irq")
def trap_irq(v: Vcpu, acknowledged: u64) -> None:
    """What `short_irq` gave."""
    if irq_acknowledged(v, truncate(u32, acknowledged)) and vcpu_to_check(v):
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
    v.extra |= Extra.SERROR
    write_hcr_el2(read_hcr_el2() | HCR_VSE)


# ---- the full way -----------------------------------------------------------------------------------------------------


@fn
def trap_undefined(v: Vcpu, esr: u64) -> Verdict:
    return Verdict.UNDEFINED


class Handler(Struct, frozen=True):
    """What to do for an exception class, and whether its instruction may have a condition."""

    call: Callable[[Vcpu, u64], Verdict]
    conditional: bool


BY_CLASS: dict[int, VerdictHandler] = {
    HVC_CLASS: trap_unknown_call,
    INSTRUCTION_ABORT_CLASS: trap_instruction_abort,
    DATA_ABORT_CLASS: trap_data_abort,
    **SYSTEM_TRAPS,
}
"""Everything else is undefined to the guest: coprocessors that it has not, FP traps that nothing sets, unknown classes."""

HANDLERS = table(Handler, [Handler(BY_CLASS.get(ec, trap_undefined), ec in CONDITIONAL) for ec in range(64)])


@export("trap_full")
def trap_full(v: Vcpu) -> None:
    """A synchronous exception that the short way left: all registers are in the frame."""
    esr = read_esr_el2()
    handler = HANDLERS[(esr >> 26) & 63]
    if handler.conditional and trapped_in_vain(esr):
        skip_trapped(esr)
        return
    match handler.call(v, esr):
        case Verdict.HANDLED:
            skip_trapped(esr)
        case Verdict.UNDEFINED:
            inject_undefined(v)
        case Verdict.STAY:
            pass
    if v.choose != 0:
        reconsider(v)
