"""The virtual GIC against a model of the virtual interface: registers, delivery, order, overflow, several vCPUs. GICv3 alone: test_vgic3.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.xenarm.gic_model import V2_ON_V3, Machine, machine
from xenarm.abi.layout import GUEST_GICD_BASE, GUEST_GICR_BASE, GUEST_GICR_FRAME
from xenarm.arm.cpu import this_vcpu
from xenarm.config import CONFIG
from xenarm.core.access import Access, Outcome
from xenarm.core.addresses import GuestPhys
from xenarm.gic.registers import Gicd, LrState
from xenarm.gic.controller import GIC
from xenarm.gic.vgic import vcpu_has_interrupt, vgic_attend, vgic_raise_own, vgic_set_own_level, vgic_set_spi_level
from xenarm.gic.registers3 import Gicd3, Gicr
from xenarm.gic.vgicd import REGISTERS, vgicd_access, vgicd_write
from xenarm.gic.vgicd3 import distributor_read, distributor_write, vgic_send_sgi, vgicd3_access
from xenarm.gic.vgicr import vgicr_access

TIMER = 27
SPI = 40
OTHER = 44


ON_V3 = [pytest.param(V2_ON_V3, id="2on3")] * CONFIG.GICV2_ON_V3
VERSIONS = pytest.mark.parametrize("version", [2, 3, *ON_V3])


def banked(offset: int) -> bool:
    """Registers of the distributor that a GICv3 has in each redistributor."""
    return (
        (Gicd.IGROUPR <= offset < Gicd.IPRIORITYR and offset % 0x80 == 0)
        or Gicd.IPRIORITYR <= offset < Gicd.IPRIORITYR + 32
        or Gicd.ICFGR <= offset < Gicd.ICFGR + 8
    )


def redistributor(m: Machine, owner: int, offset: int, value: int | None = None, width: int = 4) -> int:
    """A load or store in SGI_base of a vCPU, by the one that the test plays."""
    address = GuestPhys(int(GUEST_GICR_BASE) + owner * GUEST_GICR_FRAME + Gicr.SGI_BASE + offset)
    me = m.vcpus[int(this_vcpu().cpu)]
    outcome, loaded = vgicr_access(m.domain, me, Access(address, width, value is not None, value or 0))
    assert outcome == Outcome.HANDLED
    return int(loaded)


def write(m: Machine, offset: int, value: int, cpu: int = 0) -> None:
    m.play(cpu)
    if m.v3 and banked(offset):
        redistributor(m, cpu, offset, value)
    else:
        distributor_write(m.domain, m.vcpus[cpu], offset, value)
    m.settle()


def read(m: Machine, offset: int, cpu: int = 0) -> int:
    m.play(cpu)
    if m.v3 and banked(offset):
        value = redistributor(m, cpu, offset)
    else:
        value = int(distributor_read(m.domain, m.vcpus[cpu], offset))
    m.play(0)
    return value


def enable(m: Machine, *intids: int) -> None:
    write(m, Gicd.CTLR, 1)
    for intid in intids:
        write(m, Gicd.ISENABLER + intid // 32 * 4, 1 << intid % 32)
        if intid >= 32:
            target(m, intid, 0)


def target(m: Machine, intid: int, cpu: int) -> None:
    if m.v3:
        address = GuestPhys(int(GUEST_GICD_BASE) + Gicd3.IROUTER + intid * 8)
        vgicd3_access(m.domain, m.vcpus[0], Access(address, 8, True, cpu))
        m.settle()
        return
    shift = intid % 4 * 8
    old = read(m, Gicd.ITARGETSR + intid // 4 * 4)
    write(m, Gicd.ITARGETSR + intid // 4 * 4, old & ~(0xFF << shift) | 1 << cpu + shift)


def priority(m: Machine, intid: int, value: int) -> None:
    """A byte of IPRIORITYR."""
    address = GuestPhys(int(GUEST_GICD_BASE) + Gicd.IPRIORITYR + intid)
    access = vgicd3_access if m.v3 else vgicd_access
    assert access(m.domain, m.vcpus[0], Access(address, 1, True, value))[0] == Outcome.HANDLED


def send(m: Machine, cpu: int, sgi: int, targets: int) -> None:
    """An SGI from a vCPU to those of a mask."""
    if m.v3:
        m.play(cpu)
        vgic_send_sgi(m.vcpus[cpu], sgi << 24 | targets, True)
        m.settle()
    else:
        write(m, Gicd.SGIR, targets << 16 | sgi, cpu)


def take(m: Machine, cpu: int = 0) -> int | None:
    """Acknowledge and end one interrupt."""
    taken = m.bus.interfaces[cpu].acknowledge()
    if taken is None:
        return None
    m.bus.interfaces[cpu].end(taken[0])
    m.settle()
    return taken[0]


def test_reset_values() -> None:
    with machine(4) as m:
        assert read(m, Gicd.CTLR) == 0
        assert read(m, Gicd.TYPER) & 0x1F == 7
        assert read(m, Gicd.TYPER) >> 5 & 7 == 3
        assert read(m, Gicd.ISENABLER) == 0xFFFF, "SGIs are always enabled"
        assert read(m, Gicd.ICFGR) == 0xAAAA_AAAA, "SGIs are edge-triggered"
        assert read(m, 0xFE8) == 0x2B, "architecture version 2"
        for cpu in range(4):
            assert read(m, Gicd.ITARGETSR, cpu) == 0x0101_0101 << cpu


ROUND_TRIP = [
    (Gicd.IGROUPR, 8, 0xFFFF_FFFF),
    (Gicd.IPRIORITYR, 64, 0xF8F8_F8F8),
    (Gicd.ITARGETSR + 32, 56, 0x0F0F_0F0F),
    (Gicd.ICFGR + 8, 14, 0xAAAA_AAAA),
]


@given(st.sampled_from(ROUND_TRIP), st.integers(0, 63), st.integers(0, 0xFFFF_FFFF))
def test_plain_registers_keep_what_is_written(row: tuple[int, int, int], index: int, value: int) -> None:
    base, count, mask = row
    with machine(4) as m:
        offset = base + index % count * 4
        write(m, offset, value)
        assert read(m, offset) == value & mask


@given(st.integers(0, 7), st.lists(st.tuples(st.booleans(), st.integers(0, 0xFFFF_FFFF)), max_size=6))
def test_enable_set_and_clear(word: int, steps: list[tuple[bool, int]]) -> None:
    with machine() as m:
        model = 0xFFFF if word == 0 else 0
        for on, value in steps:
            write(m, (Gicd.ISENABLER if on else Gicd.ICENABLER) + word * 4, value)
            model = model | value if on else model & ~value
            model |= 0xFFFF if word == 0 else 0
            assert read(m, Gicd.ISENABLER + word * 4) == read(m, Gicd.ICENABLER + word * 4) == model


@given(st.integers(0, 0xFFF), st.sampled_from([1, 2, 4, 8]), st.booleans(), st.integers(0, 2**64 - 1))
@settings(max_examples=300)
def test_no_access_stops_the_host(offset: int, width: int, is_write: bool, value: int) -> None:
    with machine(2) as m:
        access = Access(GuestPhys(int(GUEST_GICD_BASE) + offset), width, is_write, value & ((1 << 8 * width) - 1))
        outcome, _ = vgicd_access(m.domain, m.vcpus[0], access)
        m.settle()
        base, _, by_byte, *_ = next(row for row in REGISTERS if row[0] <= offset < row[0] + row[1])
        sound = (width == 4 and offset % 4 == 0) or (width == 1 and by_byte)
        assert outcome == (Outcome.HANDLED if sound else Outcome.FORBIDDEN), hex(base)


@given(st.integers(32, 255), st.integers(0, 255))
def test_bytes_of_priorities(intid: int, value: int) -> None:
    with machine() as m:
        address = GuestPhys(int(GUEST_GICD_BASE) + Gicd.IPRIORITYR + intid)
        assert vgicd_access(m.domain, m.vcpus[0], Access(address, 1, True, value))[0] == Outcome.HANDLED
        assert vgicd_access(m.domain, m.vcpus[0], Access(address, 1, False, 0)) == (Outcome.HANDLED, value & 0xF8)


@VERSIONS
def test_nothing_is_shown_before_it_is_enabled(version: int) -> None:
    with machine(version=version) as m:
        vgic_raise_own(m.vcpus[0], TIMER)
        assert take(m) is None
        write(m, Gicd.ISENABLER, 1 << TIMER)
        assert take(m) is None, "GICD_CTLR is still off"
        write(m, Gicd.CTLR, 1)
        assert take(m) == TIMER
        assert take(m) is None


@VERSIONS
def test_disabling_takes_a_pending_interrupt_back(version: int) -> None:
    with machine(version=version) as m:
        enable(m, TIMER, SPI)
        vgic_raise_own(m.vcpus[0], TIMER)
        vgic_set_spi_level(m.domain, SPI, True)
        write(m, Gicd.ICENABLER, 1 << TIMER)
        write(m, Gicd.ICENABLER + 4, 1 << SPI - 32)
        assert take(m) is None
        assert read(m, Gicd.ISPENDR) == 1 << TIMER
        enable(m, TIMER, SPI)
        assert {take(m), take(m)} == {TIMER, SPI}


@VERSIONS
def test_a_level_comes_again_until_it_falls(version: int) -> None:
    with machine(version=version) as m:
        enable(m, SPI)
        vgic_set_spi_level(m.domain, SPI, True)
        assert [take(m), take(m), take(m)] == [SPI] * 3
        vgic_set_spi_level(m.domain, SPI, False)
        assert take(m) is None


@VERSIONS
def test_an_own_level_comes_again_until_it_falls(version: int) -> None:
    with machine(version=version) as m:
        enable(m, 30)
        vgic_set_own_level(m.vcpus[0], 30, True)
        assert [take(m), take(m)] == [30] * 2
        m.bus.interfaces[0].acknowledge()
        vgic_set_own_level(m.vcpus[0], 30, False)
        m.bus.interfaces[0].end(30)
        m.settle()
        assert take(m) is None


@VERSIONS
def test_a_level_that_falls_in_time_is_not_seen(version: int) -> None:
    with machine(version=version) as m:
        enable(m, SPI)
        vgic_set_spi_level(m.domain, SPI, True)
        vgic_set_spi_level(m.domain, SPI, False)
        assert take(m) is None
        assert not vcpu_has_interrupt(m.vcpus[0])


@VERSIONS
def test_an_edge_while_active_is_kept(version: int) -> None:
    with machine(version=version) as m:
        enable(m, TIMER)
        vgic_raise_own(m.vcpus[0], TIMER)
        m.bus.interfaces[0].acknowledge()
        vgic_raise_own(m.vcpus[0], TIMER)
        m.bus.interfaces[0].end(TIMER)
        m.settle()
        assert take(m) == TIMER
        assert take(m) is None


@pytest.mark.parametrize(("version", "lists"), [(2, 2), (2, 4), (2, 16), (3, 4), *[pytest.param(V2_ON_V3, 4, id="2on3")] * CONFIG.GICV2_ON_V3])
@given(st.lists(st.tuples(st.integers(32, 95), st.integers(0, 30)), min_size=1, max_size=30, unique_by=lambda x: x[0]))
@settings(max_examples=40, deadline=None)
def test_overflow_is_delivered_by_priority(version: int, lists: int, interrupts: list[tuple[int, int]]) -> None:
    """More pending interrupts than list registers: each comes once, the urgent ones first."""
    with machine(1, lists, version) as m:
        enable(m, *(intid for intid, _ in interrupts))
        for intid, urgency in interrupts:
            priority(m, intid, urgency << 3)
        for intid, _ in interrupts:
            write(m, Gicd.ISPENDR + intid // 32 * 4, 1 << intid % 32)
        order = []
        while (taken := take(m)) is not None:
            order.append(taken)
        priorities = dict(interrupts)
        assert sorted(order) == sorted(priorities)
        assert [priorities[i] for i in order] == sorted(priorities.values())


def test_sgi_to_self_and_others() -> None:
    with machine(4) as m:
        for cpu in range(4):
            write(m, Gicd.CTLR, 1, cpu)
        write(m, Gicd.SGIR, 2 << 24 | 5, 1)
        assert [take(m, cpu) for cpu in range(4)] == [None, 5, None, None]
        write(m, Gicd.SGIR, 1 << 24 | 6, 1)
        assert [take(m, cpu) for cpu in range(4)] == [6, None, 6, 6]
        write(m, Gicd.SGIR, 0b1001 << 16 | 7, 2)
        assert [take(m, cpu) for cpu in range(4)] == [7, None, None, 7]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 15)), max_size=12))
@settings(max_examples=60, deadline=None)
def test_each_sender_of_an_sgi_is_seen_once(sent: list[tuple[int, int]]) -> None:
    """SGIs to vCPU 0 from all: pending ones merge by number and sender, no more and no less."""
    with machine(4) as m:
        write(m, Gicd.CTLR, 1)
        for cpu, sgi in sent:
            write(m, Gicd.SGIR, 1 << 16 | sgi, cpu)
        seen = []
        while (taken := m.bus.interfaces[0].acknowledge()) is not None:
            seen.append((taken[1], taken[0]))
            m.bus.interfaces[0].end(taken[0])
            m.settle()
        assert sorted(seen) == sorted(set(sent))


def test_pending_sgis_are_read_and_cleared() -> None:
    with machine(2) as m:
        write(m, 0xF20, 0x0301)  # GICD_SPENDSGIR0: SGI 0 from 0, SGI 1 from 0 and 1
        assert read(m, 0xF10) == 0x0301
        write(m, 0xF10, 0x0100)
        assert read(m, 0xF20) == 0x0201


@VERSIONS
def test_spi_goes_to_its_target_and_follows_it(version: int) -> None:
    with machine(4, version=version) as m:
        enable(m, SPI)
        for cpu in (3, 1, 2):
            target(m, SPI, cpu)
            vgic_set_spi_level(m.domain, SPI, True)
            m.settle()
            vgic_set_spi_level(m.domain, SPI, False)
            assert [c for c in range(4) if m.bus.interfaces[c].acknowledge()] == [cpu]
            m.bus.interfaces[cpu].end(SPI)
            m.settle()


@VERSIONS
def test_a_pending_spi_follows_its_target(version: int) -> None:
    with machine(3, version=version) as m:
        enable(m, SPI)
        target(m, SPI, 1)
        write(m, Gicd.ISPENDR + 4, 1 << SPI - 32)
        assert m.bus.interfaces[1].used()
        target(m, SPI, 2)
        assert [take(m, cpu) for cpu in range(3)] == [None, None, SPI]


@VERSIONS
def test_an_active_spi_stays_where_it_is(version: int) -> None:
    with machine(3, version=version) as m:
        enable(m, SPI)
        target(m, SPI, 1)
        write(m, Gicd.ISPENDR + 4, 1 << SPI - 32)
        m.bus.interfaces[1].acknowledge()
        target(m, SPI, 2)
        write(m, Gicd.ISPENDR + 4, 1 << SPI - 32)
        assert take(m, 2) is None, "active: it cannot be acknowledged elsewhere"
        m.bus.interfaces[1].end(SPI)
        m.settle()


@VERSIONS
def test_another_cpus_states_are_read_as_its_guest_left_them(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pending, active, neither: the CPU that has the list registers answers the kick."""
    with machine(cpus=2, version=version) as m:
        monkeypatch.setattr(GIC, "patience", 1)

        def answer(sgi: int) -> None:
            m.play(1)
            vgic_attend(m.vcpus[1])
            m.play(0)

        enable(m, SPI)
        target(m, SPI, 1)
        write(m, Gicd.ISPENDR + 4, 1 << SPI - 32)
        monkeypatch.setattr(m.bus.interfaces[1], "signalled", answer)
        states = []
        for step in (lambda: None, m.bus.interfaces[1].acknowledge, lambda: m.bus.interfaces[1].end(SPI)):
            step()
            states.append((read(m, Gicd.ISPENDR + 4) >> SPI - 32 & 1, read(m, Gicd.ISACTIVER + 4) >> SPI - 32 & 1))
        assert states == [(1, 0), (0, 1), (0, 0)]


@pytest.mark.parametrize(("asks", "left"), [(1, 0), (2, 1)])
@VERSIONS
def test_one_load_has_one_patience(version: int, asks: int, left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many CPUs that do not answer hold the interrupts of its word: the first is waited for, the second is not.

    One of them asks in its turn, which a CPU that waits sees at once.
    """
    monkeypatch.setattr(GIC, "patience", 10)
    with machine(cpus=3, version=version) as m:
        for n in range(2):
            enable(m, SPI + n)
            target(m, SPI + n, 1 + n)
            write(m, Gicd.ISPENDR + 4, 1 << SPI + n - 32)
        m.settle()
        mine = m.vcpus[0].vgic.sample
        monkeypatch.setattr(m.bus.interfaces[asks], "signalled", lambda sgi: mine.store(1))
        assert read(m, Gicd.ISPENDR + 4) == 3 << SPI - 32
        assert mine.load() == left
        assert all(v.vgic.sample.load() == 1 for v in m.vcpus[1:])


@VERSIONS
def test_what_comes_again_after_a_move_goes_to_the_new_target(version: int) -> None:
    """Active at the old one, it waits for the end there (IHI 0048B 3.2.4)."""
    with machine(cpus=2, version=version) as m:
        enable(m, SPI)
        target(m, SPI, 1)
        write(m, Gicd.ISPENDR + 4, 1 << SPI - 32)
        taken = m.bus.interfaces[1].acknowledge()
        target(m, SPI, 0)
        write(m, Gicd.ISPENDR + 4, 1 << SPI - 32)
        assert taken is not None and take(m, 0) is None
        m.bus.interfaces[1].end(taken[0])
        m.settle()
        assert (take(m, 1), take(m, 0), take(m, 0)) == (None, SPI, None)


@VERSIONS
def test_another_cpu_takes_a_pending_spi_back(version: int) -> None:
    with machine(2, version=version) as m:
        enable(m, SPI)
        target(m, SPI, 1)
        write(m, Gicd.ISPENDR + 4, 1 << SPI - 32)
        assert m.bus.interfaces[1].used()
        write(m, Gicd.ICENABLER + 4, 1 << SPI - 32)
        assert not m.bus.interfaces[1].used()
        write(m, Gicd.ISENABLER + 4, 1 << SPI - 32)
        write(m, Gicd.ICPENDR + 4, 1 << SPI - 32)
        assert take(m, 1) is None


@VERSIONS
def test_set_and_clear_active(version: int) -> None:
    with machine(version=version) as m:
        enable(m, SPI)
        write(m, Gicd.ISACTIVER + 4, 1 << SPI - 32)
        assert read(m, Gicd.ICACTIVER + 4) == 1 << SPI - 32
        write(m, Gicd.ISPENDR + 4, 1 << SPI - 32)
        assert take(m) is None, "active: it cannot be acknowledged again"
        write(m, Gicd.ICACTIVER + 4, 1 << SPI - 32)
        assert read(m, Gicd.ISACTIVER + 4) == 0
        assert take(m) == SPI


@VERSIONS
@pytest.mark.parametrize("intid", [TIMER, SPI])
def test_a_pending_interrupt_is_shown_by_its_new_priority(version: int, intid: int) -> None:
    """Though it is in a list register: what is stored later is more urgent than the other."""
    with machine(version=version) as m:
        enable(m, intid, OTHER)
        for n, value in ((intid, 0xA0), (OTHER, 0x80)):
            write(m, Gicd.IPRIORITYR + n // 4 * 4, value << n % 4 * 8)
            write(m, Gicd.ISPENDR + n // 32 * 4, 1 << n % 32)
        write(m, Gicd.IPRIORITYR + intid // 4 * 4, 0x40 << intid % 4 * 8)
        assert [take(m), take(m), take(m)] == [intid, OTHER, None]


@VERSIONS
def test_another_cpu_changes_the_priority_of_a_pending_spi(version: int) -> None:
    with machine(cpus=2, version=version) as m:
        enable(m, SPI, SPI + 1)
        for n in (SPI, SPI + 1):
            target(m, n, 1)
            write(m, Gicd.ISPENDR + 4, 1 << n - 32)
        write(m, Gicd.IPRIORITYR + SPI, 0x4080)
        write(m, Gicd.IPRIORITYR + SPI, 0x4020)
        assert [take(m, 1), take(m, 1), take(m, 1)] == [SPI, SPI + 1, None]


@VERSIONS
@pytest.mark.parametrize("intid", [TIMER, SPI])
def test_a_pending_interrupt_is_shown_in_its_new_group(version: int, intid: int) -> None:
    with machine(version=version) as m:
        enable(m, intid)
        write(m, Gicd.CTLR, 3)
        write(m, Gicd.ISPENDR + intid // 32 * 4, 1 << intid % 32)
        write(m, Gicd.IGROUPR + intid // 32 * 4, 1 << intid % 32)
        shown = [lr for lr in m.bus.interfaces[0].lr if lr & LrState.PENDING]
        assert len(shown) == 1 and shown[0] & LrState.GROUP1


@VERSIONS
def test_groups_are_forwarded_one_by_one(version: int) -> None:
    with machine(version=version) as m:
        enable(m, SPI)
        write(m, Gicd.IGROUPR + 4, 1 << SPI - 32)
        write(m, Gicd.ISPENDR + 4, 1 << SPI - 32)
        assert take(m) is None
        write(m, Gicd.CTLR, 2)
        assert take(m) == SPI


operations: dict[str, Callable[[Machine, int], None]] = {
    "raise": lambda m, n: vgic_raise_own(m.vcpus[0], 16 + n % 16),
    "level up": lambda m, n: vgic_set_spi_level(m.domain, 32 + n % 64, True),
    "level down": lambda m, n: vgic_set_spi_level(m.domain, 32 + n % 64, False),
    "sgi": lambda m, n: send(m, 0, n % 16, 1),
    "enable": lambda m, n: write(m, Gicd.ISENABLER + n % 3 * 4, 0xFFFF << n % 32 & 0xFFFF_FFFF),
    "disable": lambda m, n: write(m, Gicd.ICENABLER + n % 3 * 4, 1 << n % 32),
    "pend": lambda m, n: write(m, Gicd.ISPENDR + n % 3 * 4, 1 << n % 32),
    "unpend": lambda m, n: write(m, Gicd.ICPENDR + n % 3 * 4, 1 << n % 32),
    "control": lambda m, n: write(m, Gicd.CTLR, n % 4),
    "edge": lambda m, n: write(m, Gicd.ICFGR + (2 + n % 4) * 4, n * 0x0101_0101 & 0xFFFF_FFFF),
    "take": lambda m, n: None if take(m) is None else None,
}


@VERSIONS
@given(st.lists(st.tuples(st.sampled_from(sorted(operations)), st.integers(0, 255)), max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_sequence_keeps_the_invariants(version: int, steps: list[tuple[str, int]]) -> None:
    """No interrupt is in two list registers, what is listed as pending is enabled, and all ends once levels are down."""
    with machine(1, 4, version) as m:
        for intid in range(32, 96):
            target(m, intid, 0)
        for name, n in steps:
            operations[name](m, n)
            m.settle()
            listed = [m.bus.interfaces[0].lr[i] & 0x3FF for i in m.bus.interfaces[0].used()]
            assert len(set(listed)) == len(listed)
            for intid in listed:
                assert read(m, Gicd.ISENABLER + intid // 32 * 4) >> intid % 32 & 1
        for intid in range(32, 96):
            vgic_set_spi_level(m.domain, intid, False)
        taken = 0
        while take(m) is not None:
            taken += 1
            assert taken < 200
        write(m, Gicd.CTLR, 3)
        while take(m) is not None:
            taken += 1
            assert taken < 400
        on = [read(m, Gicd.ISPENDR + w * 4) & read(m, Gicd.ISENABLER + w * 4) for w in range(3)]
        assert on == [0, 0, 0]


registers = st.sampled_from([base + 4 * i for base, size, *_ in REGISTERS for i in range(min(size // 4, 16))])
accesses = st.tuples(st.integers(0, 3), registers, st.integers(0, 0xFFFF_FFFF), st.booleans(), st.integers(0, 15))


@pytest.mark.parametrize("settled", [True, False])
@given(st.lists(accesses, max_size=50))
@settings(max_examples=100, deadline=None)
def test_four_vcpus_write_anything(settled: bool, steps: list[tuple[int, int, int, bool, int]]) -> None:
    """Any stores by any vCPU, with others' kicks handled at once or late: no panic, no interrupt in two places, an end."""
    with machine(4, 4) as m:
        for cpu, offset, value, line, n in steps:
            m.play(cpu)
            vgicd_write(m.domain, m.vcpus[cpu], offset, value)
            vgic_set_spi_level(m.domain, 32 + n, line)
            taken = m.bus.current.acknowledge() if line else None
            if taken is not None:
                m.bus.current.end(taken[0])
            if settled:
                m.settle()
        m.settle()
        shared = [f.lr[i] & 0x3FF for f in m.bus.interfaces for i in f.used() if f.lr[i] & 0x3FF >= 32]
        assert len(set(shared)) == len(shared), "a shared interrupt is in two list registers"
        for n in range(16):
            vgic_set_spi_level(m.domain, 32 + n, False)
        write(m, Gicd.CTLR, 3)
        for _ in range(1200):
            if all(take(m, cpu) is None for cpu in range(4)):
                return
        raise AssertionError("interrupts without an end")
