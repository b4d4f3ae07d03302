"""What a packed image begins with: it moves itself out of the way, unpacks the image to where the loader put it, and starts that.

The data is one block of LZ4 (LZ4 Block Format Description), which a fast boot wants: some 13 instructions a byte, where LZMA takes
hundreds. The MMU is off: accesses are of bytes or aligned.
"""

from freestanding import Ptr, Slice, View, assembly, export, fn, u8, u32, usize

__all__ = ["CFLAGS", "LINKER_SCRIPT", "PARAMETERS", "STACK", "THUMB", "ZIMAGE_MAGIC", "unpack"]

MAPS_MEMORY = True
THUMB = True
CFLAGS = ("-fomit-frame-pointer",)

ZIMAGE_MAGIC = 0x016F_2818  # at offset 0x24 (Linux arch/arm/boot/compressed/head.S)
STACK = 0x400
PARAMETERS = 52  # offset of four words, filled in by xenarm/tools/pack.py: room, file size, image size, where the data begins
LEAST_MATCH = 4
MORE = 15  # in a token: bytes follow that are added, until one is not 255


@fn
def length(data: View[u8], at: usize, low: u32) -> tuple[usize, usize]:
    """Of literals or a match, by four bits of the token: (the length, where the data goes on)."""
    value = usize(low)
    after = at
    more = low == MORE
    while more and after < len(data):
        byte = data[after]
        after += 1
        value += usize(byte)
        more = byte == 255
    return value, after


@fn
def unpack_data(data: View[u8], out: Slice[u8]) -> bool:
    """Fill `out`. False: the data is damaged. What it has behind the last byte does not matter."""
    at = usize(0)
    to = usize(0)
    while at < len(data):
        token = u32(data[at])
        literals, at = length(data, at + 1, token >> 4)
        if literals > len(data) - at or literals > len(out) - to:
            return False
        end = to + literals
        while to < end:
            out[to] = data[at]
            to += 1
            at += 1
        if to == len(out):
            return True
        if len(data) - at < 2:
            return False
        back = usize(data[at]) | usize(data[at + 1]) << 8
        match, at = length(data, at + 2, token & 15)
        match += LEAST_MATCH
        if back == 0 or back > to or match > len(out) - to:
            return False
        end = to + match
        while to < end:
            out[to] = out[to - back]
            to += 1
    return False


@export("unpack")
def unpack(data: usize, data_size: usize, out: usize, size: usize) -> bool:
    """All by address: what is packed, where it goes."""
    return unpack_data(Ptr[u8](data).slice(data_size), Ptr[u8](out).slice(size))


SYNC = "mcr p15, 0, r0, c7, c5, 0\n    mcr p15, 0, r0, c7, c5, 6\n    dsb\n    isb"  # ICIALLU, BPIALL

# Entered as Linux's boot protocol says, in whatever mode, MMU off; r2, the device tree, goes through. The file first copies itself behind all that
# the image's file will be, where the image clears memory later, and goes on there. Caches may hold lines of what is written here, older than
# it: they are dropped before and after (DCIMVAC).
assembly(
    f"""
    .section .head.text, "ax"
    .global _start
_start:
    .rept 8
    mov r0, r0
    .endr
    b start
    .word {ZIMAGE_MAGIC:#x}
    .word 0
    .word 0
    .word 0x04030201
parameters:
    .word 0, 0, 0, 0
start:
    cpsid aif
    mov r8, r2
    adr r4, _start
    adr r5, parameters
    ldm r5, {{r6, r7}}
    add r6, r6, r4
    mov r0, r6
    add r1, r6, r7
    bl drop_lines
    mov r2, r4
1:  ldr r3, [r2], #4
    str r3, [r0], #4
    cmp r0, r1
    blo 1b
    mov r0, r6
    bl drop_lines
    {SYNC}
    adr r0, copied
    sub r0, r0, r4
    add r0, r0, r6
    bx r0
copied:
    adr r5, parameters
    add r5, r5, #8
    ldm r5, {{r9, r10}}
    mov r0, r4
    add r1, r4, r9
    bl drop_lines
    add sp, r6, r7
    add sp, sp, #{STACK}
    bic sp, sp, #7
    add r0, r6, r10
    sub r1, r7, r10
    mov r2, r4
    mov r3, r9
    bl unpack
    cmp r0, #0
2:  beq 2b
    mov r0, r4
    add r1, r4, r9
    bl drop_lines
    {SYNC}
    mov r0, #0
    mvn r1, #0
    mov r2, r8
    bx r4

drop_lines:
    dsb
    mrc p15, 0, r3, c0, c0, 1
    ubfx r3, r3, #16, #4
    mov r12, #4
    lsl r3, r12, r3
    mov r12, r0
1:  mcr p15, 0, r12, c7, c6, 1
    add r12, r12, r3
    cmp r12, r1
    blo 1b
    dsb
    bx lr
""",
    arch="armv7",
)

LINKER_SCRIPT = """
ENTRY(_start)
SECTIONS
{
    . = 0;
    .text : { KEEP(*(.head.text)) *(.text .text.* .rodata .rodata.*) . = ALIGN(16); }
    .lost : { *(.data .data.* .bss .bss.* .once.*) }
    ASSERT(SIZEOF(.lost) == 0, "what unpacks has no statics: it moves")
    /DISCARD/ : { *(.note.*) *(.eh_frame*) *(.ARM.*) *(.gnu.*) }
}
"""
