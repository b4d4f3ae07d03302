"""Code address to source line: the compact table that an image carries for its own backtraces, and the lookup for people.

The table: header {u32 magic, u32 entries, u32 offset of the names, u32 total size, u32 unit}, little-endian; then one entry for every
trap of a check and for every return address of a call, in order of address; then NUL-terminated names. An entry is one to three
numbers of seven bits a byte, lowest first, the top bit saying that more follow: (units of code since the entry before) * 4 + (the line is
that of the file's entry before) * 2 + (the file is another one); the file's number if so; unless it is the same, how the line differs from
that of the file's entry before, or from 0, n as 2n and -n as 2n - 1. It begins at `__text_start` with file 0. Where a return address is also
a trap, the trap counts. The first name is a directory's, and the others are files', from 0 on, without their `.py`; one that begins with `/` is in that directory.
"""
from __future__ import annotations

import bisect
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import thumb
from .elf import Image

MAGIC = 0x4C494E45          # "LINE"
UNITS = {"aarch64": 4, "armv7": 2, "x86_64": 1}     # bytes that every instruction's size is a multiple of
_HEADER = struct.Struct("<IIIII")


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
    dwarf = image.elf.get_dwarf_info(relocate_dwarf_sections=False)     # a linked file's sections are already
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


Places = dict[int, tuple[str, int]]


def line_table(image: Image, once: bool = False, found: Places | None = None) -> bytes:
    """The table for an image: of all code but what runs once (between `__once_text_start` and `__once_text_end`), or of that. `found`: its places, if known."""
    every = places_of(image) if found is None else found
    places = {at: place for at, place in every.items() if _runs_once(image, at) == once}
    unit = UNITS[image.machine]
    names = sorted({file for file, _ in places.values()})
    numbers = {file: n for n, file in enumerate(names)}
    lines = [0] * len(names)
    entries = bytearray()
    address, number = image.text_start, 0
    for at, (file, line) in sorted(places.items()):
        other = numbers[file] != number
        number = numbers[file]
        before, lines[number] = lines[number], line
        entries += _number((at - address) // unit << 2 | (line == before) << 1 | other)
        entries += _number(number) if other else b""
        if line != before:
            entries += _number(line - before << 1 if line > before else (before - line << 1) - 1)
        address = at
    strings = b"".join(name.encode() + b"\0" for name in _shortened(names))
    offset = _HEADER.size + len(entries)
    total = -(-(offset + len(strings)) // 8) * 8
    return (_HEADER.pack(MAGIC, len(places), offset, total, unit) + entries + strings).ljust(total, b"\0")


def _shortened(names: list[str]) -> list[str]:
    """The directory of most, and the names."""
    tops = [name.partition("/")[0] for name in names if "/" in name]
    directory = max(sorted(set(tops)), key=tops.count, default="")
    return [directory, *(name.removesuffix(".py").removeprefix(directory if name.startswith(f"{directory}/") else "") for name in names)]


def have_same_places(one: Image, other: Image) -> bool:
    """Whether code lies where it lies in the other: all addresses of its lines, calls and traps are the same."""
    lines = one.section(".debug_line") == other.section(".debug_line")
    return lines and one.panics == other.panics and list(calls(one)) == list(calls(other))


def places_of(image: Image) -> Places:
    """File and line of each return address and trap."""
    places: Places = {}
    lines = Lines(image)
    for call, following in calls(image):
        row = lines.at(call)
        if row is not None and row.file.endswith(".py"):
            places[following] = (row.file, row.line)
    return places | {site.address: (site.file, site.line) for site in image.panics}


def _runs_once(image: Image, address: int) -> bool:
    """A return address may be the end of the last function."""
    return image.symbols.get("__once_text_start", 0) < address <= image.symbols.get("__once_text_end", 0)


def _number(value: int) -> bytes:
    """Seven bits a byte, lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def read_table(table: bytes) -> list[tuple[int, str, int]]:
    """Offset, file and line of every entry, as the image itself reads the table. Raises ValueError."""
    magic, count, strings, total, unit = _HEADER.unpack_from(table)
    if magic != MAGIC or total > len(table):
        raise ValueError("no table of lines")
    directory, *names = [name.decode() for name in table[strings:total].split(b"\0")]
    numbers = _numbers(table[_HEADER.size:strings])
    rows = []
    offset, file = 0, 0
    lines = [0] * len(names)
    for _ in range(count):
        step = next(numbers)
        file = next(numbers) if step & 1 else file
        change = 0 if step & 2 else next(numbers)
        offset += (step >> 2) * unit
        lines[file] += change >> 1 if change & 1 == 0 else -(change + 1 >> 1)
        rows.append((offset, f"{directory if names[file].startswith('/') else ''}{names[file]}.py", lines[file]))
    return rows


def _numbers(data: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0


def calls(image: Image) -> Iterator[tuple[int, int]]:
    """Every call instruction with the address after it."""
    if image.machine == "x86_64":
        yield from _calls_x86(image)
        return
    for base, data, kind in image.runs():
        if kind == "t":
            yield from ((base + at, base + at + size) for at, size, word in thumb.instructions(data) if thumb.is_call(size, word))
        elif kind != "d":
            test = _is_call_arm64 if kind == "x" else _is_call_arm32
            words = struct.unpack(f"<{len(data) // 4}I", data[:len(data) // 4 * 4])
            yield from ((base + 4 * n, base + 4 * n + 4) for n, word in enumerate(words) if test(word))


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
