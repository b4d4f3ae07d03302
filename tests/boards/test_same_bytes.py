"""A configuration by chance, built twice with all that is made of it: in another checkout, by another user's settings, several at once. The same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xenarm.tools.paths import ROOT

BOARD = "qemu-virt-arm64"
pytestmark = pytest.mark.board(BOARD)
SEED = "42"
SECONDS = 280
CHECKOUT = ("Kconfig", "requirements.txt", "freestanding", "xenarm", "guests", "boards", "configs", "deploy")
ONE = {"MAKEFLAGS": "", "PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C", "LANG": "C"}
OTHER = {"MAKEFLAGS": " -j2", "PYTHONHASHSEED": "77", "TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "USER": "someone", "COLUMNS": "200"}


def copied(directory: Path) -> Path:
    """Another checkout, with what a build needs of it."""
    directory.mkdir(parents=True)
    for name in CHECKOUT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, directory / name)
    return directory


def everything(checkout: Path, out: Path, umask: int, environment: dict[str, str]) -> dict[str, bytes]:
    """What `make O=... randconfig build` makes, by name; without what says where it lies and how long it took."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("XENARM", "KCONFIG", "PYTHON", "LC_"))}
    ours = clean | environment | {"XENARM_O": str(out), "KCONFIG_SEED": SEED, "HOME": str(out / "home")}
    for words in (["kconfig", "randconfig"], ["build"], ["image", "--no-build"]):
        command = [sys.executable, "-m", f"xenarm.tools.{words[0]}", *words[1:], "--board", BOARD]
        done = subprocess.run(command, cwd=checkout, env=ours, umask=umask, capture_output=True, text=True, check=False, timeout=SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr
    made = [path for path in (out / BOARD).rglob("*") if path.is_file() and not path.name.endswith(".made") and path.name != "placement.txt"]
    return {str(path.relative_to(out)): path.read_bytes() for path in (out / ".config", *made)}


def test_the_same_bytes(tmp_path: Path) -> None:
    one = everything(ROOT, tmp_path / "one", 0o022, ONE)
    other = everything(copied(tmp_path / "a place with spaces" / "deep" / "down"), tmp_path / "other out", 0o077, OTHER)
    expected = {"xenarm", "xenarm.elf", "xenarm.c", "config", "guests/hello", "deploy/hello/xenarm.itb", "deploy/hello/sdcard.img", "deploy/hello/flash.img"}
    assert {f"{BOARD}/{name}" for name in expected} < one.keys()
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []
