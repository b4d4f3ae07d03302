"""The life of a board's configuration: follows its defconfig until someone edits it."""

from __future__ import annotations

from pathlib import Path

import pytest

from xenarm.tools import kconfig
from xenarm.tools.errors import ToolError

BOARD = "qemu-virt-arm64"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build directory and a defconfig of this test's own."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / f"{BOARD}_defconfig").write_text("CONFIG_MAX_CPUS=4\n")
    monkeypatch.setattr(kconfig, "CONFIGS", tmp_path / "configs")
    monkeypatch.setattr(kconfig, "board_dir", lambda board: tmp_path / board)
    return kconfig.config_path(BOARD)


def test_an_unedited_configuration_follows_its_defconfig(config: Path) -> None:
    assert kconfig.up_to_date(BOARD) == config
    assert "CONFIG_MAX_CPUS=4" in config.read_text()
    kconfig.defconfig_path(BOARD).write_text("CONFIG_MAX_CPUS=6\n")
    kconfig.up_to_date(BOARD)
    assert "CONFIG_MAX_CPUS=6" in config.read_text()


def test_an_edited_configuration_stays(config: Path) -> None:
    kconfig.up_to_date(BOARD)
    config.write_text(config.read_text().replace("CONFIG_MAX_CPUS=4", "CONFIG_MAX_CPUS=3"))
    kconfig.defconfig_path(BOARD).write_text("CONFIG_MAX_CPUS=6\n")
    kconfig.up_to_date(BOARD)
    assert "CONFIG_MAX_CPUS=3" in config.read_text()
    kconfig.from_defconfig(BOARD)
    assert "CONFIG_MAX_CPUS=6" in config.read_text()


def test_symbols_that_are_new_get_their_defaults(config: Path) -> None:
    config.parent.mkdir(parents=True)
    config.write_text("CONFIG_MAX_CPUS=3\n")
    kconfig.olddefconfig(BOARD)
    assert "CONFIG_MAX_CPUS=3" in config.read_text()
    assert "CONFIG_MAX_DOMAINS=8" in config.read_text()


def test_saving_keeps_only_what_differs(config: Path) -> None:
    kconfig.up_to_date(BOARD)
    kconfig.savedefconfig(BOARD)
    assert kconfig.defconfig_path(BOARD).read_text() == "CONFIG_MAX_CPUS=4\n"


def test_a_board_that_is_not_there_is_named(config: Path) -> None:
    with pytest.raises(ToolError, match=f"no .*nosuch_defconfig; the boards are: {BOARD}"):
        kconfig.from_defconfig("nosuch")


def test_an_unknown_symbol_in_a_defconfig_is_an_error(config: Path) -> None:
    kconfig.defconfig_path(BOARD).write_text("CONFIG_MAX_CPU=4\n")
    with pytest.raises(ToolError, match="MAX_CPU"):
        kconfig.from_defconfig(BOARD)
