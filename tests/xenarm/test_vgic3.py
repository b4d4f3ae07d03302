"""What the virtual GICv3 has beyond the virtual GICv2: redistributors for all to use, affinity routing, SGIs by system register, every access size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.xenarm.gic_model import Machine, machine
from tests.xenarm.test_vgic import SPI, TIMER, enable, priority, read, redistributor, take, target, write
from xenarm.abi.layout import GUEST_GICD3_SIZE, GUEST_GICD_BASE, GUEST_GICR_BASE, GUEST_GICR_FRAME
from xenarm.arm64.guest_sysregs import sysreg_access
from xenarm.arm64.registers import sysreg_key
from xenarm.config import CONFIG
from xenarm.core.access import Access, Outcome
from xenarm.core.addresses import GuestPhys
from xenarm.gic.registers import Gicd
from xenarm.gic.registers3 import Gicd3, Gicr
from xenarm.gic.vgic import vgic_look, vgic_park, vgic_raise_own, vgic_set_spi_level, vgic_vcpu_reset
from xenarm.gic.vgicd3 import REGISTERS3, vgicd3_access
from xenarm.gic.vgicr import REGISTERS_SGI, vgicr_access

pytestmark = pytest.mark.board("arm64")

ALL = 0xFFFF_FFFF
SGI1R, ASGI1R, SGI0R = (sysreg_key(3, 0, 12, 11, op2) for op2 in (5, 6, 7))
ICC_SRE = sysreg_key(3, 0, 12, 12, 5)


@contextmanager
def machine3(cpus: int = 1) -> Iterator[Machine]:
    with machine(cpus, version=3) as m:
        yield m


def gicd(m: Machine, offset: int, width: int = 4, value: int | None = None) -> int:
    address = GuestPhys(int(GUEST_GICD_BASE) + offset)
    outcome, loaded = vgicd3_access(m.domain, m.vcpus[0], Access(address, width, value is not None, value or 0))
    assert outcome == Outcome.HANDLED
    m.settle()
    return int(loaded)


def rd_base(m: Machine, owner: int, offset: int, width: int = 4, value: int | None = None) -> int:
    address = GuestPhys(int(GUEST_GICR_BASE) + owner * GUEST_GICR_FRAME + offset)
    outcome, loaded = vgicr_access(m.domain, m.vcpus[0], Access(address, width, value is not None, value or 0))
    assert outcome == Outcome.HANDLED
    m.settle()
    return int(loaded)


def own_sgi(m: Machine, cpu: int, offset: int, value: int) -> None:
    """A vCPU stores to its own redistributor."""
    m.play(cpu)
    redistributor(m, cpu, offset, value)
    m.settle()


def all_on(m: Machine, group1: int = ALL) -> None:
    """Every vCPU takes its SGIs and PPIs, of both groups."""
    write(m, Gicd.CTLR, 3)
    for cpu in range(len(m.vcpus)):
        own_sgi(m, cpu, Gicd.IGROUPR, group1)
        own_sgi(m, cpu, Gicd.ISENABLER, ALL)


def sysreg(m: Machine, cpu: int, key: int, value: int | None = None) -> tuple[bool, int]:
    m.play(cpu)
    handled, loaded = sysreg_access(m.vcpus[cpu], key | (1 if value is None else 0), False, value or 0)
    m.settle()
    return handled, int(loaded)


def taken(m: Machine) -> dict[int, set[int]]:
    """What each vCPU takes now."""
    found: dict[int, set[int]] = {cpu: set() for cpu in range(len(m.vcpus))}
    for cpu, seen in found.items():
        while (intid := take(m, cpu)) is not None:
            assert intid not in seen
            seen.add(intid)
    return found


# ---- identification and access sizes ----------------------------------------------------------------------------------


def test_identification() -> None:
    with machine3(3) as m:
        assert gicd(m, Gicd.CTLR) == 0x50, "affinity routing on, one security state"
        kind = gicd(m, Gicd.TYPER)
        assert kind & 0x1F == CONFIG.VGIC_INTIDS // 32 - 1
        assert kind >> 5 & 7 == 0 and kind >> 10 & 1 == 0, "no CPU number, no second security state"
        assert kind >> 19 & 0x1F == 9 and kind >> 25 & 1 == 1
        for owner in range(3):
            assert rd_base(m, owner, Gicr.TYPER, 8) == owner << 32 | owner << 8 | (owner == 2) << 4
            assert rd_base(m, owner, Gicr.TYPER + 4) == owner
        for found in (gicd(m, Gicd3.PIDR2), rd_base(m, 0, Gicr.PIDR2)):
            assert found >> 4 == 3, "architecture revision"


def test_a_redistributor_wakes_and_sleeps() -> None:
    with machine3(2) as m:
        assert rd_base(m, 1, Gicr.WAKER) == 6
        rd_base(m, 1, Gicr.WAKER, value=ALL & ~2)
        assert rd_base(m, 1, Gicr.WAKER) == 0
        rd_base(m, 1, Gicr.WAKER, value=2)
        assert rd_base(m, 1, Gicr.WAKER) == 6


def distributor_has(offset: int, width: int) -> tuple[bool, bool]:
    """Whether the distributor takes such an access, and whether the place is reserved."""
    row = next((r for r in REGISTERS3 if r[0] <= offset < r[0] + r[1]), None)
    router = Gicd3.IROUTER + 32 * 8 <= offset < Gicd3.IROUTER + CONFIG.VGIC_INTIDS * 8
    sound = (width == 4 and offset % 4 == 0) or (width == 1 and row is not None and row[2]) or (width == 8 and router and offset % 8 == 0)
    return sound, row is None and not router and offset < Gicd3.ID


def redistributor_has(inside: int, width: int) -> tuple[bool, bool]:
    """The same of a redistributor."""
    in_sgi = inside - Gicr.SGI_BASE
    row = next((r for r in REGISTERS_SGI if r[0] <= in_sgi < r[0] + r[1]), None)
    sound = (width == 4 and inside % 4 == 0) or (width == 1 and row is not None and row[2]) or (inside == Gicr.TYPER and width == 8)
    return sound, row is None and not (Gicr.IIDR <= inside < Gicr.TYPER + 8 or Gicr.WAKER <= inside < Gicr.WAKER + 4 or Gicr.ID <= inside < Gicr.SGI_BASE)


@given(st.integers(0, GUEST_GICD3_SIZE - 1), st.sampled_from([1, 2, 4, 8]), st.integers(0, 2**64 - 1))
@settings(max_examples=300, deadline=None)
def test_sizes_and_reserved_places_of_the_distributor(offset: int, width: int, value: int) -> None:
    """What takes no such access reads as zero and ignores writes; nothing stops the host."""
    sound, reserved = distributor_has(offset, width)
    with machine3(2) as m:
        before = [gicd(m, at) for at in (0, Gicd.ISENABLER + 4, Gicd.ICFGR + 8, Gicd.IPRIORITYR + 32)]
        gicd(m, offset, width, value & (1 << 8 * width) - 1)
        if not sound:
            assert gicd(m, offset, width) == 0
            assert before == [gicd(m, at) for at in (0, Gicd.ISENABLER + 4, Gicd.ICFGR + 8, Gicd.IPRIORITYR + 32)]
        if reserved:
            assert gicd(m, offset, width) == 0


@given(st.integers(0, 2 * GUEST_GICR_FRAME - 1), st.sampled_from([1, 2, 4, 8]), st.integers(0, 2**64 - 1))
@settings(max_examples=300, deadline=None)
def test_sizes_and_reserved_places_of_a_redistributor(offset: int, width: int, value: int) -> None:
    with machine3(2) as m:
        owner, inside = divmod(offset, GUEST_GICR_FRAME)
        rd_base(m, owner, inside, width, value & (1 << 8 * width) - 1)
        loaded = rd_base(m, owner, inside, width)
        sound, reserved = redistributor_has(inside, width)
        if reserved or not sound:
            assert loaded == 0


FRAMES = {
    "distributor": (vgicd3_access, int(GUEST_GICD_BASE), GUEST_GICD3_SIZE, distributor_has),
    "redistributor": (vgicr_access, int(GUEST_GICR_BASE) + GUEST_GICR_FRAME, GUEST_GICR_FRAME, redistributor_has),
}
"""What answers, where and how large, and what it has."""
SPARSE = 61
"""Of blocks of 256 bytes that are reserved, one offset of so many: each alignment comes."""


@pytest.mark.parametrize("frame", FRAMES)
def test_each_offset_answers_each_width_by_one_rule(frame: str) -> None:
    """What is reserved, or takes no such access, reads as zero and ignores ones; all else answers. Another vCPU's redistributor, the last."""
    access, base, size, has = FRAMES[frame]
    used = {offset >> 8 for offset in range(0, size, 4) if not has(offset, 4)[1]}
    with machine3(2) as m:

        def answer(offset: int, width: int, value: int | None = None) -> int:
            outcome, loaded = access(m.domain, m.vcpus[0], Access(GuestPhys(base + offset), width, value is not None, value or 0))
            assert outcome == Outcome.HANDLED, (hex(offset), width)
            return int(loaded)

        words = [answer(offset, 4) for offset in range(0, size, 4)]
        assert any(words)
        for offset in (at for at in range(size) if at >> 8 in used or at % SPARSE == 0):
            for width in (1, 2, 4, 8):
                sound, reserved = has(offset, width)
                if reserved or not sound:
                    answer(offset, width, (1 << 8 * width) - 1)
                    assert answer(offset, width) == 0, (hex(offset), width)
                else:
                    answer(offset, width)
        m.settle()
        assert words == [answer(offset, 4) for offset in range(0, size, 4)]


def test_nothing_lies_behind_the_last_redistributor() -> None:
    with machine3(2) as m:
        address = GuestPhys(int(GUEST_GICR_BASE) + 2 * GUEST_GICR_FRAME)
        assert vgicr_access(m.domain, m.vcpus[0], Access(address, 4, False, 0))[0] == Outcome.UNHANDLED


def test_the_distributor_has_nothing_of_a_vcpus_own() -> None:
    with machine3() as m:
        for base in (Gicd.IGROUPR, Gicd.ISENABLER, Gicd.ICENABLER, Gicd.ISPENDR, Gicd.ISACTIVER, Gicd.IPRIORITYR, Gicd.ICFGR):
            gicd(m, base, value=ALL)
            assert gicd(m, base) == 0
        for base in (Gicd.ITARGETSR + 40, Gicd.SGIR, 0xF20, 0xD04, 0xE08):
            gicd(m, base, value=ALL)
            assert gicd(m, base) == 0, "of a GICv2, or of two security states"
        assert redistributor(m, 0, Gicd.IGROUPR) == redistributor(m, 0, Gicd.ISENABLER) == redistributor(m, 0, Gicd.IPRIORITYR) == 0


# ---- redistributors ---------------------------------------------------------------------------------------------------


def test_sgis_can_be_turned_off_and_pended() -> None:
    with machine3() as m:
        write(m, Gicd.CTLR, 3)
        write(m, Gicd.ISPENDR, 1 << 5)
        assert take(m) is None
        write(m, Gicd.ISENABLER, 1 << 5)
        assert take(m) == 5
        write(m, Gicd.ISPENDR, 1 << 5)
        write(m, Gicd.ICPENDR, 1 << 5)
        assert take(m) is None and read(m, Gicd.ISPENDR) == 0


@pytest.mark.parametrize("register", [Gicd.ISPENDR, Gicd.ISACTIVER, Gicd.ISENABLER])
def test_another_vcpus_registers_read_as_they_were_written(register: int) -> None:
    """At once, and when its CPU has carried it out; what is cleared later is clear."""
    with machine3(2) as m:
        redistributor(m, 1, register, 0x0300_00C0)
        redistributor(m, 1, register + 0x80, 0x0100_0080)
        assert redistributor(m, 1, register) == 0x0200_0040
        m.settle()
        assert redistributor(m, 1, register) == 0x0200_0040
        m.play(1)
        assert redistributor(m, 1, register) == 0x0200_0040


def test_another_vcpus_interrupts_come_by_its_redistributor() -> None:
    with machine3(2) as m:
        write(m, Gicd.CTLR, 3)
        for offset, value in ((Gicd.IGROUPR, ALL), (Gicd.IPRIORITYR + 24, 0x1010_1010), (Gicd.ISENABLER, ALL), (Gicd.ISPENDR, 1 << TIMER | 1 << 3)):
            redistributor(m, 1, offset, value)
        m.settle()
        assert m.vcpus[1].vgic.own.template[TIMER] >> 23 == 0x80 | 0x10 >> 3, "group and priority are those that were stored"
        assert taken(m) == {0: set(), 1: {TIMER, 3}}
        vgic_raise_own(m.vcpus[0], TIMER)
        redistributor(m, 1, Gicd.ICENABLER, ALL)
        redistributor(m, 1, Gicd.ISPENDR, 1 << TIMER)
        m.settle()
        assert taken(m) == {0: set(), 1: set()}


def test_what_is_stored_for_a_vcpu_that_is_off_waits_for_it() -> None:
    with machine3(2) as m:
        write(m, Gicd.CTLR, 3)
        m.play(1)
        vgic_park(m.vcpus[1])
        m.vcpus[1].power.value = 1
        m.play(0)
        redistributor(m, 1, Gicd.ISENABLER, 1 << 9)
        redistributor(m, 1, Gicd.ISPENDR, 1 << 9)
        m.settle()
        assert redistributor(m, 1, Gicd.ISENABLER) == 1 << 9
        m.vcpus[1].power.value = 0
        m.play(1)
        vgic_vcpu_reset(m.vcpus[1])
        vgic_look(m.vcpus[1])
        m.settle()
        assert taken(m) == {0: set(), 1: {9}}


def test_a_vcpu_that_goes_off_leaves_nothing_to_its_next_life() -> None:
    with machine3(2) as m:
        redistributor(m, 1, Gicd.ISENABLER, ALL)
        redistributor(m, 1, Gicd.IPRIORITYR, ALL)
        m.play(1)
        vgic_park(m.vcpus[1])
        m.play(0)
        assert redistributor(m, 1, Gicd.ISENABLER) == redistributor(m, 1, Gicd.IPRIORITYR) == 0


# ---- routing ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**64 - 1))
@settings(deadline=None)
def test_a_route_names_one_vcpu_or_none(value: int) -> None:
    with machine3(4) as m:
        enable(m, SPI)
        gicd(m, Gicd3.IROUTER + SPI * 8, 8, value)
        kept = value & 0xFF_FFFF
        assert gicd(m, Gicd3.IROUTER + SPI * 8, 8) == kept
        assert gicd(m, Gicd3.IROUTER + SPI * 8) == kept and gicd(m, Gicd3.IROUTER + SPI * 8 + 4) == 0
        write(m, Gicd.ISPENDR + 4, 1 << SPI - 32)
        assert taken(m) == {cpu: {SPI} if kept == cpu else set() for cpu in range(4)}


def reached(value: int, sender: int, cpus: int) -> set[int]:
    """Whom a store to an SGI register means (IHI 0069 12.2.19), where affinity 0 has sixteen places and the others follow in affinity 1."""
    if value >> 40 & 1:
        return set(range(cpus)) - {sender}
    affinity = value >> 48 & 0xFF, value >> 32 & 0xFF, value >> 16 & 0xFF
    places = {(0, 0, cpu >> 4, cpu & 15): cpu for cpu in range(cpus)}
    lowest = [16 * (value >> 44 & 15) + bit for bit in range(16) if value >> bit & 1]
    return {places[(*affinity, low)] for low in lowest if (*affinity, low) in places}


SGI_VALUES = st.builds(
    lambda targets, intid, irm, rs, aff, junk: targets | intid << 24 | irm << 40 | rs << 44 | aff | junk,
    st.integers(0, 0xFFFF),
    st.integers(0, 15),
    st.sampled_from([0, 0, 1]),
    st.sampled_from([0, 0, 0, 1, 15]),
    st.sampled_from([0, 0, 0, 1 << 16, 1 << 32, 1 << 48, 0xFF << 16]),
    st.sampled_from([0, 0, 1 << 28, 1 << 41, 1 << 63]),
)


@given(SGI_VALUES, st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_sgis_reach_whom_they_name(value: int, sender: int) -> None:
    with machine3(4) as m:
        all_on(m)
        assert sysreg(m, sender, SGI1R, value) == (True, 0)
        wanted = reached(value, sender, 4)
        assert taken(m) == {cpu: {value >> 24 & 15} if cpu in wanted else set() for cpu in range(4)}


@pytest.mark.parametrize(("register", "both"), [(SGI1R, True), (ASGI1R, False), (SGI0R, False)])
def test_groups_of_sgis(register: int, both: bool) -> None:
    """With one security state ICC_SGI1R raises both groups, the others group 0 alone (IHI 0069 8.1.10 and table 8-14)."""
    with machine3(2) as m:
        all_on(m, group1=0x0000_FF00)
        for sgi in (3, 9):
            sysreg(m, 0, register, sgi << 24 | 2)
        assert taken(m)[1] == ({3, 9} if both else {3})


def test_system_registers_that_trap() -> None:
    with machine3() as m:
        assert sysreg(m, 0, ICC_SRE) == (True, 7)
        assert sysreg(m, 0, ICC_SRE, 0)[0]
        assert sysreg(m, 0, ICC_SRE) == (True, 7)
        for register in (SGI1R, ASGI1R, SGI0R):
            assert not sysreg(m, 0, register)[0], "write-only"
        assert sysreg(m, 0, sysreg_key(3, 0, 0, 4, 0))[1] >> 24 & 0xF == 1, "ID_AA64PFR0_EL1.GIC"
    with machine(1) as m:
        assert sysreg(m, 0, ICC_SRE) == (True, 0)
        assert not sysreg(m, 0, SGI1R, 1)[0], "not there with a GICv2"


# ---- anything by anybody ----------------------------------------------------------------------------------------------

sgi_offsets = st.sampled_from([base + 4 * i for base, size, *_ in REGISTERS_SGI for i in range(min(size // 4, 8))])
gicd_offsets = st.sampled_from([base + 4 * i for base, size, *_ in REGISTERS3 for i in range(min(size // 4, 16))])
words = st.integers(0, ALL)
steps = st.one_of(
    st.tuples(st.just("gicd"), st.integers(0, 3), gicd_offsets, words),
    st.tuples(st.just("gicr"), st.integers(0, 15), sgi_offsets, words),
    st.tuples(st.just("sgi"), st.integers(0, 3), st.integers(0, 0xF), words),
    st.tuples(st.just("route"), st.integers(0, 3), st.integers(0, 15), words),
    st.tuples(st.just("line"), st.integers(0, 3), st.integers(0, 15), words),
    st.tuples(st.just("take"), st.integers(0, 3), st.just(0), words),
)


@pytest.mark.parametrize("settled", [True, False])
@given(st.lists(steps, max_size=50))
@settings(max_examples=100, deadline=None)
def test_four_vcpus_store_anything_anywhere(settled: bool, todo: list[tuple[str, int, int, int]]) -> None:
    """To the distributor, anyone's redistributor, the SGI registers: no panic, no interrupt in two places, an end."""
    with machine3(4) as m:
        for what, n, place, value in todo:
            cpu = n & 3
            m.play(cpu)
            if what == "gicd":
                address = GuestPhys(int(GUEST_GICD_BASE) + place)
                vgicd3_access(m.domain, m.vcpus[cpu], Access(address, 4, True, value))
            elif what == "gicr":
                redistributor(m, n >> 2, place, value)
            elif what == "sgi":
                sysreg_access(m.vcpus[cpu], SGI1R, False, place << 24 | value & 0xFFFF | (value >> 31) << 40)
            elif what == "route":
                address = GuestPhys(int(GUEST_GICD_BASE) + Gicd3.IROUTER + (32 + place) * 8)
                vgicd3_access(m.domain, m.vcpus[cpu], Access(address, 8, True, value % 6))
            elif what == "line":
                vgic_set_spi_level(m.domain, 32 + place, value & 1 == 1)
            elif (got := m.bus.current.acknowledge()) is not None:
                m.bus.current.end(got[0])
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


def test_priorities_of_redistributors_order_what_is_shown() -> None:
    with machine3() as m:
        write(m, Gicd.CTLR, 3)
        enable(m, SPI)
        write(m, Gicd.CTLR, 3)
        own_sgi(m, 0, Gicd.ISENABLER, ALL)
        own_sgi(m, 0, Gicd.IPRIORITYR, 0x2060_A0E0)
        priority(m, SPI, 0x40)
        target(m, SPI, 0)
        write(m, Gicd.ISPENDR + 4, 1 << SPI - 32)
        own_sgi(m, 0, Gicd.ISPENDR, 0xF)
        assert [take(m) for _ in range(5)] == [3, SPI, 2, 1, 0]
