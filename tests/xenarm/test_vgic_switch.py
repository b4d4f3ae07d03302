"""A vCPU's virtual interface when its CPU turns to another: what lets it sleep, what is kept of its list registers."""

from __future__ import annotations

import pytest

from tests.xenarm.gic_model import Machine, machine
from tests.xenarm.test_vgic import SPI, TIMER, VERSIONS, enable, target, write
from xenarm.gic.context import (
    vgic_load_v2,
    vgic_load_v3,
    vgic_quiet_v2,
    vgic_quiet_v3,
    vgic_save_v2,
    vgic_save_v3,
)
from xenarm.gic.registers import Gicd
from xenarm.gic.vgic import vgic_raise_own

PPI = 30


def quiet(m: Machine) -> bool:
    return bool((vgic_quiet_v3 if m.host_v3 else vgic_quiet_v2)(m.vcpus[0]))


def begin(m: Machine) -> None:
    enable(m, 1, TIMER, PPI, SPI)
    target(m, SPI, 0)


def pend(m: Machine, *intids: int) -> None:
    """Own ones by their line, the shared one by the register."""
    for intid in intids:
        if intid < 32:
            vgic_raise_own(m.vcpus[0], intid)
        else:
            write(m, Gicd.ISPENDR + intid // 32 * 4, 1 << intid % 32)


@VERSIONS
def test_nothing_is_pending_for_a_vcpu_that_sleeps_quietly(version: int) -> None:
    with machine(1, 4, version) as m:
        begin(m)
        assert quiet(m)
        pend(m, TIMER)
        assert not quiet(m), "it is listed and pending"
        m.bus.interfaces[0].acknowledge()
        assert not quiet(m), "active: its list register is needed"
        m.bus.interfaces[0].end(TIMER)
        assert quiet(m)
        assert m.vcpus[0].vgic.lr_used == 0 and m.vcpus[0].vgic.listed == 0, "ended: its list register is free"


@VERSIONS
def test_one_of_two_list_registers_in_use_keeps_it_awake(version: int) -> None:
    with machine(1, 4, version) as m:
        begin(m)
        pend(m, TIMER, PPI)
        taken = m.bus.interfaces[0].acknowledge()
        assert taken is not None
        m.bus.interfaces[0].end(taken[0])
        assert not quiet(m)
        assert m.vcpus[0].vgic.lr_used == 3


@VERSIONS
def test_the_list_register_of_a_shared_interrupt_is_given_back_and_not_forgotten(version: int) -> None:
    """Whoever else is to have the interrupt next needs its holder cleared."""
    with machine(1, 4, version) as m:
        begin(m)
        pend(m, SPI)
        taken = m.bus.interfaces[0].acknowledge()
        assert taken is not None and taken[0] == SPI
        m.bus.interfaces[0].end(SPI)
        assert not quiet(m) and m.domain.vgic.words[SPI // 32 - 1].holder[SPI % 32] == 1
        pend(m, SPI)
        taken = m.bus.interfaces[0].acknowledge()
        assert taken is not None and taken[0] == SPI


@VERSIONS
def test_a_list_register_that_was_a_shared_interrupts_is_an_own_ones_like_any(version: int) -> None:
    with machine(1, 1, version) as m:
        begin(m)
        for intid in (SPI, TIMER):
            pend(m, intid)
            taken = m.bus.interfaces[0].acknowledge()
            assert taken is not None and taken[0] == intid
            m.bus.interfaces[0].end(intid)
        assert quiet(m)


@VERSIONS
@pytest.mark.parametrize("gone", [[], [TIMER], [PPI], [TIMER, PPI]])
def test_list_registers_come_back_where_they_were(version: int, gone: list[int]) -> None:
    """Whichever of them are in use: none, the first, another one, several."""
    with machine(1, 4, version) as m:
        begin(m)
        pend(m, TIMER, PPI)
        for intid in gone:
            write(m, Gicd.ICPENDR, 1 << intid)
        before = list(m.bus.interfaces[0].lr)
        (vgic_save_v3 if m.host_v3 else vgic_save_v2)(m.vcpus[0])
        assert m.bus.interfaces[0].lr == [0, 0, 0, 0], "the next vCPU begins with empty ones"
        (vgic_load_v3 if m.host_v3 else vgic_load_v2)(m.vcpus[0])
        assert m.bus.interfaces[0].lr == before and len([value for value in before if value]) == 2 - len(gone)
