"""The hypervisor's own keys, after CTRL-a three times, beside a guest that answers."""

from __future__ import annotations

import random
import re
import time
from dataclasses import replace

from tests.boards.loads import Load
from tests.conftest import Boot
from tests.guests.conftest import OwnGuest, own_guest
from xenarm.tools.console import ConsoleTimeout
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import SWITCH_INPUT, Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import Architecture, Machine
from xenarm.tools.run import own_domain
from xenarm.tools.session import Session

__all__ = ["own_guest"]

SECONDS = 30
PROMPT = "> "
PC = "pc [0-9a-f]{8,16}"
IMAGE_AT = {Architecture.ARM64: "0000007f[0-9a-f]{8}", Architecture.ARM32: "ffc[0-9a-f]{5}"}  # of a guest of ours


def to_hypervisor(session: Session) -> None:
    session.console.send(SWITCH_INPUT)
    session.console.expect("input goes to the hypervisor", SECONDS)


def to_guest(session: Session) -> None:
    session.console.send(SWITCH_INPUT)
    session.console.expect("input goes to hello", SECONDS)


def ask_guest(session: Session, word: str) -> None:
    session.console.send(f"echo {word}\r")
    session.console.expect(rf"\n(\(hello\) )?{word}\r", SECONDS)


def assert_complete(report: str) -> None:
    """Everything has an owner: the pieces add up to the machine's memory, but for what rounding to whole pages leaves at each end of a claim."""
    total, free = map(int, re.findall(r"memory: (\d+) KiB, (\d+) KiB of it free", report)[0])
    pieces = [(int(size), what) for size, what in re.findall(r" (\d+) KiB  ([^\r\n]+)", report)]
    for wanted in ("the hypervisor's image", "/chosen/hello/module@", "RAM of hello at 0x40000000", "stacks, domains and vCPUs", "events that were traced", "pool of tables of hello"):
        assert any(what.startswith(wanted) for _, what in pieces), wanted
    assert sum(size for size, what in pieces if what == "free") == free
    assert 0 <= total - sum(size for size, _ in pieces) <= 8 * len(pieces)


def test_every_key(boot: Boot, target: Hypervisor) -> None:
    with boot(target, own_domain(target.board, "hello", cpus=2), cpus=2) as session:
        console = session.console
        console.expect(PROMPT, SECONDS)
        to_hypervisor(session)
        console.send("h")
        keys = console.expect(r"keys;[^\0]*restart the machine", SECONDS)[0].decode()
        for key in "hqmrd0tpubkTyY*R":
            assert re.search(rf"\) \[.*\]   {re.escape(key)}(<n>)? ", keys), key
        console.send("q")
        console.expect(r"domain 0 hello: RUNNING, 0 restarts, \d+ KiB of tables", SECONDS)
        console.expect(r"vcpu 0 on cpu 0: ON", SECONDS)
        console.expect(r"vcpu 1 on cpu 1: OFF", SECONDS)
        console.send("m")
        report = console.expect(r"memory: 1048576 KiB, \d+ KiB of it free[^\0]*KiB  free", SECONDS)[0].decode()
        console.send("?")
        report += console.expect(r"[^\0]*no such key", SECONDS)[0].decode()
        assert_complete(report)
        console.send("r")
        console.expect(r"scheduler: null", SECONDS)
        console.expect(r"cpu 0: hello vcpu 0 ON RUNNING, ran \d+ ms", SECONDS)
        for key in "d0":
            console.send(key)
            console.expect(rf"cpu 0: domain hello vcpu 0: {PC} ps", SECONDS)
            console.expect(r"vbar [0-9a-f]{8,16}", SECONDS)
        console.send("t")
        console.expect(r"virtual timer control [0-7]", SECONDS)
        console.send("*")
        console.expect(r"domain 0 hello", SECONDS)
        console.expect(r"virtual timer control", SECONDS)
        console.send("?")
        console.expect(r"no such key", SECONDS)
        console.send("p7")
        console.expect(r"no such domain", SECONDS)
        to_guest(session)
        ask_guest(session, "still-here")
        console.send("off\r")
        session.wait_off(SECONDS)


def test_pause_and_resume(boot: Boot, target: Hypervisor) -> None:
    with boot(target, own_domain(target.board, "hello")) as session:
        console = session.console
        console.expect(PROMPT, SECONDS)
        to_hypervisor(session)
        console.send("p0")
        console.expect("hello is paused", SECONDS)
        to_guest(session)
        console.send("echo wai" + "ting\r")
        assert not console.drain_until_closed(1)
        assert "waiting" not in console.text()
        to_hypervisor(session)
        console.send("q")
        console.expect("RUNNING, paused", SECONDS)
        console.send("u0")
        console.expect("hello goes on", SECONDS)
        console.expect("waiting", SECONDS)
        to_guest(session)
        ask_guest(session, "awake")
        console.send("off\r")
        session.wait_off(SECONDS)


def test_restart_and_end_from_the_console(boot: Boot, target: Hypervisor) -> None:
    domains = own_domain(target.board, "hello", cpus=2)
    with boot(target, domains, cpus=2) as session:
        console = session.console
        console.expect(PROMPT, SECONDS)
        for life in (1, 2, 3):
            to_hypervisor(session)
            console.send("b0")
            console.expect(f"hello: restart {life}, reason REBOOT", SECONDS)
            console.expect(PROMPT, SECONDS)
            to_guest(session)
            ask_guest(session, f"life-{life}")
        to_hypervisor(session)
        console.send("p0k0")
        console.expect("hello: shut down, reason POWEROFF", SECONDS)
        session.wait_off(SECONDS)


def test_reports_of_vcpus_that_take_turns(boot: Boot, target: Hypervisor, own_guest: OwnGuest) -> None:
    """One CPU, a vCPU that sleeps and two that never do: each is found where it is, on the CPU or in memory."""
    spinner = Load("spinner", cpus=2).domain(own_guest(target, "load"), 0, 100_000_000)
    with boot(replace(target, bootargs="sched=rr"), own_domain(target.board, "hello"), spinner, cpus=1) as session:
        console = session.console
        console.expect(PROMPT, SECONDS)
        session.console.send(SWITCH_INPUT)
        console.expect("input goes to spinner", SECONDS)
        to_hypervisor(session)
        for _ in range(20):  # it wakes for each tick of its own
            console.send("r")
            if console.expect(r"cpu 0: hello vcpu 0 ON (\w+), ran \d+ ms", SECONDS)[1] == b"BLOCKED":
                break
        places = {console.expect(rf"cpu 0: spinner vcpu {n} ON (\w+), ran \d+ ms", SECONDS)[1] for n in range(2)}
        assert places == {b"RUNNING", b"QUEUED"}
        console.send("p0")
        console.expect("hello is paused", SECONDS)
        for key, what in (("d", f"{PC} ps"), ("t", "counter 0x[0-9a-f]+; virtual timer control [0-7] compare")):
            console.send(key)
            console.expect(rf"no cpu: domain hello vcpu 0: {what}", SECONDS)
            console.expect(rf"no cpu: domain spinner vcpu \d: {what}", SECONDS)
            console.expect(rf"\] cpu 0: domain spinner vcpu \d: {what}", SECONDS)
        console.send("0")
        console.expect(rf"no cpu: domain hello vcpu 0: pc {IMAGE_AT[target.architecture]} ps", SECONDS)
        console.send("u0")
        console.expect("hello goes on", SECONDS)
        to_guest(session)
        ask_guest(session, "still-here")


def wait_for_life(session: Session, domain: str, life: int) -> None:
    """Until it has restarted so often and runs: a domain that is just being restarted takes no other restart."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        session.console.send("q")
        found = session.console.expect(rf"domain \d {domain}: (\w+), (?:paused, )?(\d+) restarts", SECONDS)
        if found[1] == b"RUNNING" and int(found[2]) >= life:
            return
    raise ConsoleTimeout(f"{domain} has not begun life {life} within {SECONDS} s:\n{session.console.text()[-2000:]}")


def test_restarts_at_any_moment(boot: Boot, target: Hypervisor, own_guest: OwnGuest) -> None:
    """From the console, while its two vCPUs flood everything there is on two CPUs, and now and then while it is paused."""
    dice = random.Random(11)
    flooder = Load("flooder", "floods", "seed=3", cpus=2).domain(own_guest(target, "load"), 0, 100_000_000)
    with boot(replace(target, bootargs="sched=credit2"), own_domain(target.board, "hello"), flooder, cpus=2) as session:
        session.console.expect(PROMPT, SECONDS)
        session.console.send(SWITCH_INPUT)
        session.console.expect("input goes to flooder", SECONDS)
        to_hypervisor(session)
        for life in range(1, 41):
            session.console.send("".join(dice.choices("qrt", k=dice.randrange(3))) + dice.choice(("b1", "p1b1")))
            wait_for_life(session, "flooder", life)
        to_guest(session)
        ask_guest(session, "not-disturbed")
        assert "panic" not in session.console.text()


def test_the_machine_restarts(boot: Boot, target: Hypervisor) -> None:
    with boot(target, own_domain(target.board, "hello")) as session:
        session.console.expect(PROMPT, SECONDS)
        to_hypervisor(session)
        session.console.send("R")
        session.console.expect("the machine restarts", SECONDS)
        assert session.console.drain_until_closed(SECONDS) or "xenarm, image at" in session.console.text()


def test_a_port_without_an_interrupt_is_polled(boot: Boot, target: Hypervisor) -> None:
    """As ThunderX's: input reaches the guest and the hypervisor, and long reports come out whole, though nothing interrupts."""
    domain = own_domain(target.board, "hello")
    tree = Tree(compose(Machine(target.machine, target.image, (domain,), 1, 1024)).dtb)
    tree.remove("/pl011@9000000", "interrupts")
    with boot(target, domain, dtb=tree.blob()) as session:
        console = session.console
        console.expect(PROMPT, SECONDS)
        console.send("echo typed-by" + "-hand\r")
        console.expect(r"\ntyped-by-hand", SECONDS)
        to_hypervisor(session)
        console.send("*")
        console.expect(r"virtual timer control", SECONDS)
        console.send("q")
        console.expect(r"serial ring: \d+ waiting, 0 lost", SECONDS)
        to_guest(session)
        console.send("off\r")
        session.wait_off(SECONDS)
