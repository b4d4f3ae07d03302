"""Random programs: every engine gives the same result, or the same panic with the same kind and line.

`XENARM_PROFILE=long` draws at least ten thousand programs; a failure shrinks to one small program, which is printed.
"""
from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as fixed_seed

from freestanding.errors import CHECK_KINDS, CompileError
from freestanding.pywriter import runtime
from freestanding.toolchain import BuildError

from tests.engines.engines import ALL, PYTHON
from tests.engines.generator import Text, programs, replay
from tests.engines.programs import Disagreement, disagreements
from tests.engines.shrink import shrink

LONG = os.environ.get("XENARM_PROFILE") == "long"
PROGRAMS = int(os.environ.get("XENARM_PROGRAMS", "10000" if LONG else "300"))
BATCH = 100 if LONG else 25
SEED = int(os.environ.get("XENARM_SEED", "0"))

common = settings(deadline=None, database=None, print_blob=False, suppress_health_check=list(HealthCheck))


class Batch:
    """Programs that hypothesis drew one by one, no two alike, run many in one compilation."""

    def __init__(self, size: int, engines: Sequence[str] = ALL) -> None:
        self.size, self.engines = size, engines
        self.waiting: list[list[int]] = []
        self.seen: set[int] = set()
        self.programs = 0
        self.endings: Counter[str] = Counter()
        self.failed: list[Disagreement] = []
        self.error: Exception | None = None

    def add(self, drawn: Text) -> None:
        if hash(drawn.source) in self.seen or self.failed or self.error:
            return
        self.seen.add(hash(drawn.source))
        self.waiting.append(drawn.picks)
        if len(self.waiting) == self.size:
            self.run()

    def run(self) -> None:
        if self.waiting and not self.failed:
            texts = [replay(picks, str(tag)) for tag, picks in enumerate(self.waiting)]
            try:
                self.failed = disagreements(texts, self.engines, self.endings)
            except (CompileError, BuildError) as error:     # not to be shrunk: it is raised when drawing is over
                self.error = error
            self.programs += len(texts)
            if LONG and self.programs % 500 < len(texts):
                print(f"{self.programs} programs", file=sys.stderr, flush=True)
        self.waiting.clear()

    def draw(self, count: int, seed: int) -> Batch:
        """Go on until that many programs have run, or one failed."""
        turn = 0
        while self.programs < count and not self.failed and self.error is None:
            fixed_seed(seed * 1000 + turn)(settings(common, max_examples=min(count, 2000))(given(programs("0"))(self.add)))()
            self.run()
            turn += 1
        if self.error is not None:
            raise self.error
        return self


def focus(found: Disagreement) -> list[str]:
    """One engine for each answer, and Python as the reference of its width: all that shrinking has to look at."""
    first: dict[str, str] = {}
    for name, answer in found.answers.items():
        first.setdefault(answer, name)
    wanted = set(first.values()) | set(PYTHON)
    return [n for n in ALL if n in wanted]


def smallest(picks: list[int], engines: list[str], seconds: float = 120) -> Text:
    """The smallest program found on whose answer these engines disagree."""
    def fails(group: list[list[int]]) -> list[bool]:
        texts = [replay(candidate, str(tag)) for tag, candidate in enumerate(group)]
        bad = {id(d.text) for d in disagreements(texts, engines)}
        return [id(text) in bad for text in texts]
    return replay(shrink(picks, fails, lambda candidate: replay(candidate, "0").spans, seconds), "0")


def test_all_engines_agree() -> None:
    done = Batch(BATCH).draw(PROGRAMS, SEED)
    print(f"\n{done.programs} programs on {len(ALL)} engines; calls that ended in {dict(done.endings.most_common())}")
    if done.failed:
        small = smallest(done.failed[0].text.picks, focus(done.failed[0]))
        shown = disagreements([small]) or done.failed
        pytest.fail(f"{shown[0]}\nchoices: {small.picks}", pytrace=False)


@pytest.mark.parametrize("off", sorted(CHECK_KINDS))
def test_engines_agree_with_a_kind_of_check_off(off: str) -> None:
    """Without a check only programs that do not need it can be compared: those that end well with all checks on."""
    drawn: list[Text] = []

    @fixed_seed(1)
    @settings(common, max_examples=60 if LONG else 16)
    @given(programs("0"))
    def collect(text: Text) -> None:
        endings: Counter[str] = Counter()
        if not disagreements([text], ["python", "python32"], endings) and set(endings) == {"result"}:
            drawn.append(tagged(text, len(drawn)))
    collect()
    assert drawn
    assert not disagreements(drawn, checks=frozenset(CHECK_KINDS) - {off})


def tagged(text: Text, tag: int) -> Text:
    """The program under another number."""
    return Text(re.sub(r"\b(STATE|PACKED|LOCK|main|digest|f|gen)0(?=\b|_)", rf"\g<1>{tag}", text.source), text.calls)


def test_a_planted_bug_is_found_and_shrinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotation in the rendered program is broken on purpose: a short program must come out."""
    monkeypatch.setitem(runtime.SHARED, "@rotate_left", lambda x, n, bits: x)
    engines = ["python", "host-O0"]
    found = Batch(25, engines).draw(800, 3).failed
    assert found
    small = smallest(found[0].text.picks, engines, 90)
    body = small.source.partition("def main0")[2].partition("@fn")[0]
    assert "rotate_left" in small.source and len(body.strip().splitlines()) <= 4, small.source
