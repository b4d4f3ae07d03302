"""RAM that the 32-bit hypervisor has no addresses for, from 0xffe00000 on and beyond 4 GiB: guests have it all the same."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from tests.boards import beacon
from tests.boards.test_debian import ask, power_off, shell
from tests.boards.test_events import both_end, pair, with_channel
from tests.boards.test_shared_memory import in_cells, talk_and_outlive_each_other, turn_to
from tests.conftest import Boot
from tests.guests.conftest import OwnGuest, own_guest
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.machine import KIB, MIB, Architecture
from xenarm.tools.run import debian_domain
from xenarm.tools.session import Session

__all__ = ["own_guest"]

SECONDS = 60
RAM_MIB = 4096  # from 1 GiB to 5 GiB
GIB = 1024 * MIB


def pieces(session: Session, name: str) -> list[tuple[int, int]]:
    """Where a domain's RAM is and how much, by the memory report."""
    turn_to(session, "the hypervisor")
    session.console.send("m")
    session.console.expect("KiB  free", SECONDS)
    return [(int(base, 16), int(kib) * KIB) for base, kib in re.findall(rf"0x(\w+) +(\d+) KiB  RAM of {name} at", session.console.text())]


def placed(domain: str, base: int) -> dict[str, tuple[int, ...]]:
    """The properties that give a domain its memory at a machine address."""
    cells = {f"{domain}/#xen,static-mem-{kind}-cells": (2,) for kind in ("address", "size")}
    return {**cells, f"{domain}/xen,static-mem": tuple(in_cells(2, base, 64 * MIB))}


def test_two_domains_there_notify_each_other_and_begin_anew(boot: Boot, xenarm32: Hypervisor, own_guest: OwnGuest) -> None:
    """Kernels are put there twice; hypercalls find their arguments there, and the words that are shared, on two CPUs at once."""
    domains = pair(own_guest(xenarm32, "notify"), dies=100)
    changes = placed("ping", 4 * GIB + 256 * MIB + 4 * KIB) | placed("pong", 4 * GIB - 2 * MIB)
    blob = with_channel(xenarm32, domains, 2, changes, RAM_MIB)
    with boot(xenarm32, *domains, cpus=2, memory_mib=RAM_MIB, dtb=blob) as session:
        both_end(session, life=2)
        assert "domain pong: restart 1, reason REBOOT" in session.console.text()
        session.wait_off(SECONDS)


def test_debian_there(boot: Boot, xenarm32: Hypervisor) -> None:
    """A GiB in one piece, and some more elsewhere."""
    debian = debian_domain(2, 1024 + 64, architecture=Architecture.ARM32)
    with boot(xenarm32, debian, cpus=2, memory_mib=RAM_MIB) as session:
        console = shell(session, xenarm32)
        ask(console, "echo $((6 * 7))", r"\b42\b")
        found = pieces(session, "debian")
        assert (4 * GIB, GIB) in found and sum(size for _, size in found) == (1024 + 64) * MIB, found
        turn_to(session, "debian")
        power_off(session, xenarm32)


def test_shared_memory_there(boot: Boot, xenarm32: Hypervisor) -> None:
    talk_and_outlive_each_other(boot, xenarm32, 4 * GIB + 16 * MIB, RAM_MIB)


def test_a_module_there_is_refused(boot: Boot, xenarm32: Hypervisor, scratch: Path) -> None:
    """It would have to be read whole, where the hypervisor sees a page at a time."""
    good = beacon.domain(scratch, architecture=Architecture.ARM32)
    kernel = replace(good.modules[0], claim=(4 * GIB + 16 * MIB, 8 * KIB))
    with boot(xenarm32, good, replace(good, name="bad", modules=(kernel,)), cpus=2, memory_mib=RAM_MIB) as session:
        session.console.expect("bad does not start: /chosen/bad/module@[0-9a-f]+: reg is not inside the machine's memory below 4 GiB", SECONDS)
        session.wait_off(SECONDS)
        assert beacon.TEXT in session.console.text()
