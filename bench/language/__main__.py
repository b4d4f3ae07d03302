"""`python -m bench.language`: prints the language against C, and fails where a limit is passed."""

from __future__ import annotations

import sys

from rich.console import Console as Terminal
from rich.table import Table

from bench.language.compare import LIMIT_FRONT_END, LIMIT_WITH, LIMIT_WITHOUT, Comparison, Seconds, compare, geometric_mean, missed
from xenarm.tools.errors import run_tool

WIDTH = 132  # of a file; a terminal knows its own


def instructions(result: Comparison) -> Table:
    """The counts and ratios of every kernel, and their geometric means."""
    table = Table("", "C", "unchecked", "ratio", "checked", "ratio", "code: C", "unchecked", "checked")
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    for row in result.rows:
        forms = row.c, row.without, row.checked
        counts = [f"{m.run.instructions:,}" for m in forms]
        sizes = [f"{m.size:,}" for m in forms]
        table.add_row(row.work.what, *counts[:2], f"{row.ratio_without:.3f}", counts[2], f"{row.ratio_checked:.3f}", *sizes)
    table.add_section()
    means = [geometric_mean(r.ratio_without for r in result.rows), geometric_mean(r.ratio_checked for r in result.rows)]
    size_means = [
        geometric_mean(r.without.size / r.c.size for r in result.rows),
        geometric_mean(r.checked.size / r.c.size for r in result.rows),
    ]
    table.add_row("geometric mean", "", "", f"{means[0]:.3f}", "", f"{means[1]:.3f}", "", *(f"{m:.3f}" for m in size_means))
    return table


def compile_time(what: str, seconds: Seconds) -> str:
    return (
        f"{what}: {seconds.lines:,} lines; front end {seconds.front_end:.2f} s ({seconds.front_end_per_thousand:.3f} s for a thousand lines), "
        f"C writer {seconds.writer:.2f} s, clang {seconds.clang:.2f} s"
    )


def main() -> None:
    """Measure, print, judge."""
    terminal = Terminal()
    if not terminal.is_terminal:
        terminal = Terminal(width=WIDTH)
    with terminal.status("") as status:
        result = compare(lambda text: status.update(text))
    terminal.print("Instructions on AArch64, by the same compiler and flags; bytes of code. Less is better.", highlight=False)
    terminal.print(instructions(result))
    terminal.print(compile_time("kernels, twice each", result.kernels), highlight=False)
    terminal.print(compile_time("hypervisor", result.hypervisor), highlight=False)
    lines = missed(result)
    if lines:
        terminal.print("MISSED: " + "; ".join(lines), highlight=False)
        sys.exit(1)
    terminal.print(
        f"reached: at most {LIMIT_WITHOUT} of C without checks, {LIMIT_WITH} in the mean with them, front end {LIMIT_FRONT_END} s for a thousand lines",
        highlight=False,
    )


if __name__ == "__main__":
    run_tool(main)
