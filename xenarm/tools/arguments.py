"""Numbers on a tool's command line, with the names that make has for them in its errors."""

from __future__ import annotations

from collections.abc import Callable

from xenarm.tools.errors import ToolError


def whole(name: str, least: int = 1) -> Callable[[str], int]:
    """For argparse: a whole number. Raises ToolError where the text is none, or less than the least."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ToolError(f"{name}={text}: give a whole number from {least} on")
        return int(text)

    return read


def minutes(text: str) -> float:
    """For argparse: a time above 0. Raises ToolError."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise ToolError(f"MINUTES={text}: give a number above 0")
    return found
