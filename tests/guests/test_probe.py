"""The probing guest: the virtual GIC on QEMU's own list registers, timers, PSCI, registers that trap; and the same GIC without a hypervisor."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Boot
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.machine import KIB, DomainSpec, ModuleKind, ModuleSpec

SECONDS = 60
OTHERWISE_ON_QEMU = {2: {"moved-here"}, 3: set()}
"""What QEMU's own controller does not do: that of version 2 has an interrupt pend for the targets of that moment (hw/intc/arm_gic.c)."""


def probe_domain(kernel: Path, cpus: int) -> DomainSpec:
    return DomainSpec("probe", 64 * KIB, (ModuleSpec(ModuleKind.KERNEL, kernel),), cpus)


def results(text: str) -> list[tuple[str, str]]:
    """(check, what was found) of the sections that do not ask for a hypervisor."""
    machine = text.split("probe section hypervisor")[0]
    return re.findall(r"^probe (\S+) (ok|BAD[^\r\n]*)", machine, re.MULTILINE)


@pytest.mark.parametrize(("cpus", "gic"), [(1, 2), (2, 2), (4, 2), (8, 2), (1, 3), (8, 3)])
def test_the_virtual_hardware(boot: Boot, xenarm: Hypervisor, probe_guest: Path, cpus: int, gic: int) -> None:
    """Everything is as the architecture says; what is not emulated ends in an external abort and one line that says who, where and what."""
    with boot(xenarm, probe_domain(probe_guest, cpus), cpus=cpus, gic=gic) as session:
        said = session.console.expect(r"probe end, (\d+) good, (\d+) bad", SECONDS)
        bad = re.findall(r"probe (\S+ BAD: [^\r\n]*)", session.console.text())
        assert not bad and int(said[2]) == 0
        assert int(said[1]) > (50 if gic == 2 else 150)
        session.console.expect(
            r"domain probe vcpu 0 pc 0x[0-9a-f]+: read of 4 bytes at 0x8000000, in /intc@8000000 of the machine: external abort", SECONDS
        )
        session.console.expect(r"guest: fault by vector 4: ESR 0x96000010 ELR 0x[0-9a-f]+ FAR 0x8000000\b", SECONDS)
        session.wait_off(SECONDS)


@pytest.mark.parametrize("gic", [2, 3])
def test_the_machine_itself_finds_the_same(boot: Boot, boot_bare: Any, xenarm: Hypervisor, probe_guest: Path, gic: int) -> None:
    """Every register and rule that the guest asks for, on a machine without a hypervisor and as a domain."""
    with boot_bare(probe_guest, cpus=4, gic=gic) as session:
        session.console.expect("probe section hypervisor", SECONDS)
        bare = results(session.console.text())
    with boot(xenarm, probe_domain(probe_guest, 4), cpus=4, gic=gic) as session:
        session.console.expect("probe section hypervisor", SECONDS)
        virtual = results(session.console.text())
    assert len(bare) > (60 if gic == 2 else 180)
    assert [name for name, _ in bare] == [name for name, _ in virtual]
    assert {name for (name, found), (_, wanted) in zip(bare, virtual, strict=True) if found != wanted} == OTHERWISE_ON_QEMU[gic]
