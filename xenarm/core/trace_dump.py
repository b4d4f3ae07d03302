"""The trace said on the console: a line for each event, a few at a time, so that nobody's output is lost and no CPU is kept by it.

Tracing pauses meanwhile: what is said is what was there when it began. Lines can be found among others: `~`, a letter, bytes in
hexadecimal, the last two of them the CRC-16 (CCITT, from 0xFFFF) of the letter and the bytes before. Numbers have their lowest byte first.
B: a ring (its CPU, version, classes, hz, written); N: a domain's number and name; T: a CPU and a record as it lies in memory; E: a ring's end
(its CPU, how many were said).
"""

from collections.abc import Callable

from freestanding import Array, Struct, View, array, fn, saturating_sub, truncate, u8, u16, u32, u64, zeroed
from xenarm.core.domain import MAX_CPUS, MAX_DOMAINS
from xenarm.core.trace import NAME_SIZE, RECORDS, TRACE, Record, Ring

__all__ = ["DUMP", "DUMP_VERSION", "dump_begin", "dump_line"]

DUMP_VERSION = 1
LONGEST_PAYLOAD = 33
CRC_POLYNOMIAL = 0x1021
BEGIN, NAME, EVENT, END = (ord(letter) for letter in "BNTE")


class Line(Struct):
    """A line on its way out."""

    size: u32
    crc: u16
    text: Array[u8] = array(u8, 2 + 2 * LONGEST_PAYLOAD + 4)


class Dump(Struct):
    """How far it has come: the names first (`domain`), then ring after ring."""

    going: bool
    domain: u32
    cpu: u32
    begun: bool  # the ring's first line is said
    newest: u64  # how many of each ring
    next: u64  # number of the record, from 0
    end: u64
    said: u64


DUMP = zeroed(Dump)


@fn
def crc_step(crc: u16, byte: u8) -> u16:
    crc ^= u16(byte) << 8
    for _ in range(8):
        top = crc & 0x8000 != 0
        crc = crc << 1
        if top:
            crc ^= CRC_POLYNOMIAL
    return crc


@fn
def digit(value: u8) -> u8:
    return value + 0x30 if value < 10 else value + 0x57


@fn
def put_hex(line: Line, byte: u8) -> None:
    line.text[line.size] = digit(byte >> 4)
    line.text[line.size + 1] = digit(byte & 0xF)
    line.size += 2


@fn
def line_begin(line: Line, letter: u8) -> None:
    line.text[0] = 0x7E
    line.text[1] = letter
    line.size = 2
    line.crc = crc_step(0xFFFF, letter)


@fn
def line_put(line: Line, value: u64, size: u32) -> None:
    """A number of that many bytes, the lowest first."""
    for i in range(size):
        byte = truncate(u8, value >> (8 * i))
        line.crc = crc_step(line.crc, byte)
        put_hex(line, byte)


@fn
def line_end(line: Line, say: Callable[[View[u8]], None]) -> None:
    put_hex(line, truncate(u8, line.crc >> 8))
    put_hex(line, truncate(u8, line.crc))
    say(line.text[: line.size])


@fn
def say_name(d: u32, say: Callable[[View[u8]], None]) -> None:
    place = d * NAME_SIZE
    if TRACE.names[place] != 0:
        line = zeroed(Line)
        line_begin(line, NAME)
        line_put(line, u64(d), 1)
        for i in range(u32(NAME_SIZE)):
            line_put(line, u64(TRACE.names[place + i]), 1)
        line_end(line, say)


@fn
def say_begin(ring: Ring, say: Callable[[View[u8]], None]) -> None:
    line = zeroed(Line)
    line_begin(line, BEGIN)
    line_put(line, u64(ring.cpu), 1)
    line_put(line, DUMP_VERSION, 1)
    line_put(line, u64(ring.classes), 4)
    line_put(line, ring.hz, 8)
    line_put(line, DUMP.end, 8)
    line_end(line, say)


@fn
def say_end(ring: Ring, say: Callable[[View[u8]], None]) -> None:
    line = zeroed(Line)
    line_begin(line, END)
    line_put(line, u64(ring.cpu), 1)
    line_put(line, DUMP.said, 8)
    line_end(line, say)


@fn
def say_record(cpu: u32, r: Record, say: Callable[[View[u8]], None]) -> bool:
    """Say a record, unless it is written at this moment."""
    line = zeroed(Line)
    sequence = r.sequence.load_acquire()
    line_begin(line, EVENT)
    line_put(line, u64(cpu), 1)
    line_put(line, r.time.load_acquire(), 8)
    line_put(line, u64(sequence), 4)
    line_put(line, u64(r.subject.load_acquire()), 4)
    line_put(line, r.a.load_acquire(), 8)
    line_put(line, r.b.load_acquire(), 8)
    if sequence == 0 or r.sequence.load() != sequence:
        return False
    line_end(line, say)
    return True


@fn
def dump_begin(newest: u64) -> None:
    """Begin with so many of the newest events of each CPU."""
    DUMP.newest = min(newest, RECORDS)
    DUMP.domain = 0
    DUMP.cpu = 0
    DUMP.begun = False
    DUMP.going = True


@fn
def ring_line(ring: Ring, say: Callable[[View[u8]], None]) -> None:
    """The next line of a ring, or its last one."""
    if not DUMP.begun:
        DUMP.begun = True
        DUMP.said = 0
        DUMP.end = ring.written.load_acquire()
        DUMP.next = saturating_sub(DUMP.end, DUMP.newest)
        say_begin(ring, say)
    elif DUMP.next < DUMP.end:
        DUMP.said += 1 if say_record(ring.cpu, ring.records[DUMP.next & (RECORDS - 1)], say) else u64(0)
        DUMP.next += 1
    else:
        say_end(ring, say)
        DUMP.begun = False
        DUMP.cpu += 1


@fn
def dump_line(say: Callable[[View[u8]], None]) -> bool:
    """Say at most one line, without a line feed. False: that was all."""
    if DUMP.domain < MAX_DOMAINS:
        say_name(DUMP.domain, say)
        DUMP.domain += 1
        return True
    if DUMP.cpu == MAX_CPUS:
        DUMP.going = False
        return False
    ring = TRACE.rings[DUMP.cpu]
    if ring is None:
        DUMP.cpu += 1
    else:
        ring_line(ring, say)
    return True
