"""The short way out of a guest and back: what a guest does most, with few registers and no lock, call or loop.

`short_sync` and `short_irq` find x0 to x9, x16, x17 and x30 in the frame and change no other register. What they do not answer
they leave as it was, for `trap_sync` and `trap_irq`.
"""

from freestanding import ctz, export, fn, truncate, u8, u32, u64

from xenarm.abi.layout import GUEST_GICD_BASE
from xenarm.abi.psci import PSCI_BASE, PSCI_VERSION_1_1, PsciFunction
from xenarm.arm64.inject import skip_instruction
from xenarm.arm64.registers import AbortSyndrome, Ec, read_esr_el2, read_far_el2, read_hpfar_el2
from xenarm.arm64.timer import vtimer_mask
from xenarm.config import CONFIG
from xenarm.core.domain import Vcpu
from xenarm.gic.registers import INTID_MASK, SGIR_TARGETS_SHIFT, Gicd, LrState
from xenarm.gic.state import SGIS, SHARED_WORDS
from xenarm.gic.v2 import GIC, PPI_VIRTUAL_TIMER, gic_acknowledge, gic_drop, gic_end, gich_read_lr, gich_write_lr
from xenarm.gic.vgicd import vgicd_typer

__all__ = ["DONE", "GICD_HPFAR", "PAGE_OFFSET", "WORD_ACCESS", "WRITE", "ZERO_REGISTER", "timer_or_other"]

DONE = 0
NOT_HERE = 1
ACKNOWLEDGED = 1 << 32  # short_irq left this interrupt, acknowledged, to trap_irq
WORD_ACCESS = 0x49C  # ESR_EL2 bits 31:21 of a data abort by a 32-bit instruction on a word, syndrome valid, no sign extension
GICD_HPFAR = int(GUEST_GICD_BASE) >> 12 << 4
PAGE_OFFSET = 0xFFF
ZERO_REGISTER = 31
SAVED_BELOW = 10  # x0 to x9 are in the frame
WRITE = int(AbortSyndrome(WNR=True))
HVC0 = Ec.HVC64 << 26 | 1 << 25  # ESR_EL2 of HVC #0
VERSION_CALL = PSCI_BASE | PsciFunction.VERSION
ENABLES_END = Gicd.ICENABLER + 0x80
SENDER_SHIFT = 10
FILTER_SELF = 2 << 24
SGIR_TO = 0x03FF_0000


@export("short_sync", preserve=True)
def short_sync(v: Vcpu) -> u64:
    """A synchronous exception: DONE, or NOT_HERE with nothing changed."""
    esr = read_esr_el2()
    if esr >> 21 == WORD_ACCESS:
        return short_word_access(v, esr)
    if esr == HVC0 and v.regs[0] == VERSION_CALL:
        v.regs[0] = PSCI_VERSION_1_1
        return DONE
    return NOT_HERE


@fn(inline=True)
def short_word_access(v: Vcpu, esr: u64) -> u64:
    """A plain load or store of a word. Stage 2 maps nothing at the distributor, so there it can only be a translation fault."""
    offset = truncate(u32, read_far_el2()) & PAGE_OFFSET
    rt = truncate(u32, esr >> 16) & 31
    if read_hpfar_el2() != GICD_HPFAR:
        return NOT_HERE
    if esr & WRITE != 0:
        return short_write(v, esr, offset, rt)
    return short_read(v, esr, offset, rt)


@fn(inline=True)
def short_read(v: Vcpu, esr: u64, offset: u32, rt: u32) -> u64:
    """GICD_TYPER, GICD_ISENABLER and GICD_ICENABLER: one word, which needs no lock to be read."""
    d = v.domain
    if rt >= SAVED_BELOW or d is None:
        return NOT_HERE
    if offset == Gicd.TYPER:
        v.regs[rt] = u64(vgicd_typer(d))
    elif offset >= Gicd.ISENABLER and offset < ENABLES_END and offset & 3 == 0 and (offset >> 2) & 31 <= SHARED_WORDS:
        n = (offset >> 2) & 31
        v.regs[rt] = u64(v.vgic.own.enabled if n == 0 else d.vgic.words[n - 1].enabled)
    else:
        return NOT_HERE
    skip_instruction(esr)
    return DONE


@fn(inline=True)
def short_write(v: Vcpu, esr: u64, offset: u32, rt: u32) -> u64:
    """GICD_SGIR to the vCPU itself; and zero to the enables, which changes nothing."""
    if rt >= SAVED_BELOW and rt != ZERO_REGISTER:
        return NOT_HERE
    value = u32(0) if rt == ZERO_REGISTER else truncate(u32, v.regs[rt])
    if offset == Gicd.SGIR:
        if not short_sgi(v, value):
            return NOT_HERE
    elif value != 0 or offset < Gicd.ISENABLER or offset >= ENABLES_END or offset & 3 != 0:
        return NOT_HERE
    skip_instruction(esr)
    return DONE


@fn(inline=True)
def short_sgi(v: Vcpu, value: u32) -> bool:
    """An SGI to the vCPU that sends it and to no other, none of that number waiting."""
    to = value & SGIR_TO
    if to != u32(1) << (v.id + SGIR_TARGETS_SHIFT) and to & 0x0300_0000 != FILTER_SELF:
        return False
    sgi = value & (SGIS - 1)
    if v.vgic.sgi_senders[sgi] != 0:
        return False
    return short_raise(v, sgi, v.id << SENDER_SHIFT)


@fn(inline=True)
def short_raise(v: Vcpu, intid: u32, extra: u32) -> bool:
    """Bring an edge of one of the vCPU's own interrupts into a list register. False, and nothing done: it is off, waiting or listed, or
    there is no room."""
    bit = u32(1) << intid
    if v.vgic.own.on & ~v.vgic.own.pending & bit == 0:
        return False
    index = u32(v.vgic.lr_of[intid])
    if v.vgic.listed & bit != 0:
        if gich_read_lr(index) & LrState.MASK != 0:
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
    gich_write_lr(index, value)
    return True


@export("short_irq", preserve=True)
def short_irq(v: Vcpu) -> u64:
    """An interrupt: DONE, or what GICC_IAR gave with ACKNOWLEDGED."""
    return timer_or_other(v)


@fn(inline=True)
def timer_or_other(v: Vcpu) -> u64:
    """DONE: it was the virtual timer's, and is listed for the guest."""
    iar = gic_acknowledge()
    if iar & INTID_MASK != PPI_VIRTUAL_TIMER or not short_raise(v, PPI_VIRTUAL_TIMER, 0):
        return u64(iar) | ACKNOWLEDGED
    if CONFIG.GIC_HW_TIMER_LINK:
        gic_drop(iar)
    else:
        vtimer_mask()
        gic_end(iar)
    return DONE
