"""A long list said on the console: at once as far as the serial port's ring has room, the rest now and then, so that no line is lost."""

from collections.abc import Callable

from freestanding import Struct, fn, u32, zeroed

from xenarm.arch import arch_counter, arch_counter_hz, cpu_index
from xenarm.arm.timer import alarm_by
from xenarm.drivers.serial import RING, RING_SIZE

__all__ = ["LISTING", "listing_begin", "listing_continue"]

PORT_ROOM = RING_SIZE // 2  # with the other half free, a vCPU's registers find room in the smallest ring
PAUSES_PER_SECOND = 1000


class Listing(Struct):
    """`next` says the next few lines; False: that was all."""

    next: Callable[[], bool] | None
    going: bool
    sayer: u32  # the CPU that says it


LISTING = zeroed(Listing)


@fn
def say_some() -> None:
    """While there is room. The ring is looked at without a lock: a few characters more or less do not matter."""
    say_next = LISTING.next
    while RING.head - RING.tail <= PORT_ROOM:
        if say_next is None or not say_next():
            LISTING.going = False
            return
    alarm_by(LISTING.sayer, arch_counter() + arch_counter_hz() // PAUSES_PER_SECOND)


@fn
def listing_begin(say_next: Callable[[], bool]) -> None:
    """Say a list on this CPU. None may be going."""
    LISTING.next = say_next
    LISTING.sayer = cpu_index()
    LISTING.going = True
    say_some()


@fn(inline=True)
def listing_continue() -> None:
    """When EL2's timer has expired: go on."""
    if LISTING.going and LISTING.sayer == cpu_index():
        say_some()
