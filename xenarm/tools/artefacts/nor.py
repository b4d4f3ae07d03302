"""The image of a board's NOR flash: the first stage, its table, and everything that it brings to memory.

`xenarm/flash/` has the stage and the table's layout. The machine's device tree is not in the flash: QEMU leaves it at the start of memory, with
the memory that the machine was given, and the stage adds what is here to its /chosen.
"""

from __future__ import annotations

import struct
import tempfile
from array import array
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from xenarm.flash.table import MAGIC, MOST_PIECES, TABLE_AT
from xenarm.tools import build
from xenarm.tools.artefacts import TREE, entry_of, loaded
from xenarm.tools.dtb import empty
from xenarm.tools.errors import ToolError
from xenarm.tools.kconfig import up_to_date
from xenarm.tools.layout import Layout, align_up, describe
from xenarm.tools.machine import KIB, MIB, Region
from xenarm.tools.paths import board_dir, whole

__all__ = ["Flash", "build_stage", "flash_image", "write_flash"]

STAGE = "xenarm.flash.stage"
ALIGNMENT = 4 * KIB
STACK = 64 * KIB
MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Flash:
    """Pieces of the flash by offset, and the size of all of it."""

    pieces: tuple[tuple[int, bytes], ...]
    size: int

    @property
    def used(self) -> int:
        """The end of the last piece."""
        return max(offset + len(data) for offset, data in self.pieces)


def build_stage(board: str) -> Path:
    """Compile the first stage, if it is not what it would become."""
    output = board_dir(board) / "flash-stage"
    kept, config = build.Job(STAGE, output), up_to_date(board)
    if build.seconds_if_made(board, kept, config) is not None:
        return output
    made_from = build.inputs(board, kept, config)
    with tempfile.TemporaryDirectory() as directory:
        job = build.Job(STAGE, Path(directory) / output.name)
        taken = build.compile_job(board, job, config)
        with whole(output) as made:
            made.write_bytes(job.output.read_bytes())
    build.write_stamp(kept, made_from, taken)
    return output


def sums(data: bytes) -> tuple[int, int]:
    """Both sums of a piece's words, as the stage makes them."""
    words = array("Q", data)
    if words.itemsize != 8:
        raise ToolError("this Python has no 64-bit array")
    if struct.pack("=H", 1) != struct.pack("<H", 1):
        words.byteswap()
    return sum(words) & MASK, sum(accumulate(words)) & MASK


def fragment(layout: Layout) -> bytes:
    """A tree with nothing but the deployment's part of /chosen."""
    tree = empty()
    describe(tree, layout.machine, layout.modules)
    return tree.blob()


def flash_image(layout: Layout, stage: bytes, flash: Region) -> Flash:
    """Everything for a board's flash. Raises ToolError if it does not fit."""
    if len(stage) > TABLE_AT:
        raise ToolError(f"the first stage has {len(stage)} bytes, and {TABLE_AT} are its room")
    added = fragment(layout)
    pieces = {TABLE_AT + 4 * KIB: added}
    at = align_up(TABLE_AT + 4 * KIB + len(added), ALIGNMENT)
    places: dict[bytes, int] = {}
    rows: list[tuple[int, ...]] = []
    for part in loaded(layout):
        if part.name == TREE:
            continue
        data = part.data.ljust(align_up(len(part.data), 16), b"\0")
        if data not in places:  # the same kernel for several domains lies there once
            places[data] = at
            pieces[at] = data
            at = align_up(at + len(data), ALIGNMENT)
        rows.append((flash.base + places[data], len(data), part.address, *sums(data)))
    rows = [*rows[1:], rows[0]]  # the hypervisor last: it may cover what the machine has left at the start of memory
    if at > flash.size:
        raise ToolError(f"the deployment takes {at / MIB:.1f} MiB of flash, and {layout.machine.board.name} has {flash.size // MIB}: use smaller kernels or RAM disks")
    if len(rows) > MOST_PIECES:
        raise ToolError(f"the deployment has {len(rows)} modules, and the flash has room for {MOST_PIECES}")
    pieces[TABLE_AT] = table(layout, flash, len(added), rows)
    return Flash(tuple(sorted({**pieces, 0: stage}.items())), flash.size)


def table(layout: Layout, flash: Region, fragment_size: int, rows: list[tuple[int, ...]]) -> bytes:
    """The table behind the stage."""
    tree = layout.device_tree
    ram = layout.machine.board.ram_base
    end = max([tree.end, layout.hypervisor.end, *(row[2] + row[1] for row in rows)])
    stack = align_up(layout.hypervisor.end, ALIGNMENT) + STACK  # far below what the first stage finds out about memory
    numbers = (MAGIC, stack, ram, end, entry_of(layout), tree.base, tree.size, flash.base + TABLE_AT + 4 * KIB, fragment_size, len(rows))
    return struct.pack(f"<{len(numbers)}Q", *numbers) + b"".join(struct.pack("<5Q", *row) for row in rows)


def write_flash(path: Path, flash: Flash) -> None:
    """Write the whole flash, erased (0xFF) where nothing is."""
    with path.open("wb") as stream:
        at = 0
        for offset, data in flash.pieces:
            stream.write(b"\xff" * (offset - at) + data)
            at = offset + len(data)
        stream.write(b"\xff" * (flash.size - at))
