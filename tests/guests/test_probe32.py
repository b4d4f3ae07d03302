"""The probing guest in AArch32: traps in every mode, exceptions, IT blocks; and that no guest finds another's registers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from boards import board
from tests.conftest import BOARD32, Boot
from xenarm.tools.console import Console
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import KIB, DomainSpec, Machine, ModuleKind, ModuleSpec
from xenarm.tools.session import booted

SECONDS = 60
MODES = ("sys", "svc", "irq", "abt", "und", "fiq")


def domain(kernel: Path, name: str = "probe", seed: int = 0) -> DomainSpec:
    return DomainSpec(name, 32 * KIB, (ModuleSpec(ModuleKind.KERNEL, kernel, f"seed={seed}" if seed else ""),))


def neighbours(kernel: Path, count: int) -> list[DomainSpec]:
    return [domain(kernel, f"probe{n}", 10_000 * n) for n in range(1, count + 1)]


def nothing_is_bad(console: Console, good: int, ends: int = 1) -> None:
    for _ in range(ends):
        said = console.expect(r"probe32 end, (\d+) bad", SECONDS)
        assert not re.findall(r"probe32 (\S+ BAD: [^\r\n]*|turn [^\r\n]*)", console.text()) and int(said[1]) == 0
    assert len(re.findall(r"probe32 \S+ ok", console.text())) == good


def test_the_virtual_cpu(boot: Boot, xenarm: Hypervisor, probe32_guest: Path) -> None:
    with boot(xenarm, domain(probe32_guest)) as session:
        nothing_is_bad(session.console, 24)
        session.wait_off(SECONDS)


def test_three_guests_on_one_cpu_keep_their_registers(boot: Boot, xenarm: Hypervisor, probe32_guest: Path) -> None:
    """Every mode's registers, CP15's, FP and SIMD, over thousands of turns."""
    with boot(replace(xenarm, bootargs="sched=rr"), *neighbours(probe32_guest, 3)) as session:
        nothing_is_bad(session.console, 3, 3)
        session.wait_off(SECONDS)


def test_the_32_bit_board_does_the_same(boot: Boot, xenarm32: Hypervisor, probe32_guest: Path) -> None:
    with boot(xenarm32, domain(probe32_guest)) as session:
        nothing_is_bad(session.console, 24)
        session.wait_off(SECONDS)


def test_two_guests_on_one_cpu_of_the_32_bit_board(boot: Boot, xenarm32: Hypervisor, probe32_guest: Path) -> None:
    with boot(replace(xenarm32, bootargs="sched=rr"), *neighbours(probe32_guest, 2)) as session:
        nothing_is_bad(session.console, 2, 2)
        session.wait_off(SECONDS)


@pytest.mark.board(BOARD32)
def test_a_machine_without_a_hypervisor(probe32_guest: Path) -> None:
    """What does not ask for one: QEMU answers every HVC there as PSCI's."""
    plain = replace(board(BOARD32), machine="virt,gic-version=2")
    with booted(compose(Machine(plain, probe32_guest, (), 1, 256)), "probe32-bare") as session:
        for name in (*(f"mode-{mode}" for mode in MODES), "it-block"):
            session.console.expect(rf"probe32 {name} ok", SECONDS)
