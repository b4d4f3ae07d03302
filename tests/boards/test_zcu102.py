"""The ZCU102, QEMU's model of it: Cadence's serial port, a GIC-400 whose pages have copies, RAM from 0, Debian's own device tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from boards import board
from tests.boards.test_debian import ask, power_off, shell
from tests.boards.trees import debian_tree
from tests.conftest import build_once
from xenarm.tools.hypervisor import Hypervisor, ours
from xenarm.tools.layout import compose
from xenarm.tools.machine import Machine
from xenarm.tools.run import debian_domain
from xenarm.tools.session import booted

pytestmark = pytest.mark.board("zcu102")


@pytest.fixture(scope="module")
def zcu102(request: pytest.FixtureRequest) -> Hypervisor:
    return ours(build_once(request, "zcu102"))


@pytest.mark.parametrize("whose", ["ours", "debian"])
def test_debian_boots(zcu102: Hypervisor, whose: str) -> None:
    """On all four CPUs, with either tree; what is typed arrives by the port's interrupt."""
    tree: Path | None = debian_tree("xilinx/zynqmp-zcu102-rev1.0.dtb") if whose == "debian" else None
    machine = Machine(board("zcu102"), zcu102.image, (debian_domain(4),), 4, 2048, tree=tree)
    with booted(compose(machine), f"zcu102-{whose}") as session:
        console = shell(session, zcu102)
        ask(console, "nproc", r"\n4\r")
        for cpu in range(4):
            ask(console, f"taskset -c {cpu} sleep 0.2 && echo wo''ken", "woken")
        power_off(session, zcu102)
