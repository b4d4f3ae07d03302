"""SHA-256 (FIPS 180-4), without the padding: whole blocks."""

from freestanding import Array, Ptr, Slice, Struct, View, array, export, fn, rotate_right, table, u8, u32, u64, usize, wrapping_add, zeroed

MAPS_MEMORY = True
START = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
STARTS = table(u32, START)
K = table(
    u32,
    [
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    ],
)


class State(Struct):
    h: Array[u32] = array(u32, 8)


@fn
def schedule(w: Slice[u32], block: View[u8]) -> None:
    for i in range(usize(16)):
        w[i] = block.load_be32(i * 4)
    for i in range(usize(16), 64):
        x = w[i - 15]
        y = w[i - 2]
        s0 = rotate_right(x, 7) ^ rotate_right(x, 18) ^ (x >> 3)
        s1 = rotate_right(y, 17) ^ rotate_right(y, 19) ^ (y >> 10)
        w[i] = wrapping_add(wrapping_add(w[i - 16], s0), wrapping_add(w[i - 7], s1))


@fn
def compress(state: State, block: View[u8]) -> None:
    w = array(u32, 64)
    schedule(w, block)
    a = state.h[0]
    b = state.h[1]
    c = state.h[2]
    d = state.h[3]
    e = state.h[4]
    f = state.h[5]
    g = state.h[6]
    h = state.h[7]
    for i in range(usize(64)):
        s1 = rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25)
        t1 = wrapping_add(wrapping_add(wrapping_add(h, s1), (e & f) ^ (~e & g)), wrapping_add(K[i], w[i]))
        s0 = rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22)
        t2 = wrapping_add(s0, (a & b) ^ (a & c) ^ (b & c))
        h = g
        g = f
        f = e
        e = wrapping_add(d, t1)
        d = c
        c = b
        b = a
        a = wrapping_add(t1, t2)
    state.h[0] = wrapping_add(state.h[0], a)
    state.h[1] = wrapping_add(state.h[1], b)
    state.h[2] = wrapping_add(state.h[2], c)
    state.h[3] = wrapping_add(state.h[3], d)
    state.h[4] = wrapping_add(state.h[4], e)
    state.h[5] = wrapping_add(state.h[5], f)
    state.h[6] = wrapping_add(state.h[6], g)
    state.h[7] = wrapping_add(state.h[7], h)


@fn
def sha256(data: View[u8], out: Slice[u32]) -> u32:
    state = zeroed(State)
    for i, value in enumerate(STARTS):
        state.h[i] = value
    at = usize(0)
    while len(data) - at >= 64:
        compress(state, data[at : at + 64])
        at += 64
    out.copy_from(state.h)
    return state.h[0]


@export("kernel")
def kernel(data: u64, size: u64, out: u64, seed: u64) -> u64:
    return u64(sha256(Ptr[u8](usize(data)).slice(usize(size)), Ptr[u32](usize(out)).slice(8)))
