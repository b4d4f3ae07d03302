"""Affinities of vCPUs as a domain's node says: what is read of it, and what its virtual GICv3 makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freestanding import zeroed
from tests.xenarm.gic_model import Machine
from tests.xenarm.test_many_vcpus import by_levels, counted, packed
from tests.xenarm.test_sched_params import opened, said
from tests.xenarm.test_vgic import SPI, enable, write
from tests.xenarm.test_vgic3 import SGI1R, all_on, gicd, machine3, rd_base, sysreg, taken
from xenarm.abi.affinity import affinity_of
from xenarm.arm.run import vcpu_mpidr
from xenarm.arm.short import names_near
from xenarm.arm64.registers import MODEL, sysreg_key
from xenarm.core.log import LOG, NOBODY, TERMINAL
from xenarm.core.plan import plan_affinities
from xenarm.core.plan_state import Plan
from xenarm.gic.controller import GIC
from xenarm.gic.registers import Gicd
from xenarm.gic.registers3 import Gicd3, Gicr, IccControl, IccSgi, IchControl, IchType, Typer3
from xenarm.gic.vgic import vgic_vcpu_reset

ICC_CTLR = sysreg_key(3, 0, 12, 12, 4)
A3V, RSS = int(Typer3(A3V=True)), int(Typer3(RSS=True))
TC = int(IchControl(TC=True))
SHAPES = [(1, 1, 2), (2, 1, 1), (1, 4, 1), (2, 2, 1), (16, 256, 256)]


# ---- the node ---------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    LOG.written = 0
    TERMINAL.owner = NOBODY
    yield
    GIC.v3 = False
    MODEL.clear()


def planned(cells: str, vcpus: int, aarch32: bool = False, affinity3: bool = True) -> tuple[bool, Any]:
    """Whether a node that says this is taken, on a GICv3, and its plan."""
    GIC.v3 = True
    MODEL["ich_vtr_el2"] = int(IchType(A3V=affinity3))
    tree, node = opened(cells)
    plan = zeroed(Plan)
    plan.node, plan.vcpus, plan.aarch32, plan.gic_v3 = node, vcpus, aarch32, True
    return bool(plan_affinities(tree, plan)), plan.affinities


@pytest.mark.parametrize(
    ("cells", "vcpus", "sizes", "typer", "trap"),
    [
        ("", 512, (16, 256, 256), 0, 0),
        ("xenarm,mpidr-levels = <16>;", 512, (16, 256, 256), 0, 0),
        ("xenarm,mpidr-levels = <4 2>;", 512, (4, 2, 256), 0, 0),
        ("xenarm,mpidr-levels = <256>;", 17, (256, 256, 256), RSS, TC),
        ("xenarm,mpidr-levels = <256>;", 16, (256, 256, 256), 0, 0),
        ("xenarm,mpidr-levels = <64 2 2>;", 512, (64, 2, 2), RSS | A3V, TC),
        ("xenarm,mpidr-levels = <64 2 2>;", 256, (64, 2, 2), RSS, TC),
        ("xenarm,mpidr-levels = <1 1 2>;", 512, (1, 1, 2), A3V, 0),
    ],
)
def test_what_a_node_says(cells: str, vcpus: int, sizes: tuple[int, ...], typer: int, trap: int) -> None:
    """Range selectors and affinity 3 are offered to whom they are of use."""
    taken_, affinities = planned(cells, vcpus)
    assert taken_ and (int(affinities.typer), int(affinities.trap)) == (typer, trap)
    assert [int(affinity_of(affinities, v)) for v in range(vcpus)] == [packed(place) for place in counted(sizes, vcpus)]


@pytest.mark.parametrize(
    ("cells", "vcpus", "more", "wrong"),
    [
        *[(f"xenarm,mpidr-levels{value};", 4, {}, "no row of numbers of values") for value in ("", " = <0>", " = <3>", " = <512>", ' = "16"', " = <4 4 4 4>", " = <4 6>", " = [00 00 04]")],
        ("xenarm,mpidr-levels = <1 1 1>;", 257, {}, "no affinities for so many CPUs"),
        ("xenarm,mpidr-levels = <1 1 2>;", 4, {"aarch32": True}, "leaves affinity 3 to a 32-bit domain"),
        ("xenarm,mpidr-levels = <1 1 2>;", 4, {"affinity3": False}, "needs affinity 3, which the machine's GICv3 has not"),
    ],
)
def test_what_is_refused_in_one_line(cells: str, vcpus: int, more: dict[str, bool], wrong: str) -> None:
    taken_, _ = planned(cells, vcpus, **more)
    (line,) = said()
    assert not taken_ and "/chosen/guest@1: xenarm,mpidr-levels" in line and wrong in line and "; give " in line


# ---- the virtual GICv3 ------------------------------------------------------------------------------------------------


def shape(m: Machine, sizes: tuple[int, ...], offered: int = 0) -> list[tuple[int, ...]]:
    """Give the machine's vCPUs affinities; where they are then."""
    m.domain.affinities = by_levels(*sizes)
    m.domain.affinities.typer = offered
    for cpu, v in enumerate(m.vcpus):
        m.play(cpu)
        vgic_vcpu_reset(v)
    m.play(0)
    return counted(sizes, len(m.vcpus))


@pytest.mark.parametrize("sizes", SHAPES)
def test_every_register_that_shows_affinities_agrees(sizes: tuple[int, ...]) -> None:
    with machine3(4) as m:
        for cpu, place in enumerate(shape(m, sizes)):
            assert rd_base(m, cpu, Gicr.TYPER, 8) >> 32 == rd_base(m, cpu, Gicr.TYPER + 4) == packed(place)
            assert int(vcpu_mpidr(m.vcpus[cpu])) == place[3] << 32 | 1 << 31 | packed(place[:3])


near = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 16, 255])


@given(st.sampled_from(SHAPES), st.tuples(near, near, near), st.sampled_from([0, 0, 1, 15]), st.integers(0, 0xFFFF), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_sgis_reach_whom_they_name_on_all_levels(sizes: tuple[int, ...], upper: tuple[int, ...], selector: int, targets: int, sender: int) -> None:
    with machine3(4) as m:
        everybody = shape(m, sizes, A3V)
        all_on(m)
        value = IccSgi(TARGETS=targets, AFF1=upper[0], INTID=5, AFF2=upper[1], IRM=False, RS=selector, AFF3=upper[2]).raw
        assert sysreg(m, sender, SGI1R, int(value)) == (True, 0)
        named = {(selector * 16 + bit, *upper) for bit in range(16) if targets >> bit & 1}
        assert taken(m) == {cpu: {5} if place in named else set() for cpu, place in enumerate(everybody)}


@pytest.mark.parametrize("sizes", SHAPES)
def test_the_short_way_sends_to_neighbours_alone(sizes: tuple[int, ...]) -> None:
    """Of a target list with affinities 1 to 3 all 0; what it leaves goes the long way."""
    with machine3(4) as m:
        shape(m, sizes)
        for bit in range(64):
            assert bool(names_near(m.vcpus[0], 1 << bit)) == (bit < min(sizes[0], 8))
        assert not names_near(m.vcpus[0], 0) and not names_near(m.vcpus[0], 3)


@given(st.integers(0, 2**64 - 1), st.booleans())
@settings(deadline=None)
def test_a_route_has_affinity_3_where_it_is_offered(value: int, halves: bool) -> None:
    with machine3(4) as m:
        everybody = shape(m, (1, 1, 2), A3V)
        assert gicd(m, Gicd.TYPER) & (A3V | RSS) == A3V
        enable(m, SPI)
        router = Gicd3.IROUTER + SPI * 8
        if halves:
            gicd(m, router, value=value & 0xFFFF_FFFF)
            gicd(m, router + 4, value=value >> 32)
        else:
            gicd(m, router, 8, value)
        kept = value & 0xFF_00FF_FFFF
        assert gicd(m, router, 8) == kept == gicd(m, router) | gicd(m, router + 4) << 32
        write(m, Gicd.ISPENDR + 4, 1 << SPI - 32)
        places = [place[3] << 32 | packed(place[:3]) for place in everybody]
        assert taken(m) == {cpu: {SPI} if place == kept else set() for cpu, place in enumerate(places)}


@pytest.mark.parametrize("cpu", range(4))
def test_routes_to_every_vcpu(cpu: int) -> None:
    with machine3(4) as m:
        place = shape(m, (1, 1, 2), A3V)[cpu]
        enable(m, SPI)
        gicd(m, Gicd3.IROUTER + SPI * 8, 8, place[3] << 32 | packed(place[:3]))
        write(m, Gicd.ISPENDR + 4, 1 << SPI - 32)
        assert taken(m) == {n: {SPI} if n == cpu else set() for n in range(4)}


@pytest.mark.parametrize("offered", [0, RSS])
def test_range_selectors_are_offered_by_distributor_and_interface_alike(offered: int) -> None:
    with machine3(4) as m:
        m.domain.affinities = by_levels(64, 2, 2)
        m.domain.affinities.typer, m.domain.affinities.trap = offered, TC if offered else 0
        vgic_vcpu_reset(m.vcpus[0])
        assert gicd(m, Gicd.TYPER) & RSS == offered
        assert bool(IccControl.from_raw(sysreg(m, 0, ICC_CTLR)[1]).RSS) == (offered != 0)
        assert m.bus.current.hcr & TC == (TC if offered else 0), "the hardware's own ICC_CTLR_EL1 need not say so"
