"""What a hypervisor does first on a trap: the syndrome becomes a typed exit, and a counter by its kind."""

from freestanding import Array, Bits, IntEnum, Ptr, Struct, View, array, bits, export, fn, u8, u32, u64, usize, wrapping_add, wrapping_mul, zeroed

MAPS_MEMORY = True


class Kind(IntEnum, type=u32):
    UNKNOWN = 0
    WAIT = 1
    HYPERCALL = 2
    SYSTEM_REGISTER = 3
    LOAD = 4
    STORE = 5
    FETCH = 6


class Esr(Bits, type=u64):
    EC: u32 = bits(31, 26)
    IL: bool = bits(25)
    ISS: u32 = bits(24, 0)


class Abort(Bits, type=u64):
    ISV: bool = bits(24)
    SAS: u32 = bits(23, 22)
    SSE: bool = bits(21)
    SRT: u32 = bits(20, 16)
    SF: bool = bits(15)
    WNR: bool = bits(6)


class Exit(Struct, frozen=True):
    kind: Kind
    register: u32
    width: u32
    signed: bool


class Counts(Struct):
    by_kind: Array[u32] = array(u32, 7)


COUNTS = zeroed(Counts)


@fn
def exit_of(kind: Kind, register: u32) -> Exit:
    return Exit(kind=kind, register=register, width=0, signed=False)


@fn
def decode_abort(esr: u64) -> Exit:
    a = Abort.from_raw(esr)
    if not a.ISV:
        return exit_of(Kind.UNKNOWN, 0)
    return Exit(kind=Kind.STORE if a.WNR else Kind.LOAD, register=a.SRT, width=u32(1) << a.SAS, signed=a.SSE)


@fn
def decode(raw: u64) -> Exit:
    esr = Esr.from_raw(raw)
    match esr.EC:
        case 0x01:
            return exit_of(Kind.WAIT, esr.ISS & 1)
        case 0x12 | 0x16:
            return exit_of(Kind.HYPERCALL, esr.ISS & 0xFFFF)
        case 0x18:
            return exit_of(Kind.SYSTEM_REGISTER, esr.ISS >> 5 & 31)
        case 0x20:
            return exit_of(Kind.FETCH, 0)
        case 0x24:
            return decode_abort(raw)
        case _:
            return exit_of(Kind.UNKNOWN, esr.EC)


@fn
def run(syndromes: View[u32]) -> u64:
    check = u64(0)
    for syndrome in syndromes:
        e = decode(u64(syndrome))
        COUNTS.by_kind[u32(e.kind)] += 1
        fields = u64(e.register) << 8 | u64(e.width) << 2 | (1 if e.signed else 0)
        check = wrapping_add(wrapping_mul(check, u64(31)), fields)
    for count in COUNTS.by_kind:
        check = wrapping_add(wrapping_mul(check, u64(31)), u64(count))
    return check


@export("kernel")
def kernel(data: u64, size: u64, out: u64, seed: u64) -> u64:
    return run(Ptr[u32](usize(data)).slice(usize(size) // 4))
