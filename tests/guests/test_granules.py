"""A guest whose own pages have 16 KiB or 64 KiB, under stage 2's of 4 KiB: bare, and on both hypervisors. Each of QEMU's CPUs has some of the sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from boards import board
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import KIB, DomainSpec, Machine, ModuleKind, ModuleSpec
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.session import booted

SECONDS = 60
SIZES = {"cortex-a57": {16384: "not on this CPU", 65536: "ok"}, "max": {16384: "ok", 65536: "ok"}}


def expect_all(console: Any, cpu: str) -> None:
    for size, outcome in SIZES[cpu].items():
        console.expect(rf"granules {size} {outcome}", SECONDS)
    console.expect("granules end", SECONDS)


@pytest.mark.parametrize("cpu", SIZES)
def test_pages_of_every_size(hypervisor: Hypervisor, granules_guest: Path, cpu: str) -> None:
    domain = DomainSpec("granules", 64 * KIB, (ModuleSpec(ModuleKind.KERNEL, granules_guest),))
    machine = Machine(replace(board(hypervisor.board), cpu=cpu), hypervisor.image, (domain,), 1, 1024, hypervisor.bootargs)
    with booted(compose(machine), f"granules-{cpu}-{hypervisor.name}") as session:
        hypervisor.focus_first_domain(session.console)
        expect_all(session.console, cpu)
        if hypervisor.name == "xenarm":
            session.console.expect(r"domain granules vcpu 0 pc 0x[0-9a-f]+: read of 4 bytes at 0x8000000\b.*external abort", SECONDS)
            session.wait_off(SECONDS)


@pytest.mark.board(DEFAULT_BOARD)
def test_the_machine_itself_does_the_same(boot_bare: Any, granules_guest: Path) -> None:
    with boot_bare(granules_guest) as session:
        expect_all(session.console, "cortex-a57")
