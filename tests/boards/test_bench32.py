"""The benchmark guest on ARM32: every figure is at most a third of Debian's Xen for armhf, and the image is small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from freestanding.elf import Image
from tests.conftest import BOARD32
from tests.guests.conftest import OwnGuest, own_guest
from xenarm.tools import bench
from xenarm.tools.bench import TIMES_LESS, Figures
from xenarm.tools.hypervisor import Hypervisor

__all__ = ["own_guest"]

# Instructions on Debian's Xen 4.17 under QEMU 7.2, counted by the same guest; `make bench board=qemu-virt-arm32` counts them anew.
XEN = {
    "psci_version": 554,
    "gicd_typer": 765,
    "gicd_isenabler_read": 788,
    "gicd_isenabler_write": 843,
    "sgi_self": 1_341,
    "timer": 1_203,
    "timer_wfi": 9_546,
}
XEN_SHARING = {"yield": 7_252, "ping_pong": 20_804, "cpu_on": 11_136}
XEN_TO_GUEST, XEN_SILENT, XEN_SCRUBBED = 23_407_187, 23_156_151, 33_299_628
UNPACKED = 168_000  # bytes


@pytest.fixture(scope="module")
def kernel(xenarm32: Hypervisor, own_guest: OwnGuest) -> Path:
    return own_guest(xenarm32, "bench")


@pytest.fixture(scope="module")
def figures(xenarm32: Hypervisor, kernel: Path) -> Figures:
    """One run of the guest."""
    return bench.measure(BOARD32, xenarm32, kernel)


def beyond_a_third(figures: dict[str, int], xen: dict[str, int]) -> dict[str, int]:
    return {name: figures.get(name, 0) for name in xen if not 0 < figures.get(name, 0) <= xen[name] // TIMES_LESS}


def test_an_operation_takes_a_third_of_xens_instructions(figures: Figures) -> None:
    assert set(XEN) == set(bench.OPERATIONS)
    assert beyond_a_third(figures.operations, XEN) == {}


def test_two_vcpus_take_turns_on_one_cpu_in_a_third_of_xens(xenarm32: Hypervisor, kernel: Path) -> None:
    assert set(XEN_SHARING) == set(bench.SHARING)
    assert beyond_a_third(bench.measure_sharing(BOARD32, replace(xenarm32, bootargs="sched=rr"), kernel), XEN_SHARING) == {}


def test_the_guest_starts_in_a_third_of_xens_instructions(figures: Figures, xenarm32: Hypervisor, kernel: Path) -> None:
    """The image's unpacking of itself is among them."""
    boots = {"to_guest": figures.first_instruction, "silent": bench.measure_silent(BOARD32, xenarm32, kernel), "scrubbed": bench.measure_scrubbed(BOARD32, xenarm32, kernel)}
    assert beyond_a_third(boots, {"to_guest": XEN_TO_GUEST, "silent": XEN_SILENT, "scrubbed": XEN_SCRUBBED}) == {}


def test_the_image_is_small(xenarm32: Hypervisor) -> None:
    """As the file that is carried to a board, and unpacked."""
    assert xenarm32.image.stat().st_size <= bench.ARM32_IMAGE_LIMIT
    elf = xenarm32.image.with_name(xenarm32.image.name + ".elf")
    assert len(Image(elf.read_bytes()).flat()) <= UNPACKED
