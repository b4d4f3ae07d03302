"""Domains and vCPUs: what they are made of, and the states they pass through. Imports nothing above itself.

Lock order: a domain's distributor lock is a leaf; nothing is taken while it is held.
"""

from freestanding import Array, Atomic, IntEnum, Struct, View, array, atomic, fn, place, size_of, u8, u32, u64

from xenarm.config import CONFIG
from xenarm.gic.state import Vgicd, VgicCpu
from xenarm.p2m.state import P2m

__all__ = [
    "CPU_SLOTS",
    "CRASH_SIZE",
    "DOMAINS",
    "DOMAIN_NAME_MAX",
    "MAX_CPUS",
    "MAX_DOMAINS",
    "SLOT_SHIFT",
    "SLOT_SIZE",
    "CpuSlot",
    "Domain",
    "DomainState",
    "EndAction",
    "Power",
    "ShutdownReason",
    "Vcpu",
    "domain_create",
    "domain_discard",
    "domain_name",
    "vcpu_domain",
]

MAX_CPUS: int = CONFIG.MAX_CPUS
MAX_DOMAINS: int = CONFIG.MAX_DOMAINS
DOMAIN_NAME_MAX = 32


class DomainState(IntEnum, type=u8):
    """UNUSED -> BUILDING -> RUNNING -> ENDING -> DYING -> SETTLING -> DEAD, or RUNNING again.

    One CPU claims the end (ENDING), says why (DYING); its vCPUs leave; whoever sees that the last has left settles what follows (SETTLING).
    A domain that cannot be built goes back to UNUSED.
    """

    UNUSED = 0
    BUILDING = 1
    RUNNING = 2
    ENDING = 3
    DYING = 4
    SETTLING = 5
    DEAD = 6


class EndAction(IntEnum, type=u8):
    """What follows the end of a domain."""

    STOP = 0
    RESTART = 1
    STOP_MACHINE = 2


class ShutdownReason(IntEnum, type=u8):
    """Why a domain ended; the values of Xen's public `sched.h` (SHUTDOWN_*)."""

    POWEROFF = 0
    REBOOT = 1
    SUSPEND = 2
    CRASH = 3


class Power(IntEnum, type=u32):
    """A vCPU's power state as PSCI names it (DEN0022, AFFINITY_INFO): OFF -> STARTING (claimed by one CPU_ON) -> ON_PENDING -> ON -> OFF."""

    ON = 0
    OFF = 1
    ON_PENDING = 2
    STARTING = 3


class Vcpu(Struct, align=16):
    """A virtual CPU. It lies at the top of the EL2 stack of the CPU that runs it: in the guest, SP_EL2 points here."""

    regs: Array[u64] = array(u64, 31)
    id: u32
    cpu: u32
    domain: "Domain | None"
    power: Atomic[u32] = atomic(u32)
    entry: u64
    context: u64
    vgic: VgicCpu
    ptimer_control: u64
    ptimer_compare: u64
    fp: Array[u64] = array(u64, 66)  # V0-V31, FPCR, FPSR


class Domain(Struct):
    """A guest: its memory, its interrupts, its vCPUs."""

    id: u32
    state: Atomic[u32] = atomic(u32)
    name: Array[u8] = array(u8, DOMAIN_NAME_MAX)
    name_length: u32
    vcpu_count: u32
    vcpus: "Array[Vcpu | None]" = array(Vcpu | None, MAX_CPUS)
    p2m: P2m
    vgic: Vgicd
    paused: Atomic[u32] = atomic(u32)
    on_crash: EndAction
    on_reboot: EndAction
    reason: ShutdownReason  # of the last end; valid from DYING on
    restarts: u32


SLOT_SHIFT = 14
SLOT_SIZE = 1 << SLOT_SHIFT
CRASH_SIZE = 0x1000
GUARD_SIZE = 0x1000
STACK_SIZE = SLOT_SIZE - CRASH_SIZE - GUARD_SIZE - size_of(Vcpu)

assert STACK_SIZE >= 0x1000, "a vCPU leaves too little stack in its slot"
assert size_of(Vcpu) % 16 == 0, "SP must be 16-byte aligned"


class CpuSlot(Struct):
    """A CPU's EL2 stack, growing down towards an unmapped page, and the vCPU that this CPU runs. Below: where it reports its own faults."""

    crash: Array[u8] = array(u8, CRASH_SIZE)
    guard: Array[u8] = array(u8, GUARD_SIZE)
    stack: Array[u8] = array(u8, STACK_SIZE)
    vcpu: Vcpu


assert size_of(CpuSlot) == SLOT_SIZE

CPU_SLOTS = place(array(CpuSlot, MAX_CPUS), align=SLOT_SIZE, section=".bss.slots")
DOMAINS = array(Domain, MAX_DOMAINS)


@fn
def vcpu_domain(v: Vcpu) -> Domain:
    """The domain of a vCPU that has one: every vCPU that ever enters a guest."""
    d = v.domain
    assert d is not None, "a vCPU without a domain"
    return d


@fn
def domain_name(d: Domain) -> View[u8]:
    return d.name[: d.name_length]


@fn
def domain_create(name: View[u8]) -> Domain | None:
    """An empty domain in state BUILDING; a longer name than DOMAIN_NAME_MAX is cut. None when all are in use. Boot only: not locked."""
    for i in range(MAX_DOMAINS):
        d = DOMAINS[i]
        if d.state.load() == u32(DomainState.UNUSED):
            length = min(u32(len(name)), u32(DOMAIN_NAME_MAX))
            d.id = u32(i)
            d.name_length = length
            d.vcpu_count = 0
            d.paused.store(0)
            d.restarts = 0
            d.name[:length].copy_from(name[:length])
            d.state.store(u32(DomainState.BUILDING))
            return d
    return None


@fn
def domain_discard(d: Domain) -> None:
    """Give back a domain that could not be built. Its vCPUs must have been released."""
    d.state.store(u32(DomainState.UNUSED))
