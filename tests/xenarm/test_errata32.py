"""ARMv7's cores and errata: what is decided from a CPU's MIDR and ACTLR, the vectors that follow, the register that a Thumb store names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freestanding import zeroed
from tests.xenarm.test_errata import HELD, holds, manual_rows, manual_table
from xenarm.abi.psci import Smccc
from xenarm.arm.cpu import Harden
from xenarm.arm.errata import CODE, NEVER_FIXED, Erratum, erratum_matches
from xenarm.arm.processor import OPTIONS, Mitigation, take_option
from xenarm.arm.vcpu import CPUS
from xenarm.arm32.errata import BRANCHES_INVALID, CORES, ERRATA, ERRATUM_ROWS, LOOP_BUFFER_ROWS, STORE_ROWS, core_of, midr
from xenarm.arm32.processor import PROCESSORS, SPECULATION, Judgement, judge, processors_judge, workaround_for_guests
from xenarm.arm32.thumb_stores import NO_REGISTER, store_register
from xenarm.arm32.vectors import BPIALL, CHOSEN, ICIALLU, OWN_FAULTS, hardened_table
from xenarm.config import ROOT, expand

pytestmark = pytest.mark.board("arm32")

OK, WORSE, WORST = Mitigation.UNAFFECTED, Mitigation.MITIGATED, Mitigation.VULNERABLE
NONE, ICACHE, PREDICTOR = Harden.NONE, Harden.ICACHE, Harden.PREDICTOR
WA1, WA2, WA3 = Smccc.ARCH_WORKAROUND_1, Smccc.ARCH_WORKAROUND_2, Smccc.ARCH_WORKAROUND_3
UNKNOWN = 0x410F_D340


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    def clear() -> None:
        SPECULATION.v2 = SPECULATION.history = OK
        OPTIONS.off = OPTIONS.store_off = False
        CPUS.online.store(0)
        for cpu in range(len(PROCESSORS)):
            describe(cpu, 0)
            CHOSEN.how[cpu] = NONE

    clear()
    yield
    clear()


def describe(cpu: int, midr_: int, actlr: int = 0, firmware: int = Smccc.NOT_SUPPORTED64) -> None:
    """What a CPU has said of itself."""
    p = PROCESSORS[cpu]
    p.midr, p.revidr, p.actlr, p.v2 = midr_, 0, actlr, firmware


# ---- which cores have what --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("erratum", [e for e in ERRATA if e.kind == CODE], ids=lambda e: f"{e.core}-{e.number}")
def test_an_erratum_is_of_its_revisions_alone(erratum: Erratum) -> None:
    e = erratum
    assert any(e.number == row.number and erratum_matches(row, midr(e.core, e.last), 0) for row in ERRATUM_ROWS)
    for revision in range(0x40):
        found = [row.number for row in ERRATUM_ROWS if erratum_matches(row, midr(e.core, revision), 0)]
        assert (e.number in found) == (e.first <= revision <= e.last)


SEEN_IN_THE_IMAGE = {814220}
"""tests/boards/test_errata_image.py"""


def test_each_erratum_that_code_sees_to_has_a_test() -> None:
    assert HELD[__name__] | SEEN_IN_THE_IMAGE == {e.number for e in ERRATA if e.kind == CODE}


def test_766422_and_773022() -> None:
    """As Xen (cpuerrata.c) and Linux (arch/arm/mm/proc-v7.S) have them."""
    for revision in range(0x40):
        core = midr("Cortex-A15", revision)
        assert any(erratum_matches(row, core, 0) for row in STORE_ROWS) == (revision == 0x04)
        assert any(erratum_matches(row, core, 0) for row in LOOP_BUFFER_ROWS) == (revision <= 0x04)


def test_every_erratum_is_of_a_core_that_is_known_and_stands_once() -> None:
    assert {e.core for e in ERRATA} <= {core.name for core in CORES}
    assert len({(e.number, e.core) for e in ERRATA}) == len(ERRATA)
    assert all(e.last == NEVER_FIXED or e.first <= e.last for e in ERRATA)
    for core in CORES:
        assert CORES[core_of(midr(core.name, 0x21))] is core
    assert core_of(UNKNOWN) == len(CORES)


def test_the_manual_has_the_same_table() -> None:
    assert manual_table("Errata of ARMv7 cores") == manual_rows(ERRATA)


# ---- what is decided -----------------------------------------------------------------------------------------------------

CASES = [
    ("Cortex-A7", 0x05, 0, OK, OK, NONE),
    ("Cortex-A15", 0x21, 0, WORST, WORST, NONE),
    ("Cortex-A15", 0x21, BRANCHES_INVALID, WORSE, WORSE, ICACHE),
    ("Brahma-B15", 0x03, BRANCHES_INVALID, WORSE, WORSE, ICACHE),
    ("Cortex-A17", 0x12, 0, WORSE, OK, PREDICTOR),
    ("Cortex-A12", 0x01, 0, WORSE, OK, PREDICTOR),
]


@pytest.mark.parametrize(("core", "revision", "actlr", "v2", "history", "harden"), CASES)
def test_what_a_cpu_needs(core: str, revision: int, actlr: int, v2: Mitigation, history: Mitigation, harden: Harden) -> None:
    describe(0, midr(core, revision), actlr)
    j = zeroed(Judgement)
    judge(PROCESSORS[0], j)
    assert (j.v2, j.history, j.harden) == (v2, history, harden)


@pytest.mark.parametrize(("firmware", "v2"), [(Smccc.NOT_SUPPORTED64, WORST), (Smccc.UNAFFECTED, OK)])
def test_a_core_that_nobody_knows_is_what_its_firmware_says(firmware: int, v2: Mitigation) -> None:
    describe(0, UNKNOWN, firmware=firmware)
    j = zeroed(Judgement)
    judge(PROCESSORS[0], j)
    assert (j.v2, j.harden) == (v2, NONE)


def test_the_boot_argument_leaves_it_out() -> None:
    take_option(b"no")
    describe(0, midr("Cortex-A17", 0x12))
    j = zeroed(Judgement)
    judge(PROCESSORS[0], j)
    assert (j.v2, j.harden) == (WORST, NONE)


def test_big_and_little_cpus_have_each_their_own_and_guests_are_told_the_worst() -> None:
    describe(0, midr("Cortex-A7", 0x05))
    describe(1, midr("Cortex-A15", 0x32), BRANCHES_INVALID)
    CPUS.online.store(2)
    processors_judge()
    assert [CHOSEN.how[cpu] for cpu in range(2)] == [NONE, ICACHE]
    assert [workaround_for_guests(f) for f in (WA1, WA2, WA3)] == [Smccc.SUCCESS, Smccc.NOT_SUPPORTED64, Smccc.SUCCESS]
    describe(1, midr("Cortex-A15", 0x32))
    processors_judge()
    assert [workaround_for_guests(f) for f in (WA1, WA3)] == [Smccc.NOT_SUPPORTED64] * 2


def test_guests_of_cores_that_are_not_affected_are_told_so() -> None:
    describe(0, midr("Cortex-A7", 0x05))
    CPUS.online.store(1)
    processors_judge()
    assert [workaround_for_guests(f) for f in (WA1, WA2, WA3)] == [Smccc.UNAFFECTED, Smccc.NOT_SUPPORTED64, Smccc.UNAFFECTED]


# ---- vectors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", [ICIALLU, BPIALL])
def test_no_branch_comes_before_the_invalidation(operation: str) -> None:
    """And each entry finds its way: the one for a guest's trap adds 2 to SP, an interrupt's 1, an FIQ's nothing, an abort's 3."""
    code = [line.strip() for line in hardened_table("t", operation, "trap", "irq", "fiq").split("t:\n", 1)[1].splitlines() if line.strip()]
    assert code[:4] == [line.strip() for line in OWN_FAULTS.splitlines()], "the hypervisor's own faults, from which no guest is left"
    ways = {}
    for first in range(4, 8):
        sp = 0
        branched = ""
        zero = False
        for at, line in enumerate(code[first:], first):
            name, *operands = re.split(r"[ ,]+", line)
            if name.startswith("b") and name != "bic":
                assert code.index(f"mcr {operation}") < at and code.index("isb") < at
                if name == "b" or zero:
                    branched = operands[0]
                    break
            value = int(operands[-1][1:]) if operands and operands[-1].startswith("#") else 0
            sp = {"add": sp + value, "eor": sp ^ value, "bic": sp & ~value}.get(name, sp)
            zero = sp & value == 0 if name == "tst" else zero
        assert sp == 0, "as it was"
        ways[first] = branched
    assert ways == {4: "data_abort", 5: "trap", 6: "irq", 7: "fiq"}


IN_ITS_OWN_CONFIGURATION = """
from freestanding import zeroed
from xenarm.arm32 import processor, thumb_stores, traced, vectors
from xenarm.arm32.errata import BRANCHES_INVALID, midr
from xenarm.arm32.registers import MODEL
from xenarm.core.domain import DOMAINS, SLOTS
p = processor.PROCESSORS[0]
for revision, actlr, expected in ((4, 0, True), (4, BRANCHES_INVALID, True), (3, 0, False), (0x10, 0, False)):
    p.midr, p.actlr = midr("Cortex-A15", revision), actlr
    j = zeroed(processor.Judgement)
    processor.judge(p, j)
    assert j.stores == expected and (j.harden == processor.Harden.ICACHE) == (actlr != 0), revision
assert vectors.TABLES == ("stores", "icache", "icache_stores", "predictor")
for text, prefix, entries in ((vectors.VECTORS, "", "guest"), (traced.CODE, "traced_", "traced")):
    for name in vectors.TABLES:
        table = text.split(prefix + name + "_vectors:\\n", 1)[1].split(".balign", 1)[0]
        way = entries + ("_stores" if "stores" in name else "_trap")
        assert f" {way}\\n" in table and f" {entries}_irq\\n" in table, (name, table)
    repair = text.split(f"{entries}_stores:\\n", 1)[1]
    assert repair.index("bl store_repair") < repair.index(f"b {entries}_trap_saved")
v = SLOTS[8].vcpu
v.domain = DOMAINS[0]
STORE = 0x24 << 26 | 1 << 24 | 1 << 6 | 5 << 16  # a guest's data abort: valid, a store, of r5
def after(hsr, psr):
    MODEL["hsr"], MODEL["spsr"] = hsr, psr
    thumb_stores.store_repair(v)
    return MODEL["hsr"]
assert after(STORE, 0x13) == STORE, "ARM state"
assert after(STORE & ~(1 << 6), 0x33) == STORE & ~(1 << 6), "a load"
assert after(STORE & ~(1 << 24), 0x33) == STORE & ~(1 << 24), "no syndrome"
assert after(0x12 << 26, 0x33) == 0x12 << 26, "a call"
print("all well")
"""


@holds(766422)
def test_the_cores_with_766422_have_their_own_way_in(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(expand(ROOT / "configs" / "qemu-virt-arm32_defconfig"))
    environment = {**os.environ, "XENARM_CONFIG": str(config)}
    done = subprocess.run([sys.executable, "-c", IN_ITS_OWN_CONFIGURATION], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "all well\n", done.stderr


# ---- Thumb stores ---------------------------------------------------------------------------------------------------------

FORMS = {  # Arm ARM A6.2.4, A6.3.10: opcode, where Rt is
    "STR imm5": (0x6000, 0),
    "STRB imm5": (0x7000, 0),
    "STRH imm5": (0x8000, 0),
    "STR reg": (0x5000, 0),
    "STRH reg": (0x5200, 0),
    "STRB reg": (0x5400, 0),
    "STR SP": (0x9000, 8),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_short_store_names_its_register(form: str) -> None:
    opcode, shift = FORMS[form]
    for rt in range(8):
        others = 0x00F8 if shift == 0 else 0x00FF
        for rest in (0, others):
            assert store_register(opcode | rt << shift | rest, 0xFFFF) == rt


@given(st.sampled_from([0xF800, 0xF820, 0xF840, 0xF880, 0xF8A0, 0xF8C0]), st.integers(0, 15), st.integers(0, 15), st.integers(0, 0xFFF))
def test_a_long_store_names_its_register(opcode: int, rn: int, rt: int, rest: int) -> None:
    assert store_register(opcode | rn, rt << 12 | rest) == rt


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_anything_else_names_none_and_nothing_is_out_of_range(first: int, second: int) -> None:
    """Another vCPU may have written anything there meanwhile."""
    found = store_register(first, second)
    loads = first >> 11 in (0b01101, 0b01111, 0b10001, 0b10011, 0b01011) or (first & 0xFF10 == 0xF810)
    assert found <= NO_REGISTER and (found == NO_REGISTER or not loads)
    if first < 0x5000 or 0xA000 <= first < 0xF800 or first >= 0xF900:
        assert found == NO_REGISTER

