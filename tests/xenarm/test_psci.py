"""PSCI and SMCCC towards guests: every identifier, every answer, the power states."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.xenarm.gic_model import Machine, machine
from xenarm.abi.psci import PSCI_64BIT, PSCI_BASE, PsciError, PsciFunction, Smccc
from xenarm.core.domain import Power
from xenarm.core.domain import SLOTS
from xenarm.psci.guest import FUNCTIONS, is_supported, psci_call

VERSION, SUSPEND, OFF, ON, INFO = 0, 1, 2, 3, 4
SUPPORTED_32 = {0, 1, 2, 3, 4, 6, 8, 9, 10}
SUPPORTED_64 = {1, 3, 4}
SMCCC_CALLS = (Smccc.VERSION, Smccc.ARCH_FEATURES, Smccc.ARCH_WORKAROUND_1, Smccc.ARCH_WORKAROUND_2, Smccc.ARCH_WORKAROUND_3)  # the last are test_errata.py's
ENDING = {SUSPEND, OFF, PsciFunction.SYSTEM_OFF, PsciFunction.SYSTEM_RESET}  # these do not come back


def call(m: Machine, function: int, *arguments: int, cpu: int = 0) -> int:
    v = m.vcpus[cpu]
    for i, value in enumerate((function, *arguments)):
        v.regs[i] = value
    m.play(cpu)
    return int(psci_call(v))


def error32(code: int) -> int:
    return code & 0xFFFF_FFFF


def error64(code: int) -> int:
    return code & 0xFFFF_FFFF_FFFF_FFFF


def test_version() -> None:
    with machine() as m:
        assert call(m, PSCI_BASE) == 0x1_0001
        assert call(m, Smccc.VERSION) == 0x1_0001
        assert call(m, PSCI_BASE + PsciFunction.MIGRATE_INFO_TYPE) == 2


@pytest.mark.parametrize("number", range(32))
def test_features_agree_with_the_table(number: int) -> None:
    with machine() as m:
        for width, known in ((0, SUPPORTED_32), (PSCI_64BIT, SUPPORTED_64)):
            want = 0 if number in known else error32(PsciError.NOT_SUPPORTED)
            assert call(m, PSCI_BASE + PsciFunction.FEATURES, PSCI_BASE + width + number) == want
            assert is_supported(SLOTS[0].vcpu, PSCI_BASE + width + number) == (number in known)
        row = FUNCTIONS[number]
        assert (row.in32, row.in64) == (number in SUPPORTED_32, number in SUPPORTED_64)


@pytest.mark.parametrize("number", sorted(set(range(32)) - ENDING))
def test_unknown_identifiers_are_not_supported(number: int) -> None:
    with machine() as m:
        if number not in SUPPORTED_64:
            assert call(m, PSCI_BASE + PSCI_64BIT + number) == error64(PsciError.NOT_SUPPORTED)
        if number not in SUPPORTED_32:
            assert call(m, PSCI_BASE + number) == error32(PsciError.NOT_SUPPORTED)


@given(st.integers(0, 2**32 - 1))
def test_other_calls_are_unknown(function: int) -> None:
    if function & 0xBFFF_FFE0 == PSCI_BASE or function in SMCCC_CALLS:
        return
    with machine() as m:
        assert call(m, function) == error64(Smccc.NOT_SUPPORTED)


def test_smccc_features() -> None:
    with machine() as m:
        assert call(m, PSCI_BASE + PsciFunction.FEATURES, Smccc.VERSION) == 0
        assert call(m, Smccc.ARCH_FEATURES, Smccc.ARCH_FEATURES) == 0
        assert call(m, Smccc.ARCH_FEATURES, 0x8000_8001) == error64(Smccc.NOT_SUPPORTED)


@pytest.mark.parametrize("width", [0, PSCI_64BIT])
def test_cpu_on(width: int) -> None:
    with machine(2) as m:
        error = error64 if width else error32
        m.vcpus[0].power.value, m.vcpus[1].power.value = int(Power.ON), int(Power.OFF)
        assert call(m, PSCI_BASE + width + INFO, 1, 0) == 1
        assert call(m, PSCI_BASE + width + ON, 1, 0x4000_1000, 77) == 0
        assert (m.vcpus[1].entry, m.vcpus[1].context) == (0x4000_1000, 77)
        assert m.bus.interfaces[1].kicked
        assert call(m, PSCI_BASE + width + INFO, 1, 0) == 2
        assert call(m, PSCI_BASE + width + ON, 1, 0x4000_1000, 0) == error(PsciError.ON_PENDING)
        m.vcpus[1].power.value = int(Power.ON)
        assert call(m, PSCI_BASE + width + INFO, 1, 0) == 0
        assert call(m, PSCI_BASE + width + ON, 1, 0x4000_1000, 0) == error(PsciError.ALREADY_ON)


@pytest.mark.parametrize("target", [2, 0x100, 0x1_0000, 1 << 24, 1 << 31])
def test_cpu_on_of_nobody(target: int) -> None:
    with machine(2) as m:
        assert call(m, PSCI_BASE + ON, target, 0) == error32(PsciError.INVALID_PARAMETERS)
        assert call(m, PSCI_BASE + INFO, target, 0) == error32(PsciError.INVALID_PARAMETERS)


def test_bad_entry_and_level() -> None:
    with machine(2) as m:
        m.vcpus[1].power.value = int(Power.OFF)
        assert call(m, PSCI_BASE + ON, 1, 0x4000_0002) == error32(PsciError.INVALID_ADDRESS)
        assert m.vcpus[1].power.value == int(Power.OFF)
        assert call(m, PSCI_BASE + INFO, 0, 1) == error32(PsciError.INVALID_PARAMETERS)


def test_arguments_of_a_32_bit_call_are_32_bits_wide() -> None:
    with machine(2) as m:
        m.vcpus[1].power.value = int(Power.OFF)
        assert call(m, PSCI_BASE + ON, 0xDEAD_0000_0000 + 1, 0xFFFF_0000_4000_0000, 1 << 40 | 5) == 0
        assert (m.vcpus[1].entry, m.vcpus[1].context) == (0x4000_0000, 5)
