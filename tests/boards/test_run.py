"""`make run` and `make console` as a person has them: a terminal, every key for the guest, and a way out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from boards import BOARDS
from tests.conftest import own_output
from xenarm.tools.console import Console
from xenarm.tools.paths import BUILD, ROOT
from xenarm.tools.run import GUEST_NAMES

SECONDS = 60


Terminal = tuple[Console, subprocess.Popen[bytes]]


def terminal(*arguments: str) -> AbstractContextManager[Terminal]:
    """The run verb on a terminal of its own."""
    return verb_on_terminal("run", f"run-{'-'.join(arguments)}", "--no-build", *arguments)


@contextmanager
def verb_on_terminal(verb: str, name: str, *arguments: str) -> Iterator[Terminal]:
    """A verb on a terminal of its own; the transcript has the name."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", f"xenarm.tools.{verb}", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    console = Console(os.fdopen(ours, "r+b", buffering=0))
    try:
        yield console, process
    finally:
        process.kill()
        process.wait()
        console.save(BUILD / "transcripts" / f"{name}.log")
        console.close()


def test_every_key_reaches_the_guest_and_ctrl_bracket_x_quits(built_board: str) -> None:
    with terminal("--guest", "debian", "--cpus", "2") as (console, process):
        console.expect(r"CTRL-\] and then x", SECONDS)
        console.expect("debian# ", SECONDS)
        console.send_line("nproc")
        console.expect(r"\n2\r", SECONDS)
        console.send_line("sh -c \"echo slee''ping; exec sleep 1000\"")  # one job: it is in the foreground before it speaks
        console.expect("sleeping", SECONDS)
        console.send(b"\x03")
        console.expect("debian# ", SECONDS)
        console.send(b"\x1d" + b"x")
        assert process.wait(SECONDS) == 0


def test_the_machine_ends_with_its_guest(built_board: str) -> None:
    with terminal("--guest", "debian") as (console, process):
        console.expect("debian# ", SECONDS)
        console.send_line("poweroff -f")
        assert console.drain_until_closed(SECONDS)
        assert process.wait(SECONDS) == 0


TWO = "".join(f'[domain.{name}]\nkernel = "guest:hello"\nmemory = "32 MiB"\n' for name in ("one", "two"))


def test_the_console_of_a_machine_with_two_domains(built_board: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One domain's lines alone, the input moved to it, everything in the log; who quits may come again."""
    directory = tmp_path_factory.mktemp("c")  # short: a socket's path is in it
    (directory / "two.toml").write_text(TWO)
    chosen = ("--domains", "two", "--log", str(directory / "log"))
    with own_output(directory, built_board), verb_on_terminal("run", "run-console", "--no-build", "--console", "--deploy", str(directory / "two.toml")) as (machine, _):
        machine.expect("QEMU waiting for connection", SECONDS)
        with verb_on_terminal("terminal", "console-first", *chosen) as (person, process):
            person.expect(r"only lines of two are shown", SECONDS)
            person.expect(r"\(two\) Type 'help'", SECONDS)
            person.send("\x1dsecho moved\r")
            person.expect(r"\(two\) moved", SECONDS)
            person.send("\x1dx")
            assert process.wait(SECONDS) == 0
        assert "(one)" not in person.text() and "(xenarm)" not in person.text()
        with verb_on_terminal("terminal", "console-again", *chosen) as (person, process):
            person.expect(r"only lines of two are shown", SECONDS)
            person.send("echo back\r")
            person.expect(r"\(two\) back", SECONDS)
    log = (directory / "log").read_text()
    for line in (r"\(one\) Hello from a guest", r"\(two\) Hello from a guest", r"\(xenarm\) .*input goes to two", r"\(two\) moved", r"\(two\) back"):
        assert re.search(rf"^\[\d\d:\d\d:\d\d\.\d{{3}}\] {line}", log, re.MULTILINE), line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--guest", "windows"], f"error: there is no guest 'windows'; the guests are: {', '.join(GUEST_NAMES)}\n"),
        (["--guest", "debian", "--cpus", "9"], "error: qemu-virt-arm64 has at most 8 CPUs, not 9\n"),
        (["--guest", "debian", "--cpus", "0"], "error: a guest needs at least 1 CPU, not 0\n"),
        (["--cpus", "two"], "error: CPUS=two: give a whole number from 0 on\n"),
        (["--mem", "0"], "error: MEM=0: give a whole number from 1 on\n"),
        (["--board", "nosuch", "--guest", "debian"], f"error: there is no board 'nosuch'; the boards are: {', '.join(sorted(BOARDS))}\n"),
    ],
)
def test_a_mistake_is_one_line(built_board: str, arguments: list[str], line: str) -> None:
    command = [sys.executable, "-m", "xenarm.tools.run", "--no-build", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=100)
    assert (result.returncode, result.stderr) == (1, line)


def test_a_board_without_a_model_is_refused_before_anything_is_built() -> None:
    command = [sys.executable, "-m", "xenarm.tools.run", "--board", "arndale"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=SECONDS)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "error: QEMU has no model of arndale: 'make list-boards board=arndale' says how to put the image on the board\n"
