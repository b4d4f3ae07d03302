"""Turns a trace of the hypervisor into JSON that Perfetto and chrome://tracing open: one track for each CPU, one for each vCPU.

Reads what was said on a console, or a dump of the machine's memory (raw, or an ELF core); `xenarm/core/trace.py` says what is in it.
"""

from __future__ import annotations

import argparse
import binascii
import json
import mmap
import re
import struct
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freestanding import offset_of
from xenarm.arm64.registers import Ec
from xenarm.core.domain import DomainState, Power, ShutdownReason
from xenarm.core.trace import CLASSES, EVENTS, EXIT_FIQ, EXIT_IRQ, EXIT_SERROR, MAGIC, NAME_SIZE, NO_DOMAIN, NO_REASON, NO_VCPU, Event, Kind, Ring
from xenarm.core.trace_dump import DUMP_VERSION
from xenarm.tools.errors import ToolError, run_tool

EVENT_BY_ID = {event.id: event for event in EVENTS}
REASONS: dict[int, str] = {number: name for name, number in vars(Ec).items() if name.isupper() and not name.endswith("_SAME")} | {EXIT_IRQ: "IRQ", EXIT_FIQ: "FIQ", EXIT_SERROR: "SERROR"}
WORDS: dict[tuple[str, str], dict[int, str]] = {
    ("exit", "reason"): REASONS,
    ("domain", "state"): {state.value: state.name for state in DomainState},
    ("domain", "reason"): {reason.value: reason.name for reason in ShutdownReason} | {NO_REASON: "-"},
    ("power", "state"): {power.value: power.name for power in Power},
}
"""Arguments that are shown by name."""

# ---- what was traced ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """An event that happened. `number` counts those of its CPU, from 0; `event` is None for one that this version does not know."""

    number: int
    time: int  # ticks
    cpu: int
    id: int
    event: Event | None
    domain: int | None
    vcpu: int | None
    a: int
    b: int

    @property
    def subject(self) -> tuple[int, int] | None:
        """The vCPU that it is about."""
        return None if self.domain is None or self.vcpu is None else (self.domain, self.vcpu)


@dataclass
class Trace:
    """Everything read from a file. `lost` counts for each CPU the events that are not there, mostly because newer ones took their place."""

    hz: int = 0
    samples: dict[int, list[Sample]] = field(default_factory=dict)  # by CPU, in their order
    classes: dict[int, int] = field(default_factory=dict)  # that each CPU traced last
    lost: dict[int, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    damaged: int = 0

    def count(self) -> int:
        """How many events there are."""
        return sum(len(samples) for samples in self.samples.values())


RECORD = struct.Struct("<QIIQQ")  # time, low half of the number from 1, subject, arguments


def decode(record: bytes, cpu: int, written: int) -> Sample | None:
    """An event out of a record, None if there is none in it, or one that is being written."""
    time, sequence, subject, a, b = RECORD.unpack(record)
    number = (written & ~0xFFFF_FFFF | sequence) - 1
    number -= (1 << 32) * (number >= written)
    if sequence == 0 or number < 0:
        return None
    domain, vcpu, event = subject >> 8 & 0xFF, subject >> 16, subject & 0xFF
    return Sample(
        number,
        time,
        cpu,
        event,
        EVENT_BY_ID.get(event),
        None if domain == NO_DOMAIN else domain,
        None if vcpu == NO_VCPU else vcpu,
        a,
        b,
    )


def name_of(raw: bytes) -> str:
    """A domain's name; what is not printable in it is replaced."""
    return "".join(chr(c) if 0x20 <= c < 0x7F else "?" for c in raw.rstrip(b"\0"))


class Collector:
    """Puts together what is found of each CPU: several dumps of one run may overlap; numbers that begin again are another run."""

    def __init__(self) -> None:
        self.trace = Trace()
        self.written: dict[int, int] = {}
        self.found: dict[int, dict[int, Sample]] = {}

    def begin(self, cpu: int, classes: int, hz: int, written: int) -> None:
        """A ring. What an earlier run had there is dropped."""
        if written < self.written.get(cpu, 0) or cpu not in self.found:
            self.found[cpu] = {}
        self.trace.hz = hz
        self.trace.classes[cpu] = classes
        self.written[cpu] = written

    def add(self, cpu: int, record: bytes) -> bool:
        """A record of a ring that was begun. False: there is no such ring."""
        if cpu not in self.found:
            return False
        sample = decode(record, cpu, self.written[cpu])
        if sample is not None:
            self.found[cpu][sample.number] = sample
        return True

    def result(self) -> Trace:
        """All of it."""
        for cpu, found in sorted(self.found.items()):
            self.trace.samples[cpu] = [found[number] for number in sorted(found)]
            self.trace.lost[cpu] = max(self.written[cpu] - len(found), 0)
        return self.trace


# ---- from a console -----------------------------------------------------------------------------------------------------

LINE = re.compile(rb"~([BNTE])([0-9a-f]*)")
BEGIN = struct.Struct("<BBIQQ")
END = struct.Struct("<BQ")
SIZES = {b"B": BEGIN.size, b"N": 1 + NAME_SIZE, b"T": 1 + RECORD.size, b"E": END.size}


def payload(letter: bytes, digits: bytes) -> bytes | None:
    """What a line of the dump carries; None when it is damaged."""
    if len(digits) != 2 * SIZES[letter] + 4:
        return None
    raw = bytes.fromhex(digits.decode())
    return raw[:-2] if binascii.crc_hqx(letter + raw[:-2], 0xFFFF) == int.from_bytes(raw[-2:], "big") else None


def read_console(text: bytes | mmap.mmap) -> Trace:
    """The trace in a console's log, whatever else is in it. Damaged and missing lines are counted."""
    collector = Collector()
    said: dict[int, int] = defaultdict(int)
    for found in LINE.finditer(text):
        content = payload(found[1], found[2])
        if content is None or not take_line(collector, found[1], content, said):
            collector.trace.damaged += 1
    return collector.result()


def take_line(collector: Collector, letter: bytes, content: bytes, said: dict[int, int]) -> bool:
    """A sound line of the dump. False: there is no place for it."""
    match letter:
        case b"B":
            cpu, version, classes, hz, written = BEGIN.unpack(content)
            if version != DUMP_VERSION:
                raise ToolError(f"the trace has version {version}, this tool reads {DUMP_VERSION}: use the one that came with the hypervisor")
            collector.begin(cpu, classes, hz, written)
            said[cpu] = 0
        case b"N":
            collector.trace.names[content[0]] = name_of(content[1:])
        case b"T":
            said[content[0]] += 1
            return collector.add(content[0], content[1:])
        case b"E":
            cpu, count = END.unpack(content)
            collector.trace.damaged += max(count - said[cpu], 0) if cpu in collector.found else 1
    return True


# ---- from memory --------------------------------------------------------------------------------------------------------

MAGIC_BYTES = MAGIC.to_bytes(8, "little")
HEADER = struct.Struct("<QQQIIIIIIII")
NAMES_OFFSET = offset_of(Ring, "names")
MOST_CPUS = 256
MOST_RECORDS = 1 << 20


def rings(memory: bytes | mmap.mmap) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Where a ring begins in memory, and its header. They do not overlap, so that what a guest wrote cannot make this take long."""
    at = memory.find(MAGIC_BYTES)
    while 0 <= at <= len(memory) - HEADER.size:
        header = HEADER.unpack(memory[at : at + HEADER.size])
        size = 1
        if sound(header, len(memory) - at):
            yield at, header
            size = ring_size(header)
        at = memory.find(MAGIC_BYTES, at + size)


def sound(header: tuple[int, ...], room: int) -> bool:
    """Whether this can be a ring's header, and the ring is there to its end."""
    _, hz, _, cpu, _, offset, count, size, names, check, _ = header
    return (
        check == (hz + cpu + offset + count + size + names) & 0xFFFF_FFFF
        and hz > 0
        and cpu < MOST_CPUS
        and size == RECORD.size
        and 0 < count <= MOST_RECORDS
        and NAMES_OFFSET + names * NAME_SIZE <= offset
        and ring_size(header) <= room
    )


def ring_size(header: tuple[int, ...]) -> int:
    _, _, _, _, _, offset, count, size, _, _, _ = header
    return offset + count * size


def read_memory(memory: bytes | mmap.mmap) -> Trace:
    """The trace in a dump of the machine's memory. A ring that lies in several pieces of it is not found."""
    collector = Collector()
    for at, (_, hz, written, cpu, classes, offset, count, size, names, _, _) in rings(memory):
        collector.begin(cpu, classes, hz, written)
        for d in range(names):
            place = at + NAMES_OFFSET + d * NAME_SIZE
            if memory[place]:
                collector.trace.names[d] = name_of(memory[place : place + NAME_SIZE])
        for i in range(count):
            place = at + offset + i * size
            collector.add(cpu, memory[place : place + size])
    return collector.result()


def read(path: Path) -> Trace:
    """The trace in a file of either kind."""
    try:
        with path.open("rb") as stream:
            if path.stat().st_size == 0:
                raise ToolError(f"{path} is empty")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as memory:
                trace = read_memory(memory)
                if not trace.samples:
                    trace = read_console(memory)
    except OSError as error:
        raise ToolError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # of mmap, for what is no plain file
        raise ToolError(f"{path} cannot be read: {error}") from error
    if not trace.samples:
        damaged = f" ({trace.damaged} damaged lines)" if trace.damaged else ""
        raise ToolError(f"{path}: no trace is in it{damaged}; give a console's log with what the key 'y' says, or a dump of the machine's memory")
    return trace


# ---- as intervals -------------------------------------------------------------------------------------------------------

Who = tuple[int, int]


@dataclass
class Span:
    """Something that took time, in ticks."""

    start: int
    end: int
    who: Who
    cpu: int
    name: str
    args: dict[str, object]


def runs_of_cpu(samples: list[Sample], classes: int) -> list[Span]:
    """When a CPU ran which vCPU. What began before the trace began with it, what goes on ends with it."""
    if not samples or not classes & CLASSES["sched"]:
        return []
    spans: list[Span] = []
    first, last = samples[0].time, samples[-1].time
    running: Span | None = None
    known = False  # whether the samples so far tell what runs

    def close(time: int) -> None:
        nonlocal running
        if running is not None:
            running.end = max(time, running.start)
            spans.append(running)
        running = None

    def begin(time: int, who: Who, args: dict[str, object]) -> None:
        nonlocal running
        running = Span(time, time, who, samples[0].cpu, "", args)

    for sample in samples:
        who, name = sample.subject, sample.event.name if sample.event else ""
        if name == "tracing" and not sample.a & CLASSES["sched"]:
            close(sample.time)
            known = True
        elif who is None:
            continue
        elif name == "sched_in":
            if running is None or running.who != who:
                close(sample.time)
                begin(sample.time, who, arguments(sample))
            known = True
        elif name == "sched_out":
            if not known:
                begin(first, who, {})
            if running is not None:
                running.args |= arguments(sample)
            close(sample.time)
            known = True
        elif name == "exit" and not known:
            begin(first, who, {})
            known = True
    close(last)
    return spans


def apart(spans: list[Span]) -> list[Span]:
    """The same without overlap: each ends where the next begins."""
    spans.sort(key=lambda span: (span.start, span.end))
    for span, following in zip(spans, spans[1:]):
        span.end = min(span.end, following.start)
    return spans


def exits_of(trace: Trace) -> list[Span]:
    """All exits, by their end."""
    spans = []
    for samples in trace.samples.values():
        for sample in samples:
            if sample.event and sample.event.name == "exit" and sample.subject:
                args: dict[str, object] = {"ticks": sample.b}
                spans.append(Span(max(sample.time - sample.b, 0), sample.time, sample.subject, sample.cpu, reason_name(sample.a), args))
    spans.sort(key=lambda span: (span.end, span.start))
    return spans


def reason_name(reason: int) -> str:
    return REASONS.get(reason, f"exit {reason:#x}")


def pieces(exit_: Span, runs: list[Span], at: int) -> tuple[list[Span], int]:
    """The parts of an exit during which its vCPU had a CPU, all of it when nothing is known; and where to look for the next one's."""
    while at < len(runs) and runs[at].end <= exit_.start and at + 1 < len(runs):
        at += 1
    found: list[Span] = []
    for run in runs[at:]:
        if run.start > exit_.end:
            break
        start, end = max(run.start, exit_.start), min(run.end, exit_.end)
        if start < end or start == end and exit_.start == exit_.end and not found:
            found.append(Span(start, end, exit_.who, run.cpu, exit_.name, exit_.args))
    return found or [exit_], at


@dataclass
class Timeline:
    """Who ran where, and the exits, cut to nest in that."""

    runs: list[Span]
    exits: list[Span]


def timeline(trace: Trace) -> Timeline:
    """Spans of CPUs and of vCPUs; each list's members are apart from each other on either track."""
    by_vcpu: dict[Who, list[Span]] = defaultdict(list)
    for cpu, samples in trace.samples.items():
        for span in apart(runs_of_cpu(samples, trace.classes.get(cpu, 0))):
            by_vcpu[span.who].append(span)
    runs = [span for spans in by_vcpu.values() for span in apart(spans)]
    exits: list[Span] = []
    cursor: dict[Who, int] = defaultdict(int)
    for exit_ in exits_of(trace):
        cut, cursor[exit_.who] = pieces(exit_, by_vcpu[exit_.who], cursor[exit_.who])
        exits += cut
    return Timeline(runs, exits)


# ---- as JSON ------------------------------------------------------------------------------------------------------------
# The Trace Event Format: spans of a track are pairs of B and E that nest. Not X, whose end is the sum of two rounded numbers.

CPUS_PID = 1
FIRST_DOMAIN_PID = 2
TIDS = 1000
"""Thread numbers are unique over all processes, and none is 0, which readers take for the idle task."""

Track = tuple[int, int]
Json = dict[str, Any]


def cpu_track(cpu: int) -> Track:
    return CPUS_PID, CPUS_PID * TIDS + cpu


def vcpu_track(who: Who) -> Track:
    pid = FIRST_DOMAIN_PID + who[0]
    return pid, pid * TIDS + who[1]


def arguments(sample: Sample) -> dict[str, object]:
    """An event's arguments by name."""
    if sample.event is None:
        return {"a": sample.a, "b": sample.b}
    names = sample.event.arguments
    return {name: WORDS.get((sample.event.name, name), {}).get(value, value) for name, value in zip(names, (sample.a, sample.b))}


class Clock:
    """Ticks to microseconds with three digits, from the first event."""

    def __init__(self, hz: int, origin: int) -> None:
        self.hz, self.origin = max(hz, 1), origin

    def __call__(self, ticks: int) -> float:
        return (ticks - self.origin) * 1_000_000_000 // self.hz / 1000


def nested(outer: list[Span], inner: list[Span], clock: Clock, track: Track, name: Any) -> list[Json]:
    """One track: spans, with others inside or beside them. Both come by their ends; what begins before the last one has ended is cut."""
    events: list[Json] = []

    def pair(span: Span, title: str, start: int, end: int, content: list[Json]) -> list[Json]:
        pid, tid = track
        opening = {"ph": "B", "pid": pid, "tid": tid, "ts": clock(start), "name": title, "args": span.args}
        return [opening, *content, {"ph": "E", "pid": pid, "tid": tid, "ts": clock(end), "name": title}]

    def cut(spans: list[Span], start: int, end: int) -> list[Json]:
        out: list[Json] = []
        for span in spans:
            begin, finish = max(span.start, start), min(span.end, end)
            if begin <= finish:
                out += pair(span, span.name, begin, finish, [])
                start = finish
        return out

    at, position = 0, 0
    for run in outer:
        before = at
        while at < len(inner) and inner[at].end <= run.start:
            at += 1
        events += cut(inner[before:at], position, run.start)
        before = at
        while at < len(inner) and inner[at].end <= run.end:
            at += 1
        events += pair(run, name(run), run.start, run.end, cut(inner[before:at], run.start, run.end))
        position = run.end
    return events + cut(inner[at:], position, max([position, *(span.end for span in inner[at:])]))


def by_track(spans: list[Span]) -> dict[Track, list[Span]]:
    """Spans on their CPU's track and on their vCPU's, by their ends."""
    tracks: dict[Track, list[Span]] = defaultdict(list)
    for span in spans:
        tracks[cpu_track(span.cpu)].append(span)
        tracks[vcpu_track(span.who)].append(span)
    for found in tracks.values():
        found.sort(key=lambda span: (span.end, span.start))
    return tracks


def instant(sample: Sample, clock: Clock) -> Json | None:
    """What takes no time: on the track of the vCPU or domain that it is about, else of the CPU."""
    event = sample.event
    if event and event.kind is not Kind.INSTANT:
        return None
    args = arguments(sample)
    pid, tid = cpu_track(sample.cpu)
    scope = "t"
    if sample.subject:
        pid, tid = vcpu_track(sample.subject)
        args |= {"cpu": sample.cpu}
    elif sample.domain is not None:
        pid, tid = vcpu_track((sample.domain, 0))
        scope = "p"
    name = event.name if event else f"event {sample.id}"
    return {"ph": "i", "s": scope, "pid": pid, "tid": tid, "ts": clock(sample.time), "name": name, "args": args}


def metadata(pid: int, tid: int, kind: str, **args: object) -> Json:
    return {"ph": "M", "pid": pid, "tid": tid, "name": kind, "args": args}


def titles(trace: Trace, vcpus: set[Who]) -> list[Json]:
    """Names of processes and threads: the CPUs, and each domain's vCPUs."""
    out = [metadata(CPUS_PID, cpu_track(0)[1], "process_name", name="CPUs"), metadata(CPUS_PID, cpu_track(0)[1], "process_sort_index", sort_index=0)]
    for cpu in sorted(trace.samples):
        out.append(metadata(*cpu_track(cpu), "thread_name", name=f"CPU {cpu}"))
    for domain in sorted({domain for domain, _ in vcpus}):
        pid, tid = vcpu_track((domain, 0))
        out.append(metadata(pid, tid, "process_name", name=domain_name(trace, domain)))
        out.append(metadata(pid, tid, "process_sort_index", sort_index=domain + 1))
    for who in sorted(vcpus):
        out.append(metadata(*vcpu_track(who), "thread_name", name=f"vCPU {who[1]}"))
        out.append(metadata(*vcpu_track(who), "thread_sort_index", sort_index=who[1]))
    return out


def domain_name(trace: Trace, domain: int) -> str:
    return trace.names.get(domain) or f"domain {domain}"


def convert(trace: Trace) -> Json:
    """The whole trace as a document in the Trace Event Format, times in microseconds from the first event."""
    line = timeline(trace)
    samples = [sample for found in trace.samples.values() for sample in found]
    times = [sample.time for sample in samples] + [span.start for span in line.exits]
    clock = Clock(trace.hz, min(times, default=0))
    runs, exits = by_track(line.runs), by_track(line.exits)
    events: list[Json] = []
    for track in sorted(runs.keys() | exits.keys()):
        title = (lambda run: f"{domain_name(trace, run.who[0])}/{run.who[1]}") if track[0] == CPUS_PID else (lambda run: f"CPU {run.cpu}")
        events += nested(runs.get(track, []), exits.get(track, []), clock, track, title)
    events += [event for event in (instant(sample, clock) for sample in samples) if event]
    events.sort(key=lambda event: event["ts"])
    vcpus = {(s.domain, s.vcpu or 0) for s in samples if s.domain is not None}
    head = titles(trace, vcpus)
    return {"displayTimeUnit": "ns", "traceEvents": head + events, "otherData": {"hz": trace.hz, "lost": sum(trace.lost.values())}}


# ---- the command --------------------------------------------------------------------------------------------------------


def reference() -> str:
    """The manual's tables of events and of an exit's reasons."""
    lines = ["| event | class | about | arguments | meaning |", "|---|---|---|---|---|"]
    for event in EVENTS:
        arguments_ = ", ".join(f"`{name}`" for name in event.arguments)
        lines.append(f"| `{event.name}` | {event.group or 'always'} | {event.subject.value} | {arguments_} | {event.meaning} |")
    lines += ["", "| reason of an exit | |", "|---|---|"]
    lines += [f"| {number:#x} | {name} |" for number, name in sorted(REASONS.items())]
    return "\n".join(lines)


def main() -> None:
    """Read, convert, write."""
    parser = argparse.ArgumentParser(
        prog="trace",
        description="turn a trace of the hypervisor into JSON for https://ui.perfetto.dev or chrome://tracing",
        epilog="On the console, after CTRL-a three times: T switches tracing on and off, y says the newest events, Y all of them. "
        "In QEMU's monitor, 'pmemsave ADDRESS SIZE FILE' or 'dump-guest-memory FILE' saves the memory.",
    )
    parser.add_argument("file", type=Path, nargs="?", help="a console's log, or a dump of the machine's memory")
    parser.add_argument("-o", "--output", type=Path, help="where the JSON goes (default: FILE.json)")
    arguments_ = parser.parse_args()
    if arguments_.file is None:
        raise ToolError("no file to read: name a console's log or a dump of the machine's memory, with make by FILE=<file>")
    trace = read(arguments_.file)
    output = arguments_.output or arguments_.file.with_name(arguments_.file.name + ".json")
    try:
        output.write_text(json.dumps(convert(trace), separators=(",", ":")))
    except OSError as error:
        raise ToolError(f"{output} cannot be written: {error.strerror}") from error
    cpus = len(trace.samples)
    print(f"{trace.count()} events of {cpus} CPUs; {sum(trace.lost.values())} older ones lost; {trace.damaged} damaged lines", file=sys.stderr)


if __name__ == "__main__":
    run_tool(main)
