"""SGIs from one vCPU to another by the short way: posted in one word, listed by the CPU that takes SGI_POST, or left to the usual mail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freestanding import Atomic
from tests.xenarm.gic_model import Machine, machine
from tests.xenarm.test_vgic import VERSIONS, send, take, write
from tests.xenarm.test_vgic3 import all_on
from xenarm.abi.layout import GUEST_GICD_BASE
from xenarm.arm import cpu as cpus
from xenarm.arm.short import DONE, NOT_HERE, SENDS, SHORT_SYNC, VALUE_SHIFT, WORD_ACCESS, WRITE
from xenarm.arm64 import registers
from xenarm.arm64.registers import Ec, sysreg_key
from xenarm.arm64.turns import guest_kicks, guest_sends
from xenarm.core.domain import Power
from xenarm.core.sched.scheduler import SCHED, SCHEDULERS
from xenarm.core.sched.state import STOP_PAUSED, STOP_WAITS
from xenarm.core.trace import CLASSES, TRACE
from xenarm.gic.context import vgic_load_v2, vgic_load_v3
from xenarm.gic.registers import Gicd, LrState
from xenarm.gic.state import LOOK
from xenarm.gic.vgic import vcpu_kick, vgic_attend, vgic_park, vgic_vcpu_reset

RT = 3
PC = 0x4000_1000


def on(m: Machine) -> None:
    """Every vCPU takes every SGI."""
    if m.v3:
        all_on(m)
    else:
        write(m, Gicd.CTLR, 1)


def short(m: Machine, cpu: int, sgi: int, targets: int) -> int:
    """A guest's instruction that sends an SGI, by the short way; what that leaves."""
    v = m.vcpus[cpu]
    m.play(cpu)
    if m.v3:
        v.regs[RT] = sgi << 24 | targets
        registers.MODEL.update(esr_el2=int(Ec.SYSREG) << 26 | 1 << 25 | sysreg_key(3, 0, 12, 11, 5) | RT << 5, elr_el2=PC)
        return int(SHORT_SYNC["v3"](v))
    v.regs[RT] = targets << 16 | sgi
    registers.MODEL.update(esr_el2=WORD_ACCESS << 21 | RT << 16 | WRITE, far_el2=int(GUEST_GICD_BASE) + Gicd.SGIR, elr_el2=PC)
    registers.MODEL["hpfar_el2"] = v.gicd_frame
    return int(SHORT_SYNC["v2"](v))


def finish(m: Machine, cpu: int, sgi: int, targets: int, left: int) -> None:
    """What the vectors do then."""
    if left == NOT_HERE:
        send(m, cpu, sgi, targets)
    elif left != DONE:
        rest(m, cpu, left)


def rest(m: Machine, cpu: int, left: int) -> None:
    kicks = guest_sends(left, m.vcpus[cpu])
    if kicks:
        guest_kicks(m.vcpus[cpu], kicks)


def sent(m: Machine, cpu: int, sgi: int, targets: int) -> None:
    finish(m, cpu, sgi, targets, short(m, cpu, sgi, targets))


def seen(m: Machine, cpu: int) -> list[tuple[int, int]]:
    """(sender, SGI) of all that a vCPU takes now."""
    found = []
    while (taken := m.bus.interfaces[cpu].acknowledge()) is not None:
        found.append((taken[1], taken[0]))
        m.bus.interfaces[cpu].end(taken[0])
        m.settle()
    return found


class Watched(Atomic[int]):
    """An atomic word that is plain again once another CPU has done something."""

    reads: int
    then: Callable[[], None]

    @property
    def value(self) -> int:  # type: ignore[override]
        if self.reads == 0:
            self.__class__ = Atomic  # type: ignore[assignment]
            self.then()
        self.reads -= 1
        return int(self.__dict__["value"])

    @value.setter
    def value(self, new: int) -> None:
        self.__dict__["value"] = new


def happens(word: Any, then: Callable[[], None], reads: int) -> None:
    """Let another CPU do something when the word has been read so many times."""
    word.__class__ = Watched
    word.reads, word.then = reads, then


@VERSIONS
def test_a_posted_sgi_is_listed_by_the_cpu_that_takes_it(version: int) -> None:
    with machine(2, version=version) as m:
        on(m)
        assert short(m, 0, 5, 0b10) == DONE and registers.MODEL["elr_el2"] == PC + 4
        other = m.bus.interfaces[1]
        assert other.posted and not other.kicked and m.vcpus[1].vgic.kicked.value & ~0x3C00 == LrState.PENDING | 5
        m.play(1)
        m.take_post()
        assert m.vcpus[1].vgic.kicked.value == 0 and m.vcpus[1].vgic.mail_flags.value == 0
        assert seen(m, 1) == [(0, 5)]


@VERSIONS
def test_one_word_holds_one_sgi_and_the_next_goes_by_mail(version: int) -> None:
    """The second sender finds the word taken: both come, by one physical interrupt."""
    with machine(4, version=version) as m:
        on(m)
        assert short(m, 1, 5, 0b0001) == DONE
        left = short(m, 2, 5, 0b0001)
        assert left & SENDS and left >> VALUE_SHIFT != 0
        rest(m, 2, left)
        assert m.bus.interfaces[0].posted and not m.bus.interfaces[0].kicked
        m.settle()
        assert sorted(seen(m, 0)) == ([(0, 5)] if m.v3 else [(1, 5), (2, 5)])


@VERSIONS
def test_whoever_kicks_meanwhile_is_heard(version: int) -> None:
    """A kick while an SGI is posted sends no second interrupt: SGI_POST must find it."""
    with machine(2, version=version) as m:
        on(m)
        assert short(m, 0, 5, 0b10) == DONE
        m.vcpus[1].vgic.attention.value = 1
        vcpu_kick(m.vcpus[1])
        assert m.vcpus[1].vgic.kicked.value & LOOK and not m.bus.interfaces[1].kicked
        m.settle()
        assert m.vcpus[1].vgic.attention.value == 0 and m.vcpus[1].vgic.kicked.value == 0
        assert seen(m, 1) == [(0, 5)]


@VERSIONS
def test_a_kick_between_listing_and_clearing_is_heard(version: int) -> None:
    with machine(2, version=version) as m:
        on(m)
        assert short(m, 0, 5, 0b10) == DONE
        target = m.vcpus[1]

        def late() -> None:
            target.vgic.attention.value = 1
            vcpu_kick(target)

        happens(target.vgic.kicked, late, reads=1)
        m.settle()
        assert target.vgic.attention.value == 0 and target.vgic.kicked.value == 0
        assert seen(m, 1) == [(0, 5)]


@VERSIONS
@pytest.mark.parametrize("state", ["waits", "paused", "away"])
def test_a_vcpu_that_stops_while_it_is_posted_to_is_told(version: int, state: str) -> None:
    """It looked at `kicked` before the word came, and stopped: the sender finds that, and sends no second SGI."""
    with machine(2, version=version) as m:
        on(m)
        target = m.vcpus[1]

        def stops() -> None:
            target.sched.stopped.value = {"waits": STOP_WAITS, "paused": STOP_PAUSED, "away": 0}[state]
            target.sched.on_cpu.value = 0 if state == "away" else 1

        happens(target.vgic.kicked, stops, reads=0)
        left = short(m, 0, 5, 0b10)
        assert left == SENDS and not m.bus.interfaces[1].posted
        rest(m, 0, left)
        assert m.bus.interfaces[1].kicked
        m.settle()
        assert seen(m, 1) == [(0, 5)]


@VERSIONS
def test_a_sleeper_is_woken_with_the_interrupt_listed(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No CPU has it: the sender writes what its list register will be."""
    with machine(2, version=version) as m:
        on(m)
        target = m.vcpus[1]
        monkeypatch.setattr(cpus.SHARING, "on", True)
        monkeypatch.setattr(SCHED, "chosen", next(row for row in SCHEDULERS if bytes(row.name) == b"null"))
        target.sched.stopped.value, target.sched.on_cpu.value, target.sched.cpu = STOP_WAITS, 0, 1
        left = short(m, 0, 5, 0b10)
        assert left & SENDS and left >> VALUE_SHIFT & LrState.PENDING
        rest(m, 0, left)
        assert target.sched.stopped.value == 0 and target.vgic.lr[0] & 0x1000_03FF == LrState.PENDING | 5
        assert target.vgic.kicked.value == 0, "nothing is left to look at"
        assert m.bus.interfaces[1].kicked, "the scheduler's choice for it"
        m.play(1)
        (vgic_load_v3 if m.v3 else vgic_load_v2)(target)
        assert seen(m, 1) == [(0, 5)]


@VERSIONS
@pytest.mark.parametrize("targets", [0, 0b100, 0b110, 0x80, 0xFF])
def test_only_an_sgi_to_one_vcpu_that_there_is_takes_the_short_way(version: int, targets: int) -> None:
    """Nobody, somebody who does not exist, several; and the instruction is not skipped."""
    with machine(2, version=version) as m:
        on(m)
        assert short(m, 0, 5, targets) == NOT_HERE and registers.MODEL["elr_el2"] == PC
        assert [v.vgic.kicked.value for v in m.vcpus] == [0, 0]


@pytest.mark.parametrize("targets", [0, 1])
@pytest.mark.parametrize("beyond", [8, 16, 32, 40, 44, 48])
def test_affinities_and_filters_of_a_gicv3_are_not_taken_for_a_vcpu(beyond: int, targets: int) -> None:
    with machine(2, version=3) as m:
        on(m)
        assert short(m, 1, 5, 1 << beyond | targets) == NOT_HERE


@pytest.mark.parametrize("targets", [0, 1])
@pytest.mark.parametrize("filters", [1, 3])
def test_filters_of_a_gicv2_are_not_taken_for_a_vcpu(filters: int, targets: int) -> None:
    with machine(2) as m:
        on(m)
        assert short(m, 1, 5, filters << 8 | targets) == NOT_HERE


@VERSIONS
def test_what_is_posted_to_a_vcpu_that_goes_off_is_forgotten(version: int) -> None:
    """Its next life begins with nothing pending, whether SGI_POST came before its end or after."""
    with machine(2, version=version) as m:
        on(m)
        for late in (False, True):
            assert short(m, 0, 5, 0b10) == DONE
            m.play(1)
            vgic_park(m.vcpus[1])
            m.vcpus[1].power.value = int(Power.OFF)
            if not late:
                m.settle()
            m.play(1)
            vgic_vcpu_reset(m.vcpus[1])
            m.vcpus[1].power.value = int(Power.ON)
            m.settle()
            on(m)
            assert seen(m, 1) == []


def test_a_reset_forgets_no_kick() -> None:
    """What was posted goes; that something is to be looked at stays."""
    with machine(2) as m:
        on(m)
        assert short(m, 0, 5, 0b10) == DONE
        vcpu_kick(m.vcpus[1])
        m.play(1)
        vgic_vcpu_reset(m.vcpus[1])
        assert m.vcpus[1].vgic.kicked.value == LOOK


def test_while_scheduling_is_traced_a_kick_is_noted() -> None:
    """The short way writes no events."""
    with machine(2) as m:
        on(m)
        TRACE.classes.value = CLASSES["sched"]
        try:
            assert short(m, 0, 5, 0b10) & SENDS
        finally:
            TRACE.classes.value = 0
        assert m.vcpus[1].vgic.kicked.value == 0


steps: dict[str, Callable[[Machine, int, int, int], None]] = {
    "short": lambda m, cpu, sgi, to: sent(m, cpu, sgi, 1 << to),
    "usual": lambda m, cpu, sgi, to: send(m, cpu, sgi, 1 << to),
    "kick": lambda m, cpu, sgi, to: vcpu_kick(m.vcpus[to]),
}


@VERSIONS
@given(st.lists(st.tuples(st.sampled_from(sorted(steps)), st.integers(0, 3), st.integers(0, 15), st.integers(0, 3)), max_size=16))
@settings(max_examples=100, deadline=None)
def test_every_sgi_is_seen_once_whichever_way_it_took(version: int, todo: list[tuple[str, int, int, int]]) -> None:
    """Several are on their way at once: kicks are taken at the end, and nothing is lost, doubled or taken for another's."""
    with machine(4, 2, version) as m:
        on(m)
        wanted: list[set[tuple[int, int]]] = [set() for _ in range(4)]
        m.settle, settle = lambda: None, m.settle  # type: ignore[method-assign]
        for way, cpu, sgi, to in todo:
            steps[way](m, cpu, sgi, to)
            if way != "kick":
                wanted[to].add((0 if m.v3 else cpu, sgi))
        m.settle = settle  # type: ignore[method-assign]
        m.settle()
        assert [sorted(seen(m, cpu)) for cpu in range(4)] == [sorted(one) for one in wanted]
        assert all(v.vgic.kicked.value == 0 for v in m.vcpus)


@VERSIONS
def test_an_sgi_that_waits_already_is_not_posted_over(version: int) -> None:
    """Listed and not acknowledged, or active: SGI_POST leaves it to the usual way, and the guest sees it the right number of times."""
    with machine(2, version=version) as m:
        on(m)
        for _ in range(2):
            sent(m, 0, 5, 0b10)
            m.settle()
        assert m.bus.interfaces[1].acknowledge() is not None
        sent(m, 0, 5, 0b10)
        m.settle()
        m.bus.interfaces[1].end(5)
        m.settle()
        assert seen(m, 1) == [(0, 5)] and take(m, 1) is None


def test_a_spurious_post_changes_nothing() -> None:
    with machine(2) as m:
        on(m)
        m.play(1)
        m.take_post()
        vgic_attend(m.vcpus[1])
        assert seen(m, 1) == []
