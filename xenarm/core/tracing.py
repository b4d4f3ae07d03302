"""Tracing as people switch it: by the boot argument `trace=`, by keys; and the trace said on the console, a few lines at a time.

While it is said, the other half of the port's ring and three quarters of the CPU's time at least are left to everybody else.
"""

from freestanding import Struct, View, fn, u8, u32, u64, zeroed

from xenarm.arch import arch_counter, arch_counter_hz, cpu_index
from xenarm.arm.timer import alarm_by
from xenarm.arm.traced import tracing_switch
from xenarm.config import CONFIG
from xenarm.core.bootargs import bootarg
from xenarm.core.log import log_warning, printk, terminal_line
from xenarm.core.result import Result
from xenarm.core.trace import ALL_CLASSES, CLASSES, RECORDS, trace_classes, trace_pages
from xenarm.core.trace_dump import DUMP, dump_begin, dump_line
from xenarm.devicetree.reader import Fdt
from xenarm.drivers.serial import RING, RING_SIZE

__all__ = ["tracing_continue", "tracing_dump", "tracing_init", "tracing_toggle"]

WORDS = ", ".join([*CLASSES, "all"])
LINES_AT_ONCE = 4
PAUSES_PER_SECOND = 1000
PORT_ROOM = RING_SIZE // 4  # of the port's ring: no more of it is filled by this
"""The domains together fill another quarter (`core/console.py`)."""


class Tracing(Struct):
    """What was asked for. While the trace is said nothing is traced, whatever that is."""

    classes: u32
    on: bool
    sayer: u32  # the CPU that says it


TRACING = zeroed(Tracing)


# ---- on and off ---------------------------------------------------------------------------------------------------------


@fn
def apply() -> None:
    if tracing_switch(TRACING.classes if TRACING.on and not DUMP.going else u32(0)) != Result.OK:
        log_warning("tracing: no memory for the events of some CPUs: they trace nothing; CONFIG_TRACE_RECORDS may be too large")


@fn
def tracing_init(fdt: Fdt) -> None:
    """Once all CPUs are up, before the first domain: what `trace=` names is traced from now on."""
    given, text = bootarg(fdt, b"trace")
    sound, classes = trace_classes(text)
    TRACING.classes = classes if classes != 0 else u32(ALL_CLASSES)
    if not sound:
        log_warning(f"/chosen: xen,xen-bootargs: trace={text}: some word of it is unknown and ignored; there are exit, sched, irq, domain and all, with commas between them")
    if given and classes != 0:
        TRACING.on = True
        apply()
        printk(f"tracing {text}: {trace_pages() * 4} KiB")


@fn
def tracing_toggle() -> None:
    TRACING.on = not TRACING.on
    apply()
    if TRACING.on:
        printk(f"tracing is on: the newest {RECORDS} events of each CPU are kept, in {trace_pages() * 4} KiB")
    else:
        printk("tracing is off; what was traced stays")


# ---- saying it ----------------------------------------------------------------------------------------------------------


@fn
def tracing_dump(newest: u64) -> None:
    """Say so many of the newest events of each CPU, from now on, on this CPU, now and then."""
    if DUMP.going:
        printk("trace: it is being said already")
    elif trace_pages() == 0:
        printk("trace: nothing was traced yet; T switches tracing on")
    else:
        printk("trace: what follows is for xenarm.tools.trace; nothing is traced meanwhile")
        TRACING.sayer = cpu_index()
        dump_begin(newest)
        apply()
        alarm_by(cpu_index(), arch_counter())


@fn
def say(line: View[u8]) -> None:
    terminal_line(line)


@fn
def room() -> bool:
    """Read without a lock: a few characters more or less do not matter."""
    return RING.head - RING.tail <= PORT_ROOM


@fn(inline=True)
def tracing_continue() -> None:
    """When EL2's timer has expired: go on with what `tracing_dump` has begun."""
    if CONFIG.TRACE and DUMP.going:
        say_some()


@fn(inline=False)
def say_some() -> None:
    if TRACING.sayer != cpu_index():
        return
    for _ in range(u32(LINES_AT_ONCE)):
        if not room():
            break
        if not dump_line(say):
            apply()
            printk("trace: end")
            return
    alarm_by(cpu_index(), arch_counter() + arch_counter_hz() // PAUSES_PER_SECOND)
