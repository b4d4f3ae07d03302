"""The physical GICv3's driver against a model of its registers: what the tree says, regions and strides of redistributors, waking, routes, kicks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from freestanding import View, zeroed
from tests.xenarm.trees import compile_source
from xenarm.arm import instructions
from xenarm.arm64 import registers
from xenarm.core.result import Result
from xenarm.devicetree import reader, values
from xenarm.devicetree.reader import FdtError
from xenarm.gic import registers3
from xenarm.gic.controller import GIC
from xenarm.gic.host import gic_cpu_init, gic_enable_spi, gic_kick
from xenarm.gic.registers import Gicd
from xenarm.gic.registers3 import Gicd3, Gicr
from xenarm.gic.v3 import REDIST, v3_find, v3_start

GICD = 0x0800_0000
FIRST = 0x0A00_0000
SECOND = 0x0C00_0000
ARCH_V3 = 0x3B
PPI_MAINTENANCE = 25


class Controller(instructions.ModelBus):
    """A distributor of 96 interrupts; redistributors, by RD_base, with their affinities."""

    def __init__(self, frames: dict[int, int], stride: int = Gicr.FRAME, last: tuple[int, ...] = (), vlpis: bool = False) -> None:
        super().__init__()
        self.frames = frames
        self.stride = stride
        self.stores: list[tuple[int, int]] = []
        self.memory[GICD + Gicd.TYPER] = 2
        self.memory[GICD + Gicd3.PIDR2] = ARCH_V3
        for base, affinity in frames.items():
            self.memory[base + Gicr.TYPER] = affinity << 32 | (base in last) << 4 | vlpis << 1
            self.memory[base + Gicr.PIDR2] = ARCH_V3
            self.memory[base + Gicr.WAKER] = 6

    def write(self, address: int, width: int, value: int) -> None:
        self.stores.append((address, value))
        for base in self.frames:
            if address == base + Gicr.WAKER:
                value = 6 if value & 2 else 0
        super().write(address, width, value)


def tree(regions: str, more: str = "") -> str:
    return f"""/dts-v1/;
/ {{
    #address-cells = <2>; #size-cells = <2>; interrupt-parent = <&gic>;
    gic: interrupt-controller@8000000 {{
        compatible = "arm,gic-v3"; interrupt-controller; #interrupt-cells = <3>;
        reg = <0 {GICD:#x} 0 0x10000>, {regions};
        interrupts = <1 9 4>;
        {more}
    }};
}};
"""


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """The system registers of the CPU that the test plays."""
    found: dict[str, int] = {"id_aa64pfr0_el1": 1 << 24, "ich_vtr_el2": 4 << 26 | 3}
    monkeypatch.setattr(registers, "MODEL", found)
    monkeypatch.setattr(registers3, "MODEL", found)
    yield found
    GIC.v3 = False


def start(monkeypatch: pytest.MonkeyPatch, source: str, controller: Controller) -> Result:
    monkeypatch.setattr(instructions, "BUS", controller)
    blob = compile_source(source)
    fdt = zeroed(reader.Fdt)
    assert reader.fdt_open(fdt, View(blob, 0, len(blob))) == FdtError.NONE
    node = values.fdt_find_compatible(fdt, b"arm,gic-v3")
    GIC.v3 = True
    found = v3_find(fdt, node)
    GIC.gicd = GIC.machine_gicd  # as mapped
    return v3_start(fdt, node) if found == Result.OK else Result(found)


ONE_REGION = f"<0 {FIRST:#x} 0 0x80000>"


def test_the_distributor(monkeypatch: pytest.MonkeyPatch, system: dict[str, int]) -> None:
    bus = Controller({FIRST: 0})
    assert start(monkeypatch, tree(ONE_REGION), bus) == Result.OK
    assert GIC.v3 and GIC.intids == 96 and GIC.maintenance_ppi == PPI_MAINTENANCE
    assert bus.memory[GICD + Gicd.CTLR] == 0x13, "affinity routing, and group 1 by both its names"
    controls = [value for address, value in bus.stores if address == GICD + Gicd.CTLR]
    assert controls == [0, 0x10, 0x13], "affinity routing while nothing is forwarded"
    for word in (1, 2):
        assert bus.memory[GICD + Gicd.IGROUPR + 4 * word] == 0xFFFF_FFFF


CASES = {
    "first of one region": (ONE_REGION, "", {FIRST: 0, FIRST + 0x20000: 1}, 0, FIRST),
    "next in the region": (ONE_REGION, "", {FIRST: 0, FIRST + 0x20000: 1}, 1, FIRST + 0x20000),
    "by all four affinities": (ONE_REGION, "", {FIRST: 0, FIRST + 0x20000: 0x0403_0201}, 0x04_0003_0201, FIRST + 0x20000),
    "in a second region": (
        f"{ONE_REGION}, <0 {SECOND:#x} 0 0x40000>",
        "#redistributor-regions = <2>;",
        {FIRST: 0, SECOND: 0x100},
        0x100,
        SECOND,
    ),
    "a second region that is not announced": (f"{ONE_REGION}, <0 {SECOND:#x} 0 0x40000>", "", {FIRST: 0, SECOND: 0x100}, 0x100, 0),
    "by the tree's stride": (ONE_REGION, "redistributor-stride = <0 0x40000>;", {FIRST: 0, FIRST + 0x40000: 1}, 1, FIRST + 0x40000),
    "nowhere": (ONE_REGION, "", {FIRST: 0, FIRST + 0x20000: 1}, 2, 0),
}


@pytest.mark.parametrize("case", CASES)
def test_redistributors_are_found(monkeypatch: pytest.MonkeyPatch, system: dict[str, int], case: str) -> None:
    regions, more, frames, mpidr, wanted = CASES[case]
    bus = Controller(frames, last=(max(b for b in frames if b < SECOND), *(b for b in frames if b >= SECOND)))
    assert start(monkeypatch, tree(regions, more), bus) == Result.OK
    system["mpidr_el1"] = 1 << 31 | mpidr
    assert gic_cpu_init(3) == (Result.OK if wanted else Result.NOT_FOUND)
    if wanted:
        assert REDIST.own[3] == wanted
        assert bus.memory[wanted + Gicr.WAKER] == 0
        enabled = bus.memory[wanted + Gicr.SGI_BASE + Gicd.ISENABLER]
        assert enabled >> PPI_MAINTENANCE & 1 and enabled >> 27 & 1 and enabled >> 26 & 1 and enabled & 1


def test_what_a_guest_brings_about_again_and_again_is_the_least_urgent(monkeypatch: pytest.MonkeyPatch, system: dict[str, int]) -> None:
    """A maintenance interrupt that stays keeps neither the timer's nor the serial port's from being taken."""
    bus = Controller({FIRST: 0})
    assert start(monkeypatch, tree(ONE_REGION), bus) == Result.OK
    system["mpidr_el1"] = 0
    assert gic_cpu_init(0) == Result.OK
    priorities = FIRST + Gicr.SGI_BASE + Gicd.IPRIORITYR
    stores = [address for address, _ in bus.stores]
    assert stores.index(priorities + PPI_MAINTENANCE) > stores.index(priorities + (PPI_MAINTENANCE & ~3)), "not undone"
    everyone = max(max(value.to_bytes(4, "little")) for address, value in bus.memory.items() if priorities <= address < priorities + 32 and address % 4 == 0)
    assert everyone < bus.memory[priorities + PPI_MAINTENANCE] < system["icc_pmr_el1"]


def test_a_gicv4_has_four_pages_for_each(monkeypatch: pytest.MonkeyPatch, system: dict[str, int]) -> None:
    bus = Controller({FIRST: 0, FIRST + 0x40000: 1}, last=(FIRST + 0x40000,), vlpis=True)
    assert start(monkeypatch, tree(ONE_REGION), bus) == Result.OK
    system["mpidr_el1"] = 1
    assert gic_cpu_init(1) == Result.OK and REDIST.own[1] == FIRST + 0x40000


def test_a_cpu_is_reached_by_its_affinity(monkeypatch: pytest.MonkeyPatch, system: dict[str, int]) -> None:
    bus = Controller({FIRST: 0x0403_0225})
    assert start(monkeypatch, tree(ONE_REGION), bus) == Result.OK
    system["mpidr_el1"] = 1 << 31 | 0x04_0003_0225
    assert gic_cpu_init(2) == Result.OK
    gic_kick(2)
    assert system["icc_sgi1r_el1"] == 4 << 48 | 2 << 44 | 3 << 32 | 2 << 16 | 1 << 5, "range 2, bit 5: affinity 0 is 0x25"
    gic_enable_spi(40, 2, True)
    assert bus.memory[GICD + Gicd3.IROUTER + 40 * 8] == 0x04_0003_0225
    gic_enable_spi(96, 2, True)
    assert GICD + Gicd3.IROUTER + 96 * 8 not in bus.memory, "beyond what the controller has"


def test_the_interfaces(monkeypatch: pytest.MonkeyPatch, system: dict[str, int]) -> None:
    assert start(monkeypatch, tree(ONE_REGION), Controller({FIRST: 0})) == Result.OK
    system["mpidr_el1"] = 0
    assert gic_cpu_init(0) == Result.OK
    assert system["icc_sre_el2"] == 7, "system registers; a guest's ICC_SRE_EL1 traps"
    assert system["icc_ctlr_el1"] == 2 and system["icc_igrpen1_el1"] == 1 and system["icc_pmr_el1"] == 0xF0
    assert GIC.list_registers == 4 and GIC.active_registers == 1
    assert system["ich_hcr_el2"] == 1 | 1 << 10, "on; this CPU's ICH_VTR_EL2.TDS says no TDIR: TC traps what deactivates"
    assert [system[f"ich_lr{n}_el2"] for n in range(4)] == [0] * 4


def test_what_cannot_be_used(monkeypatch: pytest.MonkeyPatch, system: dict[str, int]) -> None:
    system["id_aa64pfr0_el1"] = 0
    assert start(monkeypatch, tree(ONE_REGION), Controller({FIRST: 0})) == Result.NOT_FOUND, "the CPU has no system registers"
    system["id_aa64pfr0_el1"] = 1 << 24
    old = Controller({FIRST: 0})
    old.memory[GICD + Gicd3.PIDR2] = 0x2B
    assert start(monkeypatch, tree(ONE_REGION), old) == Result.NOT_FOUND, "the registers are a GICv2's"
    assert start(monkeypatch, tree(f"<0 {FIRST:#x} 0 0x1000>"), Controller({FIRST: 0})) == Result.NOT_FOUND, "no room for a redistributor"
