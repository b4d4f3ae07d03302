"""Tracing on the board: what guests do is in the trace, said on the console or found in memory, and turns into JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from boards import board
from tests.boards import beacon
from tests.boards import lives as boardlives
from tests.boards.test_configurations import variant
from tests.boards.test_keys import PROMPT, SECONDS, to_hypervisor
from tests.conftest import Boot, on_first_target
from tests.xenarm.test_trace import BY_NAME, check_format, spans_of
from xenarm.arm32.registers import Ec as Ec32
from xenarm.arm64.registers import Ec as Ec64
from xenarm.core.domain import DomainState, ShutdownReason
from xenarm.core.trace import CLASSES, NO_REASON
from xenarm.tools import trace as tool
from xenarm.tools.bench import idle_guest
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import KIB, MIB, Architecture, DomainSpec, Machine, ModuleKind, ModuleSpec
from xenarm.tools.paths import DEFAULT_BOARD, ROOT
from xenarm.tools.run import own_domain
from xenarm.tools.session import Session, booted

__all__ = ["variant"]

CALLS = 100
CALLER: beacon.Code = {
    Architecture.ARM64: (
        0x52800013 | CALLS << 5,  # mov  w19, #CALLS
        0x52B08000,  # call: mov w0, #0x84000000    PSCI_VERSION
        0xD4000002,  # hvc  #0
        0xD28003B0,  # mov  x16, #29                SCHED_OP
        0xD2800000,  # mov  x0, #0                  SCHEDOP_yield
        0xD401D422,  # hvc  #0xEA1
        0x71000673,  # subs w19, w19, #1
        0x54FFFF41,  # b.ne call
        0x52B08000,  # mov  w0, #0x84000000
        0x11002000,  # add  w0, w0, #8              SYSTEM_OFF
        0xD4000002,  # hvc  #0
    ),
    Architecture.ARM32: (
        0xE3A06000 | CALLS,  # mov r6, #CALLS
        0xE3A00321,  # call: mov r0, #0x84000000
        0xE1400070,  # hvc  #0
        0xE3A0C01D,  # mov  r12, #29
        0xE3A00000,  # mov  r0, #0
        0xE3A01000,  # mov  r1, #0
        0xE140EA71,  # hvc  #0xEA1
        0xE2566001,  # subs r6, r6, #1
        0x1AFFFFF7,  # bne  call
        0xE3A00321,  # mov  r0, #0x84000000
        0xE3800008,  # orr  r0, r0, #8
        0xE1400070,  # hvc  #0
    ),
}
CALLED = 2 * CALLS + 1
HVC = {Architecture.ARM64: Ec64.HVC64, Architecture.ARM32: Ec32.HVC}


def caller(target: Hypervisor, directory: Path, name: str = "caller") -> DomainSpec:
    """A guest that calls PSCI and yields a known number of times, and ends."""
    return boardlives.domain(directory, name, CALLER, architecture=target.architecture)


def hello(target: Hypervisor, name: str = "hello") -> DomainSpec:
    return replace(own_domain(target.board, "hello", 1, 32), name=name)


def say_trace(session: Session, key: str = "Y") -> tool.Trace:
    """The trace out of the console, said for that key."""
    before = len(session.console.transcript)
    session.console.send(key)
    session.console.expect(r"\] trace: end", 120)
    trace = tool.read_console(bytes(session.console.transcript[before:]))
    assert trace.damaged == 0
    return trace


def memory_trace(session: Session, path: Path, command: str = "pmemsave") -> tool.Trace:
    """The trace out of the machine's memory."""
    ram = board(DEFAULT_BOARD).ram_base
    session.qemu.execute("stop")
    session.qemu.monitor(f'pmemsave {ram:#x} {1024 * MIB:#x} "{path}"' if command == "pmemsave" else f'{command} "{path}"')
    return tool.read(path)


def exits(trace: tool.Trace, reason: int, domain: int) -> int:
    """How many exits of a domain had a reason."""
    samples = [sample for found in trace.samples.values() for sample in found]
    return sum(s.event is not None and s.event.name == "exit" and s.a == reason and s.domain == domain for s in samples)


def check_turns(trace: tool.Trace) -> None:
    """On each CPU vCPUs begin and end in turn, and never two at once."""
    for cpu, samples in trace.samples.items():
        turns = [s for s in samples if s.event and s.event.name in ("sched_in", "sched_out")]
        if trace.lost[cpu] and turns[0].event == BY_NAME["sched_out"]:
            turns = turns[1:]  # of one that began before the oldest event
        for begin, end in zip(turns[0::2], turns[1::2]):
            assert begin.event == BY_NAME["sched_in"] and end.event == BY_NAME["sched_out"]
            assert begin.subject == end.subject


def idle(target: Hypervisor, directory: Path) -> DomainSpec:
    """A guest that waits for nothing, and keeps the machine on."""
    return DomainSpec("idle", 64 * MIB // KIB, (ModuleSpec(ModuleKind.KERNEL, idle_guest(directory, target.architecture)),))


def named(trace: tool.Trace, name: str) -> list[tool.Sample]:
    """All events of one kind, in order."""
    samples = sorted((s for found in trace.samples.values() for s in found), key=lambda s: s.time)
    return [s for s in samples if s.event and s.event.name == name]


def lives(trace: tool.Trace, domain: int) -> list[tuple[int, int]]:
    """The states of a domain's life, and their reasons, in order."""
    return [(s.a, s.b) for s in named(trace, "domain") if s.domain == domain]


def test_a_trace_from_the_first_instruction(boot: Boot, target: Hypervisor, scratch: Path) -> None:
    """Four domains share two CPUs. What is traced is all there: on the console, in memory, in the JSON."""
    callers = ["one", "two", "three"]
    hypervisor = replace(target, bootargs="sched=credit2 trace=all")
    with boot(hypervisor, idle(target, scratch), *(caller(target, scratch, name) for name in callers), cpus=2) as session:
        session.console.expect(r"tracing all: \d+ KiB", SECONDS)
        for _ in callers:
            session.console.expect(r"domain \w+: shut down", SECONDS)
        to_hypervisor(session)
        said = say_trace(session)
        session.console.send("T")
        session.console.expect("tracing is off", SECONDS)
        found = memory_trace(session, scratch / "memory")
    assert set(said.samples) == {0, 1} and said.names == dict(enumerate(["idle", *callers]))
    assert sum(said.lost.values()) == 0, "the ring is too small for this test"
    check_turns(said)
    off = ShutdownReason.POWEROFF
    for number in range(1, 4):
        assert exits(said, HVC[target.architecture], number) == CALLED
        assert lives(said, number) == [(DomainState.RUNNING, NO_REASON), (DomainState.DYING, off), (DomainState.DEAD, off)]
    for cpu, samples in said.samples.items():
        assert found.samples[cpu][: len(samples)] == samples
    document = tool.convert(said)
    check_format(document)
    titles = {e["args"]["name"] for e in document["traceEvents"] if e["name"] in ("thread_name", "process_name")}
    assert titles == {"CPUs", "CPU 0", "CPU 1", "idle", *callers, "vCPU 0"}
    for pid in (3, 4, 5):
        names = Counter(span[3] for span in spans_of(document) if span[0] == pid)
        assert names[tool.reason_name(HVC[target.architecture])] >= CALLED
        assert names["CPU 0"] + names["CPU 1"] >= 1


def test_tracing_by_key_among_others_output(boot: Boot, target: Hypervisor, scratch: Path) -> None:
    """Nothing is traced before, and nobody's output is lost while the trace is said."""
    with boot(replace(target, bootargs="sched=rr"), hello(target, "west"), hello(target, "east"), cpus=2) as session:
        console = session.console
        for _ in range(2):
            console.expect(r"\((west|east)\) hello> ", SECONDS)
        to_hypervisor_of_two(session)
        console.send("y")
        console.expect("nothing was traced yet", SECONDS)
        console.send("T")
        console.expect(r"tracing is on: the newest \d+ events of each CPU are kept, in \d+ KiB", SECONDS)
        console.send("\x01\x01\x01")
        console.expect("input goes to west", SECONDS)
        for n in range(20):
            console.send_line(f"echo one-{n}")
            console.expect(rf"\(west\) one-{n}\r", SECONDS)
        to_hypervisor_of_two(session)
        before = len(console.transcript)
        console.send("Y\x01\x01\x01")
        console.expect("input goes to west", SECONDS)
        for n in range(10):
            console.send_line(f"echo two-{n}")
            console.expect(rf"\(west\) two-{n}\r", SECONDS)
        if b"] trace: end" not in console.transcript[before:]:
            console.expect(r"\] trace: end", 120)
        trace = tool.read_console(bytes(console.transcript[before:]))
        assert trace.damaged == 0 and set(trace.samples) == {0, 1}
        check_format(tool.convert(trace))
        to_hypervisor_of_two(session)
        console.send("q")
        assert int(console.expect(r"serial ring: \d+ waiting, (\d+) lost", SECONDS)[1]) == 0
        again = say_trace(session, "y")
        assert max(len(samples) for samples in again.samples.values()) == 256, "tracing did not go on"
        console.send("T")
        console.expect("tracing is off", SECONDS)
        last = memory_trace(session, scratch / "first")
        session.qemu.resume()
        to_guest(session, "west")
        console.send_line("echo three")
        console.expect(r"\(west\) three\r", SECONDS)
        assert memory_trace(session, scratch / "second") == last, "something was traced while tracing was off"


def to_hypervisor_of_two(session: Session) -> None:
    for _ in range(3):
        session.console.send("\x01\x01\x01")
        if session.console.expect(r"input goes to (the hypervisor|west|east)", SECONDS)[1] == b"the hypervisor":
            return
    pytest.fail("the hypervisor does not get the input")


def to_guest(session: Session, name: str) -> None:
    session.console.send("\x01\x01\x01")
    session.console.expect(rf"input goes to {name}", SECONDS)


def test_only_some_classes_under_null(boot: Boot, target: Hypervisor, scratch: Path) -> None:
    with boot(replace(target, bootargs="trace=exit,domain"), idle(target, scratch), caller(target, scratch), cpus=2) as session:
        session.console.expect("domain caller: shut down", SECONDS)
        to_hypervisor(session)
        session.console.send("p0u0b0")
        session.console.expect("idle: restart 1", SECONDS)
        trace = memory_trace(session, scratch / "core", "dump-guest-memory")
    again = ShutdownReason.REBOOT
    assert lives(trace, 0) == [(DomainState.RUNNING, NO_REASON), (DomainState.DYING, again), (DomainState.RUNNING, again)]
    assert [s.a for s in named(trace, "pause")] == [1, 0, 0], "a restart ends a pause"
    groups = {s.event.group for samples in trace.samples.values() for s in samples if s.event}
    assert groups == {"exit", "domain", ""}
    assert set(trace.classes.values()) == {CLASSES["exit"] | CLASSES["domain"]}
    assert exits(trace, HVC[target.architecture], 1) == CALLED
    check_format(tool.convert(trace))


def test_vectors_are_taken_again(boot: Boot, target: Hypervisor, scratch: Path) -> None:
    """Each machine has vectors of its own: those are in force again when tracing is off."""
    domains = (idle(target, scratch), caller(target, scratch), beacon.domain(scratch, architecture=target.architecture))
    with boot(replace(target, bootargs="sched=credit2 trace=all"), *domains, cpus=2) as session:
        for _ in domains[1:]:
            session.console.expect(r"domain (caller|good): shut down", SECONDS)
        to_hypervisor(session)
        trace = say_trace(session)
        session.console.send("T")
        session.console.expect("tracing is off", SECONDS)
        session.console.send("b0")
        session.console.expect("idle: restart 1", SECONDS)
    assert exits(trace, HVC[target.architecture], 1) == CALLED
    assert {s.cpu for s in named(trace, "irq")} == {0, 1}
    check_turns(trace)
    check_format(tool.convert(trace))


@on_first_target
def test_an_unknown_class_is_named(boot: Boot, target: Hypervisor, scratch: Path) -> None:
    with boot(replace(target, bootargs="trace=irq,everything"), beacon.domain(scratch)) as session:
        session.console.expect(
            r"xen,xen-bootargs: trace=irq,everything: some word of it is unknown and ignored; there are exit, sched, irq, domain and all", SECONDS
        )
        session.console.expect(beacon.TEXT, SECONDS)
        session.wait_off(SECONDS)


@on_first_target
def test_the_command_reads_a_console(boot: Boot, target: Hypervisor, scratch: Path) -> None:
    with boot(replace(target, bootargs="trace=all"), hello(target)) as session:
        session.console.expect(PROMPT, SECONDS)
        to_hypervisor(session)
        say_trace(session)
        (scratch / "log").write_bytes(session.console.transcript)
    command = [sys.executable, "-m", "xenarm", "trace", str(scratch / "log"), "-o", str(scratch / "out.json")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=100)
    assert "0 older ones lost; 0 damaged lines" in result.stderr
    check_format(json.loads((scratch / "out.json").read_text()))


def test_left_out_nothing_remains(boot: Boot, variant: Callable[[dict[str, str]], Hypervisor], scratch: Path) -> None:
    hypervisor = variant({"TRACE": "n"})
    with hypervisor.image.with_suffix(".elf").open("rb") as stream:
        symbols = ELFFile(stream).get_section_by_name(".symtab")
        assert symbols is not None
        assert [s.name for s in symbols.iter_symbols() if s.name.lower().startswith("trac")] == []
    with boot(replace(hypervisor, bootargs="trace=all"), beacon.domain(scratch)) as session:
        session.console.expect(beacon.TEXT, SECONDS)
        session.wait_off(SECONDS)
