"""The scheduler `null`: every vCPU has a CPU of its own for as long as it exists. No queue, no timer.

Lock order: the one lock here is taken to insert and remove; picking takes none, since a CPU's vCPU is fixed before it first runs.
"""

from freestanding import Array, Struct, array, ctz, fn, u8, u32, u64, zeroed

from xenarm.config import CONFIG
from xenarm.core.result import Result
from xenarm.core.sched.queue import account, may_run
from xenarm.core.sched.state import NEVER, SCHED_CPUS, Place, SchedCpu, SchedParams, SchedVcpu
from xenarm.core.spinlock import Spinlock

__all__ = ["null_charge", "null_init", "null_insert", "null_pick", "null_remove", "null_sleep", "null_wake"]

MAX_CPUS: int = CONFIG.MAX_CPUS


class Null(Struct):
    """Who may take which CPU."""

    lock: Spinlock
    cpus: u64


class Search(Struct):
    """CPUs in the order in which they were found, and from which CPU's vCPU each was reached (the CPU itself: from the new vCPU)."""

    order: Array[u8] = array(u8, MAX_CPUS)
    reached_from: Array[u8] = array(u8, MAX_CPUS)
    found: u64
    count: u32


NULL = zeroed(Null)


@fn
def null_init(cpus: u64, hz: u64) -> None:
    NULL.cpus = cpus
    for i in range(MAX_CPUS):
        SCHED_CPUS[i].pinned = None


@fn
def note(s: Search, cpus: u64, reached_from: u32, direct: bool) -> None:
    """Add the CPUs of a set that are new."""
    rest = cpus & ~s.found
    while rest != 0:
        cpu = ctz(rest)
        rest &= rest - 1
        s.order[s.count] = u8(cpu)
        s.reached_from[cpu] = u8(cpu) if direct else u8(reached_from)
        s.count += 1
    s.found |= cpus


@fn
def has_run(v: SchedVcpu) -> bool:
    return v.ran != 0 or v.place == Place.RUNNING


@fn
def move_along(s: Search, free: u32) -> u32:
    """Move the vCPUs on the way to the free CPU one place on; the CPU that becomes free for the new vCPU."""
    at = free
    for _ in range(MAX_CPUS):
        source = u32(s.reached_from[at])
        if source == at:
            break
        v = SCHED_CPUS[source].pinned
        SCHED_CPUS[at].pinned = v
        SCHED_CPUS[source].pinned = None
        if v is not None:
            v.cpu = at
        at = source
    return at


@fn
def find_cpu(v: SchedVcpu) -> tuple[bool, u32]:
    """A CPU for it, moving others that have not run yet if they must: breadth first over who could go where."""
    s = zeroed(Search)
    note(s, v.affinity & NULL.cpus, 0, True)
    at = u32(0)
    while at < s.count:
        cpu = u32(s.order[at])
        owner = SCHED_CPUS[cpu].pinned
        if owner is None:
            return True, move_along(s, cpu)
        if not has_run(owner):
            note(s, owner.affinity & NULL.cpus, cpu, False)
        at += 1
    return False, 0


@fn
def null_insert(v: SchedVcpu, p: SchedParams, hz: u64) -> Result:
    """NO_MEMORY when no CPU that it may use is left."""
    with NULL.lock:
        found, cpu = find_cpu(v)
        if not found:
            return Result.NO_MEMORY
        SCHED_CPUS[cpu].pinned = v
        v.cpu = cpu
        return Result.OK


@fn
def null_remove(v: SchedVcpu) -> None:
    with NULL.lock:
        SCHED_CPUS[v.cpu].pinned = None


@fn
def null_wake(v: SchedVcpu, now: u64) -> u64:
    return u64(1) << v.cpu


@fn
def null_sleep(v: SchedVcpu, now: u64) -> u64:
    return u64(1) << v.cpu


@fn
def null_charge(c: SchedCpu, v: SchedVcpu, now: u64) -> None:
    account(v, now)


@fn
def null_pick(c: SchedCpu, now: u64) -> tuple[SchedVcpu | None, u64]:
    old = c.current
    if old is not None:
        account(old, now)
        if may_run(old):
            return old, NEVER
        old.place = Place.BLOCKED
        c.current = None
    v = c.pinned
    if v is None or not may_run(v):
        return None, NEVER
    v.place = Place.RUNNING
    v.since = now
    c.current = v
    c.started = now
    return v, NEVER
