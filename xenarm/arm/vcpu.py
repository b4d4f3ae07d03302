"""The pool of vCPUs, and how a vCPU is told to start."""

from freestanding import Atomic, Struct, atomic, fn, u32, u64, zeroed

from xenarm.arm.cpu import SHARING
from xenarm.arm.frame import BOOT_CONTEXT_SHIFT
from xenarm.arm64.aarch32 import BOOT_TREE_SHIFT
from xenarm.arm.window import slot_claim, slot_is_used
from xenarm.config import CONFIG
from xenarm.core.addresses import GuestPhys
from xenarm.core.domain import MAX_CPUS, MAX_DOMAIN_CPUS, MAX_VCPUS, NOT_SHORT, SLOT_COUNT, SLOTS, Domain, Extra, Power, Vcpu, vcpu_is_aarch32
from xenarm.core.result import Result
from xenarm.core.sched.scheduler import sched_insert, sched_remove
from xenarm.core.sched.state import SchedParams
from xenarm.gic.controller import gic_is_v3
from xenarm.gic.state import VcpuTag
from xenarm.gic.version import vgic_is_v3

__all__ = ["CPUS", "arch_vcpu_boot", "arch_vcpu_stop", "cpus_awaited", "cpus_in_boot_code", "cpus_online", "vcpu_assign", "vcpus_left", "vcpus_release"]


class Cpus(Struct):
    """How many CPUs run; they are numbered from 0 in the order they came. `unfit`: a `Fit` (`smp.py`), of one that came and goes no further."""

    online: Atomic[u32] = atomic(u32)
    unfit: Atomic[u32] = atomic(u32)
    likeness: u64  # what others must have in common with the first
    awaited: bool  # one was started and has not come
    alone: bool  # some may wait for their turn in the boot code


CPUS = zeroed(Cpus)


@fn
def cpus_online() -> u32:
    """Physical CPUs that run."""
    return CPUS.online.load_acquire()


@fn
def cpus_awaited() -> bool:
    """Whether one more may come, late."""
    return CPUS.awaited


@fn
def cpus_in_boot_code() -> bool:
    """Whether some CPU may be in the image's first page, or come there."""
    return CPUS.awaited or CPUS.alone


@fn
def slot_is_free(number: u32) -> bool:
    """A slot that nobody uses yet has no memory to look at."""
    return not slot_is_used(number) or SLOTS[number].vcpu.domain is None


@fn
def vcpus_left() -> u32:
    """vCPUs that no domain has, and that have a CPU where each needs one."""
    used = u32(0)
    for number in range(u32(MAX_CPUS), u32(SLOT_COUNT)):
        if not slot_is_free(number):
            used += 1
    most = u32(MAX_VCPUS) if SHARING.on else min(u32(MAX_VCPUS), cpus_online())
    return most - used


@fn
def vcpu_assign(d: Domain, p: SchedParams) -> tuple[Result, Vcpu | None]:
    """Give the domain one more vCPU; it is off. NO_MEMORY: none is left, or no memory for it. Otherwise the scheduler's reason not to take it. Boot only: not locked."""
    if d.vcpu_count >= MAX_DOMAIN_CPUS:
        return Result.NO_MEMORY, None
    for number in range(u32(MAX_CPUS), u32(SLOT_COUNT)):
        v = SLOTS[number].vcpu
        if slot_is_free(number):
            result = slot_claim(number)
            if result == Result.OK:
                result = sched_insert(v.sched, d.sched, number, p)
            if result != Result.OK:
                return result, None
            v.domain = d
            v.number = number
            v.id = d.vcpu_count
            v.tag = VcpuTag(v.id + 1)
            if d.aarch32:
                v.extra |= Extra.AARCH32
            v.gicd_frame = d.layout.gicd >> 12 << 4
            if CONFIG.GICV2_ON_V3:
                legacy_choose(d, v)
            v.power.store(u32(Power.OFF))
            d.vcpus[v.id] = v
            d.vcpu_count += 1
            return Result.OK, v
    return Result.NO_MEMORY, None


@fn
def legacy_choose(d: Domain, v: Vcpu) -> None:
    """The short ways answer for the machine's version of the controller alone: another's distributor is never where they look."""
    v.vgic.legacy = gic_is_v3() and not vgic_is_v3(d)
    if v.vgic.legacy:
        v.gicd_frame |= NOT_SHORT


@fn
def vcpus_release(d: Domain) -> None:
    """Take back the vCPUs of a domain that could not be built: none of them has run."""
    for i in range(d.vcpu_count):
        v = d.vcpus[i]
        if v is not None and sched_remove(v.sched) == Result.OK:
            v.domain = None
            v.extra = 0
        d.vcpus[i] = None
    d.vcpu_count = 0


@fn
def arch_vcpu_boot(v: Vcpu, entry: GuestPhys, tree: u64) -> None:
    """Have the vCPU start at a kernel's entry, the device tree's address where Linux's boot protocol has it."""
    v.entry = u64(entry)
    v.context = tree << BOOT_TREE_SHIFT if vcpu_is_aarch32(v) else tree << BOOT_CONTEXT_SHIFT
    v.power.store_release(u32(Power.ON_PENDING))


@fn
def arch_vcpu_stop(v: Vcpu) -> None:
    """A vCPU that is not ON is off, even if it was about to be turned on."""
    v.power.store_release(u32(Power.OFF))
