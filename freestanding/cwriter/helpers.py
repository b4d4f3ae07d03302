"""Small C functions that expressions call; each is written out only where the program uses it."""
from __future__ import annotations

# Text by name; @T@ the type, @U@ its unsigned kin, @C@ the unsigned type it is computed in, @N@ its width, @P@ pointer type.
TEXTS: dict[str, str] = {
    "min": "HELPER @T@ min_@T@(@T@ a, @T@ b) { return b < a ? b : a; }",
    "max": "HELPER @T@ max_@T@(@T@ a, @T@ b) { return b > a ? b : a; }",
    "clz": "HELPER u32 clz_@T@(@T@ x) { return x ? (u32)__builtin_clz@L@((@C@)(@U@)x) - @PAD@u : @N@u; }",
    "ctz": "HELPER u32 ctz_@T@(@T@ x) { return x ? (u32)__builtin_ctz@L@((@C@)(@U@)x) : @N@u; }",
    "popcount": "HELPER u32 popcount_@T@(@T@ x) { return population((unsigned long long)(@U@)x); }",
    "byteswap": "HELPER @T@ byteswap_@T@(@T@ x) { return (@T@)__builtin_bswap@N@((@U@)x); }",
    "rotate_left": """HELPER @T@ rotate_left_@T@(@T@ x, u32 n) {
    return (@T@)((@U@)((@C@)(@U@)x << (n & @M@u)) | (@U@)((@U@)x >> (-n & @M@u)));
}""",
    "rotate_right": """HELPER @T@ rotate_right_@T@(@T@ x, u32 n) {
    return (@T@)((@U@)((@U@)x >> (n & @M@u)) | (@U@)((@C@)(@U@)x << (-n & @M@u)));
}""",
    "saturating_add": """HELPER @T@ saturating_add_@T@(@T@ a, @T@ b) {
    @T@ sum;
    return __builtin_add_overflow(a, b, &sum) ? @OVER@ : sum;
}""",
    "saturating_sub": """HELPER @T@ saturating_sub_@T@(@T@ a, @T@ b) {
    @T@ difference;
    return __builtin_sub_overflow(a, b, &difference) ? @UNDER@ : difference;
}""",
    "saturating_mul": """HELPER @T@ saturating_mul_@T@(@T@ a, @T@ b) {
    @T@ product;
    return __builtin_mul_overflow(a, b, &product) ? @PRODUCT@ : product;
}""",
    "checked_add": """HELPER @R@ checked_add_@T@(@T@ a, @T@ b) {
    @T@ result;
    bool over = __builtin_add_overflow(a, b, &result);
    return (@R@){ !over, result };
}""",
    "checked_sub": """HELPER @R@ checked_sub_@T@(@T@ a, @T@ b) {
    @T@ result;
    bool over = __builtin_sub_overflow(a, b, &result);
    return (@R@){ !over, result };
}""",
    "checked_mul": """HELPER @R@ checked_mul_@T@(@T@ a, @T@ b) {
    @T@ result;
    bool over = __builtin_mul_overflow(a, b, &result);
    return (@R@){ !over, result };
}""",
    "read_once": """HELPER @T@ read_once_@T@(const void *place) {
    typedef @T@ __attribute__((may_alias)) Once;
    return *(const volatile Once *)place;
}""",
    "write_once": """HELPER void write_once_@T@(void *place, @T@ value) {
    typedef @T@ __attribute__((may_alias)) Once;
    *(volatile Once *)place = value;
}""",
    "compare_swap": """HELPER @R@ compare_swap_@T@(@T@ *place, @T@ expected, @T@ new) {
    bool swapped = __atomic_compare_exchange_n(place, &expected, new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return (@R@){ swapped, expected };
}""",
    "population": """HELPER u32 population(unsigned long long x) {
#ifdef __clang__
    return (u32)__builtin_popcountll(x);
#else
    x -= (x >> 1) & 0x5555555555555555ull;
    x = (x & 0x3333333333333333ull) + ((x >> 2) & 0x3333333333333333ull);
    return (u32)(((x + (x >> 4)) & 0x0f0f0f0f0f0f0f0full) * 0x0101010101010101ull >> 56);
#endif
}""",
    "bytes_equal": """HELPER bool bytes_equal(const u8 *a, usize a_length, const u8 *b, usize b_length) {
    if (a_length != b_length)
        return false;
    if (!__builtin_constant_p(b_length) || b_length > 32)
        return __builtin_memcmp(a, b, b_length) == 0;
    u64 differ = 0, x = 0, y = 0;               /* a literal: compared in place, no call */
    usize at = 0;
    for (; b_length - at >= 8; at += 8) {
        __builtin_memcpy(&x, a + at, 8);
        __builtin_memcpy(&y, b + at, 8);
        differ |= x ^ y;
    }
    for (usize part = 4; part != 0; part /= 2)
        if (b_length & part) {
            x = y = 0;
            __builtin_memcpy(&x, a + at, part);
            __builtin_memcpy(&y, b + at, part);
            differ |= x ^ y;
            at += part;
        }
    return differ == 0;
}""",
    "bytes_compare": """HELPER i32 bytes_compare(const u8 *a, usize a_length, const u8 *b, usize b_length) {
    i32 order = __builtin_memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order != 0 ? (order < 0 ? -1 : 1) : a_length < b_length ? -1 : a_length > b_length;
}""",
    "bytes_find": """HELPER_CALLED usize bytes_find(const u8 *bytes, usize length, u8 byte) {
    usize at = 0;
#if defined(__ARM_FEATURE_UNALIGNED) || defined(__x86_64__)
    const usize ones = (usize)-1 / 255, tops = ones << 7;
    for (; length - at >= sizeof(usize); at += sizeof(usize)) {
        usize word;
        __builtin_memcpy(&word, bytes + at, sizeof word);
        word ^= ones * byte;
        word = (word - ones) & ~word & tops;    /* its lowest bit is in the first byte that is found */
        if (word != 0)
            return at + (usize)__builtin_ctzll(word) / 8;
    }
#endif
    while (at < length && bytes[at] != byte)
        at++;
    return at;
}""",
}


def load_store(kind: str, width: int, order: str) -> str:
    """A 'load' or 'store' of that many bits in that byte order ('be', 'le') at any alignment."""
    swap = f"__builtin_bswap{width}(value)" if order == "be" else "value"
    if kind == "load":
        return f"""HELPER u{width} load_{order}{width}(const u8 *bytes) {{
    u{width} value;
    __builtin_memcpy(&value, bytes, sizeof value);
    return {swap};
}}"""
    return f"""HELPER void store_{order}{width}(u8 *bytes, u{width} value) {{
    value = {swap};
    __builtin_memcpy(bytes, &value, sizeof value);
}}"""


def expand(name: str, replace: dict[str, str]) -> str:
    text = TEXTS[name]
    for key, value in replace.items():
        text = text.replace(f"@{key}@", value)
    return text
