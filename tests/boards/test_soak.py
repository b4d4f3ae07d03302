"""A short sample of `make soak`: the same code, for a minute of the machine's time."""

from __future__ import annotations

from pathlib import Path

from tests.guests.conftest import hostile_guest, load_guest
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.soak import soak

__all__ = ["hostile_guest", "load_guest"]

SEED = 1


def test_a_minute(xenarm: Hypervisor, hostile_guest: Path, load_guest: Path) -> None:
    """Nothing that must not be, and everything that must: all guests got on, and the keys were typed."""
    summary = soak(DEFAULT_BOARD, SEED, 1, "soak", print)
    assert not summary.faults, "\n".join(summary.lines())
    assert summary.seconds >= 60 and summary.keys > 5
    assert min(summary.right.values()) > 0 and summary.wrong == 0
    assert summary.restarts["phoenix"] > 10
