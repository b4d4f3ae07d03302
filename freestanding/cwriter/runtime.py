"""The few functions that compilers call by themselves, for images that link against no library."""
from __future__ import annotations

# `runtime_word` may be unaligned: a compiler that must not access unaligned words (-mstrict-align) splits it into bytes itself.
_COMMON = r'''
/* Runtime: what a compiler may call without being asked. */
typedef usize __attribute__((may_alias, aligned(1))) runtime_word;
#if defined(__SIZEOF_INT128__)
typedef unsigned __int128 __attribute__((may_alias, aligned(1))) runtime_pair;     /* two registers by one instruction */
#else
typedef unsigned long long __attribute__((may_alias, aligned(1))) runtime_pair;
#endif
#if defined(__clang__)
#define RUNTIME __attribute__((used, visibility("hidden"), no_builtin))
#else
#define RUNTIME __attribute__((used, visibility("hidden"), optimize("no-tree-loop-distribute-patterns")))
#endif
'''

_FORWARD = r'''
static inline __attribute__((always_inline)) void copy_eight(runtime_pair *target, const runtime_pair *source) {
    runtime_pair a = source[0], b = source[1], c = source[2], d = source[3];
    runtime_pair e = source[4], f = source[5], g = source[6], h = source[7];
    target[0] = a, target[1] = b, target[2] = c, target[3] = d;
    target[4] = e, target[5] = f, target[6] = g, target[7] = h;
}
static inline __attribute__((always_inline)) void copy_forward(u8 *out, const u8 *in, usize size) {
    for (; size >= 32 * sizeof(runtime_pair); size -= 32 * sizeof(runtime_pair), out += 32 * sizeof(runtime_pair), in += 32 * sizeof(runtime_pair)) {
        const runtime_pair *source = (const runtime_pair *)in;
        runtime_pair *target = (runtime_pair *)out;
        copy_eight(target, source);
        copy_eight(target + 8, source + 8);
        copy_eight(target + 16, source + 16);
        copy_eight(target + 24, source + 24);
    }
    for (; size >= 4 * sizeof(runtime_pair); size -= 4 * sizeof(runtime_pair), out += 4 * sizeof(runtime_pair), in += 4 * sizeof(runtime_pair)) {
        const runtime_pair *source = (const runtime_pair *)in;
        runtime_pair *target = (runtime_pair *)out;
        runtime_pair a = source[0], b = source[1], c = source[2], d = source[3];
        target[0] = a, target[1] = b, target[2] = c, target[3] = d;
    }
    for (; size >= sizeof(runtime_word); size -= sizeof(runtime_word), out += sizeof(runtime_word), in += sizeof(runtime_word))
        *(runtime_word *)out = *(const runtime_word *)in;
    for (; size != 0; size--)
        *out++ = *in++;
}
'''

_MEMCPY = r'''
RUNTIME void *memcpy(void *to, const void *from, __SIZE_TYPE__ size) {
    copy_forward(to, from, size);
    return to;
}
'''

_MEMMOVE = r'''
RUNTIME void *memmove(void *to, const void *from, __SIZE_TYPE__ size) {
    u8 *out = to;
    const u8 *in = from;
    if ((usize)to - (usize)from >= size) {
        copy_forward(out, in, size);
        return to;
    }
    out += size;
    in += size;
    for (; size >= sizeof(runtime_word); size -= sizeof(runtime_word)) {
        out -= sizeof(runtime_word);
        in -= sizeof(runtime_word);
        *(runtime_word *)out = *(const runtime_word *)in;
    }
    for (; size != 0; size--)
        *--out = *--in;
    return to;
}
'''

_MEMSET = r'''
RUNTIME void *memset(void *to, int byte, __SIZE_TYPE__ size) {
    u8 *out = to;
    usize word = (u8)byte * ((usize)-1 / 255);
    for (; size >= 8 * sizeof(runtime_word); size -= 8 * sizeof(runtime_word), out += 8 * sizeof(runtime_word)) {
        runtime_word *target = (runtime_word *)out;
        target[0] = word, target[1] = word, target[2] = word, target[3] = word;
        target[4] = word, target[5] = word, target[6] = word, target[7] = word;
    }
    for (; size >= sizeof(runtime_word); size -= sizeof(runtime_word), out += sizeof(runtime_word))
        *(runtime_word *)out = word;
    for (; size != 0; size--)
        *out++ = (u8)byte;
    return to;
}
'''

_MEMCMP = r'''
RUNTIME int memcmp(const void *left, const void *right, __SIZE_TYPE__ size) {
    const u8 *a = left, *b = right;
    for (; size >= sizeof(runtime_word) && *(const runtime_word *)a == *(const runtime_word *)b; size -= sizeof(runtime_word), a += sizeof(runtime_word), b += sizeof(runtime_word))
        ;
    for (; size != 0; size--, a++, b++)
        if (*a != *b)
            return *a - *b;
    return 0;
}
'''

_BCMP = r'''
RUNTIME int bcmp(const void *left, const void *right, __SIZE_TYPE__ size) { return memcmp(left, right, size); }
'''

_DIVIDE32 = r'''
static u32 divide_u32(u32 n, u32 d, u32 *rest) {
    u32 quotient = 0;
    if (d != 0 && n >= d)
        for (int shift = __builtin_clz(d) - __builtin_clz(n); shift >= 0; shift--)
            if (n >= d << shift) {
                n -= d << shift;
                quotient |= 1u << shift;
            }
    *rest = n;
    return quotient;
}
RUNTIME u32 __aeabi_uidiv(u32 n, u32 d) { u32 rest; return divide_u32(n, d, &rest); }
RUNTIME u64 __aeabi_uidivmod(u32 n, u32 d) { u32 rest; u32 quotient = divide_u32(n, d, &rest); return (u64)rest << 32 | quotient; }
'''

# The EABI wants quotient and remainder in r0-r3, which no C type is returned in: stubs load them from memory.
_DIVIDE64 = r'''
typedef struct { u64 quotient, rest; } runtime_divided;
RUNTIME void divide_u64(u64 n, u64 d, runtime_divided *out) {
    u64 quotient = 0;
    if (d != 0 && n >= d)
        for (int shift = __builtin_clzll(d) - __builtin_clzll(n); shift >= 0; shift--)
            if (n >= d << shift) {
                n -= d << shift;
                quotient |= 1ull << shift;
            }
    *out = (runtime_divided){ quotient, n };
}
RUNTIME void divide_i64(i64 n, i64 d, runtime_divided *out) {
    divide_u64(n < 0 ? -(u64)n : (u64)n, d < 0 ? -(u64)d : (u64)d, out);
    out->quotient = (n < 0) != (d < 0) ? -out->quotient : out->quotient;
    out->rest = n < 0 ? -out->rest : out->rest;
}
__asm__(".pushsection .text,\"ax\",%progbits\n.balign 4\n"
        ".globl __aeabi_uldivmod\n.type __aeabi_uldivmod,%function\n__aeabi_uldivmod:\n"
        "push {r11, lr}\nsub sp, sp, #24\nadd r12, sp, #8\nstr r12, [sp]\nbl divide_u64\n"
        "ldrd r0, r1, [sp, #8]\nldrd r2, r3, [sp, #16]\nadd sp, sp, #24\npop {r11, pc}\n"
        ".globl __aeabi_ldivmod\n.type __aeabi_ldivmod,%function\n__aeabi_ldivmod:\n"
        "push {r11, lr}\nsub sp, sp, #24\nadd r12, sp, #8\nstr r12, [sp]\nbl divide_i64\n"
        "ldrd r0, r1, [sp, #8]\nldrd r2, r3, [sp, #16]\nadd sp, sp, #24\npop {r11, pc}\n.popsection");
'''

_SHIFTS = r'''
RUNTIME u64 __aeabi_llsl(u64 x, int n) {
    u32 low = (u32)x, high = (u32)(x >> 32);
    return n >= 32 ? (u64)(low << (n - 32)) << 32 : (u64)(high << n | (n ? low >> (32 - n) : 0)) << 32 | low << n;
}
RUNTIME u64 __aeabi_llsr(u64 x, int n) {
    u32 low = (u32)x, high = (u32)(x >> 32);
    return n >= 32 ? high >> (n - 32) : (u64)(high >> n) << 32 | (low >> n | (n ? high << (32 - n) : 0));
}
'''


def _aeabi(name: str, params: str, call: str) -> str:
    return f"RUNTIME void {name}({params}) {{ {call}; }}\n"


_COPY, _SET, _CLEAR = "void *to, const void *from, usize size", "void *to, usize size, int byte", "void *to, usize size"

# What each symbol needs before it, and its text.
_FUNCTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "copy_forward": ((), _FORWARD),
    "memcpy": (("copy_forward",), _MEMCPY),
    "memmove": (("copy_forward",), _MEMMOVE),
    "memset": ((), _MEMSET),
    "memcmp": ((), _MEMCMP),
    "bcmp": (("memcmp",), _BCMP),
}

_DIVISION = {"__aeabi_uidiv": _DIVIDE32, "__aeabi_uidivmod": _DIVIDE32, "__aeabi_uldivmod": _DIVIDE64,
             "__aeabi_ldivmod": _DIVIDE64, "__aeabi_llsl": _SHIFTS, "__aeabi_llsr": _SHIFTS}

_ARMV7: dict[str, tuple[tuple[str, ...], str]] = {
    **{f"__aeabi_memcpy{n}": (("memcpy",), _aeabi(f"__aeabi_memcpy{n}", _COPY, "memcpy(to, from, size)")) for n in ("", "4", "8")},
    **{f"__aeabi_memmove{n}": (("memmove",), _aeabi(f"__aeabi_memmove{n}", _COPY, "memmove(to, from, size)")) for n in ("", "4", "8")},
    **{f"__aeabi_memset{n}": (("memset",), _aeabi(f"__aeabi_memset{n}", _SET, "memset(to, byte, size)")) for n in ("", "4", "8")},
    **{f"__aeabi_memclr{n}": (("memset",), _aeabi(f"__aeabi_memclr{n}", _CLEAR, "memset(to, 0, size)")) for n in ("", "4", "8")},
    **{name: ((), text) for name, text in _DIVISION.items()},
}


def runtime_names(arch: str) -> frozenset[str]:
    """The symbols the runtime can provide on that architecture. The host has its own."""
    if arch == "host":
        return frozenset()
    return frozenset(_FUNCTIONS) - {"copy_forward"} | (frozenset(_ARMV7) if arch == "armv7" else frozenset())


def runtime(arch: str, wanted: frozenset[str], defined: frozenset[str] = frozenset()) -> str:
    """C text of the wanted runtime functions and what they need, less those that the program itself defines."""
    functions = _FUNCTIONS | (_ARMV7 if arch == "armv7" else {})
    needed: list[str] = []

    def add(name: str) -> None:
        if name not in functions or name in defined or functions[name][1] in needed:
            return
        for before in functions[name][0]:
            add(before)
        needed.append(functions[name][1])

    for name in sorted(wanted):
        add(name)
    return "\n".join([_COMMON.strip(), *(text.strip() for text in needed)]) if needed else ""


TYPES = '''typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned long usize;
typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef long isize;
typedef _Bool bool;
#define true ((bool)1)
#define false ((bool)0)
#define NULL ((void *)0)'''
