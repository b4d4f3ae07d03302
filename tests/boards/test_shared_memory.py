"""Static shared memory on a whole board: two domains talk through it, one of them restarts and ends, and wrong nodes are named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from boards import board
from tests.conftest import Boot
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import SWITCH_INPUT, Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import MIB, DomainSpec, Machine
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.run import debian_domain, own_domain
from xenarm.tools.session import Session

SECONDS = 60
BOOT_SECONDS = 240
PLACE = 0x7000_0000
SIZE = 2 * MIB
EAST_AT, WEST_AT = 0x5000_0000, 0x5800_0000


def pair() -> tuple[DomainSpec, DomainSpec]:
    hello = own_domain(DEFAULT_BOARD, "hello")
    return replace(hello, name="east"), replace(hello, name="west")


def machine_tree(hypervisor: Hypervisor, domains: tuple[DomainSpec, ...]) -> Tree:
    tree = Tree(compose(Machine(board(DEFAULT_BOARD), hypervisor.image, domains, len(domains), 1024)).dtb)
    for domain in domains:
        tree.set_words(f"/chosen/{domain.name}", "#address-cells", 1)
        tree.set_words(f"/chosen/{domain.name}", "#size-cells", 1)
        for module in compose(Machine(board(DEFAULT_BOARD), hypervisor.image, domains, len(domains), 1024)).modules:
            if module.domain is domain:
                tree.set_words(f"/chosen/{domain.name}/module@{module.address:x}", "reg", *module.claim)
    return tree


def share(tree: Tree, domain: str, *words: int, name: str = "board", role: str = "", node: str = "shm") -> None:
    """A node of shared memory: (machine address,) guest address, size."""
    path = f"/chosen/{domain}/{node}"
    tree.set_strings(path, "compatible", "xen,domain-shared-memory-v1")
    tree.set_strings(path, "xen,shm-id", name)
    tree.set_words(path, "xen,shared-mem", *words)
    if role:
        tree.set_strings(path, "role", role)


def ask(session: Session, line: str, answer: str) -> None:
    session.console.send(f"{line}\r")
    session.console.expect(answer, SECONDS)


def turn_to(session: Session, whom: str) -> None:
    for _ in range(3):
        session.console.send(SWITCH_INPUT)
        if session.console.expect(r"input goes to (the hypervisor|\w+)", SECONDS)[1].decode() == whom:
            return
    pytest.fail(f"the input does not reach {whom}")


@pytest.mark.parametrize("placed", [True, False], ids=["placed", "anywhere"])
def test_two_domains_talk_and_outlive_each_other(boot: Boot, xenarm: Hypervisor, placed: bool) -> None:
    """What one writes the other reads, at addresses of its own, also after the writer's restart and after its end; it is zero at first."""
    domains = pair()
    tree = machine_tree(xenarm, domains)
    where = (PLACE,) if placed else ()
    share(tree, "east", *where, EAST_AT, SIZE, role="owner")
    share(tree, "west", *where, WEST_AT, SIZE, role="borrower")
    with boot(xenarm, *domains, cpus=2, dtb=tree.blob()) as session:
        console = session.console
        console.expect("input goes to east", SECONDS)
        console.expect(r"\(east\) hello> ", SECONDS)
        ask(session, "shared", rf"board: 2048 KiB at {EAST_AT:#x}, change 0: \r")
        ask(session, "shared from-east", "change 1: from-east")
        turn_to(session, "west")
        ask(session, "shared", rf"board: 2048 KiB at {WEST_AT:#x}, change 1: from-east")
        ask(session, "shared from-west", "change 2: from-west")
        turn_to(session, "the hypervisor")
        console.send("m")
        console.expect(r"2048 KiB  shared memory board, 2 users", SECONDS)
        console.send("b0")
        console.expect("east: restart 1", SECONDS)
        console.expect(r"\(east\) hello> ", SECONDS)
        turn_to(session, "east")
        ask(session, "shared", "change 2: from-west")
        ask(session, "off", "east: shut down, reason POWEROFF")
        console.expect("input goes to west", SECONDS)
        ask(session, "shared", "change 2: from-west")
        ask(session, "shared alone", "change 3: alone")
        turn_to(session, "the hypervisor")
        console.send("m")
        console.expect(r"2048 KiB  shared memory board, 1 users", SECONDS)
        console.send("k1")
        session.wait_off(SECONDS)


def test_debian_sees_it(boot: Boot, xenarm: Hypervisor) -> None:
    domains = (debian_domain(1), replace(own_domain(DEFAULT_BOARD, "hello"), name="east"))
    tree = machine_tree(xenarm, domains)
    share(tree, "debian", PLACE, EAST_AT + 256 * MIB, SIZE)
    share(tree, "east", PLACE, EAST_AT, SIZE)
    with boot(xenarm, *domains, cpus=2, dtb=tree.blob()) as session:
        console = session.console
        console.expect("debian# ", BOOT_SECONDS)
        for command, answer in (
            ("cd /proc/device-tree/reserved-memory", ""),
            ("ls -d xen*", "xen-shmem@60000000\r"),
            ("cat xen*/xen,id; echo", "board"),
            ("cd /; grep 60000000-601fffff /proc/iomem", "60000000-601fffff : reserved"),
        ):
            console.send_line(command)
            console.expect(answer, SECONDS)
            console.expect("debian# ", SECONDS)
        console.send_line("poweroff -f")
        console.expect("debian: shut down", SECONDS)


WRONG = {
    "not aligned": ((PLACE + 4, WEST_AT, SIZE), {}, "xen,shared-mem is not in whole pages"),
    "no memory": ((0x1000_0000, WEST_AT, SIZE), {}, "xen,shared-mem is not in the machine's memory"),
    "another size": ((PLACE, WEST_AT, SIZE // 2), {}, "xen,shared-mem is another region than in /chosen/east/shm"),
    "in its RAM": ((PLACE, 0x4100_0000, SIZE), {}, "xen,shared-mem lies in the domain's RAM"),
    "two owners": ((PLACE, WEST_AT, SIZE), {"role": "owner"}, "role is owner, as in /chosen/east/shm"),
    "on the image": ((0x4020_0000, WEST_AT, SIZE), {"name": "other"}, "xen,shared-mem overlaps the hypervisor's image"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_and_the_other_starts(boot: Boot, xenarm: Hypervisor, case: str) -> None:
    words, changes, line = WRONG[case]
    domains = pair()
    tree = machine_tree(xenarm, domains)
    share(tree, "east", PLACE, EAST_AT, SIZE, role="owner")
    share(tree, "west", *words, **changes)
    with boot(xenarm, *domains, cpus=2, dtb=tree.blob()) as session:
        session.console.expect(f"west does not start: /chosen/west/shm: {line}", SECONDS)
        session.console.expect("hello> ", SECONDS)
        ask(session, "shared still-here", "change 1: still-here")
        session.console.send("off\r")
        session.wait_off(SECONDS)
