"""The scheduler `rr`: one queue for all CPUs, first come, first served, each for a time slice. No timer while nobody waits."""

from freestanding import Struct, ctz, fn, u32, u64, zeroed

from xenarm.config import CONFIG
from xenarm.core.result import Result
from xenarm.core.sched.queue import (
    account,
    cpu_enter,
    kick_came,
    kick_endless,
    kick_for,
    kick_left,
    may_run,
    queue_append,
    queue_first,
    queue_init,
    queue_remove,
    us_to_ticks,
    was_endless,
)
from xenarm.core.sched.state import NEVER, Place, RunQueue, SchedCpu, SchedParams, SchedVcpu

__all__ = ["RR", "rr_charge", "rr_init", "rr_insert", "rr_pick", "rr_remove", "rr_sleep", "rr_wake", "rr_yield"]


class RoundRobin(Struct):
    """`slice_us` may be set before `rr_init`; 0 is the configured one."""

    queue: RunQueue
    slice_us: u32
    slice: u64


RR = zeroed(RoundRobin)


@fn
def rr_init(cpus: u64, hz: u64) -> None:
    queue_init(RR.queue, cpus)
    RR.slice = max(us_to_ticks(RR.slice_us if RR.slice_us != 0 else u32(CONFIG.SCHED_RR_SLICE_US), hz), 1)


@fn
def rr_insert(v: SchedVcpu, p: SchedParams, hz: u64) -> Result:
    """NOT_FOUND when no CPU is in its affinity."""
    cpus = v.affinity & RR.queue.cpus
    if cpus == 0:
        return Result.NOT_FOUND
    v.cpu = ctz(cpus)
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


@fn
def rr_wake(v: SchedVcpu, now: u64) -> u64:
    q = RR.queue
    with q.lock:
        if v.place != Place.BLOCKED or not may_run(v):
            return 0
        return put(q, v, 0)


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
def rr_yield(c: SchedCpu, v: SchedVcpu) -> None:
    v.yielded = True


@fn
def rr_charge(c: SchedCpu, v: SchedVcpu, now: u64) -> None:
    with RR.queue.lock:
        account(v, now)


@fn(inline=True)
def stays(c: SchedCpu, old: SchedVcpu, waiting: SchedVcpu | None, now: u64) -> bool:
    yielded = old.yielded
    old.yielded = False
    return waiting is None or (not yielded and now < c.started + RR.slice)


@fn(inline=True)
def leave(q: RunQueue, c: SchedCpu, old: SchedVcpu, runs: bool) -> None:
    if runs:
        kick = put(q, old, c.bit)
        if kick != 0:
            c.kick |= kick
    else:
        old.yielded = False
        old.place = Place.BLOCKED


@fn(inline=True)
def slice_end(q: RunQueue, c: SchedCpu, waiting: bool) -> u64:
    """When to pick again for one that runs: never, with nobody waiting."""
    if not waiting:
        q.endless |= c.bit
        return NEVER
    return c.started + RR.slice


@fn
def rr_pick(c: SchedCpu, now: u64) -> tuple[SchedVcpu | None, u64]:
    q = RR.queue
    with q.lock:
        kick_came(q, c)
        was_endless(q, c)
        v = queue_first(q, c.bit)
        old = c.current
        runs = False
        if old is not None:
            account(old, now)
            runs = may_run(old)
            if runs and stays(c, old, v, now):
                return old, slice_end(q, c, v is not None)
        if v is not None:
            queue_remove(q, v)
        if old is not None:
            leave(q, c, old, runs)
        cpu_enter(q, c, v, now)
        kick_left(q, c)
        return v, NEVER if v is None else slice_end(q, c, queue_first(q, c.bit) is not None)
