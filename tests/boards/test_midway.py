"""Calxeda's Midway, QEMU's model of it: devices behind the image's own addresses, PSCI 0.1."""

from __future__ import annotations

import pytest

from boards import board
from tests.conftest import BOARD32
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import Machine
from xenarm.tools.run import own_domain
from xenarm.tools.session import booted

pytestmark = pytest.mark.board("midway")

SECONDS = 60


def test_four_cpus_by_the_trees_function_number(xenarm32: Hypervisor) -> None:
    """One image for every machine with its drivers: that of the other 32-bit board."""
    machine = Machine(board("midway"), xenarm32.image, (own_domain(BOARD32, "hello", 4, 32),), 4, 512)
    with booted(compose(machine), "midway") as session:
        session.console.expect(r"processors: 4 of", SECONDS)
        session.console.expect("hello> $", SECONDS)
        session.console.send("cpus\r")
        for cpu in range(1, 4):
            session.console.expect(rf"cpu {cpu}     MPIDR \S+: on, answers an interrupt", SECONDS)
