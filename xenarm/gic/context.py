"""A vCPU's list registers and virtual CPU interface, when its CPU turns to another and when it runs again (IHI 0048B 5.3)."""

from freestanding import ctz, fn, u32

from xenarm.core.domain import Vcpu
from xenarm.gic.lists import HCR_RUN, HCR_RUN_SHORT, release
from xenarm.gic.registers import Gich, LrState
from xenarm.gic.v2 import gich_read, gich_read_lr, gich_write, gich_write_lr

__all__ = ["vgic_load", "vgic_save"]


@fn(inline=True)
def vgic_save(v: Vcpu) -> None:
    """What the guest has finished with becomes free; an end that was to be reported is remembered as a kick."""
    used = v.vgic.lr_used
    while used != 0:
        index = ctz(used)
        used &= used - 1
        value = gich_read_lr(index)
        gich_write_lr(index, 0)
        if value & LrState.MASK != 0:
            v.vgic.lr[index] = value
        else:
            release(v, index)
            if value & LrState.EOI != 0:
                v.vgic.attention.store(1)
                v.vgic.kicked.store(1)
    v.vmcr = gich_read(Gich.VMCR)
    v.apr = gich_read(Gich.APR)


@fn(inline=True)
def vgic_load(v: Vcpu) -> None:
    """On a virtual interface whose list registers are empty."""
    used = v.vgic.lr_used
    while used != 0:
        index = ctz(used)
        used &= used - 1
        gich_write_lr(index, v.vgic.lr[index])
    gich_write(Gich.VMCR, v.vmcr)
    gich_write(Gich.APR, v.apr)
    gich_write(Gich.HCR, HCR_RUN_SHORT if v.vgic.short else u32(HCR_RUN))
