"""What a CPU measures of itself: work done, the runs in which it did it, and the gaps between them."""

from freestanding import Array, Atomic, Struct, array, assembly, atomic, external, fn, u32, u64, zeroed
from guests.runtime.arguments import argument_number, bootargs
from guests.runtime.console import printk
from guests.runtime.cpu import counter
from guests.runtime.link import MAX_CPUS
from guests.runtime.lives import life_begin
from guests.runtime.machine import MACHINE
from guests.runtime.registers import read_cntfrq_el0
from xenarm.devicetree.reader import Fdt

__all__ = [
    "BLOCK",
    "METERS",
    "PLAN",
    "Meter",
    "calibrate",
    "finished",
    "load_block",
    "meter_block",
    "meter_report",
    "meter_work",
    "microseconds",
    "plan_init",
    "tight_block",
]

BLOCK = 1000
"""Instructions in a block's loop."""

assembly(
    f"""
    .section .text.load_blocks, "ax"
    .global load_block
load_block:
    mov x0, #{BLOCK // 2}
1:  subs x0, x0, #1
    b.ne 1b
    yield
    ret
    .global tight_block
tight_block:
    mov x0, #{BLOCK // 2}
1:  subs x0, x0, #1
    b.ne 1b
    ret
""",
    arch="aarch64",
)
assembly(
    f"""
    .section .text.load_blocks, "ax"
    .global load_block
load_block:
    movw r0, #{BLOCK // 2}
1:  subs r0, r0, #1
    bne 1b
    yield
    bx lr
    .global tight_block
tight_block:
    movw r0, #{BLOCK // 2}
1:  subs r0, r0, #1
    bne 1b
    bx lr
""",
    arch="armv7",
)

SAMPLES = 64
BLOCKS = 16
NEVER = 0xFFFF_FFFF_FFFF_FFFF
NS = 1_000_000_000
MOST_BLOCKS_AWAY = 4  # a block that takes as long as so many was interrupted


@external("load_block")
def load_block() -> None:
    """A block, and YIELD at its end, which lets QEMU turn to another CPU."""


@external("tight_block")
def tight_block() -> None:
    """A block that lets go of nothing."""


class Plan(Struct):
    """What the bootargs say, in steps of the counter."""

    begin: u64
    end: u64
    work: u64
    period: u64
    sleep: u64
    frame: u64
    unit: u64  # of BLOCKS blocks, undisturbed
    lives: u64  # number of the last life
    life: u64
    seed: u64


class Meter(Struct):
    """Of one CPU. Times in steps of the counter."""

    work: u64
    runs: u64  # ended ones, so that the first and the last do not count
    last: u64  # end of the newest block; 0: none yet
    start: u64  # of the run at hand; 0: not seen, it began before the time
    shortest_block: u64
    longest_block: u64  # of those that nothing interrupted for longer than a few blocks
    longest_gap: u64
    shortest_run: u64
    longest_run: u64
    phase: u64  # of the frame, at which the first run that was seen began
    earliest: u64  # how far later ones began before that
    latest: u64  # and after
    jobs: u64
    misses: u64
    slowest: u64  # of a job, from its release to its end
    done: Atomic[u32] = atomic(u32)


PLAN = zeroed(Plan)
METERS: Array[Meter] = array(Meter, MAX_CPUS)


@fn
def microseconds(us: u64) -> u64:
    return us * read_cntfrq_el0() // 1_000_000


@fn
def nanoseconds(steps: u64) -> u64:
    return steps * (NS // read_cntfrq_el0())


@fn
def plan_init(fdt: Fdt) -> None:
    text = bootargs(fdt)
    PLAN.begin = microseconds(argument_number(text, b"from=", 0) * 1000)
    PLAN.end = microseconds(argument_number(text, b"until=", 1000) * 1000)
    PLAN.work = microseconds(argument_number(text, b"work=", 1000))
    PLAN.period = max(microseconds(argument_number(text, b"period=", 10_000)), 1)
    PLAN.sleep = microseconds(argument_number(text, b"sleep=", 1000))
    PLAN.frame = microseconds(argument_number(text, b"frame=", 0))
    PLAN.lives = argument_number(text, b"lives=", 0)
    PLAN.life = life_begin()
    PLAN.seed = argument_number(text, b"seed=", 1)
    for m in METERS:
        m.shortest_run = NEVER
        m.shortest_block = NEVER


@fn
def calibrate() -> None:
    """How long blocks take when nobody interrupts them, with the look at the counter behind each."""
    PLAN.unit = NEVER
    begin = PLAN.begin
    PLAN.begin = 0  # these count too, which takes its time
    for _ in range(u32(SAMPLES)):
        before = counter()
        PLAN.unit = min(PLAN.unit, max(meter_work(METERS[0], BLOCKS) - before, 1))
    METERS[0].work = 0
    PLAN.begin = begin


@fn
def meter_work(m: Meter, blocks: u64) -> u64:
    """So many blocks, counted in the time; the counter at their end."""
    now = counter()
    for _ in range(blocks):
        load_block()
        now = counter()
        if PLAN.begin <= now < PLAN.end:
            m.work += 1
    return now


@fn
def finished() -> bool:
    """Whether all CPUs are done."""
    for cpu in range(MACHINE.cpus):
        if METERS[cpu].done.load_acquire() == 0:
            return False
    return True


@fn
def meter_block(m: Meter, now: u64) -> None:
    """A block has just ended. Only what begins and ends inside the time counts."""
    if m.last != 0:
        took = now - m.last
        if took > PLAN.unit * MOST_BLOCKS_AWAY // BLOCKS:
            run_ended(m, m.last, now - PLAN.unit // BLOCKS)
        else:
            m.shortest_block = min(m.shortest_block, took)
            m.longest_block = max(m.longest_block, took)
    m.last = now
    m.work += 1


@fn
def run_ended(m: Meter, end: u64, next: u64) -> None:
    """The CPU was away from `end` until `next`."""
    m.longest_gap = max(m.longest_gap, next - end)
    if m.start != 0:
        m.runs += 1
        m.shortest_run = min(m.shortest_run, end - m.start)
        m.longest_run = max(m.longest_run, end - m.start)
    m.start = next
    if PLAN.frame != 0:
        note_phase(m, next % PLAN.frame)


@fn
def note_phase(m: Meter, phase: u64) -> None:
    """Where in the frame a run began, against the first one."""
    if m.runs == 0:
        m.phase = phase
    later = (phase + PLAN.frame - m.phase) % PLAN.frame
    if later < PLAN.frame // 2:
        m.latest = max(m.latest, later)
    else:
        m.earliest = max(m.earliest, PLAN.frame - later)


@fn
def meter_report(cpu: u32) -> None:
    """What is 0 when it was not measured."""
    m = METERS[cpu]
    printk(f"load: vcpu {cpu} work {m.work:d}, gap {nanoseconds(m.longest_gap):d} ns")
    if m.longest_block != 0:
        printk(f"load: vcpu {cpu} blocks of {nanoseconds(m.shortest_block):d} to {nanoseconds(m.longest_block):d} ns")
    if m.runs != 0:
        printk(f"load: vcpu {cpu} runs {m.runs:d} of {nanoseconds(m.shortest_run):d} to {nanoseconds(m.longest_run):d} ns")
        printk(f"load: vcpu {cpu} phase {nanoseconds(m.phase):d} earlier {nanoseconds(m.earliest):d} later {nanoseconds(m.latest):d} ns")
    if m.jobs != 0:
        printk(f"load: vcpu {cpu} jobs {m.jobs:d} misses {m.misses:d} slowest {nanoseconds(m.slowest):d} ns")
