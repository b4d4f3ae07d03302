"""The whole project under mypy --strict, with the language's own plugin."""

from __future__ import annotations

import subprocess
import sys

from xenarm.tools.paths import ROOT


def test_the_project_is_strictly_typed() -> None:
    result = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=350)
    assert result.returncode == 0, result.stdout + result.stderr
