"""The benchmark guest: what it prints, and that its figures are the machine's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from boards import board
from xenarm.tools.hypervisor import Hypervisor, debian_xen
from xenarm.tools.layout import compose
from xenarm.tools.machine import KIB, DomainSpec, Machine, ModuleKind, ModuleSpec
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.session import Session, booted

SECONDS = 120
# Of Debian's Xen 4.17 with timer_slop=0, counted independently of this guest; those counts had up to 20 instructions of the guest in them.
XEN = {
    "psci_version": 479,
    "gicd_typer": 650,
    "gicd_isenabler_read": 671,
    "gicd_isenabler_write": 728,
    "sgi_self": 1203,
    "timer": 1072,
    "timer_wfi": 4348,
}


def figures(session: Session) -> dict[str, int]:
    session.console.expect(r"\bbench end\b", SECONDS)
    return {name: int(count) for name, count in re.findall(r"\bbench (\w+) (\d+)", session.console.text())}


def run_on(hypervisor: Hypervisor, guest: Path, name: str) -> dict[str, int]:
    domain = DomainSpec("bench", 64 * KIB, (ModuleSpec(ModuleKind.KERNEL, guest),))
    machine = Machine(
        board(DEFAULT_BOARD), hypervisor.image, (domain,), 1, 1024, hypervisor.bootargs, count_instructions=True
    )
    with booted(compose(machine), name) as session:
        return figures(session)


@pytest.mark.board(DEFAULT_BOARD)
def test_on_a_bare_machine(boot_bare: Any, bench_guest: Path) -> None:
    """Without a hypervisor a device access is the one instruction that it is, and interrupts come at once."""
    with boot_bare(bench_guest, count=True) as session:
        found = figures(session)
        session.wait_off(SECONDS)
    assert found.keys() == XEN.keys()
    assert found["gicd_typer"] == found["gicd_isenabler_read"] == found["gicd_isenabler_write"] == found["psci_version"] == 1
    assert found["sgi_self"] <= 2 and found["timer"] <= 2


@pytest.mark.board(DEFAULT_BOARD)
def test_reproduces_known_figures_of_xen(bench_guest: Path) -> None:
    found = run_on(debian_xen("timer_slop=0"), bench_guest, "bench-guest-xen")
    assert found.keys() == XEN.keys()
    for name, known in XEN.items():
        assert found[name] == pytest.approx(known, abs=21), name


def test_every_exit_is_at_most_a_third_of_xens(xenarm: Hypervisor, bench_guest: Path) -> None:
    found = run_on(xenarm, bench_guest, "bench-guest-xenarm")
    assert found.keys() == XEN.keys()
    assert {name: count for name, count in found.items() if count * 3 > XEN[name]} == {}
