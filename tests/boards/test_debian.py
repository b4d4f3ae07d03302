"""Debian's own kernel on the emulated board, driven over the serial port by what a person would do."""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import BOARD32, Boot
from xenarm.tools import debian
from xenarm.tools.console import Console, ConsoleTimeout
from xenarm.tools.hypervisor import SWITCH_INPUT, Hypervisor
from xenarm.tools.machine import Architecture
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.run import debian_domain
from xenarm.tools.session import Session

BOOT_SECONDS = 240
ANSWER_SECONDS = 60
SLOW_SECONDS = 600  # of 128 CPUs one after the other; seconds where nothing else runs
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


# The machine and its interrupt controller, whose version the guest's is; the guest, and how many CPUs it has.
COMBINATIONS = [
    (DEFAULT_BOARD, 2, "arm64", 1),
    (DEFAULT_BOARD, 2, "arm64", 4),
    (DEFAULT_BOARD, 3, "arm64", 1),
    (DEFAULT_BOARD, 3, "arm64", 4),
    (DEFAULT_BOARD, 3, "arm64", 128),
    (DEFAULT_BOARD, 2, "armhf", 1),
    (DEFAULT_BOARD, 2, "armhf", 4),
    (DEFAULT_BOARD, 3, "armhf", 1),
    (DEFAULT_BOARD, 3, "armhf", 4),
    (BOARD32, 2, "armhf", 1),
    (BOARD32, 2, "armhf", 4),
]
"""All that there are. Debian's 32-bit kernel is built with NR_CPUS=8, so there is none with 128; a GICv2 has eight CPUs at most, of a machine and of a
guest; Cortex-A15 and A7, the 32-bit machines, have a GICv2. A guest's GICv2 on a GICv3 is in tests/xenarm/test_gicv2_on_v3.py alone, on models: QEMU 7.2 has no
machine with one."""

ON_XEN = [row for row in COMBINATIONS if row[2] == "arm64" and row[3] <= 4] + [(DEFAULT_BOARD, 2, "armhf", 1)]
"""Some of them on Debian's Xen: what it does with the same test shows that the test is right."""

SAMPLE_BYTES = 256 * 1024
ONE_THREAD = ("-accel", "tcg,thread=single")
"""CPUs that wait for a lock give way to the others then: with fewer CPUs in the host than in the machine, a thread for each takes fifty times as long."""


def boots_to_a_shell_that_answers(boot: Boot, hypervisor: Hypervisor, gic: int, architecture: Architecture, cpus: int, **more: Any) -> None:
    """Every CPU computes, has its timer and sleeps by it; the guest goes off."""
    with boot(hypervisor, debian_domain(cpus, 384 if cpus > 8 else 256, architecture=architecture), cpus=4 if cpus > 8 else cpus, gic=gic, **more) as session:
        console = shell(session, hypervisor)
        ask(console, "grep arch_timer /proc/interrupts", r"GICv3 +27" if gic == 3 else r"(GICv2|GIC-0) +27")
        ask(console, "echo $((6 * 7))", r"\b42\b")
        ask(console, "nproc", rf"\n(\(XEN\) )?{cpus}\r")
        ask(console, "grep -c ^processor /proc/cpuinfo", rf"\n(\(XEN\) )?{cpus}\r")
        ask(console, "uname -m", "aarch64" if architecture is Architecture.ARM64 else "armv7l")
        ask(console, f"all=$(seq 0 {cpus - 1}); echo se''t", r"\n(\(XEN\) )?set\r")  # no command is wider than the terminal: its echo would have breaks
        console.send_line("on_each() { for i in $all; do taskset -c $i $@; done; }")
        console.expect(PROMPT, ANSWER_SECONDS)
        sample = hashlib.sha256(debian.busybox(debian.PORTS[architecture.debian])[:SAMPLE_BYTES]).hexdigest()
        ask(console, f"head -c {SAMPLE_BYTES} /bin/busybox > /sample; echo c''ut", "cut")
        ask(console, "on_each sha256sum /sample | uniq -c", rf"\b{cpus} {sample}", SLOW_SECONDS)
        ask(console, "on_each sleep 0.2 && echo wo''ken", "woken", SLOW_SECONDS)
        ask(console, f"awk '/arch_tim/{{for(;i++<{cpus};)n+=$(i+1)>0;print n}}' /proc/interrupts", rf"\n(\(XEN\) )?{cpus}\r")
        power_off(session, hypervisor)


@pytest.mark.parametrize(("host", "gic", "guest", "cpus"), COMBINATIONS)
def test_boots_to_a_shell_that_answers(boot: Boot, request: pytest.FixtureRequest, host: str, gic: int, guest: str, cpus: int) -> None:
    """128 are run by four CPUs, whose time goes by instructions: each has 250 ticks a second until the kernel can do without, and an emulator would not keep up with that."""
    many = cpus > 8
    hypervisor: Hypervisor = request.getfixturevalue("xenarm_many" if many else "xenarm" if host == DEFAULT_BOARD else "xenarm32")
    architecture = next(found for found in Architecture if found.debian == guest)
    if many:
        hypervisor = replace(hypervisor, bootargs="sched=credit2 bootscrub=0")
    boots_to_a_shell_that_answers(boot, hypervisor, gic, architecture, cpus, count_instructions=many)


@pytest.mark.parametrize(("host", "gic", "guest", "cpus"), ON_XEN)
def test_the_same_on_xen(boot: Boot, xen: Hypervisor, host: str, gic: int, guest: str, cpus: int) -> None:
    boots_to_a_shell_that_answers(boot, xen, gic, next(found for found in Architecture if found.debian == guest), cpus)


def test_reboots(boot: Boot, target: Hypervisor) -> None:
    """A reboot brings a fresh Linux, with all its CPUs, out of the same modules, on each machine. The CPUs' affinities are not those that Xen would give."""
    domain = replace(debian_domain(4, architecture=target.architecture), properties={"xenarm,mpidr-levels": (1, 4)})
    with boot(target, domain, cpus=4) as session:
        console = shell(session, target)
        ask(console, "touch /left-over; nproc", r"\n4\r")
        console.send_line("reboot -f")
        console.expect("debian: restart 1, reason REBOOT", ANSWER_SECONDS)
        shell(session, target)
        ask(console, "nproc; ls /left-over", r"\n4\r\n.*No such file")
        ask(console, "dmesg | grep -E 'processor 0x|mpidr' | tail -n 1", r"(processor 0x0{7}|mpidr 80000)300\b")
        power_off(session, target)


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
