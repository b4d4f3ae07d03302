"""The one result type of calls that can fail for a reason their caller acts on."""

from freestanding import IntEnum, u8

__all__ = ["Result"]


class Result(IntEnum, type=u8, must_use=True):
    """What became of a request; the caller must look at it."""

    OK = 0
    INVALID = 1  # an argument is malformed, misaligned or out of range
    NO_MEMORY = 2
    BUSY = 3  # it exists but is in use, or the place is already taken
    NOT_FOUND = 4
    DENIED = 5  # well formed, and not allowed to this caller
