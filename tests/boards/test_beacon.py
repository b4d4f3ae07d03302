"""The simplest boot: one domain with a hand-assembled guest that prints a line and ends."""

from __future__ import annotations

from pathlib import Path

from tests.boards import beacon
from tests.conftest import Boot
from xenarm.tools.hypervisor import Hypervisor


def test_a_guest_prints_and_the_machine_goes_off(boot: Boot, hypervisor: Hypervisor, scratch: Path) -> None:
    with boot(hypervisor, beacon.domain(scratch)) as session:
        session.console.expect(beacon.TEXT, 30)
        if hypervisor.powers_off:
            session.wait_off(10)
