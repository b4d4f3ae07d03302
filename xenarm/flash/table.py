"""What lies where in the flash: a table behind the first stage. `xenarm/tools/artefacts/nor.py` writes it, `stage` reads it.

All numbers are 64 bits, little-endian. Offsets count from the start of the flash. Each piece has two sums of its 64-bit words: of the words,
and of the first sum after each word; together they notice a changed, a missing and a moved word.
"""

from freestanding import Array, Struct, array, offset_of, size_of, u64

__all__ = ["MAGIC", "MOST_PIECES", "PIECES_AT", "TABLE_AT", "TOP_AT", "FlashTable", "Piece"]

MAGIC = 0x3153_4C46_4D52_4158  # "XARMFLS1"
TABLE_AT = 0x1_0000  # the room of the first stage
MOST_PIECES = 64


class Piece(Struct):
    """A run of bytes for a place in memory; `size` is a multiple of 8, both ends are aligned to it."""

    offset: u64
    size: u64
    destination: u64
    sum: u64
    sum_of_sums: u64


class FlashTable(Struct):
    """`ram` is where the machine's own device tree lies and memory begins; `end`, up to where memory is needed."""

    magic: u64
    top: u64  # of the stack
    ram: u64
    end: u64
    entry: u64  # the hypervisor
    tree: u64  # where its device tree is made
    tree_room: u64
    fragment: u64  # offset of the tree whose /chosen is added
    fragment_size: u64
    count: u64
    pieces: Array[Piece] = array(Piece, MOST_PIECES)


TOP_AT: int = offset_of(FlashTable, "top")
PIECES_AT: int = offset_of(FlashTable, "pieces")
assert size_of(Piece) == 40 and PIECES_AT == 80
