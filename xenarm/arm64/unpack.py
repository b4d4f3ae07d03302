"""What a compressed image begins with: it moves itself out of the way, unpacks the image to where the loader put it, and starts that.

The data is LZMA (the LZMA specification of the LZMA SDK) without a header: its parameters are constants here, its size is given.
Branches in it have absolute targets instead of distances, which repeat and so pack better. The MMU is off: accesses are aligned.
"""

from freestanding import Array, Ptr, Slice, Struct, View, array, assembly, export, fn, truncate, u8, u16, u32, usize, wrapping_sub, zeroed

__all__ = ["CFLAGS", "LC", "LINKER_SCRIPT", "LP", "PARAMETERS", "PB", "PROBABILITIES", "STACK", "STRICT_ALIGN", "branches_to_distances", "unpack"]

MAPS_MEMORY = True
STRICT_ALIGN = True
CFLAGS = ("-fomit-frame-pointer",)

LC, LP, PB = 1, 2, 2  # bits of the byte before, of the position, for literals; of the position, for the rest
STACK = 0x1000
PARAMETERS = 64  # offset of four words, filled in by xenarm/tools/pack.py: room, file size, image size, where the data begins

BITS_MODEL = 11  # of a probability
MOVE = 5
TOP = 1 << 24
STATES = 12
AFTER_LITERAL = 7  # states below follow one

# Where the probabilities of each kind of decision are.
IS_MATCH = 0
IS_REP = IS_MATCH + (STATES << PB)
IS_REP_0 = IS_REP + STATES
IS_REP_1 = IS_REP_0 + STATES
IS_REP_2 = IS_REP_1 + STATES
IS_REP_0_LONG = IS_REP_2 + STATES
SLOT = IS_REP_0_LONG + (STATES << PB)
SPECIAL = SLOT + 4 * 64
ALIGN = SPECIAL + 1 + 128 - 14
LENGTH = ALIGN + 16
LENGTH_LOW, LENGTH_MIDDLE, LENGTH_HIGH = 2, 2 + (8 << PB), 2 + (16 << PB)
LENGTH_SIZE = LENGTH_HIGH + 256
REP_LENGTH = LENGTH + LENGTH_SIZE
LITERAL = REP_LENGTH + LENGTH_SIZE
PROBABILITIES = LITERAL + (0x300 << (LC + LP))


class Decoder(Struct):
    """The range decoder, with the probabilities that it learns."""

    at: usize  # in the data
    range: u32
    code: u32
    old: bool  # the newest match had a distance of before
    reps: Array[u32] = array(u32, 4)  # the latest distances, less one


@fn(inline=True)
def next_byte(d: Decoder, data: View[u8]) -> u8:
    """Beyond the end there are zeros: damaged data gives a damaged image, and nothing else."""
    d.at += 1
    return data[d.at - 1] if d.at <= len(data) else u8(0)


@fn(inline=False)
def decide(d: Decoder, data: View[u8], p: Slice[u16], at: u32) -> u32:
    """One bit by a probability."""
    chance = u32(p[usize(at)])
    bound = (d.range >> BITS_MODEL) * chance
    bit = u32(0)
    if d.code < bound:
        d.range = bound
        chance += ((1 << BITS_MODEL) - chance) >> MOVE
    else:
        d.range -= bound
        d.code -= bound
        chance -= chance >> MOVE
        bit = 1
    p[usize(at)] = u16(chance)
    if d.range < TOP:
        d.range = d.range << 8
        d.code = d.code << 8 | u32(next_byte(d, data))
    return bit


@fn(inline=False)
def tree(d: Decoder, data: View[u8], p: Slice[u16], at: u32, bits: u32) -> u32:
    """So many bits, the highest first."""
    m = u32(1)
    for _ in range(bits):
        m = m << 1 | decide(d, data, p, at + m)
    return m - (u32(1) << bits)


@fn(inline=False)
def reverse_tree(d: Decoder, data: View[u8], p: Slice[u16], at: u32, bits: u32) -> u32:
    """So many bits, the lowest first."""
    m = u32(1)
    value = u32(0)
    for i in range(bits):
        bit = decide(d, data, p, at + m)
        m = m << 1 | bit
        value |= bit << i
    return value


@fn(inline=False)
def direct(d: Decoder, data: View[u8], bits: u32) -> u32:
    """So many bits that are as likely 0 as 1."""
    value = u32(0)
    for _ in range(bits):
        d.range = d.range >> 1
        bit = u32(1) if d.code >= d.range else u32(0)
        if bit != 0:
            d.code -= d.range
        value = value << 1 | bit
        if d.range < TOP:
            d.range = d.range << 8
            d.code = d.code << 8 | u32(next_byte(d, data))
    return value


@fn(inline=False)
def length(d: Decoder, data: View[u8], p: Slice[u16], at: u32, place: u32) -> u32:
    """Of a match, less two."""
    if decide(d, data, p, at) == 0:
        return tree(d, data, p, at + LENGTH_LOW + (place << 3), 3)
    if decide(d, data, p, at + 1) == 0:
        return tree(d, data, p, at + LENGTH_MIDDLE + (place << 3), 3) + 8
    return tree(d, data, p, at + LENGTH_HIGH, 8) + 16


@fn
def distance(d: Decoder, data: View[u8], p: Slice[u16], size: u32) -> u32:
    """Of a new match of a length, less one."""
    slot = tree(d, data, p, SLOT + (min(size, u32(3)) << 6), 6)
    if slot < 4:
        return slot
    bits = (slot >> 1) - 1
    value = (2 | slot & 1) << bits
    if slot < 14:
        return value + reverse_tree(d, data, p, SPECIAL + value - slot, bits)
    value += direct(d, data, bits - 4) << 4
    return value + reverse_tree(d, data, p, u32(ALIGN), 4)


@fn
def literal(d: Decoder, data: View[u8], p: Slice[u16], out: Slice[u8], at: usize, after_match: bool) -> u8:
    """A byte; after a match by the byte that the match would have gone on with, as far as that is right."""
    before = u32(out[at - 1]) if at > 0 else u32(0)
    base = LITERAL + 0x300 * (((truncate(u32, at) & ((1 << LP) - 1)) << LC) + (before >> (8 - LC)))
    symbol = u32(1)
    if after_match:
        expected = u32(out[at - usize(d.reps[0]) - 1])
        while symbol < 0x100:
            there = (expected >> 7) & 1
            expected = expected << 1
            bit = decide(d, data, p, base + ((1 + there) << 8) + symbol)
            symbol = symbol << 1 | bit
            if bit != there:
                break
    while symbol < 0x100:
        symbol = symbol << 1 | decide(d, data, p, base + symbol)
    return truncate(u8, symbol)


@fn
def to_front(d: Decoder, number: u32) -> None:
    """One of the four latest distances becomes the latest."""
    chosen = d.reps[number]
    for i in reversed(range(number)):
        d.reps[i + 1] = d.reps[i]
    d.reps[0] = chosen


@fn
def which_rep(d: Decoder, data: View[u8], p: Slice[u16], state: u32) -> u32:
    """The latest distance is known not to be meant."""
    if decide(d, data, p, IS_REP_1 + state) == 0:
        return 1
    return 2 + decide(d, data, p, IS_REP_2 + state)


@fn
def match(d: Decoder, data: View[u8], p: Slice[u16], state: u32, place: u32) -> u32:
    """The length of a match, whose distance becomes the latest. 1: the one byte at the latest distance."""
    d.old = decide(d, data, p, IS_REP + state) != 0
    if not d.old:
        size = length(d, data, p, u32(LENGTH), place)
        new = distance(d, data, p, size)
        to_front(d, 3)
        d.reps[0] = new
        return size + 2
    if decide(d, data, p, IS_REP_0 + state) != 0:
        to_front(d, which_rep(d, data, p, state))
    elif decide(d, data, p, IS_REP_0_LONG + (state << PB) + place) == 0:
        return 1
    return length(d, data, p, u32(REP_LENGTH), place) + 2


@fn
def after_match(state: u32, old: bool, short: bool) -> u32:
    """The state after a match with a new distance, with an old one, of one byte."""
    before = state < AFTER_LITERAL
    if short:
        return 9 if before else 11
    if old:
        return 8 if before else 11
    return 7 if before else 10


@fn
def lzma(d: Decoder, data: View[u8], p: Slice[u16], out: Slice[u8]) -> bool:
    """Fill `out`. False: a distance reaches before its beginning."""
    at = usize(0)
    state = u32(0)
    while at < len(out):
        place = truncate(u32, at) & ((1 << PB) - 1)
        if decide(d, data, p, IS_MATCH + (state << PB) + place) == 0:
            out[at] = literal(d, data, p, out, at, state >= AFTER_LITERAL)
            at += 1
            state = 0 if state < 4 else (state - 3 if state < 10 else state - 6)
            continue
        size = match(d, data, p, state, place)
        state = after_match(state, d.old, size == 1)
        back = usize(d.reps[0]) + 1
        if back > at:
            return False
        end = min(at + usize(size), len(out))
        while at < end:
            out[at] = out[at - back]
            at += 1
    return True


@fn
def branches_to_distances(code: Slice[u32]) -> None:
    """BL has 26 bits of a distance in words (Arm ARM C6.2.33)."""
    for i in range(len(code)):
        word = code[i]
        if word >> 26 == 0b100101:
            code[i] = word & 0xFC00_0000 | wrapping_sub(word, truncate(u32, i)) & 0x03FF_FFFF


@fn
def unpack_data(data: View[u8], p: Slice[u16], out: Slice[u8]) -> bool:
    """Data to image; `p` has room for PROBABILITIES. False: the data is damaged."""
    for i in range(len(p)):
        p[i] = 1 << (BITS_MODEL - 1)
    d = zeroed(Decoder)
    d.range = 0xFFFF_FFFF
    d.at = 5
    d.code = data.load_be32(1)
    return lzma(d, data, p, out)


@export("unpack")
def unpack(data: usize, data_size: usize, out: usize, size: usize, room: usize) -> bool:
    """All by address: what is packed, where it goes, where there is room for the probabilities."""
    sound = unpack_data(Ptr[u8](data).slice(data_size), Ptr[u16](room).slice(PROBABILITIES), Ptr[u8](out).slice(size))
    branches_to_distances(Ptr[u32](out).slice(size >> 2))
    return sound


# Entered as Linux's boot protocol says, MMU off; x0, the device tree, goes through. The file first copies itself behind all that the image will
# be and goes on there. Caches may hold lines of what is written here, older than it: they are dropped before and after.
assembly(
    f"""
    .section .head.text, "ax"
    .global _start
_start:
    b start
    .space {PARAMETERS - 4}
parameters:
    .quad 0, 0, 0, 0
start:
    mov x19, x0
    adr x20, _start
    adr x21, parameters
    ldp x22, x23, [x21]
    add x22, x22, x20
    mov x0, x22
    add x1, x22, x23
    bl drop_lines
    mov x2, x20
1:  ldp x4, x5, [x2], #16
    stp x4, x5, [x0], #16
    cmp x0, x1
    b.lo 1b
    mov x0, x22
    bl drop_lines
    ic iallu
    dsb sy
    isb
    adr x4, copied
    sub x4, x4, x20
    add x4, x4, x22
    br x4
copied:
    adr x21, parameters
    ldp x24, x25, [x21, #16]
    mov x0, x20
    add x1, x20, x24
    bl drop_lines
    add x4, x22, x23
    add x5, x4, #{(PROBABILITIES * 2 + STACK + 0xFFF) & ~0xFFF:#x}
    mov sp, x5
    add x0, x22, x25
    sub x1, x23, x25
    mov x2, x20
    mov x3, x24
    bl unpack
    cbz w0, .
    mov x0, x20
    add x1, x20, x24
    bl drop_lines
    ic iallu
    dsb sy
    isb
    mov x0, x19
    mov x1, xzr
    mov x2, xzr
    mov x3, xzr
    br x20

drop_lines:
    dsb sy
    mrs x4, ctr_el0
    ubfx x4, x4, #16, #4
    mov x5, #4
    lsl x4, x5, x4
    mov x6, x0
1:  dc ivac, x6
    add x6, x6, x4
    cmp x6, x1
    b.lo 1b
    dsb sy
    ret
""",
    arch="aarch64",
)

LINKER_SCRIPT = """
ENTRY(_start)
SECTIONS
{
    . = 0;
    .text : { KEEP(*(.head.text)) *(.text .text.* .rodata .rodata.*) . = ALIGN(16); }
    .lost : { *(.data .data.* .bss .bss.* .once.*) }
    ASSERT(SIZEOF(.lost) == 0, "what unpacks has no statics: it moves")
    /DISCARD/ : { *(.note.*) *(.eh_frame*) *(.gnu.*) }
}
"""
