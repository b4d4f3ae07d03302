"""The build's output, and that the same source gives the same bytes wherever it is built."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kconfiglib
import pytest

from tests.conftest import own_output
from xenarm.tools import build, kconfig
from xenarm.tools.errors import ToolError
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.machine import Architecture
from xenarm.tools.paths import DEFAULT_BOARD, ROOT

CARRIERS = ("host.dtb", "xenarm.itb", "boot.scr", "xenarm.uimg", "sdcard.img", "flash.img")


def clean_environment() -> dict[str, str]:
    """Without what make and our tools would take from it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("XENARM", "KCONFIG", "MAKE"))}


def make(directory: Path, *words: str) -> str:
    """Run make in a directory that has an environment already; its standard output."""
    result = subprocess.run(["make", *words], cwd=directory, env=clean_environment(), capture_output=True, text=True, check=False, timeout=350)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files(directory: Path) -> dict[str, str]:
    """What was built there, by relative name; but for notes of when to build again, and for placement.txt, which says where the files lie."""
    return {str(path.relative_to(directory)): digest(path) for path in sorted(directory.rglob("*")) if path.is_file() and path.suffix != ".made" and path.name != "placement.txt"}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another checkout."""
    copy = tmp_path_factory.mktemp("checkout") / "a copy with a longer name"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("build", ".venv", ".git", "__pycache__", ".config"))
    (copy / ".venv").symlink_to(ROOT / ".venv")
    return copy


@pytest.mark.parametrize("image", ["xenarm", "xenarm32"])
def test_the_same_bytes_in_another_directory_and_what_is_said(tmp_path: Path, request: pytest.FixtureRequest, elsewhere: Path, image: str) -> None:
    """Another checkout, out of tree and with -j, against the plain build: the image, for 32 bits packed, and what carries a deployment."""
    plain: Hypervisor = request.getfixturevalue(image)
    board = plain.machine.name
    said = make(elsewhere, "-j4", f"O={tmp_path / 'out of tree'}", f"board={board}")
    assert not (elsewhere / "build").exists()
    with own_output(tmp_path / "own", board) as own:
        subprocess.run([sys.executable, "-m", "xenarm.tools.image", "--board", board, "--no-build"], cwd=ROOT, check=True, timeout=300)
        here = files(own)
    assert {"xenarm.elf", "xenarm.c", *(f"deploy/hello/{name}" for name in CARRIERS)} <= set(here)
    there = files(tmp_path / "out of tree" / board)
    assert {name: there[name] for name in here} == here
    check_quiet(said, (tmp_path / "out of tree" / board / "xenarm").stat().st_size, plain)


def test_a_mistake_in_the_deployment_is_said_before_anything_is_built(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('[domain.a]\nkernel = "guest:hello"\nmemory = "no size"\n')
    words = [f"O={tmp_path / 'out'}", "board=qemu-virt-arm64", f"DEPLOY={tmp_path / 'bad.toml'}"]
    result = subprocess.run(["make", *words], cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False, timeout=350)
    assert result.returncode == 2
    assert re.search(r"^error: \S*bad\.toml:3: memory ", result.stderr, re.MULTILINE), result.stderr
    assert "BUILD" not in result.stdout and not (tmp_path / "out" / DEFAULT_BOARD / "xenarm").exists()


def test_every_switch_has_a_name_in_the_summary() -> None:
    tree = kconfig.empty()
    switches = {str(s.name) for s in tree.unique_defined_syms if s.orig_type == kconfiglib.BOOL and kconfig.promptable(s) and s.choice is None}
    unsaid = {name for name in switches if name.startswith("CHECK_")}  # on in every image but those that someone measures with
    assert len(unsaid) == 7
    assert set(build.FEATURES) == switches - unsaid
    assert len(set(build.FEATURES.values())) == len(build.FEATURES)


def test_the_commands_are_shown_when_asked_for(tmp_path: Path) -> None:
    said = make(ROOT, f"O={tmp_path}", "V=1", "PY=echo")
    assert "--verbose" in said
    command = [sys.executable, "-m", "freestanding", "build", "guests.hello", "-o", str(tmp_path / "hello"), "--commands"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=350).stdout
    assert re.search(r"^\S*zig.* clang .*-c unit\.c", text, re.MULTILINE)
    assert re.search(r"^\S*zig.* ld\.lld .*-o image\.elf", text, re.MULTILINE)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A compiler that only notes what it is asked for, and sources of a few lines."""
    asked: list[str] = []

    def compile_module(board: str, job: build.Job, config: Path, options: list[str], verbose: bool) -> None:
        asked.append(job.module)
        for ending in ("", ".elf", ".c"):
            job.output.with_name(job.output.name + ending).write_text(f"{job.module} {len(asked)}")

    for folder in build.SOURCES:
        (tmp_path / folder).mkdir()
    for name in ("requirements.txt", "xenarm/main.py"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(build, "compile_module", compile_module)
    monkeypatch.setattr(build, "ROOT", tmp_path)
    return asked


@pytest.mark.parametrize(("flags", "at_once"), [("", 1), ("s -j3 --jobserver-auth=3,4", 3), (" -j2", 2), ("w -- board=-j9", 1), (" -j", os.cpu_count())])
def test_as_many_at_once_as_make_allows(monkeypatch: pytest.MonkeyPatch, flags: str, at_once: int) -> None:
    monkeypatch.setenv("MAKEFLAGS", flags)
    assert build.jobs_at_once() == at_once


def test_nothing_is_begun_after_what_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MAKEFLAGS", raising=False)
    begun: list[str] = []

    def make_one(job: build.Job) -> float:
        begun.append(job.module)
        raise ToolError("no")

    with pytest.raises(ToolError):
        build.all_of(make_one, [build.Job("first", tmp_path), build.Job("second", tmp_path)])
    assert begun == ["first"]


def again(tmp_path: Path, verbose: bool = False) -> None:
    build.build_job(DEFAULT_BOARD, build.Job("guests.hello", tmp_path / "hello"), tmp_path / "config", quiet=True, verbose=verbose)


def test_what_is_as_it_was_is_not_built_again(compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config"
    config.write_text(kconfig_text())
    again(tmp_path)
    again(tmp_path)
    assert len(compiled) == 1
    config.write_text(kconfig_text() + "# changed\n")
    again(tmp_path)
    assert len(compiled) == 2, "another configuration"
    (tmp_path / "xenarm" / "main.py").write_text("# changed")
    again(tmp_path)
    assert len(compiled) == 3, "another source"
    (tmp_path / "hello.elf").write_text("damaged")
    again(tmp_path)
    assert len(compiled) == 4, "not what was made"
    (tmp_path / "hello").unlink()
    again(tmp_path)
    assert len(compiled) == 5, "nothing there"
    monkeypatch.setenv("CC", "another-clang")
    again(tmp_path)
    assert len(compiled) == 6, "another compiler"
    again(tmp_path, verbose=True)
    assert len(compiled) == 7, "the commands are to be shown"
    again(tmp_path)
    assert len(compiled) == 7


def kconfig_text() -> str:
    return "".join(symbol.config_string for symbol in kconfig.loaded(kconfig.defconfig_path(DEFAULT_BOARD)).unique_defined_syms)


def check_quiet(text: str, size: int, plain: Hypervisor) -> None:
    """One line for each step, then the summary."""
    lines = text[text.index("  CONFIG"):].splitlines()
    steps = [line.split()[0] for line in lines if line.startswith("  ")]
    assert steps[:4] == ["CONFIG", "BUILD", "BUILD", "BUILD"] and set(steps[4:]) <= {"BUILD", "IMAGE"}
    summary = {line[:13].strip(): line[13:].strip() for line in lines if not line.startswith("  ")}
    assert list(summary) == ["board", "architecture", "features", "sections", "image", "load address"]
    assert re.search(rf" {size:,} bytes(, unpacked [\d,]+)?$", summary["image"])
    assert {"GICv2", "PL011", "null*", "tracing"} <= set(summary["features"].split(", "))
    assert re.match(r"text \d", summary["sections"])
    wide = plain.machine.architecture is Architecture.ARM64
    assert summary["architecture"] == ("arm64" if wide else "arm32")
    assert ("0x40200000" if wide else "any page") in summary["load address"]
    assert ("GICv3" in summary["features"]) == wide
    assert ("compressed" in summary["features"]) != wide
