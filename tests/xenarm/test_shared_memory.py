"""Static shared memory: what nodes say, what is refused and in which words, and the lives of regions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freestanding import View, hosted, zeroed
from tests.xenarm.trees import compile_source
from xenarm.arm64.registers import MODEL
from xenarm.core import memory
from xenarm.core.addresses import MIB, PAGE_SIZE
from xenarm.core.domain import DOMAINS
from xenarm.core.fault import HOST_TREE
from xenarm.core.log import LOG, LOG_RING, NOBODY, RING_SIZE, TERMINAL
from xenarm.core.memory import MEMORY, memory_free
from xenarm.core.plan_shared import plan_shared
from xenarm.core.plan_state import Plan
from xenarm.core.result import Result
from xenarm.core.shared_memory import SHARED, shared_memory_acquire, shared_memory_release, shared_memory_tables
from xenarm.core.static_memory import shared_after, shared_id, shared_place
from xenarm.devicetree import reader, values

RAM_BASE = 0x7000_0000
RAM_SIZE = 8 * MIB
RAM = bytearray(RAM_SIZE)
EAST, WEST = "/chosen/east", "/chosen/west"


def view(text: str) -> View[Any]:
    return View(text.encode(), 0, len(text))


def shm(words: str, name: str | None = "board", node: str = "shm", extra: str = "") -> str:
    text = f'xen,shm-id = "{name}";' if name is not None else ""
    return f'{node} {{ compatible = "xen,domain-shared-memory-v1"; {text} xen,shared-mem = <{words}>; {extra} }};'


TREE = """/dts-v1/;
/ {
    #address-cells = <2>; #size-cells = <2>;
    memory@70000000 { device_type = "memory"; reg = <0 0x70000000 0 0x800000>; };
    chosen {
        east { compatible = "xen,domain"; #address-cells = <%s>; #size-cells = <%s>; %s };
        west { compatible = "xen,domain"; #address-cells = <1>; #size-cells = <1>; %s };
    };
};
"""


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    owner = TERMINAL.owner
    hosted.engine().memory.map(RAM_BASE, RAM)
    LOG.written = 0
    TERMINAL.owner = NOBODY
    MODEL.update(ctr_el0=4 << 16, dczid_el0=4, cntfrq_el0=1000, cntpct_el0=0)
    yield
    hosted.engine().memory.unmap(RAM_BASE)
    TERMINAL.owner = owner
    reset()
    MODEL.clear()


def reset() -> None:
    for count in ("bank_count", "claim_count", "free_count", "free_pages", "free_page_count"):
        setattr(MEMORY, count, 0)
    SHARED.count = 0
    for d in DOMAINS:
        d.shares = 0


def opened(east: str, west: str = "", cells: int = 1) -> None:
    """The host's tree, with its memory found."""
    reset()
    blob = compile_source(TREE % (cells, cells, east, west))
    assert reader.fdt_open(HOST_TREE, View(blob, 0, len(blob))) == reader.FdtError.NONE
    assert memory.claim_modules(HOST_TREE)
    memory.find_banks(HOST_TREE)
    memory.cut_claims(False)


def said() -> list[str]:
    text = bytes(LOG_RING[i % RING_SIZE] for i in range(int(LOG.written))).decode()
    LOG.written = 0
    return [line.partition("] ")[2] for line in text.splitlines()]


def planned(path: str, direct: bool = False) -> bool:
    plan = zeroed(Plan)
    plan.node = values.fdt_find(HOST_TREE, view(path))
    plan.memory = 64 * MIB
    plan.direct = direct
    plan.vpl011 = True
    plan.layout.gicd, plan.layout.gicc, plan.layout.uart = 0x03001000, 0x03002000, 0x22000000
    return bool(plan_shared(HOST_TREE, plan))


GOOD = "0x70000000 0x50000000 0x200000"


def test_a_region_and_its_users() -> None:
    opened(shm(GOOD, extra='role = "owner";'), shm("0x70000000 0x60000000 0x200000", extra='role = "borrower";'))
    assert planned(EAST) and planned(WEST) and said() == []
    assert MEMORY.claim_count == 1, "one claim for both"
    assert memory_free() == RAM_SIZE - 2 * MIB


def test_cells_are_the_domains() -> None:
    opened(shm("0 0x70000000 1 0x50000000 0 0x200000"), cells=2)
    domain = values.fdt_find(HOST_TREE, view(EAST))
    node = shared_after(HOST_TREE, domain, domain)
    place = shared_place(HOST_TREE, domain, node)
    assert (place.result, place.placed, place.host, place.guest, place.size) == (Result.OK, True, 0x70000000, 0x1_5000_0000, 0x200000)
    assert bytes(shared_id(HOST_TREE, node)) == b"board"
    opened(shm("0x50000000 0x200000"))
    domain = values.fdt_find(HOST_TREE, view(EAST))
    node = shared_after(HOST_TREE, domain, domain)
    place = shared_place(HOST_TREE, domain, node)
    assert (place.placed, place.host, place.guest, place.size) == (False, 0, 0x50000000, 0x200000)


@pytest.mark.parametrize(
    ("east", "line"),
    [
        (shm(GOOD, None), "xen,shm-id is no text of 1 to 15 characters; give the region a name"),
        (shm(GOOD, ""), "xen,shm-id is no text of 1 to 15 characters"),
        (shm(GOOD, "sixteen-letters-"), "xen,shm-id is no text of 1 to 15 characters"),
        (shm(GOOD, extra='role = "boss";'), "role is none; give owner or borrower"),
        (shm("0x70000000"), "xen,shared-mem is malformed; give"),
        (shm("0x70000000 0x50000000 0x200000 0"), "xen,shared-mem is malformed"),
        (shm("0x70000000 0x50000000 0"), "xen,shared-mem is not in whole pages"),
        (shm("0x70000800 0x50000000 0x1000"), "xen,shared-mem is not in whole pages"),
        (shm("0x70000000 0x50000800 0x1000"), "xen,shared-mem is not in whole pages"),
        (shm("0x70700000 0x50000000 0x200000"), "xen,shared-mem is not in the machine's memory"),
        (shm("0x70000000 0x43000000 0x2000000"), "xen,shared-mem is not in the machine's memory"),
        (shm("0x43fff000 0x200000"), "xen,shared-mem lies in the domain's RAM; choose another guest address"),
        (shm("0x03000000 0x2000"), "xen,shared-mem lies on a device of the domain"),
        (shm("0x22000000 0x1000"), "xen,shared-mem lies on a device of the domain"),
        (shm("0x38800000 0x1000"), "xen,shared-mem lies on a device of the domain"),
        (shm(GOOD) + shm("0x501ff000 0x1000", "two", "two"), "xen,shared-mem has guest addresses of /chosen/east/shm; choose others"),
        (shm(GOOD) + shm("0x70000000 0x58000000 0x200000", "board", "two"), "xen,shm-id is that of /chosen/east/shm; one node is enough"),
        (shm(GOOD) + shm("0x70001000 0x58000000 0x1000", "two", "two"), "xen,shared-mem overlaps /chosen/east/two: xen,shared-mem"),
        ("".join(shm(f"0x5{n}000000 0x1000", f"n{n}", f"n{n}") for n in range(9)), "compatible asks for one more region"),
    ],
)
def test_what_is_wrong_is_one_line(east: str, line: str) -> None:
    opened(east)
    assert not planned(EAST)
    lines = said()
    assert len(lines) == 1 and f"east does not start: {EAST}/" in lines[0] and line in lines[0], lines


@pytest.mark.parametrize(
    ("west", "line"),
    [
        (shm("0x70000000 0x60000000 0x100000"), "xen,shared-mem is another region than in /chosen/east/shm"),
        (shm("0x70200000 0x60000000 0x200000"), "xen,shared-mem is another region than in /chosen/east/shm"),
        (shm("0x60000000 0x200000"), "xen,shared-mem is another region than in /chosen/east/shm"),
        (shm("0x70000000 0x60000000 0x200000", extra='role = "owner";'), "role is owner, as in /chosen/east/shm; let one be the borrower"),
        (shm("0x70000000 0x60000000 0x200000", "other"), "xen,shared-mem overlaps /chosen/east/shm: xen,shared-mem (0x70000000, 0x200000)"),
    ],
)
def test_domains_must_agree_and_the_first_says_what_it_is(west: str, line: str) -> None:
    opened(shm(GOOD, extra='role = "owner";'), west)
    assert not planned(WEST)
    (text,) = said()
    assert f"west does not start: {WEST}/shm: {line}" in text
    assert planned(EAST) == ("overlaps" not in line), "memory that two regions name is neither's"


def test_a_direct_map_domain_has_one_address() -> None:
    opened(shm(GOOD), shm("0x70000000 0x70000000 0x200000"))
    assert not planned(EAST, direct=True) and "has two addresses" in said()[0]
    assert planned(WEST, direct=True)
    opened(shm("0x50000000 0x200000"))
    assert not planned(EAST, direct=True) and "has two addresses" in said()[0]


# ---- lives


def domain(number: int, path: str) -> Any:
    d = DOMAINS[number]
    d.id, d.node = number, values.fdt_find(HOST_TREE, view(path))
    return d


@given(st.booleans(), st.lists(st.tuples(st.integers(0, 1), st.booleans()), max_size=12))
@settings(max_examples=40)
def test_memory_is_zero_at_first_kept_while_used_and_cleared_at_the_end(placed: bool, steps: list[tuple[int, bool]]) -> None:
    """Any order of beginnings and ends: what a user wrote is there as long as one has it, and afterwards never again."""
    where = "0x70000000 " if placed else ""
    opened(shm(f"{where}0x50000000 0x200000"), shm(f"{where}0x60000000 0x200000"))
    RAM[:] = b"\xa5" * RAM_SIZE
    free = memory_free()
    users: set[int] = set()
    wrote = False
    for number, begins in steps:
        d = domain(number, (EAST, WEST)[number])
        if begins and number not in users:
            assert shared_memory_acquire(d) == Result.OK
            users.add(number)
            r = SHARED.regions[0]
            at = int(r.base) - RAM_BASE
            assert r.users == len(users) and r.base % (2 * MIB) == 0
            assert (RAM[at : at + 2 * MIB].count(0) == 2 * MIB) != (wrote and len(users) > 1)
            RAM[at] = 1
            wrote = True
            assert int(shared_memory_tables(d)) == 1
        elif not begins and number in users:
            shared_memory_release(d)
            users.remove(number)
            if not users:
                wrote = False
                assert not any(RAM[at : at + 2 * MIB])
    assert memory_free() == (free if placed or not users else free - 2 * MIB)
    for number in users:
        shared_memory_release(domain(number, (EAST, WEST)[number]))
    assert memory_free() == free


def test_a_region_that_cannot_be_had() -> None:
    """What was acquired before goes back."""
    opened(shm("0x50000000 0x200000") + shm("0x60000000 0x1000000", "large", "two"))
    d = domain(0, EAST)
    free = memory_free()
    assert shared_memory_acquire(d) == Result.NO_MEMORY
    shared_memory_release(d)
    assert memory_free() == free and SHARED.regions[0].users == 0


def test_nobody_else_gets_the_memory() -> None:
    opened(shm(GOOD))
    got = 0
    while base := int(memory.pages_alloc(1, PAGE_SIZE)):
        assert not 0x70000000 <= base < 0x70200000
        got += PAGE_SIZE
    assert got == RAM_SIZE - 2 * MIB
