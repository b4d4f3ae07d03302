"""Code address to source line: the compact table that an image carries for its own backtraces, and the lookup for people.

The table: header {u32 magic, u32 entries, u32 offset of the strings, u32 total size}; entries {u32 offset from `__text_start`, u16
file, u16 line} sorted by offset, for every trap of a check and for every return address of a call; then NUL-terminated
file names. All little-endian. Where a return address is also a trap, the trap comes first.
"""
from __future__ import annotations

import bisect
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .elf import Image

MAGIC = 0x4C494E45          # "LINE"
_HEADER = struct.Struct("<IIII")
_ENTRY = struct.Struct("<IHH")


@dataclass(frozen=True, order=True)
class Row:
    """From this address on, code belongs to that line."""
    address: int
    file: str
    line: int


class Lines:
    """The DWARF line program of an image."""

    def __init__(self, image: Image) -> None:
        self.rows = sorted(_rows(image))
        self.addresses = [row.address for row in self.rows]

    def at(self, address: int) -> Row | None:
        """The row that covers an address; None outside of compiled code."""
        position = bisect.bisect_right(self.addresses, address)
        row = self.rows[position - 1] if position else None
        return row if row is not None and row.line else None


def _rows(image: Image) -> Iterator[Row]:
    """All rows; the end of a sequence has line 0."""
    if not image.elf.has_dwarf_info():
        return
    dwarf = image.elf.get_dwarf_info()
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        if program is None:
            continue
        files = _file_names(program)
        last: dict[int, Row] = {}
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            if state.end_sequence:
                last[state.address] = Row(state.address, "", 0)
            elif state.line:
                last[state.address] = Row(state.address, files.get(state.file, "?"), state.line)
        yield from last.values()


def _file_names(program: Any) -> dict[int, str]:
    """Names by number. DWARF 5 counts files and directories from 0, DWARF 4 from 1 (0 being the compilation's own directory)."""
    header = program.header
    first = 0 if header["version"] >= 5 else 1
    names = {}
    for number, entry in enumerate(header["file_entry"], start=first):
        index = entry["dir_index"] - first
        directory = header["include_directory"][index].decode() if index >= 0 else ""
        name = entry["name"].decode()
        names[number] = f"{directory}/{name}" if directory not in ("", ".") else name
    return names


def line_table(image: Image) -> bytes:
    """The table for an image."""
    places: dict[int, tuple[str, int]] = {}
    lines = Lines(image)
    for call, following in calls(image):
        row = lines.at(call)
        if row is not None:
            places[following] = (row.file, row.line)
    places |= {site.address: (site.file, site.line) for site in image.panics}
    start = image.text_start
    names = sorted({file for file, _ in places.values()})
    numbers = {file: n for n, file in enumerate(names)}
    entries = b"".join(_ENTRY.pack(address - start, numbers[file], min(line, 0xFFFF)) for address, (file, line) in sorted(places.items()))
    strings = b"".join(name.encode() + b"\0" for name in names)
    offset = _HEADER.size + len(entries)
    total = -(-(offset + len(strings)) // 8) * 8
    return (_HEADER.pack(MAGIC, len(places), offset, total) + entries + strings).ljust(total, b"\0")


def read_table(table: bytes) -> list[tuple[int, str, int]]:
    """Offset, file and line of every entry, as the image itself reads the table. Raises ValueError."""
    magic, count, strings, total = _HEADER.unpack_from(table)
    if magic != MAGIC or total > len(table):
        raise ValueError("no table of lines")
    names = [name.decode() for name in table[strings:total].split(b"\0")]
    rows = (_ENTRY.unpack_from(table, _HEADER.size + n * _ENTRY.size) for n in range(count))
    return [(offset, names[file], line) for offset, file, line in rows]


def calls(image: Image) -> Iterator[tuple[int, int]]:
    """Every call instruction with the address after it."""
    if image.machine == "x86_64":
        yield from _calls_x86(image)
        return
    test = _is_call_arm64 if image.machine == "aarch64" else _is_call_arm32
    for base, data in image.code():
        for number, word in enumerate(struct.unpack(f"<{len(data) // 4}I", data[:len(data) // 4 * 4])):
            if test(word):
                yield base + 4 * number, base + 4 * number + 4


def _is_call_arm64(word: int) -> bool:
    return word >> 26 == 0b100101 or word & 0xFFFFFC1F == 0xD63F0000        # BL, BLR


def _is_call_arm32(word: int) -> bool:
    if word >> 28 == 15:
        return word >> 25 & 7 == 5                                          # BLX immediate
    return word >> 24 & 15 == 11 or word & 0x0FFFFFF0 == 0x012FFF30         # BL, BLX register


def _calls_x86(image: Image) -> Iterator[tuple[int, int]]:
    import capstone
    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    engine.skipdata = True
    for base, data in image.code():
        for address, size, mnemonic, _ in engine.disasm_lite(data, base):
            if mnemonic.startswith("call"):
                yield address, address + size


def describe(image: Image, lines: Lines, address: int) -> str:
    """One line for a person: function, file and line, and the check where the address is a trap."""
    symbol = image.function_at(address)
    trap = {site.address: site for site in image.panics}.get(address)
    if trap is not None:
        message = f": {trap.message}" if trap.message else ""
        return f"{address:#x} {symbol} {trap.file}:{trap.line} (check: {trap.kind}{message})"
    row = lines.at(address)
    return f"{address:#x} {symbol or '?'} " + (f"{row.file}:{row.line}" if row else "?")
