"""What the check of the machine finds, and what it says."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from xenarm.tools import doctor
from xenarm.tools.errors import ToolError
from xenarm.tools.paths import ROOT

ABSENT = doctor.Need("no-such-program-here", "no-such-package", "does nothing", frozenset({"test"}))


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "missing", lambda verb: [ABSENT])


def test_a_present_program_is_found() -> None:
    assert doctor.Need("sh", "dash", "", frozenset()).present()
    assert not ABSENT.present()


def test_a_person_without_root_is_told_the_command(lacking: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ToolError) as caught:
        doctor.provide("test")
    text = str(caught.value)
    assert "no-such-program-here (does nothing)" in text
    assert "sudo apt-get install -y --no-install-recommends no-such-package" in text
    assert "\n" not in text


def test_another_system_is_told_the_packages(lacking: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ToolError, match="Debian calls them no-such-package"):
        doctor.provide("test")


def test_it_runs_without_the_virtual_environment() -> None:
    """The system's Python, isolated from site packages, has all that it imports."""
    code = "import sys; sys.path.insert(0, '.'); from xenarm.tools import doctor; print(doctor.NEEDS[0].package)"
    result = subprocess.run(["python3", "-I", "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=100)
    assert result.stdout.strip() == "python3-venv"
