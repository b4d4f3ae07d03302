"""Guests in AArch32 under EL2 of AArch64, in CPython: banked registers, exceptions, IT blocks, what they see, what is switched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenarm.abi.psci import PSCI_64BIT, PSCI_BASE, PsciError, PsciFunction
from xenarm.arm import coprocessors as cp
from xenarm.arm.aarch32 import THUMB, Mode, Psr, advance_it, it_state, taken_psr
from xenarm.arm.coprocessor_traps import COPROCESSOR_TRAPS
from xenarm.arm.fields import Hcr
from xenarm.arm.traps import HANDLERS
from xenarm.arm.verdict import Verdict
from xenarm.arm64 import aarch32
from xenarm.arm64.guest import guest_register, guest_register_set
from xenarm.arm64.inject import fetches_vectors, guest_is_at_el0, inject_data_abort, inject_instruction_abort, inject_undefined, skip_trapped, trapped_in_vain
from xenarm.arm64.registers import MODEL, Ec
from xenarm.core.domain import DOMAINS, SLOTS, Extra, Vcpu, vcpu_place
from xenarm.psci.guest import is_supported, psci_call

pytestmark = pytest.mark.board("arm64")

IL = 1 << 25
READ = 1
N, Z, C = 8, 4, 2
LOW = 0xFFFF_FFFF
MODES = (Mode.USR, Mode.FIQ, Mode.IRQ, Mode.SVC, Mode.ABT, Mode.UND, Mode.SYS)


@pytest.fixture(autouse=True)
def model() -> Iterator[None]:
    MODEL.clear()
    yield
    MODEL.clear()


@pytest.fixture
def v() -> Iterator[Vcpu]:
    """A vCPU whose guest is in AArch32."""
    chosen: Vcpu = SLOTS[9].vcpu
    vcpu_place(chosen, 0)
    chosen.domain = DOMAINS[0]
    chosen.extra = Extra.AARCH32
    for n in range(31):
        chosen.regs[n] = 0xAAAA_0000_0000_0000 + n
    yield chosen
    chosen.extra = 0
    chosen.domain = None


def of_mode(mode: int, **fields: object) -> None:
    MODEL["spsr_el2"] = int(Psr(M=mode, **fields))  # type: ignore[arg-type]


# DDI 0487 D1.6.1, table D1-2: which X register each AArch32 register is.
MAPPED = {
    Mode.USR: {13: 13, 14: 14},
    Mode.SYS: {13: 13, 14: 14},
    Mode.IRQ: {13: 17, 14: 16},
    Mode.SVC: {13: 19, 14: 18},
    Mode.ABT: {13: 21, 14: 20},
    Mode.UND: {13: 23, 14: 22},
    Mode.FIQ: {8: 24, 9: 25, 10: 26, 11: 27, 12: 28, 13: 29, 14: 30},
}


@pytest.mark.parametrize("mode", MODES)
def test_registers_are_those_of_the_mode(v: Vcpu, mode: int) -> None:
    of_mode(mode)
    for n in range(15):
        x = MAPPED[mode].get(n, n)
        assert guest_register(v, n) == x, "the upper half means nothing"
        assert guest_register(v, x) == x, "a number that is AArch64's already"
    assert guest_register(v, 31) == 0


def test_a_register_is_written_in_its_low_half(v: Vcpu) -> None:
    of_mode(Mode.SVC)
    guest_register_set(v, 14, 0x1_2345_6789)
    assert v.regs[18] == 0x2345_6789 and v.regs[14] & LOW == 14
    guest_register_set(v, 31, 1)


def test_user_mode_is_el0(v: Vcpu) -> None:
    of_mode(Mode.USR)
    assert guest_is_at_el0(v)
    of_mode(Mode.SYS)
    assert not guest_is_at_el0(v)
    v.extra = 0
    assert guest_is_at_el0(v), "of a 64-bit guest all of AArch32 is"


@pytest.mark.parametrize(("thumb", "distance"), [(False, 4), (True, 2)])
def test_undefined(v: Vcpu, thumb: bool, distance: int) -> None:
    of_mode(Mode.SVC, T=thumb, FLAGS=Z)
    MODEL.update({"elr_el2": 0x2000, "vbar_el1": 0x8000, "sctlr_el1": 1 << 23})
    inject_undefined(v)
    assert (v.regs[22], MODEL["spsr_und"], MODEL["elr_el2"]) == (0x2000 + distance, int(Psr(M=Mode.SVC, T=thumb, FLAGS=Z)), 0x8004)
    taken = Psr.from_raw(MODEL["spsr_el2"])
    assert (taken.M, taken.T, taken.I, taken.A, taken.FLAGS, taken.PAN) == (Mode.UND, False, True, False, Z, False)


def test_aborts_have_their_registers_and_leave_the_others(v: Vcpu) -> None:
    of_mode(Mode.USR)
    MODEL.update({"elr_el2": 0xFFFF_FFFC, "sctlr_el1": 1 << 13 | 1 << 30 | 1 << 23, "tcr_el1": 1 << 31, "far_el1": 0x1111_1111_2222_2222})
    inject_data_abort(v, 0x1234)
    assert (MODEL["far_el1"], MODEL["esr_el1"], v.regs[20], MODEL["elr_el2"]) == (0x1111_1111_0000_1234, 0x210, 4, 0xFFFF_0010)
    assert Psr.from_raw(MODEL["spsr_el2"]).T and Psr.from_raw(MODEL["spsr_el2"]).A
    of_mode(Mode.SVC)
    MODEL.update({"elr_el2": 0x4000, "tcr_el1": 0})
    inject_instruction_abort(v, 0x4000)
    assert (MODEL["far_el1"], MODEL["ifsr32_el2"], v.regs[20], MODEL["elr_el2"]) == (0x4000_0000_1234, 8, 0x4004, 0xFFFF_000C)
    assert MODEL["esr_el1"] == 0x210, "DFSR is not a fetch's"


def test_what_armv8_has_in_the_psr(v: Vcpu) -> None:
    """SPSR_EL2 has DIT at 24 and SS at 21; AArch32's own PSRs have DIT at 21."""
    MODEL.update({"spsr_el2": Mode.USR | 1 << 24 | 1 << 21 | 1 << 20, "elr_el2": 0, "vbar_el1": 0, "sctlr_el1": 1 << 31})
    inject_undefined(v)
    assert MODEL["spsr_und"] == Mode.USR | 1 << 21 | 1 << 20
    assert MODEL["spsr_el2"] & ~0x1F == 1 << 24 | 1 << 7 | 1 << 22 | 1 << 23, "DIT stays; PAN by SPAN, SSBS by DSSBS; IL and SS go"


@given(st.integers(0, LOW), st.sampled_from((Mode.UND, Mode.ABT)), st.integers(0, LOW))
def test_an_exception_is_outside_of_it_blocks_and_in_its_mode(psr: int, mode: int, sctlr: int) -> None:
    taken = int(taken_psr(psr, mode, 1 << 7, sctlr))
    assert taken & 0x1F == mode and it_state(taken) == 0 and taken & 1 << 7
    assert bool(taken & THUMB) == bool(sctlr & 1 << 30) and bool(taken & 1 << 9) == bool(sctlr & 1 << 25)
    assert taken & 0xF80F_0040 == psr & 0xF80F_0040, "flags, Q, GE and F are kept"


@given(st.integers(0, LOW))
def test_it_blocks_end(psr: int) -> None:
    """Whatever a guest makes of its IT bits, at most four instructions later it is outside; nothing else of the PSR moves."""
    seen = psr
    for _ in range(4):
        seen = int(advance_it(seen))
        assert seen & ~0x0600_FC00 == psr & ~0x0600_FC00
    assert it_state(seen) & 0xF == 0


@given(st.booleans(), st.booleans(), st.sampled_from(MODES))
def test_skipping(thumb: bool, long: bool, mode: int) -> None:
    state = 0b0000_0100  # IT EQ with two left
    psr = mode | (THUMB if thumb else 0) | (state & 3) << 25 | (state & 0xFC) << 8
    MODEL.update({"spsr_el2": psr, "elr_el2": 0x1000})
    skip_trapped(IL if long else 0)
    assert MODEL["elr_el2"] == 0x1000 + (4 if long else 2)
    assert it_state(MODEL["spsr_el2"]) == (0b0000_1000 if thumb else state)


def test_aarch64_has_no_it_blocks() -> None:
    MODEL.update({"spsr_el2": 0b0101 | 1 << 5 | 1 << 10, "elr_el2": 0x1000})
    skip_trapped(IL)
    assert (MODEL["spsr_el2"], MODEL["elr_el2"]) == (0b0101 | 1 << 5 | 1 << 10, 0x1004)
    assert not trapped_in_vain(1 << 24)


def test_a_failed_condition_skips() -> None:
    of_mode(Mode.SVC, FLAGS=Z)
    assert trapped_in_vain(1 << 24 | 1 << 20) and not trapped_in_vain(1 << 24)
    for ec in (Ec.WFX, Ec.CP15_32, Ec.CP15_64, Ec.CP14_32, Ec.CP14_DT, Ec.CP10, Ec.CP14_64, Ec.SMC32):
        assert HANDLERS[ec].conditional
    assert not HANDLERS[Ec.HVC32].conditional and not HANDLERS[Ec.DATA_ABORT_LOWER].conditional


def test_its_vectors(v: Vcpu) -> None:
    of_mode(Mode.SVC)
    MODEL.update({"elr_el2": 0x801C, "vbar_el1": 0x8000})
    assert fetches_vectors(v)
    MODEL["elr_el2"] = 0x8020
    assert not fetches_vectors(v), "AArch64's table would reach on"
    MODEL.update({"elr_el2": 0xFFFF_0000, "sctlr_el1": 1 << 13})
    assert fetches_vectors(v)


def test_a_kernel_starts_as_linux_wants_it(v: Vcpu) -> None:
    v.context, v.entry = 0x4400_0000 << aarch32.BOOT_TREE_SHIFT, 0x4020_0000
    v.regs.fill(0)
    aarch32.aarch32_general(v)
    assert (v.regs[0], v.regs[1], v.regs[2]) == (0, LOW, 0x4400_0000)
    assert (MODEL["spsr_el2"], MODEL["elr_el2"]) == (0x1D3, 0x4020_0000)
    v.context, v.entry = 7, 0x8001
    v.regs.fill(0)
    aarch32.aarch32_general(v)
    assert (v.regs[0], v.regs[1], v.regs[2], MODEL["elr_el2"], MODEL["spsr_el2"]) == (7, 0, 0, 0x8000, 0x1F3)


OWN = ("spsr_abt", "spsr_und", "spsr_irq", "spsr_fiq", "dacr32_el2", "ifsr32_el2")


def test_what_only_aarch32_has_goes_with_the_vcpu(v: Vcpu) -> None:
    for n, name in enumerate(OWN):
        MODEL[name] = 0x100 + n
    MODEL["hcr_el2"] = int(Hcr(VM=True))
    aarch32.aarch32_leaves(v)
    assert Hcr.from_raw(MODEL["hcr_el2"]).RW
    for name in OWN:
        MODEL[name] = 0xDEAD
    aarch32.aarch32_arrives(v)
    assert [MODEL[name] for name in OWN] == [0x100 + n for n in range(len(OWN))]
    assert not Hcr.from_raw(MODEL["hcr_el2"]).RW
    aarch32.aarch32_system(v)
    assert all(MODEL[name] == 0 for name in OWN) and MODEL["sctlr_el1"] == 0x00C5_0078


def access(v: Vcpu, key: int, *, read: bool = True, at_pl0: bool = False, value: int = 0) -> tuple[bool, int]:
    handled, result = cp.cp15_access(v, key | (READ if read else 0), at_pl0, value)
    return handled, int(result)


def test_what_it_sees_of_the_cpu(v: Vcpu) -> None:
    """Virtualization, the PMU and RAS are hidden, as are the upper halves of AArch64's registers."""
    for op2 in range(8):
        for crm in (1, 2, 3):
            MODEL[f"S3_0_C0_C{crm}_{op2}"] = (1 << 64) - 1
    assert access(v, cp.coprocessor_key(0, 0, 1, 1)) == (True, 0x0FFF_0FFF)
    assert access(v, cp.coprocessor_key(0, 0, 1, 2))[1] & 0x0F00_0000 == 0
    assert access(v, cp.coprocessor_key(0, 0, 1, 0))[1] >> 28 == 0
    assert access(v, cp.coprocessor_key(0, 0, 3, 6)) == (True, LOW), "ID_MMFR5"
    assert access(v, cp.coprocessor_key(0, 0, 3, 0)) == (True, 0), "that is MVFR0 in AArch64"
    assert access(v, cp.coprocessor_key(0, 0, 1, 1), at_pl0=True) == (False, 0)
    for crn in (5, 6, 7):
        assert cp.cp10_access(v, cp.coprocessor_key(7, crn, 0, 0) | READ, False) == (True, LOW)
    assert cp.cp10_access(v, cp.coprocessor_key(7, 4, 0, 0) | READ, False) == (False, 0)
    assert cp.cp10_access(v, cp.coprocessor_key(7, 8, 0, 0) | READ, False) == (False, 0)


@given(st.integers(0, 0x1FF_FFFF), st.sampled_from(sorted(COPROCESSOR_TRAPS)), st.sampled_from(MODES), st.integers(0, LOW))
def test_no_coprocessor_access_stops_the_host(iss: int, ec: int, mode: int, value: int) -> None:
    chosen: Vcpu = SLOTS[9].vcpu
    vcpu_place(chosen, 0)
    chosen.domain = DOMAINS[0]
    chosen.extra = Extra.AARCH32
    chosen.regs.fill(value)
    of_mode(mode)
    try:
        assert COPROCESSOR_TRAPS[ec](chosen, iss) in (Verdict.HANDLED, Verdict.UNDEFINED)
    finally:
        chosen.extra = 0
        chosen.domain = None


def test_no_64_bit_calls(v: Vcpu) -> None:
    cpu_on = PSCI_BASE + PsciFunction.CPU_ON
    assert is_supported(v, cpu_on) and not is_supported(v, cpu_on + PSCI_64BIT)
    v.regs[0] = 0x1234_0000_0000_0000 | cpu_on + PSCI_64BIT
    assert psci_call(v) & LOW == PsciError.NOT_SUPPORTED & LOW
    v.regs[0] = 0x1234_0000_0000_0000 | PSCI_BASE
    assert psci_call(v) == 0x1_0001
