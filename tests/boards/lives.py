"""Guests that die: one that restarts itself so many times and then ends, one that crashes. Hand-assembled, as the beacon."""

from __future__ import annotations

import struct
from pathlib import Path

from tests.boards import beacon
from xenarm.tools.machine import KIB, MIB, DomainSpec, ModuleKind, ModuleSpec

RESTARTING = (
    0x10FFFE05,  # adr   x5, image
    0xB94020A7,  # ldr   w7, [x5, #0x20]       lives, in a reserved field of the header
    0x914400A8,  # add   x8, x5, #1 MiB        a counter where no module lies: RAM survives a restart
    0xB9400106,  # ldr   w6, [x8]
    0x110004C6,  # add   w6, w6, #1
    0xB9000106,  # str   w6, [x8]
    0x6B0700DF,  # cmp   w6, w7
    0x54000162,  # b.hs  done
    0x52B08000,  # mov   w0, #0x84000000
    0x72800060,  # movk  w0, #3
    0x32020000,  # orr   w0, w0, #0x40000000   PSCI CPU_ON of the second vCPU, if there is one
    0xD2800021,  # mov   x1, #1
    0x100000A2,  # adr   x2, spin
    0xD4000002,  # hvc   #0
    0x52B08000,  # mov   w0, #0x84000000
    0x11002400,  # add   w0, w0, #9            PSCI SYSTEM_RESET, with the other just on its way
    0xD4000002,  # hvc   #0
    0x14000000,  # spin: b spin
    0xB900011F,  # done: str wzr, [x8]
)
CRASHING = (
    0xD2A20001,  # mov   x1, #0x10000000       where nothing is
    0xD61F0020,  # br    x1                    and VBAR_EL1 is 0 after reset: the abort's handler is nowhere too
)


def image(code: tuple[int, ...], text: str, lives: int = 0) -> bytes:
    """`code`, then the beacon's, as an arm64 Image."""
    plain = beacon.image(text)
    header = plain[:32] + struct.pack("<Q", lives) + plain[40:64]
    return header + struct.pack(f"<{len(code)}I", *code) + plain[64:]


def domain(directory: Path, name: str, code: tuple[int, ...], lives: int = 0, cpus: int = 1) -> DomainSpec:
    """A domain of such a guest; its text is `<name> done`."""
    path = directory / f"{name}.Image"
    path.write_bytes(image(code, f"{name} done", lives))
    return DomainSpec(name, 64 * MIB // KIB, (ModuleSpec(ModuleKind.KERNEL, path),), cpus=cpus)


def of_kernel(name: str, path: Path, cpus: int = 1) -> DomainSpec:
    """A domain of any kernel file."""
    return DomainSpec(name, 64 * MIB // KIB, (ModuleSpec(ModuleKind.KERNEL, path),), cpus=cpus)
