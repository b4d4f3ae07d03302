"""Random programs: every engine gives the same result, or the same panic with the same kind and line.

`XENARM_PROFILE=long` draws at least ten thousand programs; a failure shrinks to one small program, which is printed.
"""
from __future__ import annotations

import os
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import seed as fixed_seed
from hypothesis.errors import NoSuchExample
from hypothesis.internal.conjecture import engine as conjecture

from freestanding.errors import CHECK_KINDS
from freestanding.pywriter import runtime

from tests.engines.engines import ALL, PYTHON
from tests.engines.generator import Text, batches, programs
from tests.engines.programs import Disagreement, disagreements

LONG = os.environ.get("XENARM_PROFILE") == "long"
PROGRAMS = int(os.environ.get("XENARM_PROGRAMS", "10000" if LONG else "300"))
BATCH = 50 if LONG else 25
SEED = int(os.environ.get("XENARM_SEED", "0"))
COUNTS: Counter[str] = Counter()
FOCUS: set[str] = set()             # once something disagreed: the engines that shrinking has to look at

common = settings(deadline=None, database=None, print_blob=False, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True, scope="module")
def room_for_batches() -> Any:
    """A batch makes more choices than one example is usually allowed."""
    before, conjecture.BUFFER_SIZE = conjecture.BUFFER_SIZE, 1 << 20
    yield
    conjecture.BUFFER_SIZE = before


def compare(drawn: list[Text]) -> None:
    if COUNTS["programs"] >= PROGRAMS and not FOCUS:
        return
    found = disagreements(drawn, [n for n in ALL if n in FOCUS] or ALL, COUNTS)
    COUNTS["programs"] += len(drawn)
    if found:
        FOCUS.update(focus(found[0]))
        raise AssertionError(str(found[0]))


def focus(found: Disagreement) -> set[str]:
    """One engine for each answer, and Python as the reference of its width."""
    first: dict[str, str] = {}
    for name, answer in found.answers.items():
        first.setdefault(answer, name)
    return set(first.values()) | set(PYTHON)


def test_all_engines_agree() -> None:
    for turn in range(1000):
        if COUNTS["programs"] >= PROGRAMS:
            break
        fixed_seed(SEED * 1000 + turn)(settings(common, max_examples=40)(given(batches(BATCH))(compare)))()
    print(f"\n{COUNTS.pop('programs')} programs on {len(ALL)} engines; calls that ended in {dict(COUNTS.most_common())}")


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
    return Text(re.sub(r"\b(STATE|PACKED|LOCK|main|digest|f|gen)0(?=\b|_)", rf"\g<1>{tag}", text.source), text.calls, text.params)


def test_a_planted_bug_is_found_and_shrinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotation in the rendered program is broken on purpose: a short program must come out."""
    monkeypatch.setitem(runtime.SHARED, "@rotate_left", lambda x, n, bits: x)
    try:
        smallest = find(batches(10), lambda drawn: bool(disagreements(drawn, ["python", "host-O0"])),
                        settings=settings(common, max_examples=300))
    except NoSuchExample:
        pytest.fail("the planted bug was not found")
    assert len(smallest) == 1
    body = smallest[0].source.partition("def main0")[2].partition("@fn")[0]
    assert "rotate_left" in body and len(body.strip().splitlines()) <= 4, smallest[0].source
