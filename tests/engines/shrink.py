"""Makes a failing program small: shorter and smaller choices make shorter and simpler programs, all of them valid.

Many candidates are tried in one compilation, which is why hypothesis' own shrinker, which tries them one by one, is not used.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

Fails = Callable[[list[list[int]]], list[bool]]
GROUP = 24                      # candidates in one compilation


Spans = Callable[[list[int]], list[tuple[str, int, int]]]


def shrink(picks: list[int], fails: Fails, spans: Spans, seconds: float = 120) -> list[int]:
    """The smallest choices found, within the time, that still fail. `fails` answers for a group of candidates; `spans`
    says which choices made a statement or an expression."""
    best, deadline = list(picks), time.monotonic() + seconds
    improved = True
    while improved and time.monotonic() < deadline:
        improved = False
        while time.monotonic() < deadline and (better := _first(_less(best, structural(best, spans(best))), fails, deadline)) is not None:
            best, improved = better, True
        for candidates in (zeroes, deletions, smaller):
            coarse = _best(best, candidates, fails, deadline)
            if coarse is not None:
                best, improved = coarse, True
    return best


def _less(picks: list[int], candidates: Iterable[list[int]]) -> Iterator[list[int]]:
    """Those that are smaller, each once."""
    seen: set[tuple[int, ...]] = set()
    for candidate in candidates:
        if size_of(candidate) < size_of(picks) and tuple(candidate) not in seen:
            seen.add(tuple(candidate))
            yield candidate


def size_of(picks: list[int]) -> tuple[int, int]:
    return len(picks), sum(picks)


def _best(picks: list[int], candidates: Callable[[list[int], int], Iterator[list[int]]], fails: Fails, deadline: float) -> list[int] | None:
    """Go through the candidates from coarse to fine, taking each that fails."""
    found: list[int] | None = None
    size = max(1, len(picks) // 2)
    while size and time.monotonic() < deadline:
        taken = _first(candidates(found or picks, size), fails, deadline)
        if taken is None:
            size //= 2
        else:
            found = taken
    return found


def _first(candidates: Iterable[list[int]], fails: Fails, deadline: float) -> list[int] | None:
    group: list[list[int]] = []
    for candidate in candidates:
        group.append(candidate)
        if len(group) == GROUP:
            if (hit := _hit(group, fails)) is not None or time.monotonic() > deadline:
                return hit
            group = []
    return _hit(group, fails) if group else None


def _hit(group: list[list[int]], fails: Fails) -> list[int] | None:
    """The smallest of a group that fails."""
    return min((c for c, failed in zip(group, fails(group)) if failed), key=size_of, default=None)


def structural(picks: list[int], spans: list[tuple[str, int, int]]) -> Iterator[list[int]]:
    """Without a statement or function; with a simpler expression, or a part of it, in the place of one."""
    largest = sorted((s for s in spans if s[2] > s[1]), key=lambda s: s[1] - s[2])
    for what, start, end in largest:
        if what == "statement":
            yield picks[:start] + picks[end:]
    for what, start, end in largest:
        if what == "expression":
            for simple in ([0], [0, 0], [0, 0, 0]):
                if len(simple) < end - start or any(picks[start:end]):
                    yield picks[:start] + simple + picks[end:]
            for other, low, high in largest:
                if other == "expression" and start < low and high <= end:
                    yield picks[:start] + picks[low:high] + picks[end:]


def deletions(picks: list[int], size: int) -> Iterator[list[int]]:
    for at in range(0, len(picks), max(1, size // 2)):
        yield picks[:at] + picks[at + size:]


def zeroes(picks: list[int], size: int) -> Iterator[list[int]]:
    for at in range(0, len(picks), size):
        if any(picks[at:at + size]):
            yield picks[:at] + [0] * len(picks[at:at + size]) + picks[at + size:]


def smaller(picks: list[int], size: int) -> Iterator[list[int]]:
    if size > 2:
        return
    for at, value in enumerate(picks):
        for less in {value // 2, value - 1} if value > 1 else ():
            yield picks[:at] + [less] + picks[at + 1:]
