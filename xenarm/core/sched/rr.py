"""The scheduler `rr`: one queue for all CPUs, first come, first served, each for a time slice. No timer while nobody waits."""

from freestanding import Struct, ctz, fn, u32, u64, wrapping_add, wrapping_sub, zeroed

from xenarm.config import CONFIG
from xenarm.core.result import Result
from xenarm.core.sched.queue import (
    account,
    cpu_enter,
    kick_came,
    kick_endless,
    kick_for,
    kick_later,
    kick_left,
    may_run,
    queue_append,
    queue_first,
    queue_init,
    queue_remove,
    queue_replace,
    us_to_ticks,
    was_endless,
)
from xenarm.core.sched.state import NEVER, SCHED_CPUS, Place, RunQueue, SchedCpu, SchedParams, SchedVcpu

__all__ = ["RR", "rr_charge", "rr_init", "rr_insert", "rr_pick", "rr_remove", "rr_sleep", "rr_wake"]


class RoundRobin(Struct):
    """`slice_us` may be set before `rr_init`; 0 is the configured one."""

    queue: RunQueue
    slice_us: u32


RR = zeroed(RoundRobin)


@fn
def rr_init(cpus: u64, hz: u64) -> None:
    queue_init(RR.queue, cpus)
    RR.queue.slice = max(us_to_ticks(RR.slice_us if RR.slice_us != 0 else u32(CONFIG.SCHED_RR_SLICE_US), hz), 1)
    for i in range(CONFIG.MAX_CPUS):
        SCHED_CPUS[i].queue = RR.queue


@fn
def rr_insert(v: SchedVcpu, p: SchedParams, hz: u64) -> Result:
    """NOT_FOUND when no CPU is in its affinity."""
    cpus = v.affinity & RR.queue.cpus
    if cpus == 0:
        return Result.NOT_FOUND
    v.cpu = ctz(cpus)
    with RR.queue.lock:
        RR.queue.picky |= RR.queue.cpus & ~v.affinity
    return Result.OK


@fn
def rr_remove(v: SchedVcpu) -> None:
    pass


@fn(inline=True)
def put(q: RunQueue, v: SchedVcpu, self: u64) -> u64:
    """Queue it; the CPUs to kick: an idle one, or all those that it may use and that would otherwise never turn to it."""
    queue_append(q, v)
    kick = kick_for(q, v, self)
    return kick if kick != 0 else kick_endless(q, v, self)


@fn(inline=False)
def wake_and_unlock(v: SchedVcpu, q: RunQueue) -> u64:
    kick = u64(0)
    if v.place == Place.BLOCKED and may_run(v):
        kick = put(q, v, 0)
    q.lock.__exit__()
    return kick


@fn
def rr_wake(v: SchedVcpu, now: u64) -> u64:
    """In the usual case, done here, no CPU is idle, and none runs without an end."""
    q = SCHED_CPUS[0].queue  # all have the same
    assert q is not None, "a CPU without a run queue"
    q.lock.__enter__()
    if q.idle.load() | q.endless != 0 or v.place != Place.BLOCKED or v.stopped.load() != 0:
        return wake_and_unlock(v, q)
    queue_append(q, v)
    q.lock.__exit__()
    return 0


@fn
def rr_sleep(v: SchedVcpu, now: u64) -> u64:
    q = RR.queue
    with q.lock:
        if may_run(v):
            return 0
        if v.place == Place.RUNNING:
            return u64(1) << v.cpu
        if v.place == Place.QUEUED:
            queue_remove(q, v)
            v.place = Place.BLOCKED
        return 0


@fn
def rr_charge(c: SchedCpu, v: SchedVcpu, now: u64) -> None:
    with RR.queue.lock:
        account(v, now)


@fn(inline=True)
def stays(q: RunQueue, c: SchedCpu, old: SchedVcpu, waiting: SchedVcpu | None, now: u64) -> bool:
    yielded = old.yielded
    old.yielded = False
    return waiting is None or (not yielded and now < c.started + q.slice)


@fn(inline=True)
def leave(q: RunQueue, c: SchedCpu, old: SchedVcpu, runs: bool) -> None:
    if runs:
        kick_later(c, put(q, old, c.bit))
    else:
        old.yielded = False
        old.place = Place.BLOCKED


@fn(inline=True)
def slice_end(q: RunQueue, c: SchedCpu, waiting: bool) -> u64:
    """When to pick again for one that runs: never, with nobody waiting."""
    if not waiting:
        q.endless |= c.bit
        return NEVER
    return c.started + q.slice


@fn(inline=False)
def pick_and_unlock(c: SchedCpu, now: u64, q: RunQueue) -> tuple[SchedVcpu | None, u64]:
    kick_came(q, c)
    was_endless(q, c)
    v = queue_first(q, c.bit)
    old = c.current
    runs = False
    if old is not None:
        account(old, now)
        runs = may_run(old)
        if runs and stays(q, c, old, v, now):
            until = slice_end(q, c, v is not None)
            q.lock.__exit__()
            return old, until
    if v is not None:
        queue_remove(q, v)
    if old is not None:
        leave(q, c, old, runs)
    cpu_enter(q, c, v, now)
    kick_left(q, c)
    until = u64(NEVER) if v is None else slice_end(q, c, queue_first(q, c.bit) is not None)
    q.lock.__exit__()
    return v, until


@fn
def rr_pick(c: SchedCpu, now: u64) -> tuple[SchedVcpu | None, u64]:
    """In the usual case, done here, one waits that takes the place of one that runs, every CPU is busy with an end set, and all may use all."""
    q = c.queue
    assert q is not None, "a CPU without a run queue"
    q.lock.__enter__()
    v = q.head
    old = c.current
    if v is None or old is None or q.idle.load() | q.endless | q.picky != 0:
        return pick_and_unlock(c, now, q)
    runs = old.stopped.load() == 0
    if runs and not old.yielded and now < c.started + q.slice:
        return pick_and_unlock(c, now, q)
    old.ran = wrapping_add(old.ran, wrapping_sub(now, old.since))
    old.since = now
    old.yielded = False
    v.place = Place.RUNNING
    v.cpu = c.id
    v.since = now
    c.current = v
    c.started = now
    until = wrapping_add(now, q.slice)
    if runs:
        queue_replace(q, v, old)
    else:
        old.place = Place.BLOCKED
        after = v.next
        q.head = after
        if after is not None:
            after.prev = None
        else:
            q.tail = None
            if until < c.alarm.enough:  # where the timer is set anyway, who comes next finds an end set
                q.endless = c.bit
                until = u64(NEVER)
    q.lock.__exit__()
    return v, until
