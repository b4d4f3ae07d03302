"""Thumb code as it is read: where instructions begin, which of them call, which use FP or SIMD registers (Arm ARM for ARMv7-A, A6).

And the one rule for Thumb and A32 in one image: what either calls of the other is known to be a function.
"""
from __future__ import annotations

import bisect
import struct
from collections.abc import Iterator
from typing import Any

from .elf import Image


def instructions(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Offset, size and word of each instruction of a run of code. A word of 32 bits has its first halfword on top."""
    halves = struct.unpack(f"<{len(data) // 2}H", data[:len(data) // 2 * 2])
    at = 0
    while at < len(halves):
        if halves[at] >> 11 < 0b11101 or at + 1 == len(halves):
            yield 2 * at, 2, halves[at]
            at += 1
        else:
            yield 2 * at, 4, halves[at] << 16 | halves[at + 1]
            at += 2


def is_call(size: int, word: int) -> bool:
    """BL and BLX, immediate (A6.3.4) or register (A6.2.3)."""
    return word & 0xF800_C000 == 0xF000_C000 if size == 4 else word & 0xFF87 == 0x4780


def is_floating(size: int, word: int) -> bool:
    """Coprocessors 10 and 11 (A6.3.18), Advanced SIMD's data processing, its loads and stores of elements (A7.4, A7.7)."""
    if size == 2:
        return False
    if word >> 24 & 0xEF == 0xEF or word >> 20 & 0xFF1 == 0xF90:
        return True
    return word >> 26 & 0x3B == 0x3B and word >> 24 & 15 != 15 and word >> 9 & 7 == 5


_BRANCHES = (10, 28, 29, 30)       # R_ARM_THM_CALL, R_ARM_CALL, R_ARM_JUMP24, R_ARM_THM_JUMP24 (ELF for the Arm Architecture)


def refuse_unknown_state(image: Image) -> None:
    """Raise BuildError where a branch leads to the other instruction set by a symbol that is no function: a linker changes nothing there."""
    from .toolchain import BuildError
    if image.machine != "armv7":
        return
    runs = sorted((start, kind) for start, _, kind in image.runs())
    starts = [start for start, _ in runs]

    def kind(address: int) -> str:
        return runs[max(bisect.bisect_right(starts, address) - 1, 0)][1]

    for relocation, symbol in _symbol_relocations(image):
        if relocation["r_info_type"] in _BRANCHES and symbol["st_info"]["type"] == "STT_NOTYPE" and symbol["st_shndx"] != "SHN_UNDEF":
            place = relocation["r_offset"]
            if kind(place) != kind(symbol["st_value"]):
                raise BuildError(f"{image.function_at(place)} branches to {symbol.name} of the other instruction set, whose assembly does not say "
                                 f"that it is a function: add '.type {symbol.name}, %function' there")


def _symbol_relocations(image: Image) -> Iterator[tuple[Any, Any]]:
    """Each relocation that the linker kept, with its symbol."""
    for section in image.elf.iter_sections():
        if section["sh_type"] == "SHT_REL":
            relocations: Any = section
            symbols: Any = image.elf.get_section(section["sh_link"])
            yield from ((relocation, symbols.get_symbol(relocation["r_info_sym"])) for relocation in relocations.iter_relocations())
