"""Reports with a line or more for each vCPU: said at once as far as the serial port's ring has room, the rest now and then, so that no line is lost.

What changes while a report is said may be said both ways: nothing is locked.
"""

from collections.abc import Callable

from freestanding import Struct, View, ctz, fn, saturating_sub, table, u8, u32, zeroed

from xenarm.arch import arch_counter, arch_counter_hz, cpu_index
from xenarm.arm.dump import REGISTERS, TIMERS, dump_ask, dump_saved
from xenarm.arm.timer import alarm_by
from xenarm.config import CONFIG
from xenarm.core.addresses import KIB
from xenarm.core.domain import DOMAINS, Domain, DomainState, Power, Vcpu, domain_name
from xenarm.core.log import LOG, printk
from xenarm.core.memory import memory_free
from xenarm.core.report import memory_report
from xenarm.core.sched.scheduler import sched_name
from xenarm.core.sched.state import Place
from xenarm.drivers.serial import RING, RING_SIZE
from xenarm.gic.vgic import vcpu_kick

__all__ = ["DOMAINS_REPORT", "EVERY_REPORT", "FIRST_REGISTERS_REPORT", "MEMORY_REPORT", "QUEUES_REPORT", "REGISTERS_REPORT", "TIMERS_REPORT"]
__all__ += ["listing_begin", "listing_continue"]

PORT_ROOM = RING_SIZE // 2  # with the other half free, a vCPU's registers find room in the smallest ring
PAUSES_PER_SECOND = 1000


class Report(Struct, frozen=True):
    """What is said first, then of each domain, then of each of its vCPUs; `most`: of so many domains at most."""

    begin: Callable[[], None]
    domain: Callable[[Domain], None]
    vcpu: Callable[[Domain, Vcpu], None]
    most: u32


class Listing(Struct):
    """How far it has come. `wanted`: reports that are still to be begun, a bit each."""

    wanted: u32
    going: bool
    sayer: u32  # the CPU that says it
    report: u32
    domain: u32
    vcpu: u32  # its number plus one; 0: the domain's own lines


LISTING = zeroed(Listing)


# ---- what they say ------------------------------------------------------------------------------------------------------


@fn
def nothing() -> None:
    pass


@fn
def nothing_of_domain(d: Domain) -> None:
    pass


@fn
def nothing_of_vcpu(d: Domain, v: Vcpu) -> None:
    pass


@fn
def say_machine() -> None:
    now = (arch_counter() - LOG.start) // max(arch_counter_hz(), 1)
    printk(f"up {now} s; {memory_free() // KIB} KiB of memory free; serial ring: {RING.head - RING.tail} waiting, {RING.lost} lost")


@fn
def say_domain(d: Domain) -> None:
    state = DomainState(u8(d.state.load()))
    paused: View[u8] = b", paused" if d.paused.load() != 0 else b""
    printk(f"domain {d.id} {domain_name(d)}: {state}{paused}, {d.restarts} restarts, {d.p2m.table_pages * 4} KiB of tables")


@fn
def say_vcpu(d: Domain, v: Vcpu) -> None:
    printk(f"  vcpu {v.id} on cpu {v.cpu}: {Power(v.power.load())}")


@fn
def say_scheduler() -> None:
    printk(f"scheduler: {sched_name()}")


@fn
def say_scheduled(d: Domain, v: Vcpu) -> None:
    ran = v.sched.ran
    if v.sched.place == Place.RUNNING:
        ran += saturating_sub(arch_counter(), v.sched.since)
    printk(f"cpu {v.cpu}: {domain_name(d)} vcpu {v.id} {Power(v.power.load())} {v.sched.place}, ran {ran * 1000 // max(arch_counter_hz(), 1)} ms")


@fn
def ask_vcpu(d: Domain, v: Vcpu, what: u32) -> None:
    """What a CPU has of a vCPU it says by itself; of one that waits for a CPU, what lies in memory is said here."""
    if d.state.load() != u32(DomainState.RUNNING):
        return
    if v.sched.on_cpu.load_acquire() == 0:
        dump_saved(d, v, what)
    else:
        dump_ask(v.cpu, what)
        vcpu_kick(v)


@fn
def say_registers(d: Domain, v: Vcpu) -> None:
    ask_vcpu(d, v, REGISTERS)


@fn
def say_timers(d: Domain, v: Vcpu) -> None:
    ask_vcpu(d, v, TIMERS)


ALL = CONFIG.MAX_DOMAINS
REPORTS = table(
    Report,
    [
        Report(say_machine, say_domain, say_vcpu, ALL),
        Report(memory_report, nothing_of_domain, nothing_of_vcpu, 0),
        Report(say_scheduler, nothing_of_domain, say_scheduled, ALL),
        Report(nothing, nothing_of_domain, say_registers, ALL),
        Report(nothing, nothing_of_domain, say_timers, ALL),
        Report(nothing, nothing_of_domain, say_registers, 1),
    ],
)
DOMAINS_REPORT, MEMORY_REPORT, QUEUES_REPORT, REGISTERS_REPORT, TIMERS_REPORT, FIRST_REGISTERS_REPORT = (1 << n for n in range(6))
EVERY_REPORT = FIRST_REGISTERS_REPORT - 1
"""Said in this order, whatever order they are asked for in."""

assert len(REPORTS) == 6


# ---- saying it ----------------------------------------------------------------------------------------------------------


@fn
def next_report() -> bool:
    """Begin what is wanted next. False: nothing is."""
    if LISTING.wanted == 0:
        return False
    LISTING.report = ctz(LISTING.wanted)
    LISTING.wanted &= LISTING.wanted - 1
    LISTING.domain = 0
    LISTING.vcpu = 0
    REPORTS[LISTING.report].begin()
    return True


@fn
def say_of(row: Report, d: Domain) -> None:
    if LISTING.vcpu == 0:
        row.domain(d)
        return
    v = d.vcpus[LISTING.vcpu - 1]
    if v is not None:
        row.vcpu(d, v)


@fn
def say_next() -> bool:
    """The lines of one domain or of one vCPU. False: all is said."""
    row = REPORTS[LISTING.report]
    if LISTING.domain >= row.most:
        return next_report()
    d = DOMAINS[LISTING.domain]
    if d.state.load() == u32(DomainState.UNUSED) or LISTING.vcpu > d.vcpu_count:
        LISTING.domain += 1
        LISTING.vcpu = 0
        return True
    say_of(row, d)
    LISTING.vcpu += 1
    return True


@fn
def say_some() -> None:
    """While there is room. The ring is looked at without a lock: a few characters more or less do not matter."""
    while RING.head - RING.tail <= PORT_ROOM:
        if not say_next():
            LISTING.going = False
            return
    alarm_by(LISTING.sayer, arch_counter() + arch_counter_hz() // PAUSES_PER_SECOND)


@fn
def listing_begin(reports: u32) -> None:
    """Say these, on this CPU, after those that are being said. One CPU at a time: the one that has the console's interrupt."""
    LISTING.wanted |= reports
    if not LISTING.going and next_report():
        LISTING.going = True
        LISTING.sayer = cpu_index()
        say_some()


@fn(inline=True)
def listing_continue() -> None:
    """When EL2's timer has expired: go on."""
    if LISTING.going and LISTING.sayer == cpu_index():
        say_some()
