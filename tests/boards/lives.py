"""Guests that die: one that restarts itself so many times and then ends, one that crashes. Hand-assembled, as the beacon."""

from __future__ import annotations

from pathlib import Path

from tests.boards import beacon
from xenarm.tools.machine import KIB, MIB, Architecture, DomainSpec, ModuleKind, ModuleSpec

RESTARTING: beacon.Code = {
    Architecture.ARM64: (
        0x10FFFE05,  # adr   x5, image
        0xB94020A7,  # ldr   w7, [x5, #0x20]       lives, in a field of the header that is free
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
    ),
    Architecture.ARM32: (
        0xE24F5008,  # start: adr r5, start
        0xE5157004,  # ldr   r7, [r5, #-4]
        0xE2858601,  # add   r8, r5, #1 MiB
        0xE5986000,  # ldr   r6, [r8]
        0xE2866001,  # add   r6, r6, #1
        0xE5886000,  # str   r6, [r8]
        0xE1560007,  # cmp   r6, r7
        0x2A000008,  # bhs   done
        0xE3A00321,  # mov   r0, #0x84000000
        0xE3800003,  # orr   r0, r0, #3            PSCI CPU_ON
        0xE3A01001,  # mov   r1, #1
        0xE28F200C,  # adr   r2, spin
        0xE1400070,  # hvc   #0
        0xE3A00321,  # mov   r0, #0x84000000
        0xE3800009,  # orr   r0, r0, #9            PSCI SYSTEM_RESET
        0xE1400070,  # hvc   #0
        0xEAFFFFFE,  # spin: b spin
        0xE3A06000,  # done: mov r6, #0
        0xE5886000,  # str   r6, [r8]
    ),
}
CRASHING: beacon.Code = {
    Architecture.ARM64: (
        0xD2A20001,  # mov   x1, #0x10000000       where nothing is
        0xD61F0020,  # br    x1                    and VBAR_EL1 is 0 after reset: the abort's handler is nowhere too
    ),
    Architecture.ARM32: (
        0xE3A01201,  # mov   r1, #0x10000000
        0xE12FFF11,  # bx    r1                    likewise VBAR
    ),
}
CRASHED_AT = {Architecture.ARM64: 0x200, Architecture.ARM32: 0xC}  # the abort's vector


def domain(
    directory: Path, name: str, code: beacon.Code, lives: int = 0, cpus: int = 1, architecture: Architecture = Architecture.ARM64
) -> DomainSpec:
    """A domain of such a guest; its text is `<name> done`."""
    path = directory / f"{name}.Image"
    path.write_bytes(beacon.kernel_of(code, f"{name} done", architecture, lives))
    return of_kernel(name, path, cpus)


def of_kernel(name: str, path: Path, cpus: int = 1) -> DomainSpec:
    """A domain of any kernel file."""
    return DomainSpec(name, 64 * MIB // KIB, (ModuleSpec(ModuleKind.KERNEL, path),), cpus=cpus)
