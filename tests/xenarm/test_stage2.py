"""Stage 2 against a list of what was mapped, newest last; and what the tables must never show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freestanding import hosted, zeroed
from xenarm.core import memory
from xenarm.core.addresses import GIB, MIB, PAGE_SIZE, GuestPhys, HostPhys
from xenarm.core.memory import MEMORY, memory_free
from xenarm.core.result import Result
from xenarm.p2m.stage2 import (
    IPA_BITS,
    ROOT_PAGES,
    MemoryKind,
    Stage2Entry,
    p2m_discard,
    p2m_init,
    p2m_map,
    p2m_tables_for,
    p2m_translate,
    p2m_unmap,
)
from xenarm.p2m.state import P2m, Vmid

TABLES = 0x7000_0000
TABLE_BYTES = 2 * MIB
RAM = bytearray(TABLE_BYTES)


@pytest.fixture(autouse=True, scope="module")
def tables() -> Iterator[None]:
    hosted.engine().memory.map(TABLES, RAM)
    yield
    hosted.engine().memory.unmap(TABLES)
    reset(0)


def reset(size: int = TABLE_BYTES) -> None:
    for count in ("bank_count", "claim_count", "free_count", "free_pages", "free_page_count"):
        setattr(MEMORY, count, 0)
    if size:
        memory.span_add(TABLES, TABLES + size)


def fresh(size: int = TABLE_BYTES) -> P2m:
    reset(size)
    p: P2m = zeroed(P2m)
    assert p2m_init(p, Vmid(1), size // PAGE_SIZE) == Result.OK
    return p


def step(unit: int, most: int, first: int, last: int) -> st.SearchStrategy[tuple[bool, int, int, int]]:
    """Map or unmap some units somewhere."""
    place = st.integers(first, last).map(lambda n: n * unit)
    return st.tuples(st.booleans(), place, place, st.integers(1, most).map(lambda n: n * unit))


steps = st.one_of(
    step(PAGE_SIZE, 600, 512 * 512, 512 * 512 + 3 * 512),
    step(2 * MIB, 4, 510, 520),
    step(GIB, 2, 1, 4),
    step(GIB, 2, 510, 514),
)


def expected(done: list[tuple[bool, int, int, int]], ipa: int) -> int | None:
    for mapped, start, pa, size in reversed(done):
        if start <= ipa < start + size:
            return pa + ipa - start if mapped else None
    return None


@given(st.lists(steps, max_size=6), st.integers(0, 0xFFF))
@settings(max_examples=40, deadline=None)
def test_translation_follows_what_was_mapped(todo: list[tuple[bool, int, int, int]], inner: int) -> None:
    p = fresh()
    done: list[tuple[bool, int, int, int]] = []
    for mapped, ipa, pa, size in todo:
        if mapped:
            assert p2m_map(p, GuestPhys(ipa), HostPhys(pa), size, MemoryKind.RAM) == Result.OK
        else:
            assert p2m_unmap(p, GuestPhys(ipa), size) == Result.OK
        done.append((mapped, ipa, pa, size))
        edges = {e + d for _, start, _, length in done for e in (start, start + length) for d in (-PAGE_SIZE, 0, PAGE_SIZE)}
        for ipa in (e + inner for e in edges):
            result, found = p2m_translate(p, GuestPhys(ipa))
            want = expected(done, ipa)
            assert (int(found) if result == Result.OK else None) == want, hex(ipa)


def leaves(table: int, level: int, ipa: int) -> Iterator[tuple[int, int, int]]:
    """(ipa, level, descriptor) of every valid leaf below a table."""
    for i in range(512):
        at = table - TABLES + i * 8
        entry = int.from_bytes(RAM[at : at + 8], "little")
        here = ipa + (i << 12 + (3 - level) * 9)
        if entry & 1 and entry & 2 and level < 3:
            yield from leaves(entry & 0xFFFF_FFFF_F000, level + 1, here)
        elif entry & 1:
            yield here, level, entry


def test_the_largest_entries_are_used() -> None:
    p = fresh()
    assert p2m_map(p, GuestPhys(GIB), HostPhys(4 * GIB), GIB + 2 * MIB + PAGE_SIZE, MemoryKind.RAM) == Result.OK
    found = list(leaves(int(p.root), 1, 0))
    assert [level for _, level, _ in found] == [1, 2, 3]
    assert p.table_pages == 4


def test_an_offset_between_the_spaces_keeps_entries_small() -> None:
    p = fresh()
    assert p2m_map(p, GuestPhys(GIB), HostPhys(4 * GIB + PAGE_SIZE), 2 * MIB, MemoryKind.RAM) == Result.OK
    assert {level for _, level, _ in leaves(int(p.root), 1, 0)} == {3}


@pytest.mark.parametrize(("kind", "execute_never", "writable"), [(0, False, True), (1, True, True), (2, False, False), (3, True, True)])
def test_attributes(kind: int, execute_never: bool, writable: bool) -> None:
    p = fresh()
    assert p2m_map(p, GuestPhys(GIB), HostPhys(0), 2 * MIB + PAGE_SIZE, MemoryKind(kind)) == Result.OK
    for _, _, entry in leaves(int(p.root), 1, 0):
        fields = Stage2Entry.from_raw(entry)
        assert fields.AF
        assert fields.XN == execute_never
        assert bool(fields.S2AP & 2) == writable


@pytest.mark.parametrize(
    ("ipa", "pa", "size"),
    [(1, 0, PAGE_SIZE), (0, 1, PAGE_SIZE), (0, 0, 1), (1 << IPA_BITS, 0, PAGE_SIZE), ((1 << IPA_BITS) - PAGE_SIZE, 0, 2 * PAGE_SIZE)],
)
def test_unsound_ranges_are_refused(ipa: int, pa: int, size: int) -> None:
    p = fresh()
    assert p2m_map(p, GuestPhys(ipa), HostPhys(pa), size, MemoryKind.RAM) == Result.INVALID
    if pa == 0:
        assert p2m_unmap(p, GuestPhys(ipa), size) == Result.INVALID


def test_no_memory_for_tables_is_an_error_and_no_more() -> None:
    p = fresh(3 * PAGE_SIZE)
    assert p2m_map(p, GuestPhys(0), HostPhys(0), PAGE_SIZE, MemoryKind.RAM) == Result.NO_MEMORY
    assert p2m_translate(p, GuestPhys(0))[0] == Result.NOT_FOUND


pages = st.integers(0, 3 * 512 * 512).map(lambda n: n * PAGE_SIZE)
blocks = st.integers(0, 3 * 512).map(lambda n: n * 2 * MIB)
gibs = st.integers(0, 3).map(lambda n: n * GIB)


@given(pages | blocks | gibs, pages | blocks | gibs, pages | blocks | gibs)
def test_the_tables_that_a_range_takes_are_known_before(ipa: int, pa: int, size: int) -> None:
    """The pool is made of that count: one less would not do, and none is left over."""
    count = int(p2m_tables_for(ipa, pa, size))
    if not size or count > TABLE_BYTES // PAGE_SIZE - ROOT_PAGES:
        assert size or count == 0
        return
    p = fresh((ROOT_PAGES + count) * PAGE_SIZE)
    assert p2m_map(p, GuestPhys(ipa), HostPhys(pa), size, MemoryKind.RAM) == Result.OK
    assert p.table_pages == p.pool_pages == ROOT_PAGES + count


def test_a_pool_that_is_used_up_is_its_domains_trouble_alone() -> None:
    """What the allocator still has is not touched, nor what another domain has; given back, all of it is there again."""
    reset()
    one, two = zeroed(P2m), zeroed(P2m)
    for number, p in enumerate((one, two)):
        assert p2m_init(p, Vmid(number + 1), ROOT_PAGES + 2) == Result.OK
    free = memory_free()
    assert p2m_map(one, GuestPhys(GIB), HostPhys(PAGE_SIZE), 2 * MIB, MemoryKind.RAM) == Result.OK
    assert p2m_map(one, GuestPhys(2 * GIB), HostPhys(PAGE_SIZE), 2 * MIB, MemoryKind.RAM) == Result.NO_MEMORY
    assert memory_free() == free
    assert p2m_map(two, GuestPhys(GIB), HostPhys(PAGE_SIZE), 2 * MIB, MemoryKind.RAM) == Result.OK
    p2m_discard(one)
    p2m_discard(two)
    assert memory_free() == TABLE_BYTES and (one.pool_pages, one.table_pages) == (0, 0)


def test_a_vmid_is_needed() -> None:
    reset()
    p: P2m = zeroed(P2m)
    assert p2m_init(p, Vmid(0), 4) == Result.INVALID
    assert p2m_init(p, Vmid(256), 4) == Result.INVALID
    assert p2m_init(p, Vmid(1), ROOT_PAGES - 1) == Result.INVALID
    assert memory_free() == TABLE_BYTES


def test_no_address_is_beyond_the_tables() -> None:
    p = fresh()
    for ipa in (1 << IPA_BITS, (1 << 64) - 1):
        assert p2m_translate(p, GuestPhys(ipa))[0] == Result.NOT_FOUND
