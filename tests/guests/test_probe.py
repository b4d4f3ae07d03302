"""The probing guest on the hypervisor: the virtual GIC on QEMU's own list registers, timers, PSCI, registers that trap."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Boot
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.machine import KIB, DomainSpec, ModuleKind, ModuleSpec

SECONDS = 60


@pytest.mark.parametrize("cpus", [1, 2, 4, 8])
def test_the_virtual_hardware(boot: Boot, xenarm: Hypervisor, probe_guest: Path, cpus: int) -> None:
    """Everything is as the architecture says; what is not emulated ends in an external abort and one line that says who, where and what."""
    domain = DomainSpec("probe", 64 * KIB, (ModuleSpec(ModuleKind.KERNEL, probe_guest),), cpus)
    with boot(xenarm, domain, cpus=cpus) as session:
        said = session.console.expect(r"probe end, (\d+) good, (\d+) bad", SECONDS)
        bad = re.findall(r"probe (\S+ BAD: [^\r\n]*)", session.console.text())
        assert not bad and int(said[2]) == 0
        assert int(said[1]) > 50
        session.console.expect(
            r"domain probe vcpu 0 pc 0x[0-9a-f]+: read of 4 bytes at 0x8000000, in /intc@8000000 of the machine: external abort", SECONDS
        )
        session.console.expect(r"guest: fault by vector 4: ESR 0x96000010 ELR 0x[0-9a-f]+ FAR 0x8000000\b", SECONDS)
        session.wait_off(SECONDS)
