"""A vCPU's list registers and virtual CPU interface, when its CPU turns to another and when it runs again.

GICv2: IHI 0048B 5.3. GICv3: IHI 0069 9.4.
"""

from collections.abc import Callable

from freestanding import ctz, fn, u32

from xenarm.config import CONFIG
from xenarm.core.domain import Vcpu
from xenarm.gic.host import gic_is_v3
from xenarm.gic.lists import HCR_RUN, HCR_RUN_SHORT, release
from xenarm.gic.registers import LrState
from xenarm.gic.v2 import v2_lists_control, v2_load_interface, v2_read_lr, v2_save_interface, v2_write_lr
from xenarm.gic.v3 import v3_lists_control, v3_load_interface, v3_read_lr, v3_save_interface, v3_write_lr

__all__ = ["vgic_load", "vgic_save"]

ReadLr = Callable[[u32], u32]
WriteLr = Callable[[u32, u32], None]
OfVcpu = Callable[[Vcpu], None]


def saving(read_lr: ReadLr, write_lr: WriteLr, save_interface: OfVcpu) -> OfVcpu:
    @fn(inline=True)
    def save(v: Vcpu) -> None:
        used = v.vgic.lr_used
        while used != 0:
            index = ctz(used)
            used &= used - 1
            value = read_lr(index)
            write_lr(index, 0)
            if value & LrState.MASK != 0:
                v.vgic.lr[index] = value
            else:
                release(v, index)
                if value & LrState.EOI != 0:
                    v.vgic.attention.store(1)
                    v.vgic.kicked.store(1)
        save_interface(v)

    return save


def loading(write_lr: WriteLr, load_interface: OfVcpu, lists_control: Callable[[u32], None]) -> OfVcpu:
    @fn(inline=True)
    def load(v: Vcpu) -> None:
        used = v.vgic.lr_used
        while used != 0:
            index = ctz(used)
            used &= used - 1
            write_lr(index, v.vgic.lr[index])
        load_interface(v)
        lists_control(HCR_RUN_SHORT if v.vgic.short else u32(HCR_RUN))

    return load


save_v2 = saving(v2_read_lr, v2_write_lr, v2_save_interface)
save_v3 = saving(v3_read_lr, v3_write_lr, v3_save_interface)
load_v2 = loading(v2_write_lr, v2_load_interface, v2_lists_control)
load_v3 = loading(v3_write_lr, v3_load_interface, v3_lists_control)


@fn(inline=True)
def vgic_save(v: Vcpu) -> None:
    """What the guest has finished with becomes free; an end that was to be reported is remembered as a kick."""
    if CONFIG.GICV3 and gic_is_v3():
        save_v3(v)
    else:
        save_v2(v)


@fn(inline=True)
def vgic_load(v: Vcpu) -> None:
    """On a virtual interface whose list registers are empty."""
    if CONFIG.GICV3 and gic_is_v3():
        load_v3(v)
    else:
        load_v2(v)
