"""More active interrupts than list registers, against a model of the virtual interface and one of a bare controller."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.xenarm.gic_model import V2_ON_V3, Machine, machine
from tests.xenarm.test_vgic import VERSIONS, enable, priority, read, write
from xenarm.arm.trapped_registers import ICC_ROWS
from xenarm.arm64.guest_sysregs import sysreg_access
from xenarm.arm64.registers import sysreg_key
from xenarm.config import CONFIG
from xenarm.core.access import Access, Outcome
from xenarm.core.addresses import GuestPhys
from xenarm.core.domain import Extra
from xenarm.gic import registers3
from xenarm.gic.controller import GIC
from xenarm.gic.registers import Gicd
from xenarm.gic.state import LOOK
from xenarm.gic.vgic import vcpu_has_interrupt, vgic_leaves, vgic_park, vgic_set_spi_level, vgic_vcpu_reset
from xenarm.gic.vgicc import GICC_DIR_PAGE, vgicc_access

SPI = 40
MANY = 8
LRENPIE = 4
COUNT_SHIFT = 27
READ = 1  # ISS.Direction


def set_up(m: Machine, count: int = MANY) -> None:
    """SPIs from 40 on, each more urgent than the one before."""
    enable(m, *(SPI + n for n in range(count)))
    for n in range(count):
        priority(m, SPI + n, 0xC0 - n * 0x10)


def pend(m: Machine, n: int) -> None:
    write(m, Gicd.ISPENDR + 4, 1 << SPI + n - 32)


def active(m: Machine) -> set[int]:
    word = read(m, Gicd.ISACTIVER + 4)
    return {n for n in range(MANY) if word >> SPI + n - 32 & 1}


def pending(m: Machine) -> set[int]:
    word = read(m, Gicd.ISPENDR + 4)
    return {n for n in range(MANY) if word >> SPI + n - 32 & 1}


def acknowledge(m: Machine, cpu: int = 0) -> int | None:
    taken = m.bus.interfaces[cpu].acknowledge()
    m.settle()
    return None if taken is None else taken[0] - SPI


def take_all(m: Machine, count: int) -> None:
    """So many, each before the one that it preempts has ended."""
    for n in range(count):
        pend(m, n)
        assert acknowledge(m) == n


def end(m: Machine, n: int, cpu: int = 0) -> None:
    m.bus.interfaces[cpu].end(SPI + n)
    m.settle()


def take_one(m: Machine) -> int | None:
    """Acknowledge and end."""
    n = acknowledge(m)
    if n is not None:
        end(m, n)
    return n


def deactivate(m: Machine, n: int, cpu: int = 0) -> None:
    """GICC_DIR or ICC_DIR_EL1, which trap."""
    m.play(cpu)
    v = m.vcpus[cpu]
    if m.v3:
        assert sysreg_access(v, sysreg_key(3, 0, 12, 11, 1), False, SPI + n) == (True, 0)
    else:
        access = Access(GuestPhys(0x0300_2000 + GICC_DIR_PAGE), 4, True, SPI + n)
        assert vgicc_access(m.domain, v, access) == (Outcome.HANDLED, 0)
    m.settle()


@VERSIONS
def test_interrupts_nest_deeper_than_there_are_list_registers(version: int) -> None:
    with machine(lists=2, version=version) as m:
        set_up(m)
        for n in range(MANY):
            pend(m, n)
            assert acknowledge(m) == n
            assert active(m) == set(range(n + 1))
        for n in reversed(range(MANY)):
            end(m, n)
            assert active(m) == set(range(n))
        assert m.vcpus[0].extra & Extra.SPILLED == 0 and m.bus.interfaces[0].hcr & LRENPIE == 0
        assert m.bus.interfaces[0].hcr >> COUNT_SHIFT == 0 and m.bus.interfaces[0].used() == []


@VERSIONS
def test_with_split_ends_any_number_is_active(version: int) -> None:
    with machine(lists=2, version=version) as m:
        set_up(m)
        m.bus.interfaces[0].split(True)
        for n in range(MANY):
            pend(m, n)
        for n in reversed(range(MANY)):
            assert acknowledge(m) == n
            end(m, n)
        assert active(m) == set(range(MANY)) and acknowledge(m) is None
        left = set(range(MANY))
        for n in (n * 3 % MANY for n in range(MANY)):
            pend(m, n)
            assert acknowledge(m) is None, "it is active still"
            deactivate(m, n)
            left.remove(n)
            assert active(m) == left
            assert acknowledge(m) == n
            end(m, n)
            deactivate(m, n)
        assert active(m) == set() and pending(m) == set()


@VERSIONS
def test_another_cpu_deactivates(version: int) -> None:
    """What the first one has in list registers, and what it has no more."""
    with machine(2, lists=2, version=version) as m:
        set_up(m)
        for interface in m.bus.interfaces:
            interface.split(True)
        for n in reversed(range(4)):
            pend(m, n)
            assert acknowledge(m) == n
            end(m, n)
        for n in range(4):
            deactivate(m, n, 1)
            assert active(m) == set(range(n + 1, 4))


@VERSIONS
def test_what_is_active_does_not_end_a_wait(version: int) -> None:
    with machine(lists=2, version=version) as m:
        set_up(m)
        take_all(m, 4)
        m.play(0)
        assert m.vcpus[0].extra & Extra.SPILLED and not vcpu_has_interrupt(m.vcpus[0])
        pend(m, 7)
        m.play(0)
        assert vcpu_has_interrupt(m.vcpus[0])


@VERSIONS
def test_an_end_that_was_counted_is_not_lost_when_the_vcpu_leaves_its_cpu(version: int) -> None:
    with machine(lists=2, version=version) as m:
        set_up(m)
        v = m.vcpus[0]
        take_all(m, 3)
        m.bus.interfaces[0].end(SPI + 2)
        m.bus.interfaces[0].end(SPI + 1)
        m.bus.interfaces[0].end(SPI)
        counted = m.bus.interfaces[0].hcr
        assert counted >> COUNT_SHIFT
        m.play(0)
        vgic_leaves(v)
        assert v.vgic.control == counted and v.vgic.kicked.value & LOOK
        m.bus.interfaces[0].kicked = True
        m.settle()
        assert active(m) == set()


@VERSIONS
def test_a_vcpu_that_goes_off_has_nothing_active(version: int) -> None:
    with machine(lists=2, version=version) as m:
        set_up(m)
        take_all(m, 4)
        m.play(0)
        vgic_park(m.vcpus[0])
        assert active(m) == set()
        vgic_vcpu_reset(m.vcpus[0])
        assert m.vcpus[0].extra & Extra.SPILLED == 0
        m.bus.interfaces[0].running.clear()
        pend(m, 0)
        m.settle()
        assert pending(m) == {0}


class Bare:
    """A controller without list registers."""

    def __init__(self) -> None:
        self.pending: set[int] = set()
        self.active: set[int] = set()
        self.running: list[int] = []

    def acknowledge(self) -> int | None:
        best = max(self.pending - self.active, default=-1)
        if best < 0 or (self.running and best <= self.running[-1]):
            return None
        self.pending.remove(best)
        self.active.add(best)
        self.running.append(best)
        return best


STEPS = st.lists(st.tuples(st.sampled_from(["pend", "pend", "take", "take", "end", "dir", "set", "clear", "unpend"]), st.integers(0, MANY - 1)), max_size=40)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([2, 3, *[V2_ON_V3] * CONFIG.GICV2_ON_V3]), st.integers(1, 4), st.booleans(), STEPS)
@example(2, 1, False, [("pend", 0), ("pend", 1)])
def test_it_is_a_bare_controllers(version: int, lists: int, split: bool, steps: list[tuple[str, int]]) -> None:
    with machine(lists=lists, version=version) as m:
        set_up(m)
        m.bus.interfaces[0].split(split)
        bare = Bare()
        for what, n in steps:
            if what == "pend":
                pend(m, n)
                bare.pending.add(n)
            elif what == "unpend":
                write(m, Gicd.ICPENDR + 4, 1 << SPI + n - 32)
                bare.pending.discard(n)
            elif what == "take":
                assert acknowledge(m) == bare.acknowledge()
            elif what == "end" and bare.running:
                last = bare.running.pop()
                if not split:
                    bare.active.discard(last)
                end(m, last)
            elif what == "dir" and split:
                deactivate(m, n)
                bare.active.discard(n)
            elif what in ("set", "clear") and split:
                write(m, (Gicd.ISACTIVER if what == "set" else Gicd.ICACTIVER) + 4, 1 << SPI + n - 32)
                bare.active = bare.active | {n} if what == "set" else bare.active - {n}
            assert (active(m), pending(m)) == (bare.active, bare.pending)


# ---- registers that trap where ICC_DIR_EL1 cannot trap alone --------------------------------------------------------------


def icc(m: Machine, crn: int, crm: int, op2: int, value: int | None = None) -> int:
    key = sysreg_key(3, 0, crn, crm, op2)
    handled, result = sysreg_access(m.vcpus[0], key | READ if value is None else key, False, value or 0)
    assert handled
    return int(result)


def test_the_common_registers_are_the_hardwares() -> None:
    """ICC_CTLR_EL1, ICC_PMR_EL1 and ICC_RPR_EL1 by ICH_VMCR_EL2 and the active priorities (IHI 0069 12.4.7, ICH_HCR_EL2.TC)."""
    with machine(version=3) as m:
        m.play(0)
        icc(m, 4, 6, 0, 0xFF)
        assert icc(m, 4, 6, 0) == 0xF8 and m.bus.interfaces[0].vmcr == 0xF8 << 24
        icc(m, 12, 12, 4, 3)
        assert m.bus.interfaces[0].vmcr == 0xF8 << 24 | 1 << 9 | 1 << 4
        assert icc(m, 12, 12, 4) == 4 << 8 | 3
        icc(m, 12, 12, 4, 0)
        assert m.bus.interfaces[0].vmcr == 0xF8 << 24
        GIC.active_registers = 1
        assert icc(m, 12, 11, 3) == 0xFF
        registers = registers3.MODEL
        registers["ich_ap1r0_el2"] = 1 << 20 | 1 << 9
        assert icc(m, 12, 11, 3) == 9 << 3
        registers["ich_ap0r0_el2"] = 1 << 4
        assert icc(m, 12, 11, 3) == 4 << 3


def test_they_are_not_there_with_a_gicv2() -> None:
    with machine(version=2) as m:
        for (crn, crm, op2), _ in ICC_ROWS:
            key = sysreg_key(3, 0, crn, crm, op2)
            assert sysreg_access(m.vcpus[0], key, False, 0) == sysreg_access(m.vcpus[0], key | READ, False, 0) == (False, 0)


@pytest.mark.parametrize("alone", [True, False])
def test_the_trap_that_the_cpu_has(monkeypatch: pytest.MonkeyPatch, alone: bool) -> None:
    if not alone:
        monkeypatch.setattr("tests.xenarm.gic_model.TDS", 0)
    with machine(version=3) as m:
        assert m.bus.interfaces[0].hcr == 1 | (1 << 14 if alone else 1 << 10)


# ---- groups and lines -------------------------------------------------------------------------------------------------

BOTH_GROUPS, GROUP1_ALONE = 3, 2


def group_1_has_the_least_urgent(m: Machine) -> None:
    set_up(m)
    write(m, Gicd.CTLR, BOTH_GROUPS)
    write(m, Gicd.IGROUPR + 4, 1 << SPI - 32)


def takes(m: Machine, groups: int) -> None:
    """The guest stores to its CPU interface."""
    interface = m.bus.interfaces[0]
    interface.vmcr = interface.vmcr & ~BOTH_GROUPS | groups
    m.settle()


@VERSIONS
@pytest.mark.parametrize("lists", [1, 2, 4])
def test_a_group_that_is_off_keeps_nothing_out(version: int, lists: int) -> None:
    """Its interrupts wait in list registers as long as nobody else needs them; turned on, they come by their urgency."""
    with machine(lists=lists, version=version) as m:
        group_1_has_the_least_urgent(m)
        takes(m, GROUP1_ALONE)
        for n in (1, 2, 3, 4, 5, 0):
            pend(m, n)
        assert acknowledge(m) == 0
        end(m, 0)
        assert acknowledge(m) is None
        takes(m, BOTH_GROUPS)
        assert [take_one(m) for _ in range(6)] == [5, 4, 3, 2, 1, None]


@VERSIONS
@pytest.mark.parametrize("lists", [1, 2, 4])
def test_a_group_that_is_turned_off_makes_room(version: int, lists: int) -> None:
    with machine(lists=lists, version=version) as m:
        group_1_has_the_least_urgent(m)
        takes(m, BOTH_GROUPS)
        for n in (1, 2, 3, 4, 5, 0):
            pend(m, n)
        takes(m, GROUP1_ALONE)
        assert [take_one(m) for _ in range(2)] == [0, None]
        takes(m, BOTH_GROUPS)
        assert [take_one(m) for _ in range(6)] == [5, 4, 3, 2, 1, None]


def raise_line(m: Machine, n: int, level: bool) -> None:
    vgic_set_spi_level(m.domain, SPI + n, level)
    m.settle()


@VERSIONS
def test_a_line_that_falls_while_its_interrupt_is_off_leaves_nothing(version: int) -> None:
    """A level-sensitive interrupt is pending by its line, or by ISPENDR (IHI 0048B 4.3.7): a list register that it had to leave adds nothing."""
    with machine(version=version) as m:
        set_up(m)
        raise_line(m, 0, True)
        pend(m, 1)
        write(m, Gicd.ICENABLER + 4, 3 << SPI - 32)
        assert pending(m) == {0, 1}
        raise_line(m, 0, False)
        assert pending(m) == {1}
        write(m, Gicd.ISENABLER + 4, 3 << SPI - 32)
        assert [take_one(m) for _ in range(2)] == [1, None]


@VERSIONS
def test_a_line_that_falls_after_others_took_its_place_leaves_nothing(version: int) -> None:
    with machine(lists=2, version=version) as m:
        set_up(m)
        for n in (0, 1):
            raise_line(m, n, True)
        for n in (5, 6, 7):
            pend(m, n)
        raise_line(m, 0, False)
        assert pending(m) == {1, 5, 6, 7}
        assert [take_one(m) for _ in range(5)] == [7, 6, 5, 1, 1]
        raise_line(m, 1, False)
        assert take_one(m) is None
