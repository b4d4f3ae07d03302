"""A domain's translation tables come from a pool of its own: its size in the report, and what happens when it is too small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.boards import beacon
from tests.conftest import FIRST_TARGET, Boot, on_both_widths
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import SWITCH_INPUT, Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import MIB, DomainSpec, Machine
from xenarm.tools.run import own_domain

SECONDS = 60
ODD_BASE = 0x5000_1000  # a page off every 2 MiB boundary of the guest: each page has an entry of its own
ODD_SIZE = 520 * MIB


def tree_with(hypervisor: Hypervisor, domains: tuple[DomainSpec, ...], path: str, megabytes: int) -> Tree:
    tree = Tree(compose(Machine(hypervisor.machine, hypervisor.image, domains, 2, 1024)).dtb)
    tree.set_words(path, "xen,domain-p2m-mem-mb", megabytes)
    return tree


@on_both_widths
def test_the_report_shows_the_pool(boot: Boot, target: Hypervisor) -> None:
    """As much as 64 MiB at 2 MiB boundaries take: one or two for the root, two for the CPU interface, one or more for RAM; or what the tree says."""
    domains = (own_domain(target.board, "hello"),)
    for blob, size in ((None, r"(1[6-9]|2[0-9]|3[0-9]|4[0-9])"), (tree_with(target, domains, "/chosen/hello", 3).blob(), "3072")):
        with boot(target, *domains, dtb=blob) as session:
            session.console.expect("> ", SECONDS)
            session.console.send(SWITCH_INPUT)
            session.console.expect("input goes to the hypervisor", SECONDS)
            session.console.send("m")
            session.console.expect(rf" {size} KiB  pool of tables of hello, \d\d KiB in use", SECONDS)


TOO_SMALL = "xen,domain-p2m-mem-mb: 256 pages of translation tables cannot be had or are too few .NO_MEMORY., 26[0-9] are enough"


@pytest.mark.parametrize(
    ("target", "megabytes", "line"),
    [
        (FIRST_TARGET, 0, "xen,domain-p2m-mem-mb is no number of MiB"),
        (FIRST_TARGET, 1, TOO_SMALL),
        (FIRST_TARGET, 4096, "xen,domain-p2m-mem-mb: 1048576 pages of translation tables cannot be had or are too few .NO_MEMORY., 26[0-9] are enough"),
        (FIRST_TARGET, 2, ""),
        ("arm32", 1, TOO_SMALL),
        ("arm32", 2, ""),
    ],
    indirect=["target"],
)
def test_a_pool_that_is_too_small_is_named(boot: Boot, target: Hypervisor, scratch: Path, megabytes: int, line: str) -> None:
    """More than 256 tables are needed for 520 MiB in single pages. The other domain starts."""
    odd = replace(beacon.domain(scratch, "odd", target.architecture), memory_kib=ODD_SIZE // 1024)
    domains = (odd, beacon.domain(scratch, "good", target.architecture))
    tree = tree_with(target, domains, "/chosen/odd", megabytes)
    tree.set_words("/chosen/odd", "#xen,static-mem-address-cells", 1)
    tree.set_words("/chosen/odd", "#xen,static-mem-size-cells", 1)
    tree.set_words("/chosen/odd", "xen,static-mem", ODD_BASE, ODD_SIZE)
    with boot(target, *domains, cpus=2, dtb=tree.blob()) as session:
        if line:
            session.console.expect(f"odd does not start: /chosen/odd: {line}", SECONDS)
        session.wait_off(SECONDS)
        assert session.console.text().count(beacon.TEXT) == (1 if line else 2)
