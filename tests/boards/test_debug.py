"""`make debug` and `make console` on a machine that `make run` has started: Python's lines, and the commands.

The commands hold for QEMU's gdb server, and for one that knows the standard's packets alone, as a JTAG probe's: tests/boards/gdb_proxy.py.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tests.boards.gdb_proxy import standard_only
from tests.conftest import BOARD32, build_once, own_output
from xenarm.tools import build, debug
from xenarm.tools.console import Console
from xenarm.tools.errors import ToolError
from xenarm.tools.paths import DEFAULT_BOARD, ROOT
from xenarm.tools.run import gdb_socket, serial_socket
from xenarm.tools.terminal import UnixPort

SECONDS = 60


@dataclass
class Running:
    """A board with the guest hello, past its first words, and its serial line."""

    board: str
    console: Console


@pytest.fixture(scope="module", params=[DEFAULT_BOARD, BOARD32])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Started by the verb."""
    board = build_once(request, request.param)
    with own_output(tmp_path_factory.mktemp("o"), board), running_machine(board) as console:
        console.expect("Type 'help'", SECONDS)
        yield Running(board, console)


@pytest.fixture(params=["qemu", "standard"])
def target(request: pytest.FixtureRequest, running: Running) -> Iterator[str]:
    """The machine's gdb server, as it is or without what only QEMU's has."""
    path = gdb_socket(running.board)
    if request.param == "qemu":
        yield str(path)
        return
    with standard_only(path) as port:
        yield f"localhost:{port}"


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


def words_of(board: str, target: str, commands: tuple[str, ...]) -> list[str]:
    return debug.command(board, target, ["-batch", *(word for line in commands for word in ("-ex", line))])


def gdb(board: str, *commands: str, target: str = "") -> str:
    """What gdb says to some commands."""
    words = words_of(board, target or str(gdb_socket(board)), commands)
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=120)
    return result.stdout + result.stderr


def gdb_in_guest(running: Running, target: str, *commands: str) -> str:
    """The same where the guest does its command `irq`, by the mode, since the hypervisor has the same addresses."""
    outside = "($cpsr & 0x1f) != 0x1a && ($cpsr & 0xf) < 8" if running.board == BOARD32 else "($cpsr & 0xf) < 8"
    waiting = (f"hbreak *{irq_command(running.board):#x} if {outside}", r"echo set\n", "continue", "delete")
    process = subprocess.Popen(words_of(running.board, target, (*waiting, *commands)), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout
    said = Console(process.stdout)  # type: ignore[arg-type]
    try:
        said.expect(r"\nset\n", SECONDS)
        running.console.send("irq\r")
        assert said.drain_until_closed(SECONDS) and process.wait(SECONDS) is not None
        return said.text()
    finally:
        process.kill()
        process.wait()
        said.close()


def irq_command(board: str) -> int:
    """The address of what hello does at `irq`, without the bit that says Thumb."""
    with build.guest_job(board, "hello").output.with_suffix(".elf").open("rb") as file:
        (found,) = ELFFile(file).get_section_by_name(".symtab").get_symbol_by_name("commands_irq")
        return int(found["st_value"]) & ~1


def test_domains_and_vcpus(running: Running, target: str) -> None:
    said = gdb(running.board, "xenarm-domains", "xenarm-vcpus", target=target)
    assert_domain(said)
    assert re.search(r"^hello 0: ON, CPU 0, at 0x[0-9a-f]+, first registers 0x", said, re.MULTILINE), said


def assert_domain(said: str) -> None:
    assert re.search(r"^0 hello: RUNNING, 1 vCPUs, 0 restarts, stage 2 at 0x[0-9a-f]+, (\d+) of \d+ pages$", said, re.MULTILINE), said


def test_stage_2_is_walked(running: Running, target: str) -> None:
    """To where the kernel's own bytes are; where the guest has nothing, the walk ends."""
    kernel = 0x4000_0000 if running.board == DEFAULT_BOARD else 0x4020_0000
    said = gdb(running.board, f"xenarm-stage2 hello {kernel + 0x1230:#x}", "xenarm-stage2 0 0x3001000", target=target)
    machine = re.search(rf"{kernel + 0x1230:#x} of hello is (0x[0-9a-f]+) of the machine", said)
    assert machine and "rwx memory" in said, said
    assert "0x3001000 of hello is mapped to nothing" in said
    file = build.guest_job(running.board, "hello").output.read_bytes()
    assert file[0x1230:0x1270].hex() in gdb(running.board, f"python print(ByQemu().machine({machine[1]}, 64).hex())")


def test_the_log_is_what_was_said(running: Running, target: str) -> None:
    said = gdb(running.board, "xenarm-log", target=target)
    assert "xenarm, image at 0x" in said and "processors: 1 of at most" in said and re.search(r"\] start\n", said)


def test_in_a_guest(running: Running, target: str) -> None:
    """QEMU shows the hypervisor all the same; another server says how to get there, and that is so. What was looked at stays selected."""
    said = gdb_in_guest(running, target, "xenarm-domains", "p $pc", "echo then\\n", "xenarm-enter", "xenarm-domains", "xenarm-log", "bt")
    before, _, after = said.partition("then\n")
    assert re.search(rf"^\$1 = .*\b{irq_command(running.board):#x}\b", before, re.MULTILINE), said
    if target.startswith("localhost"):
        assert "every CPU is in a guest" in before and "'xenarm-enter' lets the machine run" in before, said
    else:
        assert_domain(before)
    assert_domain(after)
    assert re.search(r"^#0 .*\bshort_(irq|sync)_v2 \(", after, re.MULTILINE) and "image at 0x" in after, said
    running.console.send("echo on\r")
    running.console.expect(r"\r\non\r\n", SECONDS)


def test_lines_are_pythons(running: Running) -> None:
    said = gdb(running.board, "info line boot_first_cpu", "list boot_first_cpu")
    line = re.search(r'Line (\d+) of "xenarm/main.py"', said)
    assert line, said
    source = (ROOT / "xenarm/main.py").read_text().splitlines()
    assert "def boot_first_cpu" in "".join(source[int(line[1]) - 2 : int(line[1]) + 1])
    assert "def boot_first_cpu(dtb: usize" in said


def test_mistakes_are_one_line_each(running: Running) -> None:
    said = gdb(running.board, "xenarm-stage2 nosuch 0", "xenarm-stage2 hello", "xenarm-stage2 hello nosuch")
    assert 'No symbol "nosuch" in current context.' in said and "Error occurred in Python" not in said
    assert "there is no domain 'nosuch': xenarm-domains lists them" in said
    assert "give a domain, by name or number, and an address" in said and "Traceback" not in said


def test_no_machine_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debug, "gdb_socket", lambda board: tmp_path / "nothing")
    with pytest.raises(ToolError, match="no qemu-virt-arm64 is running here: 'make run board=qemu-virt-arm64' in another terminal"):
        debug.target_of(DEFAULT_BOARD, None)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "nothing"))
        assert debug.target_of(DEFAULT_BOARD, None) == str(tmp_path / "nothing")
