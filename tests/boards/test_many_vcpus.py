"""Big virtual machines: 512 vCPUs of a guest of ours on four CPUs, and what Debian makes of affinities. Debian with 128 is in test_debian.py."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.boards.test_debian import ONE_THREAD, PROMPT, ask, power_off
from tests.conftest import MOST_VCPUS, Boot
from xenarm.tools import build
from xenarm.tools.hypervisor import SWITCH_INPUT, Hypervisor
from xenarm.tools.machine import MIB, DomainSpec, ModuleKind, ModuleSpec, Value
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.run import debian_domain, own_domain

SECONDS = 600  # a minute does where nothing else runs
CPUS = 4


@dataclass(frozen=True)
class Big:
    """The hypervisor, and the guest `crowd` with as many stacks."""

    hypervisor: Hypervisor
    crowd: Path

    def domain(self, cpus: int, levels: tuple[int, ...] = ()) -> DomainSpec:
        properties: dict[str, Value] = {"xenarm,mpidr-levels": levels} if levels else {}
        return DomainSpec("crowd", 32 * MIB // 1024, (ModuleSpec(ModuleKind.KERNEL, self.crowd),), cpus, properties=properties)


@pytest.fixture(scope="module")
def big(xenarm_many: Hypervisor, tmp_path_factory: pytest.TempPathFactory) -> Big:
    crowd = tmp_path_factory.mktemp("big") / "crowd"
    build.compile_job(DEFAULT_BOARD, build.Job("guests.crowd", crowd), xenarm_many.image.with_name("config"))
    return Big(replace(xenarm_many, bootargs="sched=credit2"), crowd)


@pytest.mark.parametrize(
    ("cpus", "levels", "highest"),
    [
        (MOST_VCPUS, (64, 2, 2), (63, 1, 1, 1)),  # affinity 0 by four range selectors, and all four levels
        (40, (), (15, 2, 0, 0)),  # as Xen and KVM have it
        (20, (1, 4, 2), (0, 3, 1, 2)),  # a thread to a core, four to a cluster: no target list has two
        (12, (4,), (3, 2, 0, 0)),
    ],
)
def test_every_vcpu_gets_every_sgi_once(boot: Boot, big: Big, cpus: int, levels: tuple[int, ...], highest: tuple[int, ...]) -> None:
    """Started by PSCI, 512 in two regions of redistributors; SGIs to one, to target lists, to all others, and to affinities and ranges that nobody has."""
    with boot(big.hypervisor, big.domain(cpus, levels), cpus=CPUS, gic=3, extra=ONE_THREAD) as session:
        said = session.console.expect(r"crowd end, (\d+) good, (\d+) bad", SECONDS)
        text = session.console.text()
        assert not re.findall(r"crowd (\S+ BAD: [^\r\n]*)", text)
        assert (int(said[1]), int(said[2])) == (14, 0)
        assert "crowd affinities " + ", ".join(f"0 to {most}" for most in highest) in text
        assert f"crowd of {cpus} CPUs, {1 if cpus <= 128 else 2} regions of redistributors" in text
        session.wait_off(30)


def test_reports_of_512_vcpus_and_what_they_cost(boot: Boot, big: Big) -> None:
    """Each report has a line for every vCPU and loses none; a vCPU that is there takes a page, one that could be nothing more."""
    free = {}
    for cpus in (20, MOST_VCPUS):
        hello = own_domain(DEFAULT_BOARD, "hello", cpus)
        with boot(big.hypervisor, hello, cpus=CPUS, gic=3, extra=ONE_THREAD) as session:
            console = session.console
            console.expect("hello> ", SECONDS)
            console.send(SWITCH_INPUT)
            console.expect("input goes to the hypervisor", SECONDS)
            console.send("q")
            free[cpus] = int(console.expect(r"; (\d+) KiB of memory free; .*\b0 lost", SECONDS)[1])
            console.expect(rf"vcpu {cpus - 1} on cpu \d+: OFF", SECONDS)
            console.send("r")
            console.expect(rf"cpu \d+: hello vcpu {cpus - 1} OFF", SECONDS)
            text = console.text()
            assert re.findall(r"\]   vcpu (\d+) on cpu \d+: (?:OFF|ON)\r", text) == list(map(str, range(cpus)))
            assert re.findall(r"\] cpu \d+: hello vcpu (\d+) (?:OFF|ON) ", text) == list(map(str, range(cpus)))
            console.send("q")
            console.expect(r", 0 lost", SECONDS)
    assert (MOST_VCPUS - 20) * 4 <= free[20] - free[MOST_VCPUS] <= (MOST_VCPUS - 20) * 4 + 64


@pytest.mark.parametrize(("cpus", "levels", "features"), [(17, (32,), "16 PPIs, RSS"), (4, (1, 1, 2), "16 PPIs")])
def test_debian_finds_range_selectors_and_affinity_3(boot: Boot, big: Big, cpus: int, levels: tuple[int, ...], features: str) -> None:
    """Its kernel finds the range selectors, or affinity 3, and its CPUs, and wakes each: they compute, and call one another."""
    hypervisor = replace(big.hypervisor, bootargs="sched=credit2 bootscrub=0")
    debian = replace(debian_domain(cpus), properties={"xenarm,mpidr-levels": levels})
    with boot(hypervisor, debian, cpus=CPUS, gic=3, extra=ONE_THREAD) as session:
        console = session.console
        console.expect(PROMPT, SECONDS)
        ask(console, "nproc", rf"\n{cpus}\r")
        ask(console, f"for i in $(seq 0 {cpus - 1});do taskset -c $i true||echo $i;done;echo al''l", r"\nall\r", SECONDS)
        ask(console, f"awk '/IPI0/{{for(;i++<{cpus};)n+=$(i+1)>0;print n}}' /proc/interrupts", rf"\n{cpus}\r")
        ask(console, "dmesg | grep GICv3.fea", rf"GICv3 features: {features}\r")
        ask(console, "dmesg | grep -c no.RSS", r"\n0\r")  # "CPU0 can't SGI CPU16, no RSS"
        power_off(session, hypervisor)
