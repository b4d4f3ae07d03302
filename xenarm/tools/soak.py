"""A long run that must find nothing: Debian computes known checksums beside a hostile, a flooding and a restarting guest.

More vCPUs than CPUs, credit2. A seed gives each guest its sequence and this program its keys, typed to the hypervisor at random moments. At the
end: no panic, no wrong checksum, every guest got on, and as much memory free as at the beginning.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from boards import board as board_named
from xenarm.tools import build, doctor
from xenarm.tools.arguments import minutes, whole
from xenarm.tools.console import Console, ConsoleTimeout
from xenarm.tools.errors import ToolError, run_tool
from xenarm.tools.hypervisor import SWITCH_INPUT, ours
from xenarm.tools.layout import compose
from xenarm.tools.machine import KIB, DomainSpec, Machine, ModuleKind, ModuleSpec
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.run import debian_domain
from xenarm.tools.session import Session, booted

CPUS = 2
DEBIAN_CPUS = 2
MOST_DELAY = 5
MACHINE_MIB = 512
NUMBERS = 4_000  # whose sum Debian computes
BOOT_SECONDS = 600
ANSWER_SECONDS = 120
KEPT = 256 * KIB  # of the console's text, beside the hypervisor's own lines
VICTIMS = ("hostile", "flooder", "phoenix")  # whom the keys are about
ENDLESS = 10**12
KEYS = ("b", "b", "b", "p", "q", "r", "d", "t", "m", "h")
WORKLOAD = (
    'n=0; while :; do if [ "$(seq 1 {numbers} | sha256sum)" = "{known}  -" ]; then n=$((n + 1)); '
    'else echo so""ak: wrong; fi; [ $((n % 10)) = 1 ] && echo so""ak: {cpu} right $n; done &'
)


@dataclass
class Summary:
    """What a run came to."""

    seed: int
    began: int = 0  # s of the machine's time
    seconds: int = 0
    right: dict[int, int] = field(default_factory=dict)  # checksums, by Debian's CPU
    wrong: int = 0
    restarts: dict[str, int] = field(default_factory=dict)
    keys: int = 0
    free_first: int = 0  # KiB
    free_last: int = 0
    faults: list[str] = field(default_factory=list)  # what must not be

    def lines(self) -> list[str]:
        restarts = ", ".join(f"{name} {count}" for name, count in self.restarts.items())
        return [
            f"soak: seed {self.seed}, {self.seconds} s of the machine's time, {self.keys} keys typed to the hypervisor",
            f"  checksums right: {sum(self.right.values())}, wrong: {self.wrong}",
            f"  restarts: {restarts}",
            f"  memory free: {self.free_first} KiB at the beginning, {self.free_last} KiB at the end",
            *(f"  FAULT: {fault}" for fault in self.faults),
            "  passed" if not self.faults else "  FAILED",
        ]


class Line:
    """The serial line, of which only the newest is kept, and whatever the hypervisor and Debian's workload say."""

    def __init__(self, console: Console, summary: Summary) -> None:
        self.console = console
        self.summary = summary
        self.own: list[str] = []  # the hypervisor's lines
        self._at = 0

    def look(self) -> None:
        """Take in what has come."""
        self.console.receive()
        text = self.console.transcript
        end = text.rfind(b"\n") + 1
        for line in bytes(text[self._at : end]).decode("utf-8", "replace").replace("\r", "").split("\n"):
            self._note(line)
        self._at = end
        if self._at > 2 * KEPT:
            self._at -= self.console.forget(self._at - KEPT)

    def _note(self, line: str) -> None:
        if line.startswith("(xenarm)"):
            self.own.append(line)
        if "panic" in line and not line.startswith(tuple(f"({name})" for name in VICTIMS)):
            self.summary.faults.append(line)
        if "(debian) soak: wrong" in line:
            self.summary.wrong += 1
        right = re.search(r"\(debian\) soak: (\d+) right (\d+)", line)
        if right:
            self.summary.right[int(right[1])] = int(right[2])

    def until(self, pattern: str, seconds: float) -> re.Match[str]:
        """The first line of the hypervisor's from now on that matches."""
        start = len(self.own)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.console.closed:
            for line in self.own[start:]:
                found = re.search(pattern, line)
                if found:
                    return found
            self.look()
        raise ConsoleTimeout(f"no {pattern!r} within {seconds:g} s; the console ends with:\n{self.console.text()[-2000:]}")


def known_sum() -> str:
    """What `seq 1 NUMBERS | sha256sum` says."""
    return hashlib.sha256("".join(f"{n}\n" for n in range(1, NUMBERS + 1)).encode()).hexdigest()


def domains(board: str, seed: int) -> tuple[DomainSpec, ...]:
    """Eight vCPUs for two CPUs. The hostile one and the restarting one begin again and again, the flooder never ends."""

    def own(guest: str, name: str, cpus: int, words: str, **properties: int | str) -> DomainSpec:
        kernel = ModuleSpec(ModuleKind.KERNEL, build.guest_job(board, guest).output, words)
        return DomainSpec(name, 32 * KIB, (kernel,), cpus, properties={"xenarm,on-crash": "restart", **properties})

    return (
        replace(debian_domain(DEBIAN_CPUS, 128, architecture=board_named(board).architecture), properties={"xen,sched-weight": 512}),
        own("hostile", "hostile", 2, f"seed={seed} operations=20000 again={ENDLESS}"),
        own("load", "flooder", 2, f"mode=floods seed={seed} until={10**8}"),
        own("load", "phoenix", 2, f"mode=lives seed={seed} lives={ENDLESS}"),
    )


def start_workload(line: Line) -> None:
    """Have the shell compute on both of Debian's CPUs, and give the keyboard to the hypervisor."""
    console = line.console
    console.expect("debian# ", BOOT_SECONDS)
    for cpu in range(DEBIAN_CPUS):
        console.send(f"taskset -cp {cpu} $$ >/dev/null\r")
        console.send(WORKLOAD.format(numbers=NUMBERS, known=known_sum(), cpu=cpu) + "\r")
    for _ in VICTIMS:
        console.send(SWITCH_INPUT)
        line.until("input goes to", ANSWER_SECONDS)
    console.send(SWITCH_INPUT)
    line.until("input goes to the hypervisor", ANSWER_SECONDS)


def ask_state(line: Line) -> tuple[int, int]:
    """(seconds since the start, KiB free)."""
    line.console.send("q")
    found = line.until(r"up (\d+) s; (\d+) KiB of memory free", ANSWER_SECONDS)
    return int(found[1]), int(found[2])


def type_something(line: Line, dice: random.Random) -> None:
    """One key, with what belongs to it. A pause is undone; one that comes just as the domain restarts is refused."""
    key = dice.choice(KEYS)
    domain = 1 + dice.randrange(len(VICTIMS))
    line.summary.keys += 1
    if key == "p":
        line.console.send(f"p{domain}")
        if line.until(f"{VICTIMS[domain - 1]} is (paused|ending)", ANSWER_SECONDS)[1] == "paused":
            again = True
            while again:
                line.console.send(f"u{domain}")
                again = line.until(f"{VICTIMS[domain - 1]} (goes on|is ending)", ANSWER_SECONDS)[1] != "goes on"
    else:
        line.console.send(f"{key}{domain}" if key == "b" else key)


def disturb(line: Line, dice: random.Random, duration: float, say: Callable[[str], None]) -> None:
    """Until so much of the machine's time is over; a slow host's Debian may need longer for its first sums."""
    told = 0
    while True:
        pause = time.monotonic() + dice.uniform(0.05, 4)
        while time.monotonic() < pause:
            line.look()
        type_something(line, dice)
        now, free = ask_state(line)
        up = now - line.summary.began
        if up // 60 > told:
            told = up // 60
            say(f"  {told} min: {sum(line.summary.right.values())} checksums, {free} KiB free")
        done = up >= duration * 60 and (len(line.summary.right) == DEBIAN_CPUS or up >= duration * 60 * MOST_DELAY)
        if done or line.summary.faults:
            return


def note_end(line: Line, summary: Summary) -> None:
    """The last look: memory, and that all lived."""
    now, summary.free_last = ask_state(line)
    summary.seconds = now - summary.began
    for name in VICTIMS:
        found = [m for m in (re.search(rf"domain \d+ {name}: (\w+),(?: paused,)? (\d+) restarts", text) for text in line.own) if m]
        summary.restarts[name] = int(found[-1][2]) if found else 0
        if not found or found[-1][1] not in ("RUNNING", "ENDING", "DYING", "SETTLING"):
            summary.faults.append(f"{name} is not there any more")
    if summary.free_first != summary.free_last:
        summary.faults.append("memory has leaked")
    if summary.wrong:
        summary.faults.append("Debian's checksums were wrong")
    if len(summary.right) != DEBIAN_CPUS:
        summary.faults.append("Debian did not get on")


def end_all(line: Line, session: Session) -> None:
    """End every domain: the machine goes off."""
    for domain in (3, 2, 1, 0):
        while True:
            line.console.send(f"k{domain}")
            if "POWEROFF" in line.until(r"is ending|shut down, reason POWEROFF", ANSWER_SECONDS)[0]:
                break
    session.wait_off(ANSWER_SECONDS)


def where(session: Session) -> str:
    """Where the CPUs are, for `python -m freestanding lines`."""
    try:
        return "\n".join(line for line in session.qemu.monitor("info registers -a").splitlines() if "PC=" in line or "X28=" in line)
    except ToolError as error:
        return str(error)


def soak(board: str, seed: int, duration: float, name: str, say: Callable[[str], None]) -> Summary:
    """Run it, with images that have been built."""
    machine = Machine(
        board_named(board), ours(board).image, domains(board, seed), CPUS, MACHINE_MIB, bootargs="sched=credit2"
    )
    summary = Summary(seed)
    with booted(compose(machine), name) as session:
        line = Line(session.console, summary)
        start_workload(line)
        summary.began, summary.free_first = ask_state(line)
        try:
            disturb(line, random.Random(seed), duration, say)
            note_end(line, summary)
            end_all(line, session)
        except ConsoleTimeout as error:
            summary.faults.append(f"{error}\n{where(session)}")
    return summary


def main() -> int:
    """Build, run, and say what came of it."""
    parser = argparse.ArgumentParser(prog="soak", description="Debian's checksums beside guests that misbehave, for a long time")
    parser.add_argument("--board", default=DEFAULT_BOARD)
    parser.add_argument("--minutes", type=minutes, default=30, help="of the machine's time")
    parser.add_argument("--seed", type=whole("SEED", 0), default=1)
    arguments = parser.parse_args()
    doctor.provide("run")
    build.build(arguments.board, ("hostile", "load"))
    print(f"soak: seed {arguments.seed}, {arguments.minutes:g} minutes", flush=True)
    summary = soak(arguments.board, arguments.seed, arguments.minutes, f"soak-{arguments.seed}", lambda text: print(text, flush=True))
    print("\n".join(summary.lines()))
    return 1 if summary.faults else 0


if __name__ == "__main__":
    run_tool(main)
