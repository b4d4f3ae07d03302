"""Debian's own kernel on the emulated board, driven over the serial port by what a person would do."""

from __future__ import annotations

import hashlib
import random
import re

import pytest

from boards import board
from tests.conftest import Boot
from xenarm.tools import debian
from xenarm.tools.console import Console, ConsoleTimeout
from xenarm.tools.hypervisor import SWITCH_INPUT, Hypervisor
from xenarm.tools.machine import Architecture
from xenarm.tools.run import debian_domain
from xenarm.tools.session import Session

BOOT_SECONDS = 240
ANSWER_SECONDS = 60
PROMPT = "debian# "
JUNK_BYTES = 64 * 1024


def shell(session: Session, hypervisor: Hypervisor) -> Console:
    """Wait for the shell's first prompt."""
    hypervisor.focus_first_domain(session.console)
    session.console.expect("Run /init as init process", BOOT_SECONDS)
    session.console.expect(PROMPT, ANSWER_SECONDS)
    return session.console


def ask(console: Console, command: str, answer: str, seconds: float = ANSWER_SECONDS) -> re.Match[bytes]:
    """Type a command and wait for its answer, which must not be part of the command as it is echoed."""
    assert not re.search(answer, command)
    console.send_line(command)
    found = console.expect(answer, seconds)
    console.expect(PROMPT, seconds)
    return found


def power_off(session: Session, hypervisor: Hypervisor) -> None:
    """End the domain from its shell; the machine goes off with the last one."""
    session.console.send_line("poweroff -f")
    session.console.expect("reboot: Power down", ANSWER_SECONDS)
    if hypervisor.powers_off:
        session.wait_off(30)


def boots_to_a_shell_that_answers(boot: Boot, hypervisor: Hypervisor, cpus: int, gic: int = 2, architecture: Architecture | None = None) -> None:
    architecture = architecture or board(hypervisor.board).architecture
    with boot(hypervisor, debian_domain(cpus, architecture=architecture), cpus=cpus, gic=gic) as session:
        console = shell(session, hypervisor)
        ask(console, "grep arch_timer /proc/interrupts", r"GICv3 +27" if gic == 3 else r"(GICv2|GIC-0) +27")
        ask(console, "echo $((6 * 7))", r"\b42\b")
        ask(console, "nproc", rf"\n(\(XEN\) )?{cpus}\r")
        ask(console, "uname -m", "aarch64" if architecture is Architecture.ARM64 else "armv7l")
        # Every CPU computes what it should.
        checksum = hashlib.sha256(debian.busybox(debian.PORTS[architecture.debian])).hexdigest()
        for cpu in range(cpus):
            ask(console, f"taskset -c {cpu} sha256sum /bin/busybox", checksum)
        # Time passes: the timer wakes a sleeper on every CPU.
        for cpu in range(cpus):
            ask(console, f"taskset -c {cpu} sleep 0.2 && echo wo''ken", "woken")
        power_off(session, hypervisor)


@pytest.mark.parametrize(("cpus", "gic"), [(1, 2), (4, 2), (1, 3), (4, 3)])
def test_boots_to_a_shell_that_answers(boot: Boot, hypervisor: Hypervisor, cpus: int, gic: int) -> None:
    boots_to_a_shell_that_answers(boot, hypervisor, cpus, gic)


@pytest.mark.parametrize("cpus", [1, 4])
def test_boots_to_a_shell_that_answers_on_arm32(boot: Boot, xenarm32: Hypervisor, cpus: int) -> None:
    boots_to_a_shell_that_answers(boot, xenarm32, cpus)


@pytest.mark.parametrize(("cpus", "gic"), [(1, 2), (4, 2), (1, 3), (4, 3)])
def test_a_32_bit_debian_boots_to_a_shell_that_answers(boot: Boot, xenarm: Hypervisor, cpus: int, gic: int) -> None:
    boots_to_a_shell_that_answers(boot, xenarm, cpus, gic, Architecture.ARM32)


def test_a_32_bit_debian_boots_on_xen(boot: Boot, xen: Hypervisor) -> None:
    boots_to_a_shell_that_answers(boot, xen, 1, 2, Architecture.ARM32)


def test_reboots(boot: Boot, xenarm: Hypervisor) -> None:
    """A reboot brings a fresh Linux, with all its CPUs, out of the same modules."""
    with boot(xenarm, debian_domain(4), cpus=4) as session:
        console = shell(session, xenarm)
        ask(console, "touch /left-over; nproc", r"\n4\r")
        console.send_line("reboot -f")
        console.expect("debian: restart 1, reason REBOOT", ANSWER_SECONDS)
        shell(session, xenarm)
        ask(console, "nproc; ls /left-over", r"\n4\r\n.*No such file")
        power_off(session, xenarm)


def noise(seed: int, size: int = JUNK_BYTES) -> bytes:
    """Any byte in any order, as a bad line or a cat on the keyboard gives them.

    Only the hypervisor's own switch, CTRL-a three times, must not be among them: it takes the keyboard
    away, as it should.
    """
    data = random.Random(seed).randbytes(size)
    assert SWITCH_INPUT not in data
    return data


def recover(console: Console) -> None:
    """What a person does with a terminal full of junk: CTRL-Q, CTRL-C, return, until the shell answers. It first draws a line anew for each byte of it."""
    for attempt in range(100):
        marker = f"sane-{attempt}"
        console.send(b"\x11\x03\x15\r")
        console.send(f"echo {marker[:2]}''{marker[2:]}\r")
        try:
            console.expect(marker, 3)
        except ConsoleTimeout:
            continue
        # Junk can end the shell and interrupt the next one before it has read its profile: begin with a fresh one.
        console.send("exec sh -l\r")
        console.expect(PROMPT, ANSWER_SECONDS)
        return
    raise ConsoleTimeout(f"the shell does not answer after junk:\n{console.text()[-2000:]}")


@pytest.mark.parametrize("cpus", [1, 4])
def test_junk_typed_at_the_shell(boot: Boot, hypervisor: Hypervisor, cpus: int) -> None:
    """The shell meets every control character, line editing, job control and flow control; it must come back."""
    with boot(hypervisor, debian_domain(cpus), cpus=cpus) as session:
        console = shell(session, hypervisor)
        console.send(noise(seed=cpus))
        recover(console)
        ask(console, "echo $((6 * 7))", r"\b42\b")
        power_off(session, hypervisor)


def test_every_byte_typed_arrives(boot: Boot, xenarm: Hypervisor) -> None:
    """A raw terminal takes the junk as it comes: none of it may be lost, changed or doubled."""
    junk = noise(seed=3)
    with boot(xenarm, debian_domain()) as session:
        console = shell(session, xenarm)
        console.send_line("stty raw -echo; echo rea''dy; head -c 65536 | sha256sum")
        console.expect("ready", ANSWER_SECONDS)
        console.send(junk)
        console.expect(hashlib.sha256(junk).hexdigest(), 60)
        console.expect(PROMPT, ANSWER_SECONDS)
        power_off(session, xenarm)
