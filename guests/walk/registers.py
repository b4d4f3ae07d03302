"""The registers with some bits for each interrupt, single ones, reserved ones, and accesses of every size: what distributor and redistributor share.

A register's answer is what it reads as at first, after all ones, after all zeros, and a hash of what it reads as after each single bit.
"""

from collections.abc import Callable

from freestanding import Struct, View, fn, truncate, u8, u32, u64, wrapping_mul, zeroed
from guests.runtime.console import printk
from guests.walk.access import WIDTHS, load, store
from guests.walk.report import Answer, Run, run_add, run_end, say1, say2, say4

__all__ = [
    "ABORT",
    "ALL",
    "FRAME",
    "Frame",
    "fill",
    "hashed",
    "pattern",
    "peek",
    "poke",
    "walk_bytes",
    "walk_identity",
    "walk_one",
    "walk_pair",
    "walk_plain",
    "walk_range",
    "walk_reserved",
    "walk_sizes",
    "walk_zeros",
]

ALL = 0xFFFF_FFFF
ABORT = 0xDEAD_DEAD
HASH = 0x0100_0193
BYTE = 0  # logarithm of its size
WORD = 2  # logarithm of four bytes
ANSWERS = 0  # of an access
ABORTS = 1
ZERO = 2
ARRAY = 32  # words of an array with a bit for each interrupt


class Frame(Struct):
    """Where interrupts have their registers, and which: words of 32 interrupts from `first` to `end` are implemented, of `own` words the CPU's own."""

    base: u64
    own: u32
    end: u32


FRAME = zeroed(Frame)


@fn
def peek(address: u64) -> u32:
    """A register of four bytes."""
    aborted, value = load(address, WORD)
    return u32(ABORT) if aborted else truncate(u32, value)


@fn
def poke(address: u64, value: u32) -> None:
    store(address, WORD, u64(value))


@fn
def hashed(hash: u32, value: u32) -> u32:
    return wrapping_mul(hash ^ value, u32(HASH)) ^ hash >> 15


# ---- one register -----------------------------------------------------------------------------------------------------


@fn
def try_plain(address: u64) -> Answer:
    """What is stored is there, as far as the register keeps it; it is put back."""
    before = peek(address)
    poke(address, ALL)
    ones = peek(address)
    poke(address, 0)
    zeros = peek(address)
    hash = u32(0)
    for bit in range(u32(32)):
        poke(address, u32(1) << bit)
        hash = hashed(hash, peek(address))
    poke(address, before)
    return Answer(before, ones, zeros, hash)


@fn
def try_set_clear(set_at: u64, clear_at: u64) -> Answer:
    """Ones set bits in one register and clear them in the other, zeros do nothing; both read the same. What was set is set again."""
    before = peek(set_at)
    poke(set_at, ALL)
    ones = peek(set_at)
    poke(set_at, 0)
    poke(clear_at, 0)
    hash = hashed(peek(set_at), peek(clear_at))
    poke(clear_at, ALL)
    zeros = peek(set_at)
    hash = hashed(hash, peek(clear_at))
    for bit in range(u32(32)):
        poke(set_at, u32(1) << bit)
        hash = hashed(hash, peek(clear_at))
    for bit in range(u32(32)):
        poke(clear_at, u32(1) << bit)
        hash = hashed(hash, peek(set_at))
    poke(set_at, before)
    return Answer(before, ones, zeros, hash)


@fn
def walk_one(name: View[u8], address: u64) -> None:
    x = try_plain(address)
    say4(name, u64(x.a), u64(x.b), u64(x.c), u64(x.d))


# ---- arrays -----------------------------------------------------------------------------------------------------------


@fn
def walk_part(name: View[u8], part: View[u8], set_at: u64, clear_at: u64, first: u32, end: u32) -> None:
    """Registers from number `first`; `clear_at` 0: they are plain."""
    run = zeroed(Run)
    for n in range(first, end):
        at = u64(n * 4)
        answer = try_plain(set_at + at) if clear_at == 0 else try_set_clear(set_at + at, clear_at + at)
        run_add(name, part, run, n - first, end - first, answer)
    run_end(name, part, run)


@fn
def walk_array(name: View[u8], set_at: u64, clear_at: u64, bits: u32) -> None:
    """The CPU's own interrupts, shared ones, and those that there could be."""
    walk_part(name, b"own", set_at, clear_at, 0, FRAME.own * bits)
    walk_part(name, b"shared", set_at, clear_at, FRAME.own * bits, FRAME.end * bits)
    walk_part(name, b"beyond", set_at, clear_at, FRAME.end * bits, ARRAY * bits)


@fn
def walk_plain(name: View[u8], offset: u32, bits: u32) -> None:
    """`bits` for each interrupt."""
    walk_array(name, FRAME.base + u64(offset), 0, bits)


@fn
def walk_pair(name: View[u8], set_at: u32, clear_at: u32) -> None:
    walk_array(name, FRAME.base + u64(set_at), FRAME.base + u64(clear_at), 1)


@fn
def fill(offset: u32, bits: u32, value: u32) -> None:
    """Store a value to all of an array's registers of shared interrupts."""
    for n in range(FRAME.own * bits, FRAME.end * bits):
        poke(FRAME.base + u64(offset + n * 4), value)


@fn
def pattern(offset: u32, words: u32) -> None:
    """Something else in each register, of which every bit is kept where priorities have five."""
    for n in range(words):
        poke(FRAME.base + u64(offset + n * 4), (wrapping_mul(n, u32(0x0810_1808)) ^ 0xA050_F808) & 0xF8F8_F8F8)


@fn
def try_reserved(address: u64) -> Answer:
    before = peek(address)
    poke(address, ALL)
    ones = peek(address)
    poke(address, 0)
    zeros = peek(address)
    poke(address, before)
    return Answer(before, ones, zeros, 0)


@fn
def walk_reserved(name: View[u8], first: u32, end: u32) -> None:
    """As `walk_range`, with ones and zeros alone."""
    run = zeroed(Run)
    for offset in range(first, end, u32(4)):
        run_add(name, b"at", run, offset, end, try_reserved(FRAME.base + u64(offset)))
    run_end(name, b"at", run)


@fn
def walk_identity(made_by: u32, ids: u32) -> None:
    """GICD_IIDR or GICR_IIDR, and the twelve identification registers."""
    say1(b"iidr", u64(peek(FRAME.base + u64(made_by))))
    for n in range(u32(12)):
        say2(b"id", u64(n), u64(peek(FRAME.base + u64(ids + n * 4))))


@fn
def walk_range(name: View[u8], first: u32, end: u32) -> None:
    """Registers by their offsets, reserved ones or read-only ones."""
    run = zeroed(Run)
    for offset in range(first, end, u32(4)):
        run_add(name, b"at", run, offset, end, try_plain(FRAME.base + u64(offset)))
    run_end(name, b"at", run)


# ---- sizes ------------------------------------------------------------------------------------------------------------


@fn
def walk_bytes(name: View[u8], first: u32, end: u32, mask: u32) -> None:
    """Registers of bytes, loaded by bytes, by which bytes are then stored, other ones; and what words of them are in the end, less what `mask` has not."""
    hash = u32(0)
    for offset in range(first, end):
        _, value = load(FRAME.base + u64(offset), BYTE)
        hash = hashed(hash, truncate(u32, value))
        store(FRAME.base + u64(offset), BYTE, ~value)
    words = u32(0)
    for offset in range(first, end, u32(4)):
        words = hashed(words, peek(FRAME.base + u64(offset)) & mask)
    say2(name, u64(hash), u64(words))


@fn
def load_of(address: u64, width: u32) -> u32:
    aborted, _ = load(address, width)
    return u32(ABORTS) if aborted else u32(ANSWERS)


@fn
def zero_of(address: u64, width: u32) -> u32:
    aborted, value = load(address, width)
    return u32(ABORTS) if aborted else u32(ANSWERS) if value != 0 else u32(ZERO)


@fn
def store_back(address: u64, width: u32) -> u32:
    _, value = load(address, width)
    return u32(ABORTS) if store(address, width, value) else u32(ANSWERS)


@fn
def walk_sizes(name: View[u8], first: u32, end: u32) -> None:
    """Loads of each width from every offset, and stores of what was loaded: which abort."""
    for width in range(u32(WIDTHS)):
        runs_of(name, b"loads", first, end, width, load_of)
        runs_of(name, b"stores", first, end, width, store_back)


@fn
def walk_zeros(name: View[u8], first: u32, end: u32) -> None:
    """Loads of each width: what is not zero."""
    for width in range(u32(WIDTHS)):
        runs_of(name, b"loads", first, end, width, zero_of)


@fn
def runs_of(name: View[u8], part: View[u8], first: u32, end: u32, width: u32, outcome_of: Callable[[u64, u32], u32]) -> None:
    """A line for each run of offsets with the same outcome."""
    start = first
    before = u32(ANSWERS)
    for n in range(first >> width, end >> width):
        offset = n << width
        outcome = outcome_of(FRAME.base + u64(offset), width)
        if outcome != before and offset != first:
            say_run(name, part, u32(1) << width, start, offset, before)
            start = offset
        before = outcome
    say_run(name, part, u32(1) << width, start, end, before)


@fn
def say_run(name: View[u8], part: View[u8], width: u32, start: u32, end: u32, outcome: u32) -> None:
    what: View[u8] = b"abort" if outcome == ABORTS else b"zero" if outcome == ZERO else b"answer"
    printk(f"walk {name} {part} of {width} at {start:#x}-{end - 1:#x} {what}")
