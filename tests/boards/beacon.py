"""The smallest guest that proves itself alive: prints one line on its serial port and ends its domain.

Hand-assembled, so that tests of the hypervisor's boot need neither a compiler nor a download.
"""

from __future__ import annotations

import struct
from pathlib import Path

from xenarm.tools.machine import KIB, MIB, DomainSpec, ModuleKind, ModuleSpec

TEXT = "beacon: alive"

CODE = (
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
)  # text:

BRANCH_OVER_HEADER = 0x14000010  # b +64
LITTLE_ENDIAN_4K_ANYWHERE = 0xA


def image(text: str = TEXT, magic: bytes = b"ARMd", image_size: int = 4 * KIB) -> bytes:
    """The guest as an arm64 Image."""
    header = struct.pack(
        "<IIQQQQQQ4sI", BRANCH_OVER_HEADER, 0, 0, image_size, LITTLE_ENDIAN_4K_ANYWHERE, 0, 0, 0, magic, 0
    )
    return header + struct.pack(f"<{len(CODE)}I", *CODE) + text.encode() + b"\r\n\0"


def kernel(directory: Path, name: str = "beacon", **changes: object) -> ModuleSpec:
    """The guest as a file."""
    path = directory / f"{name}.Image"
    path.write_bytes(image(**changes))  # type: ignore[arg-type]
    return ModuleSpec(ModuleKind.KERNEL, path)


def domain(directory: Path, name: str = "good") -> DomainSpec:
    """A domain with nothing wrong about it."""
    return DomainSpec(name, 64 * MIB // KIB, (kernel(directory, name),))
