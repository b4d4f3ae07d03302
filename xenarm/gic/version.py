"""Which version of the interrupt controller a domain sees: the machine's, or on a GICv3 with the memory-mapped virtual CPU interface a GICv2."""

from freestanding import fn, u32

from xenarm.config import CONFIG
from xenarm.core.domain import Domain, Vcpu
from xenarm.gic.controller import gic_is_v3

__all__ = ["VGIC_V2_CPUS", "vcpu_vgic_is_v3", "vgic_is_v3", "vgic_most_cpus"]

VGIC_V2_CPUS = 8
"""A virtual GICv2 has a bit for each vCPU in registers of eight."""


@fn(inline=True)
def vgic_is_v3(d: Domain) -> bool:
    """Whether the domain sees a GICv3. Where GICv2s on GICv3s are left out it is the machine's version, which may be a constant."""
    return d.gic_v3 if CONFIG.GICV2_ON_V3 else gic_is_v3()


@fn(inline=True)
def vcpu_vgic_is_v3(v: Vcpu) -> bool:
    """The same of the domain of a vCPU that has one."""
    return gic_is_v3() and not v.vgic.legacy if CONFIG.GICV2_ON_V3 else gic_is_v3()


@fn
def vgic_most_cpus(v3: bool, cpus: u32) -> u32:
    """So many vCPUs of a domain as that version has room for."""
    return cpus if v3 else min(cpus, u32(VGIC_V2_CPUS))
