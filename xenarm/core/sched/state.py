"""What schedulers keep for each vCPU, domain, CPU and run queue. Times are ticks of the system counter.

Lock order: a run queue's lock, then another run queue's by `lock_try` only, then a domain's budget lock, which is a leaf.
A vCPU's `place`, `key`, links and `cpu`, and a CPU's `current`, belong to the run queue's lock; `stopped` and `on_cpu` are atomic.
"""

from freestanding import Array, Atomic, IntEnum, Struct, array, atomic, i64, u32, u64

from xenarm.config import CONFIG
from xenarm.core.spinlock import Spinlock

__all__ = [
    "ALL_CPUS",
    "Alarm",
    "ArincCpu",
    "ArincWindow",
    "DEFAULT_BUDGET_US",
    "DEFAULT_PERIOD_US",
    "DEFAULT_WEIGHT",
    "MOST_WINDOWS",
    "NEVER",
    "NO_CPU",
    "Place",
    "RunQueue",
    "SCHED_CPUS",
    "STOP_DYING",
    "STOP_PAUSED",
    "STOP_WAITS",
    "WAITING_WORDS",
    "SchedCpu",
    "SchedDomain",
    "SchedParams",
    "SchedVcpu",
    "SchedWindow",
]

NEVER = 0xFFFF_FFFF_FFFF_FFFF
NO_CPU = 0xFFFF_FFFF
ALL_CPUS = 0xFFFF_FFFF_FFFF_FFFF

# Why a vCPU may not run: bits of `SchedVcpu.stopped`.
STOP_WAITS = 1  # in WFI, or off
STOP_PAUSED = 2
STOP_DYING = 4

DEFAULT_WEIGHT = 256  # Xen's CSCHED2_DEFAULT_WEIGHT
DEFAULT_PERIOD_US = 10_000  # Xen's RTDS_DEFAULT_PERIOD and RTDS_DEFAULT_BUDGET
DEFAULT_BUDGET_US = 4_000

MOST_WINDOWS: int = CONFIG.SCHED_ARINC653_WINDOWS if CONFIG.SCHED_ARINC653 else 1
"""Windows in a CPU's major frame."""

WAITING_WORDS = (CONFIG.MAX_VCPUS + 63) // 64

assert CONFIG.MAX_CPUS <= 64, "a set of CPUs is one 64-bit word"

HAS_EVENTS: bool = CONFIG.SCHED_CREDIT2 or CONFIG.SCHED_RTDS
HAS_QUEUE: bool = HAS_EVENTS or CONFIG.SCHED_RR


class Place(IntEnum, type=u32):
    """OUT -> BLOCKED -> QUEUED -> RUNNING -> QUEUED, PARKED or BLOCKED; PARKED -> QUEUED or BLOCKED; BLOCKED -> OUT."""

    OUT = 0  # no scheduler knows it
    BLOCKED = 1  # something in `stopped` keeps it
    QUEUED = 2  # in its run queue
    RUNNING = 3  # some CPU's `current`
    PARKED = 4  # wants to run and may not before `due`: without budget


class SchedWindow(Struct):
    """A vCPU's time on a CPU in each major frame (arinc653)."""

    cpu: u32
    offset_us: u32
    length_us: u32


class SchedParams(Struct):
    """What a vCPU asks of whichever scheduler there is; `params_default` fills it in."""

    affinity: u64  # CPUs that it may use
    period_us: u32
    budget_us: u32
    extratime: bool
    if CONFIG.SCHED_ARINC653:
        frame_us: u32
        window_count: u32
        windows: Array[SchedWindow] = array(SchedWindow, MOST_WINDOWS)


class SchedDomain(Struct):
    """What a domain's vCPUs share."""

    weight: u32  # 1 to 65535
    cap: u32  # per cent of one CPU, for all its vCPUs together; 0: none
    if CONFIG.SCHED_CREDIT2:
        lock: Spinlock
        vcpus: u32
        allowance: i64  # ticks in each cap period
        portion: i64  # what a vCPU takes of it at once
        budget: i64  # what is left of it, less what vCPUs have taken as their quota; negative: overdrawn
        renewal: u64  # when the next cap period begins


class Credit2Vcpu(Struct):
    """Credit is `RunQueue.base - key`: running makes the key grow, the faster the smaller the weight."""

    home: Atomic[u32] = atomic(u32)  # number of the run queue
    capped: bool
    rate: u64  # growth of the key for each tick, 16.16
    pace: u64  # ticks for each step of the key, 16.16
    reach: u64  # growth of the key in `RunQueue.initial` ticks
    debt: u64  # how far the key may be ahead of those that it competes with
    quota: i64  # ticks of its domain's budget that it has taken and may still use


class RtdsVcpu(Struct):
    """A constant-bandwidth server: `budget` ticks in each `period`, up to `deadline`."""

    period: u64
    budget: u64
    left: u64
    deadline: u64
    level: u32  # 0: has budget; above: how often it ran out in this period (only with extratime)
    extratime: bool
    share: u64  # of one CPU that it has been promised, 20 bits behind the point
    peer: "SchedVcpu | None"  # the next that has been admitted


class SchedVcpu(Struct):
    """A vCPU as schedulers see it."""

    if HAS_QUEUE:
        next: "SchedVcpu | None"
        prev: "SchedVcpu | None"
        key: u64  # place in the run queue: smallest first
    if HAS_EVENTS:
        later: "SchedVcpu | None"
        sooner: "SchedVcpu | None"
        due: u64  # when it leaves the list of events
        has_event: bool
    stopped: Atomic[u32] = atomic(u32)
    on_cpu: Atomic[u32] = atomic(u32)  # 1 while its registers are in a CPU
    place: Place
    cpu: u32  # where it runs, or ran last
    index: u32  # the caller's number for it
    yielded: bool
    affinity: u64
    since: u64  # its time is accounted up to here
    ran: u64  # ticks in all
    domain: SchedDomain | None
    if CONFIG.SCHED_CREDIT2:
        credit2: Credit2Vcpu
    if CONFIG.SCHED_RTDS:
        rtds: RtdsVcpu


class RunQueue(Struct, align=64):
    """vCPUs that want to run, by key, and the CPUs that run them; vCPUs that wait for a time, the soonest first."""

    lock: Spinlock
    head: SchedVcpu | None
    tail: SchedVcpu | None
    cpus: u64
    idle: Atomic[u64] = atomic(u64)
    endless: u64  # CPUs that run something with no end set
    picky: u64  # not 0 once there was a vCPU that may not use all CPUs of the queue
    kicked: Atomic[u64] = atomic(u64)  # CPUs that were asked to pick and have not done it yet
    if CONFIG.SCHED_RR:
        slice: u64
    if HAS_EVENTS:
        events: SchedVcpu | None
        alarm: u64  # the soonest event that some CPU has set its timer for
        alarm_cpu: u32
    if CONFIG.SCHED_CREDIT2:
        number: u32
        members: u32
        lean: bool  # it is the only one, and nobody is capped
        initial: u64  # four times in ticks, the same in all queues: here they lie beside what a pick needs
        ratelimit: u64
        shortest: u64
        margin: u64
        base: u64  # a vCPU has credit while its key is below
        grant: Atomic[u64] = atomic(u64)  # how far the base was ahead of the smallest key when it was moved
        origin: u64  # keys plus this compare between run queues
        position: Atomic[u64] = atomic(u64)  # base + origin


class ArincWindow(Struct):
    """A window of a CPU's major frame, in ticks from the frame's beginning."""

    start: u64
    end: u64
    vcpu: SchedVcpu | None


class ArincCpu(Struct):
    """A CPU's major frame: its windows in order, and where it is in them."""

    frame_start: u64  # 0: it has not begun
    cursor: u32
    count: u32
    windows: Array[ArincWindow] = array(ArincWindow, MOST_WINDOWS)


class Waiting(Struct):
    """A bit for each of 64 vCPUs."""

    bits: Atomic[u64] = atomic(u64)


class Alarm(Struct):
    """What a CPU's timer is for: the soonest of three times. Only `waiting` is touched by other CPUs."""

    choose_at: u64  # the scheduler wants to be asked
    enough: u64  # a later `choose_at` needs nothing: the timer is set for this time, and others are known to wait. NEVER: not so, or more is to do
    set_for: u64  # what the timer is set for: the three times or sooner
    ptimer: u64  # of the vCPU that runs
    soonest: u64  # of the waiting ones
    waiting: Array[Waiting] = array(Waiting, WAITING_WORDS)  # vCPUs, by slot, whose timers this CPU watches


class SchedCpu(Struct, align=64):
    """A CPU as schedulers see it."""

    id: u32
    bit: u64
    current: SchedVcpu | None
    started: u64  # when `current` came, or began a new slice
    kick: u64  # after `pick`: the CPUs that must pick too; whoever sends the interrupts sets it to 0
    online: bool
    own: u64  # the address of the vCPU that the CPU itself is, with its stack; for `switch.py`
    doorbell: u64  # SGI_POST to it, as the interrupt controller's register wants it
    alarm: Alarm
    if CONFIG.SCHED_NULL:
        pinned: SchedVcpu | None
    if HAS_QUEUE:
        queue: RunQueue | None
    if CONFIG.MIXED_CPUS:
        kind: u64  # its MIDR, set before `sched_init`
    if CONFIG.SCHED_CREDIT2:
        cluster: u32  # set before `sched_init`; CPUs of one cluster share a cache
        position: u64  # the key with which `current` came or stayed: what others must be below to run here


SCHED_CPUS = array(SchedCpu, CONFIG.MAX_CPUS)
