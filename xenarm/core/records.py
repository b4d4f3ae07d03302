"""What other modules keep of each domain, of which `Domain` is made: a domain that is not takes no memory for it. Imports nothing above itself."""

from freestanding import Array, Atomic, Struct, array, atomic, u8, u32, u64, usize

from xenarm.config import CONFIG
from xenarm.core.spinlock import Spinlock

__all__ = ["LINE_SIZE", "MOST_PIECES", "PORTS", "WAITING_SIZE", "Channels", "GuestMemory", "Output", "Piece", "PortWord", "SharedPage"]

MOST_PIECES = 32
PORTS: int = CONFIG.EVENT_CHANNELS_PER_DOMAIN if CONFIG.EVENT_CHANNELS else 2
LINE_SIZE, WAITING_SIZE = (256, 2048) if CONFIG.CONSOLE_MUX else (1, 1)


class Piece(Struct):
    """Guest-physical memory and the machine memory behind it."""

    ipa: u64
    base: u64
    size: u64


class GuestMemory(Struct):
    """A domain's RAM, sorted by guest-physical address: `guest_memory.py`."""

    count: u32
    fixed: bool  # xen,static-mem: its own for good
    pieces: Array[Piece] = array(Piece, MOST_PIECES)


class PortWord(Struct):
    word: Atomic[u64] = atomic(u64)


class Channels(Struct):
    """A domain's ports: `event_channel.py`. Where each vCPU's vcpu_info is, `Vcpu.info` says, which belongs to this lock."""

    lock: Spinlock
    on: bool  # the domain has event channels at all
    ports: Array[PortWord] = array(PortWord, PORTS)


class SharedPage(Struct):
    """`page` is a machine address, `shown_at` a guest-physical one; 0: none. `was_shown`: stage 2 is not as it was made. The lock is the domain's own vCPUs' alone; stage 2's is taken in it."""

    lock: Spinlock
    page: u64
    shown_at: u64
    was_shown: bool


class Output(Struct):
    """A domain's output: `console.py`. Guarded by the terminal's lock."""

    length: usize  # of the unfinished line; LINE_SIZE when it was longer, and is then not repeated
    returned: bool  # a carriage return has come, and what follows it not yet
    waiting: u32  # characters that wait until the terminal is free
    allowance: u64  # characters that it may still put into the port's ring
    lost: u64  # characters printed in spite of a full port
    line: Array[u8] = array(u8, LINE_SIZE)
    text: Array[u8] = array(u8, WAITING_SIZE)
