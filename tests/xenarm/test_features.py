"""The table of CPU features: each row's masks and controls are in force, and the manual has the same table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.xenarm.gic_model import machine
from xenarm.arm.schedule import load_extra, unload_extra
from xenarm.arm64 import feature_controls, features
from xenarm.arm64.feature_controls import RARE_REGISTERS, STRAYS, features_hold, has_ras, has_untrapped_tpidr2, strays_expect, strays_note
from xenarm.arm64.features import FEATURES, HIDDEN, ID_FIELDS, PASSED, Feature, field_place, held, visible
from xenarm.arm64.guest import HCR_GUEST, cpu_control, load_system
from xenarm.arm64.guest_sysregs import sysreg_access
from xenarm.arm64.registers import MODEL, Cptr, Hcr, Mdcr, sysreg_key
from xenarm.core.domain import SLOTS, Extra
from xenarm.core.sched.state import SCHED_CPUS

pytestmark = pytest.mark.board("arm64")

ALL_ONES = (1 << 64) - 1
FGT, HCX, MPAM, RAS, SME, LO = (f"ID_AA64{f}" for f in ("MMFR0.FGT", "MMFR1.HCX", "PFR0.MPAM", "PFR0.RAS", "PFR1.SME", "MMFR1.LO"))
REGISTERS = {"ID_AA64PFR0": "id_aa64pfr0_el1", "ID_AA64PFR1": "id_aa64pfr1_el1", "ID_AA64DFR0": "id_aa64dfr0_el1"}
HCRX, MPAM2, MPAMHCR = "S3_4_C1_C2_2", "S3_4_C10_C5_0", "S3_4_C10_C4_0"
FINE = ["S3_4_C1_C1_4", "S3_4_C1_C1_5", "S3_4_C1_C1_6", "S3_4_C3_C1_4", "S3_4_C3_C1_5"]
VDISR, TPIDR2 = "S3_4_C12_C1_1", "S3_3_C13_C0_5"


@pytest.fixture(autouse=True)
def model() -> Iterator[None]:
    MODEL.clear()
    STRAYS.any = STRAYS.rare = False
    yield
    MODEL.clear()
    STRAYS.any = STRAYS.rare = False


def has(*fields: str, value: int = 1) -> None:
    """The CPU has these features, as EL2 reads it."""
    for name in fields:
        register = f"{name.split('.')[0].lower()}_el1"
        MODEL[register] = MODEL.get(register, 0) | value << field_place(name)[1]


def shown(name: str) -> int:
    """What a guest reads of a field."""
    crm, op2, _ = ID_FIELDS[name.split(".")[0]]
    handled, value = sysreg_access(SLOTS[0].vcpu, sysreg_key(3, 0, 0, crm, op2) | 1, False, 0)
    assert handled
    return int(value) >> field_place(name)[1] & 15


@pytest.mark.parametrize("feature", FEATURES, ids=lambda f: f.name)
@pytest.mark.parametrize("real", [1, 2, 9, 15])
def test_a_guest_sees_no_more_of_a_field_than_its_row_says(feature: Feature, real: int) -> None:
    for name in feature.fields:
        crm, op2, _ = ID_FIELDS[name.split(".")[0]]
        MODEL[f"S3_0_C0_C{crm}_{op2}"] = real << field_place(name)[1]
        assert shown(name) == min(real, feature.most)


def test_a_field_that_no_row_names_is_not_shown() -> None:
    """Features newer than the table: all of a register that nobody knows, and free fields of those that are known."""
    for number in range(32, 64):
        MODEL[f"S3_0_C0_C{number >> 3}_{number & 7}"] = ALL_ONES
        _, value = sysreg_access(SLOTS[0].vcpu, sysreg_key(3, 0, 0, number >> 3, number & 7) | 1, False, 0)
        known = {n: fields for crm, op2, fields in ID_FIELDS.values() if (n := crm * 8 + op2) == number}.get(number, {})
        named = sum(15 << low for name, low in known.items() if any(f.split(".")[1] == name for row in FEATURES if row.most for f in row.fields))
        assert int(value) & ~named == 0
    assert visible(7 * 8 + 3) == 0 and visible(4 * 8 + 4) == 0, "ID_AA64MMFR3_EL1, ID_AA64ZFR0_EL1"


@pytest.mark.parametrize(
    ("register", "mask"),
    [
        ("ID_AA64PFR0", 0xFF0F_0000_00FF_00FF),
        ("ID_AA64PFR1", 0xFF),
        ("ID_AA64DFR0", 0xF0F0_F00F),
        ("ID_AA64ISAR1", 0x0FFF_FFFF_00FF_F00F),
        ("ID_AA64MMFR1", 0xFFFF_F0F0_00F0_F00F),
        ("ID_PFR1", 0xFFFF_FFFF_0FFF_0FFF),
    ],
)
def test_fields_lie_where_the_manual_has_them(register: str, mask: int) -> None:
    """Worked out by hand from the Arm ARM, not from the table's own places."""
    crm, op2, _ = ID_FIELDS[register]
    assert visible(crm * 8 + op2) == mask


def test_every_named_field_of_aarch64_has_a_row() -> None:
    rows = {name for feature in FEATURES for name in feature.fields}
    fields = {f"{register}.{field}" for register, (_, _, names) in ID_FIELDS.items() if register.startswith("ID_AA64") for field in names}
    assert rows >= fields


@pytest.mark.parametrize("feature", [f for f in FEATURES if f.controls], ids=lambda f: f.name)
def test_every_rows_controls_are_in_force(feature: Feature) -> None:
    """On a CPU that has everything, once EL2 has set itself up."""
    has(FGT, HCX, MPAM, RAS, SME, LO)
    MODEL["S3_0_C10_C4_4"] = feature_controls.MPAM_HAS_HCR
    MODEL.update({name: ALL_ONES for name in ("mdcr_el2", "cptr_el2", HCRX, MPAM2, MPAMHCR)})
    cpu_control()
    now = {
        "HCR_EL2": HCR_GUEST,
        "CPTR_EL2": MODEL["cptr_el2"],
        "MDCR_EL2": MODEL["mdcr_el2"],
        "HCRX_EL2": MODEL[HCRX],
        "MPAM2_EL2": MODEL[MPAM2],
        "MPAMHCR_EL2": MODEL[MPAMHCR],
    }
    for control in feature.controls:
        bits = features.CONTROL_REGISTERS[control.register].from_raw(now[control.register])
        assert getattr(bits, control.field) == control.value, control


def test_what_is_hidden_is_held_back() -> None:
    """A row that hides registers says what holds them: a control, or in its reason a register that is zero."""
    for feature in FEATURES:
        if feature.most == HIDDEN and feature.answer == features.UNDEFINED:
            assert feature.controls or "zero, which traps" in feature.why or feature.name == "their minor version"
    hcr, cptr, mdcr = (held(register)[0] for register in ("HCR_EL2", "CPTR_EL2", "MDCR_EL2"))
    assert hcr == int(Hcr(TWI=True, TID3=True, TIDCP=True, TACR=True, TLOR=True, TERR=True, TID5=True))
    assert cptr == int(Cptr(TZ=True, TSM=True, TTA=True, TAM=True))
    assert mdcr == int(Mdcr(TPM=True, TPMCR=True, TDA=True, TDOSA=True, TDRA=True, TPMS=True, TTRF=True))


def test_registers_that_a_cpu_has_not_are_left_alone() -> None:
    features_hold()
    assert set(MODEL) == {"mdcr_el2"}


def test_fine_grained_traps_are_known_where_they_exist() -> None:
    """Their reset values are not: what traps when clear must be clear."""
    MODEL.update(dict.fromkeys([*FINE, "S3_4_C3_C1_6"], ALL_ONES))
    has(FGT)
    features_hold()
    assert [MODEL[name] for name in FINE] == [0] * 5 and MODEL["S3_4_C3_C1_6"] == ALL_ONES
    assert not any(f"S3_4_C3_C1_{n}" in MODEL for n in (0, 1, 2, 3, 7))
    has(FGT, value=2)
    has("ID_AA64PFR0.AMU")
    features_hold()
    assert all(MODEL[f"S3_4_C3_C1_{n}"] == 0 for n in (0, 1, 2, 3, 6, 7))


def test_no_event_counter_is_kept_for_el2() -> None:
    MODEL["pmcr_el0"] = 6 << 11
    for version, counters in ((0, 0), (15, 0), (1, 6)):
        MODEL["id_aa64dfr0_el1"] = version << 8
        features_hold()
        assert Mdcr.from_raw(MODEL["mdcr_el2"]).HPMN == counters


@pytest.mark.parametrize(("features_of_cpu", "cleared"), [((), []), ((RAS,), [VDISR]), ((SME,), [TPIDR2]), ((SME, FGT), []), ((RAS, SME), [VDISR, TPIDR2])])
def test_registers_that_cannot_trap_are_cleared_when_a_vcpu_leaves(features_of_cpu: tuple[str, ...], cleared: list[str]) -> None:
    """DISR_EL1 and TPIDR2_EL0: what one guest left there the next one read."""
    has(*features_of_cpu)
    with machine() as m:
        strays_note()
        STRAYS.any = has_ras() or has_untrapped_tpidr2()  # the model's rare registers hold what is written
        STRAYS.rare = False
        m.vcpus[0].extra = 0
        load_system(m.vcpus[0])
        assert bool(m.vcpus[0].extra & Extra.STRAYS) == bool(cleared)
        MODEL.update({VDISR: 7, TPIDR2: 7})
        m.play(0)
        unload_extra(m.vcpus[0], SCHED_CPUS[0])
        assert [name for name in (VDISR, TPIDR2) if MODEL[name] == 0] == cleared
        m.vcpus[0].extra = 0


def test_a_cpu_without_them_takes_vcpus_of_one_that_has_them() -> None:
    """big.LITTLE: the vCPU is told once, each CPU looks at itself."""
    STRAYS.any = True
    with machine() as m:
        strays_expect(m.vcpus[0])
        m.play(0)
        unload_extra(m.vcpus[0], SCHED_CPUS[0])
        assert VDISR not in MODEL and m.vcpus[0].extra & Extra.STRAYS
        m.vcpus[0].extra = 0


def test_rare_registers_are_the_vcpus_where_they_hold_anything() -> None:
    """AFSR0_EL1, AFSR1_EL1 and AMAIR_EL1: the switch itself leaves them out."""
    with machine() as m:
        MODEL.update(dict.fromkeys(RARE_REGISTERS, 9))
        strays_note()
        assert STRAYS.rare and STRAYS.any and [MODEL[name] for name in RARE_REGISTERS] == [0, 0, 0]
        m.vcpus[0].extra = 0
        load_system(m.vcpus[0])
        MODEL.update({name: n + 5 for n, name in enumerate(RARE_REGISTERS)})
        m.play(0)
        unload_extra(m.vcpus[0], SCHED_CPUS[0])
        MODEL.update(dict.fromkeys(RARE_REGISTERS, 9))
        load_extra(m.vcpus[0], SCHED_CPUS[0])
        assert [MODEL[name] for name in RARE_REGISTERS] == [5, 6, 7]
        m.vcpus[0].extra = 0


# ---- the manual -----------------------------------------------------------------------------------------------------------


def sees(most: int) -> str:
    return {HIDDEN: "no", PASSED: "yes"}.get(most, f"at most {most}")


def in_force(feature: Feature) -> str:
    """Set fields by name, clear ones with a bar in front."""
    return ", ".join(f"{c.register.removesuffix('_EL2')}.{'' if c.value else '!'}{c.field}" for c in feature.controls)


def manual_rows() -> list[str]:
    """The table of docs/arm64.md, as it should be."""
    return [f"| {f.name} | {sees(f.most)} | {in_force(f)} | {f.answer} | {f.why} |" for f in FEATURES]


def test_the_manual_has_the_same_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "arm64.md").read_text()
    section = re.split(r"^## ", text.split("## CPU features that guests see", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    assert [line for line in section.splitlines() if line.startswith("| ")][1:] == manual_rows()
