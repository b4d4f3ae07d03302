"""Xen's error numbers (public/errno.h), as a hypercall returns them in x0: negative, in 64-bit two's complement."""

__all__ = ["Errno"]


def _failure(number: int) -> int:
    return -number & 0xFFFF_FFFF_FFFF_FFFF


class Errno:
    """Results of failed hypercalls."""

    EPERM = _failure(1)
    ENOENT = _failure(2)
    ESRCH = _failure(3)
    ENXIO = _failure(6)
    ENOMEM = _failure(12)
    EFAULT = _failure(14)
    EBUSY = _failure(16)
    EEXIST = _failure(17)
    EINVAL = _failure(22)
    ENOSPC = _failure(28)
    ENOSYS = _failure(38)
