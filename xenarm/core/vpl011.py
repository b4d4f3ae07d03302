"""The PL011 that a domain sees: a register table over a receive queue; what is sent goes straight to the console.

Pleases Linux's `pl011` (by its PrimeCell ids), its SBSA driver, and earlycon (Arm DDI 0183G; SBSA "Generic UART").
Knows no domain: `Vpl011.line` is the level of its interrupt, and the caller passes it on, after releasing the lock.
Lock order: here `Vpl011.lock` is a leaf.
"""

from collections.abc import Callable

from freestanding import Array, IntEnum, Struct, array, fn, table, u8, u32, wrapping_add, wrapping_sub
from xenarm.core.access import Outcome
from xenarm.core.spinlock import Spinlock
from xenarm.drivers.pl011_registers import (
    CR,
    DMACR,
    DR,
    FBRD,
    FIFO_DEPTH,
    FR,
    IBRD,
    ICR,
    IFLS,
    ILPR,
    IMSC,
    LCR_H,
    MIS,
    PCELL_ID,
    PERIPH_ID,
    RIS,
    RSR_ECR,
    Control,
    FifoLevels,
    Flags,
    Interrupts,
    LineControl,
)

__all__ = ["QUEUE_SIZE", "Effect", "Vpl011", "vpl011_access", "vpl011_queue", "vpl011_reset", "vpl011_room", "vpl011_room_to_send"]

QUEUE_SIZE = 512  # behind the FIFO that the guest sees; what does not fit waits in the physical port
assert QUEUE_SIZE & (QUEUE_SIZE - 1) == 0 and QUEUE_SIZE >= FIFO_DEPTH

IDS = bytes([0x11, 0x10, 0x34, 0x00, 0x0D, 0xF0, 0x05, 0xB1])  # part 0x011, designer Arm, revision r1p5; PrimeCell
TRIGGERS = table(u32, [FIFO_DEPTH * n // 8 for n in (1, 2, 4, 6, 7, 7, 7, 7)])  # by IFLS.RXIFLSEL; 5 to 7 are reserved
ALL_INTERRUPTS = 0x7FF


KEEP_ILPR, KEEP_IBRD, KEEP_FBRD, KEEP_LCR_H, KEEP_CR, KEEP_IFLS, KEEP_IMSC, KEEP_DMACR = range(8)
KEPT = 8


class Effect(IntEnum, type=u8):
    """What an access asks of the world outside the device."""

    NONE = 0
    SENT = 1  # a character for the console
    TOOK = 2  # a character was read: there is room for another


class Vpl011(Struct):
    """One serial port. The queue holds `tail - head` characters; both count modulo 2**32."""

    lock: Spinlock
    present: bool
    full: bool  # the console takes no more for now; set by it under the terminal's lock
    line: bool  # the interrupt's level
    asserted: bool  # what the domain's distributor was told of it; set by the console
    raw: u32  # UARTRIS, all but the receive bits, which follow from the queue
    kept: Array[u32] = array(u32, KEPT)  # the registers that only remember what was written
    head: u32
    tail: u32
    queue: Array[u8] = array(u8, QUEUE_SIZE)


@fn
def vpl011_reset(u: Vpl011) -> None:
    """As firmware would leave it: on, eight bits, FIFOs on. An SBSA driver sets nothing of that itself."""
    u.present = True
    u.full = False
    u.line = False
    u.asserted = False
    u.raw = 0
    u.kept.fill(0)
    u.kept[KEEP_LCR_H] = LineControl(WLEN=3, FEN=True).raw
    u.kept[KEEP_CR] = Control(UARTEN=True, TXE=True, RXE=True).raw
    u.kept[KEEP_IFLS] = FifoLevels(RXIFLSEL=2, TXIFLSEL=2).raw
    u.head = 0
    u.tail = 0


@fn
def queued(u: Vpl011) -> u32:
    return wrapping_sub(u.tail, u.head)


@fn
def depth(u: Vpl011) -> u32:
    """Of the FIFO: one character when LCR_H.FEN is off (section 3.3.7)."""
    return FIFO_DEPTH if LineControl.from_raw(u.kept[KEEP_LCR_H]).FEN else 1


@fn
def pending(u: Vpl011) -> u32:
    """UARTRIS. The receive timeout comes at once: a guest cannot tell, and never waits for a character in vain."""
    count = queued(u)
    if count == 0:
        return u.raw
    trigger = TRIGGERS[FifoLevels.from_raw(u.kept[KEEP_IFLS]).RXIFLSEL] if depth(u) > 1 else 1
    return u.raw | Interrupts(RT=True, RX=count >= trigger).raw


@fn
def update_line(u: Vpl011) -> None:
    u.line = pending(u) & u.kept[KEEP_IMSC] != 0


@fn
def vpl011_room(u: Vpl011) -> u32:
    """Characters that the queue still takes."""
    with u.lock:
        return QUEUE_SIZE - queued(u)


@fn
def vpl011_queue(u: Vpl011, character: u8) -> bool:
    """Receive a character; False, and nothing changes, when the queue is full."""
    with u.lock:
        if queued(u) == QUEUE_SIZE:
            return False
        u.queue[u.tail & (QUEUE_SIZE - 1)] = character
        u.tail = wrapping_add(u.tail, u32(1))
        update_line(u)
        return True


# ---- the registers: a read gives the whole register, a write takes it --------------------------------------------


@fn
def read_data(u: Vpl011) -> u32:
    if queued(u) == 0:
        return 0
    value = u.queue[u.head & (QUEUE_SIZE - 1)]
    u.head = wrapping_add(u.head, u32(1))
    return u32(value)


@fn
def write_data(u: Vpl011, value: u32) -> None:
    """The character is gone at once, so that the transmit FIFO passes its trigger level with each (section 2.8.2)."""
    if not u.full:
        u.raw |= Interrupts(TX=True).raw


@fn
def vpl011_room_to_send(u: Vpl011) -> None:
    """The console takes characters again, and `full` is no longer set: the FIFO has passed its trigger level."""
    with u.lock:
        u.raw |= Interrupts(TX=True).raw
        update_line(u)


@fn
def read_flags(u: Vpl011) -> u32:
    count = queued(u)
    return Flags(TXFE=not u.full, TXFF=u.full, RXFF=count >= depth(u), RXFE=count == 0, DCD=True, DSR=True, CTS=True).raw


@fn
def read_pending(u: Vpl011) -> u32:
    return pending(u)


@fn
def read_masked(u: Vpl011) -> u32:
    return pending(u) & u.kept[KEEP_IMSC]


@fn
def clear_interrupts(u: Vpl011, value: u32) -> None:
    u.raw &= ~value


@fn
def zero(u: Vpl011) -> u32:
    return 0


@fn
def ignore(u: Vpl011, value: u32) -> None:
    pass


def identity(value: int) -> Callable[[Vpl011], u32]:
    """A register with a fixed value."""

    @fn
    def read(u: Vpl011) -> u32:
        return value

    return read


def kept(slot: int) -> Callable[[Vpl011], u32]:
    """Reading a register that only remembers."""

    @fn
    def read(u: Vpl011) -> u32:
        return u.kept[slot]

    return read


def keep(slot: int, mask: int) -> Callable[[Vpl011, u32], None]:
    """Writing a register that only remembers the bits of `mask`; the interrupt may follow."""

    @fn
    def write(u: Vpl011, value: u32) -> None:
        u.kept[slot] = value & mask

    return write


class Register(Struct, frozen=True):
    """A row of the register table: 32 bits at `offset`."""

    offset: u32
    read: Callable[[Vpl011], u32]
    write: Callable[[Vpl011, u32], None]


REGISTERS = table(
    Register,
    [
        Register(DR, read_data, write_data),
        Register(RSR_ECR, zero, ignore),  # no line, no line errors
        Register(FR, read_flags, ignore),
        Register(ILPR, kept(KEEP_ILPR), keep(KEEP_ILPR, 0xFF)),
        Register(IBRD, kept(KEEP_IBRD), keep(KEEP_IBRD, 0xFFFF)),
        Register(FBRD, kept(KEEP_FBRD), keep(KEEP_FBRD, 0x3F)),
        Register(LCR_H, kept(KEEP_LCR_H), keep(KEEP_LCR_H, 0xFF)),
        Register(CR, kept(KEEP_CR), keep(KEEP_CR, 0xFF87)),
        Register(IFLS, kept(KEEP_IFLS), keep(KEEP_IFLS, 0x3F)),
        Register(IMSC, kept(KEEP_IMSC), keep(KEEP_IMSC, ALL_INTERRUPTS)),
        Register(RIS, read_pending, ignore),
        Register(MIS, read_masked, ignore),
        Register(ICR, zero, clear_interrupts),
        Register(DMACR, kept(KEEP_DMACR), keep(KEEP_DMACR, 0x7)),
        *(Register(PERIPH_ID + 4 * i, identity(value), ignore) for i, value in enumerate(IDS)),
    ],
)
assert PCELL_ID == PERIPH_ID + 16
assert all(a.offset + 4 <= b.offset for a, b in zip(REGISTERS, list(REGISTERS)[1:], strict=False)), "registers overlap"


@fn
def perform(u: Vpl011, register: Register, lane: u32, write: bool, value: u32) -> u32:
    """One access under the lock. `lane` is the first byte touched: a store beyond the first byte means no register."""
    if not write:
        return register.read(u) >> (lane * 8)
    if lane == 0:
        register.write(u, value)
    return 0


@fn
def access_effect(offset: u32, write: bool, had: u32, has: u32) -> Effect:
    if offset >= 4:
        return Effect.NONE
    if write:
        return Effect.SENT
    return Effect.TOOK if has != had else Effect.NONE


@fn
def vpl011_access(u: Vpl011, offset: u32, width: u32, write: bool, value: u32) -> tuple[Outcome, u32, Effect]:
    """A guest's load or store of 1, 2 or 4 bytes: (outcome, what a load reads, what the console has to do).

    Unknown offsets read as zero and ignore writes; a wider or misaligned access is forbidden.
    """
    if width == 0 or width > 4 or offset & (width - 1) != 0:
        return Outcome.FORBIDDEN, 0, Effect.NONE
    for register in REGISTERS:
        if register.offset <= offset < register.offset + 4:
            with u.lock:
                had = u.head
                result = perform(u, register, offset - register.offset, write, value)
                update_line(u)
                effect = access_effect(offset, write, had, u.head)
            return Outcome.HANDLED, result & (u32(0xFFFF_FFFF) >> (32 - 8 * width)), effect
    return Outcome.HANDLED, 0, Effect.NONE
