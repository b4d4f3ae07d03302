"""Static shared memory on a whole board: two domains talk through it, one of them restarts and ends, and wrong nodes are named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.conftest import FIRST_TARGET, IMAGE_AT, Boot, on_both_widths, with_image
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import SWITCH_INPUT, Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import MIB, DomainSpec, Machine
from xenarm.tools.run import debian_domain, own_domain
from xenarm.tools.session import Session

SECONDS = 60
BOOT_SECONDS = 240
PLACE = 0x7000_0000
SIZE = 2 * MIB
EAST_AT, WEST_AT = 0x5000_0000, 0x5800_0000


def pair(hypervisor: Hypervisor) -> tuple[DomainSpec, DomainSpec]:
    hello = own_domain(hypervisor.board, "hello")
    return replace(hello, name="east"), replace(hello, name="west")


def in_cells(cells: int, *values: int) -> list[int]:
    """Each value in so many words."""
    return [value >> 32 * n & 0xFFFF_FFFF for value in values for n in reversed(range(cells))]


def machine_tree(hypervisor: Hypervisor, domains: tuple[DomainSpec, ...], cells: int = 1, memory_mib: int = 1024) -> Tree:
    layout = compose(Machine(hypervisor.machine, hypervisor.image, domains, len(domains), memory_mib))
    tree = Tree(layout.dtb)
    for domain in domains:
        tree.set_words(f"/chosen/{domain.name}", "#address-cells", cells)
        tree.set_words(f"/chosen/{domain.name}", "#size-cells", cells)
        for module in layout.modules:
            if module.domain is domain:
                tree.set_words(f"/chosen/{domain.name}/module@{module.address:x}", "reg", *in_cells(cells, *module.claim))
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


def talk_and_outlive_each_other(boot: Boot, hypervisor: Hypervisor, place: int, memory_mib: int = 1024) -> None:
    """`place` in the machine, or 0 for anywhere."""
    domains = pair(hypervisor)
    tree = machine_tree(hypervisor, domains, 2, memory_mib)
    where = (place,) if place else ()
    share(tree, "east", *in_cells(2, *where, EAST_AT, SIZE), role="owner")
    share(tree, "west", *in_cells(2, *where, WEST_AT, SIZE), role="borrower")
    with boot(hypervisor, *domains, cpus=2, memory_mib=memory_mib, dtb=tree.blob()) as session:
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


@on_both_widths
@pytest.mark.parametrize("place", [PLACE, 0], ids=["placed", "anywhere"])
def test_two_domains_talk_and_outlive_each_other(boot: Boot, target: Hypervisor, place: int) -> None:
    """What one writes the other reads, at addresses of its own, also after the writer's restart and after its end; it is zero at first."""
    talk_and_outlive_each_other(boot, target, place)


def test_debian_sees_it(boot: Boot, xenarm: Hypervisor) -> None:
    domains = (debian_domain(1), replace(own_domain(xenarm.board, "hello"), name="east"))
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
    "on the image": ((IMAGE_AT, WEST_AT, SIZE), {"name": "other"}, "xen,shared-mem overlaps the hypervisor's image"),
}
ON_ARM32 = ("no memory", "in its RAM", "on the image")


@pytest.mark.parametrize(
    ("target", "case"), [*((FIRST_TARGET, case) for case in WRONG), *(("arm32", case) for case in ON_ARM32)], indirect=["target"]
)
def test_what_is_wrong_is_named_and_the_other_starts(boot: Boot, target: Hypervisor, case: str) -> None:
    words, changes, line = WRONG[case]
    domains = pair(target)
    tree = machine_tree(target, domains)
    share(tree, "east", PLACE, EAST_AT, SIZE, role="owner")
    share(tree, "west", *with_image(target, words), **changes)
    with boot(target, *domains, cpus=2, dtb=tree.blob()) as session:
        session.console.expect(f"west does not start: /chosen/west/shm: {line}", SECONDS)
        session.console.expect("hello> ", SECONDS)
        ask(session, "shared still-here", "change 1: still-here")
        session.console.send("off\r")
        session.wait_off(SECONDS)
