"""The serial line on whole boards: several domains share it, and Linux's drivers accept the one that a domain sees."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.boards.loads import Load, run
from tests.conftest import Boot, on_first_target
from tests.guests.conftest import OwnGuest, own_guest
from xenarm.tools.console import Console
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import SWITCH_INPUT, Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import DomainSpec, Machine
from xenarm.tools.run import debian_domain

__all__ = ["own_guest"]

BOOT_SECONDS = 240
ANSWER_SECONDS = 60
MACHINE_MIB = 1024


def lines(console: Console) -> list[str]:
    return console.text().replace("\r", "").split("\n")


def test_two_domains_share_the_line(boot: Boot, target: Hypervisor) -> None:
    """Each line says whose it is, prompts show without a line feed, and CTRL-a three times moves the input."""
    domains = [debian_domain(name=name, memory_mib=192, architecture=target.architecture) for name in ("east", "west")]
    with boot(target, *domains, cpus=2, memory_mib=MACHINE_MIB) as session:
        console = session.console
        console.expect("input goes to east", ANSWER_SECONDS)
        for _ in domains:
            console.expect("BusyBox v", BOOT_SECONDS)
        console.send("\recho i am $(hostname) $((40 + 2))\r")
        console.expect(r"\(east\) i am debian 42", ANSWER_SECONDS)
        console.send(SWITCH_INPUT)
        console.expect("input goes to west", ANSWER_SECONDS)
        console.send("\recho i am $((30 + 3))\r")
        console.expect(r"\(west\) i am 33", ANSWER_SECONDS)
        console.expect(r"\(west\) debian# ", ANSWER_SECONDS)
        console.send("poweroff -f\r")
        console.expect("domain west: shut down", ANSWER_SECONDS)
        console.expect("input goes to east", ANSWER_SECONDS)
        console.send("\recho still $((5 * 5)) here\r")
        console.expect(r"\(east\) still 25 here", ANSWER_SECONDS)
        console.send("poweroff -f\r")
        session.wait_off(ANSWER_SECONDS)
        first = next(i for i, line in enumerate(lines(console)) if "start" in line)
        strangers = [line for line in lines(console)[first:] if line and not re.match(r"\((east|west|xenarm)\) ", line)]
        assert not strangers


FLOOD_LINE = "abcdefghijklmno"
NAMES = ("north", "east", "south", "west")


def test_lines_of_four_floods_never_mix(target: Hypervisor, own_guest: OwnGuest) -> None:
    """They take turns on one CPU, cut off in the middle of lines: each line is one domain's; one that is cut is said again, whole."""
    loads = [Load(name, "console") for name in NAMES]
    text = run(target, own_guest(target, "load"), "rr", *loads, name="four-floods", seconds=0.2)
    said: dict[str, list[str]] = {name: [] for name in NAMES}
    for line in text[text.index("] start\n") :].splitlines()[1:]:
        whose = re.fullmatch(r"\((north|east|south|west)\) (.*)|\(xenarm\) .*|", line)
        assert whose, line
        if whose[1] and not whose[2].startswith("load: "):
            said[whose[1]].append(whose[2])
    for name, lines_of in said.items():
        for line, following in zip(lines_of, lines_of[1:]):
            assert line == FLOOD_LINE or following.startswith(line), (name, line)
    counts = [lines_of.count(FLOOD_LINE) for lines_of in said.values()]
    assert min(counts) > 500 and max(counts) < 1.2 * min(counts), counts


def test_a_flood_costs_another_no_character(boot: Boot, target: Hypervisor, own_guest: OwnGuest) -> None:
    """Debian's driver is told when its port is full, and all of what it says arrives, in order."""
    last = 1000
    flood = Load("flood", "console").domain(own_guest(target, "load"), 0, 100_000_000)
    debian = debian_domain(architecture=target.architecture)
    with boot(replace(target, bootargs="sched=credit2"), debian, flood, cpus=2) as session:
        console = session.console
        console.expect("debian# ", BOOT_SECONDS)
        console.send(f"seq 1 {last}; echo do''ne\r")
        console.expect(r"\(debian\) done", BOOT_SECONDS)
        text = console.text().replace("\r", "")
    expected = 1
    for number in re.findall(r"^\(debian\) (\d+)$", text, re.MULTILINE):
        expected += 1 if int(number) == expected else 0
    assert expected == last + 1, f"{expected} is missing"


def blob_with(hypervisor: Hypervisor, domain: DomainSpec, name: str, value: bytes) -> bytes:
    """The machine's tree, with a property of the domain's node set."""
    machine = Machine(hypervisor.machine, hypervisor.image, (domain,), 1, MACHINE_MIB)
    tree = Tree(compose(machine).dtb)
    tree.set_bytes(f"/chosen/{domain.name}", name, value)
    return tree.blob()


@on_first_target
@pytest.mark.parametrize(
    ("kind", "driver"),
    [
        (b"", r"sbsa-uart: ttyAMA0 at MMIO 0x22000000 \(irq = \d+, base_baud = 0\) is a SBSA"),
        (b"arm,pl011\0", r"pl011: ttyAMA0 at MMIO 0x22000000 \(irq = \d+, base_baud = 0\) is a PL011 rev3"),
    ],
    ids=["sbsa", "primecell"],
)
def test_linux_accepts_the_port(boot: Boot, target: Hypervisor, kind: bytes, driver: str) -> None:
    """Early console by the tree's stdout-path alone, the driver proper, input by interrupt."""
    domain = debian_domain()
    kernel, ramdisk = domain.modules
    # No address, no console=: all of it is in the tree.
    domain = replace(domain, modules=(replace(kernel, bootargs="earlycon"), ramdisk))
    with boot(target, domain, memory_mib=MACHINE_MIB, dtb=blob_with(target, domain, "vpl011", kind)) as session:
        console = session.console
        console.expect(r"earlycon: pl11 at MMIO 0x0000000022000000", BOOT_SECONDS)
        console.expect(driver, BOOT_SECONDS)
        console.expect(r"console \[ttyAMA0\] enabled", BOOT_SECONDS)
        console.expect("debian# ", BOOT_SECONDS)
        console.send_line("echo $((6 * 7)); grep uart /proc/interrupts")
        console.expect(r"\b42\b", ANSWER_SECONDS)
        console.expect(r"uart-pl011|sbsa-uart", ANSWER_SECONDS)
        console.send_line("poweroff -f")
        session.wait_off(ANSWER_SECONDS)
