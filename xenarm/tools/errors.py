"""How a tool fails: one line that names what, where and the remedy; never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


class ToolError(Exception):
    """Something that the person at the keyboard can put right; its text is that one line."""


def error_text(error: Exception) -> str:
    """What went wrong with a file or a port, without numbers and names of exceptions."""
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)


def run_tool(main: Callable[[], int | None]) -> None:
    """Run a verb's `main`, turn its ToolError into one line, and exit."""
    try:
        status = main() or 0
    except ToolError as error:
        if os.environ.get("XENARM_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        # The reader of our output (head, less) went away: no news to anyone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    sys.exit(status)
