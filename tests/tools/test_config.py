"""CONFIG against Kconfig, the defconfig, and the file that a build names."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import kconfiglib
import pytest

from xenarm import config
from xenarm.tools.paths import KCONFIG, ROOT

KIND = {kconfiglib.BOOL: "bool", kconfiglib.INT: "int", kconfiglib.HEX: "int", kconfiglib.STRING: "str"}


def kconfig() -> kconfiglib.Kconfig:
    return kconfiglib.Kconfig(str(KCONFIG))


def test_attributes_are_the_symbols_with_their_types() -> None:
    symbols = {symbol.name: KIND[symbol.orig_type] for symbol in kconfig().unique_defined_syms}
    assert {field.name: field.type for field in fields(config.Config)} == symbols


def test_everything_that_can_be_chosen_says_what_it_is() -> None:
    tree = kconfig()
    choosable = [item for item in (*tree.unique_defined_syms, *tree.unique_choices) if any(node.prompt for node in item.nodes)]
    silent = [item.nodes[0].prompt[0] for item in choosable if not any(node.help for node in item.nodes)]
    assert not silent
    assert not tree.warnings


def test_checks_are_on_unless_turned_off() -> None:
    checks = [field.name for field in fields(config.Config) if field.name.startswith("CHECK_")]
    assert len(checks) == 7
    values = config.parse(config.expand(config.DEFCONFIG), "defconfig")
    assert all(getattr(values, name) for name in checks)


def test_an_absent_bool_is_off_and_an_absent_number_is_an_error() -> None:
    text = config.expand(config.DEFCONFIG)
    off = config.parse(text.replace("CONFIG_CHECK_BOUNDS=y", "# CONFIG_CHECK_BOUNDS is not set"), "file")
    assert not off.CHECK_BOUNDS
    with pytest.raises(ValueError, match="file has no CONFIG_MAX_CPUS.*olddefconfig"):
        config.parse(text.replace("CONFIG_MAX_CPUS=8", ""), "file")


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    chosen = tmp_path / "config"
    chosen.write_text(config.expand(config.DEFCONFIG).replace("CONFIG_MAX_CPUS=8", "CONFIG_MAX_CPUS=2"))
    code = "from xenarm.config import CONFIG; import sys; print(CONFIG.MAX_CPUS, 'kconfiglib' in sys.modules)"
    environment = {**os.environ, "XENARM_CONFIG": str(chosen)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True, timeout=100)
    assert result.stdout.split() == ["2", "False"]


def test_the_log_ring_is_a_power_of_two() -> None:
    assert config.CONFIG.LOG_RING_SIZE & (config.CONFIG.LOG_RING_SIZE - 1) == 0
