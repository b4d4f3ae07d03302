"""`make debug` and `make console` on a machine that `make run` has started: Python's lines, and the commands."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import BOARD32, build_once, own_output
from xenarm.tools import build, debug
from xenarm.tools.console import Console
from xenarm.tools.errors import ToolError
from xenarm.tools.paths import DEFAULT_BOARD, ROOT
from xenarm.tools.run import gdb_socket, serial_socket
from xenarm.tools.terminal import UnixPort

SECONDS = 60


@pytest.fixture(scope="module", params=[DEFAULT_BOARD, BOARD32])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A board with the guest hello, past its first words, started by the verb."""
    board = build_once(request, request.param)
    with own_output(tmp_path_factory.mktemp("o"), board), running_machine(board) as console:
        console.expect("Type 'help'", SECONDS)
        yield board


@contextmanager
def running_machine(board: str) -> Iterator[Console]:
    command = [sys.executable, "-m", "xenarm.tools.run", "--board", board, "--console", "--no-build"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout
    said = Console(process.stdout)  # type: ignore[arg-type]
    console = None
    try:
        said.expect("'make console board=.*' in another terminal starts it", SECONDS)
        console = connected(board, said)
        yield console
    finally:
        process.kill()
        process.wait()
        said.close()
        if console:
            console.close()


def connected(board: str, said: Console) -> Console:
    """The line, as soon as QEMU listens: it says so."""
    said.expect(r"waiting for connection on: disconnected:unix:", SECONDS)
    here = os.getcwd()
    os.chdir(ROOT)
    try:
        return Console(UnixPort(serial_socket(board)))
    finally:
        os.chdir(here)


def gdb(board: str, *commands: str) -> str:
    """What gdb says to some commands."""
    words = debug.command(board, str(gdb_socket(board)), ["-batch", *(word for line in commands for word in ("-ex", line))])
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=120)
    return result.stdout + result.stderr


def test_domains_and_vcpus(running: str) -> None:
    said = gdb(running, "xenarm-domains", "xenarm-vcpus")
    assert re.search(r"^0 hello: RUNNING, 1 vCPUs, 0 restarts, stage 2 at 0x[0-9a-f]+, (\d+) of \d+ pages$", said, re.MULTILINE), said
    assert re.search(r"^hello 0: ON, CPU 0, at 0x[0-9a-f]+, first registers 0x", said, re.MULTILINE), said


def test_stage_2_is_walked(running: str) -> None:
    """To where the kernel's own bytes are; where the guest has nothing, the walk ends."""
    kernel = 0x4000_0000 if running == DEFAULT_BOARD else 0x4020_0000
    said = gdb(running, f"xenarm-stage2 hello {kernel + 0x1230:#x}", "xenarm-stage2 0 0x3001000")
    machine = re.search(rf"{kernel + 0x1230:#x} of hello is (0x[0-9a-f]+) of the machine", said)
    assert machine and "rwx memory" in said, said
    assert "0x3001000 of hello is mapped to nothing" in said
    file = build.guest_job(running, "hello").output.read_bytes()
    assert file[0x1230:0x1270].hex() in gdb(running, f"python print(physical({machine[1]}, 64).hex())")


def test_the_log_is_what_was_said(running: str) -> None:
    said = gdb(running, "xenarm-log")
    assert "xenarm, image at 0x" in said and "processors: 1 of at most" in said and re.search(r"\] start\n", said)


def test_lines_are_pythons(running: str) -> None:
    said = gdb(running, "info line boot_first_cpu", "list boot_first_cpu")
    line = re.search(r'Line (\d+) of "xenarm/main.py"', said)
    assert line, said
    source = (ROOT / "xenarm/main.py").read_text().splitlines()
    assert "def boot_first_cpu" in "".join(source[int(line[1]) - 2 : int(line[1]) + 1])
    assert "def boot_first_cpu(dtb: usize" in said


def test_mistakes_are_one_line_each(running: str) -> None:
    said = gdb(running, "xenarm-stage2 nosuch 0", "xenarm-stage2 hello")
    assert "there is no domain 'nosuch': xenarm-domains lists them" in said
    assert "give a domain, by name or number, and an address" in said and "Traceback" not in said


def test_no_machine_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debug, "gdb_socket", lambda board: tmp_path / "nothing")
    with pytest.raises(ToolError, match="no qemu-virt-arm64 is running here: 'make run board=qemu-virt-arm64' in another terminal"):
        debug.target_of(DEFAULT_BOARD, None)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "nothing"))
        assert debug.target_of(DEFAULT_BOARD, None) == str(tmp_path / "nothing")
