"""What a guest in AArch32 sees of identification registers, which AArch64 reads under names of its own (Arm ARM D19.2.58 and on; `features.py`)."""

from freestanding import fn, u32, u64

from xenarm.arm64.guest_sysregs import id_register
from xenarm.core.domain import Vcpu
from xenarm.gic.version import vcpu_vgic_is_v3

__all__ = ["MOST_MVFR", "aarch32_id"]

MOST_MVFR = 2
PFR1 = 9
PFR1_GIC = 1 << 28  # system registers of a GICv3


@fn
def aarch32_id(v: Vcpu, number: u32) -> u64:
    """By CRm times 8 plus opc2, from 8 on; MVFR0 to MVFR2 are 24 to 26, as AArch64 has them."""
    value = id_register(v, number) & 0xFFFF_FFFF
    return value | PFR1_GIC if number == PFR1 and vcpu_vgic_is_v3(v) else value
