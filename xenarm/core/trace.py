"""Tracing: a ring of the newest events for each CPU. EVENTS declares them once: writers, reader (`xenarm.tools.trace`) and manual follow it.

A ring has one writer, its CPU, with interrupts masked. Whoever reads it, at any time or out of a dead machine's memory, knows a record
that was being written by its sequence number, which is 0 meanwhile. The oldest is overwritten. No lock: what is to be traced is changed
by one CPU at a time (the boot, then the one that has the console's interrupt), and each CPU takes notice when it is kicked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from freestanding import Array, Atomic, Ptr, Struct, View, array, atomic, fn, offset_of, size_of, table, truncate, u8, u32, u64, usize, zeroed
from xenarm.arch import arch_counter, arch_counter_hz, cpu_index, cpus_online
from xenarm.config import CONFIG
from xenarm.core.addresses import PAGE_SIZE
from xenarm.core.domain import MAX_CPUS, MAX_DOMAINS, SLOTS, CpuBits, Domain, Vcpu
from xenarm.core.memory import pages_alloc
from xenarm.core.result import Result
from xenarm.core.sched.state import NEVER, SCHED_CPUS

__all__ = [
    "ALL_CLASSES",
    "CLASSES",
    "EVENTS",
    "EXIT_FIQ",
    "EXIT_IRQ",
    "EXIT_SERROR",
    "Event",
    "Kind",
    "MAGIC",
    "NAME_SIZE",
    "NO_DOMAIN",
    "NO_REASON",
    "NO_VCPU",
    "RECORDS",
    "RING_PAGES",
    "Record",
    "Ring",
    "Subject",
    "TRACE",
    "trace_attach",
    "trace_attended",
    "trace_classes",
    "trace_domain",
    "trace_exit_begin",
    "trace_exit_end",
    "trace_irq",
    "trace_kick",
    "trace_kicks",
    "trace_mark",
    "trace_name",
    "trace_on",
    "trace_on_schedule",
    "trace_pages",
    "trace_pause",
    "trace_power",
    "trace_schedule",
    "trace_start",
    "trace_wake",
]

MAPS_MEMORY = True

# ---- what there is to trace ---------------------------------------------------------------------------------------------


class Kind(Enum):
    """How an event is shown."""

    SPAN = "span"  # ended now; its last argument says how long it took, in ticks
    BEGIN = "begin"  # a vCPU begins to run on the CPU
    END = "end"
    INSTANT = "instant"


class Subject(Enum):
    """What an event is about, beside the CPU that it happened on."""

    CPU = "cpu"
    VCPU = "vcpu"
    DOMAIN = "domain"


CLASSES = {"exit": 1, "sched": 2, "irq": 4, "domain": 8}
"""What can be switched on, each by itself."""

ALL_CLASSES = sum(CLASSES.values())
EXIT = CLASSES["exit"]
SCHED = CLASSES["sched"]


@dataclass(frozen=True)
class Event:
    """An event: its number in records, its name, its class ("" for one that is always written), and up to two arguments of 64 bits."""

    id: int
    name: str
    group: str
    kind: Kind
    subject: Subject
    arguments: tuple[str, ...]
    meaning: str


EVENTS = (
    Event(1, "exit", "exit", Kind.SPAN, Subject.VCPU, ("reason", "duration"), "the guest was left and is entered again; reason as below"),
    Event(2, "sched_in", "sched", Kind.BEGIN, Subject.VCPU, ("from_cpu",), "the vCPU begins to run; the CPU that it ran on last"),
    Event(3, "sched_out", "sched", Kind.END, Subject.VCPU, ("ran", "stopped"), "it ends; its ticks in all so far, and whether it waits (1), is paused (2) or ends (4)"),
    Event(4, "wake", "sched", Kind.INSTANT, Subject.VCPU, (), "something has come for a waiting vCPU"),
    Event(5, "kick", "sched", Kind.INSTANT, Subject.CPU, ("cpus",), "CPUs, a bit each, are told to look at their mail, or to ask the scheduler"),
    Event(6, "irq", "irq", Kind.INSTANT, Subject.CPU, ("intid",), "a physical interrupt"),
    Event(7, "domain", "domain", Kind.INSTANT, Subject.DOMAIN, ("state", "reason"), "a domain's state changes (`DomainState`); why it last ended (`ShutdownReason`), 255 at its first start"),
    Event(8, "pause", "domain", Kind.INSTANT, Subject.DOMAIN, ("paused",), "a domain is paused (1) or goes on (0)"),
    Event(9, "power", "domain", Kind.INSTANT, Subject.VCPU, ("state",), "a vCPU is turned on or off (`Power`)"),
    Event(10, "mark", "domain", Kind.INSTANT, Subject.CPU, ("value", "more"), "whatever a developer wants to see"),
    Event(11, "tracing", "", Kind.INSTANT, Subject.CPU, ("classes",), "from now on the CPU traces these classes: the sum of exit 1, sched 2, irq 4, domain 8"),
)

EXIT_IRQ = 0x100
EXIT_FIQ = 0x101
EXIT_SERROR = 0x102
"""Reasons of an exit that are no exception class; all lower ones are ESR_EL2.EC."""

NO_REASON = 0xFF  # of a domain that has never ended

BY_NAME = {event.name: event for event in EVENTS}
assert len({event.id for event in EVENTS}) == len(BY_NAME) == len(EVENTS) and all(0 < event.id < 256 for event in EVENTS)
assert all((event.group in CLASSES or not event.group) and len(event.arguments) <= 2 for event in EVENTS)


# ---- memory -------------------------------------------------------------------------------------------------------------

RECORDS: int = CONFIG.TRACE_RECORDS
assert RECORDS & (RECORDS - 1) == 0, "CONFIG_TRACE_RECORDS must be a power of two"

MAGIC = int.from_bytes(b"XARMTRC1", "little")
NAME_SIZE = 16
NO_DOMAIN = 0xFF
NO_VCPU = 0xFFFF
DOMAIN_SHIFT = 8
VCPU_SHIFT = 16
assert MAX_DOMAINS <= NO_DOMAIN, "a domain's number fits an event"


class Record(Struct):
    """One event. `subject`: its id, then domain and vCPU, or NO_DOMAIN and NO_VCPU. Atomic for the order of the stores, which `record` keeps."""

    time: Atomic[u64] = atomic(u64)
    sequence: Atomic[u32] = atomic(u32)  # low half of its number, from 1; 0 while it is being written
    subject: Atomic[u32] = atomic(u32)
    a: Atomic[u64] = atomic(u64)
    b: Atomic[u64] = atomic(u64)


class Ring(Struct, align=64):
    """A CPU's events, with what is needed to find and read them in a dump of memory."""

    magic: u64
    hz: u64
    written: Atomic[u64] = atomic(u64)  # events since the start, overwritten ones included
    cpu: u32
    classes: u32  # what it traced last
    records_offset: u32
    record_count: u32
    record_size: u32
    name_count: u32
    check: u32  # sum of the numbers before that never change
    reserved: u32
    names: Array[u8] = array(u8, MAX_DOMAINS * NAME_SIZE)
    records: Array[Record] = array(Record, RECORDS)


assert size_of(Record) == 32 and offset_of(Ring, "written") == 16 and offset_of(Ring, "names") == 56
RECORD_SIZE = size_of(Record)
RECORDS_OFFSET = offset_of(Ring, "records")
RING_PAGES = (size_of(Ring) + PAGE_SIZE - 1) // PAGE_SIZE


class Trace(Struct):
    """What is switched on, and where it goes."""

    classes: Atomic[u32] = atomic(u32)
    news: Atomic[CpuBits] = atomic(CpuBits)  # CPUs that have not taken notice of a change yet
    attended: Array[u32] = array(u32, MAX_CPUS)  # what each CPU has taken notice of
    running: "Array[Vcpu | None]" = array(Vcpu | None, MAX_CPUS)  # as the events say
    rings: "Array[Ring | None]" = array(Ring | None, MAX_CPUS)
    names: Array[u8] = array(u8, MAX_DOMAINS * NAME_SIZE)


TRACE = zeroed(Trace)


# ---- writing ------------------------------------------------------------------------------------------------------------


@fn(inline=False)
def record(subject: u32, a: u64, b: u64) -> None:
    """Write one event. Each store is a release: none is seen before those that stand before it."""
    ring = TRACE.rings[cpu_index()]
    if ring is None:
        return
    number = ring.written.load()
    r = ring.records[number & (RECORDS - 1)]
    r.sequence.store(0)
    r.time.store_release(arch_counter())
    r.subject.store_release(subject)
    r.a.store_release(a)
    r.b.store_release(b)
    r.sequence.store_release(truncate(u32, number + 1))
    ring.written.store_release(number + 1)


@fn(inline=False)
def record_vcpu(event: u32, v: Vcpu, a: u64, b: u64) -> None:
    d = v.domain
    domain = u32(NO_DOMAIN) if d is None else d.id
    record(event | domain << DOMAIN_SHIFT | v.id << VCPU_SHIFT, a, b)


@fn(inline=True)
def switched_on(classes: u32) -> bool:
    return CONFIG.TRACE and TRACE.classes.load() & classes != 0


def of_vcpu(name: str) -> Callable[[Vcpu, u64, u64], None]:
    """The writer of an event that is about a vCPU."""
    event, group = BY_NAME[name].id, CLASSES[BY_NAME[name].group]
    assert BY_NAME[name].subject is Subject.VCPU

    @fn(inline=True)
    def write(v: Vcpu, a: u64, b: u64) -> None:
        if switched_on(group):
            record_vcpu(event, v, a, b)

    return write


def of_cpu(name: str) -> Callable[[u64, u64], None]:
    """The writer of an event that is about nobody but the CPU."""
    event, group = BY_NAME[name].id | NO_DOMAIN << DOMAIN_SHIFT | NO_VCPU << VCPU_SHIFT, CLASSES[BY_NAME[name].group]
    assert BY_NAME[name].subject is Subject.CPU

    @fn(inline=True)
    def write(a: u64, b: u64) -> None:
        if switched_on(group):
            record(event, a, b)

    return write


def of_domain(name: str) -> Callable[[Domain, u64, u64], None]:
    """The writer of an event that is about a domain."""
    event, group = BY_NAME[name].id | NO_VCPU << VCPU_SHIFT, CLASSES[BY_NAME[name].group]
    assert BY_NAME[name].subject is Subject.DOMAIN

    @fn(inline=True)
    def write(d: Domain, a: u64, b: u64) -> None:
        if switched_on(group):
            record(event | d.id << DOMAIN_SHIFT, a, b)

    return write


trace_domain = of_domain("domain")
trace_irq = of_cpu("irq")
trace_kick = of_cpu("kick")
trace_mark = of_cpu("mark")
trace_pause = of_domain("pause")
trace_power = of_vcpu("power")
write_wake = of_vcpu("wake")


@fn(inline=True)
def trace_wake(v: Vcpu) -> Vcpu:
    """A vCPU is woken. Returns it, so that the caller need not keep it over a call that is seldom made."""
    return noted_wake(v) if switched_on(SCHED) else v


@fn(inline=False)
def noted_wake(v: Vcpu) -> Vcpu:
    write_wake(v, 0, 0)
    return v


@fn(inline=True)
def trace_kicks(cpus: u64) -> u64:
    """A set of CPUs, maybe empty, is kicked. Returns it."""
    return noted_kicks(cpus) if switched_on(SCHED) else cpus


@fn(inline=False)
def noted_kicks(cpus: u64) -> u64:
    if cpus != 0:
        trace_kick(cpus, 0)
    return cpus


@fn(inline=True)
def trace_on_schedule() -> bool:
    """Whether `trace_schedule` must be called: a CPU's `Alarm.enough` is NEVER then, so that its quick way, which does not, is not taken."""
    return switched_on(SCHED)


@fn(inline=True)
def trace_schedule(chosen: Vcpu | None) -> Vcpu | None:
    """The scheduler has chosen what this CPU runs; None: nothing. Returns it."""
    return schedule_changes(chosen) if switched_on(SCHED) else chosen


@fn(inline=False)
def schedule_changes(chosen: Vcpu | None) -> Vcpu | None:
    cpu = cpu_index()
    before = TRACE.running[cpu]
    if chosen is not before:
        TRACE.running[cpu] = chosen
        if before is not None:
            record_vcpu(BY_NAME["sched_out"].id, before, before.sched.ran, u64(before.sched.stopped.load()))
        if chosen is not None:
            record_vcpu(BY_NAME["sched_in"].id, chosen, u64(chosen.cpu), 0)
    return chosen


@fn
def trace_exit_begin(v: Vcpu, reason: u64) -> None:
    """The guest has been left. `reason`: ESR_EL2.EC, or EXIT_IRQ and its kin."""
    e = v.exit
    e.reason = reason
    e.start = arch_counter() if switched_on(EXIT) else u64(0)


@fn
def trace_exit_end(v: Vcpu) -> None:
    """The guest is about to be entered again, or never will be: on whatever CPU, whoever ran meanwhile."""
    if CONFIG.TRACE:
        e = v.exit
        start = e.start
        e.start = 0
        if start != 0 and switched_on(EXIT):
            record_vcpu(BY_NAME["exit"].id, v, e.reason, arch_counter() - start)


# ---- switching on and off -----------------------------------------------------------------------------------------------


@fn
def trace_attach(cpu: u32, ring: Ring) -> None:
    """Give a CPU its ring, empty."""
    ring.written.store(0)
    for i in range(RECORDS):
        ring.records[i].sequence.store(0)
    ring.hz = arch_counter_hz()
    ring.cpu = cpu
    ring.classes = 0
    ring.records_offset = RECORDS_OFFSET
    ring.record_count = RECORDS
    ring.record_size = RECORD_SIZE
    ring.name_count = MAX_DOMAINS
    ring.check = truncate(u32, ring.hz) + ring.cpu + RECORDS_OFFSET + RECORDS + RECORD_SIZE + MAX_DOMAINS
    ring.names.copy_from(TRACE.names)
    ring.magic = MAGIC
    TRACE.rings[cpu] = ring


@fn
def trace_start(classes: u32) -> Result:
    """What all CPUs are to trace from now on; 0: nothing, what was traced stays. Each takes notice in `trace_attended`.

    NO_MEMORY when a ring cannot be had; nothing is traced on that CPU.
    """
    result = Result.OK
    for cpu in range(cpus_online()):
        if TRACE.rings[cpu] is None:
            base = pages_alloc(RING_PAGES, PAGE_SIZE)
            if u64(base) == 0:
                result = Result.NO_MEMORY
            else:
                trace_attach(cpu, Ptr[Ring](usize(base)).ref())
    TRACE.classes.store_release(classes)
    _ = TRACE.news.fetch_or(CpuBits((1 << MAX_CPUS) - 1))
    return result


@fn
def trace_on() -> u32:
    """What is traced."""
    return TRACE.classes.load()


@fn
def trace_attended() -> tuple[bool, u32]:
    """This CPU takes notice of what it is to trace now, and notes what it runs already: (True, classes) if that has changed."""
    cpu = cpu_index()
    _ = TRACE.news.fetch_and(~(CpuBits(1) << cpu))
    before = TRACE.attended[cpu]
    classes = TRACE.classes.load_acquire()
    if before == classes:
        return False, classes
    TRACE.attended[cpu] = classes
    SCHED_CPUS[cpu].alarm.enough = NEVER
    ring = TRACE.rings[cpu]
    if ring is not None and classes != 0:
        ring.classes = classes
    record(u32(BY_NAME["tracing"].id | NO_DOMAIN << DOMAIN_SHIFT | NO_VCPU << VCPU_SHIFT), u64(classes), 0)
    if classes & SCHED != 0 and before & SCHED == 0:
        TRACE.running[cpu] = None
        current = SCHED_CPUS[cpu].current
        _ = schedule_changes(SLOTS[current.index].vcpu if current is not None else None)
    return True, classes


@fn
def trace_pages() -> u64:
    """How many pages of memory the rings take."""
    pages = u64(0)
    for cpu in range(MAX_CPUS):
        pages += RING_PAGES if TRACE.rings[cpu] is not None else u64(0)
    return pages


@fn
def trace_name(d: Domain) -> None:
    """What a domain is called, for whoever reads the trace; cut to NAME_SIZE."""
    if CONFIG.TRACE:
        place = d.id * NAME_SIZE
        size = min(d.name_length, u32(NAME_SIZE))
        TRACE.names[place : place + NAME_SIZE].fill(0)
        TRACE.names[place : place + size].copy_from(d.name[:size])
        for cpu in range(MAX_CPUS):
            ring = TRACE.rings[cpu]
            if ring is not None:
                ring.names[place : place + NAME_SIZE].copy_from(TRACE.names[place : place + NAME_SIZE])


class ClassName(Struct, frozen=True):
    """A word of the boot argument `trace=`."""

    name: View[u8]
    classes: u32


CLASS_NAMES = table(ClassName, [ClassName(k.encode(), v) for k, v in {**CLASSES, "all": ALL_CLASSES}.items()])


@fn
def trace_classes(text: View[u8]) -> tuple[bool, u32]:
    """The classes that `exit,sched` or `all` names; False when some word is no class, beside those that are."""
    classes = u32(0)
    sound = True
    rest = text
    while len(rest) > 0:
        end = rest.find(0x2C)
        found = u32(0)
        for row in CLASS_NAMES:
            if row.name.equals(rest[:end]):
                found = row.classes
        sound = sound and found != 0
        classes |= found
        rest = rest[min(end + 1, len(rest)) :]
    return sound, classes
