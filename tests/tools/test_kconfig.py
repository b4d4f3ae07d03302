"""The verbs of Kconfig, and what a board is built with: its defconfig, changed by the user's `.config`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from xenarm.tools import kconfig
from xenarm.tools.errors import ToolError
from xenarm.tools.paths import ROOT
from xenarm.tools.reference import REFERENCE, reference

BOARD = "qemu-virt-arm64"
BOARD32 = "qemu-virt-arm32"


@pytest.fixture
def dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `.config` and a build directory of this test's own; the `.config` is not there yet."""
    monkeypatch.setenv("XENARM_O", str(tmp_path))
    monkeypatch.delenv("KCONFIG_CONFIG", raising=False)
    monkeypatch.delenv("KCONFIG_SEED", raising=False)
    return tmp_path / ".config"


@pytest.fixture
def defconfigs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Defconfigs of this test's own."""
    directory = tmp_path / "configs"
    directory.mkdir()
    (directory / f"{BOARD}_defconfig").write_text("CONFIG_MAX_CPUS=4\n")
    monkeypatch.setattr(kconfig, "CONFIGS", directory)
    return directory


def built_with(board: str) -> set[str]:
    """The lines of the configuration that a build of the board would use."""
    return set(kconfig.up_to_date(board).read_text().splitlines())


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_without_a_dot_config_a_build_follows_the_defconfig(dot: Path, defconfigs: Path) -> None:
    assert "CONFIG_MAX_CPUS=4" in built_with(BOARD)
    (defconfigs / f"{BOARD}_defconfig").write_text("CONFIG_MAX_CPUS=6\n")
    assert "CONFIG_MAX_CPUS=6" in built_with(BOARD)
    assert not dot.exists()


def test_a_dot_config_tailors_its_own_board(dot: Path) -> None:
    kconfig.from_defconfig(BOARD)
    change(dot, "CONFIG_VPL011=y", "# CONFIG_VPL011 is not set")
    assert "# CONFIG_VPL011 is not set" in built_with(BOARD)


def test_a_dot_config_tailors_another_board(dot: Path) -> None:
    """What was changed is taken over, what the first board has by itself is not."""
    kconfig.from_defconfig(BOARD)
    change(dot, "CONFIG_VPL011=y", "# CONFIG_VPL011 is not set")
    change(dot, "CONFIG_LOG_LEVEL_INFO=y", "# CONFIG_LOG_LEVEL_INFO is not set")
    change(dot, "# CONFIG_LOG_LEVEL_DEBUG is not set", "CONFIG_LOG_LEVEL_DEBUG=y")
    lines = built_with(BOARD32)
    assert {"# CONFIG_VPL011 is not set", "CONFIG_LOG_LEVEL_DEBUG=y", "CONFIG_ARM32=y", 'CONFIG_BOARD="qemu-virt-arm32"'} <= lines
    assert not {"CONFIG_GICV3=y", "CONFIG_AARCH32_GUESTS=y"} & lines


def test_a_number_that_the_board_cannot_have_is_refused(dot: Path) -> None:
    kconfig.from_defconfig(BOARD)
    change(dot, "CONFIG_MAX_DOMAIN_CPUS=8", "CONFIG_MAX_DOMAIN_CPUS=64")
    with pytest.raises(ToolError, match=r"CONFIG_MAX_DOMAIN_CPUS: .*\.config says 64, board qemu-virt-arm32 needs 8, as it has to be from 1 to 8"):
        kconfig.up_to_date(BOARD32)


def test_what_the_board_selects_cannot_be_left_out(dot: Path) -> None:
    kconfig.from_defconfig(BOARD)
    change(dot, "CONFIG_GICV2=y", "# CONFIG_GICV2 is not set")
    with pytest.raises(ToolError, match=r"CONFIG_GICV2: .*\.config says n, board zcu102 needs y, as BOARD_ZCU102 selects it"):
        kconfig.up_to_date("zcu102")


CONTRADICTIONS = [
    ("CONFIG_GICV2=y", "# CONFIG_GICV2 is not set", r"CONFIG_GICV2: .*\.config says n, board zcu102 needs y, as BOARD_ZCU102 selects it"),
    ("CONFIG_MAX_CPUS=8", "CONFIG_MAX_CPUS=4000", r"CONFIG_MAX_CPUS: .*\.config says 4000, board zcu102 needs 8, as it has to be from 1 to \d+"),
    ("CONFIG_CONSOLE_MUX=y", "# CONFIG_CONSOLE_MUX is not set", "CONFIG_CONSOLE_MUX: .*says n, board zcu102 needs y, as it can be chosen only with MAX_DOMAINS = 1"),
    ("CONFIG_TRACE=y", "CONFIG_TRACE=maybe", r"\.config:\d+: 'maybe' is not a valid value for the bool symbol TRACE: correct it, or .*olddefconfig"),
    ("CONFIG_MAX_MODULES=32", "CONFIG_MAX_MODULES=many", r"\.config: the value 'many' is invalid for MAX_MODULES, which has type int: correct it"),
    ("CONFIG_TRACE=y", "CONFIG_TRACE", r"\.config:\d+: ignoring malformed line 'CONFIG_TRACE': correct it"),
    ("CONFIG_LOG_RING_SIZE=4096", "CONFIG_LOG_RING_SIZE=5000", r"CONFIG_LOG_RING_SIZE: .*\.config says 5000, and it has to be a power of two: give 4096 or 8192,"),
    ("CONFIG_SERIAL_RING_SIZE=4096", "CONFIG_SERIAL_RING_SIZE=65535", "CONFIG_SERIAL_RING_SIZE: .*says 65535, and it has to be a power of two: give 32768 or 65536,"),
    ("CONFIG_TRACE_RECORDS=2048", "CONFIG_TRACE_RECORDS=2049", "CONFIG_TRACE_RECORDS: .*says 2049, and it has to be a power of two: give 2048 or 4096,"),
    ("CONFIG_VGIC_INTIDS=256", "CONFIG_VGIC_INTIDS=250", "CONFIG_VGIC_INTIDS: .*says 250, and it has to be a multiple of 32: give 224 or 256,"),
]


@pytest.mark.parametrize(("old", "new", "says"), CONTRADICTIONS)
def test_a_line_that_the_files_own_board_cannot_have_is_refused(dot: Path, old: str, new: str, says: str) -> None:
    kconfig.from_defconfig("zcu102")
    change(dot, old, new)
    with pytest.raises(ToolError, match=says):
        kconfig.up_to_date("zcu102")
    with pytest.raises(ToolError, match=says):
        kconfig.up_to_date(BOARD)
    kconfig.olddefconfig("zcu102")
    assert kconfig.up_to_date("zcu102")


def test_what_kconfig_cannot_say_of_numbers_is_in_its_help_and_in_the_tables() -> None:
    """And the ends of their ranges, which `make menuconfig` shows, are such numbers."""
    helps = {symbol.name: symbol.nodes[0].help or "" for symbol in kconfig.empty().unique_defined_syms}
    assert {name for name, text in helps.items() if re.match("A power of two", text)} == set(kconfig.POWERS_OF_TWO)
    assert {name: int(found[1]) for name, text in helps.items() if (found := re.match(r"A multiple of (\d+)", text))} == kconfig.MULTIPLES
    for name in (*kconfig.POWERS_OF_TWO, *kconfig.MULTIPLES):
        for end in kconfig.empty().syms[name].ranges[0][:2]:
            assert kconfig.around(name, int(end.str_value)) == (int(end.str_value), int(end.str_value))


def test_a_defconfig_with_such_a_number_is_refused_and_chance_does_not_take_it_over(dot: Path, defconfigs: Path) -> None:
    path = defconfigs / "odd_defconfig"
    path.write_text('CONFIG_BOARD_CUSTOM=y\nCONFIG_BOARD="odd"\nCONFIG_LOG_RING_SIZE=5000\n')
    for made in (kconfig.randomised("odd", 1), kconfig.uniform("odd", 2)):
        assert made.syms["LOG_RING_SIZE"].str_value == "4096"
        assert kconfig.board_of(made) == "odd"
    (defconfigs / f"{BOARD}_defconfig").write_text("CONFIG_LOG_RING_SIZE=5000\n")
    with pytest.raises(ToolError, match=f"CONFIG_LOG_RING_SIZE: .*{BOARD}_defconfig says 5000, and it has to be a power of two"):
        kconfig.up_to_date(BOARD)


def test_more_domains_than_arm32_has_addresses_for_are_refused_in_one_line(tmp_path: Path) -> None:
    kconfig.changed(BOARD32, {"MAX_DOMAINS": "64"}, tmp_path / "config")
    command = [sys.executable, "-m", "freestanding", "check", "xenarm.arm.layout", "--target", "armv7"]
    environment = {**os.environ, "XENARM_CONFIG": str(tmp_path / "config")}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert result.returncode == 1
    said = r"error: \S*xenarm/arm/layout\.py:\d+: stacks and domains take \d+ KiB of addresses, and there are 2048: lower CONFIG_MAX_DOMAINS=64 \(\d+ KiB each\) or .*\n"
    assert re.fullmatch(said, result.stderr), result.stderr


def test_a_line_without_effect_is_noted(dot: Path) -> None:
    kconfig.from_defconfig("zcu102")
    change(dot, "CONFIG_EVENT_CHANNELS=y", "# CONFIG_EVENT_CHANNELS is not set\nCONFIG_SOC_SUN7I=y\nCONFIG_GONE=y")
    assert "# CONFIG_EVENT_CHANNELS is not set" in built_with("zcu102")
    gone, kept_off = kconfig.notes()
    assert re.fullmatch(r"CONFIG_GONE in .*\.config is not in Kconfig .*'make olddefconfig' drops it", gone)
    assert re.fullmatch(r"CONFIG_SOC_SUN7I=y in .*\.config has no effect, as it depends on ARM32", kept_off)
    kconfig.olddefconfig("zcu102")
    assert kconfig.notes() == []


def test_a_file_can_be_named(dot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "mine"
    monkeypatch.setenv("KCONFIG_CONFIG", str(named))
    with pytest.raises(ToolError, match="there is no .*mine, which KCONFIG_CONFIG names"):
        kconfig.up_to_date(BOARD)
    kconfig.from_defconfig(BOARD)
    change(named, "CONFIG_TRACE=y", "# CONFIG_TRACE is not set")
    assert "# CONFIG_TRACE is not set" in built_with(BOARD)
    assert not dot.exists()


def test_symbols_that_are_new_are_listed_and_get_their_defaults(dot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kconfig.from_defconfig(BOARD)
    change(dot, "CONFIG_TRACE=y\n", "")
    change(dot, "CONFIG_MAX_DOMAINS=8", "CONFIG_MAX_DOMAINS=3\nCONFIG_GONE=y")
    capsys.readouterr()
    kconfig.listnewconfig(BOARD)
    assert capsys.readouterr().out.splitlines() == ["CONFIG_TRACE=y"]
    kconfig.olddefconfig(BOARD)
    text = dot.read_text()
    assert "CONFIG_TRACE=y" in text
    assert "CONFIG_MAX_DOMAINS=3" in text
    assert "GONE" not in text


def test_saving_keeps_only_what_differs(dot: Path, defconfigs: Path) -> None:
    kconfig.from_defconfig(BOARD)
    kconfig.savedefconfig(BOARD)
    assert (dot.parent / "defconfig").read_text() == "CONFIG_MAX_CPUS=4\n"


def test_everything_on_and_everything_off(dot: Path) -> None:
    kconfig.VERBS["allyesconfig"](BOARD)
    on = dot.read_text()
    assert {"CONFIG_UART_SCIF=y", "CONFIG_TRACE=y", "CONFIG_BOARD_QEMU_VIRT_ARM64=y"} <= set(on.splitlines())
    kconfig.VERBS["allnoconfig"](BOARD)
    off = set(dot.read_text().splitlines())
    assert {"# CONFIG_UART_SCIF is not set", "# CONFIG_TRACE is not set", "CONFIG_UART_PL011=y", "CONFIG_BOARD_QEMU_VIRT_ARM64=y"} <= off
    assert {"CONFIG_GICV2=y", "CONFIG_SCHED_NULL=y"} <= off, "an image needs an interrupt controller and a scheduler"
    assert "CONFIG_SCHED_DEFAULT_NULL=y" in off


@pytest.mark.parametrize("board", [BOARD, BOARD32, "zcu102"])
def test_a_seed_gives_the_same_configuration(dot: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], board: str) -> None:
    texts = []
    for seed in ("0x2A", "42", "43"):
        monkeypatch.setenv("KCONFIG_SEED", seed)
        kconfig.randconfig(board)
        texts.append(dot.read_text())
        assert f'CONFIG_BOARD="{board}"' in texts[-1]
    assert texts[0] == texts[1] != texts[2]
    assert "KCONFIG_SEED=0x2a\n" in capsys.readouterr().out
    monkeypatch.setenv("KCONFIG_SEED", "none")
    with pytest.raises(ToolError, match="KCONFIG_SEED=none is no number"):
        kconfig.randconfig(board)


def test_a_defconfig_that_is_not_there_is_named(dot: Path, defconfigs: Path) -> None:
    with pytest.raises(ToolError, match=f"no .*nosuch_defconfig; there are: {BOARD}"):
        kconfig.from_defconfig("nosuch")


def test_an_unknown_symbol_in_a_defconfig_is_an_error(dot: Path, defconfigs: Path) -> None:
    (defconfigs / f"{BOARD}_defconfig").write_text("CONFIG_MAX_CPU=4\n")
    with pytest.raises(ToolError, match="MAX_CPU"):
        kconfig.from_defconfig(BOARD)


def test_editors_without_a_terminal_or_a_display_say_so(dot: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    for verb, words in (("menuconfig", "needs a terminal"), ("guiconfig", "needs a graphical display")):
        command = [sys.executable, "-m", "xenarm.tools.kconfig", verb]
        result = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=100)
        assert result.returncode == 1
        assert words in result.stderr
        assert "Traceback" not in result.stderr


def test_a_window_that_cannot_be_opened_is_one_line(dot: Path, tmp_path: Path) -> None:
    """On a display where nobody is, or with a tkinter that is not installed."""
    environment = {**os.environ, "DISPLAY": f"unix:{tmp_path}", "KCONFIG_CONFIG": str(dot)}
    command = [sys.executable, "-m", "xenarm.tools.kconfig", "guiconfig"]
    result = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1
    assert re.fullmatch(r"error: guiconfig (cannot open a window on the display \S+ \(.*\)|needs the Python module \w+): .*'make menuconfig'.*\n", result.stderr), result.stderr


def make(*words: str) -> str:
    """What make would do, without doing it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XENARM", "KCONFIG", "MAKE"))}
    result = subprocess.run(["make", "-n", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=100)
    return result.stdout


def test_make_builds_for_the_board_of_dot_config(dot: Path) -> None:
    kconfig.from_defconfig("zcu102")
    assert "tools.build --board zcu102" in make(f"O={dot.parent}")
    assert "tools.build --board qemu-virt-arm32" in make(f"O={dot.parent}", "board=qemu-virt-arm32")
    assert "tools.build --board qemu-virt-arm64" in make("O=/nonexistent")
    spaced = dot.parent / "a directory"
    spaced.mkdir()
    assert "tools.build --board zcu102" in make(f"O={dot.rename(spaced / '.config').parent}")
    assert "tools.build --board zcu102" in make(f"KCONFIG_CONFIG={spaced / '.config'}")
    assert "--verbose" in make("O=/nonexistent", "V=1")
    assert "kconfig defconfig --board tiny" in make("tiny_defconfig")


def test_make_does_one_target_after_the_other(dot: Path) -> None:
    """A build finds the .config that the target before it wrote, with -j too."""
    assert [line for line in (ROOT / "Makefile").read_text().splitlines() if line == ".NOTPARALLEL:"]
    first, second, _ = make("-j4", f"O={dot.parent}", "zcu102_defconfig", "build").splitlines()
    assert "kconfig defconfig --board zcu102" in first
    assert "tools.build" in second


def test_the_reference_has_every_switch_that_can_be_chosen() -> None:
    text = REFERENCE.read_text()
    choosable = [symbol.name for symbol in kconfig.empty().unique_defined_syms if kconfig.promptable(symbol)]
    assert not [name for name in choosable if f"### {name}\n" not in text and f"- `{name}`: " not in text]


def test_the_reference_is_up_to_date() -> None:
    assert REFERENCE.read_text() == reference(), "run 'make reference'"
