"""A guest that does everything a guest can do, from a seed: the hypervisor must neither fall, nor talk too much, nor let others feel it.

XENARM_PROFILE=long takes more seeds, and many more operations of each.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.boards.test_debian import BOOT_SECONDS, PROMPT
from tests.conftest import BOARD32, Boot
from tests.guests.conftest import OwnGuest, hostile_guest, own_guest
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.machine import KIB, DomainSpec, ModuleKind, ModuleSpec
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.run import debian_domain, own_domain
from xenarm.tools.session import Session

__all__ = ["hostile_guest", "own_guest"]

LONG = os.environ.get("XENARM_PROFILE") == "long"
OPERATIONS = 400_000 if LONG else 10_000
SECONDS = 1800 if LONG else 180
BURST, PER_SECOND = 10, 2  # xenarm/core/log.py
LIVES = 2
END = "domain hostile: shut down, reason POWEROFF"
OF_ITS_OWN = 8  # lines about a domain that it does not provoke again and again: built, ended


def seeds(first: int) -> range:
    return range(first, first + (10 if LONG else 1))


def hostile_domain(guest: Path, seed: int, cpus: int, operations: int | str = OPERATIONS) -> DomainSpec:
    kernel = ModuleSpec(ModuleKind.KERNEL, guest, f"seed={seed} operations={operations}")
    return DomainSpec("hostile", 64 * KIB, (kernel,), cpus, properties={"xen,enhanced": "no-xenstore"})


def check_the_hypervisor(session: Session) -> None:
    """It has not failed, and said no more than a domain may make it say."""
    text = session.console.text()
    assert "panic" not in text
    lines = re.findall(r"\(xenarm\) \[ *(\d+)\.\d+\] [^\r\n]*domain hostile", text)
    assert len(lines) <= BURST + PER_SECOND * (int(lines[-1]) + 1) + OF_ITS_OWN, lines


NATIVE = [("arm64-gicv2", DEFAULT_BOARD, 1), ("arm64-gicv2", DEFAULT_BOARD, 2), ("arm64-gicv3", DEFAULT_BOARD, 2)]
NARROW = [("arm32", BOARD32, 2), ("arm64-gicv2", BOARD32, 2)]
"""The guest in AArch32: on its own board, and on the 64-bit one, where each of its vCPUs has a CPU of its own (docs/arm64.md says why)."""


@pytest.mark.parametrize(("target", "guest_board", "cpus"), NATIVE + NARROW, indirect=["target"])
@pytest.mark.parametrize("seed", seeds(1))
def test_alone(boot: Boot, target: Hypervisor, own_guest: OwnGuest, guest_board: str, seed: int, cpus: int) -> None:
    """It comes to its end, and the machine goes off by itself."""
    guest = own_guest(replace(target, board=guest_board), "hostile")
    with boot(target, hostile_domain(guest, seed, cpus), cpus=cpus) as session:
        session.console.expect(END, SECONDS)
        session.wait_off(30)
        said = re.search(rf"hostile: end of seed {seed}, (\d+) operations, \d+ exceptions", session.console.text())
        assert said, session.console.text()[-2000:]
        assert int(said[1]) >= OPERATIONS // 4 * 4
        check_the_hypervisor(session)


@pytest.mark.parametrize(("target", "guest_board", "cpus"), [case for case in NATIVE if case[2] == 2] + NARROW, indirect=["target"])
def test_lives_beside_a_neighbour(boot: Boot, target: Hypervisor, own_guest: OwnGuest, guest_board: str, cpus: int) -> None:
    """A domain beside it answers after its last life, and the machine goes off."""
    guest = own_guest(replace(target, board=guest_board), "hostile")
    hostile = hostile_domain(guest, 20, cpus, f"{OPERATIONS // 10} again={LIVES}")
    with boot(target, own_domain(target.board, "hello"), hostile, cpus=cpus + 1) as session:
        session.console.expect(END, SECONDS)
        session.console.send("echo at" + "-the-end\r")
        session.console.expect(r"\nat-the-end\r|\(hello\) at-the-end\r", SECONDS)
        session.console.send("off\r")
        session.wait_off(30)
        check_the_hypervisor(session)


def checksums(session: Session, turn: int, count: int = 20) -> None:
    """So many checksums of one file, which must all be the same."""
    session.console.send(
        f"n=0; while [ $n -lt {count} ]; do [ \"$(sha256sum </tmp/f)\" = \"$s\" ] || echo MI''SSED; n=$((n+1)); done; echo tu''rn-{turn}-done\r"
    )
    session.console.expect(rf"turn-{turn}-done", SECONDS)


@pytest.mark.parametrize("seed", seeds(100))
def test_beside_debian(boot: Boot, xenarm: Hypervisor, hostile_guest: Path, seed: int) -> None:
    """Debian computes all the while, and never gets another result; then it, too, is turned off."""
    with boot(xenarm, debian_domain(), hostile_domain(hostile_guest, seed, 2, OPERATIONS), cpus=3) as session:
        console = session.console
        console.expect(PROMPT, BOOT_SECONDS)
        console.send("mkdir -p /tmp; head -c 300000 /dev/urandom >/tmp/f; s=$(sha256sum </tmp/f); echo fi''le-ready $s\r")
        console.expect("file-ready [0-9a-f]{64}", 60)
        turn = 0
        deadline = time.monotonic() + SECONDS
        while END not in console.text() or turn < 3:
            assert time.monotonic() < deadline, f"the hostile guest has not come to its end within {SECONDS} s:\n{console.text()[-2000:]}"
            checksums(session, turn)
            turn += 1
        assert "MISSED" not in console.text()
        console.send("poweroff -f\r")
        session.wait_off(60)
        check_the_hypervisor(session)
