"""The simulator with the real schedulers on compiled engines: the same digests everywhere; and what a pick costs in instructions."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

import pytest
import unicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from unicorn import arm64_const

from freestanding import functions
from tests.engines.engines import EmulatedEngine, Unit
from tests.xenarm import sched_simulator as sim
from tests.xenarm.sched_simulator import ARINC_, CREDIT2_, NULL, RR_, RTDS_, Kind
from tests.xenarm.test_sched import MS, SECOND, Machine, V, machines
from xenarm.arm.instructions import cpu_relax, wait_for_event

ENGINES = ["python", "host-O2", "host-ubsan", "aarch64"]
cpu_relax.templates.setdefault("host", "")  # a busy wait is one on any machine
wait_for_event.templates.setdefault("host", "")

FUNCTIONS = [f for f in vars(sim).values() if isinstance(f, functions.Function) and f.__name__.startswith("sim_")]
MIX = (
    V(weight=300, kind=Kind.BURSTS, work=(100, 5 * MS), sleep=(100, 5 * MS), period=10_000, budget=1000, windows=((0, 0, 1000),)),
    V(weight=77, period=5000, budget=1000, extratime=False, windows=((0, 1000, 1000), (1, 2000, 500))),
    V(weight=1000, cap=40, kind=Kind.YIELDS, work=(10, 2 * MS), affinity=3, windows=((1, 0, 2000),)),
    V(kind=Kind.PAUSED, sleep=(MS, 9 * MS), windows=((1, 5000, 5000),)),
    V(affinity=2, kind=Kind.JOBS, period=7000, budget=900, work=(300, 900), sleep=(7000, 7000), windows=((1, 3000, 1500),)),
)
MACHINES = {
    "null": Machine(NULL, 3, MIX[:1] + MIX[3:4] + MIX[1:2]),
    "rr": Machine(RR_, 2, MIX),
    "credit2": Machine(CREDIT2_, 2, MIX, delay=2),
    "credit2 in clusters": Machine(CREDIT2_, 3, MIX + MIX[:3], split=1),
    "rtds": Machine(RTDS_, 2, MIX, latency=3),
    "arinc653": Machine(ARINC_, 2, MIX),
}


@pytest.fixture(scope="module")
def unit() -> Iterator[Unit]:
    made = Unit(FUNCTIONS)
    made.prepare([name for name in ENGINES])
    yield made
    made.close()


@pytest.mark.parametrize("name", MACHINES)
def test_engines_agree(unit: Unit, name: str) -> None:
    """Picks, switches, what each vCPU got: all the same, and no rule is broken on any."""
    results: list[Any] = []
    for engine in ENGINES:
        call = unit.engine(engine).call
        results.append((MACHINES[name].start(call), call(sim.sim_run, SECOND, True)))
    assert all(result == results[0] for result in results), dict(zip(ENGINES, results, strict=True))


@pytest.mark.parametrize("name", [n for n in MACHINES if n != "null"])
def test_many_seconds_compiled(unit: Unit, name: str) -> None:
    machine = MACHINES[name]
    call = unit.engine("host-ubsan").call
    for seed in range(20):
        Machine(**{**machine.__dict__, "seed": seed}).start(call)
        call(sim.sim_run, 10 * SECOND, True)


@pytest.mark.parametrize("which", [NULL, RR_, CREDIT2_, RTDS_, ARINC_])
@settings(max_examples=200)
@given(data=st.data())
def test_run_queues_stay_sound_compiled(unit: Unit, which: int, data: st.DataObject) -> None:
    """As in CPython, for longer, with all checks and the sanitizer."""
    call = unit.engine("host-ubsan").call
    data.draw(machines(which)).start(call)
    call(sim.sim_run, 2 * SECOND, True)


# ---- what it costs ------------------------------------------------------------------------------------------------------

BUDGETS = {"null": (15, 15), "rr": (130, 130), "credit2": (170, 240), "rtds": (280, 280), "arinc653": (84, 124)}
"""Instructions of a pick, lock and checks included: of most that switch, and of the longest, which gives out credit or begins a frame."""


def count_pick(engine: EmulatedEngine, prefix: str, run: Any) -> list[int]:
    """Instructions of every call of the scheduler's pick while `run` runs."""
    symbols = engine.image.symbols
    [start] = {v for k, v in symbols.items() if k in (f"{prefix}_pick", f"{prefix}_{prefix}_pick", f"arinc653_{prefix}_pick")}
    counts: list[int] = []
    state = {"inside": False, "link": 0}

    def step(uc: Any, address: int, size: int, data: Any) -> None:
        if address == start:
            state["inside"], state["link"] = True, uc.reg_read(arm64_const.UC_ARM64_REG_X30)
            counts.append(0)
        elif state["inside"] and address == state["link"]:
            state["inside"] = False
        if state["inside"]:
            counts[-1] += 1

    engine.uc.ctl_flush_tb()
    hook = engine.uc.hook_add(unicorn.UC_HOOK_CODE, step)
    run()
    engine.uc.hook_del(hook)
    return counts


@pytest.mark.parametrize("name", BUDGETS)
def test_what_a_pick_costs(unit: Unit, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Two vCPUs that take turns on one CPU."""
    engine = unit.engine("aarch64")
    assert isinstance(engine, EmulatedEngine)
    which = list(BUDGETS).index(name)
    pair = (V(kind=Kind.YIELDS, work=(50, 50), windows=((0, 0, 5000),)), V(kind=Kind.YIELDS, work=(50, 50), windows=((0, 5000, 5000),)))
    Machine(which, 2 if which == NULL else 1, pair, ratelimit=0).start(engine.call)
    engine.call(sim.sim_run, 20 * MS, False)
    before = int(engine.call(sim.sim_switches))
    counts = count_pick(engine, "arinc" if name == "arinc653" else name, lambda: engine.call(sim.sim_run, 50 * MS, False))
    switched = int(engine.call(sim.sim_switches)) - before
    with capsys.disabled():
        print(f"\n{name}: {len(counts)} picks, {switched} switches: {median(counts):.0f} instructions, at most {max(counts)}")
    assert counts and median(counts) <= BUDGETS[name][0] and max(counts) <= BUDGETS[name][1]
