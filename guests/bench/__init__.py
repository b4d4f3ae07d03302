"""The benchmark guest: prints `bench <name> <nanoseconds>` for each operation, then `bench end`, and powers off.

Under QEMU's `-icount shift=0` a nanosecond is an instruction. A figure counts from the instruction that causes the exit to the first one
after it, or in the handler; for the timer from its expiry. Of ROUNDS means the least is printed: whatever else the hypervisor does only adds.
"""

from collections.abc import Callable

import guests.runtime.head
import guests.runtime.interrupts  # noqa: F401
from freestanding import Array, Atomic, Struct, View, address_of, array, atomic, export, fn, linker_symbol, u8, u32, u64, usize, zeroed
from guests.bench.kernels import (
    HANDLER_OVERHEAD,
    REMOTE_OVERHEAD,
    SGI_OVERHEAD,
    SLIDE,
    answer,
    answer_v3,
    loop_empty,
    loop_hvc,
    loop_load,
    loop_no_yield,
    loop_nothing,
    loop_ping,
    loop_ping_v3,
    loop_pong,
    loop_pong_v3,
    loop_store,
    loop_yield,
    pause,
    sample_remote,
    sample_remote_v3,
    sample_sgi,
    sample_sgi_v3,
    sample_timer,
    sample_timer_v3,
    start_other,
    use_bench_vectors,
    use_bench_vectors_v3,
)
from guests.runtime.arguments import argument_is, bootargs
from guests.runtime.console import console_init, printk
from guests.runtime.gic import GIC, HAS_V3, gic_cpu_init, gic_enable, gic_init, gic_own_target, gic_sgi_value
from guests.runtime.link import LINKER_SCRIPT
from guests.runtime.machine import FDT, MACHINE, machine_init
from guests.runtime.psci import psci_init, psci_system_off
from guests.runtime.registers import TIMER_COMPATIBLE, read_cntfrq_el0, register_reader
from xenarm.arm.instructions import mmio_read32, wait_for_event
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, FdtError
from xenarm.devicetree.values import fdt_find_compatible, fdt_interrupt
from xenarm.gic.registers import Gicd

__all__ = ["LINKER_SCRIPT", "guest_main", "guest_secondary"]

BENCH_SECONDARY = linker_symbol("bench_secondary")
IMAGE_START = linker_symbol("__image_start")
MAPS_MEMORY = True
ROUNDS = 8
LOOPS = 1024
SAMPLES = 16 * SLIDE
REST = 4  # turns until the other CPU is back where it waits
SGI = 1
NS = 1_000_000_000
VIRTUAL_TIMER = 2  # in the binding's order of interrupts
AWAKE_STEPS = 1_000  # until the timer expires
ASLEEP_STEPS = 20_000  # long enough for any hypervisor to put the CPU to sleep first
NEVER = 0xFFFF_FFFF_FFFF

Loop = Callable[[usize, usize, usize], u64]
read_tpidr_el0: Callable[[], u64] = register_reader("tpidr_el0")


@fn
def nanoseconds(steps: u64, times: u64) -> u64:
    """The mean, rounded."""
    divisor = read_cntfrq_el0() * times
    return (steps * NS + divisor // 2) // divisor


@fn
def fastest(loop: Loop, address: u64, value: u64) -> u64:
    """Steps of the fastest round of LOOPS turns."""
    least = u64(NEVER)
    for _ in range(ROUNDS):
        least = min(least, loop(LOOPS, usize(address), usize(value)))
    return least


@fn
def report_loop(name: View[u8], loop: Loop, address: u64, value: u64, base: u64) -> None:
    steps = fastest(loop, address, value)
    printk(f"bench {name} {nanoseconds(steps - min(base, steps), LOOPS):d}")


@fn
def report_exits() -> None:
    report_loop(b"psci_version", loop_hvc, 0, 0, fastest(loop_empty, 0, 0))
    base = fastest(loop_nothing, 0, 0)
    enabled = GIC.gicd + u64(Gicd.ISENABLER + 4)
    report_loop(b"gicd_typer", loop_load, GIC.gicd + Gicd.TYPER, 0, base)
    report_loop(b"gicd_isenabler_read", loop_load, enabled, 0, base)
    report_loop(b"gicd_isenabler_write", loop_store, enabled, u64(mmio_read32(enabled)), base)


@fn
def one_sgi(value: usize, delay: usize) -> u64:
    return sample_sgi_v3(0, value, 0, delay) if HAS_V3 and GIC.v3 else sample_sgi(usize(GIC.gicd + Gicd.SGIR), value, usize(GIC.gicc), delay)


@fn
def one_expiry(ahead: usize, sleep: usize, delay: usize) -> u64:
    return sample_timer_v3(ahead, sleep, 0, delay) if HAS_V3 and GIC.v3 else sample_timer(ahead, sleep, usize(GIC.gicc), delay)


@fn
def report_sgi() -> None:
    value = gic_sgi_value(gic_own_target(), SGI)
    least = u64(NEVER)
    for _ in range(ROUNDS):
        steps = u64(0)
        for sample in range(u64(SAMPLES)):
            # An odd stride: the counter's phase takes every value equally often, whatever a sample takes.
            steps += one_sgi(usize(value), usize((sample * 7 + sample // SLIDE) % SLIDE))
        least = min(least, steps)
    printk(f"bench sgi_self {nanoseconds(least, SAMPLES) - SGI_OVERHEAD:d}")


@fn
def report_timer(name: View[u8], ahead: u64, sleep: u64) -> None:
    least = u64(NEVER)
    for _ in range(ROUNDS):
        steps = u64(0)
        for delay in range(u64(SLIDE)):
            steps += one_expiry(usize(ahead), usize(sleep), usize(delay))
        least = min(least, steps)
    printk(f"bench {name} {nanoseconds(least, SLIDE) - HANDLER_OVERHEAD:d}")


@fn
def report_timers() -> None:
    node = fdt_find_compatible(FDT, TIMER_COMPATIBLE)
    if node == NO_NODE:
        return
    interrupt = fdt_interrupt(FDT, node, VIRTUAL_TIMER)
    if interrupt.result == Result.OK:
        gic_enable(interrupt.intid)
        report_timer(b"timer", AWAKE_STEPS, 0)
        report_timer(b"timer_wfi", ASLEEP_STEPS, 1)


class Own(Struct):
    """What names the first vCPU to the GIC."""

    target: u64


OWN = zeroed(Own)


class Partner(Struct):
    """What two vCPUs tell each other."""

    started: Atomic[u64] = atomic(u64)  # the counter at the other one's first instruction
    target: Atomic[u64] = atomic(u64)  # what names it to the GIC
    sleeps: Atomic[u32] = atomic(u32)  # it is to answer interrupts now
    role: Atomic[u32] = atomic(u32)  # SHARES, SPINS or SLEEPS


PARTNER = zeroed(Partner)
SHARES = 0  # the first one's CPU
SPINS = 1  # on a CPU of its own
SLEEPS = 2


class Answer(Struct):
    """The counter in the other one's handler; 0: it has not answered."""

    counter: Array[u64] = array(u64, 1)


ANSWER = zeroed(Answer)


@fn
def partner_start() -> None:
    """Turn the other vCPU on; it runs while this one sleeps or yields."""
    before = start_other(usize(MACHINE.mpidr[1]), usize(MACHINE.image) + (BENCH_SECONDARY - IMAGE_START), 1)
    while PARTNER.started.load_acquire() == 0 or PARTNER.target.load_acquire() == 0:
        loop_yield(1, 0, 0)
    printk(f"bench cpu_on {nanoseconds(PARTNER.started.load() - before, 1):d}")


@fn
def round_of_pings(value: usize) -> u64:
    return loop_ping_v3(LOOPS, 0, value, 0) if HAS_V3 and GIC.v3 else loop_ping(LOOPS, usize(GIC.gicd + Gicd.SGIR), value, usize(GIC.gicc))


@fn
def report_sharing() -> None:
    """Two vCPUs on one CPU."""
    base = fastest(loop_no_yield, 0, 0)
    steps = fastest(loop_yield, 0, 0) - base
    printk(f"bench yield {nanoseconds(steps, 2 * LOOPS):d}")
    PARTNER.sleeps.store_release(1)
    loop_yield(16, 0, 0)
    value = gic_sgi_value(PARTNER.target.load(), SGI)
    least = u64(NEVER)
    for _ in range(ROUNDS):
        least = min(least, round_of_pings(usize(value)))
    printk(f"bench ping_pong {nanoseconds(least, LOOPS):d}")


@fn
def one_remote(value: usize, delay: usize) -> u64:
    counter = usize(address_of(ANSWER.counter))
    if HAS_V3 and GIC.v3:
        return sample_remote_v3(0, value, counter, delay)
    return sample_remote(usize(GIC.gicd + Gicd.SGIR), value, counter, delay)


@fn
def report_remote(role: u32, name: View[u8]) -> None:
    """An SGI to a vCPU on another CPU, which answers: the instructions of both CPUs."""
    PARTNER.role.store(role)
    start_other(usize(MACHINE.mpidr[1]), usize(MACHINE.image) + (BENCH_SECONDARY - IMAGE_START), 1)
    while PARTNER.target.load_acquire() == 0:
        pause(1)
    value = gic_sgi_value(PARTNER.target.load(), SGI)
    least = u64(NEVER)
    for _ in range(ROUNDS):
        steps = u64(0)
        for sample in range(u64(SAMPLES)):
            pause(REST)
            steps += one_remote(usize(value), usize((sample * 7 + sample // SLIDE) % SLIDE))
        least = min(least, steps)
    printk(f"bench {name} {nanoseconds(least, SAMPLES) - REMOTE_OVERHEAD:d}")


@fn
def report_two() -> None:
    """Two vCPUs: on a CPU each, if the bootargs say so."""
    if argument_is(bootargs(FDT), b"partner=", b"spinning"):
        report_remote(SPINS, b"sgi_spinning")
    elif argument_is(bootargs(FDT), b"partner=", b"asleep"):
        report_remote(SLEEPS, b"sgi_asleep")
    else:
        OWN.target = gic_own_target()
        partner_start()
        report_sharing()


@export("guest_main")
def guest_main(tree: u64, image: u64) -> None:
    """Entry of the first CPU. Does not return."""
    if machine_init(tree, image) == FdtError.NONE:
        psci_init(FDT)
        console_init(FDT)
        if gic_init(FDT) == Result.OK:
            gic_enable(SGI)
            PARTNER.target.store(0)
            if MACHINE.cpus > 1:
                report_two()
                printk(f"bench end")
                psci_system_off()
            report_exits()
            if HAS_V3 and GIC.v3:
                use_bench_vectors_v3()
            else:
                use_bench_vectors()
            report_sgi()
            report_timers()
        printk(f"bench end")
    psci_system_off()


@fn
def answer_for_ever(sleep: usize) -> None:
    """Does not return."""
    counter = usize(address_of(ANSWER.counter))
    if HAS_V3 and GIC.v3:
        answer_v3(0, counter, sleep)
    else:
        answer(usize(GIC.gicc), counter, sleep)


@export("guest_secondary")
def guest_secondary(number: u64) -> None:
    """The other vCPU: shares the first one's CPU, or answers interrupts on its own. Does not return."""
    PARTNER.started.store_release(read_tpidr_el0())
    gic_cpu_init()
    gic_enable(SGI)
    PARTNER.target.store_release(gic_own_target())
    if PARTNER.role.load() != SHARES:
        answer_for_ever(usize(PARTNER.role.load() - SPINS))
    while PARTNER.sleeps.load_acquire() == 0:
        loop_yield(1, 0, 0)
    value = gic_sgi_value(OWN.target, SGI)
    while True:
        if HAS_V3 and GIC.v3:
            loop_pong_v3(LOOPS, 0, usize(value), 0)
        else:
            loop_pong(LOOPS, usize(GIC.gicd + Gicd.SGIR), usize(value), usize(GIC.gicc))
