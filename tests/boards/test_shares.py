"""What guests measure of their own share of the CPUs: by weight, by cap, equal, by deadline, by window, and undisturbed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pytest

from tests.boards.loads import MEMORY_MIB, SHIFT, Load, Measured, measure, measured, run
from tests.conftest import FIRST_TARGET, TARGETS, on_first_target
from tests.guests.conftest import OwnGuest, own_guest
from tests.xenarm import sched_simulator as sim
from tests.xenarm.sched_simulator import CREDIT2_, RR_
from tests.xenarm.test_sched import Machine, V, fair
from xenarm.core.sched.state import ALL_CPUS
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.machine import KIB

__all__ = ["own_guest"]

LONGEST_GAP_NS = 20_000_000  # an equal's turn, twice
WITHIN = 0.02  # of the share
SWITCH_NS = 1500 << SHIFT  # two ways through a trap, the choice and the switch
COUNTER_NS = 16
BLOCK_NS = 1_100  # with shift=0
LONG, SHORT = 10, 2  # seconds
TABLES_KIB = 64  # a domain's pool is smaller
NAMES = "abcdefgh"


def work(results: dict[str, list[Measured]]) -> list[int]:
    """Blocks of each domain."""
    return [sum(vcpu.work for vcpu in vcpus) for vcpus in results.values()]


def shares(results: dict[str, list[Measured]]) -> list[float]:
    """Of each domain, of all that was done."""
    blocks = work(results)
    return [count / sum(blocks) for count in blocks]


def close(found: Sequence[float], wanted: Sequence[float], within: float = WITHIN) -> bool:
    return all(abs(f - w) <= within * w for f, w in zip(found, wanted, strict=True))


@dataclass(frozen=True)
class Case:
    """Domains that never sleep, of one vCPU for each of `cpus` of theirs."""

    sched: str
    cpus: int
    weights: tuple[int, ...]
    vcpus: int = 1
    bound: tuple[str, ...] = ()  # hard-affinity
    seconds: float = SHORT

    def loads(self) -> list[Load]:
        loads = []
        for i, weight in enumerate(self.weights):
            properties: dict[str, Any] = {"xen,sched-weight": weight}
            if self.bound:
                properties["hard-affinity"] = self.bound[i]
            loads.append(Load(NAMES[i], cpus=self.vcpus, properties=properties))
        return loads

    def simulated(self) -> list[float]:
        """The same in the simulator."""
        which = {"credit2": CREDIT2_, "rr": RR_}[self.sched]
        vcpus = []
        for i, weight in enumerate(self.weights):
            affinity = sum(1 << int(cpu) for cpu in self.bound[i].split(",")) if self.bound else ALL_CPUS
            vcpus += [V(weight=weight, affinity=affinity, domain=i * self.vcpus)] * self.vcpus
        got = Machine(which, self.cpus, tuple(vcpus)).run(int(self.seconds * sim.HZ))
        domains = [sum(got[i * self.vcpus : (i + 1) * self.vcpus]) for i in range(len(self.weights))]
        return [share / sum(domains) for share in domains]


CASES: dict[str, tuple[Case, list[float]]] = {
    "credit2, 1:2:4 on one CPU": (Case("credit2", 1, (256, 512, 1024), seconds=LONG), [1 / 7, 2 / 7, 4 / 7]),
    "credit2, 1:2:4 with two vCPUs each on two CPUs": (Case("credit2", 2, (256, 512, 1024), 2, seconds=LONG), [1 / 7, 2 / 7, 4 / 7]),
    "credit2, a weight above one CPU": (Case("credit2", 2, (256, 512, 1024)), [x / 2 for x in fair((256, 512, 1024), 2)]),
    "credit2, bound to CPUs": (Case("credit2", 2, (256, 256, 256), bound=("0", "0", "1")), [1 / 4, 1 / 4, 1 / 2]),
    "credit2, eight": (Case("credit2", 1, (256,) * 8), [1 / 8] * 8),
    "rr, three on one CPU": (Case("rr", 1, (1, 2, 4), seconds=LONG), [1 / 3] * 3),
    "rr, three on two CPUs": (Case("rr", 2, (256, 256, 256)), [1 / 3] * 3),
}


EVERYWHERE = ("credit2, a weight above one CPU", "rr, three on two CPUs")  # the others on the first of the machines alone


@pytest.mark.parametrize(("target", "case"), [(target, case) for target in TARGETS for case in CASES if target == FIRST_TARGET or case in EVERYWHERE], indirect=["target"])
def test_shares_follow_the_weights(target: Hypervisor, own_guest: OwnGuest, case: str) -> None:
    """And the simulator says the same."""
    machine, wanted = CASES[case]
    found = shares(measure(target, own_guest(target, "load"), machine.sched, *machine.loads(), name="shares", cpus=machine.cpus, seconds=machine.seconds))
    assert close(found, wanted), found
    assert close(found, machine.simulated(), 2 * WITHIN), (found, machine.simulated())


@on_first_target
def test_caps_hold(target: Hypervisor, own_guest: OwnGuest) -> None:
    """A quarter of a CPU, half a CPU over two vCPUs, and one that has no cap and takes what is left."""
    loads = (
        Load("a", properties={"xen,sched-cap": 25}),
        Load("b", cpus=2, properties={"xen,sched-cap": 50, "xen,sched-weight": 1024}),
        Load("c"),
    )
    found = shares(measure(target, own_guest(target, "load"), "credit2", *loads, name="caps", seconds=SHORT))
    assert close(found, [0.25, 0.5, 0.25]), found


@on_first_target
def test_sleepers_have_what_they_want_and_the_others_share_the_rest(target: Hypervisor, own_guest: OwnGuest) -> None:
    """Three eighths of the CPU are wanted, two fifths would be due; the rest goes 1:2."""
    loads = (
        Load("a"),
        Load("b", properties={"xen,sched-weight": 512}),
        Load("sleeper", "doze", "work=3000 sleep=5000", properties={"xen,sched-weight": 512}),
    )
    a, b, sleeper = shares(measure(target, own_guest(target, "load"), "credit2", *loads, name="sleepers", seconds=SHORT))
    assert close([b / a], [2])
    assert 0.35 <= sleeper <= 0.375, sleeper


def server(name: str, period: int, budget: int, work: float = 0.98, mode: str = "jobs", extra: int = 0) -> Load:
    """A domain with a budget in each period, and a job of so much of it."""
    properties = {"xen,sched-period-us": period, "xen,sched-budget-us": budget, "xen,sched-extratime": extra}
    return Load(name, mode, f"period={period} work={int(budget * work)}", properties=properties)


SERVERS = (server("a", 10_000, 3_000), server("b", 20_000, 7_000), server("c", 7_000, 2_100))  # 95 % of a CPU
HOG = server("hog", 10_000, 500, mode="spin", extra=1)  # the rest, and whatever nobody needs


@pytest.mark.parametrize(
    ("target", "others"), [*(pytest.param(target, (), id=f"{target}-alone") for target in TARGETS), pytest.param(FIRST_TARGET, (HOG,), id="beside one that takes all it can get")],
    indirect=["target"],
)
def test_deadlines_are_met_at_95_per_cent(target: Hypervisor, own_guest: OwnGuest, others: tuple[Load, ...]) -> None:
    seconds = LONG if others else SHORT
    results = measure(target, own_guest(target, "load"), "rtds", *SERVERS, *others, name="deadlines", seconds=seconds)
    for load, period in zip(SERVERS, (10, 20, 7)):
        (vcpu,) = results[load.name]
        assert vcpu.misses == 0, (load.name, vcpu)
        assert vcpu.jobs == seconds * 1000 // period


@on_first_target
def test_who_asks_for_more_than_its_budget_misses_alone(target: Hypervisor, own_guest: OwnGuest) -> None:
    """The measurement can fail, and the others do not."""
    greedy = server("b", 20_000, 7_000, work=1.1)
    results = measure(target, own_guest(target, "load"), "rtds", SERVERS[0], greedy, SERVERS[2], name="greedy", seconds=SHORT)
    assert [results[name][0].misses == 0 for name in "abc"] == [True, False, True], results


WINDOWS = {"a": (0, 0, 2_000), "b": (0, 2_000, 3_000), "c": (0, 6_000, 4_000)}  # CPU, offset, length in us
FRAME_US = 10_000


def test_windows_are_exact(target: Hypervisor, own_guest: OwnGuest) -> None:
    """To a block at either end, as which guests see the time, and a switch: an instruction is 1 ns here."""
    loads = [Load(name, arguments=f"frame={FRAME_US}", properties={"xen,arinc653-windows": window}) for name, window in WINDOWS.items()]
    chosen = {"xen,arinc653-major-frame-us": FRAME_US}
    results = measure(target, own_guest(target, "load"), "arinc653", *loads, name="windows", seconds=0.5, shift=0, chosen=chosen)
    bound = 2 * BLOCK_NS + (SWITCH_NS >> SHIFT)
    for name, (_, offset, length) in WINDOWS.items():
        (vcpu,) = results[name]
        assert vcpu.runs >= 48
        assert length * 1000 - bound <= vcpu.shortest <= vcpu.longest <= length * 1000 + BLOCK_NS, (name, vcpu)
        assert vcpu.earlier + vcpu.later <= bound, (name, vcpu)
        after_a = (vcpu.phase - results["a"][0].phase) % (FRAME_US * 1000)
        assert min(abs(after_a - offset * 1000), abs(after_a - offset * 1000 - FRAME_US * 1000)) <= bound, (name, after_a)


def test_null_has_no_tick(target: Hypervisor, own_guest: OwnGuest) -> None:
    """No instruction of the hypervisor's comes between a guest's: all its blocks take the same time, but for the counter's step and a branch."""
    results = measure(target, own_guest(target, "load"), "null", Load("a"), name="null", seconds=SHORT)
    (vcpu,) = results["a"]
    assert vcpu.gap == 0 and vcpu.runs == 0
    assert vcpu.slowest_block - vcpu.quickest <= COUNTER_NS + (32 << SHIFT), vcpu


@on_first_target
def test_null_pins(target: Hypervisor, own_guest: OwnGuest) -> None:
    """Each has half of what the machine does: QEMU turns from one CPU to the other."""
    results = measure(target, own_guest(target, "load"), "null", Load("a"), Load("b"), name="pinned", seconds=SHORT, cpus=2)
    assert close(shares(results), [0.5, 0.5])
    assert all(vcpus[0].gap == 0 for vcpus in results.values())


FLOODS = ("masked", "console", "vgic", "psci", "hypercalls")


@pytest.fixture(scope="module")
def beside_equal(target: Hypervisor, own_guest: OwnGuest) -> int:
    """What a domain does in a second beside another one that only computes."""
    return work(measure(target, own_guest(target, "load"), "credit2", Load("victim"), Load("other"), name="equal", seconds=1))[0]


@on_first_target
@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_takes_nothing_but_its_own_share(target: Hypervisor, own_guest: OwnGuest, beside_equal: int, flood: str) -> None:
    """A tight loop with interrupts masked; a console, distributor, PSCI and hypercall flood: the hypervisor's work for it is in its share."""
    results = measure(target, own_guest(target, "load"), "credit2", Load("victim"), Load("bad", flood), name=f"flood-{flood}", seconds=1)
    victim, bad = work(results)
    assert bad > 0
    assert close([victim], [beside_equal], 0.01), (victim, beside_equal)


def test_four_floods_at_once(target: Hypervisor, own_guest: OwnGuest, beside_equal: int) -> None:
    """By weight the one has as much as they have together."""
    bad = [Load(flood, flood) for flood in FLOODS[1:]]
    victim = Load("victim", properties={"xen,sched-weight": 4 * 256})
    results = measure(target, own_guest(target, "load"), "credit2", victim, *bad, name="floods", seconds=1)
    assert close([work(results)[0]], [beside_equal]), (work(results), beside_equal)


@on_first_target
def test_a_thousand_lives_take_nothing_from_another(target: Hypervisor, own_guest: OwnGuest, beside_equal: int) -> None:
    """Each ends by SYSTEM_RESET at a random moment of random floods. The memory that is free stays the same, and the other has its share."""
    loads = (Load("victim"), Load("phoenix", "lives", "lives=1000 seed=5", cpus=2))
    text = run(target, own_guest(target, "load"), "credit2", *loads, name="lives", seconds=3)
    assert "(phoenix) load: end of life 1000\n" in text
    free = [int(kib) for kib in re.findall(r"phoenix: restart \d+, reason REBOOT, (\d+) KiB of memory free", text)]
    steps = [kib for kib, _ in groupby(free)]
    assert free.count(steps[0]) >= 2 and steps == sorted(set(steps)), free  # it never falls, and rises as the victim's tables and RAM come back
    assert steps[-1] - steps[0] <= MEMORY_MIB * KIB + TABLES_KIB, free
    (victim,) = measured(text, *loads)["victim"]
    assert victim.work >= 0.98 * 3 * beside_equal * 2 / 3, victim  # a third: the other has two vCPUs, of a weight each
    assert victim.gap <= LONGEST_GAP_NS, victim
