"""CPUs of two kinds: whose they are. `test_socs.py` runs these in a configuration with CONFIG_MIXED_CPUS."""

from __future__ import annotations

import pytest

from freestanding import u32, u64, zeroed
from tests.xenarm.test_sched_params import clean, opened, said
from xenarm.core.result import Result
from xenarm.core.sched.params import SchedDomainParams, sched_domain_params, sched_refuse, sched_vcpu_params
from xenarm.core.sched.scheduler import SCHED, sched_domain_init, sched_init, sched_insert
from xenarm.core.sched.state import SCHED_CPUS, SchedDomain, SchedParams, SchedVcpu

__all__ = ["clean"]

A15, A7 = 0x413F_C0F2, 0x410F_C075
BIG_BOOTS = [A15] * 4 + [A7] * 4
LITTLE_BOOTS = [A7] + [A15] * 4 + [A7] * 3  # the CPU that boots is the first, the others come in the tree's order


def machine(kinds: list[int]) -> None:
    for cpu, kind in enumerate(kinds):
        SCHED_CPUS[cpu].kind = u64(kind)
    sched_init(u64((1 << len(kinds)) - 1), u64(1000))


def affinities(vcpus: int, domain: str = "", nodes: str = "") -> list[int]:
    """Of a domain's vCPUs; none, and a line said, when it is refused."""
    tree, node = opened(domain, nodes)
    d, found = zeroed(SchedDomainParams), []
    assert sched_domain_params(tree, node, u32(vcpus), d)
    for vcpu in range(vcpus):
        p = zeroed(SchedParams)
        if not sched_vcpu_params(tree, node, u32(vcpu), d, p):
            return []
        found.append(int(p.affinity & SCHED.cpus))
    return found


@pytest.mark.parametrize(("kinds", "first"), [(BIG_BOOTS, 0x0F), (LITTLE_BOOTS, 0xE1), ([A7] * 3, 0x07)])
def test_a_domain_that_asks_for_none_has_the_kind_that_boots(kinds: list[int], first: int) -> None:
    machine(kinds)
    assert affinities(2) == [first, first] and not said()


def test_a_domain_has_the_kind_that_it_names() -> None:
    """CPUs that there are not are of no kind."""
    machine(BIG_BOOTS)
    assert affinities(2, 'hard-affinity = "5-7,60";') == [0xE0, 0xE0]
    assert affinities(2, 'hard-affinity = "4-7";', 'v { compatible = "xen,vcpu"; id = <1>; hard-affinity = "6"; };') == [0xF0, 0x40]
    assert affinities(1, 'hard-affinity = "60";') == [0] and not said()


@pytest.mark.parametrize(
    ("domain", "nodes", "where"),
    [
        ('hard-affinity = "2-5";', "", "/chosen/guest@1"),
        ("", 'v { compatible = "xen,vcpu"; id = <1>; hard-affinity = "4"; };', "/chosen/guest@1/v"),
        ('hard-affinity = "6";', 'v { compatible = "xen,vcpu"; id = <1>; hard-affinity = "0"; };', "/chosen/guest@1/v"),
    ],
)
def test_a_domain_of_two_kinds_is_refused(domain: str, nodes: str, where: str) -> None:
    machine(BIG_BOOTS)
    assert not affinities(2, domain, nodes)
    assert said() == [f"guest does not start: {where}: hard-affinity makes the domain one of CPUs of different kinds; name CPUs of one kind"]


def test_a_kind_has_only_so_many_cpus() -> None:
    """With a CPU for each vCPU the fifth one finds none, while four of the other kind are idle; the line says how to have them."""
    machine(BIG_BOOTS)
    tree, node = opened()
    domain, results = zeroed(SchedDomain), []
    sched_domain_init(domain, u32(0), u32(0))
    for vcpu in range(5):
        p = zeroed(SchedParams)
        assert sched_vcpu_params(tree, node, u32(vcpu), zeroed(SchedDomainParams), p)
        results.append(sched_insert(zeroed(SchedVcpu), domain, u32(vcpu), p))
    assert results == [Result.OK] * 4 + [Result.NO_MEMORY]
    sched_refuse(tree, node, u32(4), Result.NO_MEMORY)
    assert said() == ["guest does not start: /chosen/guest@1: vcpu 4 by scheduler null: no CPU is left for it: ask for fewer cpus, or choose another scheduler, or CPUs of another kind by hard-affinity"]
