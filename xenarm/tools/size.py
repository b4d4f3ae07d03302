"""`make size`: what an image's bytes are, by Python module and function, and how two builds differ.

Each byte of the file counts once; what the boot clears or claims in memory (bss) is shown beside it.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from freestanding.attribution import Piece, attribute
from freestanding.elf import Image
from xenarm.tools.errors import ToolError, run_tool
from xenarm.tools.paths import DEFAULT_BOARD, board_dir, shown

KINDS = ("code", "constants", "data", "alignment", "boot only", "bss")
LARGEST = 40  # functions shown when nobody asks for all
WIDTH = 150  # columns where there is no terminal


@dataclass
class Share:
    """Bytes by kind. `boot only` are those of the file that become free memory after the boot; they are in no other kind."""

    by_kind: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, piece: Piece) -> None:
        self.by_kind[kind_of(piece)] += piece.size

    @property
    def file(self) -> int:
        """Bytes of the image's file."""
        return sum(size for kind, size in self.by_kind.items() if kind != "bss")

    @property
    def total(self) -> int:
        return self.file + self.by_kind["bss"]


def kind_of(piece: Piece) -> str:
    if not piece.loaded:
        return "bss"
    if piece.once:
        return "boot only"
    return "alignment" if piece.module == "(alignment)" else piece.kind


Shares = dict[str, Share]


def by_module(pieces: Iterable[Piece]) -> Shares:
    shares: Shares = defaultdict(Share)
    for piece in pieces:
        shares[piece.module].add(piece)
    return shares


def by_function(pieces: Iterable[Piece]) -> Shares:
    """Functions and statics, by `module.name`."""
    shares: Shares = defaultdict(Share)
    for piece in pieces:
        shares[f"{piece.module}.{piece.name.removesuffix(' (text)')}"].add(piece)
    return shares


def elf_of(path: Path) -> Path:
    """The ELF file that a path means: itself, or the one in a build's directory."""
    found = path / "xenarm.elf" if path.is_dir() else path
    if found.suffix != ".elf" and found.with_name(found.name + ".elf").exists():
        found = found.with_name(found.name + ".elf")
    if not found.exists():
        raise ToolError(f"there is no {shown(found)}: build it first, or name an ELF file or the directory of a build")
    return found


def read(path: Path) -> tuple[Image, list[Piece]]:
    """An image and its bytes' owners."""
    found = elf_of(path)
    data = found.read_bytes()
    if data[:4] != b"\x7fELF":
        raise ToolError(f"{shown(found)} is no ELF file: name the .elf beside the image")
    image = Image(data)
    if not image.section(".names"):
        raise ToolError(f"{shown(found)} does not say what its symbols are in Python: build it again")
    return image, attribute(image)


def table(title: str, *columns: str) -> Table:
    """A plain table whose numbers stand on the right."""
    made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    made.add_column("", no_wrap=True, overflow="fold")
    for column in columns:
        made.add_column(column, justify="right")
    return made


def number(value: int) -> str:
    return f"{value:,}" if value else ""


def difference(value: int) -> str:
    return f"{value:+,}" if value else "0"


def shares_table(title: str, shares: Shares, rows: list[str], rest: str = "") -> Table:
    """Rows by kind, and their sum."""
    made = table(title, "file", *KINDS)
    for name in rows:
        share = shares[name]
        made.add_row(Text(name), number(share.file), *(number(share.by_kind[kind]) for kind in KINDS))
    left = [share for name, share in shares.items() if name not in set(rows)]
    if left and rest:
        made.add_row(Text(rest), number(sum(s.file for s in left)), *(number(sum(s.by_kind[k] for s in left)) for k in KINDS))
    made.add_section()
    everything = shares.values()
    made.add_row("sum", number(sum(s.file for s in everything)), *(number(sum(s.by_kind[k] for s in everything)) for k in KINDS))
    return made


def largest_first(shares: Shares) -> list[str]:
    return sorted(shares, key=lambda name: (-shares[name].file, -shares[name].total, name))


def show(console: Console, pieces: list[Piece], everything: bool, module: str) -> None:
    """One build."""
    chosen = [piece for piece in pieces if not module or piece.module.endswith(module) or piece.module.startswith(module)]
    if not chosen:
        raise ToolError(f"nothing in the image comes from {module}")
    modules = by_module(chosen)
    console.print(shares_table("Modules", modules, largest_first(modules)))
    if everything or module:
        for name in largest_first(modules):
            functions = by_function(piece for piece in chosen if piece.module == name)
            console.print(shares_table(name, functions, largest_first(functions)))
        return
    functions = by_function(chosen)
    console.print(shares_table(f"The {LARGEST} largest functions and statics (ALL=1 shows all)", functions, largest_first(functions)[:LARGEST], "all others"))


@dataclass(frozen=True)
class Change:
    """Bytes of one owner in two builds, of the file and of bss."""

    name: str
    file: tuple[int, int]
    bss: tuple[int, int]

    @property
    def in_file(self) -> int:
        return self.file[1] - self.file[0]

    @property
    def in_bss(self) -> int:
        return self.bss[1] - self.bss[0]

    @property
    def word(self) -> str:
        """What happened; the file's bytes decide, where they are the same bss's."""
        if not any((self.file[0], self.bss[0])):
            return "added"
        if not any((self.file[1], self.bss[1])):
            return "removed"
        return "grown" if (self.in_file or self.in_bss) > 0 else "shrunk"


def changes(old: Shares, new: Shares) -> list[Change]:
    """Each that differs, the largest change of the file first."""
    rows = []
    for name in {*old, *new}:
        before, after = old.get(name, Share()), new.get(name, Share())
        row = Change(name, (before.file, after.file), (before.by_kind["bss"], after.by_kind["bss"]))
        if row.in_file or row.in_bss:
            rows.append(row)
    return sorted(rows, key=lambda row: (-abs(row.in_file), -abs(row.in_bss), row.name))


def changes_table(title: str, rows: list[Change]) -> Table:
    """Bytes of the file, and beside them how bss changed; the sums are the two images' difference."""
    made = table(title, "", "before", "after", "change", "bss")
    for row in rows:
        made.add_row(Text(row.name), row.word, number(row.file[0]), number(row.file[1]), difference(row.in_file), difference(row.in_bss))
    made.add_section()
    made.add_row("sum", "", "", "", difference(sum(row.in_file for row in rows)), difference(sum(row.in_bss for row in rows)))
    return made


def compare(console: Console, old: list[Piece], new: list[Piece]) -> None:
    """Two builds: what each module and each function lost or won."""
    before, after = (sum(piece.size for piece in pieces if piece.loaded) for pieces in (old, new))
    console.print(changes_table("Modules that changed", changes(by_module(old), by_module(new))))
    console.print(changes_table("Functions and statics that changed", changes(by_function(old), by_function(new))))
    console.print(f"image: {before:,} bytes before, {after:,} after, {difference(after - before)}")


def main() -> None:
    """Show one build, or two."""
    parser = argparse.ArgumentParser(prog="size", description="attribute an image's bytes to Python modules and functions")
    parser.add_argument("--board", default=DEFAULT_BOARD)
    parser.add_argument("--elf", type=Path, help="another ELF file, or the directory of a build")
    parser.add_argument("--against", type=Path, help="compare with this ELF file, or the directory of a build")
    parser.add_argument("--module", default="", help="only this module or package")
    parser.add_argument("--all", action="store_true", help="every function of every module")
    arguments = parser.parse_args()
    path = elf_of(arguments.elf or board_dir(arguments.board))
    console = Console(width=None if Console().is_terminal else WIDTH, highlight=False)
    _, pieces = read(path)
    if arguments.against:
        compare(console, read(arguments.against)[1], pieces)
    else:
        show(console, pieces, arguments.all, arguments.module)
        loaded = sum(piece.size for piece in pieces if piece.loaded)
        console.print(f"{shown(path)}: image {loaded:,} bytes, of which {sum(p.size for p in pieces if p.loaded and p.once):,} are free after the boot")
        packed = path.with_suffix("").stat().st_size
        if packed != loaded:
            console.print(f"{shown(path.with_suffix(''))}: {packed:,} bytes compressed")


if __name__ == "__main__":
    run_tool(main)
