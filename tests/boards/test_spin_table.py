"""CPUs that firmware left spinning: a loader parks QEMU's CPUs as such firmware does, and the tree says so instead of PSCI."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from boards import board
from tests.boards.assembly import assemble
from xenarm.tools import qemu
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import Layout, compose
from xenarm.tools.machine import Machine
from xenarm.tools.run import own_domain
from xenarm.tools.session import booted

SECONDS = 60
CPUS = 4
STUB = 0x4018_0000
WORDS = STUB + 0x1000  # a page of their own, which nobody has reserved


def loader(layout: Layout, stride: int) -> str:
    """CPU 0 has the firmware start the others, who wait for a word of memory that is not 0."""
    return f"""
        mov x19, #1
    1:  movz x0, #0xc400, lsl #16
        movk x0, #3
        mov x1, x19
        adr x2, pen
        mov x3, x19
        smc #0
        add x19, x19, #1
        cmp x19, #{CPUS}
        b.lo 1b
        ldr x0, tree
        ldr x4, image
        br x4
    pen:
        mov x1, #{stride}
        ldr x2, words
        madd x2, x1, x0, x2
    2:  wfe
        ldr x4, [x2]
        cbz x4, 2b
        br x4
        .balign 8
    tree: .quad {layout.device_tree.base:#x}
    image: .quad {layout.hypervisor.base:#x}
    words: .quad {WORDS:#x}
    """


def spinning(layout: Layout, stride: int) -> Layout:
    """The same machine with another tree."""
    tree = Tree(layout.dtb)
    tree.remove_node("/psci")
    for cpu in range(CPUS):
        tree.set_strings(f"/cpus/cpu@{cpu}", "enable-method", "spin-table")
        tree.set_words(f"/cpus/cpu@{cpu}", "cpu-release-addr", 0, WORDS + cpu * stride)
    tree.reserve(STUB, 0x1000)  # the firmware's own
    return replace(layout, dtb=tree.blob(), exact_dtb=True)


@pytest.mark.parametrize("stride", [8, 0], ids=["each-its-word", "one-word"])
def test_every_cpu_comes(built_board: str, xenarm: Hypervisor, scratch: Path, monkeypatch: pytest.MonkeyPatch, stride: int) -> None:
    """With one word for all, as an X-Gene has it, all leave the pen at once, and each waits until it is its turn."""
    layout = compose(Machine(board(built_board), xenarm.image, (own_domain(built_board, "hello", CPUS, 32),), CPUS, 512))
    code = assemble(loader(layout, stride), "aarch64-none-elf", scratch)
    monkeypatch.setattr(qemu, "write_stub64", lambda stub, _: stub.write_bytes(code))
    with booted(spinning(layout, stride), f"spin-table-{stride}") as session:
        session.console.expect(rf"processors: {CPUS} of", SECONDS)
        session.console.expect("hello> $", SECONDS)
        session.console.send("cpus\r")
        for cpu in range(1, CPUS):
            session.console.expect(rf"cpu {cpu}     MPIDR \S+: on, answers an interrupt", SECONDS)


def test_a_word_that_makes_no_sense(built_board: str, xenarm: Hypervisor, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The boot goes on without that CPU, and names it."""
    layout = compose(Machine(board(built_board), xenarm.image, (own_domain(built_board, "hello", 1, 32),), 2, 512))
    tree = Tree(layout.dtb)
    tree.set_strings("/cpus/cpu@1", "enable-method", "spin-table")
    tree.set_words("/cpus/cpu@1", "cpu-release-addr", 0, WORDS + 1)
    with booted(replace(layout, dtb=tree.blob(), exact_dtb=True), "spin-table-odd") as session:
        session.console.expect(r"cpu 0x1: not turned on .* its enable-method is 'spin-table'", SECONDS)
        session.console.expect("hello> $", SECONDS)
