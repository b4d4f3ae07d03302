"""What schedulers share: the run queue by key, the list of events by time, accounting, and which CPU to kick.

Everything here that takes a `RunQueue` is called with its lock held. The locks' order is in `state.py`.
"""

from freestanding import ctz, fn, saturating_sub, u32, u64, wrapping_add

from xenarm.core.sched.state import HAS_EVENTS, NEVER, NO_CPU, Place, RunQueue, SchedCpu, SchedVcpu
from xenarm.core.spinlock import Spinlock

__all__ = [
    "account",
    "alarm_until",
    "cpu_enter",
    "cpu_of",
    "event_add",
    "event_remove",
    "kick_came",
    "kick_endless",
    "kick_for",
    "kick_later",
    "kick_left",
    "lock_try",
    "may_run",
    "queue_append",
    "queue_first",
    "queue_init",
    "queue_insert",
    "queue_remove",
    "queue_replace",
    "us_to_ticks",
    "was_endless",
]


@fn
def us_to_ticks(us: u32, hz: u64) -> u64:
    return u64(us) * hz // 1_000_000


@fn
def lock_try(lock: Spinlock) -> bool:
    """Take a lock that nobody has; False when somebody has it. For a second lock of one kind, where waiting could deadlock."""
    ticket = lock.owner.load_acquire()
    taken, _ = lock.next.compare_swap(ticket, wrapping_add(ticket, u32(1)))
    return taken


@fn(inline=True)
def may_run(v: SchedVcpu) -> bool:
    return v.stopped.load_acquire() == 0


@fn(inline=True)
def account(v: SchedVcpu, now: u64) -> u64:
    """The ticks that it has run since it was last asked."""
    delta = saturating_sub(now, v.since)
    v.since = now
    v.ran = wrapping_add(v.ran, delta)
    return delta


@fn(inline=True)
def cpu_of(cpus: u64, preferred: u32) -> u32:
    """A CPU out of a set that is not empty: the preferred one when it is there."""
    if (cpus >> preferred) & 1 != 0:
        return preferred
    return ctz(cpus)


# ---- the run queue -----------------------------------------------------------------------------------------------------


@fn
def events_none(q: RunQueue) -> None:
    pass


@fn
def events_empty(q: RunQueue) -> None:
    q.events = None
    q.alarm = NEVER
    q.alarm_cpu = NO_CPU


events_init = events_empty if HAS_EVENTS else events_none


@fn
def queue_init(q: RunQueue, cpus: u64) -> None:
    q.head = None
    q.tail = None
    q.cpus = cpus
    q.idle.store(cpus)
    q.endless = 0
    q.picky = 0
    q.kicked.store(0)
    events_init(q)


@fn(inline=True)
def link_after(q: RunQueue, v: SchedVcpu, before: SchedVcpu | None) -> None:
    """Put it behind `before`, at the front when that is None."""
    after = q.head if before is None else before.next
    v.prev = before
    v.next = after
    if before is None:
        q.head = v
    else:
        before.next = v
    if after is None:
        q.tail = v
    else:
        after.prev = v


@fn(inline=True)
def queue_append(q: RunQueue, v: SchedVcpu) -> None:
    v.place = Place.QUEUED
    before = q.tail
    v.prev = before
    v.next = None
    if before is None:
        q.head = v
    else:
        before.next = v
    q.tail = v


@fn(inline=True)
def queue_insert(q: RunQueue, v: SchedVcpu) -> None:
    """By key, behind its equals; looked for from the end, where one that has just run belongs."""
    v.place = Place.QUEUED
    before = q.tail
    while before is not None and before.key > v.key:
        before = before.prev
    link_after(q, v, before)


@fn(inline=True)
def queue_remove(q: RunQueue, v: SchedVcpu) -> None:
    before = v.prev
    after = v.next
    if before is None:
        q.head = after
    else:
        before.next = after
    if after is None:
        q.tail = before
    else:
        after.prev = before


@fn(inline=True)
def queue_replace(q: RunQueue, head: SchedVcpu, v: SchedVcpu) -> None:
    """Take out the first and put another at the end."""
    v.place = Place.QUEUED
    after = head.next
    v.next = None
    if after is None:
        v.prev = None
        q.head = v
    else:
        before = q.tail
        after.prev = None
        q.head = after
        v.prev = before
        if before is not None:
            before.next = v
    q.tail = v


@fn(inline=True)
def queue_first(q: RunQueue, bit: u64) -> SchedVcpu | None:
    """The first that may use the CPU. At most as many steps as there are vCPUs."""
    v = q.head
    while v is not None and v.affinity & bit == 0:
        v = v.next
    return v


# ---- events ------------------------------------------------------------------------------------------------------------


@fn
def event_add(q: RunQueue, v: SchedVcpu, due: u64) -> None:
    """Have it looked at when `due` comes. It must not be in the list."""
    v.due = due
    v.has_event = True
    before: SchedVcpu | None = None
    after = q.events
    while after is not None and after.due <= due:
        before = after
        after = after.later
    v.sooner = before
    v.later = after
    if before is None:
        q.events = v
    else:
        before.later = v
    if after is not None:
        after.sooner = v


@fn
def event_remove(q: RunQueue, v: SchedVcpu) -> None:
    """Take it out of the list, if it is there."""
    if not v.has_event:
        return
    v.has_event = False
    before = v.sooner
    after = v.later
    if before is None:
        q.events = after
    else:
        before.later = after
    if after is not None:
        after.sooner = before


@fn(inline=True)
def alarm_until(q: RunQueue, c: SchedCpu, now: u64, until: u64) -> u64:
    """When this CPU must pick again, if otherwise at `until`: one CPU of the queue has its timer set for the next event."""
    event = q.events
    if event is None and q.alarm_cpu != c.id:
        return until
    due = u64(NEVER) if event is None else event.due
    if q.alarm_cpu != c.id and now < q.alarm <= due:
        return until
    soonest = min(due, until)
    q.alarm = soonest
    q.alarm_cpu = c.id
    return soonest


# ---- CPUs --------------------------------------------------------------------------------------------------------------


@fn(inline=True)
def kick_for(q: RunQueue, v: SchedVcpu, self: u64) -> u64:
    """An idle CPU for one that was queued, as a set of one; it is empty when there is none. `self`: the CPU that picks now, or 0."""
    idle = q.idle.load()
    return u64(0) if idle == 0 else kick_idle(q, v, idle & ~self)


@fn(inline=False)
def kick_idle(q: RunQueue, v: SchedVcpu, idle: u64) -> u64:
    possible = idle & v.affinity & ~q.kicked.load()
    if possible == 0:
        return 0
    chosen = u64(1) << cpu_of(possible, v.cpu)
    q.kicked.fetch_or(chosen)
    return chosen


@fn(inline=True)
def kick_later(c: SchedCpu, kick: u64) -> None:
    """CPUs that must pick too once this pick is done. `Alarm.enough` makes this CPU look for them."""
    if kick != 0:
        c.kick |= kick
        c.alarm.enough = NEVER


@fn(inline=True)
def kick_came(q: RunQueue, c: SchedCpu) -> bool:
    """This CPU picks: it can be kicked again. Whether it had been."""
    kicked = q.kicked.load() & c.bit != 0
    if kicked:
        q.kicked.fetch_and(~c.bit)
    return kicked


@fn(inline=False)
def kick_waiting(q: RunQueue, self: u64) -> u64:
    """An idle CPU for the first in the queue that can use one: those that it was kicked for earlier may have gone elsewhere."""
    v = q.head
    while v is not None:
        kick = kick_for(q, v, self)
        if kick != 0:
            return kick
        v = v.next
    return 0


@fn(inline=True)
def kick_left(q: RunQueue, c: SchedCpu) -> None:
    """At the end of a pick: no CPU stays idle while one that it could run waits."""
    if q.idle.load() & ~c.bit != 0 and q.head is not None:
        kick_later(c, kick_waiting(q, c.bit))


@fn(inline=True)
def was_endless(q: RunQueue, c: SchedCpu) -> bool:
    """At the start of a pick: whether this CPU had no end set. It is not known to have none any more."""
    endless = q.endless & c.bit != 0
    if endless:
        q.endless &= ~c.bit
    return endless


@fn(inline=True)
def kick_endless(q: RunQueue, v: SchedVcpu, self: u64) -> u64:
    """The CPUs that would never turn to one that was queued for them."""
    if q.endless == 0:
        return 0
    kick = q.endless & v.affinity & ~self
    q.endless &= ~kick
    return kick


@fn(inline=True)
def cpu_enter(q: RunQueue, c: SchedCpu, v: SchedVcpu | None, now: u64) -> None:
    """The CPU's choice is made. What ran there before has been put into its new place."""
    if v is None:
        q.idle.store(q.idle.load() | c.bit)
    else:
        if q.idle.load() & c.bit != 0:
            q.idle.store(q.idle.load() & ~c.bit)
        v.place = Place.RUNNING
        v.cpu = c.id
        v.since = now
    c.current = v
    c.started = now
