"""Linked ELF files as the toolchain reads them: symbols, sections, the flat image, the records of checks."""
from __future__ import annotations

import bisect
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from .errors import PANIC_KINDS

_RECORD = struct.Struct("<QIIII")


@dataclass(frozen=True, order=True)
class PanicSite:
    """A trap instruction: its address, and what it says."""
    address: int
    kind: str
    file: str
    line: int
    message: str = ""


class Image:
    """One ELF file in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.elf = ELFFile(io.BytesIO(data))

    @property
    def machine(self) -> str:
        """aarch64, armv7 or x86_64."""
        return {"EM_AARCH64": "aarch64", "EM_ARM": "armv7", "EM_X86_64": "x86_64"}.get(self.elf["e_machine"], "")

    def section(self, name: str) -> bytes:
        """A section's bytes; empty when there is none."""
        found = self.elf.get_section_by_name(name)
        return b"" if found is None or found["sh_type"] == "SHT_NOBITS" else bytes(found.data())

    @cached_property
    def symbol_entries(self) -> list[Any]:
        table = self.elf.get_section_by_name(".symtab")
        return list(table.iter_symbols()) if isinstance(table, SymbolTableSection) else []

    @cached_property
    def symbols(self) -> dict[str, int]:
        """Addresses of defined symbols by name (a local one where no global one has it)."""
        found: dict[str, int] = {}
        for entry in sorted(self.symbol_entries, key=lambda s: s["st_info"]["bind"] != "STB_LOCAL"):
            if entry.name and entry["st_shndx"] != "SHN_UNDEF" and entry["st_info"]["type"] not in ("STT_FILE", "STT_SECTION"):
                found[entry.name] = entry["st_value"]
        return found

    def symbol_needs(self) -> tuple[set[str], set[str]]:
        """Global symbols that are undefined, and those that are defined."""
        missing: set[str] = set()
        present: set[str] = set()
        for entry in self.symbol_entries:
            if entry.name and entry["st_info"]["bind"] != "STB_LOCAL":
                (missing if entry["st_shndx"] == "SHN_UNDEF" else present).add(entry.name)
        return missing, present

    @cached_property
    def functions(self) -> list[tuple[int, str]]:
        """Code symbols in order of address (assembly labels too), without the assembler's mapping symbols."""
        code = {n for n, s in enumerate(self.elf.iter_sections()) if s["sh_flags"] & 4}
        found = {(e["st_value"] & (~1 if self.machine == "armv7" else ~0), e.name) for e in self.symbol_entries
                 if e["st_shndx"] in code and e.name and not e.name.startswith("$") and e["st_info"]["type"] in ("STT_FUNC", "STT_NOTYPE")}
        return sorted(found)

    def function_at(self, address: int) -> str:
        """The code symbol an address lies in or after; empty when there is none."""
        position = bisect.bisect_right(self.functions, (address, "\U0010ffff"))
        return self.functions[position - 1][1] if position else ""

    def code(self) -> list[tuple[int, bytes]]:
        """Address and bytes of every executable section."""
        return [(s["sh_addr"], s.data()) for s in self.elf.iter_sections()
                if s["sh_flags"] & 4 and s["sh_flags"] & 2 and s["sh_type"] != "SHT_NOBITS" and s["sh_size"]]

    def runs(self) -> Iterator[tuple[int, bytes, str]]:
        """Address, bytes and kind of each run in executable sections: x, a and t for A64, A32 and Thumb, d for data, by the mapping symbols."""
        marks: dict[int, str] = {}
        for entry in self.symbol_entries:
            if entry.name[:2] in ("$d", "$x", "$a", "$t") and (entry.name[1] != "d" or entry["st_value"] not in marks):
                marks[entry["st_value"]] = entry.name[1]
        places = sorted(marks)
        for base, data in self.code():
            end = base + len(data)
            inside = places[bisect.bisect_right(places, base):bisect.bisect_left(places, end)]
            kind = marks.get(base, "a" if self.machine == "armv7" else "x")
            for start, following in zip([base, *inside], [*inside, end]):
                yield start, data[start - base:following - base], marks.get(start, kind)

    def flat(self) -> bytes:
        """The loadable segments as one run of bytes from the lowest address on."""
        segments = [s for s in self.elf.iter_segments("PT_LOAD") if s["p_filesz"]]
        if not segments:
            return b""
        base = min(s["p_paddr"] for s in segments)
        image = bytearray(max(s["p_paddr"] + s["p_filesz"] for s in segments) - base)
        for segment in segments:
            at = segment["p_paddr"] - base
            image[at:at + segment["p_filesz"]] = segment.data()
        return bytes(image)

    @property
    def text_start(self) -> int:
        """What offsets of code are counted from: `__text_start`, else the start of `.text`."""
        if "__text_start" in self.symbols:
            return self.symbols["__text_start"]
        found = self.elf.get_section_by_name(".text")
        return int(found["sh_addr"]) if found is not None else 0

    @cached_property
    def panics(self) -> list[PanicSite]:
        """All checks of the image, in order of address."""
        files, messages = _strings(self.section(".panic_files")), _strings(self.section(".panic_messages"))
        data = self.section(".panics")
        records = (_RECORD.unpack_from(data, at) for at in range(0, len(data) - _RECORD.size + 1, _RECORD.size))
        return sorted(PanicSite(address, PANIC_KINDS[kind - 1], files[file], line, messages[message])
                      for address, kind, file, line, message in records)


def _strings(data: bytes) -> list[str]:
    return [part.decode() for part in data.split(b"\0")[:-1]]
