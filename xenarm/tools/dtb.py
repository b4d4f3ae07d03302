"""A device tree that is read, changed and written: the PyPI library `fdt` with its faults kept in here.

Its string class refuses the empty string, so every value is set as bytes. Its list of memory
reservations is one default argument shared by every tree, so it is emptied before each use.
"""

from __future__ import annotations

import struct
from typing import Any

import fdt

from xenarm.tools.errors import ToolError

# A header, no reservation, and a root without anything (Devicetree Specification v0.4, chapter 5).
EMPTY = struct.pack(">10I2Q4I", 0xD00D_FEED, 72, 56, 72, 40, 17, 16, 0, 0, 16, 0, 0, 1, 0, 2, 9)


BEGIN_NODE, PROP, NOP, END = 1, 3, 4, 9  # tokens of the structure block (Devicetree Specification 5.4.1)


def token_size(structure: bytes, at: int) -> int:
    """Bytes of the token at an offset, with what follows it and its padding."""
    token = int.from_bytes(structure[at : at + 4])
    size = 4
    if token == BEGIN_NODE:
        size = structure.index(0, at + 4) + 1 - at
    elif token == PROP:
        size = 12 + int.from_bytes(structure[at + 4 : at + 8])
    return (size + 3) & ~3


def without_nops(blob: bytes) -> bytes:
    """The same tree without FDT_NOP, which QEMU leaves where it takes nodes away, and which the library does not know."""
    start, size = struct.unpack_from(">8xI24xI", blob)[:2] if len(blob) >= 40 else (0, 0)
    structure, kept, at = blob[start : start + size], b"", 0
    while at < len(structure):
        token = int.from_bytes(structure[at : at + 4])
        end = at + token_size(structure, at)
        kept += b"" if token == NOP else structure[at:end]
        at = len(structure) if token == END else end
    return blob[:start] + kept + bytes(size - len(kept)) + blob[start + size :]


class Tree:
    """A device tree; nodes are named by their full path and made when they are first given a property."""

    def __init__(self, blob: bytes) -> None:
        shared: list[Any] = fdt.FDT().entries
        shared.clear()
        try:
            self._tree = fdt.parse_dtb(without_nops(blob))
        except Exception as error:  # the library raises whatever it comes across
            raise ToolError(f"the device tree cannot be read ({error})") from error
        self._tree.entries = list(shared)

    def set_bytes(self, path: str, name: str, value: bytes) -> None:
        """Set a property to any value."""
        node = self._tree.get_node(path, create=True)
        if node.exist_property(name):
            node.remove_property(name)
        node.append(fdt.PropBytes(name, data=value) if value else fdt.Property(name))

    def set_words(self, path: str, name: str, *words: int) -> None:
        """Set a property to 32-bit cells."""
        self.set_bytes(path, name, struct.pack(f">{len(words)}I", *words))

    def set_strings(self, path: str, name: str, *strings: str) -> None:
        """Set a property to a list of strings."""
        self.set_bytes(path, name, b"".join(string.encode() + b"\0" for string in strings))

    def set_flag(self, path: str, name: str) -> None:
        """Set a property that has no value."""
        self.set_bytes(path, name, b"")

    def remove(self, path: str, name: str) -> None:
        """Remove a property if it is there."""
        node = self._tree.get_node(path)
        if node.exist_property(name):
            node.remove_property(name)

    def remove_node(self, path: str) -> None:
        """Remove a node if it is there."""
        parent, name = path.rsplit("/", 1)
        if self._tree.exist_node(path):
            self._tree.get_node(parent or "/").remove_subnode(name)

    def words(self, path: str, name: str) -> list[int]:
        """The 32-bit cells of a property; none if it is not there."""
        node = self._tree.get_node(path)
        if not node.exist_property(name):
            return []
        data = node.get_property(name).data
        return [int(word) for word in data] if not isinstance(data, (bytes, bytearray)) else list(struct.unpack(f">{len(data) // 4}I", data))

    def memory(self) -> list[tuple[int, int]]:
        """The banks of every /memory node: address and size."""
        cells = [(self.words("/", f"#{kind}-cells") or [default])[0] for kind, default in (("address", 2), ("size", 1))]
        found = []
        for node in self._tree.get_node("/").nodes:
            words = self.words(f"/{node.name}", "reg") if node.name.partition("@")[0] == "memory" else []
            for at in range(0, len(words), sum(cells)):
                row = words[at : at + sum(cells)]
                base, size = (int.from_bytes(struct.pack(f">{len(part)}I", *part), "big") for part in (row[: cells[0]], row[cells[0] :]))
                found.append((base, size))
        return found

    def reserve(self, address: int, size: int) -> None:
        """Add a memory reservation."""
        self._tree.entries.append({"address": address, "size": size})

    def blob(self) -> bytes:
        """The tree as a blob."""
        return bytes(self._tree.to_dtb(version=17))


def empty() -> Tree:
    """A tree with a root and nothing else."""
    return Tree(EMPTY)
