"""Event channels: two domains that notify each other by a static one, a restart in the middle; the same hypercalls on Debian's Xen."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import BOARD32, Boot
from tests.guests.conftest import OwnGuest, notify_guest, own_guest
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import Hypervisor, debian_xen
from xenarm.tools.layout import compose
from xenarm.tools.machine import KIB, DomainSpec, Machine, ModuleKind, ModuleSpec
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.session import Session

__all__ = ["notify_guest", "own_guest"]

SECONDS = 120
ROUNDS = 500
GICV2_KINDS = (("arm64-gicv2", DEFAULT_BOARD), ("arm64-gicv2", BOARD32), ("arm32", BOARD32))
"""The machine, and the board that the guest is made for, which says whether it is a 32-bit one."""
KINDS = (*GICV2_KINDS, ("arm64-gicv3", DEFAULT_BOARD))
MEMORY_MIB = 1024
PING_PORT, PONG_PORT = 10, 11
PING_END, PONG_END = 0xE1, 0xE2


def notify_domain(guest: Path, name: str, bootargs: str, **properties: str) -> DomainSpec:
    return DomainSpec(name, 64 * KIB, (ModuleSpec(ModuleKind.KERNEL, guest, bootargs),), properties={k.replace("_", ","): v for k, v in properties.items()})


def pair(guest: Path, dies: int = 0) -> tuple[DomainSpec, DomainSpec]:
    return (
        notify_domain(guest, "ping", f"mode=ping port={PING_PORT} rounds={ROUNDS}"),
        notify_domain(guest, "pong", f"mode=pong port={PONG_PORT} rounds={ROUNDS} dies={dies}"),
    )


def with_channel(
    hypervisor: Hypervisor, domains: tuple[DomainSpec, ...], cpus: int, changes: dict[str, tuple[int, ...]] | None = None, memory_mib: int = MEMORY_MIB
) -> bytes:
    """The machine's tree, with a channel between `ping` and `pong`; `changes` are properties of nodes below /chosen."""
    tree = Tree(compose(Machine(hypervisor.machine, hypervisor.image, domains, cpus, memory_mib, hypervisor.bootargs)).dtb)
    for domain, port, own, other in (("ping", PING_PORT, PING_END, PONG_END), ("pong", PONG_PORT, PONG_END, PING_END)):
        node = f"/chosen/{domain}/evtchn@{own:x}"
        tree.set_strings(node, "compatible", "xen,evtchn-v1")
        tree.set_words(node, "xen,evtchn", port, other)
        tree.set_words(node, "phandle", own)
    for node, words in (changes or {}).items():
        path, _, name = node.rpartition("/")
        tree.set_words(f"/chosen/{path}", name, *words)
    return tree.blob()


def both_end(session: Session, life: int = 1) -> int:
    """Both say so, in any order; the nanoseconds of a round trip, as ping measured them."""
    both = rf"(?s)(?=.*notify: {ROUNDS} round trips, (\d+) ns each)(?=.*notify: pong ends in life {life}\b)"
    return int(session.console.expect(both, SECONDS)[1])


def test_two_domains_notify_each_other(boot: Boot, hypervisor: Hypervisor, notify_guest: Path) -> None:
    domains = pair(notify_guest)
    with boot(hypervisor, *domains, cpus=2, memory_mib=MEMORY_MIB, dtb=with_channel(hypervisor, domains, 2)) as session:
        assert both_end(session) > 0


@pytest.mark.parametrize(("target", "guest_board"), KINDS, indirect=["target"])
def test_one_side_restarts_in_the_middle(boot: Boot, target: Hypervisor, own_guest: OwnGuest, guest_board: str) -> None:
    """The channel is there again, and tells of what was lost: no round trip is left open. The memory map is made anew with either controller."""
    domains = pair(own_guest(replace(target, board=guest_board), "notify"), dies=ROUNDS // 2)
    with boot(target, *domains, cpus=2, memory_mib=MEMORY_MIB, dtb=with_channel(target, domains, 2)) as session:
        both_end(session, life=2)
        assert "domain pong: restart 1, reason REBOOT" in session.console.text()
        session.wait_off(SECONDS)


@pytest.mark.parametrize(
    ("node", "words", "line"),
    [
        ("ping/evtchn@e1/xen,evtchn", (PING_PORT,), "/chosen/ping/evtchn@e1: xen,evtchn is missing or malformed"),
        ("ping/evtchn@e1/xen,evtchn", (0, PONG_END), "/chosen/ping/evtchn@e1: xen,evtchn names a port that a domain has not"),
        ("ping/evtchn@e1/xen,evtchn", (4096, PONG_END), "/chosen/ping/evtchn@e1: xen,evtchn names a port that a domain has not"),
        ("ping/evtchn@e1/xen,evtchn", (PING_PORT, 0xE9), "/chosen/ping/evtchn@e1: xen,evtchn leads to no node compatible"),
        ("pong/evtchn@e2/xen,evtchn", (PONG_PORT, PONG_END), "/chosen/ping/evtchn@e1: xen,evtchn leads to an end that does not lead back"),
        ("pong/cpus", (99,), "/chosen/ping/evtchn@e1: xen,evtchn leads to a domain that does not start: port 10 is not connected"),
    ],
    ids=["cell", "port 0", "port", "phandle", "one-sided", "refused"],
)
def test_what_is_wrong_is_named(boot: Boot, xenarm: Hypervisor, notify_guest: Path, node: str, words: tuple[int, ...], line: str) -> None:
    domains = pair(notify_guest)
    blob = with_channel(xenarm, domains, 2, {node: words})
    with boot(xenarm, *domains, cpus=2, memory_mib=MEMORY_MIB, dtb=blob) as session:
        session.console.expect(re.escape(line), SECONDS)


def conform(session: Session) -> list[str]:
    session.console.expect("conform: end", SECONDS)
    return re.findall(r"conform(?: \d+)?: (?:call|word|port|features)[^\r\n]*", session.console.text())


@pytest.mark.parametrize(("target", "guest_board"), GICV2_KINDS, indirect=["target"])
def test_hypercalls_give_what_xens_give(boot: Boot, target: Hypervisor, own_guest: OwnGuest, guest_board: str) -> None:
    """Line by line: results, errors, what is written back, and what the upcall brings."""
    guest = own_guest(replace(target, board=guest_board), "notify")
    said: list[list[str]] = []
    for hypervisor in (debian_xen(board=target.board), target):
        first = notify_domain(guest, "conform", "mode=conform", xen_enhanced="no-xenstore")
        second = notify_domain(guest, "other", "mode=pong", xen_enhanced="no-xenstore")
        with boot(hypervisor, first, second, cpus=2, memory_mib=MEMORY_MIB) as session:
            said.append(conform(session))
    assert len(said[0]) > 150
    assert said[1] == said[0]
