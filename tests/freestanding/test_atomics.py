"""Atomics: the same results with load-link/store-conditional and with the large system extension's instructions."""
from __future__ import annotations

import capstone
import pytest

from freestanding import Array, Atomic, Struct, array, atomic, fn, u32, u64, zeroed

from tests.freestanding.building import built
from tests.freestanding.machines import EmulatedMachine


class Words(Struct):
    plain: Array[u32] = array(u32, 2)
    word: Atomic[u32] = atomic(u32)
    wide: Atomic[u64] = atomic(u64)


WORDS = zeroed(Words)


@fn
def mixed(a: u32, b: u64) -> u64:
    w = WORDS
    w.word.store(a)
    before = w.word.fetch_add(3)
    ored = w.word.fetch_or(0x100)
    anded = w.word.fetch_and(0xFFF)
    swapped, seen = w.word.compare_swap(anded & 0xFFF, 77)
    missed, kept = w.word.compare_swap(1, 2)
    last = w.word.exchange(5)
    WORDS.wide.store_release(b)
    total = u64(before) + u64(ored) * 3 + u64(anded) * 5 + u64(last) * 7 + u64(seen) * 11 + u64(kept) * 13
    if not swapped or missed:
        return 0
    return total + WORDS.wide.fetch_add(1) + WORDS.wide.load_acquire() + u64(w.word.load())


EXCLUSIVE = {"ldxr", "ldaxr", "stxr", "stlxr"}
LARGE = {"ldadd", "ldaddal", "ldset", "ldsetal", "ldclr", "ldclral", "swp", "swpal", "cas", "casal"}


def mnemonics(code: bytes) -> set[str]:
    return {i.mnemonic for i in capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM).disasm(code, 0)}


@pytest.mark.parametrize("features, present, absent", [((), EXCLUSIVE, LARGE), (("lse",), LARGE, EXCLUSIVE)])
def test_the_instructions_are_the_chosen_ones(features: tuple[str, ...], present: set[str], absent: set[str]) -> None:
    program, result = built("aarch64", mixed, features=features)
    text = result.image.elf.get_section_by_name(".text").data()
    assert mnemonics(text) & present
    assert not mnemonics(text) & absent
    machine = EmulatedMachine(program, result, "aarch64")
    assert machine.call("mixed", 9, 1 << 40) == int(mixed(9, 1 << 40))
