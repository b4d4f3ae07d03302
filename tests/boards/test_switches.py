"""What is switched off leaves no byte in the image. In the suite: what the default images have not, and builds without the switches that most belongs to;
with XENARM_SWITCHES=all, as `make test-long` has it, a build without each, and with each that is off by itself."""

from __future__ import annotations

import os
import re
from pathlib import Path

import kconfiglib
import pytest

from tests.boards.switches import ARM32, ARM64, SWITCHES, Built, Switch, left_of, missing_of, read
from xenarm.tools import build, doctor, kconfig, reference

pytestmark = pytest.mark.board(ARM64, ARM32)

ALL = os.environ.get("XENARM_SWITCHES") == "all"
ONE_OF_TWO = {"SCHED_NULL": {"SCHED_DEFAULT_CREDIT2": "y"}, "CONSOLE_MUX": {"MAX_DOMAINS": "1"}}
"""What must change with a switch."""


def switch_symbols(board: str) -> dict[str, bool]:
    """Every switch that a person has, and whether the board's configuration has it on."""
    loaded = kconfig.loaded(kconfig.defconfig_path(board))
    found = (s for s in loaded.unique_defined_syms if s.orig_type == kconfiglib.BOOL and kconfig.promptable(s) and s.choice is None)
    return {str(s.name): s.tri_value == 2 for s in found}


ON = sorted(name for name, switch in SWITCHES.items() if switch_symbols(switch.board)[name])
"""Those that the default configuration of their board has; the others are looked for in its default image."""
OFF = sorted(set(SWITCHES) - set(ON))
MOST = ["CONSOLE_MUX", "EVENT_CHANNELS", "GICV3"]
"""Of a default image's 967 functions and statics these take away 61, 53 and 88; no other takes as many."""
ADDED = ["COMPRESS"]
"""A second image of its own."""


def compiled(scratch: Path, name: str, value: str) -> Built:
    """An image of its board that differs from the default in one switch."""
    doctor.provide("test")
    board = SWITCHES[name].board
    kconfig.changed(board, {**ONE_OF_TWO.get(name, {}), name: value}, scratch / "config")
    job = build.Job(build.HYPERVISOR, scratch / "xenarm")
    build.compile_job(board, job, scratch / "config")
    return read(job.output)


@pytest.fixture(scope="module")
def default(request: pytest.FixtureRequest) -> dict[str, Built]:
    """The default image of the boards that have a fixture."""
    return {ARM64: read(request.getfixturevalue("xenarm").image), ARM32: read(request.getfixturevalue("xenarm32").image)}


def test_every_switch_is_in_the_table() -> None:
    assert set(SWITCHES) == set(switch_symbols(ARM64))


def test_the_reference_says_what_cannot_be_looked_for() -> None:
    exceptions = reference.INTRODUCTION.partition("only choose other instructions")[2]
    assert set(re.findall(r"`(\w+)`", exceptions)) == {name for name, switch in SWITCHES.items() if switch == Switch()}


def test_what_is_on_is_found(default: dict[str, Built]) -> None:
    found = {name: missing_of(SWITCHES[name], default[SWITCHES[name].board]) for name in ON}
    assert {name: missing for name, missing in found.items() if missing} == {}


def test_what_the_default_configuration_has_not_is_not_there(default: dict[str, Built]) -> None:
    off = {name: switch for name, switch in SWITCHES.items() if name in OFF and switch.board in default}
    assert len(off) > 10
    found = {name: left_of(switch, default[switch.board]) for name, switch in off.items()}
    assert {name: left for name, left in found.items() if left} == {}


@pytest.mark.parametrize("name", ON if ALL else MOST)
def test_without_it_nothing_of_it_is_there(scratch: Path, name: str) -> None:
    built = compiled(scratch, name, "n")
    assert left_of(SWITCHES[name], built) == []


@pytest.mark.parametrize("name", OFF if ALL else ADDED)
def test_with_it_it_is_found(scratch: Path, name: str) -> None:
    """The table is right about switches that are off by themselves too."""
    assert missing_of(SWITCHES[name], compiled(scratch, name, "y")) == []
