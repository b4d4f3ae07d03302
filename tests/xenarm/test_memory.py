"""The memory map against sets of pages: banks less claims, overlaps named, and the allocator over any sequence of calls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from freestanding import View, array, u8, zeroed
from tests.xenarm.trees import compile_source
from xenarm.core import memory
from xenarm.core.addresses import HostPhys, IMAGE_SPACE, IMAGE_SPACE_END, MACHINE_END
from xenarm.core.memory import MEMORY, MOST_RANGES, ClaimKind
from xenarm.devicetree import reader, values
from xenarm.devicetree.reader import NO_NODE, Fdt, FdtError

PAGE = 4096
BASE = 0x4000_0000
PAGES = 4096  # of the model's machine: 16 MiB, eight 2 MiB blocks


@pytest.fixture(autouse=True)
def empty() -> None:
    reset()


def reset() -> None:
    for count in ("bank_count", "claim_count", "free_count", "free_pages", "free_page_count"):
        setattr(MEMORY, count, 0)


def free_set() -> set[int]:
    """Free pages by number; asserts that the spans are sorted, apart and whole."""
    pages: set[int] = set()
    last = -1
    for i in range(MEMORY.free_count):
        span = MEMORY.free[i]
        assert last < span.base < span.end, "spans are sorted, not empty, and merged where they touch"
        assert span.base % PAGE == 0 and span.end % PAGE == 0
        pages |= set(range(span.base // PAGE, span.end // PAGE))
        last = span.end
    return pages


def span(first: int, count: int) -> set[int]:
    return set(range(BASE // PAGE + first, BASE // PAGE + first + count))


ranges = st.tuples(st.integers(0, 200), st.integers(1, 40))


@given(st.lists(st.tuples(st.booleans(), ranges), max_size=40))
def test_adding_and_cutting(steps: list[tuple[bool, tuple[int, int]]]) -> None:
    reset()
    model: set[int] = set()
    for add, (first, count) in steps:
        pages = span(first, count)
        base, end = BASE + first * PAGE, BASE + (first + count) * PAGE
        if add and not pages & model:
            memory.span_add(base, end)
            model |= pages
        elif not add:
            memory.span_cut(base, end)
            model -= pages
        assert free_set() == model


class AllocatorMachine(RuleBasedStateMachine):
    """Allocations are inside what was free, aligned, disjoint; what is given back is free again."""

    def __init__(self) -> None:
        super().__init__()
        reset()
        memory.span_add(BASE, BASE + PAGES * PAGE)
        self.free = span(0, PAGES)
        self.held: list[tuple[int, int]] = []

    def hold(self, base: int, count: int, align: int) -> None:
        pages = set(range(base // PAGE, base // PAGE + count))
        assert base % align == 0
        assert pages <= self.free
        self.free -= pages
        self.held.append((base, count))

    @rule(count=st.integers(0, 1200), shift=st.integers(12, 22))
    @precondition(lambda self: MEMORY.free_count < MOST_RANGES - 2)
    def alloc(self, count: int, shift: int) -> None:
        base = int(memory.pages_alloc(count, 1 << shift))
        if base:
            self.hold(base, count, 1 << shift)
        elif count:
            aligned = [p for p in self.free if p << 12 & (1 << shift) - 1 == 0]
            assert not any(set(range(p, p + count)) <= self.free for p in aligned), "there was room"

    @rule(most=st.integers(0, 3000 * PAGE), shift=st.sampled_from([12, 21, 30]))
    @precondition(lambda self: MEMORY.free_count < MOST_RANGES - 2)
    def take(self, most: int, shift: int) -> None:
        base, size = (int(x) for x in memory.memory_take(most, 1 << shift))
        if size:
            assert size <= most and size % (1 << shift) == 0
            self.hold(base, size // PAGE, 1 << shift)

    @rule(data=st.data())
    @precondition(lambda self: self.held)
    def give_back(self, data: Any) -> None:
        base, count = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        memory.pages_free(HostPhys(base), count)
        self.free |= set(range(base // PAGE, base // PAGE + count))

    @invariant()
    def agrees(self) -> None:
        assert free_set() == self.free
        assert memory.memory_free() == len(self.free) * PAGE


TestAllocator = AllocatorMachine.TestCase


# ---- out of a tree


def load(source: str, image: tuple[int, int] = (0x40200000, 0x80000)) -> Fdt:
    """What memory_init does, less the mapping."""
    blob = compile_source("/dts-v1/;\n" + source)
    tree = zeroed(Fdt)
    assert reader.fdt_open(tree, View(blob, 0, len(blob))) == FdtError.NONE
    assert memory.find_claims(tree, HostPhys(0x48000000), HostPhys(image[0]), image[1])
    memory.find_banks(tree)
    memory.cut_claims(True)
    memory.cut_claims(False)
    return tree


def conflicts(tree: Fdt) -> set[tuple[str, str]]:
    """Every pair of claims in conflict, as the messages name them."""
    found = set()
    for i in range(MEMORY.claim_count):
        for k in range(i):
            if memory.conflict(MEMORY.claims[i], MEMORY.claims[k]):
                found.add((text(tree, i), text(tree, k)))
    return found


def text(tree: Fdt, index: int) -> str:
    out = array(u8, 128)
    return bytes(out[: memory.claim_text(tree, MEMORY.claims[index], out)]).decode()


MACHINE = """
{reserve}
/ {{
    #address-cells = <2>; #size-cells = <2>;
    memory@40000000 {{ device_type = "memory"; reg = <0 0x40000000 0 0x10000000>; }};
    reserved-memory {{
        #address-cells = <2>; #size-cells = <2>; ranges;
        {reserved}
    }};
    chosen {{
        #address-cells = <2>; #size-cells = <2>;
        one {{
            compatible = "xen,domain"; #address-cells = <1>; #size-cells = <1>;
            {modules}
        }};
    }};
}};
"""


def machine(reserve: str = "", reserved: str = "", modules: str = "") -> Fdt:
    return load(MACHINE.format(reserve=reserve, reserved=reserved, modules=modules))


def module(base: int, size: int) -> str:
    return f'module@{base:x} {{ compatible = "multiboot,kernel", "multiboot,module"; reg = <{base:#x} {size:#x}>; }};'


def test_banks_less_claims() -> None:
    tree = machine("/memreserve/ 0x47000800 0x1000;", "fw@4f000000 { reg = <0 0x4f000000 0 0x100000>; };", module(0x44000000, 0x123))
    assert memory.memory_bytes() == 0x10000000
    taken = set()
    blob_size = len(tree.blob)
    for base, size in ((0x40200000, 0x80000), (0x48000000, blob_size), (0x47000800, 0x1000), (0x4F000000, 0x100000), (0x44000000, 0x123)):
        taken |= set(range(base // PAGE, (base + size - 1) // PAGE + 1))
    assert free_set() == set(range(0x40000, 0x50000)) - taken
    assert not conflicts(tree)


def test_overlaps_are_named() -> None:
    tree = machine(
        "/memreserve/ 0x44000000 0x800;",
        "a@45000000 { reg = <0 0x45000000 0 0x100000>; }; b@450ff000 { reg = <0 0x450ff000 0 0x2000>; };",
        module(0x44000000, 0x1000) + module(0x44000F00, 0x200) + module(0x4027FFFF, 1) + module(0x48000000, 8),
    )
    one = "/chosen/one/module@"
    assert conflicts(tree) == {
        ("/reserved-memory/b@450ff000: reg", "/reserved-memory/a@45000000: reg"),
        (f"{one}44000f00: reg", f"{one}44000000: reg"),
        (f"{one}44000000: reg", "/memreserve/"),  # the reservation covers only a part
        (f"{one}4027ffff: reg", "the hypervisor's image"),
        (f"{one}48000000: reg", "the device tree"),
    }
    first = memory.memory_conflict(values.fdt_find(tree, View(b"/chosen/one/module@44000f00", 0, 27)))
    assert first is not None and first.kind == ClaimKind.MODULE
    assert memory.memory_conflict(NO_NODE) is None


def test_saying_a_thing_twice_is_no_conflict() -> None:
    tree = machine(
        "/memreserve/ 0x44000000 0x1000; /memreserve/ 0x48000000 0x100; /memreserve/ 0x4f000000 0x10; /memreserve/ 0x40200000 0x80000;",
        "fw@4f000000 { reg = <0 0x4f000000 0 0x100000>; };",
        module(0x44000000, 0x1000),
    )
    assert not conflicts(tree)


def test_a_reservation_without_reg_is_for_others() -> None:
    assert not conflicts(machine(reserved="pool { size = <0 0x1000000>; };"))


def test_memory_that_holds() -> None:
    machine()
    assert memory.memory_holds(0x40000000, 0x10000000)
    assert memory.memory_holds(0x4FFFFFFF, 1)
    for base, size in ((0x3FFFFFFF, 2), (0x50000000, 1), (0x4FFFFFFF, 2), (0x40000000, 0x10000001), (0x40000000, (1 << 64) - 1)):
        assert not memory.memory_holds(base, size)


def test_absurd_banks() -> None:
    load(
        """/ { #address-cells = <2>; #size-cells = <2>;
        memory@0 { device_type = "memory"; reg = <0xffffffff 0xfffff000 0 0x1000  0 0x1001 0 0x1fff  0 0x10000 0 0xfff  0 0x20000 0 0>; };
        };""",
        image=(0x9000000, 0x1000),
    )
    assert free_set() == {2}


def test_machines_end() -> None:
    load(
        """/ { #address-cells = <2>; #size-cells = <2>;
        memory@0 { device_type = "memory"; reg = <0 0 0xffffffff 0xffffffff>; }; };"""
    )
    assert memory.memory_bytes() == MACHINE_END - (IMAGE_SPACE_END - IMAGE_SPACE)
    assert memory.memory_holds(IMAGE_SPACE - 1, 1) and memory.memory_holds(IMAGE_SPACE_END, 1)
    assert not memory.memory_holds(IMAGE_SPACE - 1, 2) and not memory.memory_holds(IMAGE_SPACE, 1) and not memory.memory_holds(IMAGE_SPACE_END - 1, 2)
