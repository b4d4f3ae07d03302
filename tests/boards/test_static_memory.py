"""`xen,static-mem`: a domain at machine addresses of its own choice, and the ways to get that wrong."""

from __future__ import annotations

import pytest

from tests.conftest import FIRST_TARGET, IMAGE_AT, Boot, on_both_widths, with_image
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import SWITCH_INPUT, Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import MIB, Machine
from xenarm.tools.run import own_domain

SECONDS = 60
MEMORY_MIB = 512
BASE = 0x5800_0000
SIZE = 64 * MIB


def blob(hypervisor: Hypervisor, *words: int, cells: int = 1) -> bytes:
    domains = (own_domain(hypervisor.board, "hello"),)
    tree = Tree(compose(Machine(hypervisor.machine, hypervisor.image, domains, 1, MEMORY_MIB)).dtb)
    tree.set_words("/chosen/hello", "#xen,static-mem-address-cells", cells)
    tree.set_words("/chosen/hello", "#xen,static-mem-size-cells", 1)
    tree.set_words("/chosen/hello", "xen,static-mem", *words)
    return tree.blob()


@on_both_widths
def test_ram_lies_where_it_is_told_to(boot: Boot, target: Hypervisor) -> None:
    half = SIZE // 2
    tree = blob(target, BASE + SIZE, half, BASE, half)
    with boot(target, own_domain(target.board, "hello"), memory_mib=MEMORY_MIB, dtb=tree) as session:
        console = session.console
        console.expect("> ", SECONDS)
        console.send(SWITCH_INPUT)
        console.expect("input goes to the hypervisor", SECONDS)
        console.send("m")
        console.expect(r"0x005c000000 +32768 KiB  RAM of hello at 0x40000000", SECONDS)
        console.expect(r"0x0058000000 +32768 KiB  RAM of hello at 0x42000000", SECONDS)
        console.expect(r"KiB  free", SECONDS)
        console.send("b0")
        console.expect("hello: restart 1", SECONDS)
        console.expect("> ", SECONDS)
        console.send("k0")
        session.wait_off(SECONDS)


WRONG = {
    "too little": ((BASE, SIZE // 2), 1, "memory asks for 65536 KiB of xen,static-mem, 32768 KiB"),
    "no page": ((BASE + 1, SIZE), 1, "xen,static-mem is not in whole pages"),
    "no memory": ((0x1000_0000, SIZE), 1, "xen,static-mem is not in whole pages of the machine's memory"),
    "cells": ((BASE, SIZE), 3, "xen,static-mem is malformed"),
    "itself": ((BASE, SIZE // 2, BASE, SIZE // 2), 1, "xen,static-mem overlaps /chosen/hello: xen,static-mem"),
    "image": ((IMAGE_AT, SIZE), 1, "xen,static-mem overlaps the hypervisor's image"),
    "beyond 4 GiB": ((1, BASE, SIZE), 2, "xen,static-mem is not in whole pages of the machine's memory"),
}
ON_ARM32 = ("image", "itself", "beyond 4 GiB")


@pytest.mark.parametrize(
    ("target", "case"), [*((FIRST_TARGET, case) for case in WRONG), *(("arm32", case) for case in ON_ARM32)], indirect=["target"]
)
def test_what_is_wrong_is_named(boot: Boot, target: Hypervisor, case: str) -> None:
    words, cells, line = WRONG[case]
    tree = blob(target, *with_image(target, words), cells=cells)
    with boot(target, own_domain(target.board, "hello"), memory_mib=MEMORY_MIB, dtb=tree) as session:
        session.console.expect(f"hello does not start: /chosen/hello: {line}", SECONDS)
        session.wait_off(SECONDS)
