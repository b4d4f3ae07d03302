"""An image that has GICv2s on a GICv3 (CONFIG_GICV2_ON_V3), where no domain asks for one: it serves the others as one without.

Domains with a GICv2 there run in tests/xenarm/test_gicv2_on_v3.py alone: QEMU 7.2 has no GICv3 with the interface that they need.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.boards.test_debian import boots_to_a_shell_that_answers
from tests.conftest import Boot
from tests.guests.conftest import OwnGuest, own_guest
from tests.guests.test_gic_walk import CPUS, SECONDS, walk
from xenarm.tools import build, kconfig
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.machine import KIB, Architecture, DomainSpec, ModuleKind, ModuleSpec
from xenarm.tools.paths import DEFAULT_BOARD

__all__ = ["own_guest"]


@pytest.fixture(scope="module")
def legacy(xenarm: Hypervisor, tmp_path_factory: pytest.TempPathFactory) -> Hypervisor:
    room = tmp_path_factory.mktemp("legacy")
    kconfig.changed(DEFAULT_BOARD, {"GICV2_ON_V3": "y"}, room / "config")
    build.compile_job(DEFAULT_BOARD, build.Job(build.HYPERVISOR, room / "xenarm"), room / "config")
    return replace(xenarm, image=room / "xenarm")


def test_the_whole_gicv3_is_the_same(boot: Boot, xenarm: Hypervisor, legacy: Hypervisor, own_guest: OwnGuest) -> None:
    """Line by line; what the lines have to say is in tests/guests/test_gic_walk.py."""
    domain = DomainSpec("walk", 64 * KIB, (ModuleSpec(ModuleKind.KERNEL, own_guest(xenarm, "walk")),), CPUS)
    walks = []
    for hypervisor in (xenarm, legacy):
        with boot(hypervisor, domain, cpus=CPUS, gic=3) as session:
            walks.append(walk(session))
            session.wait_off(SECONDS)
    assert walks[0] and walks[1] == walks[0]


@pytest.mark.parametrize("gic", [2, 3])
def test_debian_boots(boot: Boot, legacy: Hypervisor, gic: int) -> None:
    boots_to_a_shell_that_answers(boot, legacy, gic, Architecture.ARM64, 2)
