"""Which affinities a vCPU has (MPIDR_EL1), and back. As under Xen (`vcpu_to_vaffinity` in its arm/domain.c) and KVM sixteen share affinity 1,
unless the domain's node says how many values each level has (`xenarm,mpidr-levels`).

*Packed*, the affinities have a byte each, affinity 0 lowest, as GICR_TYPER has them (IHI 0069 12.11).
"""

from freestanding import Struct, fn, truncate, u32, u64

from xenarm.config import CONFIG

__all__ = ["MPIDR_AFFINITY", "NO_VCPU", "Affinities", "affinity_mpidr", "affinity_of", "vcpu_of_affinity", "vcpu_of_mpidr"]

NO_VCPU = 0xFFFF_FFFF
MPIDR_AFFINITY = 0xFF_00FF_FFFF  # of MPIDR_EL1; GICD_IROUTER<n> has them so too
LEVEL_BITS = 8
LOWEST_BITS = 4
LOWEST = (1 << LOWEST_BITS) - 1
USED = 0xFF << LEVEL_BITS | LOWEST  # bits that are ever set where no node says anything


class Affinities(Struct):
    """Where in a vCPU's number, in bits, its affinities 1, 2 and 3 begin, and what of a GICv3 follows from that. All zero: as under Xen."""

    levels: bool  # the node says so
    aff1: u32
    aff2: u32
    aff3: u32
    typer: u32  # of GICD_TYPER: RSS, A3V
    trap: u32  # of ICH_HCR_EL2: TC, so that ICC_CTLR_EL1 can say RSS


@fn
def affinity_by_levels(a: Affinities, vcpu: u32) -> u32:
    aff0 = vcpu & ((u32(1) << a.aff1) - 1)
    aff1 = (vcpu & ((u32(1) << a.aff2) - 1)) >> a.aff1
    aff2 = (vcpu & ((u32(1) << a.aff3) - 1)) >> a.aff2
    return aff0 | aff1 << 8 | aff2 << 16 | (vcpu >> a.aff3) << 24


@fn
def vcpu_by_levels(a: Affinities, affinity: u32) -> u32:
    vcpu = affinity & 0xFF | (affinity >> 8 & 0xFF) << a.aff1 | (affinity >> 16 & 0xFF) << a.aff2 | (affinity >> 24) << a.aff3
    return vcpu if affinity_by_levels(a, vcpu) == affinity else u32(NO_VCPU)


@fn(inline=True)
def affinity_of(a: Affinities, vcpu: u32) -> u32:
    """A vCPU's affinities, packed, by its number in its domain."""
    if CONFIG.MPIDR_LEVELS and a.levels:
        return affinity_by_levels(a, vcpu)
    return (vcpu & LOWEST) | (vcpu >> LOWEST_BITS) << LEVEL_BITS


@fn(inline=True)
def vcpu_of_affinity(a: Affinities, affinity: u32) -> u32:
    """The number that a vCPU with these affinities, packed, would have; NO_VCPU where none can have them."""
    if CONFIG.MPIDR_LEVELS and a.levels:
        return vcpu_by_levels(a, affinity)
    if affinity & ~u32(USED) != 0:
        return NO_VCPU
    return affinity & LOWEST | affinity >> LEVEL_BITS << LOWEST_BITS


@fn(inline=True)
def affinity_mpidr(affinity: u32) -> u64:
    """Packed affinities as MPIDR_EL1, PSCI and GICD_IROUTER<n> have them: affinity 3 in bits 39:32."""
    return u64(affinity & 0xFF_FFFF) | u64(affinity >> 24) << 32


@fn
def vcpu_of_mpidr(a: Affinities, affinity: u64) -> u32:
    """Who has affinities in the layout of MPIDR_EL1, all other bits being 0; NO_VCPU where nobody can."""
    if affinity & ~u64(MPIDR_AFFINITY) != 0:
        return NO_VCPU
    return vcpu_of_affinity(a, truncate(u32, affinity & 0xFF_FFFF) | truncate(u32, affinity >> 32) << 24)
