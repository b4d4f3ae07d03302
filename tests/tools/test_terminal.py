"""The person's console: what is shown and kept of a line, keys, filters, and a line that goes and comes back."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from xenarm.tools.console import Console, LineTaken, Port, serial_port
from xenarm.tools.paths import ROOT
from xenarm.tools.terminal import Formatter, Terminal, UnixPort, connector

SECONDS = 30
TWO = b"(xenarm) booting\r\n(alpha) hello\r\n(beta) there\r\n(alpha) # "


def plain(**changes: object) -> Formatter:
    return Formatter(**({"times": False, "colours": False} | changes))  # type: ignore[arg-type]


def test_lines_are_shown_as_they_came() -> None:
    shown, kept = plain().feed(TWO, "12:00:00.000")
    assert shown == "(xenarm) booting\r\n(alpha) hello\r\n(beta) there\r\n(alpha) # "
    assert kept == "[12:00:00.000] (xenarm) booting\n[12:00:00.000] (alpha) hello\n[12:00:00.000] (beta) there\n[12:00:00.000] (alpha) # "


def test_bytes_one_by_one_give_the_same() -> None:
    formatter = plain()
    pieces = [formatter.feed(bytes([byte]), "t") for byte in TWO]
    assert "".join(shown for shown, _ in pieces) == plain().feed(TWO, "t")[0]


def test_a_line_editors_return_reaches_the_screen_and_not_the_log() -> None:
    formatter = plain()
    assert formatter.feed(b"# ls\r", "t")[0] == "# ls"
    shown, kept = formatter.feed(b"\x1b[J# pwd\r\n", "t")
    assert shown == "\r\x1b[J# pwd\r\n" and kept == "\x1b[J# pwd\n"


def test_every_line_has_its_time_at_its_beginning() -> None:
    formatter = plain(times=True)
    assert formatter.feed(b"(alpha) a", "1")[0] == "[1] (alpha) a"
    assert formatter.feed(b"b\r\nno name\r\n", "2")[0] == "b\r\n[2] no name\r\n"


def test_each_domain_has_a_colour_of_its_own() -> None:
    shown, kept = plain(colours=True).feed(TWO + b"\r\n", "t")
    colours = re.findall(r"\x1b\[(\d+)m\((\w+)\)", shown)
    assert colours == [("2", "xenarm"), ("36", "alpha"), ("33", "beta"), ("36", "alpha")]
    assert shown.count("\x1b[0m") == 4 and "\x1b" not in kept


def test_only_the_chosen_domains_are_shown_and_all_are_kept() -> None:
    shown, kept = plain(only=frozenset({"beta"})).feed(TWO, "t")
    assert shown == "(beta) there\r\n"
    assert kept.count("\n") == 3 and kept.endswith("(alpha) # ")


@pytest.mark.parametrize("text", ["(", "(al", "(not a name) x", "()", "((a) b", "plain", "(" + "x" * 60 + ") y"])
def test_what_is_no_name_is_a_line(text: str) -> None:
    formatter = plain(only=frozenset({"alpha"}))
    formatter.filtering = False
    assert formatter.feed(text.encode() + b"\r\n", "t")[0] == text + "\r\n"


def test_an_unfinished_beginning_shows_when_nothing_follows() -> None:
    formatter = plain()
    assert formatter.feed(b"(al", "t")[0] == ""
    assert formatter.flush("t")[0] == "(al"
    assert formatter.feed(b"pha) x\r\n", "t")[0] == "pha) x\r\n"


def test_characters_may_come_in_pieces() -> None:
    formatter = plain()
    euro = "€".encode()
    assert formatter.feed(b"x" + euro[:1], "t")[0] + formatter.feed(euro[1:] + b"\xff\n", "t")[0] == "x€\ufffd\r\n"


def accepted(listener: socket.socket) -> socket.socket:
    """The board's end of the line; nothing waits on it without end."""
    listener.settimeout(SECONDS)
    board, _ = listener.accept()
    board.settimeout(SECONDS)
    return board


def received(board: socket.socket, end: bytes) -> bytes:
    """What is typed to the board, up to and with `end`."""
    got = b""
    while not got.endswith(end):
        piece = board.recv(100)
        assert piece, f"the line closed after {got!r}"
        got += piece
    return got


@contextmanager
def terminal(connect: Callable[[], Port], formatter: Formatter, again: bool = True) -> Iterator[tuple[Terminal, int, io.StringIO]]:
    """One that runs; its keys come from a pipe."""
    keys, typing = os.pipe()
    screen, log = io.StringIO(), io.StringIO()
    made = Terminal(connect, formatter, screen, log, keys, again)
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        yield made, typing, screen
    finally:
        os.write(typing, b"\x1dx")
        thread.join(10)
        os.close(typing)
        os.close(keys)
    assert not thread.is_alive()


def test_keys_reach_the_line_and_the_own_key_does_not(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "line"))
        listener.listen()
        with terminal(lambda: UnixPort(tmp_path / "line"), plain()) as (_, typing, _):
            board = accepted(listener)
            os.write(typing, b"ls\x01\r\x1ds\x1d\x1d!")
            got = received(board, b"!")
            board.close()
    assert got == b"ls\x01\r\x01\x01\x01\x1d!"


def test_a_line_that_went_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "line"

    def listening() -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        return listener

    with listening() as listener, terminal(lambda: UnixPort(path), plain()) as (made, _, screen):
        board = accepted(listener)
        listener.close()
        path.unlink()
        board.sendall(b"before\r\n")
        board.close()
        with listening() as back:
            board = accepted(back)
            board.sendall(b"after\r\n")
            deadline = time.monotonic() + SECONDS
            while made.log is not None and "after" not in made.log.getvalue():  # type: ignore[attr-defined]
                assert time.monotonic() < deadline, screen.getvalue()
            board.close()
    text = screen.getvalue()
    waiting = text.index("the line closed; waiting for it to come back")
    assert text.index("before") < waiting < text.index("connected", waiting) < text.index("after")


@contextmanager
def plugged(device: Path) -> Iterator[Console]:
    """A pty in the place of a serial adapter, and the board's end of it."""
    ours, theirs = os.openpty()
    device.symlink_to(os.ttyname(theirs))
    board = Console(os.fdopen(ours, "r+b", buffering=0))
    try:
        yield board
    finally:
        device.unlink()
        os.close(theirs)
        board.close()


def shown(screen: io.StringIO, text: str, times: int = 1) -> None:
    """Wait until the person has seen a text so often."""
    deadline = time.monotonic() + SECONDS
    while screen.getvalue().count(text) < times:
        assert time.monotonic() < deadline, screen.getvalue()
        time.sleep(0.01)


def test_a_serial_adapter_may_be_pulled_out_and_put_back(tmp_path: Path) -> None:
    device = tmp_path / "ttyUSB0"
    with ExitStack() as adapter:
        board = adapter.enter_context(plugged(device))
        with terminal(connector("qemu-virt-arm64", str(device), 115200), plain()) as (_, typing, screen):
            shown(screen, "-- connected")
            board.send("before\r\n")
            shown(screen, "before")
            adapter.close()
            shown(screen, "-- the line closed; waiting for it to come back")
            board = adapter.enter_context(plugged(device))
            shown(screen, "-- connected", 2)
            board.send("after\r\n")
            shown(screen, "after")
            os.write(typing, b"ls\r")
            board.expect(r"^ls\r", SECONDS)


def test_the_verb_on_a_terminal_with_a_log(tmp_path: Path) -> None:
    """As a person has it: a pty, a board behind a TCP socket, a filter, a log file."""
    with socket.create_server(("127.0.0.1", 0)) as board_end:
        ours, theirs = os.openpty()
        port = f"socket://127.0.0.1:{board_end.getsockname()[1]}"
        command = [sys.executable, "-m", "xenarm.tools.terminal", "--port", port, "--domains", "beta", "--log", str(tmp_path / "log")]
        process = subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        person = Console(os.fdopen(ours, "r+b", buffering=0))
        board = accepted(board_end)
        try:
            person.expect(r"CTRL-\] and then: x quit", SECONDS)
            board.sendall(TWO + b"\r\n(beta) prompt> ")
            person.expect(r"\[\d\d:\d\d:\d\d\.\d{3}\] \x1b\[36m\(beta\) there\x1b\[0m\r\n", SECONDS)
            person.expect(r"\(beta\) prompt> ", SECONDS)
            person.send("reboot\r")
            assert received(board, b"\r") == b"reboot\r"
            person.send(b"\x1dx")
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
            process.wait()
            person.close()
            board.close()
    assert "alpha" not in person.text()
    assert re.fullmatch(r"(\[[\d:.]+\] \((xenarm|alpha|beta)\) .*\n){4}\[[\d:.]+\] \(beta\) prompt> ", (tmp_path / "log").read_text())


def test_a_line_that_another_console_has_is_one_line(tmp_path: Path) -> None:
    """A second one would be kept waiting by QEMU's socket, or share a device's bytes with the first."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "line"))
        listener.listen()
        first = UnixPort(tmp_path / "line")
        with pytest.raises(LineTaken, match=f"^another program has {tmp_path}/line: end that one first"):
            UnixPort(tmp_path / "line")
        first.close()
        UnixPort(tmp_path / "line").close()
    ours, theirs = os.openpty()
    device = serial_port(os.ttyname(theirs))
    command = [sys.executable, "-m", "xenarm.tools.terminal", "--port", os.ttyname(theirs)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=SECONDS)
    for end in (ours, theirs):
        os.close(end)
    device.close()
    assert done.returncode == 1 and done.stderr == f"error: another program has {command[-1]}: end that one first, a 'make console' by CTRL-] and then x\n"


def test_the_person_is_told_what_is_shown() -> None:
    chosen, screen = plain(only=frozenset({"beta", "alpha"})), io.StringIO()
    keys = Terminal(lambda: UnixPort(Path("nothing")), chosen, screen, None, None)
    keys.typed(b"\x1df\x1df")
    assert screen.getvalue() == "\r\n-- all lines are shown\r\n\r\n-- only lines of alpha, beta are shown; CTRL-] f shows all\r\n"
    assert plain().shows() == "all lines are shown; DOMAINS=name,name chooses some"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("terminal", "--log", "nosuch/log"), "error: LOG=nosuch/log cannot be written (No such file or directory): name another file\n"),
        (("terminal", "--baud", "fast"), "error: BAUD=fast: give a whole number from 1 on\n"),
        (("soak", "--minutes", "0"), "error: MINUTES=0: give a number above 0\n"),
        (("soak", "--minutes", "nan"), "error: MINUTES=nan: give a number above 0\n"),
        (("soak", "--seed", "-1"), "error: SEED=-1: give a whole number from 0 on\n"),
    ],
)
def test_a_mistake_is_one_line_with_makes_name_for_it(words: tuple[str, ...], said: str) -> None:
    result = subprocess.run([sys.executable, "-m", f"xenarm.tools.{words[0]}", *words[1:]], cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=SECONDS)
    assert result.returncode == 1 and result.stderr == said


def test_nothing_to_connect_to_is_one_line(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "xenarm.tools.terminal", "--port", str(tmp_path / "nosuch")], cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=100
    )
    assert result.returncode == 1 and result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert result.stderr == f"error: the serial port {tmp_path / 'nosuch'} cannot be opened (No such file or directory): name another by PORT=, such as /dev/ttyUSB0\n"
