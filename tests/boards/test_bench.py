"""The benchmark guest on our hypervisor: every figure is there, repeats, and is where it has to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from boards import board
from tests.guests.conftest import bench_guest
from xenarm.tools import bench
from xenarm.tools.bench import Figures, Row, measure, verdict
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.machine import Architecture

__all__ = ["bench_guest"]

# Instructions on Debian's Xen 4.17 under QEMU 7.2, counted by the same guest; `make bench` counts them anew.
XEN = {
    "psci_version": 479,
    "gicd_typer": 650,
    "sgi_self": 1187,
    "timer": 1052,
    "timer_wfi": 4347,
}
HELD = {**bench.LIMITS, "sgi_spinning": 200, "sgi_asleep": 200}
"""The absolute targets, and less where that is held."""
XEN_SHARING = {"yield": 3824, "ping_pong": 11046, "cpu_on": 6288}
HELD_AARCH32 = {"psci_version": 45, "gicd_typer": 70, "gicd_isenabler_read": 80, "gicd_isenabler_write": 70, "sgi_self": 110, "timer": 80, "timer_wfi": 128}
"""Of a 32-bit guest."""
XEN_TO_GUEST = 22_368_728
XEN_IMAGE = 983_048  # bytes
MEMORY_KIB = 200


@pytest.fixture(scope="module")
def figures(xenarm: Hypervisor, built_board: str, bench_guest: Path) -> Figures:
    """One run of the guest."""
    return measure(built_board, xenarm, bench_guest)


def test_every_operation_is_reported(figures: Figures) -> None:
    assert set(figures.operations) >= set(bench.OPERATIONS)


@pytest.fixture(scope="module")
def figures_v3(xenarm: Hypervisor, built_board: str, bench_guest: Path) -> Figures:
    """The same with a GICv3."""
    return measure(built_board, xenarm, bench_guest, gic=3)


@pytest.mark.parametrize("name", XEN)
def test_an_operation_takes_a_third_of_xens_instructions(figures: Figures, name: str) -> None:
    assert 0 < figures.operations[name] <= XEN[name] / 3


def test_no_operation_takes_more_than_its_limit(figures: Figures) -> None:
    assert {name: count for name, count in figures.operations.items() if count > HELD[name]} == {}


def test_no_operation_takes_more_than_its_limit_with_a_gicv3(figures_v3: Figures) -> None:
    assert set(figures_v3.operations) >= set(bench.OPERATIONS) == set(bench.LIMITS_V3) - {"silent"}
    assert {name: figures_v3.operations[name] for name in bench.OPERATIONS if not 0 < figures_v3.operations[name] <= bench.LIMITS_V3[name]} == {}


def test_the_guest_starts_in_a_third_of_xens_instructions(figures: Figures) -> None:
    assert 0 < figures.first_instruction <= XEN_TO_GUEST / 3


@pytest.mark.parametrize(("gic", "limit"), [(2, bench.LIMITS["silent"]), (3, bench.LIMITS_V3["silent"])])
def test_a_silent_boot_is_short(xenarm: Hypervisor, built_board: str, bench_guest: Path, gic: int, limit: int) -> None:
    assert 0 < bench.measure_silent(built_board, xenarm, bench_guest, gic) <= limit


def test_the_hypervisor_keeps_little_memory(xenarm: Hypervisor, built_board: str) -> None:
    """What it says is what its own report of the machine's memory leaves."""
    used = bench.memory_used(built_board, xenarm, bench.our_memory_kib)
    assert used is not None and 0 < used <= MEMORY_KIB


def test_counts_repeat(figures: Figures, xenarm: Hypervisor, built_board: str, bench_guest: Path) -> None:
    assert measure(built_board, xenarm, bench_guest) == figures


def test_two_vcpus_take_turns_on_one_cpu_in_a_third_of_xens_instructions(
    figures: Figures, xenarm: Hypervisor, built_board: str, bench_guest: Path
) -> None:
    counts = bench.measure_sharing(built_board, replace(xenarm, bootargs="sched=rr"), bench_guest)
    assert set(counts) == set(bench.SHARING)
    assert all(0 < counts[name] <= XEN_SHARING[name] / 3 for name in counts)
    assert {name: count for name, count in counts.items() if count > HELD[name]} == {}


def test_interrupts_between_cpus_take_no_more_than_they_did(
    figures: Figures, xenarm: Hypervisor, built_board: str, bench_guest: Path
) -> None:
    """Both CPUs' instructions, with one thread of QEMU running both."""
    counts = bench.measure_remote(built_board, xenarm, bench_guest)
    assert set(counts) == set(bench.REMOTE)
    assert all(0 < count <= HELD[name] for name, count in counts.items())


def test_a_32_bit_guest_takes_the_short_way_too(xenarm: Hypervisor, built_board: str) -> None:
    counts = bench.measure_aarch32(built_board, xenarm, bench.aarch32_kernel())
    assert set(counts) == set(bench.OPERATIONS)
    assert {name: count for name, count in counts.items() if not 0 < count <= HELD_AARCH32[name]} == {}


def test_the_image_is_small(xenarm: Hypervisor) -> None:
    """With all that the default configuration has: at most a third of Debian's Xen."""
    assert xenarm.image.stat().st_size <= XEN_IMAGE // 3


def test_the_image_for_one_guest_is_small(xenarm: Hypervisor, built_board: str) -> None:
    assert bench.made_for_one_guest(built_board, xenarm).image.stat().st_size <= bench.IMAGE_LIMIT


def test_a_verdict_needs_our_figure_and_a_target() -> None:
    assert verdict(Row("x", 100, 300)) == "reached"
    assert verdict(Row("x", 101, 300)) == "MISSED"
    assert verdict(Row("x", 100, 300, limit=99)) == "MISSED"
    assert verdict(Row("x", 99, 300, limit=99)) == "reached" and verdict(Row("x", 101, 300, limit=300)) == "MISSED"
    assert verdict(Row("x", None, 300)) == verdict(Row("x", None, None, limit=1)) == "not measured"
    assert verdict(Row("x", 100, None)) == "no target"
    assert verdict(Row("x", 100, None, limit=100)) == "reached" and verdict(Row("x", 101, None, limit=100)) == "MISSED"


def test_a_figure_of_another_measurement_is_marked_and_judges_nothing() -> None:
    assert bench.cells(Row("x", 200, None, 300, elsewhere=100)) == ("x", "200", "100*", "2.000*", "300", "reached")
    assert bench.cells(Row("x", 200, None, 300)) == ("x", "200", "-", "-", "300", "reached")
    assert bench.cells(Row("x", 100, 400, 300)) == ("x", "100", "400", "0.250", "133", "reached")
    assert set(bench.REMOTE_ELSEWHERE) == set(bench.REMOTE)


@pytest.mark.parametrize(("words", "boards"), [([], bench.BOARDS), (["--board", "qemu-virt-arm32"], ("qemu-virt-arm32",))])
def test_both_architectures_are_measured_unless_a_board_is_named(monkeypatch: pytest.MonkeyPatch, words: list[str], boards: tuple[str, ...]) -> None:
    compared: list[str] = []
    monkeypatch.setattr("sys.argv", ["bench", *words])
    monkeypatch.setattr(bench, "compare", lambda board, built, terminal: compared.append(board))
    bench.main()
    assert tuple(compared) == boards
    assert {board(name).architecture for name in bench.BOARDS} == set(Architecture)
