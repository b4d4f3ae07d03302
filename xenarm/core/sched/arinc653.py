"""The scheduler `arinc653`: a major frame that repeats for ever, the same on all CPUs, and in it windows for vCPUs.

A vCPU runs in its windows and never outside of them; a window whose vCPU sleeps stays empty. One lock for all frames: it is taken
at the edges of windows.
"""

from freestanding import Struct, array, ctz, fn, place, saturating_sub, u32, u64, zeroed

from xenarm.config import CONFIG
from xenarm.core.result import Result
from xenarm.core.sched.queue import account, kick_later, may_run, us_to_ticks
from xenarm.core.sched.state import (
    MOST_WINDOWS,
    NEVER,
    ArincCpu,
    ArincWindow,
    Place,
    SchedCpu,
    SchedParams,
    SchedVcpu,
    SchedWindow,
)
from xenarm.core.spinlock import Spinlock

__all__ = [
    "ARINC",
    "arinc_charge",
    "arinc_init",
    "arinc_insert",
    "arinc_pick",
    "arinc_remove",
    "arinc_sleep",
    "arinc_wake",
]

MAX_CPUS: int = CONFIG.MAX_CPUS


class Arinc(Struct):
    """The frame. It begins when the first CPU picks."""

    lock: Spinlock
    cpus: u64
    frame_us: u32  # 0 until the first vCPU says
    frame: u64
    begin: u64  # 0: not yet
    awaited: u64  # CPUs in whose window a vCPU is still being left elsewhere


ARINC = zeroed(Arinc)
ARINC_CPUS = place(array(ArincCpu, MAX_CPUS), section=".bss.0frames")  # where another scheduler is chosen, free memory after the boot


@fn
def arinc_init(cpus: u64, hz: u64) -> None:
    ARINC.cpus = cpus
    ARINC.frame_us = 0
    ARINC.begin = 0
    ARINC.awaited = 0
    for i in range(MAX_CPUS):
        ARINC_CPUS[i].count = 0
        ARINC_CPUS[i].cursor = 0
        ARINC_CPUS[i].frame_start = 0


# ---- admission ----------------------------------------------------------------------------------------------------------


@fn
def overlap(start: u64, end: u64, other_start: u64, other_end: u64) -> bool:
    return start < other_end and other_start < end


@fn
def window_taken(a: ArincCpu, start: u64, end: u64) -> bool:
    for i in range(a.count):
        if overlap(start, end, a.windows[i].start, a.windows[i].end):
            return True
    return False


@fn
def span(w: SchedWindow, hz: u64) -> tuple[u64, u64]:
    """Its beginning and end in ticks of the frame."""
    start = u64(w.offset_us) * hz // 1_000_000
    return start, (u64(w.offset_us) + u64(w.length_us)) * hz // 1_000_000


@fn
def check_window(p: SchedParams, w: SchedWindow, hz: u64) -> Result:
    start, end = span(w, hz)
    if start >= end or end > us_to_ticks(p.frame_us, hz):
        return Result.INVALID
    if w.cpu >= MAX_CPUS or (ARINC.cpus & p.affinity) >> w.cpu & 1 == 0:
        return Result.NOT_FOUND
    if window_taken(ARINC_CPUS[w.cpu], start, end):
        return Result.BUSY
    return Result.OK if room_for(p, w.cpu) else Result.NO_MEMORY


@fn
def room_for(p: SchedParams, cpu: u32) -> bool:
    count = ARINC_CPUS[cpu].count
    for i in range(p.window_count):
        count += 1 if p.windows[i].cpu == cpu else 0
    return count <= MOST_WINDOWS


@fn
def two_places(p: SchedParams, i: u32, hz: u64) -> bool:
    """A vCPU cannot be in two windows at once, on whichever CPUs."""
    start, end = span(p.windows[i], hz)
    for j in range(i):
        other_start, other_end = span(p.windows[j], hz)
        if overlap(start, end, other_start, other_end):
            return True
    return False


@fn
def check(p: SchedParams, hz: u64) -> Result:
    """Whether the frame adds up with these windows. Changes nothing."""
    if p.frame_us == 0 or p.window_count == 0 or (ARINC.frame_us != 0 and p.frame_us != ARINC.frame_us):
        return Result.INVALID
    for i in range(p.window_count):
        result = check_window(p, p.windows[i], hz)
        if result != Result.OK:
            return result
        if two_places(p, i, hz):
            return Result.BUSY
    return Result.OK


@fn
def add_window(v: SchedVcpu, a: ArincCpu, start: u64, end: u64) -> None:
    """Into its place by time; there is room."""
    at = a.count
    while at > 0 and a.windows[at - 1].start > start:
        copy_window(a.windows[at], a.windows[at - 1])
        at -= 1
    a.windows[at].start = start
    a.windows[at].end = end
    a.windows[at].vcpu = v
    a.count += 1
    a.cursor = 0


@fn
def copy_window(to: ArincWindow, source: ArincWindow) -> None:
    to.start = source.start
    to.end = source.end
    to.vcpu = source.vcpu


@fn
def arinc_insert(v: SchedVcpu, p: SchedParams, hz: u64) -> Result:
    """INVALID: no frame, another one than the others', no window, or one outside of it. BUSY: a window overlaps another.

    NOT_FOUND: a window's CPU does not exist or is not in the affinity. NO_MEMORY: more than MOST_WINDOWS on a CPU.
    """
    with ARINC.lock:
        result = check(p, hz)
        if result != Result.OK:
            return result
        ARINC.frame_us = p.frame_us
        ARINC.frame = us_to_ticks(p.frame_us, hz)
        for i in range(p.window_count):
            start, end = span(p.windows[i], hz)
            add_window(v, ARINC_CPUS[p.windows[i].cpu], start, end)
        v.cpu = p.windows[0].cpu
        return Result.OK


@fn
def remove_windows(v: SchedVcpu, a: ArincCpu) -> None:
    kept = u32(0)
    for i in range(a.count):
        if a.windows[i].vcpu is not v:
            if kept != i:
                copy_window(a.windows[kept], a.windows[i])
            kept += 1
    a.count = kept
    a.cursor = 0


@fn
def arinc_remove(v: SchedVcpu) -> None:
    with ARINC.lock:
        for i in range(MAX_CPUS):
            remove_windows(v, ARINC_CPUS[i])


# ---- waking and sleeping ------------------------------------------------------------------------------------------------


@fn
def arinc_wake(v: SchedVcpu, now: u64) -> u64:
    """The CPUs whose window may be its. The others come to it by themselves."""
    kick = u64(0)
    with ARINC.lock:
        if v.place == Place.BLOCKED and may_run(v):
            v.place = Place.QUEUED
            rest = ARINC.cpus
            while rest != 0:
                a = ARINC_CPUS[ctz(rest)]
                bit = rest & ~(rest - 1)
                rest &= rest - 1
                if a.cursor < a.count and a.windows[a.cursor].vcpu is v:
                    kick |= bit
    return kick


@fn
def arinc_sleep(v: SchedVcpu, now: u64) -> u64:
    with ARINC.lock:
        if may_run(v):
            return 0
        if v.place == Place.RUNNING:
            return u64(1) << v.cpu
        v.place = Place.BLOCKED
        return 0


@fn
def arinc_charge(c: SchedCpu, v: SchedVcpu, now: u64) -> None:
    with ARINC.lock:
        account(v, now)


# ---- picking ------------------------------------------------------------------------------------------------------------


@fn
def frame_offset(a: ArincCpu, now: u64) -> u64:
    """How far the frame has come; a new one begins with the first window."""
    if ARINC.begin == 0:
        ARINC.begin = max(now, 1)
    if a.frame_start == 0:
        a.frame_start = ARINC.begin
    offset = saturating_sub(now, a.frame_start)
    if offset >= ARINC.frame:
        a.frame_start += offset // ARINC.frame * ARINC.frame
        a.cursor = 0
        offset = saturating_sub(now, a.frame_start)
    while a.cursor < a.count and a.windows[a.cursor].end <= offset:
        a.cursor += 1
    return offset


@fn
def window_at(a: ArincCpu, now: u64) -> tuple[SchedVcpu | None, u64]:
    """Whose window it is, and until when that stays so."""
    if a.count == 0:
        return None, NEVER
    offset = frame_offset(a, now)
    if a.cursor == a.count:
        return None, a.frame_start + ARINC.frame + a.windows[0].start
    window = a.windows[a.cursor]
    if offset < window.start:
        return None, a.frame_start + window.start
    return window.vcpu, a.frame_start + window.end


@fn
def leave(c: SchedCpu, old: SchedVcpu) -> None:
    old.place = Place.QUEUED if may_run(old) else Place.BLOCKED
    kick_later(c, ARINC.awaited & ~c.bit)
    ARINC.awaited = 0


@fn
def ready(c: SchedCpu, v: SchedVcpu) -> bool:
    """Whether it can come now. When another CPU has not left it yet, that one will kick this one."""
    if not may_run(v):
        return False
    if v.place == Place.RUNNING:
        ARINC.awaited |= c.bit
        kick_later(c, u64(1) << v.cpu)
        return False
    return True


@fn
def arinc_pick(c: SchedCpu, now: u64) -> tuple[SchedVcpu | None, u64]:
    with ARINC.lock:
        old = c.current
        v, until = window_at(ARINC_CPUS[c.id], now)
        if old is not None:
            account(old, now)
            if old is v and may_run(old):
                return old, until
            leave(c, old)
        c.started = now
        c.current = None
        if v is None or not ready(c, v):
            return None, until
        v.place = Place.RUNNING
        v.cpu = c.id
        v.since = now
        c.current = v
        return v, until
