"""The Orange Pi PC, QEMU's model of it, which was added by following docs/boards.md: 32 bits, an NS16550, and Kconfig knows nothing of it."""

from __future__ import annotations

import pytest

from boards import board
from tests.boards.test_debian import ask, power_off, shell
from tests.conftest import build_once
from xenarm.tools.hypervisor import ours
from xenarm.tools.layout import compose
from xenarm.tools.machine import Architecture, Machine
from xenarm.tools.run import debian_domain
from xenarm.tools.session import booted

NAME = "orangepi-pc"
pytestmark = pytest.mark.board(NAME)


def test_debian_boots(request: pytest.FixtureRequest) -> None:
    """Its own image, on all four CPUs; what is typed arrives by the port's interrupt."""
    hypervisor = ours(build_once(request, NAME))
    machine = Machine(board(NAME), hypervisor.image, (debian_domain(4, architecture=Architecture.ARM32),), 4, 1024)
    with booted(compose(machine), NAME) as session:
        console = shell(session, hypervisor)
        ask(console, "nproc", r"\n4\r")
        ask(console, "uname -m", "armv7l")
        for cpu in range(4):
            ask(console, f"taskset -c {cpu} sleep 0.2 && echo wo''ken", "woken")
        power_off(session, hypervisor)
