"""A discrete-event simulator that drives the real schedulers: CPUs with timers and kicks, vCPUs that work and sleep by their pattern.

Written in the language itself, so that it runs on every engine. One tick is a microsecond. A broken rule is an assertion, a panic.
"""

from __future__ import annotations

from freestanding import Array, IntEnum, Struct, array, fn, u8, u32, u64, wrapping_add, wrapping_mul, zeroed
from xenarm.core.result import Result
from xenarm.core.sched.arinc653 import ARINC
from xenarm.core.sched.credit2 import CREDIT2, Grouping
from xenarm.core.sched.rr import RR
from xenarm.core.sched.rtds import RTDS
from xenarm.core.sched.scheduler import (
    SCHED,
    SCHEDULERS,
    params_default,
    sched_allow,
    sched_await,
    sched_block,
    sched_domain_init,
    sched_init,
    sched_insert,
    sched_pick,
    sched_saved,
    sched_stop,
    sched_wake,
    sched_yield,
)
from xenarm.core.sched.state import (
    NEVER,
    SCHED_CPUS,
    STOP_PAUSED,
    Place,
    RunQueue,
    SchedCpu,
    SchedDomain,
    SchedParams,
    SchedVcpu,
)

HZ = 1_000_000
VCPUS = 128  # with the rules checked 64: sets of them are words
CPUS = 8

NULL, RR_, CREDIT2_, RTDS_, ARINC_ = range(5)


class Kind(IntEnum, type=u8):
    """What a vCPU does."""

    ABSENT = 0
    BUSY = 1  # never sleeps
    BURSTS = 2  # works for a while, sleeps for a while, both drawn
    JOBS = 3  # a job at each period, due at the period's end
    YIELDS = 4  # works for a while and yields
    PAUSED = 5  # never sleeps, and is paused from outside now and then


class Load(Struct):
    kind: Kind
    work_least: u64
    work_most: u64
    sleep_least: u64
    sleep_most: u64
    left: u64  # work until it sleeps
    wake_at: u64
    due: u64  # of the job that it has
    got: u64
    misses: u64
    longest_wait: u64
    waiting_since: u64
    watch: u64  # an interval in which it must get `need`; 0: none
    need: u64
    watch_at: u64
    watch_got: u64
    paused: bool


class SimCpu(Struct):
    timer: u64
    kick_at: u64
    idle: u64


class Sim(Struct):
    count: u32  # of the vCPUs that there are
    now: u64
    state: u64
    cpus: u32
    delay: u64  # of a kick
    latency: u64  # of a timer
    conserving: bool
    which: u32
    picks: u64
    switches: u64
    kicks: u64


SIM = zeroed(Sim)
LOADS = array(Load, VCPUS)
MACHINE = array(SimCpu, CPUS)
VCPU = array(SchedVcpu, VCPUS)
DOMAIN = array(SchedDomain, VCPUS)
PARAMS = zeroed(SchedParams)


# ---- setting up ---------------------------------------------------------------------------------------------------------


@fn
def sim_start(which: u32, cpus: u32, seed: u64, delay: u64, latency: u64) -> None:
    """A machine without vCPUs, at time 1000."""
    SIM.now = 1000
    SIM.state = seed
    SIM.cpus = cpus
    SIM.delay = delay
    SIM.latency = latency
    SIM.which = which
    SIM.conserving = which == RR_ or which == CREDIT2_
    SIM.picks = 0
    SIM.count = 0
    SIM.switches = 0
    SIM.kicks = 0
    SCHED.chosen = SCHEDULERS[which]
    for i in range(CPUS):
        MACHINE[i].timer = NEVER
        MACHINE[i].kick_at = NEVER
        MACHINE[i].idle = 0
    for i in range(VCPUS):
        LOADS[i].kind = Kind.ABSENT
        LOADS[i].wake_at = NEVER
        LOADS[i].got = 0
        LOADS[i].misses = 0
        VCPU[i].place = Place.OUT
        sched_domain_init(DOMAIN[i], 256, 0)
    sched_init((u64(1) << cpus) - 1, HZ)


@fn
def sim_group(grouping: u32, split: u32) -> None:
    """credit2's queues, before sim_start: CPUs from `split` on are another cluster."""
    CREDIT2.grouping = Grouping(u8(grouping))
    for i in range(CPUS):
        SCHED_CPUS[i].cluster = u32(0) if u32(i) < split else u32(1)


@fn
def sim_ratelimit(us: u32) -> None:
    CREDIT2.ratelimit_us = us


@fn
def sim_domain(d: u32, weight: u32, cap: u32) -> None:
    sched_domain_init(DOMAIN[d], weight, cap)


@fn
def sim_params() -> None:
    params_default(PARAMS)


@fn
def sim_affinity(affinity: u64) -> None:
    PARAMS.affinity = affinity


@fn
def sim_realtime(period: u32, budget: u32, extratime: bool) -> None:
    PARAMS.period_us = period
    PARAMS.budget_us = budget
    PARAMS.extratime = extratime


@fn
def sim_window(frame: u32, cpu: u32, offset: u32, length: u32) -> None:
    PARAMS.frame_us = frame
    w = PARAMS.windows[PARAMS.window_count]
    w.cpu = cpu
    w.offset_us = offset
    w.length_us = length
    PARAMS.window_count += 1


@fn
def sim_add(i: u32, d: u32) -> Result:
    """A vCPU with what PARAMS say, which are the defaults again afterwards."""
    SIM.count = max(SIM.count, i + 1)
    result = sched_insert(VCPU[i], DOMAIN[d], i, PARAMS)
    params_default(PARAMS)
    return result


@fn
def draw(least: u64, most: u64) -> u64:
    """A random number in that range (Knuth's MMIX generator)."""
    SIM.state = wrapping_add(wrapping_mul(SIM.state, u64(6364136223846793005)), u64(1442695040888963407))
    return least + (SIM.state >> 33) % (most - least + 1)


@fn
def sim_load(i: u32, kind: u32, work_least: u64, work_most: u64, sleep_least: u64, sleep_most: u64, first: u64) -> None:
    """What a vCPU does from `first` microseconds on. For jobs, `sleep_least` is the period."""
    load = LOADS[i]
    load.kind = Kind(u8(kind))
    load.work_least = work_least
    load.work_most = work_most
    load.sleep_least = sleep_least
    load.sleep_most = sleep_most
    load.left = 0
    load.got = 0
    load.misses = 0
    load.longest_wait = 0
    load.waiting_since = NEVER
    load.watch = 0
    load.watch_at = NEVER
    load.paused = False
    load.wake_at = SIM.now + first


@fn
def sim_watch(i: u32, interval: u64, need: u64) -> None:
    """From its first wake-up on, it must get `need` in each such interval: the others are counted as misses."""
    load = LOADS[i]
    load.watch = interval
    load.need = need
    load.watch_at = load.wake_at + interval
    load.watch_got = 0


# ---- what CPUs do -------------------------------------------------------------------------------------------------------


@fn
def send_kicks(kick: u64) -> None:
    for i in range(CPUS):
        if (kick >> i) & 1 != 0:
            assert u32(i) < SIM.cpus, "a kick for no CPU"
            MACHINE[i].kick_at = min(MACHINE[i].kick_at, SIM.now + SIM.delay)
            SIM.kicks += 1


@fn
def note_switch(old: SchedVcpu | None, v: SchedVcpu | None) -> None:
    if old is not None:
        load = LOADS[old.index]
        if old.stopped.load() == 0:
            load.waiting_since = SIM.now
        sched_saved(old)
    if v is not None:
        assert v.on_cpu.load() == 0, "run on two CPUs"
        load = LOADS[v.index]
        if load.waiting_since != NEVER:
            load.longest_wait = max(load.longest_wait, SIM.now - load.waiting_since)
            load.waiting_since = NEVER
        sched_await(v)
        SIM.switches += 1


@fn
def pick(c: SchedCpu) -> None:
    old = c.current
    MACHINE[c.id].kick_at = NEVER
    v, until = sched_pick(c, SIM.now)
    SIM.picks += 1
    kick = c.kick
    c.kick = 0
    if v is not old:
        note_switch(old, v)
    assert until > SIM.now, "a timer that has run out already"
    MACHINE[c.id].timer = until if until == NEVER else until + SIM.latency
    send_kicks(kick)


@fn
def start_work(v: SchedVcpu, load: Load) -> None:
    match load.kind:
        case Kind.BUSY | Kind.ABSENT:
            load.left = NEVER
        case Kind.BURSTS | Kind.YIELDS | Kind.JOBS:
            load.left = draw(load.work_least, load.work_most)
        case Kind.PAUSED:
            load.left = NEVER
    if load.kind == Kind.JOBS:
        load.due = load.wake_at + load.sleep_least
    load.waiting_since = SIM.now
    load.wake_at = NEVER
    send_kicks(sched_wake(v, SIM.now))


@fn
def pause_or_resume(v: SchedVcpu, load: Load) -> None:
    load.paused = not load.paused
    load.wake_at = SIM.now + draw(load.sleep_least, load.sleep_most)
    if load.paused:
        send_kicks(sched_stop(v, STOP_PAUSED, SIM.now))
        load.waiting_since = NEVER
    else:
        load.waiting_since = SIM.now
        send_kicks(sched_allow(v, STOP_PAUSED, SIM.now))


@fn
def wake(v: SchedVcpu, load: Load) -> None:
    if load.kind == Kind.PAUSED and load.left == NEVER:
        pause_or_resume(v, load)
    elif load.kind == Kind.PAUSED:
        start_work(v, load)
        load.wake_at = SIM.now + draw(load.sleep_least, load.sleep_most)
    else:
        start_work(v, load)


@fn
def finish_job(load: Load) -> bool:
    """True: the next job is there already."""
    if SIM.now > load.due:
        load.misses += 1
    load.wake_at = load.due
    if load.wake_at > SIM.now:
        return False
    load.left = draw(load.work_least, load.work_most)
    load.due = load.due + load.sleep_least
    load.wake_at = NEVER
    return True


@fn
def finish(c: SchedCpu, v: SchedVcpu, load: Load) -> None:
    """Its work is done."""
    if load.kind == Kind.YIELDS:
        load.left = draw(load.work_least, load.work_most)
        sched_yield(v)
        pick(c)
        return
    if load.kind == Kind.JOBS:
        if finish_job(load):
            return
    else:
        load.wake_at = SIM.now + draw(load.sleep_least, load.sleep_most)
    sched_block(v)
    pick(c)


# ---- time ---------------------------------------------------------------------------------------------------------------


@fn
def next_time() -> u64:
    soonest = u64(NEVER)
    for i in range(SIM.cpus):
        soonest = min(soonest, min(MACHINE[i].timer, MACHINE[i].kick_at))
        v = SCHED_CPUS[i].current
        if v is not None and LOADS[v.index].left != NEVER:
            soonest = min(soonest, SIM.now + LOADS[v.index].left)
    for i in range(SIM.count):
        if LOADS[i].kind != Kind.ABSENT:
            soonest = min(soonest, min(LOADS[i].wake_at, LOADS[i].watch_at))
    return soonest


@fn
def advance(to: u64) -> None:
    """Let those that run work."""
    passed = to - SIM.now
    for i in range(SIM.cpus):
        v = SCHED_CPUS[i].current
        if v is None:
            MACHINE[i].idle += passed
        else:
            load = LOADS[v.index]
            load.got += passed
            if load.left != NEVER:
                load.left -= passed
    SIM.now = to


@fn
def check_watch(load: Load) -> None:
    if load.got - load.watch_got < load.need:
        load.misses += 1
    load.watch_got = load.got
    load.watch_at += load.watch


@fn
def wake_and_watch() -> None:
    for i in range(SIM.count):
        load = LOADS[i]
        if load.kind != Kind.ABSENT:
            if load.watch_at <= SIM.now:
                check_watch(load)
            if load.wake_at <= SIM.now:
                wake(VCPU[i], load)


@fn
def act() -> None:
    """Everything that is due now."""
    wake_and_watch()
    for i in range(SIM.cpus):
        c = SCHED_CPUS[i]
        v = c.current
        if v is not None and LOADS[v.index].left == 0 and v.stopped.load() == 0:
            finish(c, v, LOADS[v.index])
    for i in range(SIM.cpus):
        if min(MACHINE[i].timer, MACHINE[i].kick_at) <= SIM.now:
            pick(SCHED_CPUS[i])


@fn
def sim_run(duration: u64, check: bool) -> u64:
    """Let that time pass; a number that all engines must agree on."""
    end = SIM.now + duration
    turns = u64(0)
    last = SIM.now
    while True:
        at = next_time()
        if at > end:
            break
        if check and at > SIM.now:
            check_all()
        turns = turns + 1 if at == last else u64(0)
        assert turns < 1000, "time stands still"
        last = at
        advance(at)
        act()
    advance(end)
    return digest()


@fn
def digest() -> u64:
    total = SIM.picks
    for i in range(SIM.count):
        total = wrapping_add(wrapping_mul(total, u64(31)), LOADS[i].got)
        total = wrapping_add(wrapping_mul(total, u64(31)), LOADS[i].misses)
    return wrapping_add(wrapping_mul(total, u64(31)), SIM.switches)


# ---- rules --------------------------------------------------------------------------------------------------------------


@fn
def walk(q: RunQueue, ordered: bool) -> u64:
    """The vCPUs of a queue, as a set; its links and order are checked."""
    found = u64(0)
    before: SchedVcpu | None = None
    v = q.head
    while v is not None:
        assert v.place == Place.QUEUED, "queued, and says otherwise"
        assert (found >> v.index) & 1 == 0, "queued twice"
        assert v.prev is before, "a broken link"
        if before is not None and ordered:
            assert before.key <= v.key, "out of order"
        found |= u64(1) << v.index
        before = v
        v = v.next
    assert q.tail is before, "a lost tail"
    return found


@fn
def walk_events(q: RunQueue) -> u64:
    found = u64(0)
    before: SchedVcpu | None = None
    v = q.events
    while v is not None:
        assert v.has_event and (found >> v.index) & 1 == 0, "an event twice"
        if before is not None:
            assert before.due <= v.due, "events out of order"
        assert v.sooner is before, "a broken link of events"
        found |= u64(1) << v.index
        before = v
        v = v.later
    return found


@fn
def check_idle(q: RunQueue) -> None:
    for i in range(SIM.cpus):
        if (q.cpus >> i) & 1 != 0:
            idle = SCHED_CPUS[i].current is None
            assert ((q.idle.load() >> i) & 1 != 0) == idle, "a CPU is idle, or not, and the queue knows nothing of it"


@fn
def queued() -> u64:
    """All vCPUs that are in a run queue, each in one."""
    if SIM.which == RR_:
        check_idle(RR.queue)
        return walk(RR.queue, False)
    if SIM.which == RTDS_:
        check_idle(RTDS.queue)
        check_parked(walk_events(RTDS.queue))
        return walk(RTDS.queue, True)
    found = u64(0)
    if SIM.which == CREDIT2_:
        events = u64(0)
        for i in range(CREDIT2.count):
            q = CREDIT2.queues[i]
            check_idle(q)
            mine = walk(q, True)
            assert found & mine == 0, "in two queues"
            check_home(mine, u32(i))
            found |= mine
            events |= walk_events(q)
        check_parked(events)
    return found


@fn
def check_home(mine: u64, number: u32) -> None:
    for i in range(SIM.count):
        if (mine >> i) & 1 != 0:
            assert VCPU[i].credit2.home.load() == number, "in a queue that is not its home"


@fn
def check_parked(events: u64) -> None:
    for i in range(SIM.count):
        if VCPU[i].place == Place.PARKED:
            assert (events >> i) & 1 != 0, "parked for ever"


@fn
def running() -> u64:
    found = u64(0)
    for i in range(SIM.cpus):
        v = SCHED_CPUS[i].current
        if v is not None:
            assert (found >> v.index) & 1 == 0, "run on two CPUs"
            assert v.place == Place.RUNNING and v.cpu == u32(i), "runs, and says otherwise"
            assert (v.affinity >> i) & 1 != 0, "runs where it must not"
            found |= u64(1) << v.index
    return found


@fn
def kicks_pending() -> bool:
    for i in range(SIM.cpus):
        if MACHINE[i].kick_at != NEVER or MACHINE[i].timer <= SIM.now + SIM.latency:
            return True
    return False


@fn
def idle_cpus() -> u64:
    found = u64(0)
    for i in range(SIM.cpus):
        if SCHED_CPUS[i].current is None:
            found |= u64(1) << i
    return found


@fn
def check_all() -> None:
    """Every vCPU that wants to run is in exactly one place; none that may not runs on; no CPU idles while one that it could run waits."""
    waiting = queued()
    busy = running()
    assert waiting & busy == 0, "queued and running"
    calm = not kicks_pending()
    idle = idle_cpus()
    for i in range(SIM.count):
        v = VCPU[i]
        if LOADS[i].kind != Kind.ABSENT:
            check_place(v, waiting, busy, calm)
            if calm and SIM.conserving and v.place == Place.QUEUED:
                assert v.affinity & idle == 0, "a CPU idles and a vCPU waits"


@fn
def check_place(v: SchedVcpu, waiting: u64, busy: u64, calm: bool) -> None:
    inside = (waiting >> v.index) & 1 != 0
    wants = v.stopped.load() == 0
    match v.place:
        case Place.QUEUED:
            assert (inside or SIM.which == ARINC_) and wants, "queued and nowhere, or asleep"
        case Place.RUNNING:
            assert (busy >> v.index) & 1 != 0, "running and nowhere"
            assert wants or not calm, "runs and may not"
        case Place.PARKED:
            assert wants and not inside, "parked and queued, or asleep"
        case Place.BLOCKED:
            assert not inside and (not wants or SIM.which == NULL), "wakes and is nowhere"
        case Place.OUT:
            assert False, "inserted and nowhere"


# ---- what came of it ----------------------------------------------------------------------------------------------------


@fn
def sim_got(i: u32) -> u64:
    return LOADS[i].got


@fn
def sim_misses(i: u32) -> u64:
    return LOADS[i].misses


@fn
def sim_longest_wait(i: u32) -> u64:
    load = LOADS[i]
    if load.waiting_since == NEVER:
        return load.longest_wait
    return max(load.longest_wait, SIM.now - load.waiting_since)


@fn
def sim_idle(cpu: u32) -> u64:
    return MACHINE[cpu].idle


@fn
def sim_where(i: u32) -> u32:
    """The CPU that runs it, or 0xFFFFFFFF."""
    return VCPU[i].cpu if VCPU[i].place == Place.RUNNING else u32(0xFFFF_FFFF)


@fn
def sim_switches() -> u64:
    return SIM.switches


@fn
def sim_picks() -> u64:
    return SIM.picks


@fn
def sim_cpu(i: u32) -> u32:
    return VCPU[i].cpu


@fn
def sim_frame_begin() -> u64:
    return ARINC.begin
