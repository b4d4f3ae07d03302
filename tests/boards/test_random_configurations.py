"""Configurations by chance build, and those that QEMU can show boot a guest. A few in the suite; `make test-long` takes XENARM_CONFIGURATIONS more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.boards import beacon
from tests.conftest import BOARD32, Boot
from xenarm.config import Config, parse
from xenarm.tools import build, doctor
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.kconfig import randomised, write
from xenarm.tools.machine import DomainSpec
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.run import own_domain

FIRST = int(os.environ.get("XENARM_SEED", "1"))
MANY = [(BOARD32 if seed % 4 == 3 else DEFAULT_BOARD, seed) for seed in range(FIRST, FIRST + int(os.environ.get("XENARM_CONFIGURATIONS", "0")))]
SAMPLE = [(DEFAULT_BOARD, 1), (DEFAULT_BOARD, 2), (BOARD32, 3)]


def gic_of(values: Config) -> int:
    return 2 if values.GICV2 else 3


def scheduler(values: Config) -> str:
    """One that takes a domain as it is: arinc653 wants windows. Empty when there is none."""
    return next((name for name in ("null", "rr", "credit2", "rtds") if getattr(values, f"SCHED_{name.upper()}")), "")


def shows_itself(values: Config) -> bool:
    """Whether the guest's text reaches us. QEMU's GICv2 loses timer interrupts with the hardware link."""
    return values.VPL011 and scheduler(values) != "" and not (values.GIC_HW_TIMER_LINK and values.GICV2)


def guest(board: str, scratch: Path) -> tuple[DomainSpec, str]:
    """A guest that needs little, and what it says."""
    if board == BOARD32:
        return own_domain(board, "hello", 1, 32), "hello> "
    return beacon.domain(scratch), beacon.TEXT


@pytest.mark.parametrize(("board", "seed"), MANY or SAMPLE)
def test_a_configuration_by_chance(boot: Boot, scratch: Path, request: pytest.FixtureRequest, board: str, seed: int) -> None:
    doctor.provide("test")
    config = write(randomised(board, seed), scratch / "config")
    values = parse(config.read_text(), str(config))
    job = build.Job(build.HYPERVISOR, scratch / "xenarm")
    build.compile_job(board, job, config)
    if not shows_itself(values):
        return
    if board == BOARD32:
        request.getfixturevalue("xenarm32")  # comes with the guest
    domain, text = guest(board, scratch)
    with boot(Hypervisor("by-chance", job.output, f"sched={scheduler(values)}", board=board), domain, gic=gic_of(values)) as session:
        session.console.expect(text, 60)
