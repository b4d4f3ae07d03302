"""Domains and vCPUs: what they are made of, and the states they pass through. Imports nothing above itself.

Lock order: a domain's distributor lock is a leaf; nothing is taken while it is held.
"""

from typing import TYPE_CHECKING

from freestanding import Array, Atomic, IntEnum, Ptr, Struct, address_of, View, array, atomic, fn, place, size_of, u8, u32, u64, usize

from xenarm.abi.affinity import Affinities
from xenarm.arm.frame import FP_WORDS, REGISTERS, SAVED_WORDS, SYSTEM_WORDS, Register
from xenarm.config import CONFIG
from xenarm.core.records import Channels, GuestMemory, Output, SharedPage
from xenarm.core.sched.state import SCHED_CPUS, SchedCpu, SchedDomain, SchedVcpu
from xenarm.core.vpl011 import Vpl011
from xenarm.devicetree.reader import Node
from xenarm.gic.state import VcpuTag, Vgicd, VgicCpu
from xenarm.p2m.state import P2m

__all__ = [
    "DOMAINS",
    "DOMAIN_NAME_MAX",
    "MAX_CPUS",
    "MAX_DOMAINS",
    "MAX_DOMAIN_CPUS",
    "MAX_VCPUS",
    "MOST_GICR_REGIONS",
    "NOT_SHORT",
    "FIRST_SLOT_MEMORY",
    "GicrRegion",
    "GUARD_SIZE",
    "SLOTS",
    "SLOT_COUNT",
    "SLOT_MEMORY",
    "SLOT_SHIFT",
    "SLOT_SIZE",
    "Aarch32State",
    "CpuBits",
    "Domain",
    "DomainState",
    "EndAction",
    "Exit",
    "Extra",
    "GuestLayout",
    "Power",
    "ShutdownReason",
    "STACK_SIZE",
    "Slot",
    "Vcpu",
    "WINDOW_ALIGN",
    "domain_all_left",
    "domain_create",
    "domain_discard",
    "domain_name",
    "domain_next",
    "vcpu_domain",
    "vcpu_here",
    "vcpu_is_aarch32",
    "vcpu_place",
]

MAPS_MEMORY = True  # for `Vcpu.here`, which is set before the vCPU runs, and never asked whether it is

MAX_CPUS: int = CONFIG.MAX_CPUS
if TYPE_CHECKING:
    CpuBits = u32
else:
    CpuBits = u32 if MAX_CPUS <= 32 else u64
"""A set of CPUs, a bit each."""

MAX_VCPUS: int = CONFIG.MAX_VCPUS
MAX_DOMAINS: int = CONFIG.MAX_DOMAINS
MAX_DOMAIN_CPUS: int = CONFIG.MAX_DOMAIN_CPUS
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


class Extra:
    """Bits of `Vcpu.extra`: what a switch must do beside the usual."""

    FP = 1  # its FP and SIMD registers are in the CPU; without it they are in `fp` if `fp_saved`, else zero (AArch64; else the switch takes them)
    SERROR = 2  # it may have a virtual SError pending (HCR_EL2.VSE)
    WATCHED = 4  # a CPU watches its timers, see `due`
    PTIMER = 8  # its physical timer is set and has not expired
    AARCH32 = 16  # under EL2 of AArch64 its guest is AArch32's, for ever; see `Aarch32State`
    ALONE = 32  # no switch: its CPU runs no other, and waits with it
    SPILLED = 128  # it has acknowledged interrupts that no list register holds (xenarm/gic/overflow.py)
    STRAYS = 64  # it may write registers that the switch leaves out, see `feature_controls.py` (AArch64)


class Aarch32State(Struct):
    """Registers of a guest in AArch32 that one in AArch64 has not, while they are not in a CPU (xenarm/arm64/aarch32.py)."""

    spsr_abt: u32
    spsr_und: u32
    spsr_irq: u32
    spsr_fiq: u32
    dacr: u32
    ifsr: u32
    fpexc: u32


NOT_SHORT = 1
"""Of `Vcpu.gicd_frame`, beyond what HPFAR_EL2 has: the short ways (xenarm/arm/short.py) do not know the distributor."""


class Exit(Struct):
    """The exit that a vCPU is in, while exits are traced."""

    start: u64  # counter value; 0: none that is traced
    reason: u64


class Vcpu(Struct, align=16):
    """A virtual CPU. It lies at the top of its EL2 stack: in the guest, SP_EL2 points here. Without a domain: a CPU that has none to run."""

    regs: Array[Register] = array(Register, REGISTERS)
    here: usize  # the `SchedCpu` that has its registers, or had them last; with the next two, which say more of it, it goes from vCPU to vCPU
    cpu: u32
    choose: u32  # the CPU must ask the scheduler before the guest goes on; 0 while the guest runs
    system: Array[Register] = array(Register, SYSTEM_WORDS)  # system registers, in the order of the switch
    vmcr: u64  # GICH_VMCR and GICH_APR
    apr: u64
    id: u32
    number: u32  # of its slot
    extra: u32
    tag: VcpuTag
    fp_saved: bool
    domain: "Domain | None"
    power: Atomic[u32] = atomic(u32)
    gicd_frame: u64  # its distributor's page as HPFAR_EL2 shows it, and NOT_SHORT
    entry: u64
    context: u64
    vgic: VgicCpu
    ptimer_control: u64
    ptimer_compare: u64
    due: u64  # when its timers want it, while it waits elsewhere than in a CPU; NEVER: no timer, or not noted
    due_cpu: u32  # who has noted it
    addressee: "Vcpu | None"  # what the short way left of an SGI to another is for this one
    sched: SchedVcpu
    resume: usize  # where the vectors go on with it
    exit: Exit
    info: u64  # machine address of its vcpu_info (event channels); 0: it has none
    info_registered: bool  # by the guest
    aarch32: Aarch32State
    saved: Array[Register] = array(Register, SAVED_WORDS)  # EL2's own, where a switch left a C function
    fp: Array[u64] = array(u64, FP_WORDS)


class GicrRegion(Struct):
    """Redistributors of vCPUs `first` to `first + count - 1`, one behind the other."""

    base: u64
    first: u32
    count: u32


MOST_GICR_REGIONS = 4


class GuestLayout(Struct):
    """Where a domain finds its devices: guest-physical addresses of whole pages, and the serial port's interrupt."""

    gicd: u64
    gicc: u64  # of a GICv2
    gicr_count: u32  # of a GICv3
    gicr: Array[GicrRegion] = array(GicrRegion, MOST_GICR_REGIONS)
    uart: u64
    uart_intid: u32


class Domain(Struct):
    """A guest: its memory, its interrupts, its vCPUs."""

    id: u32
    state: Atomic[u32] = atomic(u32)
    name: Array[u8] = array(u8, DOMAIN_NAME_MAX)
    name_length: u32
    vcpu_count: u32
    vcpus: "Array[Vcpu | None]" = array(Vcpu | None, MAX_DOMAIN_CPUS)
    sched: SchedDomain
    aarch32: bool  # its guest is in AArch32, under EL2 of AArch64
    gic_v3: bool  # it sees a GICv3, else a GICv2; see xenarm/gic/version.py
    last_ran: Array[VcpuTag] = array(VcpuTag, MAX_CPUS)  # on each CPU the vCPU that ran there last
    node: Node  # in the host's device tree
    shares: u32  # regions of shared memory that it has, the first of its node's
    layout: GuestLayout
    affinities: Affinities
    p2m: P2m
    vgic: Vgicd
    paused: Atomic[u32] = atomic(u32)
    on_crash: EndAction
    on_reboot: EndAction
    reason: ShutdownReason  # of the last end; valid from DYING on
    restarts: u32
    memory: GuestMemory
    serial: Vpl011
    output: Output
    channels: Channels
    shared_page: SharedPage


WINDOW_ALIGN = 0x1000 if MAX_DOMAINS > 1 else 16
"""Of what is kept for each domain, array by array: one domain's pieces share pages."""

SLOT_SHIFT = 14
SLOT_SIZE = 1 << SLOT_SHIFT
SLOT_COUNT = MAX_CPUS + MAX_VCPUS
SLOT_MEMORY = 0x1000  # of a slot that is in use; what lies below is never mapped. tests/boards/test_stack.py proves that the stack is enough
FIRST_SLOT_MEMORY = 0x2000  # of the first CPU's while it boots
GUARD_SIZE = SLOT_SIZE - SLOT_MEMORY
STACK_SIZE = SLOT_MEMORY - size_of(Vcpu)

assert STACK_SIZE >= 0x600, "a vCPU leaves too little stack in its slot"
assert size_of(Vcpu) % 16 == 0, "SP must be 16-byte aligned"


class Slot(Struct):
    """A vCPU and its EL2 stack, which grows down towards unmapped pages. Only a slot that is in use has memory at all: see `slot_claim`."""

    guard: Array[u64] = array(u64, GUARD_SIZE // 8)
    stack: Array[u64] = array(u64, STACK_SIZE // 8)
    vcpu: Vcpu


assert size_of(Slot) == SLOT_SIZE

SLOTS = place(array(Slot, SLOT_COUNT), align=SLOT_SIZE, section=".bss.0slots")
"""The first MAX_CPUS belong to the CPUs: each boots there, and is there while it has no vCPU."""

DOMAINS = place(array(Domain, MAX_DOMAINS), align=WINDOW_ALIGN, section=".bss.0window")
"""Those that are in use have memory; the others read as zero, which is UNUSED, and cannot be written: see `window_claim`."""


@fn
def vcpu_domain(v: Vcpu) -> Domain:
    """The domain of a vCPU that has one: every vCPU that ever enters a guest."""
    d = v.domain
    assert d is not None, "a vCPU without a domain"
    return d


@fn(inline=True)
def vcpu_is_aarch32(v: Vcpu) -> bool:
    """Whether EL1 of an image at EL2 of AArch64 is in AArch32 for this vCPU."""
    return CONFIG.AARCH32_GUESTS and v.extra & Extra.AARCH32 != 0


@fn
def domain_all_left(d: Domain) -> bool:
    """Somebody has ended it, none of its vCPUs is on any more, and nobody has settled yet what follows."""
    if d.state.load_acquire() != u32(DomainState.DYING):
        return False
    for i in range(d.vcpu_count):
        v = d.vcpus[i]
        if v is not None and v.power.load_acquire() == u32(Power.ON):
            return False
    return True


@fn
def vcpu_place(v: Vcpu, cpu: u32) -> None:
    """The CPU is the one that it had last."""
    v.here = address_of(SCHED_CPUS[cpu])
    v.cpu = cpu


@fn(inline=True)
def vcpu_here(v: Vcpu) -> SchedCpu:
    """The CPU that has its registers, or had them last. Not for a vCPU that no CPU was ever given to."""
    return Ptr[SchedCpu](v.here).ref()


@fn
def domain_name(d: Domain) -> View[u8]:
    return d.name[: d.name_length]


@fn
def domain_next() -> u32:
    """The number of the domain to be created next; MAX_DOMAINS when all are in use."""
    for i in range(u32(MAX_DOMAINS)):
        if DOMAINS[i].state.load() == u32(DomainState.UNUSED):
            return i
    return u32(MAX_DOMAINS)


@fn
def domain_create(id: u32, name: View[u8]) -> Domain:
    """An empty domain in state BUILDING, `id` being what `domain_next` said; a longer name than DOMAIN_NAME_MAX is cut. Boot only: not locked."""
    d = DOMAINS[id]
    length = min(u32(len(name)), u32(DOMAIN_NAME_MAX))
    d.id = id
    d.name_length = length
    d.vcpu_count = 0
    d.paused.store(0)
    d.restarts = 0
    d.name[:length].copy_from(name[:length])
    d.state.store(u32(DomainState.BUILDING))
    return d


@fn
def domain_discard(d: Domain) -> None:
    """Give back a domain that could not be built. Its vCPUs must have been released."""
    d.state.store(u32(DomainState.UNUSED))
