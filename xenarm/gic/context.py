"""A vCPU's list registers and virtual CPU interface, when its CPU turns to another and when it runs again.

GICv2: IHI 0048B 5.3. GICv3: IHI 0069 9.4. A list register of its own interrupts that the guest has finished with stays the vCPU's: it
costs less to load it empty than to find one anew.
"""

from collections.abc import Callable

from freestanding import ctz, fn, u32

from xenarm.arm.hw import read_cntpct_el0
from xenarm.config import CONFIG
from xenarm.core.domain import Vcpu
from xenarm.core.sched.scheduler import sched_wake
from xenarm.gic.host import gic_is_v3
from xenarm.gic.lists import release
from xenarm.gic.registers import INTID_MASK, LrState
from xenarm.gic.v2 import v2_load_interface, v2_read_lr, v2_save_interface, v2_write_lr
from xenarm.gic.v3 import v3_load_interface, v3_read_lr, v3_save_interface, v3_write_lr
from xenarm.gic.vgic import cpus_kick

__all__ = ["vgic_finished", "vgic_load", "vgic_load_v2", "vgic_load_v3", "vgic_quiet_v2", "vgic_quiet_v3", "vgic_save", "vgic_save_v2", "vgic_save_v3"]

FINISHED_SPECIALLY = LrState.EOI | INTID_MASK & ~31

ReadLr = Callable[[u32], u32]
WriteLr = Callable[[u32, u32], None]
OfVcpu = Callable[[Vcpu], None]


def saving(read_lr: ReadLr, write_lr: WriteLr, save_interface: OfVcpu) -> Callable[[Vcpu], bool]:
    @fn(inline=True)
    def save(v: Vcpu) -> bool:
        """True: `vgic_finished` must follow."""
        used = v.vgic.lr_used
        special = u32(0)
        while used != 0:
            index = ctz(used)
            used &= used - 1
            value = read_lr(index)
            write_lr(index, 0)
            v.vgic.lr[index] = value
            if value & LrState.MASK == 0:
                special |= value
        save_interface(v)
        return special & FINISHED_SPECIALLY != 0

    return save


def loading(write_lr: WriteLr, load_interface: OfVcpu) -> OfVcpu:
    @fn(inline=True)
    def load(v: Vcpu) -> None:
        """On a virtual interface whose list registers are empty."""
        used = v.vgic.lr_used
        while used != 0:
            index = ctz(used)
            used &= used - 1
            write_lr(index, v.vgic.lr[index])
        load_interface(v)

    return load


def quieting(read_lr: ReadLr) -> Callable[[Vcpu], bool]:
    @fn(inline=True)
    def quiet(v: Vcpu) -> bool:
        """Whether surely nothing is pending for a vCPU that is about to wait. List registers of its own interrupts that have ended become free."""
        own = v.vgic.own
        if (own.pending & own.on | own.level | own.active) != 0:
            return False
        used = v.vgic.lr_used
        while used != 0:
            index = ctz(used)
            value = read_lr(index)
            if value & LrState.MASK == 0 and value & FINISHED_SPECIALLY == 0:
                v.vgic.lr_used &= ~(u32(1) << index)
                v.vgic.listed &= ~(u32(1) << (value & 31))
            elif value & LrState.MASK != LrState.ACTIVE:
                return False
            used &= used - 1
        return True

    return quiet


vgic_quiet_v2 = quieting(v2_read_lr)
vgic_quiet_v3 = quieting(v3_read_lr)
vgic_save_v2 = saving(v2_read_lr, v2_write_lr, v2_save_interface)
vgic_save_v3 = saving(v3_read_lr, v3_write_lr, v3_save_interface)
vgic_load_v2 = loading(v2_write_lr, v2_load_interface)
vgic_load_v3 = loading(v3_write_lr, v3_load_interface)


@fn(inline=False)
def vgic_finished(v: Vcpu) -> None:
    """Shared interrupts may be others' now; an end that was to be reported is remembered as a kick, and nothing to sleep over."""
    used = v.vgic.lr_used
    while used != 0:
        index = ctz(used)
        used &= used - 1
        value = v.vgic.lr[index]
        if value & LrState.MASK == 0:
            v.vgic.lr[index] = value & ~u32(LrState.EOI)
            if value & INTID_MASK & ~u32(31) != 0:
                release(v, index)
            if value & LrState.EOI != 0:
                v.vgic.attention.store(1)
                v.vgic.kicked.store(1)
                cpus_kick(sched_wake(v.sched, read_cntpct_el0()))


@fn(inline=True)
def vgic_save(v: Vcpu) -> bool:
    return vgic_save_v3(v) if CONFIG.GICV3 and gic_is_v3() else vgic_save_v2(v)


@fn(inline=True)
def vgic_load(v: Vcpu) -> None:
    if CONFIG.GICV3 and gic_is_v3():
        vgic_load_v3(v)
    else:
        vgic_load_v2(v)
