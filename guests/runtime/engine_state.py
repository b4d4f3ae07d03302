"""What the engines share with their assembly: a CPU's slot, its instructions, and what these find in registers."""

from freestanding import Array, Struct, array, place, u32, u64, zeroed
from guests.runtime.link import MAX_CPUS

__all__ = ["CODE", "SLOT_BYTES", "WORDS", "ZONE", "Code", "Slot", "Values", "Zone"]

WORDS = 16
SLOT_BYTES = 64


class Slot(Struct, align=SLOT_BYTES):
    """A CPU's: where to come back to, and what has come. The vectors know the fields' places."""

    stack: u64
    exceptions: u64
    esr: u64  # in AArch32 the number of the vector
    elr: u64
    interrupts: u64
    serrors: u64
    done: u64
    armed: u64


class Code(Struct, align=64):
    """A CPU's instructions, and what follows them."""

    words: Array[u32] = array(u32, WORDS)


class Values(Struct):
    """What the instruction finds in x0 to x7 and x16; in AArch32 in r0 to r7 and r12, and the flags in the highest bits of r7's."""

    x: Array[u64] = array(u64, 9)


class Zone(Struct, align=4096):
    """Memory that attacks may write."""

    bytes: Array[u64] = array(u64, 512)


CODE = place(array(Code, MAX_CPUS), align=64)
ZONE = place(zeroed(Zone), align=4096)
