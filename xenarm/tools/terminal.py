"""The person's console on a board: time, a colour for each domain, a choice of domains, a log file, and patience with a line that goes away.

On a serial port or socket by pyserial, or on the machine that `make run CONSOLE=1` has started. CTRL-] is the terminal's own key; CTRL-a three
times, the hypervisor's way to move the input, is CTRL-] s.
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import os
import re
import select
import socket
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

import serial

from boards import board as board_named
from xenarm.tools.arguments import whole
from xenarm.tools.console import LineTaken, Port, serial_port
from xenarm.tools.errors import ToolError, error_text, run_tool
from xenarm.tools.hypervisor import SWITCH_INPUT
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.run import serial_socket

ESCAPE = 0x1D  # CTRL-]
NAME = re.compile(r"\(([A-Za-z0-9][\w.+-]{0,31})\) ")
LONGEST_PREFIX = 36
COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)  # of SGR, in the order in which domains speak first
OWN = "xenarm"  # the hypervisor's lines, shown dim
RETRY_SECONDS = 0.5
HELP = "CTRL-] and then: x quit, s move the input to the next domain, t time, f all domains or only the chosen, ? this, CTRL-] itself"


class Formatter:
    """Turns what comes over the line into what is shown and what is kept: line by line, and each line's beginning at once."""

    def __init__(self, only: frozenset[str] = frozenset(), times: bool = True, colours: bool = True) -> None:
        self.only = only
        self.filtering = bool(only)
        self.times = times
        self.colours = colours
        self.order: list[str] = []  # domains, as they came
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""  # a line's first characters, as long as they may become a name
        self._begun = False
        self._returned = False
        self._shown = True

    def shows(self) -> str:
        """Which domains' lines, for the person."""
        if self.filtering:
            return f"only lines of {', '.join(sorted(self.only))} are shown; CTRL-] f shows all"
        return "all lines are shown" + ("" if self.only else "; DOMAINS=name,name chooses some")

    def feed(self, data: bytes, stamp: str) -> tuple[str, str]:
        """What to show, and what to keep, of some bytes."""
        shown, kept = [], []
        for character in self._decoder.decode(data):
            for on_screen, in_log in self._take(character, stamp):
                shown.append(on_screen)
                kept.append(in_log)
        return "".join(shown), "".join(kept)

    def flush(self, stamp: str) -> tuple[str, str]:
        """A line's first characters that nothing followed."""
        return self._begin("", stamp) if self._pending else ("", "")

    def _take(self, character: str, stamp: str) -> Iterator[tuple[str, str]]:
        if not self._begun:
            if character == "\r" and not self._pending:
                return
            self._pending += character
            found = NAME.fullmatch(self._pending)
            if found:
                yield self._begin(found[1], stamp)
            elif character == "\n" or not self._may_be_name():
                yield self._begin("", stamp)
        elif character == "\n":
            self._returned = False
            yield self._end()
        else:
            # A return that no line feed follows is a line editor's: it goes to the screen, with what comes next.
            before, self._returned = "\r" if self._returned else "", character == "\r"
            text = before + ("" if self._returned else character)
            yield text if self._shown else "", text.replace("\r", "")

    def _may_be_name(self) -> bool:
        text = self._pending
        return len(text) < LONGEST_PREFIX and re.fullmatch(r"\(([A-Za-z0-9][\w.+-]*(\))?)?", text) is not None

    def _begin(self, name: str, stamp: str) -> tuple[str, str]:
        text, self._pending = self._pending, ""
        ended = text.endswith("\n")
        text = text.rstrip("\r\n")
        self._begun = True
        self._shown = not self.filtering or name in self.only
        time_text = f"[{stamp}] "
        on_screen = ((time_text if self.times else "") + self._colour(name) + text) if self._shown else ""
        tail = self._end() if ended else ("", "")
        return on_screen + tail[0], time_text + text + tail[1]

    def _end(self) -> tuple[str, str]:
        self._begun = False
        reset = "\x1b[0m" if self.colours else ""
        return f"{reset}\r\n" if self._shown else "", "\n"

    def _colour(self, name: str) -> str:
        if not self.colours or not name:
            return ""
        if name == OWN:
            return "\x1b[2m"
        if name not in self.order:
            self.order.append(name)
        return f"\x1b[{COLOURS[self.order.index(name) % len(COLOURS)]}m"


class UnixPort:
    """A socket in the file system, as a port, and a lock beside it: QEMU would keep a second console waiting without a word."""

    def __init__(self, path: Path) -> None:
        self._lock = path.with_name(path.name + ".lock").open("w")
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._socket.connect(str(path))
        except BlockingIOError:
            self.close()
            raise LineTaken(path) from None
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def write(self, data: bytes, /) -> int:
        """Send it all."""
        self._socket.sendall(data)
        return len(data)

    def close(self) -> None:
        """Let go."""
        self._socket.close()
        self._lock.close()


def clock() -> str:
    """The time of a line."""
    return datetime.now().strftime("%H:%M:%S.%f")[:-3]


class Terminal:
    """A person between a keyboard, a screen and a line."""

    def __init__(self, connect: Callable[[], Port], formatter: Formatter, screen: TextIO, log: TextIO | None, keys: int | None, again: bool = True) -> None:
        self.connect = connect
        self.formatter = formatter
        self.screen = screen
        self.log = log
        self.keys = keys
        self.taken = ""  # what was last said of another program that has the line
        self.again = again
        self.port: Port | None = None
        self.escaped = False
        self.done = False

    def say(self, text: str) -> None:
        """A line of the terminal's own."""
        self.screen.write(f"\r\n-- {text}\r\n")
        self.screen.flush()

    def show(self, pieces: tuple[str, str]) -> None:
        """To the screen and into the log."""
        if pieces[0]:
            self.screen.write(pieces[0])
            self.screen.flush()
        if self.log and pieces[1]:
            self.log.write(pieces[1])
            self.log.flush()

    def lost(self) -> None:
        """The line is gone; it is opened again when it is back."""
        if self.port is not None:
            self.port.close()
            self.port = None
            self.say("the line closed" + ("; waiting for it to come back, CTRL-] x quits" if self.again else ""))
        self.done |= not self.again

    def open(self) -> None:
        """Try to get the line back."""
        try:
            self.port = self.connect()
        except LineTaken as error:
            if str(error) != self.taken:
                self.taken = str(error)
                self.say(self.taken)
            self.wait(RETRY_SECONDS)
            return
        except (OSError, ValueError):  # pyserial's own errors among them
            self.wait(RETRY_SECONDS)
            return
        self.say("connected")

    def send(self, data: bytes) -> None:
        """Type on the line."""
        if self.port is not None:
            try:
                self.port.write(data)
            except OSError:
                self.lost()

    def command(self, key: str) -> None:
        """What follows the terminal's own key."""
        match key:
            case "x":
                self.done = True
            case "s":
                self.send(SWITCH_INPUT)
            case "t":
                self.formatter.times = not self.formatter.times
            case "f":
                self.formatter.filtering = not self.formatter.filtering and bool(self.formatter.only)
                self.say(self.formatter.shows())
            case "\x1d":
                self.send(bytes([ESCAPE]))
            case _:
                self.say(HELP)

    def typed(self, data: bytes) -> None:
        """Keys: the terminal's own, and the line's."""
        rest = bytearray()
        for key in data:
            if self.escaped:
                self.escaped = False
                self.command(chr(key))
            elif key == ESCAPE:
                if rest:
                    self.send(bytes(rest))
                rest.clear()
                self.escaped = True
            else:
                rest.append(key)
        if rest:
            self.send(bytes(rest))

    def received(self) -> None:
        """What the line has."""
        assert self.port is not None
        try:
            data = os.read(self.port.fileno(), 65536)
        except OSError:
            data = b""
        if data:
            self.show(self.formatter.feed(data, clock()))
        else:
            self.lost()

    def wait(self, seconds: float) -> None:
        """One turn: whatever comes first."""
        watched = [end for end in (self.keys, self.port.fileno() if self.port else None) if end is not None]
        ready, _, _ = select.select(watched, [], [], seconds)
        if not ready:
            self.show(self.formatter.flush(clock()))
        if self.keys in ready and self.keys is not None:
            data = os.read(self.keys, 1024)
            self.typed(data)
            self.keys = self.keys if data else None
        if self.port is not None and self.port.fileno() in ready:
            self.received()

    def run(self) -> None:
        """Until the person quits."""
        while not self.done:
            if self.port is None:
                self.open()
            else:
                self.wait(0.2)


@contextmanager
def raw(keys: int) -> Iterator[None]:
    """Every key as it is, on a terminal."""
    if not os.isatty(keys):
        yield
        return
    before = termios.tcgetattr(keys)
    tty.setraw(keys)
    try:
        yield
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)


def connector(board: str, port: str | None, baud: int) -> Callable[[], Port]:
    """How the line is opened, each time again."""
    if port:
        return lambda: serial_port(port, baud)
    path = serial_socket(board)
    return lambda: UnixPort(path)


def unreachable(board: str, port: str | None, error: Exception) -> str:
    """Why there is no line, and what to do."""
    if port:
        return f"the serial port {port} cannot be opened ({error_text(error)}): name another by PORT=, such as /dev/ttyUSB0"
    if not board_named(board).qemu:
        return f"QEMU has no model of {board}: name the board's serial port by PORT=, such as /dev/ttyUSB0"
    return f"no {board} is running here with its console left to others: 'make run board={board} CONSOLE=1' in another terminal starts one, or name a serial port by PORT="


def opened_log(path: Path) -> TextIO:
    """What keeps everything, with what it has already."""
    try:
        return path.open("a")
    except OSError as error:
        raise ToolError(f"LOG={path} cannot be written ({error_text(error)}): name another file") from error


def main() -> None:
    """Be a console."""
    parser = argparse.ArgumentParser(prog="console", description="the console of a board: " + HELP)
    parser.add_argument("--board", default=DEFAULT_BOARD)
    parser.add_argument("--port", help="a serial port, or socket://host:port; without it the machine of 'make run CONSOLE=1'")
    parser.add_argument("--baud", type=whole("BAUD"), help="the line's speed; without it the board's")
    parser.add_argument("--domains", default="", metavar="NAME,NAME", help="show only these domains' lines ('xenarm' is the hypervisor)")
    parser.add_argument("--log", type=Path, help="a file that receives everything, with the time")
    parser.add_argument("--no-times", action="store_true")
    parser.add_argument("--no-colours", action="store_true")
    parser.add_argument("--once", action="store_true", help="end when the line closes")
    arguments = parser.parse_args()
    board_named(arguments.board)
    connect = connector(arguments.board, arguments.port, arguments.baud or board_named(arguments.board).hardware.baud)
    log = opened_log(arguments.log) if arguments.log else None
    try:
        port = connect()
    except LineTaken as error:
        raise ToolError(str(error)) from error
    except (serial.SerialException, ValueError, OSError) as error:
        raise ToolError(unreachable(arguments.board, arguments.port, error)) from error
    formatter = Formatter(frozenset(filter(None, arguments.domains.split(","))), not arguments.no_times, not arguments.no_colours and sys.stdout.isatty())
    terminal = Terminal(connect, formatter, sys.stdout, log, sys.stdin.fileno(), not arguments.once)
    terminal.port = port
    with raw(sys.stdin.fileno()):  # which forgets what has been typed before it
        print(f"{HELP}\r\nconnected to {arguments.port or arguments.board}; {formatter.shows()}\r", flush=True)
        terminal.run()
    print("\r")


if __name__ == "__main__":
    run_tool(main)
