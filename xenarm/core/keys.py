"""What the hypervisor does for a key, when CTRL-a three times has given it the input: a table, as Xen's debug keys.

Keys that are about one domain are followed by its number; return ends a number that could go on. Handlers run on the CPU that has the port's interrupt, without a lock.
"""

from collections.abc import Callable

from freestanding import Struct, View, fn, table, u8, u32, zeroed
from xenarm.arch import arch_machine_reset
from xenarm.config import CONFIG
from xenarm.core.domain import DOMAINS, MAX_DOMAINS, Domain, DomainState, ShutdownReason, domain_name
from xenarm.core.log import printk
from xenarm.core.shutdown import domain_pause, domain_resume, domain_shutdown
from xenarm.core.trace import RECORDS
from xenarm.core.tracing import tracing_dump, tracing_toggle
from xenarm.core.vcpu_reports import (
    DOMAINS_REPORT,
    EVERY_REPORT,
    FIRST_REGISTERS_REPORT,
    MEMORY_REPORT,
    QUEUES_REPORT,
    REGISTERS_REPORT,
    TIMERS_REPORT,
    reports_say,
)
from xenarm.drivers.serial import serial_flush

__all__ = ["KEYS", "key_pressed"]


RETURN = 0x0D


class Key(Struct, frozen=True):
    """A key. `of_domain`: a number follows, and `run` is called with that domain; else with the first."""

    name: View[u8]  # one character
    help: View[u8]
    of_domain: bool
    run: Callable[[Domain], None]


class Typed(Struct):
    """The key that waits for its number, 0 for none, and what of that was typed."""

    pending: u8
    begun: bool
    number: u32


TYPED = zeroed(Typed)


# ---- about domains -----------------------------------------------------------------------------------------------------


@fn
def exists(d: Domain) -> bool:
    return d.state.load() != u32(DomainState.UNUSED)


@fn
def lives(d: Domain) -> bool:
    return d.state.load() == u32(DomainState.RUNNING)


def saying(reports: int) -> Callable[[Domain], None]:
    @fn
    def say(first: Domain) -> None:
        reports_say(reports)

    return say


@fn
def pause(d: Domain) -> None:
    domain_pause(d)
    printk(f"domain {domain_name(d)} is paused")


@fn
def resume(d: Domain) -> None:
    domain_resume(d)
    printk(f"domain {domain_name(d)} goes on")


@fn
def restart(d: Domain) -> None:
    domain_resume(d)
    domain_shutdown(d, ShutdownReason.REBOOT)


@fn
def destroy(d: Domain) -> None:
    domain_resume(d)
    domain_shutdown(d, ShutdownReason.POWEROFF)


# ---- the trace ----------------------------------------------------------------------------------------------------------

FEW_EVENTS = 256


@fn
def toggle_tracing(first: Domain) -> None:
    tracing_toggle()


@fn
def say_trace(first: Domain) -> None:
    tracing_dump(FEW_EVENTS)


@fn
def say_whole_trace(first: Domain) -> None:
    tracing_dump(RECORDS)


TRACE_KEYS = [
    Key(b"T", b"tracing on, or off", False, toggle_tracing),
    Key(b"y", b"the newest events of the trace", False, say_trace),
    Key(b"Y", b"the whole trace", False, say_whole_trace),
]


# ---- about the machine -------------------------------------------------------------------------------------------------


@fn
def reboot(first: Domain) -> None:
    printk("the machine restarts")
    serial_flush()
    arch_machine_reset()


@fn
def help_text(first: Domain) -> None:
    printk("keys; <n> is the number of a domain, as 'q' shows it")
    for row in KEYS:
        if row.of_domain:
            printk(f"  {row.name}<n> {row.help}")
        else:
            printk(f"  {row.name}    {row.help}")


KEYS = table(
    Key,
    [
        Key(b"h", b"this help", False, help_text),
        Key(b"q", b"domains and their vCPUs", False, saying(DOMAINS_REPORT)),
        Key(b"m", b"who owns what memory", False, saying(MEMORY_REPORT)),
        Key(b"r", b"run queues", False, saying(QUEUES_REPORT)),
        Key(b"d", b"registers of every guest, said by the CPU that runs it", False, saying(REGISTERS_REPORT)),
        Key(b"0", b"registers of the first domain", False, saying(FIRST_REGISTERS_REPORT)),
        Key(b"t", b"timers", False, saying(TIMERS_REPORT)),
        Key(b"p", b"pause a domain", True, pause),
        Key(b"u", b"let a paused domain go on", True, resume),
        Key(b"b", b"restart a domain", True, restart),
        Key(b"k", b"end a domain", True, destroy),
        *(TRACE_KEYS if CONFIG.TRACE else []),
        Key(b"*", b"all reports", False, saying(EVERY_REPORT)),
        Key(b"R", b"restart the machine", False, reboot),
    ],
)
assert len({row.name for row in KEYS}) == len(KEYS), "a key twice"


@fn
def goes_on(number: u32) -> bool:
    """Whether a domain has a number that begins so."""
    for i in range(number * 10 if number > 0 else u32(MAX_DOMAINS), MAX_DOMAINS):
        if exists(DOMAINS[i]):
            return True
    return False


@fn
def of_domain(key: u8, number: u32) -> None:
    """A key that is about one domain, with its number."""
    if number >= MAX_DOMAINS or not exists(DOMAINS[number]):
        printk("no such domain: 'q' lists them")
        return
    if not lives(DOMAINS[number]):
        printk(f"domain {domain_name(DOMAINS[number])} is ending, or has: 'q' shows it")
        return
    for row in KEYS:
        if row.of_domain and row.name[0] == key:
            row.run(DOMAINS[number])


@fn
def number_typed(key: u8) -> None:
    """What follows a key that is about one domain: a digit, or the end of the number."""
    number = u32(MAX_DOMAINS)
    if key >= 0x30 and key <= 0x39:
        number = TYPED.number * 10 + u32(key) - 0x30
        TYPED.begun = True
        if goes_on(number):
            TYPED.number = number
            return
    elif key == RETURN and TYPED.begun:
        number = TYPED.number
    pending = TYPED.pending
    TYPED.pending = 0
    of_domain(pending, number)


@fn
def key_pressed(key: u8) -> None:
    """A key typed to the hypervisor. Other line ends are not for it."""
    if TYPED.pending != 0:
        number_typed(key)
        return
    for row in KEYS:
        if row.name[0] == key:
            if row.of_domain:
                TYPED.pending = key
                TYPED.begun = False
                TYPED.number = u32(0)
                printk(f"{row.help}: which? its number, as 'q' shows it")
            else:
                row.run(DOMAINS[0])
            return
    if key > 0x20:
        printk("no such key: 'h' lists them")
