"""The benchmark of the language: what it compares is the same, and what it promises holds."""

from __future__ import annotations

import pytest

from bench.language.compare import LIMIT_WITH, LIMIT_WITHOUT, Row, Seconds, compare_kernel, geometric_mean
from bench.language.workloads import WORKLOADS


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [compare_kernel(work, Seconds()) for work in WORKLOADS]


def test_every_kernel_does_the_same_in_both_languages(rows: list[Row]) -> None:
    assert [row.work.name for row in rows if not row.agrees()] == []


def test_without_checks_no_kernel_is_slower_than_c(rows: list[Row]) -> None:
    assert {row.work.name: row.ratio_without for row in rows if row.ratio_without > LIMIT_WITHOUT} == {}


def test_checks_cost_little_in_the_mean(rows: list[Row]) -> None:
    assert geometric_mean(row.ratio_checked for row in rows) <= LIMIT_WITH
