"""A ticket lock: first come, first served, so that no CPU starves. Taken with `with lock:`, interrupts already masked at EL2."""

from freestanding import Atomic, Struct, atomic, fn, u32, wrapping_add

from xenarm.arm.instructions import cpu_relax
from xenarm.core.halt import halt_if_failed

__all__ = ["Spinlock"]


class Spinlock(Struct):
    """Free when `owner == next`; both wrap around together."""

    owner: Atomic[u32] = atomic(u32)
    next: Atomic[u32] = atomic(u32)

    @fn
    def __enter__(self) -> None:
        ticket = self.next.fetch_add(1)
        if self.owner.load_acquire() == ticket:
            return
        while self.owner.load_acquire() != ticket:
            cpu_relax()
            halt_if_failed()

    @fn
    def __exit__(self, *exc: object) -> None:
        self.owner.store_release(wrapping_add(self.owner.load(), u32(1)))
