"""The schedulers in the simulator: run queues stay sound whatever vCPUs do, shares follow weights, caps and deadlines hold, frames are exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.xenarm import sched_simulator as sim
from tests.xenarm.sched_simulator import ARINC_, CREDIT2_, HZ, NULL, RR_, RTDS_, Kind
from xenarm.core.result import Result
from xenarm.core.sched.state import ALL_CPUS

SECOND = HZ
MS = HZ // 1000
Call = Callable[..., Any]


def direct(function: Any, *args: Any) -> Any:
    """In CPython."""
    return function(*args)


@dataclass(frozen=True)
class V:
    """A vCPU of a test."""

    weight: int = 256
    cap: int = 0
    affinity: int = ALL_CPUS
    period: int = 10_000
    budget: int = 4_000
    extratime: bool = True
    windows: tuple[tuple[int, int, int], ...] = ()
    kind: Kind = Kind.BUSY
    work: tuple[int, int] = (0, 0)
    sleep: tuple[int, int] = (0, 0)
    first: int = 0
    domain: int | None = None


@dataclass(frozen=True)
class Machine:
    """A machine of a test."""

    which: int
    cpus: int
    vcpus: tuple[V, ...]
    seed: int = 1
    delay: int = 0
    latency: int = 0
    grouping: int = 0
    split: int = 8
    ratelimit: int = 1000
    frame: int = 10_000
    def start(self, call: Call = direct) -> list[Any]:
        """Set it up; what became of each vCPU's admission."""
        call(sim.sim_group, self.grouping, self.split)
        call(sim.sim_ratelimit, self.ratelimit)
        call(sim.sim_start, self.which, self.cpus, self.seed, self.delay, self.latency)
        call(sim.sim_params)
        return [self.add(call, i, v) for i, v in enumerate(self.vcpus)]

    def add(self, call: Call, i: int, v: V) -> Any:
        domain = i if v.domain is None else v.domain
        if domain == i:
            call(sim.sim_domain, i, v.weight, v.cap)
        call(sim.sim_affinity, v.affinity)
        call(sim.sim_realtime, v.period, v.budget, v.extratime)
        for cpu, offset, length in v.windows:
            call(sim.sim_window, self.frame, cpu, offset, length)
        result = call(sim.sim_add, i, domain)
        if result == Result.OK:
            call(sim.sim_load, i, int(v.kind), *v.work, *v.sleep, v.first)
        return result

    def run(self, duration: int, check: bool = False, call: Call = direct) -> list[float]:
        """Each vCPU's share of one CPU over that time."""
        assert all(r == Result.OK for r in self.start(call))
        call(sim.sim_run, duration, check)
        return [int(call(sim.sim_got, i)) / duration for i in range(len(self.vcpus))]


def fair(weights: Sequence[int], cpus: int) -> list[float]:
    """Shares by weight, none above one CPU: what is over goes to the others."""
    shares = [0.0] * len(weights)
    rest = set(range(len(weights)))
    left = float(min(cpus, len(weights)))
    while rest:
        total = sum(weights[i] for i in rest)
        full = {i for i in rest if left * weights[i] / total >= 1}
        for i in full or rest:
            shares[i] = 1.0 if full else left * weights[i] / total
        if not full:
            break
        left -= len(full)
        rest -= full
    return shares


# ---- whatever vCPUs do --------------------------------------------------------------------------------------------------

times = st.integers(1, 20 * MS)


@st.composite
def vcpus(draw: st.DrawFn, cpus: int) -> V:
    kind = draw(st.sampled_from([Kind.BUSY, Kind.BURSTS, Kind.BURSTS, Kind.YIELDS, Kind.PAUSED]))
    work, sleep = sorted((draw(times), draw(times))), sorted((draw(times), draw(times)))
    affinity = draw(st.one_of(st.just(ALL_CPUS), st.integers(1, (1 << cpus) - 1)))
    period = draw(st.integers(100, 50_000))
    return V(
        weight=draw(st.one_of(st.just(256), st.integers(1, 65535))),
        cap=draw(st.sampled_from([0, 0, 0, 10, 50, 150])),
        affinity=affinity,
        period=period,
        budget=draw(st.integers(10, max(10, period // 8))),
        extratime=draw(st.booleans()),
        kind=kind,
        work=(work[0], work[1]),
        sleep=(sleep[0], sleep[1]),
        first=draw(st.integers(0, 5 * MS)),
        domain=None,
    )


@st.composite
def machines(draw: st.DrawFn, which: int) -> Machine:
    cpus = draw(st.integers(1, 4))
    count = cpus if which == NULL else draw(st.integers(1, 9))
    chosen = [draw(vcpus(cpus)) for _ in range(count)]
    if which == NULL:
        chosen = [V(**{**v.__dict__, "affinity": ALL_CPUS}) for v in chosen]
    if which == ARINC_:
        chosen = frame_of(draw, cpus, chosen)
    return Machine(
        which,
        cpus,
        tuple(chosen),
        seed=draw(st.integers(0, 2**32)),
        delay=draw(st.sampled_from([0, 0, 3])),
        latency=draw(st.sampled_from([0, 0, 2])),
        grouping=draw(st.integers(0, 2)),
        split=draw(st.integers(1, 4)),
        ratelimit=draw(st.sampled_from([0, 1000, 5000])),
    )


def frame_of(draw: st.DrawFn, cpus: int, chosen: list[V]) -> list[V]:
    """Windows that add up: each vCPU has some on one CPU, cut at drawn points."""
    edges = {cpu: sorted(draw(st.sets(st.integers(0, 10_000), min_size=2, max_size=8))) for cpu in range(cpus)}
    gaps = [(cpu, a, b - a) for cpu, at in edges.items() for a, b in zip(at, at[1:])]
    chosen = chosen[: len(gaps)]
    owners = [draw(st.integers(0, len(chosen) - 1)) for _ in gaps]
    owners[: len(chosen)] = range(len(chosen))
    windows: list[list[tuple[int, int, int]]] = [[] for _ in chosen]
    for owner, gap in zip(owners, gaps):
        if all(gap[1] >= w[1] + w[2] or w[1] >= gap[1] + gap[2] for w in windows[owner]):
            windows[owner].append(gap)
    return [V(**{**v.__dict__, "affinity": ALL_CPUS, "windows": tuple(w)}) for v, w in zip(chosen, windows)]


@pytest.mark.parametrize("which", [NULL, RR_, CREDIT2_, RTDS_, ARINC_])
@settings(max_examples=40)
@given(data=st.data())
def test_run_queues_stay_sound(which: int, data: st.DataObject) -> None:
    """Every vCPU that wants to run is in exactly one place, on a CPU that it may use; no CPU idles while one waits that it could run."""
    machine = data.draw(machines(which))
    machine.start()
    sim.sim_run(SECOND // 5, True)


@pytest.mark.parametrize("which", [RR_, CREDIT2_])
@settings(max_examples=25)
@given(data=st.data())
def test_nobody_starves(which: int, data: st.DataObject) -> None:
    """With equal weights nobody waits much longer than all others take together, whatever they do."""
    machine = data.draw(machines(which))
    equal = tuple(V(**{**v.__dict__, "weight": 256, "cap": 0}) for v in machine.vcpus)
    machine = Machine(**{**machine.__dict__, "vcpus": equal})
    machine.start()
    sim.sim_run(SECOND, False)
    slice_ = 10 * MS if which == RR_ else max(10 * MS, machine.ratelimit)
    for i in range(len(equal)):
        assert sim.sim_longest_wait(i) <= (len(equal) + 4) * 2 * slice_, f"vCPU {i} waited"


# ---- null ---------------------------------------------------------------------------------------------------------------


def test_null_refuses_more_vcpus_than_cpus() -> None:
    assert Machine(NULL, 2, (V(), V(), V())).start() == [Result.OK, Result.OK, Result.NO_MEMORY]


def test_null_never_sets_a_timer() -> None:
    assert Machine(NULL, 2, (V(), V())).run(SECOND, True) == [1.0, 1.0]
    assert sim.sim_picks() == 2


@given(st.lists(st.integers(1, 31), min_size=1, max_size=6))
def test_null_finds_room_when_there_is_any(affinities: list[int]) -> None:
    """Whatever the order, a set is admitted up to its first vCPU that no arrangement has room for."""
    machine = Machine(NULL, 5, tuple(V(affinity=a) for a in affinities))
    for i, result in enumerate(machine.start()):
        before = [a for a, r in zip(affinities[:i], machine.start()[:i]) if r == Result.OK]
        assert (result == Result.OK) == fits([*before, affinities[i]], 0)


def fits(affinities: list[int], taken: int) -> bool:
    if not affinities:
        return True
    free = affinities[0] & ~taken & 31
    return any(free >> c & 1 and fits(affinities[1:], taken | 1 << c) for c in range(5))


# ---- many ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [RR_, CREDIT2_])
def test_128_vcpus_of_one_domain_share_four_cpus(which: int) -> None:
    """Each has a 32nd of a CPU, within a tenth of that, and nobody waits much longer than all others' slices."""
    crowd = (V(domain=0),) * 128
    assert Machine(which, 4, crowd).run(10 * SECOND) == pytest.approx([4 / 128] * 128, rel=0.1)
    assert max(sim.sim_longest_wait(i) for i in range(128)) < 2 * 128 // 4 * 10_000


# ---- rr -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cpus", "count"), [(1, 2), (1, 5), (2, 3), (3, 7), (4, 5)])
def test_rr_shares_equally(cpus: int, count: int) -> None:
    assert Machine(RR_, cpus, (V(),) * count).run(10 * SECOND) == pytest.approx([cpus / count] * count, abs=0.01)


def test_rr_has_no_timer_while_nobody_waits() -> None:
    Machine(RR_, 2, (V(), V())).run(SECOND, True)
    assert sim.sim_picks() <= 4


# ---- credit2 ------------------------------------------------------------------------------------------------------------

EXAMPLES = [
    (1, (256, 256)),
    (1, (256, 512, 1024)),
    (1, (1, 256, 65535)),
    (2, (256, 256, 256)),
    (2, (256, 512, 300, 100)),
    (2, (65535, 1, 1)),
    (4, (256, 512, 256, 300, 700, 512, 100, 300)),
]


@pytest.mark.parametrize("grouping", [(0, 8), (0, 1), (0, 2), (1, 8), (2, 8)], ids=["one", "1+rest", "2+2", "each", "all"])
@pytest.mark.parametrize(("cpus", "weights"), EXAMPLES)
def test_shares_follow_weights(cpus: int, weights: tuple[int, ...], grouping: tuple[int, int]) -> None:
    """Within 2 % of a CPU over ten seconds, on one run queue and between several."""
    machine = Machine(CREDIT2_, cpus, tuple(V(weight=w) for w in weights), grouping=grouping[0], split=grouping[1])
    assert machine.run(10 * SECOND) == pytest.approx(fair(weights, cpus), abs=0.02)


@settings(max_examples=40)
@given(cpus=st.integers(1, 4), weights=st.lists(st.integers(1, 65535), min_size=1, max_size=8))
@example(cpus=3, weights=[16, 16, 16, 54])
def test_shares_follow_any_weights(cpus: int, weights: list[int]) -> None:
    machine = Machine(CREDIT2_, cpus, tuple(V(weight=w) for w in weights))
    assert machine.run(10 * SECOND) == pytest.approx(fair(weights, cpus), abs=0.02)


@settings(max_examples=40)
@given(cpus=st.integers(2, 4), weights=st.lists(st.integers(128, 1024), min_size=1, max_size=8), split=st.integers(1, 3))
def test_shares_follow_weights_between_clusters(cpus: int, weights: list[int], split: int) -> None:
    machine = Machine(CREDIT2_, cpus, tuple(V(weight=w) for w in weights), split=split)
    assert machine.run(10 * SECOND) == pytest.approx(fair(weights, cpus), abs=0.03)


@settings(max_examples=40)
@given(data=st.data(), weight=st.integers(64, 1024))
def test_sleepers_take_nothing_from_a_busy_one(data: st.DataObject, weight: int) -> None:
    """However others sleep and wake, one that is always ready gets at least its share, by weight, of one CPU."""
    others = [data.draw(vcpus(1)) for _ in range(data.draw(st.integers(1, 4)))]
    all_ = (V(weight=weight), *(V(**{**v.__dict__, "cap": 0, "weight": 256, "affinity": ALL_CPUS}) for v in others))
    got = Machine(CREDIT2_, 1, all_).run(10 * SECOND)
    assert got[0] >= weight / (weight + 256 * len(others)) - 0.02
    assert sum(got) == pytest.approx(1.0, abs=0.001)


@pytest.mark.parametrize("cap", [1, 10, 33, 50, 90])
def test_caps(cap: int) -> None:
    """A capped domain gets its cap on an idle machine, and not more."""
    assert Machine(CREDIT2_, 2, (V(cap=cap),)).run(10 * SECOND) == pytest.approx([cap / 100], abs=0.005)


def test_a_cap_is_for_the_whole_domain() -> None:
    machine = Machine(CREDIT2_, 5, (V(cap=150), V(domain=0), V(domain=0), V(), V()))
    got = machine.run(10 * SECOND)
    assert sum(got[:3]) == pytest.approx(1.5, abs=0.02)
    assert got[3:] == [1.0, 1.0]


@settings(max_examples=40)
@given(caps=st.lists(st.sampled_from([0, 10, 25, 60, 100]), min_size=1, max_size=5), cpus=st.integers(1, 3), split=st.integers(1, 3))
def test_caps_are_respected_in_company(caps: list[int], cpus: int, split: int) -> None:
    got = Machine(CREDIT2_, cpus, tuple(V(cap=c) for c in caps), split=split).run(5 * SECOND)
    for cap, share in zip(caps, got):
        assert cap == 0 or share <= cap / 100 + 0.005
    if not any(caps) or sum(c or 100 for c in caps) >= cpus * 100 + 100 and 0 in caps:
        assert sum(got) >= min(cpus, len(caps)) - 0.05


def test_pinned_vcpus_do_not_disturb_others_shares() -> None:
    """One alone on its CPU; two with weights 1 and 2 on the other; then one joins the first."""
    machine = Machine(CREDIT2_, 2, (V(affinity=1), V(affinity=2), V(weight=512, affinity=2), V(affinity=1, first=5 * SECOND)))
    got = machine.run(10 * SECOND)
    assert got == pytest.approx([0.75, 1 / 3, 2 / 3, 0.25], abs=0.02)


def test_a_waking_vcpu_runs_soon() -> None:
    """Among busy ones, after the rate limit."""
    sleeper = V(kind=Kind.BURSTS, work=(100, 200), sleep=(5 * MS, 9 * MS), first=SECOND)
    Machine(CREDIT2_, 1, (V(), V(), V(), sleeper)).run(5 * SECOND)
    assert sim.sim_longest_wait(3) <= 1 * MS + 200


def test_credit2_alone_needs_no_timer() -> None:
    Machine(CREDIT2_, 2, (V(), V())).run(SECOND, True)
    assert sim.sim_picks() <= 4


def test_refusals_of_credit2() -> None:
    assert Machine(CREDIT2_, 2, (V(affinity=4),)).start() == [Result.NOT_FOUND]


# ---- rtds ---------------------------------------------------------------------------------------------------------------


def split_utilisation(total: float, cuts: list[float]) -> list[float]:
    edges = [0.0, *sorted(cuts), 1.0]
    return [(b - a) * total for a, b in zip(edges, edges[1:])]


@st.composite
def task_sets(draw: st.DrawFn, total: float, most: float = 1.0) -> list[tuple[int, int]]:
    """(period, budget) with that utilisation together."""
    cuts = draw(st.lists(st.floats(0.02, 0.98), min_size=0, max_size=6))
    made = []
    for share in split_utilisation(total, cuts):
        period = draw(st.integers(500, 30_000))
        budget = int(period * min(share, most))
        if budget >= 10:
            made.append((period, budget))
    return made or [(10_000, int(9_500 * min(total, 1)))]


@settings(max_examples=40)
@given(tasks=task_sets(0.95), extratime=st.booleans(), seed=st.integers(0, 99))
def test_no_deadline_is_missed_on_one_cpu(tasks: list[tuple[int, int]], extratime: bool, seed: int) -> None:
    """At 95 %: EDF is optimal. Jobs arrive at each period and take the whole budget."""
    machine = Machine(RTDS_, 1, tuple(jobs(p, b, extratime) for p, b in tasks), seed=seed)
    machine.run(2 * SECOND)
    assert [sim.sim_misses(i) for i in range(len(tasks))] == [0] * len(tasks)


def jobs(period: int, budget: int, extratime: bool = False, least: int | None = None, first: int = 0) -> V:
    work = (budget if least is None else least, budget)
    return V(period=period, budget=budget, extratime=extratime, kind=Kind.JOBS, work=work, sleep=(period, period), first=first)


@settings(max_examples=40)
@given(tasks=task_sets(0.95), data=st.data())
def test_the_budget_is_there_in_every_period(tasks: list[tuple[int, int]], data: st.DataObject) -> None:
    """Those that never sleep get their budget in each period, beside others that sleep and wake as they like."""
    steady = data.draw(st.integers(1, len(tasks)))
    chosen = [
        V(period=p, budget=b, extratime=data.draw(st.booleans()))
        if i < steady
        else V(period=p, budget=b, kind=Kind.BURSTS, work=(1, 2 * b), sleep=(1, p), first=data.draw(st.integers(0, p)))
        for i, (p, b) in enumerate(tasks)
    ]
    assert set(Machine(RTDS_, 1, tuple(chosen)).start()) == {Result.OK}
    for i in range(steady):
        sim.sim_watch(i, chosen[i].period, chosen[i].budget)
    sim.sim_run(2 * SECOND, False)
    assert [sim.sim_misses(i) for i in range(steady)] == [0] * steady


@settings(max_examples=40)
@given(tasks=task_sets(0.95), data=st.data())
def test_short_jobs_meet_deadlines_among_sleepers(tasks: list[tuple[int, int]], data: st.DataObject) -> None:
    """A job within its budget is done a period after it came, whatever the phases and whatever the others do."""
    chosen = [
        jobs(p, b, least=max(1, b // 2), first=data.draw(st.integers(0, p)))
        if i % 2 == 0
        else V(period=p, budget=b, kind=Kind.BURSTS, work=(1, 3 * b), sleep=(1, 2 * p))
        for i, (p, b) in enumerate(tasks)
    ]
    Machine(RTDS_, 1, tuple(chosen)).run(2 * SECOND)
    assert [sim.sim_misses(i) for i in range(0, len(tasks), 2)] == [0] * ((len(tasks) + 1) // 2)


@settings(max_examples=40)
@given(cpus=st.integers(2, 4), most=st.sampled_from([0.2, 0.3, 0.5]), data=st.data())
def test_no_deadline_is_missed_within_the_global_bound(cpus: int, most: float, data: st.DataObject) -> None:
    """Goossens, Funk and Baruah: global EDF meets all deadlines up to cpus - (cpus - 1) * the largest share."""
    bound = cpus - (cpus - 1) * most
    tasks: list[tuple[int, int]] = []
    while len(tasks) < 12:
        period = data.draw(st.integers(1000, 30_000))
        share = data.draw(st.floats(0.05, most))
        if sum(b / p for p, b in tasks) + share > bound:
            break
        tasks.append((period, max(10, int(period * share))))
    Machine(RTDS_, cpus, tuple(jobs(p, b) for p, b in tasks)).run(SECOND)
    assert [sim.sim_misses(i) for i in range(len(tasks))] == [0] * len(tasks)


def test_lateness_above_the_global_bound_is_bounded() -> None:
    """Dhall's effect: light tasks with short periods make a heavy one miss, but it still gets its share in the long run."""
    tasks = [(1000, 200), (1000, 200), (1100, 1000)]
    machine = Machine(RTDS_, 2, tuple(V(period=p, budget=b, extratime=False) for p, b in tasks))
    got = machine.run(5 * SECOND)
    assert got[:2] == pytest.approx([0.2, 0.2], abs=0.01)
    assert got[2] >= 0.8


def test_without_extratime_the_budget_is_all() -> None:
    got = Machine(RTDS_, 2, (V(budget=4000, extratime=False), V(budget=1000, extratime=False))).run(5 * SECOND, True)
    assert got == pytest.approx([0.4, 0.1], abs=0.001)


def test_extratime_uses_what_is_left() -> None:
    got = Machine(RTDS_, 1, (V(budget=4000, extratime=True), V(budget=2000, extratime=True), V(budget=1000, extratime=False))).run(5 * SECOND)
    assert sum(got) == pytest.approx(1.0, abs=0.001)
    assert got[0] >= 0.4 and got[1] >= 0.2 and got[2] == pytest.approx(0.1, abs=0.001)


@pytest.mark.parametrize(
    ("vcpus_", "last"),
    [
        ((V(budget=5000), V(budget=5000), V(budget=10_000)), Result.OK),
        ((V(budget=5000), V(budget=5000), V(budget=10_000), V(budget=10)), Result.DENIED),
        ((V(budget=6000, affinity=1), V(budget=5000, affinity=1)), Result.DENIED),
        ((V(budget=6000, affinity=1), V(budget=5000, affinity=2)), Result.OK),
        ((V(budget=6000, affinity=1), V(budget=6000), V(budget=6000, affinity=2)), Result.OK),
        ((V(budget=6000, affinity=1), V(budget=6000, affinity=2), V(budget=8100)), Result.DENIED),
        ((V(budget=10_001),), Result.INVALID),
        ((V(budget=0),), Result.INVALID),
        ((V(affinity=4),), Result.NOT_FOUND),
    ],
)
def test_admission_of_rtds(vcpus_: tuple[V, ...], last: Result) -> None:
    *others, result = Machine(RTDS_, 2, vcpus_).start()
    assert set(others) <= {Result.OK} and result == last


def test_rtds_has_no_periodic_timer() -> None:
    """A sleeping machine stays asleep; one vCPU with all of a CPU is interrupted at its periods only."""
    Machine(RTDS_, 2, (V(kind=Kind.BURSTS, work=(100, 100), sleep=(SECOND, SECOND)),)).run(10 * SECOND)
    assert sim.sim_picks() < 50
    Machine(RTDS_, 1, (V(period=100_000, budget=100_000),)).run(10 * SECOND)
    assert sim.sim_picks() < 110


# ---- arinc653 -----------------------------------------------------------------------------------------------------------


def test_the_frame_is_exact() -> None:
    first = V(windows=((0, 0, 2000), (0, 5000, 1000)))
    second = V(windows=((0, 2000, 3000),))
    third = V(windows=((1, 1000, 9000),))
    machine = Machine(ARINC_, 2, (first, second, third))
    assert set(machine.start()) == {Result.OK}
    sim.sim_run(1, False)
    begin = sim.sim_frame_begin()
    for step in range(40_000 // 250):
        at = (int(sim.SIM.now) - begin) % 10_000
        where = [int(sim.sim_where(i)) for i in range(3)]
        nowhere = 0xFFFF_FFFF
        assert where[0] == (0 if at < 2000 or 5000 <= at < 6000 else nowhere), at
        assert where[1] == (0 if 2000 <= at < 5000 else nowhere), at
        assert where[2] == (1 if 1000 <= at < 10_000 else nowhere), at
        sim.sim_run(250, True)


def test_windows_are_exact_in_the_long_run() -> None:
    vcpus_ = (V(windows=((0, 0, 2000), (0, 5000, 1000))), V(windows=((0, 2000, 3000),)), V(windows=((0, 6000, 1), (1, 1000, 4000))))
    got = Machine(ARINC_, 2, vcpus_).run(10 * SECOND)
    assert got == pytest.approx([0.3, 0.3, 0.4001], abs=0.0003)


def test_a_sleeping_partition_keeps_its_window_empty() -> None:
    sleeper = V(windows=((0, 0, 5000),), kind=Kind.BURSTS, work=(100, 100), sleep=(4000, 4000))
    got = Machine(ARINC_, 1, (sleeper, V(windows=((0, 5000, 5000),)))).run(5 * SECOND, True)
    assert got[1] == pytest.approx(0.5, abs=0.001)
    assert 0.005 < got[0] < 0.03


@pytest.mark.parametrize(
    ("vcpus_", "last"),
    [
        ((V(windows=((0, 0, 10_000),)),), Result.OK),
        ((V(windows=((0, 0, 10_001),)),), Result.INVALID),
        ((V(windows=((0, 9_000, 1_001),)),), Result.INVALID),
        ((V(windows=((0, 10_000, 1),)),), Result.INVALID),
        ((V(windows=((0, 0, 0),)),), Result.INVALID),
        ((V(),), Result.INVALID),
        ((V(windows=((2, 0, 10),)),), Result.NOT_FOUND),
        ((V(windows=((1, 0, 10),), affinity=1),), Result.NOT_FOUND),
        ((V(windows=((0, 0, 10),)), V(windows=((0, 9, 10),))), Result.BUSY),
        ((V(windows=((0, 0, 10),)), V(windows=((0, 10, 10),))), Result.OK),
        ((V(windows=((0, 0, 10),)), V(windows=((1, 0, 10),))), Result.OK),
        ((V(windows=((0, 0, 10), (1, 9, 10))),), Result.BUSY),
        ((V(windows=((0, 0xFFFF_FFFF, 0xFFFF_FFFF),)),), Result.INVALID),
    ],
)
def test_admission_of_arinc653(vcpus_: tuple[V, ...], last: Result) -> None:
    *others, result = Machine(ARINC_, 2, vcpus_).start()
    assert set(others) <= {Result.OK} and result == last
