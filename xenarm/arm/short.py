"""The short way out of a guest and back: what a guest does most, with few registers and no lock, call or loop.

`short_sync_v2`, `short_irq_v2` and the same for a GICv3 find x0 to x9, x16, x17 and x30 in the frame and change no other register. What
they do not answer they leave as it was, for `trap_sync` and `trap_irq`. Each pair knows its controller; the vectors (`vectors.py`) choose.
"""

from collections.abc import Callable
from dataclasses import dataclass

from freestanding import ctz, export, fn, truncate, u8, u32, u64, wrapping_add, wrapping_sub

from xenarm.abi.hypercall import HYPERCALL_TAG, Hypercall, SchedOp
from xenarm.abi.layout import GUEST_TIMER_VIRT_PPI
from xenarm.abi.psci import GUEST_PSCI_VERSION, PSCI_BASE, PsciFunction
from xenarm.arm.frame import SHORT_REGISTERS, Register
from xenarm.arm.hw import (
    HVC_CLASS,
    WFX_CLASS,
    AbortSyndrome,
    read_elr_el2,
    read_esr_el2,
    read_far_el2,
    read_hpfar_el2,
    skip_instruction,
    write_elr_el2,
)
from xenarm.arm.instructions import data_memory_barrier
from xenarm.arm.timer import vtimer_mask
from xenarm.arm64.registers import Ec, sysreg_key  # a GICv3's registers are AArch64's alone
from xenarm.config import CONFIG
from xenarm.core.domain import Domain, Vcpu, vcpu_here
from xenarm.core.trace import trace_on_schedule
from xenarm.gic.controller import GIC, PPI_VIRTUAL_TIMER, SGI_POST
from xenarm.gic.registers import INTID_MASK, SGIR_TARGETS_SHIFT, Gicd, LrState
from xenarm.gic.state import LOOK, SGIS, SHARED_WORDS, SHORT_TARGETS
from xenarm.gic.v2 import v2_acknowledge, v2_drop, v2_end, v2_read_lr, v2_ring, v2_write_lr
from xenarm.gic.v3 import v3_acknowledge, v3_drop, v3_end, v3_read_lr_inline, v3_ring, v3_write_lr_inline
from xenarm.gic.vgicd import vgicd_typer
from xenarm.gic.vgicd3 import vgicd3_typer

__all__ = [
    "ACKNOWLEDGED",
    "DONE",
    "EC_SHIFT",
    "NOT_HERE",
    "NOT_HERE_BIT",
    "PAGE_OFFSET",
    "SENDS",
    "SENDS_BIT",
    "SHORT_POST",
    "SHORT_SYNC",
    "VALUE_SHIFT",
    "VERSION_CALL",
    "WAITS",
    "WAITS_BIT",
    "WFE",
    "WORD_ACCESS",
    "WRITE",
    "YIELDS",
    "YIELDS_BIT",
    "ZERO_REGISTER",
    "timer_or_other_v2",
    "timer_or_other_v3",
]

DONE = 0
NOT_HERE_BIT = 0
NOT_HERE = 1 << NOT_HERE_BIT
WAITS_BIT = 1
YIELDS_BIT = 2
SENDS_BIT = 3
WAITS = 1 << WAITS_BIT  # WFI, skipped: `guest_waits` does the rest
YIELDS = 1 << YIELDS_BIT  # WFE, skipped, or Xen's SCHEDOP_yield: `guest_yields`
SENDS = 1 << SENDS_BIT  # an SGI to `Vcpu.addressee`, its instruction skipped; in the upper half what `vgic_send` wants: `guest_sends`
VALUE_SHIFT = 32
ACKNOWLEDGED = 1 << 32  # short_irq left this interrupt, acknowledged, to trap_irq
WORD_ACCESS = 0x49C  # ESR_EL2 bits 31:21 of a data abort by a 32-bit instruction on a word, syndrome valid, no sign extension
PAGE_OFFSET = 0xFFF
ZERO_REGISTER = 31
WRITE = int(AbortSyndrome(WNR=True))
EC_SHIFT = 26
PSCI_CALL = HVC_CLASS << EC_SHIFT | 1 << 25  # ESR_EL2 of HVC #0
XEN_CALL = PSCI_CALL | HYPERCALL_TAG
ABORTS = 1 << 31  # exception classes from 0x20 on
CALLS = 1 << 30  # of those below, classes from 0x10 on
WFE = 1
assert WAITS << WFE == YIELDS
CALL_REGISTER = 16 if CONFIG.ARM64 else 12  # which hypercall (Xen: public/arch-arm.h)
VERSION_CALL = PSCI_BASE | PsciFunction.VERSION
SHORT_WORDS = 1 << (SHARED_WORDS + 1).bit_length() - 1  # so many words at most, and a power of two
IN_ENABLES = Gicd.ISENABLER ^ Gicd.ICENABLER | (SHORT_WORDS - 1) * 4  # offsets from ISENABLER0 that differ in these bits alone are of enables
ALL_ENABLES = Gicd.ISENABLER ^ Gicd.ICENABLER | 31 * 4
SENDER_SHIFT = 10
FILTER_SELF = 2 << 24
SGIR_FILTER = 3 << 24
SGIR_TO = SGIR_FILTER | 0xFF << SGIR_TARGETS_SHIFT
SYSREG_RT = 0x1F << 5
WRITE_SGI1R = Ec.SYSREG << 26 | 1 << 25 | sysreg_key(3, 0, 12, 11, 5)
SGI1R_INTID_SHIFT = 24
SGI1R_INTID = 0xF << SGI1R_INTID_SHIFT


@dataclass(frozen=True)
class Short:
    """One controller's operations, inlined into its short way."""

    acknowledge: Callable[[], u32]
    end: Callable[[u32], None]
    drop: Callable[[u32], None]
    read_lr: Callable[[u32], u32]
    write_lr: Callable[[u32, u32], None]
    ring: Callable[[u64], None]


WordAccess = Callable[[Vcpu, u64, u32, u32], u64]

V2 = Short(v2_acknowledge, v2_end, v2_drop, v2_read_lr, v2_write_lr, v2_ring)
V3 = Short(v3_acknowledge, v3_end, v3_drop, v3_read_lr_inline, v3_write_lr_inline, v3_ring)


@fn(inline=True)
def skip_word(esr: u64) -> None:
    """Go on after the trapped instruction: WORD_ACCESS says that it has 32 bits."""
    if CONFIG.ARM64:
        write_elr_el2(wrapping_add(read_elr_el2(), 4))
    else:
        skip_instruction(esr)


@fn(inline=True)
def is_enable(offset: u32) -> bool:
    """GICD_ISENABLER or GICD_ICENABLER, aligned."""
    return offset & ~u32(ALL_ENABLES) == Gicd.ISENABLER


def reading(typer: Callable[[Domain], u32], first: int) -> WordAccess:
    """`first`: the word that the distributor's registers of a bit for each interrupt begin with."""

    @fn(inline=True)
    def short_read(v: Vcpu, esr: u64, offset: u32, rt: u32) -> u64:
        """GICD_TYPER, GICD_ISENABLER and GICD_ICENABLER: one word, which needs no lock to be read."""
        d = v.domain
        if rt >= SHORT_REGISTERS or d is None:
            return NOT_HERE
        if offset == Gicd.TYPER:
            v.regs[rt] = Register(typer(d))
        elif offset & ~u32(IN_ENABLES) == Gicd.ISENABLER and (offset >> 2) & (SHORT_WORDS - 1) >= first:
            n = (offset >> 2) & (SHORT_WORDS - 1)
            v.regs[rt] = Register(v.vgic.own.enabled if n == 0 else d.vgic.words[n - 1].enabled)
        else:
            return NOT_HERE
        skip_word(esr)
        return DONE

    return short_read


# ---- an edge of the vCPU's own ----------------------------------------------------------------------------------------


def raising(gic: Short) -> Callable[[Vcpu, u32, u32], bool]:
    read_lr, write_lr = gic.read_lr, gic.write_lr

    @fn(inline=True)
    def short_raise(v: Vcpu, intid: u32, extra: u32) -> bool:
        """Bring an edge of one of the vCPU's own interrupts into a list register. False, and nothing done: it is off, waiting or listed,
        or there is no room."""
        bit = u32(1) << intid
        if v.vgic.own.on & ~v.vgic.own.pending & bit == 0:
            return False
        index = u32(v.vgic.lr_of[intid])
        if v.vgic.listed & bit != 0:
            if read_lr(index) & LrState.MASK != 0:
                return False
        else:
            free = ~v.vgic.lr_used & GIC.list_mask
            if free == 0:
                return False
            index = ctz(free)
            v.vgic.lr_used |= u32(1) << index
            v.vgic.lr_of[intid] = truncate(u8, index)
            v.vgic.listed |= bit
        value = v.vgic.own.template[intid] | LrState.PENDING | extra
        v.vgic.lr[index] = value
        write_lr(index, value)
        return True

    return short_raise


def timing(gic: Short) -> Callable[[Vcpu], u64]:
    short_raise, acknowledge, drop, end = raising(gic), gic.acknowledge, gic.drop, gic.end

    @fn(inline=True)
    def timer_or_other(v: Vcpu) -> u64:
        """DONE: it was the virtual timer's interrupt, and is listed for the guest. Else what was acknowledged, with ACKNOWLEDGED."""
        iar = acknowledge()
        if iar & INTID_MASK != PPI_VIRTUAL_TIMER or not short_raise(v, GUEST_TIMER_VIRT_PPI, 0):
            return u64(iar) | ACKNOWLEDGED
        if CONFIG.GIC_HW_TIMER_LINK:
            drop(iar)
        else:
            vtimer_mask()
            end(iar)
        return DONE

    return timer_or_other


timer_or_other_v2 = timing(V2)
timer_or_other_v3 = timing(V3)


# ---- an SGI from one vCPU to another ----------------------------------------------------------------------------------


def posting(gic: Short) -> Callable[[Vcpu, u32, u32], u64]:
    ring = gic.ring

    @fn(inline=True)
    def short_post(v: Vcpu, index: u32, word: u32) -> u64:
        """An SGI to one other vCPU of the domain, as a list register has it beside `template`. NOT_HERE, with nothing done: there is no such vCPU.

        Where a CPU runs it, and it has no kick to look at, its CPU needs nothing but that word. As with every kick, `kicked` must be seen set before the vCPU's state is
        looked at.
        """
        d = v.domain
        target = d.vcpus[index & (SHORT_TARGETS - 1)] if d is not None else None
        if target is None:
            return NOT_HERE
        v.addressee = target
        left = SENDS | u64(word) << VALUE_SHIFT
        if away(target) or trace_on_schedule():
            return left
        posted, _ = target.vgic.kicked.compare_swap(0, word)
        if not posted:
            return left
        data_memory_barrier()
        if away(target):
            return SENDS
        ring(vcpu_here(target).doorbell)
        return DONE

    return short_post


@fn(inline=True)
def no_post(v: Vcpu, index: u32, word: u32) -> u64:
    """Where what the short way leaves of it has no way of its own."""
    return NOT_HERE


@fn(inline=True)
def names_one(targets: u64) -> bool:
    """Whether a set is of one vCPU, one of the first SHORT_TARGETS."""
    less = wrapping_sub(targets, u64(1))  # more than all of them, if there is none
    return less < (1 << SHORT_TARGETS) - 1 and targets & less == 0


@fn(inline=True)
def names_near(v: Vcpu, targets: u64) -> bool:
    """The same where bits beyond those of the vCPU's neighbours in affinity 0 mean nobody."""
    less = wrapping_sub(targets, u64(1))
    return less < v.vgic.near and targets & less == 0


@fn(inline=True)
def away(v: Vcpu) -> bool:
    """Whether no CPU runs the vCPU, or something stops it."""
    return v.sched.stopped.load() != 0 or v.sched.on_cpu.load() == 0


def receiving(gic: Short) -> Callable[[Vcpu, u64], u64]:
    short_raise, end = raising(gic), gic.end

    @fn(inline=True)
    def posted_or_other(v: Vcpu, left: u64) -> u64:
        """DONE: what `timer_or_other` left was SGI_POST, and one SGI has been listed: there was nothing else to look at. Else the same again."""
        iar = truncate(u32, left)
        if iar & INTID_MASK != SGI_POST:
            return left
        word = v.vgic.kicked.load_acquire()
        if word & (LOOK | LrState.PENDING) != LrState.PENDING:
            return left
        if not short_raise(v, word & (SGIS - 1), word) or v.vgic.kicked.exchange(0) != word:
            return left
        end(iar)
        return DONE

    return posted_or_other


posted_or_other_v2 = receiving(V2)
posted_or_other_v3 = receiving(V3)


# ---- distributor and SGIs of a GICv2 ----------------------------------------------------------------------------------

short_raise_v2 = raising(V2)
short_post_v2 = posting(V2) if CONFIG.ARM64 else no_post


@fn(inline=True)
def short_sgi_v2(v: Vcpu, value: u32) -> u64:
    """GICD_SGIR: an SGI to the vCPU that sends it, none of that number waiting; or to one other."""
    to = value & SGIR_TO
    sgi = value & (SGIS - 1)
    bits = u64(to >> SGIR_TARGETS_SHIFT)
    if u64(to) != v.vgic.sgi_self:
        if names_one(bits):
            return short_post_v2(v, ctz(bits), sgi | v.id << SENDER_SHIFT | LrState.PENDING)
        if to & SGIR_FILTER != FILTER_SELF:
            return NOT_HERE
    if v.vgic.sgi_senders[sgi] != 0 or not short_raise_v2(v, sgi, v.id << SENDER_SHIFT):
        return NOT_HERE
    return DONE


@fn(inline=True)
def short_write_v2(v: Vcpu, esr: u64, offset: u32, rt: u32) -> u64:
    """GICD_SGIR to one vCPU; and zero to the enables, which changes nothing."""
    if rt < SHORT_REGISTERS:
        value = truncate(u32, v.regs[rt])
    elif rt == ZERO_REGISTER:
        value = 0
    else:
        return NOT_HERE
    if offset == Gicd.SGIR:
        left = short_sgi_v2(v, value)
        if left != NOT_HERE:
            skip_word(esr)
        return left
    if value != 0 or not is_enable(offset):
        return NOT_HERE
    skip_word(esr)
    return DONE


@fn(inline=True)
def no_sysreg(v: Vcpu, esr: u64) -> u64:
    return NOT_HERE


# ---- distributor and SGIs of a GICv3 ----------------------------------------------------------------------------------

short_raise_v3 = raising(V3)
short_post_v3 = posting(V3)


@fn(inline=True)
def short_write_v3(v: Vcpu, esr: u64, offset: u32, rt: u32) -> u64:
    """Zero to the enables, which changes nothing."""
    if rt >= SHORT_REGISTERS and rt != ZERO_REGISTER:
        return NOT_HERE
    value = u32(0) if rt == ZERO_REGISTER else truncate(u32, v.regs[rt])
    if value != 0 or not is_enable(offset):
        return NOT_HERE
    skip_word(esr)
    return DONE


@fn(inline=True)
def short_sgi_v3(v: Vcpu, esr: u64) -> u64:
    """A write to ICC_SGI1R_EL1 that names the vCPU itself, none of that number waiting, or one other; SGIs of a GICv3 have no sender."""
    rt = truncate(u32, esr >> 5) & 31
    if esr & ~u64(SYSREG_RT) != WRITE_SGI1R or rt >= SHORT_REGISTERS:
        return NOT_HERE
    value = u64(v.regs[rt])
    to = value & ~u64(SGI1R_INTID)
    left = send_v3(v, to, truncate(u32, value >> SGI1R_INTID_SHIFT) & (SGIS - 1))
    if left != NOT_HERE:
        skip_instruction(esr)
    return left


@fn(inline=True)
def send_v3(v: Vcpu, to: u64, sgi: u32) -> u64:
    if to == v.vgic.sgi_self:
        return DONE if short_raise_v3(v, sgi, 0) else u64(NOT_HERE)
    if not (names_near(v, to) if CONFIG.MPIDR_LEVELS or CONFIG.GICV2_ON_V3 else names_one(to)):
        return NOT_HERE
    return short_post_v3(v, ctz(to), sgi | LrState.PENDING)


# ---- the entries ------------------------------------------------------------------------------------------------------

SHORT_SYNC: dict[str, Callable[[Vcpu], u64]] = {}
SHORT_POST: dict[str, Callable[[Vcpu, u64], u64]] = {}


@fn(inline=True)
def short_turn(v: Vcpu, esr: u32) -> u64:
    """WFI, WFE, Xen's SCHEDOP_yield."""
    if esr & CALLS == 0:
        if esr >> EC_SHIFT & 0xF != WFX_CLASS:
            return NOT_HERE
        skip_instruction(u64(esr))
        return u64(WAITS) << (esr & WFE)
    if esr != XEN_CALL or v.regs[CALL_REGISTER] != Hypercall.SCHED_OP or v.regs[0] != SchedOp.YIELD:
        return NOT_HERE
    v.regs[0] = 0
    return YIELDS


@dataclass(frozen=True)
class Ways:
    """One controller's short ways: loads and stores of words, system registers, interrupts."""

    read: WordAccess
    write: WordAccess
    sysreg: Callable[[Vcpu, u64], u64]
    timer: Callable[[Vcpu], u64]
    posted: Callable[[Vcpu, u64], u64]


def entries(name: str, ways: Ways) -> None:
    """The functions that the vectors call."""
    short_read, short_write, short_sysreg, timer, posted = ways.read, ways.write, ways.sysreg, ways.timer, ways.posted

    @fn(inline=True)
    def short_other(v: Vcpu, esr: u64) -> u64:
        left = short_sysreg(v, esr)
        if left != NOT_HERE:
            return left
        return short_turn(v, truncate(u32, esr)) if CONFIG.ARM64 else u64(NOT_HERE)

    @export(f"short_sync_{name}", preserve=CONFIG.ARM64)
    def short_sync(v: Vcpu) -> u64:
        """A synchronous exception: DONE, NOT_HERE with nothing changed, or what is left to do."""
        esr = read_esr_el2()
        if esr & ABORTS == 0:
            if truncate(u32, esr) != PSCI_CALL:
                return short_other(v, read_esr_el2())  # read again, the compiler keeps to this order
            if v.regs[0] != VERSION_CALL:
                return NOT_HERE
            v.regs[0] = GUEST_PSCI_VERSION
            return DONE
        if esr >> 21 == WORD_ACCESS:
            # Stage 2 maps nothing at the distributor: a plain load or store of a word there can only be a translation fault.
            offset = truncate(u32, read_far_el2()) & PAGE_OFFSET
            rt = truncate(u32, esr >> 16) & 31
            if read_hpfar_el2() != v.gicd_frame:
                return NOT_HERE
            if esr & WRITE != 0:
                return short_write(v, esr, offset, rt)
            return short_read(v, esr, offset, rt)
        return NOT_HERE

    SHORT_SYNC[name] = short_sync

    @export(f"short_irq_{name}", preserve=CONFIG.ARM64)
    def short_irq(v: Vcpu) -> u64:
        """An interrupt: DONE, or what was acknowledged with ACKNOWLEDGED."""
        return timer(v)

    if CONFIG.ARM64:

        @export(f"short_post_{name}", preserve=True)
        def short_post(v: Vcpu, left: u64) -> u64:
            """What `short_irq` left: DONE, or the same."""
            return posted(v, left)

        SHORT_POST[name] = short_post


if CONFIG.GICV2:
    entries("v2", Ways(reading(vgicd_typer, 0), short_write_v2, no_sysreg, timer_or_other_v2, posted_or_other_v2))
if CONFIG.GICV3:
    entries("v3", Ways(reading(vgicd3_typer, 1), short_write_v3, short_sgi_v3, timer_or_other_v3, posted_or_other_v3))
