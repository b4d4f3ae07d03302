"""RAM is cleared before its first owner has it: a pattern lies there before the hypervisor runs, and the guest looks for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from boards import board
from tests.boards import lives
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import MIB, Architecture, DomainSpec, Machine
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.session import booted

SECONDS = 60
BASE = 0x5800_0000
SIZE = 64 * MIB
AWAY = 32 * MIB  # of the page that the guest looks at

LOOKING = {Architecture.ARM64: (
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
)}  # text:


def machine(hypervisor: Hypervisor, domain: DomainSpec, pattern: Path, bootargs: str, cpus: int) -> Machine:
    """A machine whose memory holds a pattern in the page that the guest will look at."""
    pattern.write_bytes(b"\xa5" * 4096)
    load = ("-device", f"loader,file={pattern},addr={BASE + AWAY:#x},force-raw=on")
    return Machine(board(DEFAULT_BOARD), hypervisor.image, (domain,), cpus, 512, bootargs, extra=load)


@pytest.mark.parametrize(
    ("bootargs", "cpus", "static", "clean"), [("", 1, True, True), ("", 3, True, True), ("", 3, False, True), ("bootscrub=0", 1, True, False)]
)
def test_a_guest_finds_zeros(
    xenarm: Hypervisor, scratch: Path, bootargs: str, cpus: int, static: bool, clean: bool
) -> None:
    """Without the clearing the guest finds the pattern where it has that very memory: the test can see it."""
    domain = replace(lives.domain(scratch, "heir", LOOKING), memory_kib=SIZE // 1024)
    layout = compose(machine(xenarm, domain, scratch / "pattern", bootargs, cpus))
    tree = Tree(layout.dtb)
    if static:
        tree.set_words("/chosen/heir", "#xen,static-mem-address-cells", 1)
        tree.set_words("/chosen/heir", "#xen,static-mem-size-cells", 1)
        tree.set_words("/chosen/heir", "xen,static-mem", BASE, SIZE)
    with booted(layout, f"scrub-{cpus}-{static}-{clean}", dtb=tree.blob()) as session:
        session.wait_off(SECONDS)
        text = session.console.text()
    assert ("heir: shut down, reason POWEROFF" in text) == clean, text
    assert ("heir: shut down, reason CRASH" in text) != clean
