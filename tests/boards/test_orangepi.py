"""The Orange Pi PC, QEMU's model of it, which was added by following docs/boards.md: 32 bits, an NS16550, and Kconfig knows nothing of it."""

from __future__ import annotations

import pytest

from boards import board
from tests.conftest import build_once
from xenarm.tools.hypervisor import ours
from xenarm.tools.layout import compose
from xenarm.tools.machine import Machine
from xenarm.tools.run import own_domain
from xenarm.tools.session import booted

SECONDS = 60
NAME = "orangepi-pc"
pytestmark = pytest.mark.board(NAME)


def test_four_cpus_and_keys(request: pytest.FixtureRequest) -> None:
    """Its own image; what is typed arrives by the port's interrupt."""
    build_once(request, NAME)
    machine = Machine(board(NAME), ours(NAME).image, (own_domain(NAME, "hello", 4, 32),), 4, 1024)
    with booted(compose(machine), NAME) as session:
        session.console.expect(r"processors: 4 of", SECONDS)
        session.console.expect("hello> $", SECONDS)
        session.console.send("cpus\r")
        for cpu in range(1, 4):
            session.console.expect(rf"cpu {cpu}     MPIDR \S+: on, answers an interrupt", SECONDS)
