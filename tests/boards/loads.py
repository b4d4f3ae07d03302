"""Domains of the load guest on a machine that counts instructions, and what each measured of its own share.

An instruction takes 2**SHIFT ns of the machine's time: 10 s are 1.25 thousand million instructions, and every run gives the same numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import KIB, DomainSpec, Machine, ModuleKind, ModuleSpec, Value
from xenarm.tools.session import booted

SHIFT = 3
FROM_MS = 500  # all have booted
MEMORY_MIB = 16
MACHINE_MIB = 512
SECONDS = 600


@dataclass(frozen=True)
class Load:
    """A domain of the load guest."""

    name: str
    mode: str = "spin"
    arguments: str = ""
    cpus: int = 1
    properties: Mapping[str, Value] = field(default_factory=dict)
    vcpus: Mapping[int, Mapping[str, Value]] = field(default_factory=dict)

    def domain(self, guest: Path, from_ms: int, until_ms: int) -> DomainSpec:
        words = f"mode={self.mode} from={from_ms} until={until_ms} {self.arguments}".strip()
        kernel = ModuleSpec(ModuleKind.KERNEL, guest, words)
        return DomainSpec(self.name, MEMORY_MIB * KIB, (kernel,), self.cpus, properties=self.properties, vcpus=self.vcpus)


@dataclass(frozen=True)
class Measured:
    """What a vCPU said; times in ns."""

    work: int  # blocks
    gap: int  # the longest time away from the CPU, of those as long as several blocks
    quickest: int = 0  # block of those that were not interrupted for so long
    slowest_block: int = 0
    runs: int = 0
    shortest: int = 0
    longest: int = 0
    phase: int = 0
    earlier: int = 0
    later: int = 0
    jobs: int = 0
    misses: int = 0
    slowest: int = 0


LINES = (
    r"work (?P<work>\d+), gap (?P<gap>\d+)",
    r"blocks of (?P<quickest>\d+) to (?P<slowest_block>\d+)",
    r"runs (?P<runs>\d+) of (?P<shortest>\d+) to (?P<longest>\d+)",
    r"phase (?P<phase>\d+) earlier (?P<earlier>\d+) later (?P<later>\d+)",
    r"jobs (?P<jobs>\d+) misses (?P<misses>\d+) slowest (?P<slowest>\d+)",
)


def read(text: str, name: str, only: bool) -> list[Measured]:
    """What the vCPUs of a domain said, by number; `only`: the machine has no other."""
    prefix = "" if only else rf"\({name}\) "
    found: dict[int, dict[str, int]] = {}
    for line in LINES:
        for match in re.finditer(rf"^{prefix}load: vcpu (\d+) {line}", text, re.MULTILINE):
            found.setdefault(int(match[1]), {}).update({key: int(value) for key, value in match.groupdict().items()})
    return [Measured(**found[number]) for number in sorted(found)]


def run(
    hypervisor: Hypervisor,
    guest: Path,
    sched: str,
    *loads: Load,
    name: str,
    cpus: int = 1,
    seconds: float = 10,
    shift: int = SHIFT,
    chosen: Mapping[str, Value] | None = None,
) -> str:
    """Run them for so many seconds of the machine's time, until the machine is off; what was said."""
    domains = tuple(load.domain(guest, FROM_MS, FROM_MS + int(seconds * 1000)) for load in loads)
    machine = Machine(
        hypervisor.machine,
        hypervisor.image,
        domains,
        cpus,
        MACHINE_MIB,
        f"sched={sched}",
        count_instructions=True,
        shift=shift,
        chosen=chosen or {},
    )
    with booted(compose(machine), name) as session:
        session.wait_off(SECONDS)
        return session.console.text().replace("\r", "")


def measured(text: str, *loads: Load) -> dict[str, list[Measured]]:
    """By domain, what its vCPUs measured."""
    result = {load.name: read(text, load.name, len(loads) == 1) for load in loads}
    for load in loads:
        assert len(result[load.name]) == load.cpus, f"{load.name} did not report:\n{text[-3000:]}"
    return result


def measure(hypervisor: Hypervisor, guest: Path, sched: str, *loads: Load, **how: Any) -> dict[str, list[Measured]]:
    """`run`, and by domain what its vCPUs measured."""
    return measured(run(hypervisor, guest, sched, *loads, **how), *loads)
