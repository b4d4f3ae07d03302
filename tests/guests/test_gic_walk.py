"""The walking guest: every register, size of access and rule of a GIC, on QEMU's own controller and under the hypervisor. What differs is in one table."""

from __future__ import annotations

import re

from tests.conftest import Boot
from tests.guests.conftest import BootBare, OwnGuest
from tests.guests.walk_differences import DIFFERENT
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.machine import KIB, DomainSpec, ModuleKind, ModuleSpec
from xenarm.tools.session import Session

SECONDS = 120
CPUS = 4
LEAST = {2: 640, 3: 850}
"""Lines that a walk has at least."""
EXTRA = {2: ("-global", "arm_gic.num-priority-bits=5")}
"""QEMU's GICv2 with as many bits of priority as list registers hold (IHI 0048B 5.3.12: five; 3.3: from four to eight)."""


def walk(session: Session) -> dict[str, list[str]]:
    """The lines of each name, in their order, to the walk's end."""
    session.console.expect(r"walk end", SECONDS)
    text = session.console.text()
    assert "guest:" not in text and "panic" not in text, text[-2000:]
    found: dict[str, list[str]] = {}
    section = ""
    for name, rest in re.findall(r"^(?:\(\w+\) )?walk ([\w-]+) ([^\r\n]*)", text, re.MULTILINE):
        if name == "section":
            section = rest
        else:
            found.setdefault(f"{section}.{name}", []).append(rest)
    return found


def test_the_whole_controller_is_the_machines(boot: Boot, boot_bare: BootBare, target: Hypervisor, own_guest: OwnGuest) -> None:
    """Line by line, but for what the specification leaves to an implementation, or QEMU's has wrong."""
    guest, gic = own_guest(target, "walk"), target.gic
    with boot_bare(guest, cpus=CPUS, gic=gic, extra=EXTRA.get(gic, ()), name_of_board=target.board) as session:
        bare = walk(session)
        session.wait_off(SECONDS)
    domain = DomainSpec("walk", 64 * KIB, (ModuleSpec(ModuleKind.KERNEL, guest),), CPUS)
    with boot(target, domain, cpus=CPUS) as session:
        virtual = walk(session)
        session.wait_off(SECONDS)
    assert sum(map(len, bare.values())) >= LEAST[gic]
    different = {name: (bare.get(name, []), virtual.get(name, [])) for name in bare.keys() | virtual.keys() if bare.get(name) != virtual.get(name)}
    assert different == {name: (row.bare, row.domain) for name, row in DIFFERENT[gic].items()}
