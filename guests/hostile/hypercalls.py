"""Xen's hypercalls with arguments as likely to be right as wrong, in memory that is this guest's and in memory that is not.

What a call may write lies in the zone; a frame that a call is to use is the zone's, or none of RAM: this guest stands on the others.
"""

from freestanding import Ptr, Struct, fn, table, truncate, u32, u64, usize
from guests.runtime.dice import draw, draw_below, draw_value
from guests.runtime.engine import Values, zone, zone_frame
from xenarm.abi.hypercall import DOMID_SELF, Hypercall

__all__ = ["draw_hypercall"]

MAPS_MEMORY = True

ZONE_ROOM = 4096 - 32
WORDS = 8
FRAMES_OF_RAM = 0x4_0000  # where a guest's RAM begins; it has less than this many

NUMBERS = table(u64, [Hypercall.EVENT_CHANNEL_OP] * 6 + [Hypercall.MEMORY_OP, Hypercall.VCPU_OP, Hypercall.HVM_OP, Hypercall.XEN_VERSION])
LIKELY = table(u64, [DOMID_SELF, DOMID_SELF, DOMID_SELF | DOMID_SELF << 16, 1, 2, 1 | 2 << 16, 63, 64])


@fn
def frame(cpu: u32) -> u64:
    """Never a frame that this guest's code, stacks or tables may lie in."""
    drawn = draw_value(cpu)
    in_ram = drawn >= FRAMES_OF_RAM and drawn < 2 * FRAMES_OF_RAM
    return zone_frame() if in_ram or draw_below(cpu, 2) == 0 else drawn


@fn
def word(cpu: u32) -> u32:
    """A port, a vCPU, a domain, an offset: small more often than not."""
    match draw_below(cpu, 4):
        case 0:
            return truncate(u32, LIKELY[draw_below(cpu, u32(len(LIKELY)))])
        case 1:
            return truncate(u32, draw_value(cpu))
        case _:
            return draw_below(cpu, 8)


@fn
def fill(cpu: u32, number: u64, at: u64) -> None:
    """An argument: words, and where the call has a frame, one of the zone or of none."""
    words = Ptr[u32](usize(at)).slice(WORDS)
    for i in range(WORDS):
        words[i] = word(cpu)
    drawn = frame(cpu)
    first = u32(0) if number == Hypercall.VCPU_OP else u32(4)
    words[first] = truncate(u32, drawn)
    words[first + 1] = truncate(u32, drawn >> 32)
    if number == Hypercall.MEMORY_OP and draw_below(cpu, 2) == 0:
        words[2] = words[4]  # XENMEM_remove_from_physmap has it here
        words[3] = words[5]
        words[1] = 0
    if number == Hypercall.MEMORY_OP and draw_below(cpu, 2) == 0:
        words[1] = 0
        words[2] = 0
        words[3] = 0


@fn
def draw_hypercall(cpu: u32, values: Values, elsewhere: u64) -> None:
    """Fill in x0 to x2 and x16; `elsewhere` is an address to use instead of a good one, now and then."""
    number = NUMBERS[draw_below(cpu, u32(len(NUMBERS)))]
    at = zone() + u64(draw_below(cpu, ZONE_ROOM)) & ~u64(3)
    fill(cpu, number, at)
    if draw_below(cpu, 4) == 0:
        at = elsewhere
    values.x[8] = number
    values.x[0] = draw_value(cpu) if draw_below(cpu, 8) == 0 else u64(draw_below(cpu, 16))
    values.x[1] = u64(draw_below(cpu, 3)) if number == Hypercall.VCPU_OP else at
    values.x[2] = at
