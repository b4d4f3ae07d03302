"""Reports with a line or more for each vCPU, as keys ask for them. What changes while one is said may be said both ways: nothing is locked."""

from collections.abc import Callable

from freestanding import Struct, View, ctz, fn, saturating_sub, table, u8, u32, zeroed

from xenarm.arch import arch_counter, arch_counter_hz
from xenarm.arm.dump import REGISTERS, TIMERS, dump_ask, dump_saved
from xenarm.config import CONFIG
from xenarm.core.addresses import KIB
from xenarm.core.domain import DOMAINS, Domain, DomainState, Power, Vcpu, domain_name
from xenarm.core.listing import LISTING, listing_begin
from xenarm.core.log import LOG, printk
from xenarm.core.memory import memory_free
from xenarm.core.report import memory_report
from xenarm.core.sched.scheduler import sched_name
from xenarm.core.sched.state import Place
from xenarm.drivers.serial import RING
from xenarm.gic.vgic import vcpu_kick

__all__ = ["DOMAINS_REPORT", "EVERY_REPORT", "FIRST_REGISTERS_REPORT", "MEMORY_REPORT", "QUEUES_REPORT", "REGISTERS_REPORT", "TIMERS_REPORT"]
__all__ += ["reports_say"]


class Report(Struct, frozen=True):
    """What is said first, whether a line about each domain, then of each of its vCPUs; `most`: of so many domains at most."""

    begin: Callable[[], None]
    domains: bool
    vcpu: Callable[[Domain, Vcpu], None]
    most: u32


class Reports(Struct):
    """How far it has come. `wanted`: reports that are still to be begun, a bit each."""

    wanted: u32
    report: u32
    domain: u32
    vcpu: u32  # its number plus one; 0: the domain's own lines


SAID = zeroed(Reports)


# ---- what they say ------------------------------------------------------------------------------------------------------


@fn
def nothing() -> None:
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
        Report(say_machine, True, say_vcpu, ALL),
        Report(memory_report, False, nothing_of_vcpu, 0),
        Report(say_scheduler, False, say_scheduled, ALL),
        Report(nothing, False, say_registers, ALL),
        Report(nothing, False, say_timers, ALL),
        Report(nothing, False, say_registers, 1),
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
    if SAID.wanted == 0:
        return False
    SAID.report = ctz(SAID.wanted)
    SAID.wanted &= SAID.wanted - 1
    SAID.domain = 0
    SAID.vcpu = 0
    REPORTS[SAID.report].begin()
    return True


@fn
def say_of(row: Report, d: Domain) -> None:
    if SAID.vcpu == 0:
        if row.domains:
            say_domain(d)
        return
    v = d.vcpus[SAID.vcpu - 1]
    if v is not None:
        row.vcpu(d, v)


@fn
def say_next() -> bool:
    """The lines of one domain or of one vCPU. False: all is said."""
    row = REPORTS[SAID.report]
    if SAID.domain >= row.most:
        return next_report()
    d = DOMAINS[SAID.domain]
    if d.state.load() == u32(DomainState.UNUSED) or SAID.vcpu > d.vcpu_count:
        SAID.domain += 1
        SAID.vcpu = 0
        return True
    say_of(row, d)
    SAID.vcpu += 1
    return True


@fn
def reports_say(reports: u32) -> None:
    """Say these, on this CPU, after those that are being said. One CPU at a time: the one that has the console's interrupt."""
    SAID.wanted |= reports
    if not LISTING.going and next_report():
        listing_begin(say_next)
