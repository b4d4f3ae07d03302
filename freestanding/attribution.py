"""Every byte of a linked image with the Python module and the name that it comes from.

Functions and statics have symbols, and `.names` says what they are in Python. What the compiler put beside them without a symbol, strings,
jump tables and constants, belongs to what refers to it first, by the relocations that the linker keeps. The rest is alignment.
"""
from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .cwriter import read_origins, runtime_names
from .elf import Image

ALIGNMENT = "(alignment)"
LINES = "(table of lines)"
SHARED = "(shared by several)"          # what the compiler's outliner took out of several functions
RUNTIME = "freestanding.runtime"
LANGUAGE = "freestanding"

_ALLOCATED, _EXECUTABLE, _WRITABLE = 2, 4, 1
# R_ARM_ABS32, R_ARM_MOVW_ABS_NC, R_ARM_MOVT_ABS, R_ARM_THM_MOVW_ABS_NC, R_ARM_THM_MOVT_ABS: ELF for the Arm Architecture, "Relocation codes".
_ABS32, _MOVW, _MOVT, _THUMB_MOVW, _THUMB_MOVT = 2, 43, 44, 47, 48


@dataclass(frozen=True)
class Piece:
    """A run of bytes. `kind`: code, constants, data or bss; `loaded`: the image's file holds it; `once`: only the boot uses it."""
    address: int
    size: int
    section: str
    kind: str
    module: str
    name: str
    loaded: bool
    once: bool


def attribute(image: Image) -> list[Piece]:
    """All allocated bytes of an image, in order of address, without gap or overlap inside a section."""
    reader = _Reader(image)
    found = [piece for section in reader.sections for piece in reader.pieces(section)]
    return sorted([*found, *_file_gaps(found)], key=lambda piece: piece.address)


def _file_gaps(found: list[Piece]) -> list[Piece]:
    """What the flat image has between sections."""
    loaded = [piece for piece in found if piece.loaded]
    return [Piece(here.address + here.size, following.address - here.address - here.size, here.section, here.kind, ALIGNMENT, here.section, True, here.once)
            for here, following in zip(loaded, loaded[1:]) if following.address > here.address + here.size]


class _Reader:
    def __init__(self, image: Image) -> None:
        self.image = image
        self.sections = [s for s in image.elf.iter_sections() if s["sh_flags"] & _ALLOCATED and s["sh_size"]]
        self.origins = read_origins(image.section(".names"))
        self.runtime = runtime_names(image.machine)
        self.symbols = sorted(self._symbols())
        self.starts = [start for start, _, _ in self.symbols]
        self.references: dict[int, int] = {}
        for place, target in sorted(_references(image)):
            self.references.setdefault(target, place)
        self.targets = sorted(self.references)
        self.contents: dict[str, bytes] = {}

    def _symbols(self) -> Iterator[tuple[int, int, str]]:
        """Address, size (0: a label) and name of what lies in the sections."""
        numbers = {n for n, s in enumerate(self.image.elf.iter_sections()) if s["sh_flags"] & _ALLOCATED}
        for entry in self.image.symbol_entries:
            kind = entry["st_info"]["type"]
            if entry["st_shndx"] not in numbers or not entry.name or entry.name.startswith((".L", "$")):
                continue                                        # the compiler's own labels
            if kind in ("STT_FUNC", "STT_OBJECT") or (kind == "STT_NOTYPE" and entry.name in self.origins):
                thumb = 1 if self.image.machine == "armv7" and kind == "STT_FUNC" else 0
                yield entry["st_value"] & ~thumb, entry["st_size"], entry.name

    def origin(self, symbol: str) -> tuple[str, str]:
        """Module and name of a symbol; the compiler adds suffixes behind a dot to those that it makes from one."""
        base, _, suffix = symbol.partition(".")
        if base in self.origins:
            module, name = self.origins[base]
            return module, f"{name} (text)" if suffix.startswith("once_") else name
        if base.startswith("OUTLINED_FUNCTION"):
            return SHARED, "outlined code"
        return (RUNTIME if base in self.runtime else LANGUAGE), base

    def owner(self, address: int) -> tuple[str, str]:
        """Whose bytes an address lies in."""
        position = bisect.bisect_right(self.starts, address) - 1
        if position < 0:
            return LANGUAGE, "?"
        return self.resolved(self.symbols[position][2], self.symbols[position][0])

    def resolved(self, symbol: str, address: int, depth: int = 0) -> tuple[str, str]:
        """A static that no module names belongs to what refers to it."""
        module, name = self.origin(symbol)
        if module or depth > 4:
            return module or LANGUAGE, name
        place = self.references.get(address)
        if place is None:
            return LANGUAGE, name
        position = bisect.bisect_right(self.starts, place) - 1
        found = self.resolved(self.symbols[position][2], self.symbols[position][0], depth + 1)
        return found[0], name

    def pieces(self, section: Any) -> Iterator[Piece]:
        """One section, cut at its symbols; what lies between them too."""
        at, end = section["sh_addr"], section["sh_addr"] + section["sh_size"]
        inside = self.symbols[bisect.bisect_left(self.starts, at):bisect.bisect_left(self.starts, end)]
        for position, (start, size, name) in enumerate(inside):
            if start + size <= at and size:
                continue                                    # another name of the same bytes
            yield from self.between(section, at, max(at, start))
            at = max(at, start)
            following = next((s for s, _, _ in inside[position + 1:] if s > at), end)
            stop = min(start + size, end) if size else self.label_end(section, at, following)
            if stop > at:
                yield self.piece(section, at, stop, *self.resolved(name, start))
                at = stop
        yield from self.between(section, at, end)

    def label_end(self, section: Any, start: int, following: int) -> int:
        """Assembly has no sizes: it goes on to the next symbol, less the zeros that align that."""
        data = self.bytes(section, start, following)
        used = len(data.rstrip(b"\0")) + 3 & ~3
        return min(following, start + used) if used else following

    def bytes(self, section: Any, start: int, end: int) -> bytes:
        if section["sh_type"] == "SHT_NOBITS":
            return bytes(end - start)
        if section.name not in self.contents:
            self.contents[section.name] = bytes(section.data())
        return self.contents[section.name][start - section["sh_addr"]:end - section["sh_addr"]]

    def between(self, section: Any, start: int, end: int) -> Iterator[Piece]:
        """Bytes without a symbol: the table of lines, what something refers to, and alignment."""
        if start >= end:
            return
        table = self.lines(start, end)
        if table is not None:
            first, last = table
            yield from self.between(section, start, first)
            yield self.piece(section, first, last, LINES, section.name)
            yield from self.between(section, last, end)
            return
        marks = self.targets[bisect.bisect_left(self.targets, start):bisect.bisect_left(self.targets, end)]
        if section["sh_flags"] & _WRITABLE or section["sh_flags"] & _EXECUTABLE:
            marks = []
        cuts = [*marks, end]
        if cuts[0] > start:
            yield self.piece(section, start, cuts[0], ALIGNMENT, section.name)
        for here, following in zip(cuts, cuts[1:]):
            used = self.bytes(section, here, following)
            stop = here + min(len(used), len(used.rstrip(b"\0")) + 1)
            if following != end:
                stop = following
            yield self.piece(section, here, stop, *self.text_owner(self.references[here]))
            if stop < following:
                yield self.piece(section, stop, following, ALIGNMENT, section.name)

    def text_owner(self, place: int) -> tuple[str, str]:
        module, name = self.owner(place)
        return module, f"{name} (text)"

    def lines(self, start: int, end: int) -> tuple[int, int] | None:
        """Where a table of lines lies in a run."""
        for prefix in ("__lines", "__once_lines"):
            first, last = (self.image.symbols.get(f"{prefix}_{edge}", 0) for edge in ("start", "end"))
            if start <= first < last <= end:
                return first, last
        return None

    def piece(self, section: Any, start: int, end: int, module: str, name: str) -> Piece:
        flags, loaded = section["sh_flags"], section["sh_type"] != "SHT_NOBITS"
        kind = "code" if flags & _EXECUTABLE else "constants" if not flags & _WRITABLE else "data" if loaded else "bss"
        return Piece(start, end - start, section.name, kind, module, name, loaded, section.name.startswith(".once"))


def _references(image: Image) -> Iterable[tuple[int, int]]:
    """(place, target) of each relocation in allocated sections."""
    sections: list[Any] = list(image.elf.iter_sections())
    for relocations in sections:
        if relocations["sh_type"] not in ("SHT_RELA", "SHT_REL"):
            continue
        applied = sections[relocations["sh_info"]]
        if not applied["sh_flags"] & _ALLOCATED:
            continue
        if relocations["sh_type"] == "SHT_RELA":
            symbols = sections[relocations["sh_link"]]
            for r in relocations.iter_relocations():
                yield r["r_offset"], symbols.get_symbol(r["r_info_sym"])["st_value"] + r["r_addend"]
        else:
            yield from _references_in_place(relocations, applied)


def _references_in_place(relocations: Any, applied: Any) -> Iterable[tuple[int, int]]:
    """armv7 keeps addends in the instructions, which a linked file has complete: MOVW and MOVT by register, and words."""
    if applied["sh_type"] == "SHT_NOBITS":
        return
    data, base = applied.data(), applied["sh_addr"]
    low: dict[int, tuple[int, int]] = {}
    for r in sorted(relocations.iter_relocations(), key=lambda r: int(r["r_offset"])):
        place, kind = r["r_offset"], r["r_info_type"]
        word = int.from_bytes(data[place - base:place - base + 4], "little")
        register, half = (_thumb_move if kind in (_THUMB_MOVW, _THUMB_MOVT) else _move)(word)
        if kind == _ABS32:
            yield place, word
        elif kind in (_MOVW, _THUMB_MOVW):
            low[register] = (place, half)
        elif kind in (_MOVT, _THUMB_MOVT) and register in low:
            yield low[register][0], half << 16 | low[register][1]


def _move(word: int) -> tuple[int, int]:
    """Register and immediate of MOVW and MOVT in A32 (A8.8.102)."""
    return word >> 12 & 15, word >> 4 & 0xF000 | word & 0xFFF


def _thumb_move(word: int) -> tuple[int, int]:
    """The same in Thumb, whose second halfword is the upper one of the word: imm4, i, imm3, imm8."""
    return word >> 24 & 15, word << 12 & 0xF000 | word << 1 & 0x800 | word >> 20 & 0x700 | word >> 16 & 0xFF
