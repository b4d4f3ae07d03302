"""The life of domains: restarts, crashes, what follows them, and that the others notice nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.boards import beacon, lives
from tests.conftest import Boot
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import DomainSpec, Machine
from xenarm.tools.run import own_domain

SECONDS = 60
MEMORY_MIB = 512
RESTARTS = 1000
CPUS = 3


def tree_of(hypervisor: Hypervisor, domains: tuple[DomainSpec, ...], properties: dict[str, dict[str, str]]) -> bytes:
    """The machine's tree, with properties added to the domains' nodes."""
    machine = Machine(hypervisor.machine, hypervisor.image, domains, CPUS, MEMORY_MIB)
    tree = Tree(compose(machine).dtb)
    for domain, added in properties.items():
        for name, value in added.items():
            tree.set_bytes(f"/chosen/{domain}", name, value.encode() + b"\0")
    return tree.blob()


def phoenix(target: Hypervisor, scratch: Path) -> DomainSpec:
    return lives.domain(scratch, "phoenix", lives.RESTARTING, RESTARTS, 2, target.architecture)


def crashing(target: Hypervisor, scratch: Path) -> DomainSpec:
    return lives.domain(scratch, "bad", lives.CRASHING, architecture=target.architecture)


def test_restarts_leak_nothing(boot: Boot, target: Hypervisor, scratch: Path) -> None:
    """Each life ends while the second vCPU is on its way up. The number of free pages stays as it was."""
    with boot(target, phoenix(target, scratch), cpus=2) as session:
        session.console.expect("phoenix done", SECONDS)
        session.wait_off(SECONDS)
        text = session.console.text()
    free = re.findall(r"phoenix: restart \d+, reason REBOOT, (\d+) KiB of memory free", text)
    assert len(free) >= 10 and len(set(free)) == 1, free
    assert text.count("phoenix: shut down, reason POWEROFF") == 1
    assert text.count("no domain is left") == 1


def test_a_neighbour_notices_nothing(boot: Boot, target: Hypervisor, scratch: Path) -> None:
    domains = (own_domain(target.board, "hello"), phoenix(target, scratch))
    with boot(target, *domains, cpus=CPUS) as session:
        # What it says last may wait behind the neighbour's unfinished line.
        session.console.expect("(?s)phoenix done.*phoenix: shut down|phoenix: shut down.*phoenix done", SECONDS)
        session.console.send_line("echo aft" + "er")
        session.console.expect("after", SECONDS)
        session.console.send("off\r")
        session.wait_off(SECONDS)


def test_a_crash_is_one_line_and_stays_inside(boot: Boot, target: Hypervisor, scratch: Path) -> None:
    with boot(target, crashing(target, scratch), beacon.domain(scratch, architecture=target.architecture), cpus=2) as session:
        session.console.expect(beacon.TEXT, SECONDS)
        session.wait_off(SECONDS)
        text = session.console.text()
    at = lives.CRASHED_AT[target.architecture]
    assert re.search(rf"domain bad vcpu 0 pc {at:#x}: fetch of 4 bytes at {at:#x}, in /flash@0 of the machine: crash; it has no device there", text)
    assert "bad: shut down, reason CRASH" in text and "good: shut down, reason POWEROFF" in text
    assert text.count("no domain is left") == 1


@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        ("restart", r"domain bad: restart 3, reason CRASH"),
        ("stop-machine", r"a domain's end is the machine's: the machine is turned off"),
    ],
)
def test_what_follows_a_crash(boot: Boot, target: Hypervisor, scratch: Path, policy: str, seen: str) -> None:
    domains = (own_domain(target.board, "hello"), crashing(target, scratch))
    blob = tree_of(target, domains, {"bad": {"xenarm,on-crash": policy}})
    with boot(target, *domains, cpus=CPUS, memory_mib=MEMORY_MIB, dtb=blob) as session:
        session.console.expect(seen, SECONDS)
        if policy == "stop-machine":
            session.wait_off(SECONDS)


def test_a_policy_that_is_none_is_named(boot: Boot, xenarm: Hypervisor, scratch: Path) -> None:
    domains = (beacon.domain(scratch, "good"), beacon.domain(scratch, "bad"))
    blob = tree_of(xenarm, domains, {"bad": {"xenarm,on-crash": "explode"}})
    with boot(xenarm, *domains, cpus=CPUS, memory_mib=MEMORY_MIB, dtb=blob) as session:
        session.console.expect("/chosen/bad: xenarm,on-crash is no policy", SECONDS)
        session.wait_off(SECONDS)
        assert beacon.TEXT in session.console.text()
