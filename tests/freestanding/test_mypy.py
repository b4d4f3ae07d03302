"""mypy with the language's plugin: no false errors on sound programs, every planted width error found, also from its cache."""
from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parent / "samples"
ROOT = Path(__file__).parents[2]
CONFIG = "[mypy]\nstrict = True\nplugins = freestanding.mypy_plugin\nenable_error_code = truthy-bool\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("mypy")
    (place / "mypy.ini").write_text(CONFIG)
    for sample in SAMPLES.glob("mypy_*.py"):
        shutil.copy(sample, place)
    return place


def mypy(place: Path, *names: str) -> str:
    done = subprocess.run([sys.executable, "-m", "mypy", "--config-file", "mypy.ini", *names], cwd=place, capture_output=True,
                          text=True, env={"PYTHONPATH": str(ROOT), "PATH": ""}, timeout=300)
    assert "INTERNAL ERROR" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout


def errors(output: str, name: str) -> set[int]:
    return {int(m[1]) for m in re.finditer(rf"^{name}:(\d+): error", output, re.MULTILINE)}


def planted(name: str) -> set[int]:
    return {i for i, line in enumerate((SAMPLES / name).read_text().splitlines(), 1) if line.endswith("# bad")}


def test_sound_program_has_no_errors(place: Path) -> None:
    assert mypy(place, "mypy_good.py").startswith("Success")


def test_every_planted_error_is_found_and_nothing_else(place: Path) -> None:
    found = errors(mypy(place, "mypy_bad.py"), "mypy_bad.py")
    assert found == planted("mypy_bad.py")


def test_promotions_survive_the_cache(place: Path) -> None:
    """A changed file is checked against modules that come from mypy's cache, where no class hook runs."""
    user = place / "mypy_user.py"
    for turn in range(2):
        user.write_text(f"# turn {turn}\nimport mypy_good\n\nmypy_good.arith(1, 2, -3, {turn})\nmypy_good.addresses(1, 2, 3, 4)\n"
                        "mypy_good.words(mypy_good.STATE.enabled)\nmypy_good.write(b'text')\nmypy_good.arith('1', 2, 3, 4)\n")
        assert errors(mypy(place, "mypy_user.py"), "mypy_user.py") == {8}
