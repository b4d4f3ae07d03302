"""The guest of `make run`: on a bare machine, on our hypervisor and on Debian's Xen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from xenarm.tools.console import Console
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.machine import KIB, DomainSpec, ModuleKind, ModuleSpec
from xenarm.tools.session import Session

PROMPT = r"hello> $"
SECONDS = 60


def type_keys(console: Console, keys: str) -> None:
    """Type no faster than the guest echoes: Xen's console loses what comes in a burst."""
    for key in keys:
        console.send(key)
        console.expect("\b \b" if key in "\b\x7f\x15" else re.escape(key), SECONDS)


def ask(console: Console, line: str, answer: str) -> None:
    """Type a line, and see the answer and the next prompt."""
    type_keys(console, line)
    console.send("\r")
    console.expect(answer, SECONDS)
    console.expect(PROMPT, SECONDS)


def domain(kernel: Path, cpus: int) -> DomainSpec:
    return DomainSpec("hello", 64 * KIB, (ModuleSpec(ModuleKind.KERNEL, kernel),), cpus)


def test_greets_and_shows_its_machine(boot_bare: Any, hello: Path) -> None:
    with boot_bare(hello) as session:
        console = session.console
        console.expect("Hello from a guest at EL1", SECONDS)
        console.expect("machine   linux,dummy-virt", SECONDS)
        console.expect("chosen    stdout-path /pl011@9000000", SECONDS)
        console.expect(r"cpus      1, this is Cortex-A57 r1p0, MPIDR 0x80000000, PSCI 1\.\d", SECONDS)
        console.expect("memory    256 MiB at 0x40000000", SECONDS)
        console.expect("console   arm,pl011 at 0x9000000, interrupt 33", SECONDS)
        console.expect(r"virtio_mmio@a000000 .*\n +and 31 more like it", SECONDS)
        console.expect("timer     62500000 Hz, interrupt 27", SECONDS)
        for tick in (1, 2, 3):
            console.expect(rf"tick {tick}\b", SECONDS)
        console.expect(PROMPT, SECONDS)


def converse(session: Session, others: int) -> None:
    """Every command that does not end the guest."""
    console = session.console
    ask(console, "help", "reboot +restart the machine")
    ask(console, "echo one  two ", r"\n(\(XEN\) )?one  two \r+\n")
    ask(console, "echi\bo backspace\x7f\x7f", r"\n(\(XEN\) )?backspa\r+\n")
    ask(console, "nonsense\x15echo killed", r"\n(\(XEN\) )?killed\r+\n")
    ask(console, "nonsense", "'nonsense' is no command; 'help' lists them")
    ask(console, "", "")
    ask(console, "memory", r"memory    \d+ MiB at 0x40000000")
    ask(console, "tree", r"timer  \(arm,armv8-timer\)")
    ask(console, "ticks", r"tick \d+")
    console.send("cpus\r")
    for cpu in range(1, others + 1):
        console.expect(rf"cpu {cpu}     MPIDR {cpu:#x}: on, answers an interrupt in \d+ us", SECONDS)
    console.expect(PROMPT, SECONDS)
    ask(console, "irq", rf"interrupt    1 +{others} +software(?s:.)*interrupt   27 +\d+ +private" if others else "private")


@pytest.mark.parametrize(("last", "cpus"), [("off", 3), ("reboot", 1)])
def test_answers_commands_on_a_bare_machine(boot_bare: Any, hello: Path, last: str, cpus: int) -> None:
    with boot_bare(hello, cpus=cpus) as session:
        session.console.expect(PROMPT, SECONDS)
        converse(session, cpus - 1)
        session.console.send(last + "\r")
        session.wait_off(SECONDS)  # QEMU runs with -no-reboot


def test_a_line_longer_than_the_room_for_it(boot_bare: Any, hello: Path) -> None:
    with boot_bare(hello) as session:
        session.console.expect(PROMPT, SECONDS)
        session.console.send("echo " + "x" * 200 + "\r")
        session.console.expect(r"\n" + "x" * 123 + r"\r\n", SECONDS)
        session.console.expect(PROMPT, SECONDS)


def test_answers_commands_as_a_domain(boot: Any, hypervisor: Hypervisor, hello: Path) -> None:
    with boot(hypervisor, domain(hello, 2), cpus=2) as session:
        hypervisor.focus_first_domain(session.console)
        session.console.expect(PROMPT, SECONDS)
        converse(session, 1)
        session.console.send("off\r")
        session.console.expect("bye", SECONDS)
        if hypervisor.powers_off:
            session.wait_off(SECONDS)
