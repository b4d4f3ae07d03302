"""The verbs of Kconfig, as Linux has them, and the configuration that a board is built with.

`.config` (or KCONFIG_CONFIG; in the directory O= when that is given) is the user's. Each build derives build/<board>/config: the board's defconfig,
changed by what the user changed. Without a `.config` it is the defconfig alone.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import kconfiglib

from boards import board as board_named
from xenarm.tools.errors import ToolError, run_tool
from xenarm.tools.paths import CONFIGS, DEFAULT_BOARD, KCONFIG, board_dir, out_dir, shown


UNDEFINED = "to the undefined symbol "
IGNORED = r"warning: | \(defined at [^)]*\)|(\.| --) [Aa]ssignment ignored\.?"
"""Parts of what kconfiglib says."""

POWERS_OF_TWO = ("LOG_RING_SIZE", "SERIAL_RING_SIZE", "TRACE_RECORDS")
MULTIPLES = {"VGIC_INTIDS": 32}
"""Numbers that Kconfig's language has no word for but a range, whose ends are such numbers."""


def user_path() -> Path:
    """The user's configuration, which need not exist."""
    chosen = os.environ.get("KCONFIG_CONFIG")
    return Path(chosen).absolute() if chosen else out_dir() / ".config"


def config_path(board: str) -> Path:
    """The complete configuration that a board is built with; made anew by each build."""
    return board_dir(board) / "config"


def defconfig_path(name: str) -> Path:
    """A configuration to start from: a board's, or another that has a name."""
    path = CONFIGS / f"{name}_defconfig"
    if not path.exists():
        known = ", ".join(sorted(p.name.removesuffix("_defconfig") for p in CONFIGS.glob("*_defconfig")))
        raise ToolError(f"there is no {shown(path)}; there are: {known}")
    return path


def empty() -> kconfiglib.Kconfig:
    """All symbols at their defaults."""
    kconfig = kconfiglib.Kconfig(str(KCONFIG), warn_to_stderr=False)
    kconfig.warn_assign_undef = True
    kconfig.warn_assign_override = kconfig.warn_assign_redun = False
    return kconfig


def loaded(path: Path, tolerant: bool = False) -> kconfiglib.Kconfig:
    """A configuration file. An unknown symbol or a value that makes no sense is an error, unless old files are welcome."""
    kconfig = empty()
    try:
        kconfig.load_config(str(path))
    except OSError as error:
        raise ToolError(f"{shown(path)}: {error.strerror}") from None
    if kconfig.warnings and not tolerant:
        first = kconfig.warnings[0].strip().splitlines()[0]
        raise ToolError(f"{shown(path)}: {first}")
    return kconfig


def write(kconfig: kconfiglib.Kconfig, path: Path) -> Path:
    """Write the complete file; it stays untouched when nothing changes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kconfig.write_config(str(path), save_old=False)
    return path


def board_of(kconfig: kconfiglib.Kconfig) -> str:
    return str(kconfig.syms["BOARD"].str_value)


# ---- what a board is built with ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wish:
    """A value that the user gave a symbol, which their own board does not have by itself."""

    name: str
    value: str


def promptable(symbol: kconfiglib.Symbol) -> bool:
    """Whether a person chooses its value."""
    return any(node.prompt for node in symbol.nodes)


def is_board(symbol: kconfiglib.Symbol) -> bool:
    return str(symbol.name).startswith("BOARD_") and symbol.choice is not None


def wishes(user: kconfiglib.Kconfig) -> list[Wish]:
    """How a configuration differs from its own board's defconfig."""
    plain = loaded(defconfig_path(board_of(user)))
    return [
        Wish(symbol.name, symbol.str_value)
        for symbol in user.unique_defined_syms
        if promptable(symbol) and not is_board(symbol) and symbol.str_value != plain.syms[symbol.name].str_value
    ]


def grant(kconfig: kconfiglib.Kconfig, wish: Wish) -> None:
    """Set one value. In a choice only the one that is chosen is set."""
    symbol = kconfig.syms[wish.name]
    if symbol.choice is None or wish.value == "y":
        symbol.set_value(wish.value)


def reason(symbol: kconfiglib.Symbol) -> str:
    """What a symbol's value comes from, where it is not what was asked for."""
    if symbol.rev_dep is not symbol.kconfig.n and kconfiglib.expr_value(symbol.rev_dep):
        selecting = sorted(item.name for item in kconfiglib.expr_items(symbol.rev_dep) if isinstance(item, kconfiglib.Symbol) and item.tri_value)
        return f", as {' and '.join(selecting)} selects it"
    if kconfiglib.expr_value(symbol.direct_dep) == 0:
        return f", as it depends on {kconfiglib.expr_str(symbol.direct_dep)}"
    if not symbol.visibility:
        asked = next(node.prompt[1] for node in symbol.nodes if node.prompt)
        return f", as it can be chosen only with {kconfiglib.expr_str(asked)}"
    if symbol.ranges:
        low, high = next((low.str_value, high.str_value) for low, high, when in symbol.ranges if kconfiglib.expr_value(when))
        return f", as it has to be from {low} to {high}"
    return ""


def refuse(board: str, source: str, symbol: kconfiglib.Symbol, wish: Wish, otherwise: str = "build for another board") -> ToolError:
    """Both sides, and what the board's side comes from."""
    return ToolError(
        f"CONFIG_{wish.name}: {source} says {wish.value}, board {board} needs {symbol.str_value or 'none'}{reason(symbol)}: "
        f"change it with 'make menuconfig board={board}', or {otherwise}"
    )


def tailored(board: str, chosen: list[Wish], source: str) -> kconfiglib.Kconfig:
    """A board's defconfig with a user's wishes. Raises ToolError where the board cannot have one."""
    kconfig = loaded(defconfig_path(board))
    for wish in chosen:
        grant(kconfig, wish)
    for wish in chosen:
        symbol = kconfig.syms[wish.name]
        if symbol.str_value != wish.value and symbol.choice is None:
            raise refuse(board, source, symbol, wish)
    return kconfig


def unheeded(user: kconfiglib.Kconfig) -> list[Wish]:
    """Values that a file, written by hand, gives symbols of its own board, and that they do not have."""
    said = {s: {0: "n", 2: "y"}.get(s.user_value, s.user_value) for s in user.unique_defined_syms if promptable(s) and s.choice is None}
    return [Wish(symbol.name, value) for symbol, value in said.items() if value not in (None, symbol.str_value)]


def refuse_contradictions(user: kconfiglib.Kconfig, source: str) -> None:
    """A line that means nothing, a switch that cannot be off, a number out of range. Raises ToolError."""
    for warning in user.warnings:
        if UNDEFINED not in warning:
            what = re.sub(IGNORED, "", warning).replace(str(user_path()), source)
            raise ToolError(f"{'' if what.startswith(source) else source + ': '}{what}: correct it, or let 'make olddefconfig' drop it")
    for wish in unheeded(user):
        symbol = user.syms[wish.name]
        if wish.value == "n" or (symbol.visibility and symbol.orig_type in (kconfiglib.INT, kconfiglib.HEX)):
            raise refuse(board_of(user), source, symbol, wish, "let 'make olddefconfig' do it")


def around(name: str, value: int) -> tuple[int, int]:
    """The next numbers down and up that a symbol of the tables above can have; twice the value itself, where it is one."""
    if name in MULTIPLES:
        step = MULTIPLES[name]
        return value // step * step, -(-value // step) * step
    return 1 << value.bit_length() - 1, 1 << (value - 1).bit_length()


def misfits(kconfig: kconfiglib.Kconfig) -> list[str]:
    """Symbols whose number is in Kconfig's range, and none that the image can have."""
    values = {name: int(kconfig.syms[name].str_value) for name in (*POWERS_OF_TWO, *MULTIPLES)}
    return [name for name, value in values.items() if around(name, value) != (value, value)]


def refuse_misfits(kconfig: kconfiglib.Kconfig, source: str) -> None:
    """Raises ToolError for the first."""
    for name in misfits(kconfig):
        value = kconfig.syms[name].str_value
        kind = f"a multiple of {MULTIPLES[name]}" if name in MULTIPLES else "a power of two"
        below, above = around(name, int(value))
        raise ToolError(f"CONFIG_{name}: {source} says {value}, and it has to be {kind}: give {below} or {above}, or let 'make olddefconfig' take the default")


def mended(kconfig: kconfiglib.Kconfig) -> kconfiglib.Kconfig:
    """The same, with the defaults in the place of such numbers."""
    for name in misfits(kconfig):
        kconfig.syms[name].unset_value()
    return kconfig


def notes() -> list[str]:
    """What stands in the user's file to no effect: switches that others keep off, symbols that are gone."""
    if not user_path().exists():
        return []
    user, source = loaded(user_path(), tolerant=True), shown(user_path())
    gone = [warning.partition(UNDEFINED)[2] for warning in user.warnings if UNDEFINED in warning]
    off = [user.syms[wish.name] for wish in unheeded(user) if wish.value == "y"]
    return [
        *(f"CONFIG_{name} in {source} is not in Kconfig (any more); 'make olddefconfig' drops it" for name in gone),
        *(f"CONFIG_{symbol.name}=y in {source} has no effect{reason(symbol)}" for symbol in off),
    ]


def refuse_other_board(kconfig: kconfiglib.Kconfig, board: str) -> None:
    """Where the two files of a new board do not agree. Raises ToolError."""
    architecture = board_named(board).architecture.value
    for symbol, described in (("BOARD", board), ("ARCH", architecture)):
        said = kconfig.syms[symbol].str_value
        if said != described:
            raise ToolError(
                f"{shown(defconfig_path(board))}: CONFIG_{symbol} is {said}, boards/{board.replace('-', '_')}.py says {described}: "
                'correct one of them; docs/boards.md, "Adding a board", has both'
            )


def up_to_date(board: str) -> Path:
    """The board's complete configuration, written anew from its defconfig and the user's `.config`."""
    kconfig = configured(board)
    refuse_other_board(kconfig, board)
    refuse_misfits(kconfig, shown(user_path() if user_path().exists() else defconfig_path(board)))
    return write(kconfig, config_path(board))


def configured(board: str) -> kconfiglib.Kconfig:
    """What a board is built with."""
    source = user_path()
    if not source.exists():
        if os.environ.get("KCONFIG_CONFIG"):
            raise ToolError(f"there is no {shown(source)}, which KCONFIG_CONFIG names: make it with 'make menuconfig', or leave that out")
        return loaded(defconfig_path(board))
    user = loaded(source, tolerant=True)
    refuse_contradictions(user, shown(source))
    return user if board_of(user) == board else tailored(board, wishes(user), shown(source))


def changed(board: str, values: dict[str, str], path: Path) -> None:
    """Write a configuration that differs from the board's defconfig in these values."""
    kconfig = loaded(defconfig_path(board))
    for name, value in values.items():
        if not kconfig.syms[name].set_value(value) or kconfig.syms[name].str_value != value:
            raise ToolError(f"CONFIG_{name} cannot be {value} for board {board}: see its dependencies in Kconfig")
    write(kconfig, path)


# ---- the verbs -----------------------------------------------------------------------------------------------------------


def current(board: str) -> kconfiglib.Kconfig:
    """What the user has; else the board's defconfig. A `.config` of another board becomes that board's."""
    path = user_path()
    if not path.exists():
        return loaded(defconfig_path(board))
    user = loaded(path, tolerant=True)
    return user if board_of(user) == board else tailored(board, wishes(user), shown(path))


def save(kconfig: kconfiglib.Kconfig) -> None:
    """As the user's configuration, with a word about it."""
    path = write(kconfig, user_path())
    print(f"{shown(path)}: configuration for {board_of(kconfig)}")


def from_defconfig(name: str) -> None:
    save(loaded(defconfig_path(name)))


def olddefconfig(board: str) -> None:
    """Give symbols that are new since the file was written, and numbers that cannot be, their defaults; drop symbols that are gone."""
    save(mended(current(board)))


def edit(board: str, module: str) -> None:
    """Let one of kconfiglib's editors work on the user's file."""
    path = user_path()
    os.environ["KCONFIG_CONFIG"] = str(path)
    with start_of_editing(board, path):
        run_editor(module)


@contextmanager
def start_of_editing(board: str, path: Path) -> Iterator[None]:
    """Where the user has no file for the board yet, one that the editors take as unsaved; what was there is back when it was not saved."""
    before = path.read_text() if path.exists() else None
    start = before
    if before is None or board_of(loaded(path, tolerant=True)) != board:
        path.parent.mkdir(parents=True, exist_ok=True)
        current(board).write_min_config(str(path), header="")
        start = path.read_text()
    try:
        yield
    finally:
        if path.read_text() == start != before:
            path.unlink() if before is None else path.write_text(before)


def run_editor(module: str) -> None:
    import importlib

    try:
        editor = importlib.import_module(module)
    except ImportError as error:
        raise ToolError(f"{module} needs the Python module {error.name}: install python3-tk, or use 'make menuconfig'") from None
    try:
        editor.menuconfig(kconfiglib.Kconfig(str(KCONFIG), warn_to_stderr=False))  # both call it so
    except Exception as error:
        if type(error).__name__ != "TclError":  # tkinter is not there on every machine
            raise
        raise ToolError(f"guiconfig cannot open a window on the display {os.environ['DISPLAY']} ({error}): set DISPLAY, or use 'make menuconfig'") from None


def menuconfig(board: str) -> None:
    """Edit in the terminal."""
    if not sys.stdin.isatty():
        raise ToolError("menuconfig needs a terminal: edit .config and run 'make olddefconfig', or use 'make guiconfig'")
    edit(board, "menuconfig")


def guiconfig(board: str) -> None:
    """Edit in a window."""
    if not os.environ.get("DISPLAY"):
        raise ToolError("guiconfig needs a graphical display (DISPLAY is not set): use 'make menuconfig'")
    edit(board, "guiconfig")


def savedefconfig(board: str) -> None:
    """Write what differs from Kconfig's defaults to `defconfig`."""
    path = out_dir() / "defconfig"
    path.parent.mkdir(parents=True, exist_ok=True)
    current(board).write_min_config(str(path), header="")
    print(f"wrote {shown(path)}: to keep it, copy it to configs/NAME_defconfig; 'make NAME_defconfig' then starts from it")


def for_board(board: str) -> kconfiglib.Kconfig:
    """All at defaults but the board; and but its defconfig, where Kconfig knows nothing of it by itself."""
    kconfig = empty()
    choice = next((symbol for symbol in kconfig.unique_defined_syms if is_board(symbol) and symbol.name == board_symbol(board)), None)
    if choice is None:
        return mended(loaded(defconfig_path(board)))  # BOARD_CUSTOM
    choice.set_value(2)
    return kconfig


def board_symbol(board: str) -> str:
    defconfig_path(board)
    return "BOARD_" + board.upper().replace("-", "_")


def uniform(board: str, value: int) -> kconfiglib.Kconfig:
    """Every switch on (2) or off (0), as far as the board and the other switches let it be; numbers and choices keep their defaults."""
    kconfig = for_board(board)
    for symbol in kconfig.unique_defined_syms:
        if symbol.orig_type == kconfiglib.BOOL and promptable(symbol) and symbol.choice is None:
            symbol.set_value(value)
    return kconfig


def randomised(board: str, seed: int) -> kconfiglib.Kconfig:
    """Every switch and choice by chance but the board; numbers keep their defaults, as in Linux."""
    kconfig = for_board(board)
    chance = random.Random(seed)
    for symbol in kconfig.unique_defined_syms:
        if symbol.orig_type == kconfiglib.BOOL and promptable(symbol) and symbol.choice is None:
            symbol.set_value(chance.choice((0, 2)))
    for choice in kconfig.unique_choices:
        possible = [symbol for symbol in choice.syms if symbol.visibility and not is_board(symbol)]
        if possible:
            chance.choice(possible).set_value(2)
    return kconfig


def seed_given() -> int:
    """KCONFIG_SEED, or the time."""
    text = os.environ.get("KCONFIG_SEED") or str(time.time_ns() & 0xFFFF_FFFF)
    try:
        return int(text, 0)
    except ValueError:
        raise ToolError(f"KCONFIG_SEED={text} is no number: give one like 42 or 0x2A") from None


def randconfig(board: str) -> None:
    seed = seed_given()
    print(f"KCONFIG_SEED={seed:#x}")
    save(randomised(board, seed))


def listnewconfig(board: str) -> None:
    """Symbols that the user's file does not mention yet, with the values that they would get."""
    path = user_path()
    if not path.exists():
        raise ToolError(f"there is no {shown(path)} that could lack symbols: make one with 'make menuconfig'")
    for symbol in loaded(path, tolerant=True).unique_defined_syms:
        if symbol.user_value is None and symbol.visibility and symbol.choice is None:
            print(symbol.config_string.strip() or f"# CONFIG_{symbol.name} is not set")


VERBS: dict[str, Callable[[str], None]] = {
    "allnoconfig": lambda board: save(uniform(board, 0)),
    "allyesconfig": lambda board: save(uniform(board, 2)),
    "defconfig": from_defconfig,
    "guiconfig": guiconfig,
    "listnewconfig": listnewconfig,
    "menuconfig": menuconfig,
    "olddefconfig": olddefconfig,
    "randconfig": randconfig,
    "savedefconfig": savedefconfig,
}


def main() -> None:
    """Do one of the verbs."""
    parser = argparse.ArgumentParser(prog="kconfig", description="work on the configuration")
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("--board", default=DEFAULT_BOARD)
    arguments = parser.parse_args()
    VERBS[arguments.verb](arguments.board)


if __name__ == "__main__":
    run_tool(main)
