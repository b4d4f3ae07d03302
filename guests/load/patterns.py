"""Ways to use a CPU until the time is over: without a pause, working and sleeping, a job in each period."""

from collections.abc import Callable

from freestanding import fn, u32, u64
from guests.load.meter import BLOCKS, METERS, PLAN, meter_block, meter_work
from guests.runtime.cpu import counter, write_cntv_ctl_el0, write_cntv_cval_el0
from guests.runtime.gic import gic_acknowledge, gic_enable, gic_end, intid_of
from guests.runtime.registers import TimerControl
from xenarm.arm.instructions import wait_for_interrupt

__all__ = ["run_blocks", "run_dozing", "run_jobs"]

VIRTUAL_TIMER = 27
RUN = int(TimerControl(ENABLE=True))
STOP = 0


def run_blocks(block: Callable[[], None]) -> Callable[[u32], None]:
    """One block after the other, counted in the time."""

    @fn
    def run(cpu: u32) -> None:
        m = METERS[cpu]
        while counter() < PLAN.begin:
            block()
        while True:
            block()
            now = counter()
            if now >= PLAN.end:
                return
            meter_block(m, now)

    return run


@fn
def sleep_until(time: u64) -> None:
    """In WFI, interrupts masked: the timer's ends it all the same (Arm ARM D1.7.2)."""
    gic_enable(VIRTUAL_TIMER)
    write_cntv_cval_el0(time)
    write_cntv_ctl_el0(RUN)
    while counter() < time:
        wait_for_interrupt()
    write_cntv_ctl_el0(STOP)
    iar = gic_acknowledge()
    real, _ = intid_of(iar)
    if real:
        gic_end(iar)


@fn
def blocks_in(steps: u64) -> u64:
    return steps * BLOCKS // PLAN.unit


@fn
def run_dozing(cpu: u32) -> None:
    """Work, sleep, and so on."""
    m = METERS[cpu]
    blocks = blocks_in(PLAN.work)
    while True:
        now = meter_work(m, blocks)
        if now >= PLAN.end:
            return
        sleep_until(now + PLAN.sleep)


@fn
def run_jobs(cpu: u32) -> None:
    """A job in each period, released at its beginning and due at its end."""
    m = METERS[cpu]
    blocks = blocks_in(PLAN.work)
    release = PLAN.begin
    while release + PLAN.period <= PLAN.end:
        sleep_until(release)
        now = meter_work(m, blocks)
        m.jobs += 1
        m.slowest = max(m.slowest, now - release)
        if now > release + PLAN.period:
            m.misses += 1
        release += PLAN.period
