"""Tracing: what is written is what is read, over the console and out of memory; nothing torn is taken for an event; the JSON nests."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freestanding import Array, Struct, View, array, fn, offset_of, size_of, u8, u32, u64, zeroed
from xenarm.arm.instructions import STACK_OFFSET
from xenarm.arm64.registers import MODEL
from xenarm.core import trace, trace_dump
from xenarm.core.domain import DOMAINS, MAX_DOMAINS, SLOT_SIZE, SLOTS, Domain, Vcpu
from xenarm.core.sched.state import SCHED_CPUS
from xenarm.core.trace import CLASSES, EVENTS, EXIT_IRQ, RECORDS, TRACE, Ring
from xenarm.tools import trace as tool
from xenarm.tools.errors import ToolError
from xenarm.tools.paths import ROOT

HZ = 1_000_000
ALL = sum(CLASSES.values())
ROOM = 1 << 20
SHARED = [HealthCheck.function_scoped_fixture]  # each example empties the rings itself


class Paper(Struct):
    """Where a dump is said."""

    size: u32
    text: Array[u8] = array(u8, ROOM)


PAPER = zeroed(Paper)


@fn
def say(line: View[u8]) -> None:
    end = PAPER.size + u32(len(line))
    PAPER.text[PAPER.size : end].copy_from(line)
    PAPER.text[end] = 0x0A
    PAPER.size = end + 1


@fn
def dump(newest: u32) -> None:
    trace_dump.dump_begin(u64(newest))
    while trace_dump.dump_line(say):
        pass


@fn
def name(d: Domain, text: View[u8]) -> None:
    d.name_length = u32(len(text))
    d.name[: d.name_length].copy_from(text)
    trace.trace_name(d)


def view(data: bytes) -> View[Any]:
    return View(data, 0, len(data))


@pytest.fixture(autouse=True)
def rings() -> Iterator[list[Ring]]:
    """Two CPUs, each with a ring; three vCPUs of three domains."""
    MODEL["cntfrq_el0"], MODEL["cntpct_el0"] = HZ, 0
    made = [zeroed(Ring), zeroed(Ring)]
    for cpu, ring in enumerate(made):
        trace.trace_attach(cpu, ring)
    for ring in made:
        ring.classes = ALL
    TRACE.classes.store(ALL)
    for i in range(MAX_DOMAINS):
        DOMAINS[i].id = i
    for i in range(3):
        SLOTS[i].vcpu.domain = DOMAINS[i]
        SLOTS[i].vcpu.id = i + 4
        SLOTS[i].vcpu.cpu = i
        SLOTS[i].vcpu.number = i
    yield made
    TRACE.classes.store(0)
    for i in range(3):
        TRACE.rings[i] = None
        TRACE.running[i] = None
        SLOTS[i].vcpu.domain = None
    for i in range(MAX_DOMAINS):
        name(DOMAINS[i], view(b""))
    STACK_OFFSET[0] = 0
    MODEL.clear()


def vcpu(i: int) -> Vcpu:
    return SLOTS[i].vcpu


def on(cpu: int, time: int) -> None:
    STACK_OFFSET[0] = cpu * SLOT_SIZE
    MODEL["cntpct_el0"] = time


def said(newest: int = RECORDS) -> bytes:
    PAPER.size = 0
    dump(newest)
    return bytes(PAPER.text[: int(PAPER.size)])


def memory(rings: list[Ring], seed: int = 1) -> bytes:
    """The rings as a machine's memory has them, among other things."""
    noise = random.Random(seed)
    out = b""
    for ring in reversed(rings):
        out += noise.randbytes(noise.randrange(3) * 8)
        data = bytearray(size_of(Ring))
        fields = (ring.magic, ring.hz, ring.written.load(), ring.cpu, ring.classes, ring.records_offset, ring.record_count)
        struct.pack_into("<QQQIIIIIII", data, 0, *map(int, fields), int(ring.record_size), int(ring.name_count), int(ring.check))
        data[offset_of(Ring, "names") : offset_of(Ring, "names") + len(ring.names)] = bytes(ring.names)
        for i in range(min(int(ring.written.load()) + 1, RECORDS)):
            r = ring.records[i]
            words = (r.time.load(), r.sequence.load(), r.subject.load(), r.a.load(), r.b.load())
            struct.pack_into("<QIIQQ", data, offset_of(Ring, "records") + 32 * i, *map(int, words))
        out += bytes(data)
    return out + noise.randbytes(7)


Told = tuple[int, int, str, "int | None", "int | None", int, int]


def told(result: tool.Trace) -> list[Told]:
    """Time, CPU, event, domain, vCPU and arguments of everything, by CPU in order."""
    return [
        (s.time, s.cpu, s.event.name if s.event else "?", s.domain, s.vcpu, s.a, s.b)
        for cpu in sorted(result.samples)
        for s in result.samples[cpu]
    ]


BY_NAME = {event.name: event for event in EVENTS}
NOWHERE: Told = (0, 0, "", None, None, 0, 0)


def write(name: str, cpu: int, time: int, who: int, a: int, b: int) -> Told:
    """Trace something by its own writer; what must be read of it."""
    on(cpu, time)
    match BY_NAME[name].subject:
        case trace.Subject.VCPU:
            return write_vcpu(name, cpu, time, who, a, b)
        case trace.Subject.CPU:
            getattr(trace, f"trace_{name}")(a, b)
            return time, cpu, name, None, None, a, b
        case trace.Subject.DOMAIN:
            getattr(trace, f"trace_{name}")(DOMAINS[who], a, b)
            return time, cpu, name, who, None, a, b


def write_vcpu(name: str, cpu: int, time: int, who: int, a: int, b: int) -> Told:
    """What is about a vCPU. Where it begins and ends to run is written as the scheduler's choice is, without what follows from the last one."""
    if name == "exit":
        trace.trace_exit_begin(vcpu(who), a)
        MODEL["cntpct_el0"] = time + b
        trace.trace_exit_end(vcpu(who))
        return time + b, cpu, name, who, who + 4, a, b
    if name == "wake":
        assert trace.trace_wake(vcpu(who)) is vcpu(who)
        return time, cpu, name, who, who + 4, 0, 0
    if name == "power":
        trace.trace_power(vcpu(who), a, b)
    elif TRACE.classes.load() & CLASSES["sched"]:
        trace.record_vcpu(BY_NAME[name].id, vcpu(who), a, b)
    return time, cpu, name, who, who + 4, a, b


numbers = st.one_of(st.integers(0, 9), st.integers(0, 2**64 - 1))
writes = st.tuples(
    st.sampled_from([e.name for e in EVENTS if e.name not in ("exit", "tracing")]), st.integers(0, 1), st.integers(0, 2**64 - 1), st.integers(0, 2), numbers, numbers
)


def empty(rings: list[Ring]) -> None:
    for ring in rings:
        for i in range(min(int(ring.written.load()), RECORDS)):
            ring.records[i].sequence.store(0)
        ring.written.store(0)


@settings(max_examples=40, suppress_health_check=SHARED)
@given(drawn=st.lists(writes, max_size=40))
def test_what_is_written_is_read(rings: list[Ring], drawn: list[tuple[str, int, int, int, int, int]]) -> None:
    empty(rings)
    wanted = sorted((write(*w) for w in drawn), key=lambda t: t[1])
    for result in (tool.read_console(said()), tool.read_memory(memory(rings))):
        assert told(result) == wanted
        assert result.damaged == 0 and set(result.lost.values()) <= {0}
        assert result.hz == HZ


def test_an_exit_says_how_long_it_took(rings: list[Ring]) -> None:
    wanted = [write("exit", 0, 100, 1, EXIT_IRQ, 25), write("exit", 0, 200, 2, 0x16, 1)]
    assert told(tool.read_console(said())) == wanted


def test_the_oldest_are_overwritten_and_counted(rings: list[Ring]) -> None:
    for i in range(RECORDS + 10):
        write("mark", 0, i, 0, i, 0)
    for result in (tool.read_console(said()), tool.read_memory(memory(rings))):
        assert [s.a for s in result.samples[0]] == list(range(10, RECORDS + 10))
        assert result.lost == {0: 10, 1: 0}
    newest = tool.read_console(said(3))
    assert [s.a for s in newest.samples[0]] == [RECORDS + 7, RECORDS + 8, RECORDS + 9]
    assert newest.lost[0] == RECORDS + 7


def test_numbers_go_on_beyond_32_bits(rings: list[Ring]) -> None:
    rings[0].written.store((1 << 32) - 3)
    for i in range(6):
        write("mark", 0, i, 0, i, 0)
    result = tool.read_memory(memory(rings))
    assert [s.a for s in result.samples[0]] == [0, 1, 3, 4, 5], "the one whose sequence number would be 0 is lost"
    assert [s.number - (1 << 32) for s in result.samples[0]] == [-3, -2, 0, 1, 2]


def test_only_what_is_switched_on(rings: list[Ring]) -> None:
    for name, group in CLASSES.items():
        empty(rings)
        TRACE.classes.store(group)
        for event in EVENTS:
            if event.group:
                write(event.name, 0, 5, 1, 2, 3)
        wanted = {e.name for e in EVENTS if e.group == name}
        assert {s.event.name for s in tool.read_console(said()).samples[0] if s.event} == wanted


def test_a_cpu_without_a_ring_traces_nothing(rings: list[Ring]) -> None:
    write("mark", 2, 5, 0, 1, 1)
    assert told(tool.read_console(said())) == []


def test_names_of_domains(rings: list[Ring]) -> None:
    name(DOMAINS[2], view(b"a-name-longer-than-sixteen"))
    name(DOMAINS[MAX_DOMAINS - 1], view(b"last"))
    for result in (tool.read_console(said()), tool.read_memory(memory(rings))):
        assert result.names == {2: "a-name-longer-th", MAX_DOMAINS - 1: "last"}


@pytest.mark.parametrize(("text", "classes"), [("all", ALL), ("exit,irq", 5), ("sched", 2), ("", 0), ("domain,domain,", 8)])
def test_classes_by_name(text: str, classes: int) -> None:
    assert trace.trace_classes(view(text.encode())) == (True, classes)


@pytest.mark.parametrize(("text", "classes"), [("ex", 0), ("exit;irq", 0), ("all ", 0), (",exit", 1), ("exit,,irq", 5), ("irq,nonsense", 4)])
def test_wrong_classes(text: str, classes: int) -> None:
    assert trace.trace_classes(view(text.encode())) == (False, classes)


# ---- torn records


class Stop(Exception):
    """The writer is stopped here."""


def stop_after(steps: int) -> Any:
    """A trace function that stops `record` after so many lines."""
    left = [steps]

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            left[0] -= 1
            if left[0] < 0:
                raise Stop
        return local

    def calls(frame: FrameType, event: str, argument: Any) -> Any:
        return local if frame.f_code.co_name.startswith("record") and frame.f_code.co_filename.endswith("trace.py") else None

    return calls


@pytest.mark.parametrize("full", [False, True], ids=["fresh", "overwriting"])
@pytest.mark.parametrize("steps", range(12))
def test_a_torn_record_is_no_event(rings: list[Ring], steps: int, full: bool) -> None:
    """The writer is stopped at every line: old events are whole, the new one is there entirely or not at all."""
    trace.trace_mark(1, 1)  # renders the function, which is to be traced
    empty(rings)
    wanted = [write("mark", 0, i, 0, i, ~i & 0xFFFF) for i in range(RECORDS if full else 3)]
    on(0, 77)
    before = sys.gettrace()
    sys.settrace(stop_after(steps))
    finished = False
    try:
        trace.trace_mark(0xAAAA, 0xBBBB)
        finished = True
    except Stop:
        pass
    finally:
        sys.settrace(before)
    new = (77, 0, "mark", None, None, 0xAAAA, 0xBBBB)
    for result in (tool.read_console(said()), tool.read_memory(memory(rings))):
        got = told(result)
        rest = [e for e in got if e != new]
        assert rest == wanted or full and rest == wanted[1:]
        assert len(got) - len(rest) <= 1 and (not finished or new in got)


@settings(max_examples=60, suppress_health_check=SHARED)
@given(data=st.data())
def test_damaged_lines_are_left_out_and_counted(rings: list[Ring], data: st.DataObject) -> None:
    empty(rings)
    wanted = [write("mark", 0, i, 0, i * 3, 7) for i in range(20)]
    text = bytearray(said())
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] = data.draw(st.sampled_from(b"0123456789abcdefXY~\n"))
    result = tool.read_console(bytes(text))
    assert [e for e in told(result) if e not in wanted] == []
    assert len(told(result)) >= 19 or result.damaged or b"~B" not in bytes(text)


def test_lines_among_others(rings: list[Ring]) -> None:
    wanted = [write("mark", 0, i, 0, i, 7) for i in range(5)]
    lines = said().decode().splitlines()
    text = "boot\n" + "\n".join(f"(xenarm) [    0.123456] {line}\r\nguest: hello ~T12 ~Bzz" for line in lines)
    result = tool.read_console(text.encode())
    assert told(result) == wanted


@settings(suppress_health_check=SHARED)
@given(st.binary(max_size=200))
def test_anything_is_read_without_harm(data: bytes) -> None:
    tool.read_console(data)
    tool.read_memory(b"XARMTRC1" + data)


def test_a_wrong_header_is_no_ring(rings: list[Ring]) -> None:
    write("mark", 0, 1, 0, 1, 1)
    for ring in rings:
        ring.record_count += 1
    assert not tool.read_memory(memory(rings)).samples


# ---- the JSON


def draw_life(seed: int) -> None:
    """Two CPUs run and leave vCPUs, with exits, wake-ups and interrupts in between."""
    draw = random.Random(seed)
    for cpu in range(2):
        time, running = draw.randrange(100), None
        for _ in range(draw.randrange(2, 60)):
            time += draw.randrange(1, 50)
            kind = draw.random()
            if kind < 0.3:
                if running is not None:
                    write("sched_out", cpu, time, running, 10, 0)
                running = draw.choice([None, 0, 1, 2])
                if running is not None:
                    write("sched_in", cpu, time, running, 1 - cpu, 0)
            elif kind < 0.7 and running is not None:
                write("exit", cpu, time, running, draw.choice([0x16, 0x24, EXIT_IRQ]), draw.randrange(0, 60))
                time = int(MODEL["cntpct_el0"])
            elif kind < 0.85:
                write(draw.choice(["wake", "domain", "power"]), cpu, time, draw.randrange(3), 1, 2)
            else:
                write(draw.choice(["irq", "kick", "mark"]), cpu, time, 0, 27, 0)


def check_format(document: dict[str, Any]) -> None:
    """Chrome's Trace Event Format: known phases, what each must have, time in order, and on each track every B with its E, inside each other."""
    document = json.loads(json.dumps(document))
    stacks: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    named: set[tuple[int, int]] = set()
    last = 0.0
    for event in document["traceEvents"]:
        track = event["pid"], event["tid"]
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int) and 0 not in track and isinstance(event["name"], str)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "process_sort_index", "thread_name", "thread_sort_index")
            named |= {track} if event["name"] == "thread_name" else set()
            continue
        assert track in named, "a track without a name"
        assert isinstance(event["ts"], (int, float)) and event["ts"] >= last
        last = event["ts"]
        match event["ph"]:
            case "B":
                stacks[track].append(event)
            case "E":
                assert stacks[track].pop()["name"] == event["name"], "spans cross"
            case "i":
                assert event["s"] in ("t", "p")
            case other:
                pytest.fail(f"phase {other}")
    assert not any(stacks.values()), "a span without an end"


Spans = list[tuple[int, float, float, str]]


def spans_of(document: dict[str, Any]) -> Spans:
    """Process, beginning, end and name of every span, by beginning, the outer ones first."""
    out: Spans = []
    stacks: dict[tuple[int, int], list[int]] = defaultdict(list)
    for event in document["traceEvents"]:
        track = event["pid"], event["tid"]
        if event["ph"] == "B":
            stacks[track].append(len(out))
            out.append((event["pid"], event["ts"], -1.0, event["name"]))
        elif event["ph"] == "E":
            index = stacks[track].pop()
            out[index] = (*out[index][:2], event["ts"], out[index][3])
    return sorted(out, key=lambda span: (span[0], span[1], -span[2]))


@settings(max_examples=60, suppress_health_check=SHARED)
@given(seed=st.integers(0, 10_000), classes=st.sampled_from([ALL, 1, 2, 3]))
def test_the_json_is_what_the_format_accepts(rings: list[Ring], seed: int, classes: int) -> None:
    empty(rings)
    TRACE.classes.store(classes)
    draw_life(seed)
    check_format(tool.convert(tool.read_memory(memory(rings))))


def test_a_small_trace_in_full(rings: list[Ring]) -> None:
    name(DOMAINS[0], view(b"guest"))
    write("sched_in", 0, 1000, 0, 1, 0)
    write("exit", 0, 1100, 0, 0x16, 50)
    write("irq", 0, 1160, 0, 27, 0)
    write("sched_out", 0, 1200, 0, 200, 1)
    document = tool.convert(tool.read_console(said()))
    check_format(document)
    events = [e for e in document["traceEvents"] if e["ph"] != "M"]
    args = {"from_cpu": 1, "ran": 200, "stopped": 1}
    assert events == [
        {"ph": "B", "pid": 1, "tid": 1000, "ts": 0.0, "name": "guest/4", "args": args},
        {"ph": "B", "pid": 2, "tid": 2004, "ts": 0.0, "name": "CPU 0", "args": args},
        {"ph": "B", "pid": 1, "tid": 1000, "ts": 100.0, "name": "HVC64", "args": {"ticks": 50}},
        {"ph": "B", "pid": 2, "tid": 2004, "ts": 100.0, "name": "HVC64", "args": {"ticks": 50}},
        {"ph": "E", "pid": 1, "tid": 1000, "ts": 150.0, "name": "HVC64"},
        {"ph": "E", "pid": 2, "tid": 2004, "ts": 150.0, "name": "HVC64"},
        {"ph": "i", "s": "t", "pid": 1, "tid": 1000, "ts": 160.0, "name": "irq", "args": {"intid": 27}},
        {"ph": "E", "pid": 1, "tid": 1000, "ts": 200.0, "name": "guest/4"},
        {"ph": "E", "pid": 2, "tid": 2004, "ts": 200.0, "name": "CPU 0"},
    ]
    titles = {(e["pid"], e["tid"]): e["args"]["name"] for e in document["traceEvents"] if e["name"] == "thread_name"}
    assert titles == {(1, 1000): "CPU 0", (1, 1001): "CPU 1", (2, 2004): "vCPU 4"}


def test_a_trace_that_begins_and_ends_in_the_middle(rings: list[Ring]) -> None:
    write("irq", 0, 100, 0, 27, 0)
    write("sched_out", 0, 150, 0, 0, 0)
    write("sched_in", 0, 160, 1, 0, 0)
    write("irq", 0, 200, 0, 27, 0)
    spans = [span[:3] for span in spans_of(tool.convert(tool.read_console(said())))]
    assert spans == [(1, 0.0, 50.0), (1, 60.0, 100.0), (2, 0.0, 50.0), (3, 60.0, 100.0)]


def test_an_exit_that_ends_on_another_cpu_is_cut(rings: list[Ring]) -> None:
    """The vCPU waits: another one runs meanwhile, and it goes on elsewhere."""
    write("sched_in", 0, 100, 0, 0, 0)
    write("sched_in", 1, 100, 2, 1, 0)
    on(0, 150)
    trace.trace_exit_begin(vcpu(0), 0x01)
    write("sched_out", 0, 160, 0, 60, 1)
    write("sched_in", 0, 160, 1, 0, 0)
    write("sched_out", 1, 190, 2, 60, 1)
    write("sched_in", 1, 200, 0, 0, 0)
    on(1, 230)
    trace.trace_exit_end(vcpu(0))
    write("irq", 0, 250, 0, 27, 0)
    write("irq", 1, 250, 0, 27, 0)
    document = tool.convert(tool.read_memory(memory(rings)))
    check_format(document)
    waits = [span for span in spans_of(document) if span[3] == "WFX"]
    assert waits == [(1, 50.0, 60.0, "WFX"), (1, 100.0, 130.0, "WFX"), (2, 50.0, 60.0, "WFX"), (2, 100.0, 130.0, "WFX")]


def test_exits_alone_still_have_tracks(rings: list[Ring]) -> None:
    """Nothing says who ran: a long exit shows where the others leave room for it, and loses none of them."""
    for ring in rings:
        ring.classes = 1
    TRACE.classes.store(1)
    on(0, 100)
    trace.trace_exit_begin(vcpu(0), 0x01)
    write("exit", 0, 110, 1, 0x16, 5)
    write("exit", 0, 130, 1, 0x16, 5)
    on(0, 150)
    trace.trace_exit_end(vcpu(0))
    document = tool.convert(tool.read_memory(memory(rings)))
    check_format(document)
    on_cpu = [span[1:] for span in spans_of(document) if span[0] == 1]
    assert on_cpu == [(10.0, 15.0, "HVC64"), (30.0, 35.0, "HVC64"), (35.0, 50.0, "WFX")]
    assert (2, 0.0, 50.0, "WFX") in spans_of(document)


def test_what_ran_before_the_ring_begins_is_known_by_its_exits(rings: list[Ring]) -> None:
    """Under null nothing is scheduled any more once the first events are overwritten."""
    for i in range(RECORDS + 5):
        write("exit", 0, 100 + 10 * i, 1, 0x16, 4)
    document = tool.convert(tool.read_memory(memory(rings)))
    check_format(document)
    outer = [span for span in spans_of(document) if span[0] == 1 and span[3].endswith("/5")]
    assert len(outer) == 1 and outer[0][2] == 10.0 * (RECORDS - 1) + 4


def test_switching_off_ends_what_runs(rings: list[Ring]) -> None:
    for classes in (ALL, 0, ALL):
        on(0, 100 if classes else 200)
        TRACE.classes.store(classes)
        _ = trace.trace_attended()
        if classes:
            write("sched_in", 0, 150 if classes == 1 else 300, 1, 0, 0)
    document = tool.convert(tool.read_memory(memory(rings)))
    check_format(document)


# ---- switching


def test_each_cpu_takes_notice_once_and_notes_what_it_runs(rings: list[Ring]) -> None:
    TRACE.classes.store(0)
    for cpu in range(2):
        on(cpu, 10)
        _ = trace.trace_attended()
    empty(rings)
    SCHED_CPUS[0].current = None
    SCHED_CPUS[1].current = vcpu(2).sched
    vcpu(2).sched.index = 2
    TRACE.classes.store(ALL)
    for cpu in range(2):
        on(cpu, 20)
        assert trace.trace_attended() == (True, ALL)
        assert trace.trace_attended() == (False, ALL)
    SCHED_CPUS[1].current = None
    assert told(tool.read_console(said())) == [
        (20, 0, "tracing", None, None, ALL, 0),
        (20, 1, "tracing", None, None, ALL, 0),
        (20, 1, "sched_in", 2, 6, 2, 0),
    ]


def test_the_scheduler_s_choice(rings: list[Ring]) -> None:
    on(0, 10)
    for chosen in (vcpu(1), vcpu(1), None, None, vcpu(2), vcpu(1)):
        assert trace.trace_schedule(chosen) is chosen
    events = [(s.event.name, s.vcpu) for s in tool.read_console(said()).samples[0] if s.event]
    assert events == [("sched_in", 5), ("sched_out", 5), ("sched_in", 6), ("sched_out", 6), ("sched_in", 5)]


def test_an_exit_that_was_not_traced_from_its_beginning_is_none(rings: list[Ring]) -> None:
    TRACE.classes.store(CLASSES["irq"])
    on(0, 10)
    trace.trace_exit_begin(vcpu(0), 0x16)
    TRACE.classes.store(ALL)
    trace.trace_exit_end(vcpu(0))
    trace.trace_exit_end(vcpu(0))
    assert told(tool.read_console(said())) == []


def test_off_writes_nothing(rings: list[Ring]) -> None:
    TRACE.classes.store(0)
    for event in EVENTS:
        if event.group:
            write(event.name, 0, 5, 1, 2, 3)
    _ = trace.trace_schedule(vcpu(1)), trace.trace_kicks(3)
    assert [int(ring.written.load()) for ring in rings] == [0, 0]


# ---- the command


def test_the_command(rings: list[Ring], tmp_path: Path) -> None:
    write("mark", 0, 1, 0, 1, 1)
    source, out = tmp_path / "dump", tmp_path / "out.json"
    for data in (said(), memory(rings)):
        source.write_bytes(data)
        command = [sys.executable, "-m", "xenarm.tools.trace", str(source), "-o", str(out)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=100)
        assert result.stderr == "1 events of 2 CPUs; 0 older ones lost; 0 damaged lines\n"
        check_format(json.loads(out.read_text()))


def test_the_command_without_a_file() -> None:
    """What `make trace` runs when FILE= is left out: one line, with the remedy."""
    result = subprocess.run([sys.executable, "-m", "xenarm.tools.trace"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: no file") and "FILE=" in result.stderr


def test_a_file_without_a_trace(tmp_path: Path) -> None:
    source = tmp_path / "log"
    source.write_bytes(b"nothing here")
    with pytest.raises(ToolError, match="no trace is in it"):
        tool.read(source)
    with pytest.raises(ToolError, match="No such file"):
        tool.read(tmp_path / "missing")


def test_the_manual_has_the_table() -> None:
    assert tool.reference() in (ROOT / "docs" / "tracing.md").read_text()
