"""Trapped system registers: the table's answers, and what a guest may see of the processor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenarm.arm64 import registers
from xenarm.arm64.guest_sysregs import ROWS, sysreg_access
from xenarm.arm64.registers import sysreg_key
from xenarm.core.domain import SLOTS, vcpu_place

pytestmark = pytest.mark.board("arm64")

READ = 1
ALL_ONES = (1 << 64) - 1


@pytest.fixture(autouse=True, scope="module")
def placed(module_state: None) -> None:
    """The vCPU is on a CPU."""
    vcpu_place(SLOTS[0].vcpu, 0)


def access(key: int, *, read: bool = True, el0: bool = False, value: int = 0) -> tuple[bool, int]:
    handled, result = sysreg_access(SLOTS[0].vcpu, key | (READ if read else 0), el0, value)
    return handled, int(result)


@given(st.integers(0, 0x1FF_FFFF), st.booleans(), st.integers(0, ALL_ONES))
def test_no_access_stops_the_host(iss: int, el0: bool, value: int) -> None:
    sysreg_access(SLOTS[0].vcpu, iss, el0, value)


def test_identification_registers_are_read_only_and_el1s() -> None:
    key = sysreg_key(3, 0, 0, 4, 0)
    assert access(key)[0]
    assert access(key, el0=True) == (False, 0)
    assert access(key, read=False) == (False, 0)


@pytest.mark.parametrize("crm", range(1, 8))
@pytest.mark.parametrize("op2", range(8))
def test_every_identification_register_reads(crm: int, op2: int) -> None:
    assert access(sysreg_key(3, 0, 0, crm, op2))[0]


def test_debug_and_performance_monitors() -> None:
    assert access(sysreg_key(2, 0, 1, 1, 4)) == (True, 8), "OSLSR_EL1: implemented, unlocked"
    assert access(sysreg_key(2, 0, 1, 0, 4)) == (False, 0), "OSLAR_EL1 is write-only"
    assert access(sysreg_key(2, 0, 1, 0, 4), read=False) == (True, 0)
    for n in range(16):
        assert access(sysreg_key(2, 0, 0, n, 5), read=False, value=7) == (True, 0)
    assert access(sysreg_key(3, 3, 9, 12, 0)) == (True, 0)
    assert access(sysreg_key(3, 3, 9, 12, 0), el0=True) == (False, 0)


def test_implementation_defined_registers_are_undefined() -> None:
    assert access(sysreg_key(3, 1, 15, 2, 0)) == (False, 0)
    assert access(sysreg_key(3, 0, 11, 0, 0), read=False) == (False, 0)


def test_physical_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    vcpu_place(SLOTS[0].vcpu, 0)
    control, compare, value = (sysreg_key(3, 3, 14, 2, n) for n in (1, 2, 0))
    monkeypatch.setitem(registers.MODEL, "cntpct_el0", 1000)
    assert access(compare, read=False, value=5000) == (True, 0)
    assert access(compare) == (True, 5000)
    assert access(value) == (True, 4000)
    assert access(value, read=False, value=0xFFFF_FFFF) == (True, 0)
    assert access(compare) == (True, 999), "the value is signed"
    assert access(control, read=False, value=3) == (True, 0)
    assert access(control) == (True, 7), "enabled, masked, and the condition is met"


def test_rows_name_their_registers_exactly() -> None:
    for row in ROWS:
        assert row.key & ~row.mask == 0
