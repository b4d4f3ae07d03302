"""The driver of GICv2's kind on HiP04's controller and on the architecture's own, in the configuration of hip04-d01. `test_hip04.py` runs these."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from boards import BOARDS
from freestanding import View, fn, u32, u64, zeroed
from tests.xenarm.hip04_model import GICC, GICD, GICH, GICV2, HIP04, Controller, Kind
from xenarm.arm import instructions
from xenarm.config import CONFIG
from xenarm.core.addresses import HostPhys
from xenarm.core.domain import SLOTS
from xenarm.core.result import Result
from xenarm.core.sched.state import SCHED_CPUS
from xenarm.devicetree.reader import Fdt, FdtError, fdt_open
from xenarm.gic import v2
from xenarm.gic.context import vgic_load, vgic_save
from xenarm.gic.version import vgic_most_cpus
from xenarm.gic.controller import GIC, SGI_KICK, SGI_POST, SGI_STOP
from xenarm.gic.host import (
    gic_acknowledge,
    gic_cpu_init,
    gic_enable_spi,
    gic_end,
    gic_init,
    gic_kick,
    gic_most_cpus,
    gic_stop_others,
    gic_wake_others,
)
from xenarm.tools.dtb import Tree
from xenarm.tools.layout import source_dtb
from xenarm.tools.paths import BOARDS as SOURCES

UART = 413
ACTIVE_PRIORITIES = 0x0000_0110


@fn
def mapped(base: HostPhys, size: u64) -> u64:
    """Nothing is mapped here."""
    return u64(base)


setattr(v2, "mmu_map_small_device", mapped)

KINDS = {"hip04": HIP04, "architecture": GICV2}


def tree(kind: Kind) -> Fdt:
    """The board's tree; with the architecture's controller in the place of its own."""
    edited = Tree(source_dtb(SOURCES / BOARDS["hip04-d01"].tree))
    if kind is GICV2:
        edited.set_strings(f"/soc/interrupt-controller@{GICD:x}", "compatible", "arm,cortex-a15-gic")
    blob = edited.blob()
    made = zeroed(Fdt)
    assert fdt_open(made, View(blob, 0, len(blob))) == FdtError.NONE
    return made


def started(monkeypatch: pytest.MonkeyPatch, kind: Kind) -> Controller:
    """All CPUs of the machine have set up what is theirs."""
    model = Controller(kind)
    monkeypatch.setattr(instructions, "BUS", model)
    assert gic_init(tree(kind)) == Result.OK
    for cpu in range(kind.cpus):
        model.cpu = cpu
        assert gic_cpu_init(u32(cpu)) == Result.OK
    model.cpu = 0
    return model


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Controller]:
    yield started(monkeypatch, KINDS[request.param])


def test_room(model: Controller) -> None:
    assert CONFIG.MAX_CPUS == 16, "the board's configuration is for all of its CPUs"
    assert gic_most_cpus(u32(16)) == model.kind.cpus
    assert vgic_most_cpus(False, u32(16)) == 8, "domains see a GICv2"


def test_the_distributor(model: Controller) -> None:
    assert GIC.intids == model.kind.intids
    assert set(model.targets.values()) == {0}, "no shared interrupt goes anywhere"
    priorities = bytearray(b"\xa0" * model.kind.intids)
    priorities[GIC.maintenance_ppi] = 0xC0  # the least urgent
    assert model.priorities[: model.kind.intids] == priorities
    assert not model.enabled - set(range(32)) and model.control == 1


def test_a_shared_interrupt_reaches_one_cpu(model: Controller) -> None:
    last = model.kind.cpus - 1
    for intid in (32, 33, min(UART, model.kind.intids - 1)):
        before = dict(model.targets)
        gic_enable_spi(u32(intid), u32(last), True)
        assert model.reached(intid) == [last]
        assert {n for n in before if model.targets[n] != before[n]} == {intid}
        gic_enable_spi(u32(intid), u32(0), False)
        assert model.reached(intid) == [0]
    assert model.configuration[8] & 0xF == 0b1010, "edges"
    before = dict(model.targets)
    gic_enable_spi(u32(model.kind.intids), u32(0), True)
    assert model.targets == before, "there is no such interrupt"


def test_each_cpu_interrupts_each_other(model: Controller) -> None:
    for sender in range(model.kind.cpus):
        for cpu in range(model.kind.cpus):
            model.cpu = sender
            gic_kick(u32(cpu))
            assert model.signalled() == {cpu: {SGI_KICK: sender}}
            v2.v2_ring(u64(SCHED_CPUS[cpu].doorbell))
            assert model.signalled() == {cpu: {SGI_KICK: sender, SGI_POST: sender}}
            model.cpu = cpu
            for wanted in (SGI_KICK, SGI_POST):
                iar = gic_acknowledge()
                assert iar & 0x3FF == wanted and not model.deactivated
                gic_end(iar)
                assert model.dropped == model.deactivated == [iar], "what ends an SGI names its sender as GICC_IAR did"
                model.dropped.clear()
                model.deactivated.clear()
            assert gic_acknowledge() & 0x3FF == 0x3FF


def test_all_others(model: Controller) -> None:
    others = set(range(model.kind.cpus)) - {3}
    model.cpu = 3
    gic_wake_others()
    assert set(model.signalled()) == others
    for interface in model.interfaces:
        interface.sgis.clear()
    gic_stop_others(u32(model.kind.cpus), u32(3))
    assert model.signalled() == dict.fromkeys(others, {SGI_STOP: 3})


@pytest.mark.parametrize("used", [0, 1, 0b1010])
def test_a_vcpus_interface_comes_back_as_it_was(model: Controller, used: int) -> None:
    """Its list registers, of which the first has a way of its own, and its active priorities."""
    vcpu = SLOTS[0].vcpu
    vcpu.vgic.lr_used, vcpu.vgic.control = used, 1
    kept = {model.kind.lists + 4 * n: 0x1000_0000 | 40 + n for n in range(4) if used >> n & 1}
    model.own.virtual.update({**kept, model.kind.apr: ACTIVE_PRIORITIES, 8: 0xF800_0001})
    before = dict(model.own.virtual)
    assert not vgic_save(vcpu)
    assert all(model.own.virtual.get(at, 0) == 0 for at in kept)
    model.own.virtual.update({model.kind.apr: 0, 8: 0})
    vgic_load(vcpu)
    assert {at: value for at, value in model.own.virtual.items() if value} == {at: value for at, value in before.items() if value} | {0: 1}


def test_where_the_parts_are(model: Controller) -> None:
    assert (GIC.machine_gicd, GIC.machine_gicc, GIC.gich, GIC.maintenance_ppi) == (GICD, GICC, GICH, 25)
    assert (u64(GIC.gicv), GIC.gicv_size, GIC.list_registers) == (0xE0C0_6000, 0x2000, 4)
