"""Runs `hip04_cases.py` in the configuration of hip04-d01: the default one has nothing of its interrupt controller."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from xenarm.config import ROOT
from xenarm.tools import kconfig


def test_its_interrupt_controller_against_its_registers(tmp_path: Path) -> None:
    kconfig.changed("hip04-d01", {}, tmp_path / "config")
    command = [sys.executable, "-m", "pytest", "-q", "tests/xenarm/hip04_cases.py"]
    environment = {**os.environ, "XENARM_CONFIG": str(tmp_path / "config")}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert result.returncode == 0, result.stdout[-6000:]
    assert " passed" in result.stdout
