"""The scheduler `rtds`: every vCPU has a budget in each period, earliest deadline first over all CPUs. No periodic timer.

Each vCPU is a constant-bandwidth server (Abeni and Buttazzo, 1998), so that one that sleeps and wakes as it likes takes nothing from
the others: when it wakes with more budget left than fits before its deadline, it begins a new period. Out of budget it is parked until its
deadline, or with `extratime` goes behind all that have budget. The key is the deadline, and above it how often the budget ran out.
Locks: see `state.py`.
"""

from freestanding import Struct, ctz, fn, popcount, saturating_sub, u32, u64, zeroed

from xenarm.core.result import Result
from xenarm.core.sched.queue import (
    account,
    alarm_until,
    cpu_enter,
    event_add,
    event_remove,
    kick_came,
    kick_for,
    kick_later,
    kick_left,
    may_run,
    queue_first,
    queue_init,
    queue_insert,
    queue_remove,
    us_to_ticks,
)
from xenarm.core.sched.state import NEVER, SCHED_CPUS, Place, RunQueue, SchedCpu, SchedParams, SchedVcpu

__all__ = [
    "RTDS",
    "rtds_charge",
    "rtds_init",
    "rtds_insert",
    "rtds_pick",
    "rtds_remove",
    "rtds_sleep",
    "rtds_wake",
]

LEVEL_SHIFT = 59  # a deadline is less: 18 years at 1 GHz
MOST_LEVEL = 15
LONGEST_PERIOD = 0xFFFF_FFFF  # ticks, so that 64 bits hold the product of two
SHARE_BITS = 20
WHOLE = 1 << SHARE_BITS
"""A share that is all of one CPU. Shares are rounded down: a hundred of them are off by a ten-thousandth at most."""


class Rtds(Struct):
    """One queue for all CPUs, and everyone who has been admitted."""

    queue: RunQueue
    cpus: u64
    members: SchedVcpu | None


RTDS = zeroed(Rtds)


# ---- admission ----------------------------------------------------------------------------------------------------------


@fn
def rtds_init(cpus: u64, hz: u64) -> None:
    queue_init(RTDS.queue, cpus)
    RTDS.cpus = cpus
    RTDS.members = None


@fn
def promised(cpus: u64) -> u64:
    """What has been promised to those that may use these CPUs and no others."""
    total = u64(0)
    v = RTDS.members
    while v is not None:
        if v.affinity & RTDS.cpus & ~cpus == 0:
            total += v.rtds.share
        v = v.rtds.peer
    return total


@fn
def overloaded(cpus: u64) -> bool:
    return promised(cpus) > u64(popcount(cpus)) * WHOLE


@fn
def feasible() -> bool:
    """No set of CPUs that somebody is bound to has been promised more than it has."""
    v = RTDS.members
    while v is not None:
        if overloaded(v.affinity & RTDS.cpus):
            return False
        v = v.rtds.peer
    return not overloaded(RTDS.cpus)


@fn
def rtds_insert(v: SchedVcpu, p: SchedParams, hz: u64) -> Result:
    """NOT_FOUND: no CPU is in its affinity. INVALID: budget or period make no sense. DENIED: the CPUs do not have that much."""
    if v.affinity & RTDS.cpus == 0:
        return Result.NOT_FOUND
    r = v.rtds
    r.period = us_to_ticks(p.period_us, hz)
    r.budget = us_to_ticks(p.budget_us, hz)
    if r.budget == 0 or r.budget > r.period or r.period > LONGEST_PERIOD:
        return Result.INVALID
    r.share = (r.budget << SHARE_BITS) // r.period
    r.extratime = p.extratime
    r.left = 0
    r.deadline = 0
    r.level = 0
    with RTDS.queue.lock:
        r.peer = RTDS.members
        RTDS.members = v
        if not feasible():
            RTDS.members = r.peer
            return Result.DENIED
        v.cpu = ctz(v.affinity & RTDS.cpus)
        return Result.OK


@fn
def rtds_remove(v: SchedVcpu) -> None:
    with RTDS.queue.lock:
        if RTDS.members is v:
            RTDS.members = v.rtds.peer
            return
        at = RTDS.members
        while at is not None:
            if at.rtds.peer is v:
                at.rtds.peer = v.rtds.peer
                return
            at = at.rtds.peer


# ---- periods ------------------------------------------------------------------------------------------------------------


@fn(inline=True)
def burn(v: SchedVcpu, now: u64) -> None:
    v.rtds.left = saturating_sub(v.rtds.left, account(v, now))


@fn
def begin_period(q: RunQueue, v: SchedVcpu, deadline: u64) -> None:
    event_remove(q, v)
    v.rtds.deadline = deadline
    v.rtds.left = v.rtds.budget
    v.rtds.level = 0
    v.key = deadline


@fn
def next_period(q: RunQueue, v: SchedVcpu, now: u64) -> None:
    """The period that follows at once, or if that is over too, one from now."""
    deadline = v.rtds.deadline + v.rtds.period
    begin_period(q, v, deadline if deadline > now else now + v.rtds.period)


@fn
def run_out(q: RunQueue, v: SchedVcpu) -> bool:
    """It has used its budget. True: it may go on, behind those that have some."""
    r = v.rtds
    if not r.extratime:
        return False
    r.level = min(r.level + 1, MOST_LEVEL)
    r.left = r.budget
    v.key = u64(r.level) << LEVEL_SHIFT | r.deadline
    if not v.has_event:
        event_add(q, v, r.deadline)
    return True


@fn(inline=True)
def review(q: RunQueue, v: SchedVcpu, now: u64) -> bool:
    """Bring its period and budget up to date. False: it must wait for its deadline."""
    if now >= v.rtds.deadline:
        next_period(q, v, now)
        return True
    return v.rtds.left > 0 or run_out(q, v)


@fn
def park(q: RunQueue, v: SchedVcpu) -> None:
    v.place = Place.PARKED
    if not v.has_event:
        event_add(q, v, v.rtds.deadline)


@fn
def expire(q: RunQueue, c: SchedCpu, now: u64) -> None:
    """A new period for those whose deadline has come."""
    v = q.events
    while v is not None and v.due <= now:
        next_period(q, v, now)
        if v.place == Place.QUEUED:
            queue_remove(q, v)
        if v.place != Place.RUNNING:
            kick_later(c, put(q, v, c.bit))
        v = q.events


# ---- waking and sleeping ------------------------------------------------------------------------------------------------


@fn
def preempt(q: RunQueue, v: SchedVcpu, self: u64) -> u64:
    """The CPU that runs what is least urgent, if that is less than this vCPU, as a set of one; empty when it is the one that picks now."""
    worst = v.key
    chosen = u64(0)
    busy = q.cpus & v.affinity & ~(q.idle.load() | q.kicked.load())
    while busy != 0:
        c = SCHED_CPUS[ctz(busy)]
        busy &= busy - 1
        running = c.current
        if running is not None and running.key > worst:
            worst = running.key
            chosen = c.bit
    q.kicked.fetch_or(chosen)
    return chosen & ~self


@fn
def put(q: RunQueue, v: SchedVcpu, self: u64) -> u64:
    """Queue it; the CPU to kick."""
    queue_insert(q, v)
    kick = kick_for(q, v, self)
    return kick if kick != 0 else preempt(q, v, self)


@fn
def too_dense(v: SchedVcpu, now: u64) -> bool:
    """What it has left, used up to the deadline, would be more than its share."""
    r = v.rtds
    return now >= r.deadline or (r.level == 0 and r.left * r.period > (r.deadline - now) * r.budget)


@fn
def rtds_wake(v: SchedVcpu, now: u64) -> u64:
    q = RTDS.queue
    with q.lock:
        if v.place != Place.BLOCKED or not may_run(v):
            return 0
        if too_dense(v, now):
            begin_period(q, v, now + v.rtds.period)
        if review(q, v, now):
            if v.rtds.level != 0 and not v.has_event:
                event_add(q, v, v.rtds.deadline)
            return put(q, v, 0) | alarm_kick(q, v, now)
        park(q, v)
        return alarm_kick(q, v, now)


@fn
def alarm_kick(q: RunQueue, v: SchedVcpu, now: u64) -> u64:
    """A CPU that must set its timer, when no other has for this one's event."""
    if not v.has_event or now < q.alarm <= v.due:
        return 0
    return u64(1) << v.cpu


@fn
def rtds_sleep(v: SchedVcpu, now: u64) -> u64:
    q = RTDS.queue
    with q.lock:
        if may_run(v):
            return 0
        if v.place == Place.RUNNING:
            return u64(1) << v.cpu
        if v.place == Place.QUEUED:
            queue_remove(q, v)
        block(q, v)
        return 0


@fn(inline=True)
def block(q: RunQueue, v: SchedVcpu) -> None:
    event_remove(q, v)
    v.place = Place.BLOCKED


@fn
def rtds_charge(c: SchedCpu, v: SchedVcpu, now: u64) -> None:
    with RTDS.queue.lock:
        burn(v, now)


# ---- picking ------------------------------------------------------------------------------------------------------------


@fn(inline=True)
def most_urgent(q: RunQueue, c: SchedCpu, now: u64) -> SchedVcpu | None:
    """The first in the queue. One that has waited beyond its deadline begins its next period before it is compared."""
    v = queue_first(q, c.bit)
    while v is not None and now >= v.rtds.deadline:
        queue_remove(q, v)
        next_period(q, v, now)
        queue_insert(q, v)
        v = queue_first(q, c.bit)
    return v


@fn(inline=True)
def leave(q: RunQueue, c: SchedCpu, old: SchedVcpu, ready: bool) -> None:
    if not may_run(old):
        block(q, old)
    elif not ready:
        park(q, old)
    else:
        kick_later(c, put(q, old, c.bit))


@fn(inline=True)
def run_end(q: RunQueue, c: SchedCpu, v: SchedVcpu, now: u64) -> u64:
    return alarm_until(q, c, now, min(now + v.rtds.left, v.rtds.deadline))


@fn
def rtds_pick(c: SchedCpu, now: u64) -> tuple[SchedVcpu | None, u64]:
    q = RTDS.queue
    with q.lock:
        kick_came(q, c)
        old = c.current
        if old is not None:
            burn(old, now)
        event = q.events
        if event is not None and event.due <= now:
            expire(q, c, now)
            kick_came(q, c)
        ready = old is not None and review(q, old, now)
        v = most_urgent(q, c, now)
        if old is not None and ready and may_run(old) and (v is None or old.key <= v.key):
            return old, run_end(q, c, old, now)
        if v is not None:
            queue_remove(q, v)
        if old is not None:
            leave(q, c, old, ready)
        cpu_enter(q, c, v, now)
        kick_left(q, c)
        return v, alarm_until(q, c, now, NEVER) if v is None else run_end(q, c, v, now)
