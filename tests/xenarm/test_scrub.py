"""Clearing memory for its first owner: what is cleared, by which way, and when the boot arguments say not to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freestanding import View, hosted, zeroed
from tests.xenarm.trees import compile_source
from xenarm.arm64.clear import arch_memory_clear, zero_block
from xenarm.arm64.registers import MODEL
from xenarm.core import scrub
from xenarm.core.addresses import HostPhys
from xenarm.core.bootargs import bootarg_flag
from xenarm.core.scrub import CHUNK, SCRUB
from xenarm.devicetree import reader
from xenarm.devicetree.reader import Fdt, FdtError

BASE = 0x7000_0000
PAGE = 4096
SIZE = 3 * CHUNK
RAM = bytearray(SIZE)
CTR_64, DCZID_64, DCZID_FORBIDDEN, DCZID_2K = 4 << 16, 4, 0x14, 9


@pytest.fixture(autouse=True, scope="module")
def ram() -> Iterator[None]:
    hosted.engine().memory.map(BASE, RAM)
    yield
    hosted.engine().memory.unmap(BASE)


@pytest.fixture(autouse=True)
def dirty() -> Iterator[None]:
    RAM[:] = b"\xa5" * SIZE
    MODEL.clear()
    MODEL.update(ctr_el0=CTR_64, dczid_el0=DCZID_64)
    SCRUB.off = False
    yield
    MODEL.clear()
    SCRUB.off = False


def cleared() -> tuple[int, int]:
    """The only run of zeros, as (offset, size); all else is as it was."""
    first, size = RAM.find(b"\0"), RAM.count(b"\0")
    assert not size or RAM[first : first + size] == bytes(size)
    return first, size


@pytest.mark.parametrize(("dczid", "block"), [(DCZID_64, 64), (DCZID_FORBIDDEN, 0), (DCZID_2K, 2048)])
def test_every_way_clears_the_same(dczid: int, block: int) -> None:
    """DC ZVA where its block is a cache line; stores where it may not be used, or reaches further than a line."""
    MODEL["dczid_el0"] = dczid
    assert zero_block() == block
    arch_memory_clear(HostPhys(BASE + PAGE), 9 * PAGE)
    assert cleared() == (PAGE, 9 * PAGE)


@given(st.integers(0, 2 * CHUNK // PAGE), st.integers(1, CHUNK // PAGE + 3))
def test_what_is_cleared_is_what_was_asked_for(first: int, pages: int) -> None:
    RAM[:] = b"\xa5" * SIZE
    size = min(pages * PAGE, SIZE - first * PAGE)
    scrub.scrub_boot(BASE + first * PAGE, size)
    assert cleared() == (first * PAGE, size)
    assert not scrub.scrub_help(), "nothing is left to do"


def test_chunks_are_handed_out_once_and_waited_for() -> None:
    """What other CPUs take: whole, disjoint; and the run is done only when the last of them is."""
    SCRUB.next, SCRUB.end, SCRUB.busy = BASE, BASE + 2 * CHUNK + PAGE, 0
    taken = [scrub.take() for _ in range(4)]
    assert taken[:3] == [(BASE, CHUNK), (BASE + CHUNK, CHUNK), (BASE + 2 * CHUNK, PAGE)] and taken[3][1] == 0
    for left in (2, 1, 0):
        assert not scrub.finished()
        SCRUB.busy = left
    assert scrub.finished()


def tree(text: str | None) -> Fdt:
    line = f'xen,xen-bootargs = "{text}";' if text is not None else ""
    blob = compile_source(f"/dts-v1/; / {{ chosen {{ {line} }}; }};")
    opened: Fdt = zeroed(Fdt)
    assert reader.fdt_open(opened, View(blob, 0, len(blob))) == FdtError.NONE
    return opened


@pytest.mark.parametrize(
    ("text", "off"),
    [
        (None, False), ("", False), ("bootscrub", False), ("bootscrub=1", False), ("bootscrub=idle", False), ("bootscrub=on x", False),
        ("bootscrub=0", True), ("sched=rr bootscrub=no", True), ("no-bootscrub", True), ("bootscrub=false", True),
        ("bootscrub=0 bootscrub=1", False), ("bootscrub bootscrub=disable", True), ("bootscrub=maybe", False), ("bootscrub=", False),
        ("bootscrubx=0", False), ("noo-bootscrub", False),
    ],
)  # fmt: skip
def test_the_boot_argument(text: str | None, off: bool) -> None:
    """As Xen reads a boolean; what is none leaves the memory cleared."""
    scrub.scrub_init(tree(text))
    assert SCRUB.off == off
    if off:
        scrub.scrub_boot(BASE, SIZE)
        assert cleared() == (-1, 0)


def flag(text: str, name: bytes, default: bool) -> Any:
    return bootarg_flag(tree(text), View(name, 0, len(name)), default)


def test_a_flag_that_is_none_keeps_its_default() -> None:
    assert flag("a=2 b", b"a", True) == (False, True)
    assert flag("a=2 b", b"b", False) == (True, True)
    assert flag("a=2 b", b"c", False) == (True, False)
