"""The scheduler `credit2`: shares by weight, caps, a run queue for each cluster of CPUs. Named and parametrised as Xen's.

A vCPU's `key` is its time weighted: what it has used, times 256 over its weight. The smallest runs next; its credit is what the queue's
`base` is ahead of the key. When the best has no credit left, everybody is given more: `base` moves on (`refresh`).
Between run queues keys compare by `origin`; a queue that is ahead of another by more than the grant takes a vCPU from it.
Locks: see `state.py`.
"""

from collections.abc import Callable

from freestanding import Array, IntEnum, Struct, array, ctz, fn, i64, saturating_sub, u8, u32, u64, zeroed

from xenarm.config import CONFIG
from xenarm.core.result import Result
from xenarm.core.sched.queue import (
    account,
    alarm_until,
    cpu_enter,
    event_add,
    event_remove,
    kick_came,
    kick_endless,
    kick_for,
    kick_later,
    kick_left,
    lock_try,
    may_run,
    queue_first,
    queue_init,
    queue_insert,
    queue_remove,
    us_to_ticks,
    was_endless,
)
from xenarm.core.sched.state import (
    DEFAULT_WEIGHT,
    NEVER,
    NO_CPU,
    SCHED_CPUS,
    Place,
    RunQueue,
    SchedCpu,
    SchedDomain,
    SchedParams,
    SchedVcpu,
)

__all__ = [
    "CREDIT2",
    "Grouping",
    "credit2_charge",
    "credit2_init",
    "credit2_insert",
    "credit2_pick",
    "credit2_remove",
    "credit2_sleep",
    "credit2_wake",
]

MAX_CPUS: int = CONFIG.MAX_CPUS
INITIAL_CREDIT_US = 10_000  # Xen's CSCHED2_CREDIT_INIT is 10.5 ms
CAP_PERIOD_US = 10_000  # Xen's CSCHED2_BDGT_REPL_PERIOD
SHORTEST_RUN_US = 100
FRACTION = 16  # bits of `rate` and `pace` behind the point
MOST_TICKS = 1 << 38  # of one run, for the sum: with the largest rate it stays inside 64 bits
MOST_LAG = 3  # grants that a vCPU or a queue may be behind and still be given the time later


class Grouping(IntEnum, type=u8):
    """Which CPUs share a run queue: Xen's `credit2_runqueue=`."""

    CLUSTER = 0
    CPU = 1
    ALL = 2


class Credit2(Struct):
    """`ratelimit_us` (NO_CPU: the configured one) and `grouping` may be set before `credit2_init`."""

    queues: Array[RunQueue] = array(RunQueue, MAX_CPUS)
    count: u32
    ratelimit_us: u32
    grouping: Grouping
    initial: u64
    shortest: u64
    cap_period: u64


CREDIT2 = zeroed(Credit2)
CREDIT2.ratelimit_us = u32(NO_CPU)


# ---- setting up ---------------------------------------------------------------------------------------------------------


@fn
def same_queue(a: SchedCpu, b: SchedCpu) -> bool:
    match CREDIT2.grouping:
        case Grouping.ALL:
            return True
        case Grouping.CPU:
            return a.id == b.id
        case Grouping.CLUSTER:
            return a.cluster == b.cluster


@fn
def group_cpus(cpus: u64) -> None:
    """Give every CPU its run queue: that of an earlier CPU, or a new one."""
    CREDIT2.count = 0
    for i in range(MAX_CPUS):
        if (cpus >> i) & 1 != 0:
            c = SCHED_CPUS[i]
            q = CREDIT2.queues[CREDIT2.count]
            q.cpus = 0
            for j in range(i):
                shared = SCHED_CPUS[j].queue
                if (cpus >> j) & 1 != 0 and shared is not None and same_queue(c, SCHED_CPUS[j]):
                    q = shared
            if q.cpus == 0:
                CREDIT2.count += 1
            queue_init(q, q.cpus | u64(1) << i)
            c.queue = q


@fn
def credit2_init(cpus: u64, hz: u64) -> None:
    CREDIT2.initial = max(us_to_ticks(INITIAL_CREDIT_US, hz), 16)
    CREDIT2.cap_period = max(us_to_ticks(CAP_PERIOD_US, hz), 16)
    CREDIT2.shortest = max(us_to_ticks(SHORTEST_RUN_US, hz), 1)
    group_cpus(cpus)
    for i in range(CREDIT2.count):
        q = CREDIT2.queues[i]
        q.number = u32(i)
        set_times(q, hz)
        q.members = 0
        q.base = CREDIT2.initial
        q.grant.store(CREDIT2.initial)
        q.origin = 0
        q.position.store(q.base)


@fn
def set_times(q: RunQueue, hz: u64) -> None:
    q.lean = CREDIT2.count == 1
    q.initial = CREDIT2.initial
    q.shortest = CREDIT2.shortest
    q.ratelimit = us_to_ticks(CREDIT2.ratelimit_us if CREDIT2.ratelimit_us != NO_CPU else u32(CONFIG.SCHED_RATELIMIT_US), hz)
    q.margin = max(q.ratelimit, q.shortest)


@fn
def emptiest(affinity: u64) -> RunQueue | None:
    """The queue with the fewest vCPUs among those that have a CPU it may use."""
    best: RunQueue | None = None
    for i in range(CREDIT2.count):
        q = CREDIT2.queues[i]
        if q.cpus & affinity != 0 and (best is None or q.members < best.members):
            best = q
    return best


@fn
def set_cap(d: SchedDomain, cap: u32) -> None:
    d.vcpus += 1
    allowance = CREDIT2.cap_period * u64(cap) // 100
    d.allowance = i64(max(allowance, 1))
    d.portion = i64(max(allowance if d.vcpus == 1 else allowance // u64(2 * d.vcpus), 1))


@fn
def credit2_insert(v: SchedVcpu, p: SchedParams, hz: u64) -> Result:
    """NOT_FOUND when no CPU is in its affinity."""
    q = emptiest(v.affinity)
    d = v.domain
    if q is None or d is None:
        return Result.NOT_FOUND
    weight = u64(max(d.weight, 1))
    with q.lock:
        q.members += 1
        v.credit2.home.store(q.number)
        v.cpu = ctz(q.cpus & v.affinity)
        v.key = q.base
        q.lean = q.lean and d.cap == 0
    v.credit2.capped = d.cap != 0
    v.credit2.rate = (u64(DEFAULT_WEIGHT) << FRACTION) // weight
    v.credit2.pace = (weight << FRACTION) // DEFAULT_WEIGHT
    v.credit2.reach = weighted(v, CREDIT2.initial)
    v.credit2.debt = 2 * v.credit2.reach
    v.credit2.quota = 0
    with d.lock:
        set_cap(d, d.cap)
    return Result.OK


@fn
def credit2_remove(v: SchedVcpu) -> None:
    q = lock_home(v)
    q.members -= 1
    q.lock.__exit__()
    d = v.domain
    if d is not None:
        with d.lock:
            d.vcpus -= 1


@fn
def lock_home(v: SchedVcpu) -> RunQueue:
    """Lock the run queue that it belongs to. It is looked up again only after another CPU has moved it in between."""
    while True:
        number = v.credit2.home.load_acquire()
        q = CREDIT2.queues[number]
        q.lock.__enter__()
        if v.credit2.home.load() == number:
            return q
        q.lock.__exit__()


# ---- credit -------------------------------------------------------------------------------------------------------------


@fn(inline=True)
def weighted(v: SchedVcpu, ticks: u64) -> u64:
    return min(ticks, MOST_TICKS) * v.credit2.rate >> FRACTION


@fn(inline=True)
def burn(v: SchedVcpu, now: u64, lean: bool) -> None:
    """Account what it has run."""
    delta = account(v, now)
    v.key += weighted(v, delta)
    if not lean and v.credit2.capped:
        v.credit2.quota -= i64(min(delta, MOST_TICKS))


@fn(inline=True)
def reached(v: SchedVcpu, now: u64) -> u64:
    """The key of one that runs, as it would be if it were accounted now."""
    return v.key + weighted(v, saturating_sub(now, v.since))


@fn
def rivals_position(q: RunQueue, v: SchedVcpu, now: u64) -> u64:
    """The highest position of the CPUs that it may use; 0 when they are all idle."""
    highest = u64(0)
    busy = q.cpus & v.affinity & ~q.idle.load()
    while busy != 0:
        c = SCHED_CPUS[ctz(busy)]
        busy &= busy - 1
        running = c.current
        if running is not None:
            highest = max(highest, reached(running, now) if q.endless & c.bit != 0 else c.position)
    return highest


@fn
def settle(q: RunQueue, v: SchedVcpu, now: u64) -> None:
    """Whoever was away has saved up no more than one grant, and owes no more than its debt, against those with whom it competes now."""
    grant = q.grant.load()
    rivals = rivals_position(q, v, now)
    if rivals != 0:
        v.key = min(v.key, rivals + v.credit2.debt)
    v.key = max(v.key, max(saturating_sub(rivals, grant), saturating_sub(q.base, 2 * grant)))


@fn
def least_key(q: RunQueue, chosen: SchedVcpu | None, now: u64) -> u64:
    """The smallest key of all that want to run; NEVER when none does. Whoever runs where `chosen` could run instead does not count.

    That one has a CPU of its own whatever its key is, so what it lags behind `chosen` is cut to what it might owe: with a weight above
    one CPU's share its key would stay behind for ever.
    """
    head = q.head
    least = u64(NEVER) if head is None else head.key
    busy = q.cpus & ~q.idle.load()
    while busy != 0:
        c = SCHED_CPUS[ctz(busy)]
        busy &= busy - 1
        v = c.current
        if v is not None:
            if chosen is None or v is chosen or chosen.affinity & c.bit == 0:
                least = min(least, reached(v, now))
            else:
                v.key += saturating_sub(chosen.key, reached(v, now) + max(v.credit2.debt, chosen.credit2.debt))
    return least


@fn(inline=False)
def refresh(q: RunQueue, chosen: SchedVcpu | None, now: u64) -> bool:
    """When the best has no credit left, give new credit to all. True: that was so."""
    least = least_key(q, chosen, now)
    if least == NEVER or least < q.base:
        return False
    set_grant(q, chosen)
    q.base = least + q.grant.load()
    if CREDIT2.count > 1:
        catch_up(q)
    return True


@fn
def set_grant(q: RunQueue, chosen: SchedVcpu | None) -> None:
    """New credit lasts for 10 ms of the heavier of the two that come next."""
    head = q.head
    if chosen is not None:
        grant = chosen.credit2.reach
        if head is not None:
            grant = min(grant, head.credit2.reach)
        q.grant.store(max(grant, 1))


@fn
def most_lag(a: RunQueue, b: RunQueue) -> u64:
    return MOST_LAG * max(a.grant.load(), b.grant.load())


@fn
def catch_up(q: RunQueue) -> None:
    """Say how far this queue is. What it is behind others by is made up for only up to a limit."""
    front = q
    for i in range(CREDIT2.count):
        other = CREDIT2.queues[i]
        if other.position.load() > front.position.load():
            front = other
    goal = saturating_sub(front.position.load(), most_lag(q, front))
    q.origin = max(q.origin, saturating_sub(goal, q.base))
    q.position.store(q.base + q.origin)


# ---- caps ---------------------------------------------------------------------------------------------------------------


@fn
def renew(d: SchedDomain, now: u64) -> None:
    """Begin a new cap period if it is time. What was overdrawn is missing in it."""
    if now < d.renewal:
        return
    periods = (now - d.renewal) // CREDIT2.cap_period + 1
    d.renewal += periods * CREDIT2.cap_period
    d.budget = min(d.budget + i64(min(periods, 1000)) * d.allowance, d.allowance)


@fn
def take_quota(v: SchedVcpu, now: u64) -> bool:
    """Some of its domain's budget for a capped vCPU that has used up its own. False when there is none; `due` says until when."""
    d = v.domain
    if d is None:
        return True
    with d.lock:
        renew(d, now)
        d.budget += v.credit2.quota
        v.credit2.quota = max(min(d.budget, d.portion), 0)
        d.budget -= v.credit2.quota
        v.due = d.renewal
        return v.credit2.quota > 0


@fn
def return_quota(v: SchedVcpu) -> None:
    d = v.domain
    if d is not None:
        with d.lock:
            d.budget += v.credit2.quota
            v.credit2.quota = 0


@fn(inline=True)
def affords(v: SchedVcpu, now: u64, lean: bool) -> bool:
    return lean or not v.credit2.capped or v.credit2.quota > 0 or take_quota(v, now)


@fn
def park(q: RunQueue, v: SchedVcpu) -> None:
    v.place = Place.PARKED
    event_add(q, v, v.due)


@fn
def expire(q: RunQueue, c: SchedCpu, now: u64) -> None:
    """Queue those whose cap period has begun."""
    v = q.events
    while v is not None and v.due <= now:
        event_remove(q, v)
        settle(q, v, now)
        kick_later(c, put(q, v, c.bit, False))
        v = q.events


# ---- between run queues -------------------------------------------------------------------------------------------------


@fn
def kick_elsewhere(v: SchedVcpu, home: RunQueue) -> u64:
    """An idle CPU of another run queue, as a set of one: it will come and take it."""
    for i in range(CREDIT2.count):
        other = CREDIT2.queues[i]
        if i != home.number:
            kick = kick_for(other, v, 0)
            if kick != 0:
                return kick
    return 0


@fn
def idle_elsewhere(home: RunQueue) -> u64:
    """CPUs of other run queues that are idle and have not been kicked."""
    idle = u64(0)
    for i in range(CREDIT2.count):
        if i != home.number:
            idle |= CREDIT2.queues[i].idle.load() & ~CREDIT2.queues[i].kicked.load()
    return idle


@fn(inline=False)
def kick_left_elsewhere(q: RunQueue) -> u64:
    """At the end of a pick, when some wait here: an idle CPU of another queue for the first that can use one."""
    idle = idle_elsewhere(q)
    v = q.head
    while v is not None and idle != 0:
        if v.affinity & idle != 0:
            return kick_elsewhere(v, q)
        v = v.next
    return 0


@fn(inline=False)
def pass_on(q: RunQueue) -> u64:
    """A kicked CPU found something in its own queue: whoever waits elsewhere, and may have kicked it, needs another idle CPU."""
    kick = u64(0)
    for i in range(CREDIT2.count):
        source = CREDIT2.queues[i]
        if i != q.number and lock_try(source.lock):
            kick |= kick_left_elsewhere(source)
            source.lock.__exit__()
    return kick


@fn
def move(source: RunQueue, q: RunQueue, v: SchedVcpu) -> None:
    """Both locks are held. It keeps what it is behind or ahead."""
    queue_remove(source, v)
    key = saturating_sub(v.key + source.origin, q.origin)
    v.key = max(key, saturating_sub(q.base, most_lag(q, source)))
    v.credit2.home.store_release(q.number)
    source.members -= 1
    q.members += 1
    queue_insert(q, v)


@fn
def take_from(source: RunQueue, q: RunQueue, c: SchedCpu) -> bool:
    """Move the best that this CPU may run; where more wait, the next idle CPU comes for them."""
    v = queue_first(source, c.bit)
    if v is None:
        return False
    move(source, q, v)
    left = source.head
    if left is not None:
        kick_later(c, kick_for(q, left, c.bit))
    return True


@fn(inline=False)
def steal(q: RunQueue, c: SchedCpu) -> tuple[bool, bool]:
    """An idle CPU takes a waiting vCPU from any other queue: whether it has one, and if not, whether it could look at all of them."""
    looked = True
    q.idle.store(q.idle.load() | c.bit)
    for i in range(CREDIT2.count):
        source = CREDIT2.queues[i]
        if i != q.number:
            if not lock_try(source.lock):
                looked = False
            else:
                found = take_from(source, q, c)
                source.lock.__exit__()
                if found:
                    return True, True
    return False, looked


@fn(inline=False)
def balance(q: RunQueue, c: SchedCpu) -> None:
    """This queue's vCPUs get more than others': take one from the queue that is furthest behind."""
    behind: RunQueue | None = None
    least = saturating_sub(q.position.load(), q.grant.load())
    for i in range(CREDIT2.count):
        other = CREDIT2.queues[i]
        if other.position.load() < least and other.head is not None and other.idle.load() == 0:
            least = other.position.load()
            behind = other
    if behind is not None and lock_try(behind.lock):
        take_from(behind, q, c)
        behind.lock.__exit__()


# ---- waking and sleeping ------------------------------------------------------------------------------------------------


@fn(inline=True)
def put(q: RunQueue, v: SchedVcpu, self: u64, lean: bool) -> u64:
    """Queue it; the CPUs to kick: an idle one, or all those that would otherwise never turn to it."""
    queue_insert(q, v)
    kick = kick_for(q, v, self)
    if kick == 0 and not lean and CREDIT2.count > 1:
        kick = kick_elsewhere(v, q)
    return kick if kick != 0 else kick_endless(q, v, self)


@fn
def preempt(q: RunQueue, v: SchedVcpu, now: u64) -> u64:
    """The CPU that runs what has the least credit, if that is less than this vCPU's, as a set of one."""
    worst = v.key
    chosen = u64(0)
    busy = q.cpus & v.affinity & ~(q.idle.load() | q.kicked.load())
    while busy != 0:
        c = SCHED_CPUS[ctz(busy)]
        busy &= busy - 1
        running = c.current
        if running is not None:
            key = reached(running, now)
            if key > worst:
                worst = key
                chosen = c.bit
    q.kicked.fetch_or(chosen)
    return chosen


@fn
def credit2_wake(v: SchedVcpu, now: u64) -> u64:
    q = lock_home(v)
    kick = u64(0)
    if v.place == Place.BLOCKED and may_run(v):
        if q.endless != 0:
            refresh(q, None, now)
        settle(q, v, now)
        kick = put(q, v, 0, False)
        if kick == 0:
            kick = preempt(q, v, now)
    q.lock.__exit__()
    return kick


@fn
def credit2_sleep(v: SchedVcpu, now: u64) -> u64:
    q = lock_home(v)
    kick = u64(0)
    if not may_run(v):
        if v.place == Place.RUNNING:
            kick = u64(1) << v.cpu
        elif v.place == Place.QUEUED:
            queue_remove(q, v)
            block(v, False)
        elif v.place == Place.PARKED:
            event_remove(q, v)
            block(v, False)
    q.lock.__exit__()
    return kick


@fn(inline=True)
def block(v: SchedVcpu, lean: bool) -> None:
    v.place = Place.BLOCKED
    v.yielded = False
    if not lean and v.credit2.capped:
        return_quota(v)


@fn
def credit2_charge(c: SchedCpu, v: SchedVcpu, now: u64) -> None:
    q = lock_home(v)
    burn(v, now, False)
    q.lock.__exit__()


# ---- picking ------------------------------------------------------------------------------------------------------------


# `lean` is a constant in each use: without it the ways of caps and of other queues are there, with it they are not.


@fn(inline=True)
def stays(q: RunQueue, c: SchedCpu, old: SchedVcpu, waiting: SchedVcpu | None, now: u64) -> bool:
    yielded = old.yielded
    old.yielded = False
    if waiting is None:
        return True
    return not yielded and (old.key <= waiting.key or now < c.started + q.ratelimit)


@fn(inline=True)
def leave(q: RunQueue, c: SchedCpu, old: SchedVcpu, runs: bool, lean: bool) -> None:
    if not runs:
        block(old, lean)
    elif not lean and old.credit2.capped and old.credit2.quota <= 0:
        park(q, old)
    else:
        kick_later(c, put(q, old, c.bit, lean))


@fn(inline=True)
def take(q: RunQueue, c: SchedCpu, waiting: SchedVcpu | None, now: u64, lean: bool) -> SchedVcpu | None:
    """Out of the queue: the first whose domain has budget; those before it are parked."""
    v = waiting
    while v is not None:
        queue_remove(q, v)
        if affords(v, now, lean):
            return v
        park(q, v)
        v = queue_first(q, c.bit)
    return None


@fn(inline=True)
def run_for(q: RunQueue, v: SchedVcpu, rival: SchedVcpu) -> u64:
    """Ticks until the first that waits has more credit than this one, and the margin more."""
    ahead = saturating_sub(rival.key + q.margin, v.key)
    if ahead >= v.credit2.reach:
        return q.initial
    return max(ahead * v.credit2.pace >> FRACTION, q.shortest)


@fn(inline=True)
def run_end(q: RunQueue, c: SchedCpu, v: SchedVcpu, now: u64, lean: bool) -> u64:
    """When to pick again: never, with nobody waiting."""
    rival = queue_first(q, c.bit)
    end = u64(NEVER)
    if rival is not None:
        end = max(now + run_for(q, v, rival), c.started + q.ratelimit)
    elif not lean and CREDIT2.count > 1:
        end = now + q.initial
    else:
        q.endless |= c.bit
    if not lean and v.credit2.capped:
        end = min(end, now + u64(max(v.credit2.quota, 1)))
    return end


@fn(inline=True)
def chosen_end(q: RunQueue, c: SchedCpu, v: SchedVcpu, now: u64, lean: bool) -> u64:
    """`v` runs. Credit for all where it has none, and what is then behind elsewhere comes here."""
    c.position = v.key
    if v.key >= q.base and refresh(q, v, now) and not lean and CREDIT2.count > 1:
        balance(q, c)
    end = run_end(q, c, v, now, lean)
    return end if lean else alarm_until(q, c, now, end)


@fn(inline=False)
def look_again(q: RunQueue, c: SchedCpu, now: u64) -> tuple[SchedVcpu | None, u64]:
    """Nothing waited here: take what was put back, or what waits in another queue; with one that could not be looked at, try again soon."""
    v = take(q, c, queue_first(q, c.bit), now, False)
    found = CREDIT2.count > 1
    looked = True
    while v is None and found:  # what it finds may be out of budget: then it is parked here, so that this ends
        found, looked = steal(q, c)
        v = take(q, c, queue_first(q, c.bit), now, False)
    return v, u64(NEVER) if looked else now + q.shortest


def picker(lean: bool) -> Callable[[RunQueue, SchedCpu, u64], tuple[SchedVcpu | None, u64]]:
    """A pick for one queue and no caps, or for everything. The queue is locked; the caller unlocks it."""

    @fn(inline=True)
    def pick(q: RunQueue, c: SchedCpu, now: u64) -> tuple[SchedVcpu | None, u64]:
        kicked = kick_came(q, c)
        alone = was_endless(q, c)
        if not lean and q.events is not None:
            expire(q, c, now)
        waiting = queue_first(q, c.bit)
        old = c.current
        runs = False
        if old is not None:
            burn(old, now, lean)
            runs = may_run(old)
            if runs and affords(old, now, lean) and stays(q, c, old, waiting, now):
                return old, chosen_end(q, c, old, now, lean)
            if alone and waiting is not None:
                old.key = min(old.key, waiting.key + old.credit2.debt)
        v = take(q, c, waiting, now, lean)
        if old is not None:
            leave(q, c, old, runs, lean)
        idle_end = u64(NEVER)
        if v is None and not lean:
            v, idle_end = look_again(q, c, now)
        cpu_enter(q, c, v, now)
        kick_left(q, c)
        if not lean and CREDIT2.count > 1:
            kick_later(c, kick_left_elsewhere(q))
            if kicked and v is not None:
                kick_later(c, pass_on(q))
        if v is not None:
            return v, chosen_end(q, c, v, now, lean)
        return v, idle_end if lean else alarm_until(q, c, now, idle_end)

    return pick


pick_lean = picker(True)
pick_full = picker(False)


@fn
def credit2_pick(c: SchedCpu, now: u64) -> tuple[SchedVcpu | None, u64]:
    q = c.queue
    if q is None:
        return None, NEVER
    with q.lock:
        if q.lean:
            return pick_lean(q, c, now)
        return pick_full(q, c, now)
