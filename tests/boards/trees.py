"""Device trees that Debian's kernel packages ship."""

from __future__ import annotations

from pathlib import Path

from xenarm.tools import debian


def debian_tree(name: str, architecture: str = "arm64") -> Path:
    """A tree by its path below the package's directory, e.g. `xilinx/zynqmp-zcu102-rev1.0.dtb`."""
    debian.fetch(architecture=architecture)
    return next((debian.PORTS[architecture].directory / architecture / "root" / "usr" / "lib").glob(f"linux-image-*/{name}"))
