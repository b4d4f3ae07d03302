"""Planted errors: mypy must report each line marked `# bad`, and no other."""
from __future__ import annotations
from collections.abc import Callable, Iterator
from freestanding import *

class Mode(IntEnum, type=u8):
    OFF = 0
    ON = 1
class Other(IntEnum, type=u8):
    A = 0
class Cpu(Struct):
    id: u32
    wide: u64
    buf: Array[u8] = array(u8, 4)
class Val(Struct, frozen=True):
    x: u32
class Ipa(Address): ...
class Pa(Address, type=u64): ...
class Vmid(Distinct, type=u16): ...
class Asid(Distinct, type=u16): ...
class Esr(Bits, type=u64):
    EC: Mode = bits(31, 26)
    ISS: u32 = bits(24, 0)
CPUS = array(Cpu, 4)
TAB = table(u32, [1, 2])

@fn
def narrow(x: u32) -> u16:
    return x  # bad
@fn
def f32(x: u32) -> u32:
    return x
@fn
def go(a: u32, b: u64, s: i32, n: usize, c: Cpu, v: View[u8], t: Slice[u32], i: Ipa, p: Pa, vm: Vmid, e: Esr, m: Mode, val: Val) -> u32:
    a + b  # bad
    a - b  # bad
    a & b  # bad
    a == b  # bad
    a < b  # bad
    a < s  # bad
    x: u32 = b  # bad
    x = n  # bad
    x = 0
    y = x + b  # bad
    c.id = b  # bad
    c.wide = a  # bad
    c.wide += a  # bad
    f32(b)  # bad
    f32(n)  # bad
    s // 2  # bad
    s % 2  # bad
    s << 2  # bad
    -a  # bad
    1 << a  # bad
    a / 2  # bad
    a ** 2  # bad
    a << s  # bad
    v[s]  # bad
    v[0] = 1  # bad
    v[0] + a  # bad
    t[0] = b  # bad
    t[0] = v[0]  # bad
    i + a  # bad
    i + i  # bad
    i == p  # bad
    i - p  # bad
    p + n  # bad
    p - n  # bad
    q: usize = p - p  # bad
    i & 3  # bad
    i == n  # bad
    vm == Asid(3)  # bad
    vm + 1  # bad
    vm == a  # bad
    z: u16 = vm  # bad
    e.ISS = 3  # bad
    e.raw + a  # bad
    Esr(EC=3)  # bad
    Esr(ISS=b)  # bad
    Esr(NO=1)  # bad
    e.replace(ISS=b)  # bad
    w: u32 = m  # bad
    m + 1  # bad
    k: u64 = len(v)  # bad
    for j in range(a):
        j + b  # bad
    for j2, o in enumerate(v):
        j2 + a  # bad
        o + a  # bad
    for l in range(a, b):  # bad
        pass
    min(a, b)  # bad
    wrapping_add(a, b)  # bad
    checked_mul(n, b)  # bad
    val.x = 3  # bad
    Cpu(1)  # bad
    Cpu(id=b, wide=3)  # bad
    Val(x=b)  # bad
    CPUS[0].id = b  # bad
    TAB[0] = 1  # bad
    TAB[0] + b  # bad
    t.fill(b)  # bad
    t.copy_from(v)  # bad
    v.copy_from(v)  # bad
    t.load_be32(0)  # bad
    t.equals(b"")  # bad
    c.buf = 3  # bad
    narrow(b"abc")  # bad
    u = 1 if a == 3 else b
    g: u32 = u  # bad
    u32("5")  # bad
    if a:  # bad
        pass
    while n:  # bad
        pass
    r: u32 = wrapping_add(b, 1)  # bad
    h: Callable[[u64], u32] = f32  # bad
    return b  # bad
@fn
def missing(m: Mode) -> u32:  # bad
    match m:
        case Mode.OFF:
            return 1
@fn
def widths(a: u32, b: u64) -> u32:
    x = u32(0)
    b += x  # bad
    x += b  # bad
    y = truncate(u32, b)
    y + b  # bad
    ok, w = checked_add(a, 1)
    w + b  # bad
    write_once(a, b)  # bad
    b + clz(b)  # bad
    t = a if b == 2 else 5
    t + b  # bad
    for k in range(8):
        k + b  # bad
    return 1 + b  # bad
