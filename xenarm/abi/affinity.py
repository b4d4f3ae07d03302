"""Which affinity a vCPU has (MPIDR_EL1), and back: sixteen share affinity 1, as under Xen (`vcpu_to_vaffinity` in its arm/domain.c).

So every vCPU can be a target of a GICv3's SGI without a range selector: ICC_SGI1R_EL1 names sixteen at once (IHI 0069 12.2.19).
"""

from freestanding import fn, truncate, u32, u64

__all__ = ["NO_VCPU", "affinity_of", "vcpu_of_affinity"]

NO_VCPU = 0xFFFF_FFFF
LOWEST_BITS = 4
LOWEST = (1 << LOWEST_BITS) - 1
AFF1_SHIFT = 8
USED = 0xFF << AFF1_SHIFT | LOWEST  # bits that are ever set


@fn(inline=True)
def affinity_of(vcpu: u32) -> u32:
    """Affinities 0 to 2 of a vCPU, by its number in its domain."""
    return (vcpu & LOWEST) | (vcpu >> LOWEST_BITS) << AFF1_SHIFT


@fn(inline=True)
def vcpu_of_affinity(affinity: u64) -> u32:
    """The number that a vCPU with these affinities (bits 39:32 and 23:0) would have; NO_VCPU where none can have them."""
    if affinity & ~u64(USED) != 0:
        return NO_VCPU
    return truncate(u32, affinity & LOWEST | affinity >> AFF1_SHIFT << LOWEST_BITS)
