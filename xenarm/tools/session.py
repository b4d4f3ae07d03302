"""A machine that runs: QEMU and its console, for as long as a `with` lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from xenarm.tools.console import Console, ConsoleTimeout, serial_port
from xenarm.tools.layout import Layout
from xenarm.tools.paths import BUILD
from xenarm.tools.qemu import Qemu, beside_own_tree, command_line

TRANSCRIPTS = BUILD / "transcripts"


@dataclass(frozen=True)
class Session:
    """What there is to hold of a running machine."""

    qemu: Qemu
    console: Console

    def wait_off(self, seconds: float) -> None:
        """Wait until the machine has switched itself off."""
        closed = self.console.drain_until_closed(seconds)
        if not closed or self.qemu.wait(10) != 0:
            tail = self.console.text()[-2000:]
            raise ConsoleTimeout(f"the machine is not off within {seconds:g} s; the console ends with:\n{tail}")


@contextmanager
def booted(layout: Layout, name: str, paused: bool = False, dtb: bytes | None = None) -> Iterator[Session]:
    """Boot, and end the machine whatever happens; the console's text stays in build/transcripts/<name>.log.

    With `paused` the first instruction waits for `qemu.resume`. With `dtb` the hypervisor is handed exactly
    those bytes, which QEMU would not load by itself if they were damaged.
    """
    if dtb is not None:
        layout = replace(layout, dtb=dtb, exact_dtb=True, hypervisor=beside_own_tree(layout))
    with started(command_line(layout, TRANSCRIPTS / f"{name}.dtb"), name, paused) as session:
        yield session


@contextmanager
def started(command: list[str], name: str, paused: bool = False) -> Iterator[Session]:
    """The same for a machine by QEMU's own command."""
    with Qemu(command, TRANSCRIPTS / f"{name}.qemu-log") as qemu:
        console = Console(serial_port(qemu.serial_url()))
        try:
            if not paused:
                qemu.resume()
            yield Session(qemu, console)
        finally:
            console.save(TRANSCRIPTS / f"{name}.log")
            console.close()


def transcript(name: str) -> Path:
    """Where a session's text is kept."""
    return TRANSCRIPTS / f"{name}.log"
