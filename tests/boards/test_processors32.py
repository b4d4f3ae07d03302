"""The 32-bit hypervisor on cores that QEMU's Cortex-A15 says it is: what is said of them, which vectors they get, what that costs, and that guests run on those."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.boards import beacon
from tests.boards.assembly import assemble
from tests.conftest import Boot
from tests.guests.conftest import OwnGuest, own_guest
from xenarm.arm32.errata import midr
from xenarm.tools.bench import read_operations
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.machine import KIB, Architecture, DomainSpec, ModuleKind, ModuleSpec

__all__ = ["own_guest"]

SECONDS = 60
CLEARS = 6  # instructions more in each exit: the entry is counted in SP, and found again
SERIAL = 0x2200_0000


def core(name: str, revision: int) -> str:
    """QEMU's Cortex-A15 with another core's MIDR. Its ACTLR is always zero."""
    return f"cortex-a15,midr={midr(name, revision):#x}"


SAID = {
    ("Cortex-A15", 0x21): "Cortex-A15 r2p1; errata none; Spectre v2: vulnerable, firmware has not set ACTLR.IBE; branch history: vulnerable",
    ("Cortex-A15", 0x04): "Cortex-A15 r0p4; errata 766422; Spectre v2: vulnerable, firmware has not set ACTLR.IBE; branch history: vulnerable",
    ("Cortex-A7", 0x05): "Cortex-A7 r0p5; errata 814220; Spectre v2: not affected; branch history: not affected",
    ("Cortex-A17", 0x12): "Cortex-A17 r1p2; errata none; Spectre v2: branch predictor invalidated at each exit; branch history: not affected",
}


@pytest.mark.parametrize(("name", "revision"), SAID)
def test_the_boot_says_what_is_in_force(boot: Boot, xenarm32: Hypervisor, scratch: Path, name: str, revision: int) -> None:
    """In one line for CPUs that are alike; what the firmware should have done is a warning; and a guest runs."""
    with boot(xenarm32, beacon.domain(scratch, architecture=Architecture.ARM32), cpus=2, cpu=core(name, revision)) as session:
        session.console.expect(beacon.TEXT, SECONDS)
        text = session.console.text()
        assert re.findall(r"cpu (\d): ([^\r\n]*errata[^\r\n]*)", text) == [("0", SAID[name, revision])]
        assert ("erratum 773022: the firmware has not turned the loop buffer off" in text) == (revision == 0x04)


def operations(boot: Boot, xenarm32: Hypervisor, kernel: Path, core: str, bootargs: str = "") -> dict[str, int]:
    chosen = replace(xenarm32, bootargs=f"{xenarm32.bootargs} bootscrub=0 {bootargs}".strip())
    domain = DomainSpec("bench", 64 * KIB, (ModuleSpec(ModuleKind.KERNEL, kernel),))
    with boot(chosen, domain, cpu=core, count_instructions=True) as session:
        return read_operations(session)


def test_each_exit_invalidates_branches_where_the_core_needs_it(boot: Boot, xenarm32: Hypervisor, own_guest: OwnGuest) -> None:
    """Synchronous exits and interrupts take the vectors of such a core, and no others do."""
    kernel = own_guest(xenarm32, "bench")
    plain = operations(boot, xenarm32, kernel, core("Cortex-A7", 0x05))
    hardened = operations(boot, xenarm32, kernel, core("Cortex-A17", 0x12))
    unwanted = operations(boot, xenarm32, kernel, core("Cortex-A17", 0x12), "spec-ctrl=no")
    assert hardened["psci_version"] == plain["psci_version"] + CLEARS
    assert hardened["timer"] > plain["timer"]
    assert unwanted["psci_version"] == plain["psci_version"]


STORES = {
    "str r3, [r1]": "r3",
    "strb r5, [r1]": "r5",
    "strh r7, [r1]": "r7",
    "str r4, [r1, r6]": "r4",
    "strb r2, [r1, r6]": "r2",
    "strh r0, [r1, r6]": "r0",
    "str r3, [sp]": "r3",
    "str.w r9, [r1]": "r9",
    "strb.w r10, [r1]": "r10",
    "strh.w r11, [r1, #0]": "r11",
    "str.w r12, [r1, r6]": "r12",
    "strb.w lr, [r1, r6, lsl #1]": "lr",
    "str r8, [r0, #-4]": "r8",
}
"""Each form of a Thumb store that HSR describes, with the register that it stores."""
TEXT = "thumb stores!"


def thumb_stores(scratch: Path) -> Path:
    """A guest that writes each character by another form of store; a wide one lies across two pages."""
    lines = [f"mov.w {register}, #{ord(character)}\n{store}" for (store, register), character in zip(STORES.items(), TEXT, strict=True)]
    lines.insert(len(lines) - 1, "add.w r0, r1, #4")
    text = f"""
        .syntax unified
        .arm
        mov r1, #{SERIAL:#x}
        adr r2, thumb
        orr r2, r2, #1
        bx r2
        .thumb
        .balign 4
    thumb:
        mov sp, r1
        movs r6, #0
        {chr(10).join(lines)}
        movw r3, #0x0a0d
        b across
        .org 4096 - {beacon.HEADER} - 2
    across:
        str.w r3, [r1]
        lsrs r3, r3, #8
        str r3, [r1]
        mov.w r0, #0x84000000
        adds r0, #8
        .arch_extension virt
        hvc #0
        b .
    """
    path = scratch / "stores.zImage"
    path.write_bytes(beacon.zimage(assemble(text, "armv7-none-eabi", scratch)))
    return path


@pytest.mark.parametrize("revision", [0x04, 0x21])
def test_the_stored_register_is_found_where_hsr_may_be_wrong(boot: Boot, xenarm32: Hypervisor, scratch: Path, revision: int) -> None:
    """Erratum 766422: what the instruction says is written over what QEMU's HSR says, which is right in any case."""
    domain = DomainSpec("stores", 64 * KIB, (ModuleSpec(ModuleKind.KERNEL, thumb_stores(scratch)),))
    with boot(xenarm32, domain, cpu=core("Cortex-A15", revision)) as session:
        session.console.expect(rf"\n{re.escape(TEXT)}\r", SECONDS)
        session.wait_off(SECONDS)
