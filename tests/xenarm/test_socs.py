"""Runs `soc_cases.py` and `kind_cases.py` in a 32-bit configuration with every SoC and CPUs of different kinds: an image has its board's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from xenarm.config import ROOT
from xenarm.tools import kconfig


def test_every_soc_against_its_registers(tmp_path: Path) -> None:
    """Those of 64-bit SoCs are compiled for those only, and mean the same here."""
    config = tmp_path / "config"
    kconfig.changed("vexpress-a15", {}, config)
    socs = [line.split()[1] for line in config.read_text().splitlines() if line.startswith("# CONFIG_SOC_")]
    text = config.read_text()
    config.write_text("\n".join([text, *(f"{name}=y" for name in [*socs, "CONFIG_SOC_XGENE", "CONFIG_SOC_BCM2711", "CONFIG_MIXED_CPUS"])]) + "\n")
    command = [sys.executable, "-m", "pytest", "-q", "tests/xenarm/soc_cases.py", "tests/xenarm/kind_cases.py"]
    result = subprocess.run(command, cwd=ROOT, env={**os.environ, "XENARM_CONFIG": str(config)}, capture_output=True, text=True, check=False, timeout=350)
    assert result.returncode == 0, result.stdout[-6000:]
    assert " passed" in result.stdout
