"""Machines with many CPUs: ThunderX's own image, for 48 of them, on QEMU's virt machine, whose GICv3 has as many in clusters of sixteen too."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.boards.test_many_vcpus import ONE_THREAD
from tests.boards.test_tracing import say_trace
from tests.conftest import Boot
from xenarm.tools import build, doctor, kconfig
from xenarm.tools.bench import idle_guest
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import SWITCH_INPUT, Hypervisor
from xenarm.tools.layout import machine_dtb
from xenarm.tools.machine import KIB, MIB, Architecture, DomainSpec, Machine, ModuleKind, ModuleSpec

pytestmark = pytest.mark.board("thunderx")

CPUS = 48
SECONDS = 120
GIC_OF_THUNDERX = 0x8010_0000_0000
WIDE = "neoverse-n1"
"""A CPU with 48 bits of machine addresses, as ThunderX's have: of QEMU's it is the smallest."""


@dataclass(frozen=True)
class Wide:
    """The image, and the guest `crowd` for as many CPUs."""

    hypervisor: Hypervisor
    crowd: Path

    def domain(self, cpus: int) -> DomainSpec:
        return DomainSpec("crowd", 32 * MIB // KIB, (ModuleSpec(ModuleKind.KERNEL, self.crowd),), cpus)


@pytest.fixture(scope="module")
def wide(xenarm: Hypervisor, tmp_path_factory: pytest.TempPathFactory) -> Wide:
    doctor.provide("test")
    room = tmp_path_factory.mktemp("wide")
    config = room / "config"
    kconfig.changed("thunderx", {}, config)
    for job in (build.Job(build.HYPERVISOR, room / "xenarm"), build.Job("guests.crowd", room / "crowd")):
        build.compile_job("thunderx", job, config)
    return Wide(replace(xenarm, image=room / "xenarm", gic=3), room / "crowd")


@pytest.mark.parametrize("scheduler", ["null", "credit2"])
def test_every_cpu_runs_a_vcpu_that_gets_every_sgi(boot: Boot, wide: Wide, scheduler: str) -> None:
    """One vCPU for each CPU: started by PSCI, and each sends to the others, over clusters of CPUs."""
    hypervisor = replace(wide.hypervisor, bootargs=f"sched={scheduler}")
    with boot(hypervisor, wide.domain(CPUS), cpus=CPUS, extra=ONE_THREAD) as session:
        said = session.console.expect(r"crowd end, (\d+) good, (\d+) bad", SECONDS)
        text = session.console.text()
        assert not re.findall(r"crowd (\S+ BAD: [^\r\n]*)", text)
        assert (int(said[1]), int(said[2])) == (14, 0)
        assert f"processors: {CPUS} of at most {CPUS}" in text
        session.wait_off(SECONDS)


def test_the_last_cpu_answers_to_keys_and_is_traced(boot: Boot, wide: Wide, scratch: Path) -> None:
    """Requests to CPUs and the trace's news are sets with a bit for each CPU."""
    guest = (ModuleSpec(ModuleKind.KERNEL, idle_guest(scratch, Architecture.ARM64)),)
    last, ninth = (DomainSpec(f"on{cpu}", 32 * MIB // KIB, guest, properties={"hard-affinity": str(cpu)}) for cpu in (CPUS - 1, 8))
    hypervisor = replace(wide.hypervisor, bootargs="sched=credit2 trace=domain")
    with boot(hypervisor, last, ninth, cpus=CPUS, extra=ONE_THREAD) as session:
        console = session.console
        console.expect(r"\] start\b", SECONDS)
        for wanted in ("on8", "the hypervisor"):
            console.send(SWITCH_INPUT)
            console.expect(f"input goes to {wanted}", SECONDS)
        for key, wanted in (("d", "pc [0-9a-f]{16}"), ("t", "counter 0x[0-9a-f]+")):
            console.send(key)
            said = {console.expect(rf"cpu (\d+): domain on\d+ vcpu 0: {wanted}", SECONDS)[1] for _ in range(2)}
            assert said == {b"8", b"47"}, key
        console.send("p0u0")
        console.expect("domain on47 goes on", SECONDS)
        trace = say_trace(session)
    assert set(trace.samples) == set(range(CPUS)), "some CPU has taken no notice of what is traced"


def test_registers_above_128_tib_are_mapped(boot: Boot, wide: Wide, scratch: Path) -> None:
    """There is nothing on QEMU's bus there: the bus, and not a table, is what says no."""
    tree = Tree(machine_dtb(Machine(replace(wide.hypervisor.machine, cpu=WIDE), wide.hypervisor.image, ())))
    high = GIC_OF_THUNDERX >> 32
    tree.set_words("/intc@8000000", "reg", high, 0, 0, 0x1_0000, high, 0x8000_0000, 0, 0x60_0000)
    with boot(wide.hypervisor, cpu=WIDE, dtb=tree.blob()) as session:
        session.console.expect(rf"{GIC_OF_THUNDERX + 0xFFE8:#x}", SECONDS)
