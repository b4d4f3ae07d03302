"""Runs `uart_cases.py` in a configuration with every serial driver: an image has those that its board needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from xenarm.config import DEFCONFIG, ROOT, expand


def test_every_driver_against_its_port(tmp_path: Path) -> None:
    config = tmp_path / "config"
    lines = expand(DEFCONFIG).splitlines()
    off = [line.split()[1] for line in lines if line.startswith("# CONFIG_UART_")]
    config.write_text("\n".join([*lines, *(f"{name}=y" for name in off)]))
    assert off
    command = [sys.executable, "-m", "pytest", "-q", "tests/xenarm/uart_cases.py"]
    result = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "XENARM_CONFIG": str(config)}, capture_output=True, text=True, check=False, timeout=350
    )
    assert result.returncode == 0, result.stdout[-4000:]
    assert " passed" in result.stdout
