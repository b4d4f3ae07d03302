"""The smallest guest that proves itself alive: prints one line on its serial port and ends its domain.

Hand-assembled, so that tests of the hypervisor's boot need neither a compiler nor a download; for either architecture.
"""

from __future__ import annotations

import struct
from pathlib import Path

from xenarm.tools.machine import KIB, MIB, Architecture, DomainSpec, ModuleKind, ModuleSpec

TEXT = "beacon: alive"
Code = dict[Architecture, tuple[int, ...]]
"""Instructions, by what they are for."""

CODE: Code = {
    Architecture.ARM64: (
        0xD2A44001,  # mov   x1, #0x22000000       the virtual PL011
        0x10000162,  # adr   x2, text
        0x38401443,  # next: ldrb w3, [x2], #1
        0x340000A3,  # cbz   w3, off
        0xB9401824,  # full: ldr w4, [x1, #0x18]   its flags
        0x372FFFE4,  # tbnz  w4, #5, full          transmit FIFO full
        0xB9000023,  # str   w3, [x1]
        0x17FFFFFB,  # b     next
        0x52B08000,  # off:  mov w0, #0x84000000
        0x11002000,  # add   w0, w0, #8            PSCI SYSTEM_OFF
        0xD4000002,  # hvc   #0
        0x17FFFFFD,  # b     off
    ),  # text:
    Architecture.ARM32: (
        0xE3A01422,  # mov   r1, #0x22000000
        0xE28F202C,  # adr   r2, text
        0xE4D23001,  # next: ldrb r3, [r2], #1
        0xE3530000,  # cmp   r3, #0
        0x0A000004,  # beq   off
        0xE5914018,  # full: ldr r4, [r1, #0x18]
        0xE3140020,  # tst   r4, #0x20
        0x1AFFFFFC,  # bne   full
        0xE5813000,  # str   r3, [r1]
        0xEAFFFFF7,  # b     next
        0xE3A00321,  # off:  mov r0, #0x84000000
        0xE2800008,  # add   r0, r0, #8
        0xE1400070,  # hvc   #0
        0xEAFFFFFB,  # b     off
    ),  # text:
}

BRANCH_OVER_HEADER = 0x14000010  # b +64
LITTLE_ENDIAN_4K_ANYWHERE = 0xA
HEADER = 64
ZIMAGE_WORDS = (*[0xE1A00000] * 8, 0xEA000006, 0x016F2818, 0)  # nops, a branch behind the header, the magic, loaded anywhere
LITTLE_ENDIAN = 0x04030201


def image(text: str = TEXT, magic: bytes = b"ARMd", image_size: int = 4 * KIB) -> bytes:
    """The guest as an arm64 Image."""
    return arm64_image(words(CODE[Architecture.ARM64]) + ending(text), magic=magic, image_size=image_size)


def words(code: tuple[int, ...]) -> bytes:
    return struct.pack(f"<{len(code)}I", *code)


def ending(text: str | None) -> bytes:
    return b"\0" if text is None else text.encode() + b"\r\n\0"


def arm64_image(code: bytes, free: int = 0, magic: bytes = b"ARMd", image_size: int = 4 * KIB) -> bytes:
    """Code as an arm64 Image; `free` is for the guest, at 0x20."""
    header = struct.pack("<IIQQQQQQ4sI", BRANCH_OVER_HEADER, 0, 0, image_size, LITTLE_ENDIAN_4K_ANYWHERE, free, 0, 0, magic, 0)
    return header + code


def zimage(code: bytes, free: int = 0) -> bytes:
    """Code as a zImage; `free` is for the guest, at 0x3c."""
    return struct.pack("<16I", *ZIMAGE_WORDS, HEADER + len(code), LITTLE_ENDIAN, 0, 0, free) + code


def kernel_of(code: Code, text: str | None, architecture: Architecture, free: int = 0) -> bytes:
    """`code`, then the beacon's, as a kernel; without a text it says nothing."""
    body = words(code[architecture] + CODE[architecture]) + ending(text)
    return zimage(body, free) if architecture is Architecture.ARM32 else arm64_image(body, free)


NOTHING: Code = {architecture: () for architecture in Architecture}


def kernel(directory: Path, name: str = "beacon", architecture: Architecture = Architecture.ARM64) -> ModuleSpec:
    """The guest as a file."""
    path = directory / f"{name}.Image"
    path.write_bytes(kernel_of(NOTHING, TEXT, architecture))
    return ModuleSpec(ModuleKind.KERNEL, path)


def domain(directory: Path, name: str = "good", architecture: Architecture = Architecture.ARM64) -> DomainSpec:
    """A domain with nothing wrong about it."""
    return DomainSpec(name, 64 * MIB // KIB, (kernel(directory, name, architecture),))
