"""Scheduling parameters on the board: what the tree says about a domain reaches the scheduler, and what is wrong is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.boards import beacon
from tests.conftest import Boot
from xenarm.tools.hypervisor import Hypervisor

SECONDS = 60
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "weight": ("credit2", {"properties": {"xen,sched-weight": 0}}, r"/chosen/bad: xen,sched-weight is 0; give a number from 1 to 65535"),
    "affinity": ("rr", {"vcpus": {0: {"hard-affinity": "7"}}}, r"/chosen/bad: vcpu 0 by scheduler rr: none of its CPUs is there: correct hard-affinity"),
    "affinity under null": ("null", {"properties": {"hard-affinity": "5-7"}}, r"/chosen/bad: vcpu 0 by scheduler null: no CPU is left for it"),
    "vcpu": ("credit2", {"vcpus": {1: {"hard-affinity": "0"}}}, r"/chosen/bad/vcpu1: id is 1; give a number from 0 to 0"),
    "no time left": (
        "rtds",
        {"properties": {"xen,sched-budget-us": 10_000}},
        r"/chosen/bad: vcpu 0 by scheduler rtds: the CPUs do not have that much time: lower xen,sched-budget-us",
    ),
    "no window": ("arinc653", {}, r"/chosen/bad: vcpu 0 by scheduler arinc653: its windows do not fit the frame: correct xen,arinc653-windows"),
    "window taken": ("arinc653", {"properties": {"xen,arinc653-windows": (0, 500, 1000)}}, r"/chosen/bad: vcpu 0 by scheduler arinc653: a window overlaps another"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_named_and_the_others_start(boot: Boot, xenarm: Hypervisor, scratch: Path, case: str) -> None:
    sched, changes, line = REFUSED[case]
    good = replace(beacon.domain(scratch), properties={"xen,arinc653-windows": (0, 0, 1000)})
    bad = replace(beacon.domain(scratch, "bad"), **changes)
    chosen = {"xen,arinc653-major-frame-us": 2000}
    with boot(replace(xenarm, bootargs=f"sched={sched}"), good, bad, cpus=2 if sched == "null" else 1, chosen=chosen) as session:
        session.console.expect(f"bad does not start: {line}", SECONDS)
        session.console.expect(beacon.TEXT, SECONDS)
        session.wait_off(SECONDS)
        assert session.console.text().count("/chosen/bad") == 1
