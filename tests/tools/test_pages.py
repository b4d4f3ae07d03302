"""The manual's pages: every make command on them is one that make knows, and the first hour's are typed for real."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import own_output
from xenarm.tools.console import Console
from xenarm.tools.kconfig import KCONFIG, kconfiglib
from xenarm.tools.paths import BUILD, ROOT

SECONDS = 120
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^    (make\b[^#\n]*?)(?:  +\S.*)?$", re.MULTILINE)
MISTAKE = re.compile(r"^\| `(make [^`]*)`[^|]* \| (error: .*?) \|$", re.MULTILINE)
HOUR = (ROOT / "docs" / "getting-started.md").read_text()
OWN_KERNEL = (ROOT / "docs" / "deployments.md").read_text().partition("## A kernel of your own")[2].partition("\n## ")[0]


def make(*words: str, directory: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XENARM", "KCONFIG", "MAKE"))}
    command = ["make", "--no-print-directory", *words]
    return subprocess.run(command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=SECONDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_knows_every_command_and_variable(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in COMMAND.findall(page.read_text()):
        words = shlex.split(re.split(r"\||2>", command)[0])[1:]
        done = make("-n", *words)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        unknown = [word for word in re.findall(r"\b(\w+)=", command) if not re.search(rf"\$\({word}\)|\b{word}\b *(\?=|:=)|export {word}\b|ifdef {word}\b", makefile)]
        assert not unknown, f"{command}: make does not look at {unknown}"


@pytest.mark.parametrize(("command", "said"), MISTAKE.findall(HOUR))
def test_a_newcomers_mistake_is_the_line_on_the_page(tmp_path: Path, command: str, said: str) -> None:
    done = make(f"O={tmp_path}", *command.split()[1:])
    assert done.returncode != 0
    assert done.stderr.startswith(said.partition(" ...")[0]), done.stderr
    assert "Traceback" not in done.stderr and "BUILD" not in done.stdout


def test_the_page_has_its_mistakes() -> None:
    assert len(MISTAKE.findall(HOUR)) == 5


@contextmanager
def menuconfig(directory: Path) -> Iterator[Console]:
    """The editor on a terminal. At the end it has to have ended."""
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "XENARM_O": str(directory), "LINES": "40", "COLUMNS": "120"}
    environment.pop("KCONFIG_CONFIG", None)
    command = [sys.executable, "-m", "xenarm.tools.kconfig", "menuconfig"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    screen = Console(os.fdopen(ours, "r+b", buffering=0))
    try:
        screen.expect(r"Q.* Quit", SECONDS)
        yield screen
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        screen.save(BUILD / "transcripts" / "menuconfig.log")
        screen.close()


def test_leaving_the_editor_without_saving_leaves_nothing(tmp_path: Path) -> None:
    with menuconfig(tmp_path) as screen:
        screen.send("q")
        screen.expect("Save configuration", SECONDS)
        screen.send("n")
    assert not (tmp_path / ".config").exists()


def test_tracing_is_switched_off_in_the_terminal(tmp_path: Path) -> None:
    """The keys of the page's second step."""
    place = [node.prompt[0] for node in menus()].index("Tracing")
    with menuconfig(tmp_path) as screen:
        for keys, shown in (("j" * place + "\r", "Events that a CPU keeps"), (" s", "Filename to save"), ("\r", "Configuration saved")):
            screen.send(keys)
            screen.expect(shown, SECONDS)
        screen.send("\r")  # closes the box
        screen.send("q")
    config = tmp_path / ".config"
    assert "# CONFIG_TRACE is not set" in config.read_text().splitlines()


def menus() -> list[kconfiglib.MenuNode]:
    """The first screen's lines."""
    node, found = kconfiglib.Kconfig(str(KCONFIG), warn_to_stderr=False).top_node.list, []
    while node:
        found += [node] if node.prompt and node.item == kconfiglib.MENU else []
        node = node.next
    return found


def test_a_kernel_of_ones_own_boots(built_board: str, tmp_path: Path) -> None:
    """The source, the deployment and the commands as the page has them."""
    for language, name in (("asm", "mine.S"), ("toml", "mine.toml")):
        text = re.search(rf"```{language}\n(.*?)```", OWN_KERNEL, re.DOTALL)
        assert text
        (tmp_path / name).write_text(text[1])
    assembling = re.findall(r"^    \.venv/bin/python (.*)$", OWN_KERNEL, re.MULTILINE)
    assert len(assembling) == 2
    for line in assembling:
        subprocess.run([sys.executable, *line.split()], cwd=tmp_path, check=True, capture_output=True, timeout=SECONDS)
    run = COMMAND.findall(OWN_KERNEL)
    assert run == ["make run DEPLOY=mine.toml"]
    with own_output(tmp_path / "out", built_board):
        done = make(f"O={tmp_path / 'out'}", "run", f"DEPLOY={tmp_path / 'mine.toml'}")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.replace("\r", "").splitlines()
    said = [re.sub(r"\[ *[\d.]+\]", "[]", line.strip()) for line in re.findall(r"^    (.*)$", OWN_KERNEL.partition("ends with")[2], re.MULTILINE)]
    assert said == [re.sub(r"\[ *[\d.]+\]", "[]", line) for line in lines[-len(said):]]
