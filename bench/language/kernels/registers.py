"""A virtual distributor: a table of registers with a handler each, and accesses all over it."""

from collections.abc import Callable
from typing import Any

from freestanding import Array, IntEnum, Slice, Struct, array, export, fn, table, u8, u32, u64, wrapping_add, wrapping_mul, zeroed

IRQS = 256
WORDS = IRQS // 32


class Outcome(IntEnum, type=u8, must_use=True):
    HANDLED = 0
    UNHANDLED = 1


class Distributor(Struct):
    control: u32
    enabled: Array[u32] = array(u32, WORDS)
    pending: Array[u32] = array(u32, WORDS)
    priority: Array[u32] = array(u32, IRQS // 4)
    config: Array[u32] = array(u32, IRQS // 16)


class Access(Struct, frozen=True):
    offset: u32
    write: bool
    value: u32


Handler = Callable[[Distributor, u32, Access], u32]


class Register(Struct, frozen=True):
    base: u32
    words: u32
    handler: Callable[[Distributor, u32, Access], u32]


@fn
def control(d: Distributor, n: u32, a: Access) -> u32:
    if a.write:
        d.control = a.value & 1
    return d.control


@fn
def typer(d: Distributor, n: u32, a: Access) -> u32:
    return WORDS - 1


def bits_of(name: str, on: bool) -> Any:
    """One source for setting and for clearing."""

    @fn
    def handler(d: Distributor, n: u32, a: Access) -> u32:
        words: Slice[u32] = getattr(d, name)
        if a.write:
            words[n] = words[n] | a.value if on else words[n] & ~a.value
        return words[n]

    return handler


def plain(name: str, mask: int) -> Any:
    """A register that keeps what is written to the bits of `mask`."""

    @fn
    def handler(d: Distributor, n: u32, a: Access) -> u32:
        words: Slice[u32] = getattr(d, name)
        if a.write:
            words[n] = a.value & mask
        return words[n]

    return handler


REGISTERS = table(
    Register,
    [
        Register(0x000, 1, control),
        Register(0x004, 1, typer),
        Register(0x100, WORDS, bits_of("enabled", True)),
        Register(0x180, WORDS, bits_of("enabled", False)),
        Register(0x200, WORDS, bits_of("pending", True)),
        Register(0x280, WORDS, bits_of("pending", False)),
        Register(0x400, IRQS // 4, plain("priority", 0xF8F8_F8F8)),
        Register(0xC00, IRQS // 16, plain("config", 0xAAAA_AAAA)),
    ],
)
DISTRIBUTOR = zeroed(Distributor)


@fn
def access(d: Distributor, a: Access) -> tuple[Outcome, u32]:
    for r in REGISTERS:
        if r.base <= a.offset < r.base + r.words * 4:
            return Outcome.HANDLED, r.handler(d, (a.offset - r.base) >> 2, a)
    return Outcome.UNHANDLED, 0


@export("kernel")
def kernel(data: u64, size: u64, out: u64, seed: u64) -> u64:
    state = seed
    check = u64(0)
    for _ in range(size):
        state = wrapping_add(wrapping_mul(state, u64(6364136223846793005)), u64(1442695040888963407))
        offset = u32(state >> 40 & 0x3FC) | u32(state >> 33 & 0xC00)
        outcome, value = access(DISTRIBUTOR, Access(offset=offset, write=state >> 63 != 0, value=u32(state >> 8 & 0xFFFF_FFFF)))
        if outcome == Outcome.HANDLED:
            check = wrapping_add(wrapping_mul(check, u64(31)), u64(value))
    return check
