"""The tables of cores and errata, and what is decided from them for each CPU: mitigations, vectors, what guests are told."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from freestanding import hosted, u32, zeroed
from freestanding.functions import Operation
from tests.xenarm.gic_model import machine
from tests.xenarm.test_psci import call
from tests.xenarm.test_stage2 import reset, tables
from xenarm.abi.psci import Smccc
from xenarm.arm import instructions, link
from xenarm.arm.aborts import trap_data_abort
from xenarm.arm.errata import AVOIDED, CODE, NEVER_FIXED, Erratum, erratum_matches
from xenarm.arm.processor import OPTIONS, Mitigation, take_option
from xenarm.arm.traps import trap_serror
from xenarm.arm.vcpu import CPUS
from xenarm.arm.verdict import Verdict
from xenarm.arm64 import errata, registers, switch, vectors
from xenarm.arm64.aarch32 import aarch32_arrives
from xenarm.arm64.errata import CORES, ERRATA, ERRATUM_ROWS, core_of, midr
from xenarm.arm64.processor import PROCESSORS, SPECULATION, Judgement, judge, processors_judge, workaround_for_guests
from xenarm.arm64.registers import PSR_RESET, Ec, Hcr
from xenarm.arm64.traced import CODE as TRACED
from xenarm.arm64.vectors import CALL, HARDENED, LOOP, Harden, vectors_used
from xenarm.core.domain import SLOTS, DomainState, Extra, Vcpu
from xenarm.core.log import LOG
from xenarm.core.result import Result
from xenarm.p2m.stage2 import ROOT_PAGES, p2m_init
from xenarm.p2m.state import Vmid

__all__ = ["tables"]

pytestmark = pytest.mark.board("arm64")

SUCCESS, UNAFFECTED, NOT_REQUIRED, NONE = 0, 1, Smccc.NOT_REQUIRED, Smccc.NOT_SUPPORTED64
MAX = 0x000F_0510  # QEMU's `max`
WORDS = zeroed(vectors.Hardening)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    def clear() -> None:
        SPECULATION.v2 = SPECULATION.history = SPECULATION.store = Mitigation.UNAFFECTED
        SPECULATION.store_by_firmware = False
        SPECULATION.loops = SPECULATION.call = 0
        OPTIONS.off = OPTIONS.store_off = False
        for cpu in range(len(PROCESSORS)):
            describe(cpu, 0)
            HARDENED.how[cpu] = Harden.NONE

    clear()
    hosted.engine().memory.symbols["hardening"] = hosted.engine().memory.address_of(WORDS)
    yield
    clear()
    CPUS.online.store(0)


def describe(
    cpu: int, midr_el1: int, csv2: int = 0, ssbs: bool = False, ecbhb: bool = False, clear: bool = False, firmware: tuple[int, int, int] = (NONE, NONE, NONE)
) -> None:
    """What a CPU has said of itself."""
    p = PROCESSORS[cpu]
    p.midr, p.revidr, p.csv2, p.ssbs, p.clears_history, p.has_clear = midr_el1, 0, csv2, ssbs, ecbhb, clear
    p.v2, p.store, p.history = firmware


Test = TypeVar("Test", bound=Callable[..., None])
HELD: dict[str, set[int]] = {}
"""By the module of its tests, the errata of `code` that a test holds to what the table says."""


def holds(*errata: int) -> Callable[[Test], Test]:
    """What a test is of."""

    def mark(test: Test) -> Test:
        HELD.setdefault(test.__module__, set()).update(errata)
        return test

    return mark


# ---- which cores have what ------------------------------------------------------------------------------------------------


def affected(number: int, midr_el1: int, revidr: int = 0) -> bool:
    return any(row.number == number and erratum_matches(row, midr_el1, revidr) for row in ERRATUM_ROWS)


def next_revision(revision: int) -> int:
    return revision + 1


@pytest.mark.parametrize("erratum", [e for e in ERRATA if e.kind == CODE], ids=lambda e: f"{e.core}-{e.number}")
def test_an_erratum_is_of_its_revisions_alone(erratum: Erratum) -> None:
    last = 0xFF if erratum.last == NEVER_FIXED else erratum.last
    assert affected(erratum.number, midr(erratum.core, erratum.first))
    assert affected(erratum.number, midr(erratum.core, last))
    if erratum.last != NEVER_FIXED:
        assert not affected(erratum.number, midr(erratum.core, next_revision(last)))
        assert not affected(erratum.number, midr(erratum.core, last + 0x10)), "a later variant"
    others = {e.core for e in ERRATA if e.number == erratum.number}
    for core in CORES:
        if core.name not in others:
            assert not affected(erratum.number, midr(core.name, erratum.first)), core.name
    assert not affected(erratum.number, midr(erratum.core, erratum.first) ^ 0x0100_0000), "another implementer's part"


def test_a_revision_that_says_that_it_is_fixed_is_not_affected() -> None:
    """843419 in a Cortex-A53 r0p4: REVIDR_EL1 bit 8. In r0p3 that bit is none of it."""
    assert affected(843419, midr("Cortex-A53", 0x04)) and not affected(843419, midr("Cortex-A53", 0x04), 1 << 8)
    assert affected(843419, midr("Cortex-A53", 0x03), 1 << 8)


def test_every_erratum_is_of_a_core_that_is_known_and_stands_once() -> None:
    assert {e.core for e in ERRATA} <= {core.name for core in CORES}
    assert len({(e.number, e.core) for e in ERRATA}) == len(ERRATA)
    assert len({(c.implementer, c.part) for c in CORES}) == len(CORES)
    for core in CORES:
        assert CORES[core_of(midr(core.name, 0x21))] is core
    assert core_of(MAX) == len(CORES) == len(errata.CORE_ROWS) - 1


# ---- that what the table says is so --------------------------------------------------------------------------------------------


def test_no_line_is_cleaned_without_being_invalidated() -> None:
    """819472, 824069, 826319, 827319."""
    assert {e.number for e in ERRATA if e.kind == AVOIDED} >= {819472, 824069, 826319, 827319}
    sources = [path.read_text() for path in Path(instructions.__file__).parents[1].rglob("*.py")]
    assert not [text for text in sources if re.search(r'"dc c(va|sw)', text)]


@holds(835769, 843419)
def test_the_compiler_and_the_linker_are_told() -> None:
    """And do it: tests/boards/test_errata_image.py."""
    toolchain = (Path(__file__).parents[2] / "freestanding" / "toolchain.py").read_text()
    assert "-mfix-cortex-a53-835769" in link.CFLAGS and "--fix-cortex-a53-843419" in toolchain


@holds(832075)
def test_devices_are_read_by_load_acquire() -> None:
    operations = [each for name, each in vars(instructions).items() if name.startswith("mmio_read") and isinstance(each, Operation)]
    assert len(operations) == 5
    for operation in (*operations, instructions.mmio_reader32(0), instructions.mmio_reader32(12)):
        assert "ldar" in operation.templates["aarch64"] and "ldr" not in operation.templates["aarch64"]


@holds(1286807)
def test_invalidation_that_others_take_part_in_is_done_twice() -> None:
    for name in ("tlb_invalidate_el2", "tlb_invalidate_guest", "tlb_invalidate_guest_stage1", "tlb_invalidate_el2_va", "tlb_invalidate_guest_ipa"):
        first, barrier, second = getattr(instructions, name).templates["aarch64"].split("\n")
        assert first == second.strip() and first.startswith("tlbi") and barrier.strip() == "dsb ish", name


@holds(1319537, 1319367, 1530924, 1165522)
def test_no_walk_happens_between_one_guests_tables_and_anothers() -> None:
    """Walks are off, and known to be, before anything is loaded; they come back last, stage 1's switch first."""
    code = [line.strip() for line in switch.load_system().splitlines()]
    writes = [line for line in code if line.startswith(("msr", "isb"))]
    assert writes[:4] == ["msr tcr_el1, x3", "isb", "msr sctlr_el1, x3", "isb"]
    assert writes[-4:] == ["isb", "msr sctlr_el1, x3", "isb", "msr tcr_el1, x4"]
    between = " ".join(writes[4:-4])
    assert "ttbr0_el1" in between and "vttbr_el2" in between and "tcr_el1" not in between and "sctlr_el1" not in between
    assert switch.NO_WALKS == 1 << 23 | 1 << 7 | 1


class Order(dict[str, int]):
    """System registers that know in which order they were written."""

    def __init__(self, **values: int) -> None:
        super().__init__(values)
        self.written: list[str] = []

    def __setitem__(self, name: str, value: int) -> None:
        self.written.append(name)
        super().__setitem__(name, value)


@holds(852523, 853709)
def test_registers_of_el1_are_written_after_what_only_aarch32_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what they held."""
    order = Order(tcr_el1=0x8080_3520, sctlr_el1=0x00C5_187D)
    monkeypatch.setattr(registers, "MODEL", order)
    v: Vcpu = SLOTS[9].vcpu
    v.aarch32.dacr = 0x5555_5555
    aarch32_arrives(v)
    after = order.written[order.written.index("dacr32_el2") + 1 :]
    assert {"tcr_el1", "sctlr_el1"} <= set(after)
    assert (order["dacr32_el2"], order["tcr_el1"], order["sctlr_el1"]) == (0x5555_5555, 0x8080_3520, 0x00C5_187D)


TRANSLATION, PERMISSION = 0x06, 0x0E
PAR_FAULT = 1
WRITTEN = 1 << 6
NOWHERE = 0x7000_0000


@holds(834220)
@pytest.mark.parametrize("fault", [TRANSLATION, PERMISSION])
@pytest.mark.parametrize("write", [0, WRITTEN])
@pytest.mark.parametrize("of_stage1", [True, False])
def test_a_guest_is_told_of_no_bad_access_that_its_own_tables_stop(fault: int, write: int, of_stage1: bool) -> None:
    """It is tried again, which gives the guest its own fault; and nothing is said."""
    written = LOG.written
    esr = Ec.DATA_ABORT_LOWER << 26 | 1 << 25 | write | fault
    registers.MODEL.update(esr_el2=esr, hpfar_el2=NOWHERE >> 8, far_el2=0x1FFD, elr_el2=0x4000_1000, spsr_el2=PSR_RESET, vbar_el1=0x8000)
    with machine() as m:
        reset()
        assert p2m_init(m.domain.p2m, Vmid(1), ROOT_PAGES) == Result.OK
        registers.MODEL["par_el1"] = PAR_FAULT if of_stage1 else NOWHERE
        assert trap_data_abort(m.vcpus[0], esr) == Verdict.STAY
        assert registers.MODEL["elr_el2"] == (0x4000_1000 if of_stage1 else 0x8200)
        assert LOG.written == written or not of_stage1


@holds(1349291)
def test_an_serror_of_a_guest_is_its_own_whatever_it_says_of_itself() -> None:
    """Uncontainable (ESR_EL2.AET 0, with DFSC 0x11), as any other."""
    for syndrome in (0x11, 0x11 | 3 << 10, 1 << 24, 0):
        with machine(2) as m:
            m.vcpus[0].extra = m.vcpus[1].extra = 0
            registers.MODEL.update(esr_el2=Ec.SERROR << 26 | 1 << 25 | syndrome, hcr_el2=0)
            trap_serror(m.vcpus[0])
            assert registers.MODEL["hcr_el2"] == int(Hcr(VSE=True)) and m.vcpus[0].extra == Extra.SERROR
            assert m.vcpus[1].extra == 0 and m.domain.state.value == int(DomainState.RUNNING)
            m.vcpus[0].extra = 0


def test_each_erratum_that_code_sees_to_has_a_test() -> None:
    assert HELD[__name__] == {e.number for e in ERRATA if e.kind == CODE}


# ---- mitigations ----------------------------------------------------------------------------------------------------------------

OK, WORSE, WORST = Mitigation.UNAFFECTED, Mitigation.MITIGATED, Mitigation.VULNERABLE
WA1, WA3 = Smccc.ARCH_WORKAROUND_1, Smccc.ARCH_WORKAROUND_3
CASES: list[tuple[str, dict[str, object], tuple[Mitigation, Mitigation, Mitigation], Harden, int, int]] = [
    ("Cortex-A53", {}, (OK, OK, OK), Harden.NONE, 0, 0),
    ("Cortex-A57", {}, (WORST, WORST, WORST), Harden.NONE, 0, 0),
    ("Cortex-A57", {"firmware": (SUCCESS, SUCCESS, NONE)}, (WORSE, WORSE, WORSE), Harden.CALL, 0, WA1),
    ("Cortex-A72", {"firmware": (SUCCESS, SUCCESS, SUCCESS)}, (WORSE, WORSE, WORSE), Harden.CALL, 0, WA3),
    ("Cortex-A72", {"csv2": 1, "firmware": (UNAFFECTED, SUCCESS, SUCCESS)}, (OK, WORSE, WORSE), Harden.LOOP, 8, 0),
    ("Cortex-A73", {"csv2": 1}, (OK, WORST, WORST), Harden.NONE, 0, 0),
    ("Cortex-A75", {"csv2": 1, "firmware": (UNAFFECTED, NOT_REQUIRED, SUCCESS)}, (OK, WORSE, OK), Harden.CALL, 0, WA3),
    ("Cortex-A76", {"csv2": 1, "ssbs": True}, (OK, WORSE, WORSE), Harden.LOOP, 24, 0),
    ("Neoverse-N1", {"csv2": 1, "ssbs": True}, (OK, WORSE, WORSE), Harden.LOOP, 24, 0),
    ("Cortex-A78", {"csv2": 1, "ssbs": True}, (OK, WORSE, WORSE), Harden.LOOP, 32, 0),
    ("Cortex-A78", {"csv2": 1, "ssbs": True, "ecbhb": True}, (OK, WORSE, WORSE), Harden.NONE, 0, 0),
    ("Neoverse-N2", {"csv2": 1, "ssbs": True, "clear": True}, (OK, WORSE, WORSE), Harden.LOOP, 1, 0),
    ("Neoverse-N2", {"csv2": 3, "ssbs": True, "clear": True}, (OK, OK, WORSE), Harden.NONE, 0, 0),
    ("Cortex-A57", {"firmware": (UNAFFECTED, UNAFFECTED, NONE)}, (OK, WORSE, OK), Harden.LOOP, 8, 0),
]


@pytest.mark.parametrize(("core", "says", "states", "harden", "loops", "function"), CASES)
def test_what_a_cpu_needs(core: str, says: dict[str, object], states: tuple[Mitigation, ...], harden: Harden, loops: int, function: int) -> None:
    describe(0, midr(core, 0x10), **says)  # type: ignore[arg-type]
    j = zeroed(Judgement)
    judge(PROCESSORS[0], j)
    assert (j.v2, j.history, j.store) == states
    assert (j.harden, j.loops, j.call) == (harden, loops, function)


def test_a_core_that_nobody_knows_is_taken_at_its_word() -> None:
    describe(0, MAX, csv2=2, ssbs=True)
    j = zeroed(Judgement)
    judge(PROCESSORS[0], j)
    assert (j.v2, j.history, j.store, j.harden) == (OK, OK, WORSE, Harden.NONE)


@pytest.mark.parametrize(("word", "states", "harden"), [(b"no", (WORST, WORST, WORST), Harden.NONE), (b"ssbd=force-disable", (WORSE, WORSE, WORST), Harden.CALL), (b"ssbd=force-enable", (WORSE, WORSE, WORSE), Harden.CALL)])
def test_the_boot_argument(word: bytes, states: tuple[Mitigation, ...], harden: Harden) -> None:
    take_option(word)
    describe(0, midr("Cortex-A72"), firmware=(SUCCESS, SUCCESS, SUCCESS))
    j = zeroed(Judgement)
    judge(PROCESSORS[0], j)
    assert (j.v2, j.history, j.store) == states and j.harden == harden


def judged(*cpus: dict[str, object]) -> list[Harden]:
    for cpu, says in enumerate(cpus):
        describe(cpu, **says)  # type: ignore[arg-type]
    CPUS.online.store(len(cpus))
    processors_judge()
    return [HARDENED.how[cpu] for cpu in range(len(cpus))]


LITTLE = {"midr_el1": midr("Cortex-A53", 0x04)}
BIG = {"midr_el1": midr("Cortex-A72", 0x03), "firmware": (SUCCESS, SUCCESS, NONE)}
NEWER = {"midr_el1": midr("Cortex-A76", 0x41), "csv2": 1, "ssbs": True, "firmware": (UNAFFECTED, NONE, UNAFFECTED)}


def test_big_and_little_cpus_have_each_their_own() -> None:
    """The vectors are each CPU's; guests are told the worst."""
    assert judged(LITTLE, BIG, NEWER) == [Harden.NONE, Harden.CALL, Harden.LOOP]
    assert (SPECULATION.loops, SPECULATION.call) == (WORDS.loops, WORDS.call) == (24, WA1)
    assert [vectors_used(how, u32(3)) for how in (Harden.NONE, Harden.LOOP, Harden.CALL)] == [True] * 3 and not vectors_used(Harden.LOOP, u32(2))
    assert workaround_for_guests(WA1) == SUCCESS
    assert workaround_for_guests(WA3) == SUCCESS
    assert workaround_for_guests(Smccc.ARCH_WORKAROUND_2) == NOT_REQUIRED, "the firmware does it, for good"


def test_guests_are_told_what_the_cpus_are() -> None:
    assert judged(LITTLE, LITTLE) == [Harden.NONE] * 2 and not vectors_used(Harden.LOOP, u32(2)) and not vectors_used(Harden.CALL, u32(2))
    assert [workaround_for_guests(f) for f in (WA1, Smccc.ARCH_WORKAROUND_2, WA3)] == [UNAFFECTED, NOT_REQUIRED, UNAFFECTED]


def test_guests_with_ssbs_see_to_it_themselves() -> None:
    assert judged(NEWER) == [Harden.LOOP]
    assert [workaround_for_guests(f) for f in (WA1, Smccc.ARCH_WORKAROUND_2, WA3)] == [UNAFFECTED, NONE, SUCCESS]


def test_guests_are_told_that_they_are_vulnerable() -> None:
    """One CPU whose firmware is too old is enough."""
    old = {"midr_el1": midr("Cortex-A57", 0x10)}
    assert judged(LITTLE, old) == [Harden.NONE] * 2
    assert [workaround_for_guests(f) for f in (WA1, Smccc.ARCH_WORKAROUND_2, WA3)] == [NONE] * 3


def test_a_guest_asks_and_calls() -> None:
    judged(BIG)
    with machine() as m:
        assert call(m, Smccc.ARCH_FEATURES, WA1) == SUCCESS and call(m, WA1) == SUCCESS
        assert call(m, Smccc.ARCH_FEATURES, Smccc.ARCH_WORKAROUND_2) == NOT_REQUIRED
        SPECULATION.v2 = Mitigation.VULNERABLE
        assert call(m, Smccc.ARCH_FEATURES, WA1) == NONE and call(m, WA1) == NONE


# ---- vectors ------------------------------------------------------------------------------------------------------------------------


def table_of(text: str, label: str) -> list[list[str]]:
    """The instructions of each vector of a table."""
    body = re.split(r"\n    \.global |\n    \.section ", text.split(f"\n{label}:\n", 1)[1])[0]
    found = []
    for vector in body.split("    .balign 128\n")[1:]:
        lines = [line.strip().removeprefix("1:").removeprefix("2:").strip() for line in vector.splitlines()]
        found.append([line for line in lines if line and not line.startswith(".balign")])
    return found


def steps(code: str) -> list[str]:
    return [line.strip().removeprefix("1:").removeprefix("2:").strip() for line in code.strip().splitlines()]


@pytest.mark.parametrize(("text", "label", "code"), [(vectors.VECTORS, "loop_vectors", LOOP), (vectors.VECTORS, "loop_vectors_v3", LOOP), (vectors.VECTORS, "call_vectors", CALL), (vectors.VECTORS, "call_vectors_v3", CALL), (TRACED, "traced_loop_vectors", LOOP), (TRACED, "traced_call_vectors", CALL)])
def test_hardened_vectors_see_to_it_before_they_go_anywhere(text: str, label: str, code: str) -> None:
    """Every way out of a guest: registers are saved, then comes the mitigation, and no branch before it."""
    table = table_of(text, label)
    assert len(table) == 16
    for vector in table[8:]:
        assert len(vector) <= 32, "a vector has room for 32 instructions"
        at = next(n for n, line in enumerate(vector) if not line.startswith(("stp", "str")))
        assert vector[at : at + len(steps(code))] == steps(code)
    for vector in table[:8]:
        assert len(vector) == 2, "EL2's own faults"


@pytest.mark.parametrize(("text", "label"), [(vectors.VECTORS, "vectors"), (vectors.VECTORS, "vectors_v3"), (TRACED, "traced_vectors")])
def test_the_others_pay_nothing(text: str, label: str) -> None:
    for vector in table_of(text, label):
        assert not any(line.startswith(("smc", "subs", "hint", "adrp")) for line in vector)


# ---- the manual -----------------------------------------------------------------------------------------------------------------------


def revisions(e: Erratum) -> str:
    def name(revision: int) -> str:
        return f"r{revision >> 4}p{revision & 15}"

    if e.last == NEVER_FIXED:
        return "all" if e.first == 0 else f"from {name(e.first)}"
    return f"{name(e.first)} to {name(e.last)}"


def manual_rows(errata: Sequence[Erratum]) -> list[str]:
    return [f"| {e.number} | {e.core} | {revisions(e)} | {e.what} | {e.kind} | {e.ours} |" for e in errata]


def manual_table(heading: str) -> list[str]:
    text = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    section = re.split(r"^## ", text.split(f"## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return [line for line in section.splitlines() if line.startswith("| ")][1:]


def test_the_manual_has_the_same_table() -> None:
    assert manual_table("Errata of cores") == manual_rows(ERRATA)
