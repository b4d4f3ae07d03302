"""What the hypervisor says: `printk` with levels, boot stages, the log ring in memory, the lock of the terminal.

Lock order: a device's own lock is never held while the terminal's is taken, nor the other way round. The hypervisor
runs with interrupts masked, so that the holder cannot be interrupted on its own CPU.
"""

from freestanding import Array, Printer, Slice, Struct, View, array, fn, place, saturating_sub, u8, u32, u64, usize, zeroed
from xenarm.arch import arch_counter, arch_counter_hz
from xenarm.config import CONFIG
from xenarm.core.spinlock import Spinlock
from xenarm.drivers.serial import serial_write

__all__ = [
    "say",
    "LOG",
    "LOG_RING",
    "NOBODY",
    "TERMINAL",
    "WARNING",
    "guest_message_allowed",
    "log_debug",
    "log_error",
    "log_level",
    "log_raw",
    "log_replay",
    "log_says_info",
    "log_start",
    "log_warning",
    "printk",
    "stage",
    "terminal_line",
    "terminal_say",
]

PREFIX = b"(xenarm) "
NOBODY = 0xFFFF_FFFF
RING_SIZE = CONFIG.LOG_RING_SIZE
assert RING_SIZE & (RING_SIZE - 1) == 0, "CONFIG_LOG_RING_SIZE must be a power of two"

ERROR, WARNING, INFO, DEBUG = range(4)  # CONFIG.LOG_LEVEL is -1 where not even errors are said

# Messages that a guest can provoke: so many at once, then so many a second (Xen's guest_loglvl ratelimit is similar).
GUEST_BURST = 10
GUEST_PER_SECOND = 2


class Terminal(Struct):
    """The line that the serial port shows: `owner` has printed to it since the last line feed, NOBODY when it is empty."""

    lock: Spinlock
    owner: u32
    shared: bool  # several domains print: every line says whose it is


class Log(Struct):
    """The newest text, oldest overwritten first."""

    levels: u32  # how many levels are said, beginning with ERROR: `loglvl=`
    written: u64  # bytes since the start
    start: u64  # counter value that the timestamps count from


class Allowance(Struct):
    """A domain's right to make the hypervisor say something."""

    lock: Spinlock
    tokens: u32
    refilled: u64  # counter value


TERMINAL = zeroed(Terminal)
TERMINAL.owner = u32(NOBODY)
LOG = zeroed(Log)
LOG.levels = u32(DEBUG + 1)
LOG_RING = place(array(u8, RING_SIZE), section=".bss.0raw" if RING_SIZE >= 4096 else "")  # a large one is worth not being cleared
ALLOWANCES = array(Allowance, CONFIG.MAX_DOMAINS)


@fn
def ring_write(text: View[u8]) -> None:
    for character in text:
        LOG_RING[LOG.written & (RING_SIZE - 1)] = character
        LOG.written += 1


@fn
def terminal_say(text: View[u8]) -> None:
    """To the serial port and the ring; the caller holds the terminal's lock."""
    ring_write(text)
    serial_write(text)


@fn
def log_raw(text: View[u8]) -> None:
    """For the panic: no lock, no prefix. Another CPU's line may be cut; nothing can wait."""
    terminal_say(text)


@fn
def raw_begin() -> None:
    log_raw(b"(xenarm) ")


@fn
def raw_end() -> None:
    log_raw(b"\n")


say = Printer(raw_begin, log_raw, raw_end)
"""A line of the panic's."""


@fn
def log_start() -> None:
    """Timestamps count from here."""
    LOG.start = arch_counter()


@fn
def log_replay() -> None:
    """Once the serial port is known: say what was logged before."""
    first = LOG.written - RING_SIZE if LOG.written > RING_SIZE else u64(0)
    for at in range(first, LOG.written):
        place = usize(at & (RING_SIZE - 1))
        serial_write(LOG_RING[place : place + 1])


@fn
def digits(value: u64, out: Slice[u8], padding: u8) -> None:
    """Decimal, right-aligned in `out`; digits that do not fit are lost."""
    rest = value
    for i in reversed(range(len(out))):
        out[i] = u8(rest % 10) + 0x30 if rest > 0 or i == len(out) - 1 or padding == 0x30 else padding
        rest = rest // 10


@fn
def say_time() -> None:
    """`[    0.001234] ` since `log_start`."""
    hz = max(arch_counter_hz(), 1)
    ticks = saturating_sub(arch_counter(), LOG.start)
    stamp = array(u8, 15)
    stamp[0] = 0x5B
    digits(ticks // hz, stamp[1:6], 0x20)
    stamp[6] = 0x2E
    digits(ticks % hz * 1_000_000 // hz, stamp[7:13], 0x30)
    stamp[13] = 0x5D
    stamp[14] = 0x20
    terminal_say(stamp)


@fn
def claim_line() -> None:
    """Whoever has begun a line begins it again later; the caller holds the terminal's lock."""
    if TERMINAL.owner != NOBODY:
        serial_write(b"\n")
        TERMINAL.owner = NOBODY


@fn
def terminal_line(text: View[u8]) -> None:
    """A line that needs neither a time nor a place in the log kept in memory."""
    with TERMINAL.lock:
        claim_line()
        serial_write(PREFIX)
        serial_write(text)
        serial_write(b"\n")


@fn
def begin() -> None:
    TERMINAL.lock.__enter__()
    claim_line()
    terminal_say(PREFIX)
    say_time()


@fn
def end() -> None:
    terminal_say(b"\n")
    TERMINAL.lock.__exit__()


def printer(level: int) -> Printer:
    """A level that the configuration leaves out costs neither time nor text; one that the boot arguments leave out costs a look at it."""

    @fn(inline=True)
    def said() -> bool:
        return level <= CONFIG.LOG_LEVEL and LOG.levels > level

    return Printer(begin, terminal_say, end, said)


@fn
def log_level(name: View[u8]) -> bool:
    """Say no more than this level, as Xen's `loglvl=` names them. False, and nothing changed, for any other word."""
    if name.equals(b"none"):
        LOG.levels = 0
    elif name.equals(b"error"):
        LOG.levels = u32(ERROR + 1)
    elif name.equals(b"warning"):
        LOG.levels = u32(WARNING + 1)
    elif name.equals(b"info"):
        LOG.levels = u32(INFO + 1)
    elif name.equals(b"debug") or name.equals(b"all"):
        LOG.levels = u32(DEBUG + 1)
    else:
        return False
    return True


log_error = printer(ERROR)
log_warning = printer(WARNING)
printk = printer(INFO)
log_debug = printer(DEBUG)


@fn
def log_says_info() -> bool:
    """Whether `printk` is said: what is costly to put into words asks first."""
    return INFO <= CONFIG.LOG_LEVEL and LOG.levels > INFO


@fn
def stage(name: View[u8]) -> None:
    """A stage of the boot; the line's timestamp says when it began."""
    printk(f"{name}")


@fn
def guest_message_allowed(domain: u32) -> bool:
    """Whether the domain may cause a line now. Everything that a guest can provoke asks first."""
    allowance = ALLOWANCES[domain]
    with allowance.lock:
        now = arch_counter()
        period = max(arch_counter_hz() // GUEST_PER_SECOND, 1)
        earned = saturating_sub(now, allowance.refilled) // period
        if allowance.refilled == 0:
            allowance.tokens = GUEST_BURST
            allowance.refilled = max(now, 1)
        elif earned > 0:
            allowance.tokens = u32(min(u64(allowance.tokens) + earned, GUEST_BURST))
            allowance.refilled += earned * period
        if allowance.tokens == 0:
            return False
        allowance.tokens -= 1
        return True
