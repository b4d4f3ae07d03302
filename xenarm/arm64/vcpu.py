"""Which CPU runs which vCPU, and how a vCPU is told to start."""

from freestanding import Atomic, Struct, atomic, fn, u32, u64, zeroed

from xenarm.core.addresses import GuestPhys
from xenarm.core.domain import CPU_SLOTS, MAX_CPUS, Domain, Power, Vcpu

__all__ = ["CPUS", "arch_vcpu_reset", "arch_vcpu_stop", "cpus_online", "vcpu_assign", "vcpus_release"]


class Cpus(Struct):
    """How many CPUs run; they are numbered from 0 in the order they came."""

    online: Atomic[u32] = atomic(u32)


CPUS = zeroed(Cpus)


@fn
def cpus_online() -> u32:
    """Physical CPUs that run; each has room for one vCPU."""
    return CPUS.online.load_acquire()


@fn
def vcpu_assign(d: Domain) -> Vcpu | None:
    """Give the domain one more vCPU, on a CPU that has none yet; it is off. None when no CPU is left. Boot only: not locked."""
    if d.vcpu_count >= MAX_CPUS:
        return None
    for cpu in range(cpus_online()):
        v = CPU_SLOTS[cpu].vcpu
        if v.domain is None:
            v.domain = d
            v.cpu = cpu
            v.id = d.vcpu_count
            v.power.store(u32(Power.OFF))
            d.vcpus[v.id] = v
            d.vcpu_count += 1
            return v
    return None


@fn
def vcpus_release(d: Domain) -> None:
    """Take back the vCPUs of a domain that could not be built."""
    for i in range(d.vcpu_count):
        v = d.vcpus[i]
        if v is not None:
            v.domain = None
        d.vcpus[i] = None
    d.vcpu_count = 0


@fn
def arch_vcpu_reset(v: Vcpu, entry: GuestPhys, context: u64) -> None:
    """Have the vCPU start at `entry` with `context` in x0, in the state that PSCI's CPU_ON promises (DEN0022 6.4)."""
    v.entry = u64(entry)
    v.context = context
    v.power.store_release(u32(Power.ON_PENDING))


@fn
def arch_vcpu_stop(v: Vcpu) -> None:
    """A vCPU that is not ON is off, even if it was about to be turned on."""
    v.power.store_release(u32(Power.OFF))
