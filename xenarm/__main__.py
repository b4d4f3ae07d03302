"""`python -m xenarm TOOL ...`: what `make` calls, by its name."""

from __future__ import annotations

import importlib
import sys

from xenarm.tools.errors import ToolError, run_tool

TOOLS = ("bench", "build", "debug", "deploy", "doctor", "flash", "image", "run", "soak", "terminal", "trace")


def main() -> int | None:
    """Hand the arguments on. Raises ToolError for a tool that is not there."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(f"usage: python -m xenarm TOOL [--help] ...\nthe tools are: {', '.join(TOOLS)}")
        return 0 if len(sys.argv) > 1 else 2
    tool = sys.argv.pop(1)
    if tool not in TOOLS:
        raise ToolError(f"there is no tool '{tool}'; the tools are: {', '.join(TOOLS)}")
    done: int | None = importlib.import_module(f"xenarm.tools.{tool}").main()
    return done


if __name__ == "__main__":
    run_tool(main)
