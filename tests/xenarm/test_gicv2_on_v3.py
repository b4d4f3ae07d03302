"""Runs what concerns GICv2s on a GICv3 in a configuration that has them: the default one has not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xenarm.config import ROOT
from xenarm.tools import kconfig
from xenarm.tools.paths import DEFAULT_BOARD

CASES = "tests/xenarm/gicv2_on_v3_cases.py"
AS_ANY_VERSION = [f"tests/xenarm/test_vgic{name}.py" for name in ("", "_switch", "_overflow")]
MANY_CPUS = {"MAX_DOMAIN_CPUS": "16", "MAX_VCPUS": "16"}
"""More than a GICv2 has room for."""
LINK = {"GIC_HW_TIMER_LINK": "y"}


@pytest.mark.parametrize(
    ("values", "arguments"),
    [({}, [CASES, *AS_ANY_VERSION, "-k", "gicv2_on_v3_cases or 2on3 or bare_controllers"]), (LINK, [CASES, "-k", "sender or timer"])],
    ids=["all of it", "with the timer linked"],
)
def test_a_gicv2_on_a_gicv3(tmp_path: Path, values: dict[str, str], arguments: list[str]) -> None:
    kconfig.changed(DEFAULT_BOARD, {"GICV2_ON_V3": "y", **MANY_CPUS, **values}, tmp_path / "config")
    environment = {**os.environ, "XENARM_CONFIG": str(tmp_path / "config")}
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stdout[-6000:]
    assert " passed" in result.stdout
