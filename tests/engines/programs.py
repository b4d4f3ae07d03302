"""Runs generated programs on all engines and says where they disagree."""
from __future__ import annotations

import importlib.util
import itertools
import linecache
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from freestanding.errors import CHECK_KINDS, Panic
from freestanding.structs import IntEnum

from tests.engines.engines import ALL, BUILDS, Broken, Unit
from tests.engines.generator import PREAMBLE, Text

_numbers = itertools.count()
NARROW = {"python32", "armv7"}              # usize is 32 bits wide there: they agree with each other


@dataclass(frozen=True)
class Disagreement:
    """A call that two engines answer differently."""
    text: Text
    call: tuple[Any, ...]
    answers: dict[str, str]

    def __str__(self) -> str:
        answers = "\n".join(f"  {name}: {answer}" for name, answer in self.answers.items())
        return f"main{self.call}\n{answers}\n\n{self.text.source}"


class Module:
    """A generated module, imported from a temporary file."""

    def __init__(self, text: str, directory: str) -> None:
        name = f"generated_{next(_numbers)}"
        self.path = Path(directory) / f"{name}.py"
        self.path.write_text(text)
        spec = importlib.util.spec_from_file_location(name, self.path)
        assert spec is not None and spec.loader is not None
        self.module: ModuleType = importlib.util.module_from_spec(spec)
        sys.modules[name] = self.module
        spec.loader.exec_module(self.module)

    def close(self) -> None:
        from freestanding.frontend import reader
        reader._FILES.pop(str(self.path), None)
        linecache.cache.pop(str(self.path), None)
        del sys.modules[self.module.__name__]


def argument(module: ModuleType, value: Any) -> Any:
    """What a drawn argument is in the module: (class, member or raw) become values of its classes."""
    if not isinstance(value, tuple):
        return value
    cls = getattr(module, value[0])
    return cls[value[1]] if issubclass(cls, IntEnum) else cls.from_raw(value[1])


def answer(engine: Any, function: Any, arguments: Iterable[Any]) -> str:
    """A result, or a panic with kind and line, as text that can be compared."""
    try:
        return repr(engine.call(function, *arguments))
    except Panic as panic:
        return f"panic {panic.kind} in line {panic.line}"
    except Broken as error:
        return f"broken: {error}"
    except (TypeError, AttributeError, IndexError, ValueError, OverflowError, NameError, ZeroDivisionError, KeyError) as error:
        return f"{type(error).__name__}: {error}"


def disagreements(texts: list[Text], names: Iterable[str] = ALL, counts: Counter[str] | None = None,
                  checks: frozenset[str] = frozenset(CHECK_KINDS)) -> list[Disagreement]:
    """Run every call of every program on the engines named. Raises CompileError or BuildError when one does not build."""
    found: list[Disagreement] = []
    with tempfile.TemporaryDirectory() as directory:
        generated = Module(PREAMBLE + "".join(t.source for t in texts), directory)
        module = generated.module
        functions = [getattr(module, f"{what}{tag}") for tag in range(len(texts)) for what in ("main", "digest")]
        unit = Unit(functions, checks, cache=False)
        try:
            unit.prepare(names)
            for tag, text in enumerate(texts):
                found += _compare(unit, module, tag, text, list(names), counts)
        finally:
            unit.close()
            generated.close()
    return found


def _compare(unit: Unit, module: ModuleType, tag: int, text: Text, names: list[str], counts: Counter[str] | None) -> list[Disagreement]:
    main, digest = getattr(module, f"main{tag}"), getattr(module, f"digest{tag}")
    answers: list[dict[str, str]] = [{} for _ in text.calls]
    for name in names:
        engine = unit.engine(name)
        engine.reset()
        for call, given in zip(text.calls, answers):
            given[name] = answer(engine, main, [argument(module, a) for a in call]) + ", state " + answer(engine, digest, ())
    for call, given in zip(text.calls, answers):
        if counts is not None:
            first = given[names[0]]
            counts[first.split()[1] if first.startswith("panic") else "result"] += 1
        if _differ(given):
            return [Disagreement(text, call, given)]
    return []


def _differ(answers: dict[str, str]) -> bool:
    wide = {a for n, a in answers.items() if n not in NARROW}
    narrow = {a for n, a in answers.items() if n in NARROW}
    broken = any("broken" in a or "Error" in a or "ubsan" in a for a in answers.values())
    return len(wide) > 1 or len(narrow) > 1 or broken


__all__ = ["BUILDS", "Disagreement", "disagreements"]
