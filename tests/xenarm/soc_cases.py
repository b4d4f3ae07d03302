"""Every SoC's way to start CPUs and to end, against models of its registers. `test_socs.py` runs these in a configuration that has all of them.

What a model cannot see by itself, mapping, events and calls of the firmware, is put in the place of the hypervisor's before anything is rendered.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import unicorn
from unicorn import arm_const

from boards import BOARDS
from freestanding import View, external, fn, u64, usize, zeroed
from tests.boards.assembly import assemble
from tests.xenarm import soc_models as models
from xenarm.arm import instructions
from xenarm.arm32 import registers as cp15
from xenarm.core.addresses import HostPhys
from xenarm.devicetree.reader import Fdt, FdtError, fdt_open
from xenarm.soc import exynos5250, hip04, omap5, registers, table
from xenarm.soc.rcar_h2_secure import TWO_CLUSTERS
from xenarm.soc.registers import Started
from xenarm.tools.dtb import Tree
from xenarm.tools.layout import source_dtb
from xenarm.tools.paths import BOARDS as SOURCES

ENTRY = 0x4010_0044
CALLS: list[tuple[int, int]] = []


@fn
def mapped(base: HostPhys, size: u64) -> None:
    """Nothing is mapped here."""


@external("model_event")
def event() -> None:
    bus: Any = instructions.BUS
    bus.event()


@external("model_firmware")
def firmware(function: usize, a: usize, b: usize, c: usize) -> usize:
    bus: Any = instructions.BUS
    CALLS.append((int(function), int(a)))
    bus.allowed = True
    return usize(0)


setattr(registers, "mmu_map_device", mapped)
setattr(omap5, "send_event", event)
setattr(exynos5250, "host_call", firmware)


class Clock(dict[str, int]):
    """A millisecond passes with every look."""

    def get(self, name: str, default: int = 0) -> int:  # type: ignore[override]
        if name.startswith("cntpct"):
            self[name] = self.setdefault(name, 0) + 1000
        return super().get(name, default)


@pytest.fixture(autouse=True)
def time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    clock = Clock(cntfrq=1_000_000)
    monkeypatch.setattr(cp15, "MODEL", clock)
    CALLS.clear()
    table.CHOSEN.row = 0
    for chip in (exynos5250.CHIP, omap5.CHIP, table.sunxi.CHIP, table.rcar_h2.CHIP, table.restarts.CHIP, hip04.CHIP):
        for name in ("pmu", "entry", "wugen", "prm", "cpucfg", "prcm", "watchdog", "rst", "base", "sysctrl", "fabric", "area", "wrapper", "clusters", "restart"):
            if hasattr(chip, name):
                setattr(chip, name, 0)
    for number in range(2):
        table.rcar_h2.CHIP.apmus[number] = u64(0)
    yield


def tree(board: str, *more: tuple[str, str]) -> Fdt:
    edited = Tree(source_dtb(SOURCES / BOARDS[board].tree))
    for path, compatible in more:
        edited.set_strings(path, "compatible", compatible)
    return opened(edited)


def opened(edited: Tree) -> Fdt:
    blob = edited.blob()
    made = zeroed(Fdt)
    assert fdt_open(made, View(blob, 0, len(blob))) == FdtError.NONE
    return made


def begin(model: models.SocModel, fdt: Fdt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "BUS", model)
    table.soc_init(fdt)


def start(model: models.SocModel, fdt: Fdt, mpidr: int) -> int | None:
    """Start a CPU, as `smp.py` does: where it began."""
    result = table.soc_start(fdt, u64(mpidr), u64(ENTRY))
    if result == Started.REFUSED:
        assert not model.running
        return None
    if result == Started.WAKE:
        model.interrupt()
    return model.running.get(mpidr & 0xFF)


@pytest.mark.parametrize("powered", [False, True])
def test_exynos5250(monkeypatch: pytest.MonkeyPatch, powered: bool) -> None:
    model, fdt = models.Exynos5250(powered=powered), tree("arndale")
    begin(model, fdt, monkeypatch)
    assert model.values[0x101C_0240] == 1 << 8, "the CPUs' counter runs"
    assert start(model, fdt, 2) is None
    assert start(model, fdt, 1) == ENTRY
    table.soc_restart()
    assert model.ended == "restart" and not CALLS


def test_exynos5250_with_secure_firmware(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry is elsewhere, and the monitor lets the CPU go."""
    model, fdt = models.Exynos5250(secure=True), tree("arndale", ("/firmware", "samsung,secure-firmware"))
    begin(model, fdt, monkeypatch)
    assert start(model, fdt, 1) == ENTRY
    assert CALLS == [(0xFFFF_FFFC, 1)]


@pytest.mark.parametrize(("clock", "hertz"), [(1, 12e6), (2, 13e6), (4, 19.2e6), (5, 26e6), (6, 27e6), (7, 38.4e6)])
def test_omap5(monkeypatch: pytest.MonkeyPatch, clock: int, hertz: float) -> None:
    model, fdt = models.Omap5(clock), tree("omap5-uevm")
    begin(model, fdt, monkeypatch)
    assert model.counts(int(hertz)) == pytest.approx(6_144_000)
    assert model.values[0x4824_3210] & ~0xFFF == 0xA000_0000, "other bits stay"
    assert start(model, fdt, 1) == ENTRY
    assert start(models.Omap5(), fdt, 3) is None
    table.soc_restart()
    assert model.ended == "restart"


def test_omap5_with_a_clock_that_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counter stays what the firmware made it."""
    model = models.Omap5(3)
    begin(model, tree("omap5-uevm"), monkeypatch)
    assert model.values[0x4824_3210] == 0xA000_0001


@pytest.mark.parametrize(("board", "made", "cpus"), [("cubieboard2", models.a20, [1]), ("colombus", models.a31, [1, 2, 3])])
def test_allwinner(monkeypatch: pytest.MonkeyPatch, board: str, made: Any, cpus: list[int]) -> None:
    model, fdt = made(), tree(board)
    begin(model, fdt, monkeypatch)
    assert table.soc_from_reset()
    for cpu in cpus:
        assert start(model, fdt, cpu) == ENTRY
    assert sorted(model.running) == cpus
    table.soc_restart()
    assert model.ended == "restart"


@pytest.mark.parametrize("boots", [0, 1])
def test_rcar_h2(monkeypatch: pytest.MonkeyPatch, boots: int) -> None:
    """Whichever cluster boots, the other one gets power, and all CPUs start, each for itself."""
    model, fdt = models.RcarH2(boots), tree("lager")
    cp15.MODEL["mpidr"] = 0x8000_0000 | boots << 8
    begin(model, fdt, monkeypatch)
    assert table.soc_from_reset() and model.powered == [True, True]
    others = [cluster << 8 | cpu for cluster in range(2) for cpu in range(4) if (cluster, cpu) != (boots, 0)]
    for mpidr in others:
        assert table.soc_start(fdt, u64(mpidr), u64(ENTRY + mpidr)) == Started.CALLED
        assert model.running[mpidr] == ENTRY + mpidr
    assert sorted(model.running) == others
    for mpidr in (4, 0x104, 0x200):
        assert table.soc_start(fdt, u64(mpidr), u64(ENTRY)) == Started.REFUSED


def test_rcar_h2_without_power_for_the_other_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its CPUs stay off, the others start."""
    model, fdt = models.RcarH2(refusals=1000), tree("lager")
    begin(model, fdt, monkeypatch)
    assert start(model, fdt, 0x101) is None
    assert start(model, fdt, 1) == ENTRY


@pytest.mark.parametrize("boots", [0, 1])
def test_rcar_h2_restarts_by_its_watchdog(monkeypatch: pytest.MonkeyPatch, boots: int) -> None:
    """The cluster that boots finds the boot ROM again, and not what other CPUs began at."""
    model, fdt = models.RcarH2(boots), tree("lager")
    cp15.MODEL["mpidr"] = 0x8000_0000 | boots << 8
    begin(model, fdt, monkeypatch)
    table.soc_restart()
    assert model.ended == "restart"


class Cci:
    """CCI-400 (DDI 0470): snoop control of slave interfaces 3 and 4, a change of which is pending for a while."""

    def __init__(self) -> None:
        self.snoops, self.pending = {0x4000: 0xC000_0000, 0x5000: 0xC000_0000}, 0

    def read(self, emulator: Any, offset: int, size: int, data: Any) -> int:
        if offset == 0xC:
            self.pending = max(self.pending - 1, 0)
            return int(self.pending > 0)
        return self.snoops[offset]

    def write(self, emulator: Any, offset: int, size: int, value: int, data: Any) -> None:
        self.snoops[offset], self.pending = value, 4


def test_rcar_h2s_clusters_are_coherent(tmp_path: Path) -> None:
    """What a CPU of its does out of reset, in secure state, before its caches are on."""
    code, cci, at = assemble(TWO_CLUSTERS, "armv7-none-eabi", tmp_path), Cci(), 0x4000_0000
    emulator = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_ARM)
    emulator.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_A15)
    emulator.mem_map(at, 0x1000)
    emulator.mem_write(at, code)
    emulator.mmio_map(0xF009_0000, 0x1_0000, cci.read, None, cci.write, None)
    emulator.emu_start(at, at + len(code), count=1000)
    assert emulator.reg_read(arm_const.UC_ARM_REG_PC) == at + len(code)
    assert cci.snoops == {0x4000: 0xC000_0003, 0x5000: 0xC000_0003} and cci.pending == 0


def test_vexpress(monkeypatch: pytest.MonkeyPatch) -> None:
    model, fdt = models.Vexpress(), tree("vexpress-a15")
    begin(model, fdt, monkeypatch)
    assert start(model, fdt, 1) == ENTRY
    table.soc_off()
    assert model.ended == "off"
    table.soc_restart()
    assert model.ended == "restart"


def test_ecx2000(monkeypatch: pytest.MonkeyPatch) -> None:
    model, fdt = models.SocModel(), tree("midway")
    for at in (0xFFF3_CF00, 0xFFF3_C200):
        model.register(at)
    begin(model, fdt, monkeypatch)
    assert start(model, fdt, 1) is None, "that is PSCI's"
    table.soc_off()
    assert model.values == {0xFFF3_CF00: 3, 0xFFF3_C200: 1}
    table.soc_restart()
    assert model.values == {0xFFF3_CF00: 2, 0xFFF3_C200: 1}


def test_xgene(monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.SocModel()
    model.register(0x1700_0014)
    begin(model, tree("xgene"), monkeypatch)
    table.soc_restart()
    assert model.values[0x1700_0014] == 1


def test_bcm2711(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every store has the password in its upper byte; the kind of reset replaces what was there, other bits stay."""
    model = models.SocModel()
    model.register(0xFE10_0024)
    model.register(0xFE10_001C, 0x0000_0112)
    begin(model, tree("raspi4"), monkeypatch)
    table.soc_restart()
    assert model.values == {0xFE10_0024: 0x5A00_000A, 0xFE10_001C: 0x5A00_0122}


def test_hip04(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifteen of sixteen, in four clusters, each for itself; the piece of RAM that they begin in is not free."""
    model, fdt = models.Hip04(), tree("hip04-d01")
    begin(model, fdt, monkeypatch)
    assert model.values[model.FABRIC + 0x0C] == 1, "the cluster that booted takes part"
    others = [cluster << 8 | cpu for cluster in range(4) for cpu in range(4)][1:]
    for mpidr in others:
        assert table.soc_start(fdt, u64(mpidr), u64(ENTRY + mpidr)) == Started.WAKE
        assert mpidr not in model.running, "it sleeps in the boot wrapper"
        model.interrupt()
        assert model.running[mpidr] == ENTRY + mpidr
    assert sorted(model.running) == others and model.values[model.FABRIC + 0x0C] == 0xF
    for mpidr in (0x4, 0x400):
        assert table.soc_start(fdt, u64(mpidr), u64(ENTRY)) == Started.REFUSED
    assert hip04.hip04_wrapper(fdt) == (0x10C0_0000, 0x1_0000)


@pytest.mark.parametrize(("offset", "ended"), [(None, ""), (4, "restart"), (6, ""), (0x10_0000, "")])
def test_hip04_restarts_where_its_tree_says_how(monkeypatch: pytest.MonkeyPatch, offset: int | None, ended: str) -> None:
    """`reboot-offset` of the binding hisilicon,sysctrl, when it makes sense."""
    edited = Tree(source_dtb(SOURCES / "hip04-d01.dts"))
    if offset is not None:
        edited.set_words("/soc/sysctrl@e3e00000", "reboot-offset", offset)
    model, fdt = models.Hip04(), opened(edited)
    begin(model, fdt, monkeypatch)
    table.soc_restart()
    assert model.ended == ended


@pytest.mark.parametrize("name", table.ALL)
def test_without_its_nodes_nothing_is_touched(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A tree may lack them. Registers that it never has are another matter (A20's, OMAP5's counter)."""
    compatible = bytes(table.ALL[name][0].compatible).decode()
    edited = Tree(source_dtb(SOURCES / "zcu102.dts"))
    edited.set_strings("/", "compatible", compatible)
    made = opened(edited)
    model = models.SocModel() if name not in ("OMAP5", "SUN7I") else models.Omap5()
    begin(model, made, monkeypatch)
    if name != "SUN7I":
        assert table.soc_start(made, u64(1), u64(ENTRY)) == Started.REFUSED
    assert not model.running


def test_an_unknown_machine_has_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    model, fdt = models.SocModel(), tree("zcu102")
    begin(model, fdt, monkeypatch)
    assert table.soc_start(fdt, u64(1), u64(ENTRY)) == Started.REFUSED
    table.soc_off()
    table.soc_restart()
