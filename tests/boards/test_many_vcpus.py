"""Big virtual machines: 128 vCPUs with Debian, 512 with a guest of ours, on four CPUs. One image is for both: the largest that Kconfig allows."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.boards.test_configurations import configure
from tests.boards.test_debian import PROMPT, ask, power_off
from tests.conftest import Boot
from xenarm.tools import build
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.machine import MIB, DomainSpec, ModuleKind, ModuleSpec
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.run import debian_domain

MOST = 512
SECONDS = 300
CPUS = 4


@dataclass(frozen=True)
class Big:
    """The hypervisor, and the guest `crowd` with as many stacks."""

    hypervisor: Hypervisor
    crowd: Path

    def domain(self, cpus: int) -> DomainSpec:
        return DomainSpec("crowd", 32 * MIB // 1024, (ModuleSpec(ModuleKind.KERNEL, self.crowd),), cpus)


@pytest.fixture(scope="module")
def big(xenarm: Hypervisor, tmp_path_factory: pytest.TempPathFactory) -> Big:
    room = tmp_path_factory.mktemp("big")
    config = configure(room / "config", {"MAX_DOMAIN_CPUS": str(MOST), "MAX_VCPUS": str(MOST)})
    for job in (build.Job(build.HYPERVISOR, room / "xenarm"), build.Job("guests.crowd", room / "crowd")):
        build.compile_job(DEFAULT_BOARD, job, config)
    return Big(replace(xenarm, image=room / "xenarm", bootargs="sched=credit2"), room / "crowd")


@pytest.mark.parametrize("cpus", [MOST, 20])
def test_every_vcpu_gets_every_sgi_once(boot: Boot, big: Big, cpus: int) -> None:
    """Started by PSCI, 512 in two regions of redistributors; SGIs to one, to sixteen, to all others, and to affinities and ranges that nobody has."""
    with boot(big.hypervisor, big.domain(cpus), cpus=CPUS, gic=3) as session:
        said = session.console.expect(r"crowd end, (\d+) good, (\d+) bad", SECONDS)
        text = session.console.text()
        assert not re.findall(r"crowd (\S+ BAD: [^\r\n]*)", text)
        assert (int(said[1]), int(said[2])) == (12, 0)
        assert f"crowd of {cpus} CPUs, {1 if cpus <= 128 else 2} regions of redistributors" in text
        session.wait_off(30)


def test_a_vcpu_costs_memory_only_where_it_is(boot: Boot, big: Big) -> None:
    """The image that could have 512 says what is free with 20 and with 512: a page for each vCPU and little beside."""
    free = {}
    for cpus in (20, MOST):
        with boot(big.hypervisor, big.domain(cpus), cpus=CPUS, gic=3) as session:
            session.console.expect(rf"crowd: {32 * MIB // 1024} KiB, {cpus} CPUs", SECONDS)
            free[cpus] = free_kib(session.console.text())
    assert (MOST - 20) * 4 <= free[20] - free[MOST] <= (MOST - 20) * 4 + 64


def test_debian_with_128_vcpus(boot: Boot, big: Big) -> None:
    """Its kernel brings up all of them and they are there for its programs; each runs something."""
    with boot(big.hypervisor, debian_domain(128, 512, bootargs="quiet"), cpus=CPUS, gic=3, memory_mib=1536) as session:
        console = session.console
        console.expect(PROMPT, SECONDS)
        ask(console, "nproc", r"\n128\r")
        ask(console, "cat /sys/devices/system/cpu/online", r"\n0-127\r")
        ask(console, "grep -c ^processor /proc/cpuinfo", r"\n128\r")
        ask(console, "for i in $(seq 0 127);do taskset -c $i true || echo n''o $i;done;echo al''l", r"\nall\r", SECONDS)
        ask(console, "awk '/arch_timer/{for(i=2;i<130;i++)n+=$i>0;print n,\"ti\"\"cked\"}' /proc/interrupts", r"\n128 ticked\r")
        power_off(session, big.hypervisor)
