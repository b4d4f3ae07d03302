"""`make size`: every byte has an owner in Python, and two builds differ by what was changed in the source."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from freestanding.attribution import ALIGNMENT, LANGUAGE, LINES, RUNTIME, SHARED, Piece, attribute
from freestanding.elf import Image
from xenarm.tools import size
from xenarm.tools.errors import ToolError
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.paths import ROOT


def plain_of(image: Path) -> bytes:
    """The image's bytes, before they are compressed."""
    return Image(image.with_name(image.name + ".elf").read_bytes()).flat()


def pieces_of(image: Path) -> list[Piece]:
    return attribute(Image(image.with_name(image.name + ".elf").read_bytes()))


@pytest.fixture(scope="module", params=["xenarm", "xenarm32"])
def image(request: pytest.FixtureRequest) -> Path:
    hypervisor: Hypervisor = request.getfixturevalue(request.param)
    return hypervisor.image


def test_the_sum_is_the_files_size(image: Path) -> None:
    pieces = pieces_of(image)
    assert sum(piece.size for piece in pieces if piece.loaded) == len(plain_of(image))


def test_no_two_pieces_overlap_and_none_is_empty(image: Path) -> None:
    pieces = pieces_of(image)
    assert all(piece.size > 0 for piece in pieces)
    assert all(a.address + a.size <= b.address for a, b in zip(pieces, pieces[1:]))


def test_every_byte_comes_from_a_module_of_ours(image: Path) -> None:
    named = {ALIGNMENT, LINES, SHARED, RUNTIME, LANGUAGE}
    modules = {piece.module for piece in pieces_of(image)} - named
    assert not [module for module in modules if not (ROOT / (module.replace(".", "/") + ".py")).exists() and module != "freestanding.format"]
    assert "xenarm.main" in modules


def test_alignment_is_zeros_and_less_than_a_page_each(image: Path) -> None:
    """What is called alignment is nothing else: a stretch of zeros, of the linker's traps, or of NOPs of Thumb (00 BF)."""
    data = plain_of(image)
    pieces = [piece for piece in pieces_of(image) if piece.loaded]
    base = pieces[0].address
    for piece in pieces:
        if piece.module == ALIGNMENT:
            assert piece.size < 4096
            assert not data[piece.address - base : piece.address - base + piece.size].strip(b"\0\xd4\xbf")


def test_names_are_pythons(xenarm: Hypervisor) -> None:
    """A function, a method, a static, assembly, a text of a function that only the boot runs."""
    names = {(piece.module, piece.name) for piece in pieces_of(xenarm.image)}
    assert ("xenarm.devicetree.values", "fdt_compatible") in names
    assert ("xenarm.core.domain", "DOMAINS") in names
    assert ("xenarm.arm64.vectors", "vectors") in names
    assert ("xenarm.main", "boot_first_cpu (text)") in names
    assert not [name for _, name in names if name.startswith((".L", "$"))]


def test_texts_belong_to_who_says_them(xenarm: Hypervisor) -> None:
    data = xenarm.image.read_bytes()
    pieces = [piece for piece in pieces_of(xenarm.image) if piece.loaded]
    at = pieces[0].address + data.index(b"compatible with multiboot,kernel")
    owner = next(piece for piece in pieces if piece.address <= at < piece.address + piece.size)
    assert owner.module.startswith("xenarm.core.")
    assert owner.kind == "constants"


PROGRAM = '''
from freestanding import Struct, array, export, fn, u32
class Counter(Struct):
    value: u32
COUNT = Counter(value=u32(7))
WORDS = array(u32, {words})
@fn(inline=False)
def helper(n: u32) -> u32:
    return n * 3 + {constant} + WORDS[n]
{more}
@export("_start")
def start() -> u32:
    COUNT.value += 1
    WORDS[COUNT.value & 7] += 1
    return helper(COUNT.value){use}
'''
MORE = '''
@fn(inline=False)
def another(n: u32) -> u32:
    return n // 7 + n % 5
'''


def built(directory: Path, **values: object) -> Path:
    directory.mkdir()
    (directory / "program.py").write_text(PROGRAM.format(**values))
    command = [sys.executable, "-m", "freestanding", "build", "program", "-o", "xenarm"]
    subprocess.run(command, cwd=directory, check=True, env={"PYTHONPATH": f"{ROOT}:{directory}", "PATH": "/usr/bin:/bin"}, timeout=100)
    return directory


def test_two_builds_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = built(tmp_path / "old", words=8, constant=1, more="", use="")
    new = built(tmp_path / "new", words=16, constant=1, more=MORE, use=" + another(COUNT.value)")
    _, before = size.read(old)
    _, after = size.read(new)
    found = {row.name: row for row in size.changes(size.by_function(before), size.by_function(after))}
    added = found["program.another"]
    assert (added.word, added.file[0]) == ("added", 0)
    assert 0 < added.file[1] < 200
    assert (found["program.WORDS"].word, found["program.WORDS"].file, found["program.WORDS"].bss) == ("grown", (0, 0), (32, 64))
    assert "program.helper" not in found or found["program.helper"].in_file
    assert "program.COUNT" not in found
    back = {row.name: row.word for row in size.changes(size.by_function(after), size.by_function(before))}
    assert back["program.another"] == "removed"
    assert back["program.WORDS"] == "shrunk"
    size.compare(Console(width=150), before, after)
    shown = capsys.readouterr().out
    assert "program.another" in shown
    assert f"image: {(old / 'xenarm').stat().st_size:,} bytes before, {(new / 'xenarm').stat().st_size:,} after" in shown


def test_the_same_build_has_no_changes(xenarm: Hypervisor) -> None:
    pieces = pieces_of(xenarm.image)
    assert size.changes(size.by_module(pieces), size.by_module(pieces)) == []
    grown = [replace(pieces[0], size=pieces[0].size + 4), *pieces[1:]]
    assert [row.word for row in size.changes(size.by_module(pieces), size.by_module(grown))] == ["grown"]


def test_the_verb_compares_two_images(xenarm: Hypervisor, xenarm32: Hypervisor) -> None:
    """By module and by function the rows add up to what the files differ by, and bss's to what that does."""
    command = [sys.executable, "-m", "xenarm.tools.size", "--elf", f"{xenarm.image}.elf", "--against", str(xenarm32.image.parent)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    old, new = (pieces_of(hypervisor.image) for hypervisor in (xenarm32, xenarm))
    in_file, in_bss = (sum(p.size for p in new if p.loaded is loaded) - sum(p.size for p in old if p.loaded is loaded) for loaded in (True, False))
    assert done.stdout.splitlines()[-1] == f"image: {len(plain_of(xenarm32.image)):,} bytes before, {len(plain_of(xenarm.image)):,} after, {in_file:+,}"
    modules, functions = done.stdout.split("Functions and statics that changed")
    for shown in (modules, functions):
        rows = re.findall(r"^ ?(\S.*?) +(added|removed|grown|shrunk) [ \d,]+ ([+-][\d,]+|0) +([+-][\d,]+|0) *$", shown, re.MULTILINE)
        assert [sum(int(row[column].replace(",", "")) for row in rows) for column in (2, 3)] == [in_file, in_bss]
        assert re.search(r"^ ?sum +([+-][\d,]+) +([+-][\d,]+) *$", shown, re.MULTILINE)
        assert any(row[0].startswith("xenarm.arm64.mmu") or row[0].startswith("xenarm.arm32.") for row in rows)


def test_the_table_sums_up(xenarm: Hypervisor, capsys: pytest.CaptureFixture[str]) -> None:
    pieces = pieces_of(xenarm.image)
    size.show(Console(width=150), pieces, everything=False, module="")
    sums = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("sum ")]
    assert len(sums) == 2
    assert all(line.split()[1] == f"{xenarm.image.stat().st_size:,}" for line in sums)


def test_what_is_no_build_is_said(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="there is no .*build it first"):
        size.read(tmp_path / "nothing")
    (tmp_path / "text.elf").write_text("text")
    with pytest.raises(ToolError, match="is no ELF file"):
        size.read(tmp_path / "text.elf")
    with pytest.raises(ToolError, match="nothing in the image comes from nowhere"):
        size.show(Console(), [Piece(0, 4, ".text", "code", "program", "f", True, False)], everything=False, module="nowhere")
