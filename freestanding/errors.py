"""The errors of the language: refusals of the compiler, and panics of the running program."""
from __future__ import annotations

from dataclasses import dataclass

CHECK_KINDS = ("overflow", "bounds", "narrowing", "shift", "division", "enum", "assert")
PANIC_KINDS = (*CHECK_KINDS, "panic", "unreachable")


@dataclass(frozen=True, order=True)
class Site:
    """A place in the source: file, first line; columns where the span is known (0-based, end exclusive)."""
    file: str
    line: int
    column: int = 0
    end_line: int = 0
    end_column: int = 0


class CompileError(Exception):
    """A construct outside the language: where, why, and what to write instead."""

    def __init__(self, site: Site | None, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.site, self.reason, self.fix = site, reason, fix

    @property
    def underlined(self) -> str:
        """The source text that the error points at (its first line only)."""
        if self.site is None:
            return ""
        text = _source_line(self.site)
        last = self.site.end_column if self.site.end_line == self.site.line else len(text)
        return text[self.site.column:last]

    def __str__(self) -> str:
        if self.site is None:
            return f"error: {self.reason}" + (f"\n  help: {self.fix}" if self.fix else "")
        text = _source_line(self.site)
        last = self.site.end_column if self.site.end_line == self.site.line else len(text)
        mark = " " * self.site.column + "^" * max(1, last - self.site.column)
        where = f"{self.site.file}:{self.site.line}:{self.site.column + 1}"
        lines = [f"{where}: error: {self.reason}", f"    {text}", f"    {mark}"]
        if self.fix:
            lines.append(f"  help: {self.fix}")
        return "\n".join(lines)


def _source_line(site: Site) -> str:
    import linecache
    return linecache.getline(site.file, site.line).rstrip("\n")


class Panic(Exception):
    """A failed check or an explicit `panic` in the hosted engine; nothing is unwound or released by it."""

    def __init__(self, kind: str, message: str, file: str, line: int) -> None:
        super().__init__(kind, message, file, line)
        self.kind, self.message, self.file, self.line = kind, message, file, line

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}" + (f": {self.message}" if self.message else "")
