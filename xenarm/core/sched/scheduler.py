"""The table of schedulers, and what the rest of the hypervisor calls: `sched_init`, then for each vCPU `sched_insert` and
`sched_wake`; a CPU calls `sched_pick` when its time is up, when it was kicked and when its vCPU waits. Interrupts are masked throughout.

What has to happen around a switch, and the lock order, is in docs/scheduling.md and `state.py`. A `kick` is a set of CPUs that must pick:
the caller sends the interrupts, after `sched_pick` those in `SchedCpu.kick`.
"""

from collections.abc import Callable

from freestanding import Struct, View, ctz, fn, table, u8, u32, u64

from xenarm.arm.instructions import cpu_relax
from xenarm.config import CONFIG
from xenarm.core.result import Result
from xenarm.core.sched import arinc653, credit2, null, rr, rtds
from xenarm.core.sched.state import (
    ALL_CPUS,
    DEFAULT_BUDGET_US,
    DEFAULT_PERIOD_US,
    DEFAULT_WEIGHT,
    HAS_EVENTS,
    NEVER,
    SCHED_CPUS,
    STOP_WAITS,
    Place,
    SchedCpu,
    SchedDomain,
    SchedParams,
    SchedVcpu,
)

__all__ = [
    "SCHED",
    "SCHEDULERS",
    "Scheduler",
    "params_default",
    "sched_allow",
    "sched_await",
    "sched_block",
    "sched_claim",
    "sched_claimed",
    "sched_charge",
    "sched_domain_init",
    "sched_init",
    "sched_insert",
    "sched_kin",
    "sched_name",
    "sched_pick",
    "sched_remove",
    "sched_saved",
    "sched_select",
    "sched_stop",
    "sched_wake",
    "sched_yield",
]

MAX_CPUS: int = CONFIG.MAX_CPUS


class Scheduler(Struct, frozen=True):
    """One scheduler. `wake` and `sleep` return the CPUs that must pick; `pick` says what runs, and when it wants to be called again."""

    name: View[u8]
    init: Callable[[u64, u64], None]  # CPUs, ticks in a second
    insert: Callable[[SchedVcpu, SchedParams, u64], Result]  # admission; ticks in a second
    remove: Callable[[SchedVcpu], None]
    wake: Callable[[SchedVcpu, u64], u64]  # nothing stops it any more
    sleep: Callable[[SchedVcpu, u64], u64]  # something may stop it now
    pick: Callable[[SchedCpu, u64], tuple[SchedVcpu | None, u64]]
    charge: Callable[[SchedCpu, SchedVcpu, u64], None]


def scheduler(name: str, module: object, prefix: str) -> Scheduler:
    """A row of the table: the functions `prefix_init` and so on of a module."""
    functions = {f: getattr(module, f"{prefix}_{f}") for f in ("init", "insert", "remove", "wake", "sleep", "pick", "charge")}
    return Scheduler(name=name.encode(), **functions)


BUILT_IN = [
    *([scheduler("null", null, "null")] if CONFIG.SCHED_NULL else []),
    *([scheduler("rr", rr, "rr")] if CONFIG.SCHED_RR else []),
    *([scheduler("credit2", credit2, "credit2")] if CONFIG.SCHED_CREDIT2 else []),
    *([scheduler("rtds", rtds, "rtds")] if CONFIG.SCHED_RTDS else []),
    *([scheduler("arinc653", arinc653, "arinc")] if CONFIG.SCHED_ARINC653 else []),
]
NAMES = [bytes(row.name).decode() for row in BUILT_IN]
assert BUILT_IN, "the configuration has no scheduler"
assert CONFIG.SCHED_DEFAULT in NAMES, f"the default scheduler {CONFIG.SCHED_DEFAULT} is not in the image"

SCHEDULERS = table(Scheduler, BUILT_IN)
"""What a boot argument can choose from. What the configuration leaves out is not reachable from here, and so not in the image."""

DEFAULT: int = NAMES.index(CONFIG.SCHED_DEFAULT)
ONLY = len(BUILT_IN) == 1


class Sched(Struct):
    """The scheduler of this boot."""

    chosen: Scheduler
    cpus: u64
    hz: u64


SCHED = Sched(chosen=BUILT_IN[DEFAULT], cpus=0, hz=1)


# ---- kinds of CPUs ------------------------------------------------------------------------------------------------------


@fn
def kin_mixed(cpus: u64) -> u64:
    there = cpus & SCHED.cpus
    if there == 0:
        return 0
    kin = u64(0)
    for i in range(MAX_CPUS):
        if SCHED.cpus >> i & 1 != 0 and SCHED_CPUS[i].kind == SCHED_CPUS[ctz(there)].kind:
            kin |= u64(1) << i
    return kin


@fn
def kin_all(cpus: u64) -> u64:
    return ALL_CPUS


sched_kin = kin_mixed if CONFIG.MIXED_CPUS else kin_all
"""The CPUs that are like the first one of a set: a vCPU that moves between them sees no difference."""


# ---- setting up ---------------------------------------------------------------------------------------------------------


@fn
def sched_select(name: View[u8]) -> bool:
    """Choose a scheduler by name, before `sched_init`. False, and nothing changed, when the image has none of that name."""
    for row in SCHEDULERS:
        if row.name.equals(name):
            SCHED.chosen = row
            return True
    return False


@fn
def sched_name() -> View[u8]:
    return SCHED.chosen.name


@fn
def sched_init(cpus: u64, hz: u64) -> None:
    """Begin, with these CPUs online (bit n: CPU n) and a counter of `hz` ticks a second. All CPUs are idle until they pick."""
    SCHED.cpus = cpus
    SCHED.hz = hz
    for i in range(MAX_CPUS):
        c = SCHED_CPUS[i]
        c.id = u32(i)
        c.bit = u64(1) << i
        c.current = None
        c.kick = 0
        c.alarm.enough = NEVER
        c.started = 0
        c.online = (cpus >> i) & 1 != 0
    SCHED.chosen.init(cpus, hz)


# Both branches of an `if` in a function are typed, so what sets fields that the configuration leaves out is chosen here.
@fn
def params_nothing(p: SchedParams) -> None:
    pass


@fn
def domain_nothing(d: SchedDomain) -> None:
    pass


@fn
def vcpu_nothing(v: SchedVcpu) -> None:
    pass


@fn
def params_arinc(p: SchedParams) -> None:
    p.frame_us = 0
    p.window_count = 0


@fn
def domain_credit2(d: SchedDomain) -> None:
    d.vcpus = 0
    d.allowance = 0
    d.portion = 0
    d.budget = 0
    d.renewal = 0


@fn
def vcpu_events(v: SchedVcpu) -> None:
    v.has_event = False


params_init = params_arinc if CONFIG.SCHED_ARINC653 else params_nothing
domain_init = domain_credit2 if CONFIG.SCHED_CREDIT2 else domain_nothing
vcpu_init = vcpu_events if HAS_EVENTS else vcpu_nothing


@fn
def params_default(p: SchedParams) -> None:
    """What a vCPU gets whose domain says nothing."""
    p.affinity = sched_kin(ALL_CPUS)
    p.period_us = DEFAULT_PERIOD_US
    p.budget_us = DEFAULT_BUDGET_US
    p.extratime = True
    params_init(p)


@fn
def sched_domain_init(d: SchedDomain, weight: u32, cap: u32) -> None:
    """A domain without vCPUs. `weight` 1 to 65535; `cap` in per cent of one CPU, 0 for none."""
    d.weight = weight if weight != 0 else u32(DEFAULT_WEIGHT)
    d.cap = cap
    domain_init(d)


@fn
def sched_insert(v: SchedVcpu, d: SchedDomain, index: u32, p: SchedParams) -> Result:
    """Admit a vCPU, asleep. `index` is the caller's number for it. The scheduler's error when it cannot be; nothing is changed then."""
    v.place = Place.OUT
    v.domain = d
    v.index = index
    v.affinity = p.affinity & SCHED.cpus
    v.stopped.store(STOP_WAITS)
    v.on_cpu.store(0)
    v.since = 0
    v.ran = 0
    v.yielded = False
    vcpu_init(v)
    result = SCHED.chosen.insert(v, p, SCHED.hz)
    if result == Result.OK:
        v.place = Place.BLOCKED
    return result


@fn
def sched_remove(v: SchedVcpu) -> Result:
    """Forget a vCPU that `sched_stop` has stopped. BUSY while a CPU still has it: try again after that CPU's next switch."""
    if v.place != Place.BLOCKED or v.on_cpu.load_acquire() != 0:
        return Result.BUSY
    SCHED.chosen.remove(v)
    v.place = Place.OUT
    return Result.OK


# ---- running and waiting ------------------------------------------------------------------------------------------------


@fn(inline=True)
def sched_block(v: SchedVcpu) -> None:
    """The running vCPU is about to wait. Look again then whether there is something for it (`sched_wake` if so), and pick."""
    v.stopped.fetch_or(STOP_WAITS)


@fn(inline=True)
def sched_wake(v: SchedVcpu, now: u64) -> u64:
    """There is something for it: the CPUs to kick. Two instructions and a return when it does not wait."""
    if v.stopped.load_acquire() & STOP_WAITS == 0:
        return 0
    return sched_allow(v, STOP_WAITS, now)


@fn(inline=True)
def sched_claim(v: SchedVcpu) -> bool:
    """Take a vCPU out of its waiting, where nothing else stops it, to wake it by `sched_claimed`. Nobody else runs it, or wakes it, until then."""
    claimed, _ = v.stopped.compare_swap(STOP_WAITS, 0)
    return claimed


@fn(inline=True)
def sched_claimed(v: SchedVcpu, now: u64) -> u64:
    """It is ready: the CPUs to kick."""
    return SCHED.chosen.wake(v, now)


@fn(inline=False)
def sched_allow(v: SchedVcpu, reason: u32, now: u64) -> u64:
    """Take back a reason for which it was stopped: the CPUs to kick."""
    before = v.stopped.fetch_and(~reason)
    if before != reason:
        return 0
    return SCHED.chosen.wake(v, now)


@fn
def sched_stop(v: SchedVcpu, reason: u32, now: u64) -> u64:
    """Stop it for a reason, wherever it is: the CPUs to kick, one of which may still run it until it picks."""
    v.stopped.fetch_or(reason)
    return SCHED.chosen.sleep(v, now)


@fn(inline=True)
def sched_yield(v: SchedVcpu) -> None:
    """The running vCPU lets others go first, once, where the scheduler knows such a thing. Pick then."""
    v.yielded = True


@fn
def sched_charge(c: SchedCpu, now: u64) -> None:
    """Account the running vCPU's time up to now, for whoever wants to read it. Picking does so by itself."""
    v = c.current
    if v is not None:
        SCHED.chosen.charge(c, v, now)


@fn(inline=True)
def sched_pick(c: SchedCpu, now: u64) -> tuple[SchedVcpu | None, u64]:
    """What this CPU runs from now on, and when to pick again (NEVER: not until it is kicked). On the CPU itself only."""
    return SCHEDULERS[0].pick(c, now) if ONLY else SCHED.chosen.pick(c, now)


@fn(inline=True)
def sched_saved(v: SchedVcpu) -> None:
    """The registers of the vCPU that ran here are in memory: another CPU may load them."""
    v.on_cpu.store_release(0)


@fn(inline=True)
def sched_await(v: SchedVcpu) -> None:
    """Before loading a picked vCPU's registers: wait until the CPU that it comes from has saved them, which takes it a bounded time."""
    while v.on_cpu.load_acquire() != 0:
        cpu_relax()
    v.on_cpu.store(1)
