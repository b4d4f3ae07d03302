"""RAM is cleared before its first owner has it: a pattern lies there before the hypervisor runs, and the guest looks for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.boards import lives
from tests.boards.test_shared_memory import in_cells
from tests.conftest import FIRST_TARGET
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import MIB, Architecture, DomainSpec, Machine
from xenarm.tools.session import booted

SECONDS = 60
BASE, HIGH = 0x5800_0000, 0x1_1000_0000
SIZE = 64 * MIB
AWAY = 32 * MIB  # of the page that the guest looks at

LOOKING = {
    Architecture.ARM64: (
        0x10FFFE05,  # adr   x5, image
        0x52A04009,  # mov   w9, #0x02000000
        0x8B0900A8,  # add   x8, x5, x9
        0xD2804006,  # mov   x6, #0x200
        0xF8408507,  # next: ldr x7, [x8], #8
        0xB50000A7,  # cbnz  x7, found
        0xF10004C6,  # subs  x6, x6, #1
        0x54FFFFA1,  # b.ne  next
        0x14000004,  # b     text
        0xD503201F,  # nop
        *lives.CRASHING[Architecture.ARM64],  # found:
    ),
    Architecture.ARM32: (
        0xE3A05442,  # mov   r5, #0x42000000
        0xE3A06B01,  # mov   r6, #0x400
        0xE4957004,  # next: ldr r7, [r5], #4
        0xE3570000,  # cmp   r7, #0
        0x1A000002,  # bne   found
        0xE2566001,  # subs  r6, r6, #1
        0x1AFFFFFA,  # bne   next
        0xEA000001,  # b     text
        *lives.CRASHING[Architecture.ARM32],  # found:
    ),
}  # text:


def machine(hypervisor: Hypervisor, domain: DomainSpec, pattern: Path, base: int, bootargs: str, cpus: int) -> Machine:
    """A machine whose memory holds a pattern in the page that the guest will look at."""
    pattern.write_bytes(b"\xa5" * 4096)
    load = ("-device", f"loader,file={pattern},addr={base + AWAY:#x},force-raw=on")
    return Machine(hypervisor.machine, hypervisor.image, (domain,), cpus, 512 if base == BASE else 4096, bootargs, extra=load)


@pytest.mark.parametrize(
    ("target", "bootargs", "cpus", "base", "static", "clean"),
    [
        (FIRST_TARGET, "", 1, BASE, True, True),
        (FIRST_TARGET, "", 3, BASE, True, True),
        (FIRST_TARGET, "", 3, BASE, False, True),
        (FIRST_TARGET, "bootscrub=0", 1, BASE, True, False),
        ("arm32", "", 3, BASE, True, True),
        ("arm32", "", 3, HIGH, True, True),
        ("arm32", "bootscrub=0", 1, HIGH, True, False),
    ],
    indirect=["target"],
)
def test_a_guest_finds_zeros(target: Hypervisor, scratch: Path, bootargs: str, cpus: int, base: int, static: bool, clean: bool) -> None:
    """Without the clearing the guest finds the pattern where it has that very memory: the test can see it."""
    domain = replace(lives.domain(scratch, "heir", LOOKING, architecture=target.architecture), memory_kib=SIZE // 1024)
    layout = compose(machine(target, domain, scratch / "pattern", base, bootargs, cpus))
    tree = Tree(layout.dtb)
    if static:
        tree.set_words("/chosen/heir", "#xen,static-mem-address-cells", 2)
        tree.set_words("/chosen/heir", "#xen,static-mem-size-cells", 2)
        tree.set_words("/chosen/heir", "xen,static-mem", *in_cells(2, base, SIZE))
    with booted(layout, f"scrub-{target.board}-{base:x}-{cpus}-{static}-{clean}", dtb=tree.blob()) as session:
        session.wait_off(SECONDS)
        text = session.console.text()
    assert ("heir: shut down, reason POWEROFF" in text) == clean, text
    assert ("heir: shut down, reason CRASH" in text) != clean
