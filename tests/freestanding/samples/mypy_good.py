"""Sound programs of the language: mypy --strict must find nothing."""
from __future__ import annotations
from collections.abc import Callable, Iterator
from freestanding import *

IRQS = 64

@fn
def index() -> u32:
    return 0

class Mode(IntEnum, type=u8):
    OFF = 0
    ON = 1
    SLEEP = 2

class Result(IntEnum, type=u8, must_use=True):
    HANDLED = 0
    UNHANDLED = 1

class Spinlock(Struct):
    value: Atomic[u32] = atomic(u32)
    @fn
    def __enter__(self) -> None:
        pass
    @fn
    def __exit__(self, *exc: object) -> None:
        self.value.store_release(0)

class Vgicd(Struct):
    lock: Spinlock
    enabled: Array[u32] = array(u32, IRQS // 32)
    ctlr: u32
    next: Vgicd | None

class Access(Struct, frozen=True):
    offset: u32
    write: bool
    value: u32

Handler = Callable[[Vgicd, u32, Access], u32]

class Reg(Struct, frozen=True):
    base: u32
    words: u32
    handler: Handler

@fn
def ctlr(d: Vgicd, n: u32, a: Access) -> u32:
    if a.write:
        d.ctlr = a.value
    return d.ctlr

def enable(on: bool) -> Handler:
    @fn
    def handler(d: Vgicd, n: u32, a: Access) -> u32:
        if a.write:
            d.enabled[n] = d.enabled[n] | a.value if on else d.enabled[n] & ~a.value
        return d.enabled[n]
    return handler

REGS = table(Reg, [Reg(0x000, 1, ctlr), Reg(0x100, IRQS // 32, enable(True)), Reg(0x180, IRQS // 32, enable(False))])
assert all(a.base + a.words * 4 <= b.base for a, b in zip(REGS, list(REGS)[1:])), "overlap"

@fn
def vgicd_access(d: Vgicd, a: Access) -> tuple[Result, u32]:
    with d.lock:
        for r in REGS:
            if r.base <= a.offset < r.base + r.words * 4:
                return Result.HANDLED, r.handler(d, (a.offset - r.base) >> 2, a)
    return Result.UNHANDLED, 0

class Esr(Bits, type=u64):
    EC: Mode = bits(31, 26)
    IL: bool = bits(25)
    ISS: u32 = bits(24, 0)

class Ipa(Address): ...
class Pa(Address, type=u64): ...
class Vmid(Distinct, type=u16): ...

class Cpu(Struct):
    id: u32
    mode: Mode

CPU = percpu(Cpu, 4, index)
DOMAINS = array(Cpu, 8)
STATE = zeroed(Vgicd)
MATRIX = array(array(u8, 4), 4)
NAMES = table(u32, [1, 2, 3])
SHARED = place(zeroed(Cpu), align=4096)

@fn
def arith(a: u32, b: u64, s: i32, n: usize) -> u64:
    x: u32 = 0
    y: u64
    y = 5
    x += 1
    x = a + 1
    x = 1 + a
    x = (a << 3) | (a >> n) & 0xFF ^ ~a
    y = b << a
    y = u64(a) + b
    if a == 0 or 5 < a <= 10:
        x = 3
    t = u32(0)
    t = a if b > 3 else 1
    for i in range(a):
        x = x + i
    for j in range(0, n, 2):
        n = n + j
    for k in range(8):
        n = n + k
    for k32 in range(u32(8)):
        x = x + k32
    z = min(a, 5)
    x = max(x, z)
    x = wrapping_add(a, 1)
    ok, x = checked_mul(a, x)
    x = truncate(u32, b)
    s = -s >> 3
    x = clz(b) + popcount(s)
    y = rotate_left(y, 5)
    x = 5 if a == 3 else 6
    q = u8(Mode.ON)
    m = Mode(q)
    if m < Mode.SLEEP:
        return 1
    return y

@fn
def addresses(i: Ipa, p: Pa, n: usize, v: Vmid) -> u64:
    j = i + n
    j = i + 4096
    j = j - 1
    d: usize = j - i
    e: u64 = p - align_down(p, 4096)
    p2 = p + e
    if p2 > p and i == j and v != Vmid(3):
        return u64(p) + e
    w = Vmid(7)
    if w == 0:
        return u64(v)
    return u64(i)

@fn
def slices(s: Slice[u8], v: View[u8], w: View[u32]) -> usize:
    s[0] = 5
    s[1] += 3
    s[2:4].copy_from(v[2:4])
    s[1:].fill(0)
    total = usize(0)
    for i, x in enumerate(v):
        total = total + i + usize(x)
    for c in v:
        total += usize(c)
    if v.equals(b"abc"):
        total += v.find(10)
    n: usize = len(s)
    for i2 in range(len(v)):
        total += i2
    x32: u32 = v.load_be32(4) + 1
    s.store_le16(0, truncate(u16, x32))
    return total + n + len(w)

@fn
def words(v: View[u32]) -> u32:
    return v[0]

@fn
def statics() -> u32:
    c = CPU.this()
    c.id = 5
    DOMAINS[0].id = 3
    DOMAINS[u32(1)].mode = Mode.ON
    MATRIX[0][1] = 5
    local = zeroed(Cpu)
    other = Cpu(3, mode=Mode.OFF)
    local.id = NAMES[1] + other.id
    t = words(STATE.enabled) + words(STATE.enabled[1:])
    slices(MATRIX[1], b"xy", STATE.enabled)
    n: Vgicd | None = STATE
    while n is not None:
        n = n.next
    a = Access(offset=1, write=True, value=2)
    return local.id + t + a.value

@fn
def regs(e: Esr) -> u64:
    f = Esr(EC=Mode.ON, IL=True)
    f = Esr()
    g = f.replace(ISS=3)
    iss: u32 = e.ISS
    match e.EC:
        case Mode.OFF:
            return 1
        case Mode.ON | Mode.SLEEP:
            return e.raw + g.raw
    
@fn
def numbers(x: u32) -> u32:
    match x:
        case 0x100:
            return 1
        case 0x200 | 0x300:
            return 2
        case _:
            return 3

@fn
def walk(n: u32) -> Iterator[u32]:
    for i in range(n):
        yield i

@fn
def gen() -> u32:
    s = u32(0)
    for i in walk(5):
        s += i
    return s

@operation(aarch64="mrs {ret}, esr_el2", pure=True)
def esr() -> u64:
    return u64(0)

@external("jump")
def jump(x: u64) -> None: ...

@export("entry")
def entry(x: u64) -> u64:
    f: Callable[[u64], u64] | None = entry
    if f is not None:
        return f(1)
    p = Ptr[Cpu](0x1000)
    p.ref().id = 3
    return esr() + 1

@fn
def begin() -> None: ...
@fn
def write(t: View[u8]) -> None: ...
printk = Printer(begin, write, begin)
@fn
def say(n: u32, name: View[u8]) -> None:
    printk(f"vcpu {n:d} {name}")
    write(b"hello")
TEXT = linker_symbol("__text")
@fn
def sym() -> usize:
    return TEXT + address_of(STATE)
for k in range(4):
    print(1 << k)
