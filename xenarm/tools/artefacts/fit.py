"""U-Boot's flattened image tree: everything of a deployment in one file, each part with its address and hashes.

U-Boot's doc/usage/fit/source_file_format.rst. `bootm ADDRESS` checks the hashes, puts each part where it belongs, and starts the hypervisor.
"""

from __future__ import annotations

import hashlib
import zlib

from xenarm.tools.artefacts import HYPERVISOR, TREE, Loaded, entry_of, loaded, uboot_architecture
from xenarm.tools.dtb import Tree, empty
from xenarm.tools.layout import Layout

__all__ = ["fit_image"]

CONFIGURATION = "conf-1"


def kind_of(part: Loaded) -> str:
    """U-Boot's name for what a part is."""
    return {HYPERVISOR: "kernel", TREE: "flat_dt"}.get(part.name, "firmware")


def node_of(part: Loaded) -> str:
    """The part's node; names have no dot, which U-Boot's own tools would take badly."""
    return part.name.replace(".", "-")


def cells(address: int) -> tuple[int, ...]:
    """As few as it takes: U-Boot goes by the property's size (boot/image-fit.c, fit_image_get_address)."""
    return (address >> 32, address & 0xFFFF_FFFF) if address >> 32 else (address,)


def add_part(tree: Tree, part: Loaded, layout: Layout) -> None:
    """One node below /images."""
    path = f"/images/{node_of(part)}"
    tree.set_strings(path, "description", part.name)
    tree.set_bytes(path, "data", part.data)
    tree.set_strings(path, "type", kind_of(part))
    tree.set_strings(path, "arch", uboot_architecture(layout)[1])
    if part.name != TREE:
        tree.set_strings(path, "os", "linux")
    tree.set_strings(path, "compression", "none")
    tree.set_words(path, "load", *cells(part.address))
    if part.name == HYPERVISOR:
        tree.set_words(path, "entry", *cells(entry_of(layout)))
    tree.set_strings(f"{path}/hash-1", "algo", "sha256")
    tree.set_bytes(f"{path}/hash-1", "value", hashlib.sha256(part.data).digest())
    tree.set_strings(f"{path}/hash-2", "algo", "crc32")
    tree.set_words(f"{path}/hash-2", "value", zlib.crc32(part.data))


def fit_image(layout: Layout, name: str) -> bytes:
    """All of a deployment."""
    tree = empty()
    parts = list(loaded(layout))
    tree.set_strings("/", "description", f"xenarm: deployment {name} for {layout.machine.board.name}")
    tree.set_words("/", "#address-cells", 1)
    tree.set_words("/", "timestamp", 0)
    for part in parts:
        add_part(tree, part, layout)
    tree.set_strings("/configurations", "default", CONFIGURATION)
    configuration = f"/configurations/{CONFIGURATION}"
    tree.set_strings(configuration, "description", name)
    tree.set_strings(configuration, "kernel", node_of(parts[0]))
    tree.set_strings(configuration, "fdt", node_of(parts[1]))
    if len(parts) > 2:
        tree.set_strings(configuration, "loadables", *(node_of(part) for part in parts[2:]))
    return tree.blob()
