"""The board that was added by following docs/boards.md: QEMU's Versal, which Kconfig knows nothing of."""

from __future__ import annotations

import pytest

from boards import board
from tests.boards.test_debian import ask, power_off, shell
from xenarm.tools import build
from xenarm.tools.hypervisor import ours
from xenarm.tools.layout import compose
from xenarm.tools.machine import Machine
from xenarm.tools.run import debian_domain
from xenarm.tools.session import booted

pytestmark = pytest.mark.board("xlnx-versal-virt")


def test_debian_boots_on_both_cpus() -> None:
    build.compile_job("xlnx-versal-virt", build.hypervisor_job("xlnx-versal-virt"))
    hypervisor = ours("xlnx-versal-virt")
    machine = Machine(board("xlnx-versal-virt"), hypervisor.image, (debian_domain(2),), 2, 2048)
    with booted(compose(machine), "versal") as session:
        console = shell(session, hypervisor)
        ask(console, "nproc", r"\n2\r")
        for cpu in range(2):
            ask(console, f"taskset -c {cpu} sleep 0.2 && echo wo''ken", "woken")
        power_off(session, hypervisor)
