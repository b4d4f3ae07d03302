"""What a deployment is carried to a board in: files for U-Boot, a card, a flash. The same input gives the same bytes, wherever it lies.

Each kind is a module; `xenarm.tools.image` makes them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xenarm.tools.layout import Layout
from xenarm.tools.machine import Architecture

__all__ = ["Loaded", "entry_of", "loaded", "uboot_architecture"]

HYPERVISOR = "xenarm"
TREE = "host.dtb"


@dataclass(frozen=True)
class Loaded:
    """A file that has to be in memory: its name on a card, its bytes and its address. Domains may share one."""

    name: str
    data: bytes
    address: int

    @property
    def end(self) -> int:
        """The first address after it."""
        return self.address + len(self.data)


def loaded(layout: Layout) -> Iterator[Loaded]:
    """Everything, the hypervisor and its tree first."""
    yield Loaded(HYPERVISOR, layout.machine.hypervisor.read_bytes(), layout.hypervisor.base)
    yield Loaded(TREE, layout.dtb, layout.device_tree.base)
    for module in layout.modules:
        yield Loaded(f"{module.domain.name}-{module.spec.kind.name.lower()}", module.spec.path.read_bytes(), module.address)


def entry_of(layout: Layout) -> int:
    """Where the hypervisor is entered: both kinds of image begin with their first instruction."""
    return layout.hypervisor.base


def uboot_architecture(layout: Layout) -> tuple[int, str]:
    """U-Boot's number and name for the CPUs (include/image.h, IH_ARCH_*)."""
    return (22, "arm64") if layout.machine.board.architecture is Architecture.ARM64 else (2, "arm")
