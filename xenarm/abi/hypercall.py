"""Xen's hypercalls on ARM (public/arch-arm.h, public/xen.h): `hvc #0xEA1`, the number in x16, the result in x0."""

__all__ = ["HYPERCALL_COUNT", "HYPERCALL_TAG", "XENVER_VERSION", "XEN_VERSION_NUMBER", "Hypercall", "SchedOp"]

HYPERCALL_TAG = 0xEA1
HYPERCALL_COUNT = 64  # numbers below it may mean something
XENVER_VERSION = 0
XEN_VERSION_NUMBER = 4 << 16 | 17  # the release whose interface this follows


class Hypercall:
    """Hypercall numbers."""

    XEN_VERSION = 17
    CONSOLE_IO = 18
    SCHED_OP = 29


class SchedOp:
    """Commands of SCHED_OP (public/sched.h)."""

    YIELD = 0
    BLOCK = 1
