"""Whether the hypervisor has failed: one CPU reports it, and all others stop, at once where they can be interrupted, else at the next lock that they wait for."""

from freestanding import Atomic, Struct, atomic, fn, u32, zeroed

from xenarm.arm.instructions import wait_for_event

__all__ = ["HALT", "halt", "halt_if_failed"]


class Halt(Struct):
    """`failed` is claimed once, by the CPU that reports."""

    failed: Atomic[u32] = atomic(u32)
    stopped: Atomic[u32] = atomic(u32)  # how many others have


HALT = zeroed(Halt)


@fn
def halt() -> None:
    """This CPU does nothing more, and says so. Does not return."""
    _ = HALT.stopped.fetch_add(1)
    while True:
        wait_for_event()


@fn
def halt_if_failed() -> None:
    """For whoever waits for a lock: the CPU that has it may be the one that failed."""
    if HALT.failed.load() != 0:
        halt()
