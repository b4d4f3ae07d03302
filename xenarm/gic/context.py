"""A vCPU's list registers and virtual CPU interface, when its CPU turns to another and when it runs again.

GICv2: IHI 0048B 5.3. GICv3: IHI 0069 9.4. A list register of its own interrupts that the guest has finished with stays the vCPU's: it
costs less to load it empty than to find one anew.
"""

from collections.abc import Callable
from dataclasses import dataclass

from freestanding import ctz, fn, u32

from xenarm.arm.hw import read_cntpct_el0
from xenarm.config import CONFIG
from xenarm.core.domain import Vcpu
from xenarm.core.sched.scheduler import sched_wake
from xenarm.gic.host import gic_is_v3
from xenarm.gic.lists import release
from xenarm.gic.registers import INTID_MASK, LrState
from xenarm.gic.state import LIST_REGISTERS, LOOK
from xenarm.gic.v2 import v2_lists_empty, v2_load_interface, v2_read_lr, v2_save_interface, v2_write_first_lr, v2_write_lr
from xenarm.gic.v3 import v3_lists_empty, v3_load_interface, v3_read_lr, v3_save_interface, v3_write_first_lr, v3_write_lr
from xenarm.gic.vgic import cpus_kick

__all__ = [
    "vgic_finished",
    "vgic_load",
    "vgic_load_v2",
    "vgic_load_v3",
    "vgic_quiet_v2",
    "vgic_quiet_v3",
    "vgic_save",
    "vgic_save_quiet_v2",
    "vgic_save_quiet_v3",
    "vgic_save_v2",
    "vgic_save_v3",
]

FINISHED_SPECIALLY = LrState.EOI | INTID_MASK & ~31


@dataclass(frozen=True)
class Lists:
    """One controller's list registers and interface."""

    read: Callable[[u32], u32]
    write: Callable[[u32, u32], None]
    write_first: Callable[[u32], None]
    empty: Callable[[], u32]
    save_interface: Callable[[Vcpu], None]
    load_interface: Callable[[Vcpu], None]


V2 = Lists(v2_read_lr, v2_write_lr, v2_write_first_lr, v2_lists_empty, v2_save_interface, v2_load_interface)
V3 = Lists(v3_read_lr, v3_write_lr, v3_write_first_lr, v3_lists_empty, v3_save_interface, v3_load_interface)


def saving(lists: Lists) -> Callable[[Vcpu], bool]:
    read_lr, write_lr, save_interface = lists.read, lists.write, lists.save_interface

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


def loading(lists: Lists) -> Callable[[Vcpu], None]:
    write_lr, write_first_lr, load_interface = lists.write, lists.write_first, lists.load_interface

    @fn(inline=True)
    def load(v: Vcpu) -> None:
        """On a virtual interface whose list registers are empty. Most often there is one to load, and that the first."""
        used = v.vgic.lr_used
        if used == 1:
            write_first_lr(v.vgic.lr[0])
        else:
            while used != 0:
                index = ctz(used) & (LIST_REGISTERS - 1)
                used &= used - 1
                write_lr(index, v.vgic.lr[index])
        load_interface(v)

    return load


def quieting(lists: Lists) -> Callable[[Vcpu], bool]:
    lists_empty = lists.empty

    @fn(inline=True)
    def quiet(v: Vcpu) -> bool:
        """Whether surely nothing is pending or active for a vCPU that is about to wait. Its list registers become free, if all were its own."""
        own = v.vgic.own
        if (own.pending & own.on | own.level | own.active) != 0:
            return False
        used = v.vgic.lr_used
        if used != 0:
            if used & (~lists_empty() | v.vgic.lr_shared) != 0:
                return False
            v.vgic.lr_used = 0
            v.vgic.listed = 0
        return True

    return quiet


vgic_quiet_v2, vgic_quiet_v3 = quieting(V2), quieting(V3)
vgic_save_v2, vgic_save_v3 = saving(V2), saving(V3)
vgic_save_quiet_v2, vgic_save_quiet_v3 = V2.save_interface, V3.save_interface  # after `vgic_quiet`: it has no list registers
vgic_load_v2, vgic_load_v3 = loading(V2), loading(V3)


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
                _ = v.vgic.kicked.fetch_or(LOOK)
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
