"""The fixture `engine`: one test body runs in rendered Python, in C on the host, and as machine code on emulated CPUs."""
from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from freestanding.errors import Panic
from freestanding.functions import Function

from tests.engines.engines import ALL, Unit, same_file

_UNITS: dict[str, Unit] = {}


def unit_of(module: ModuleType) -> Unit:
    """All functions of a test module as one program."""
    if module.__name__ not in _UNITS:
        mine = [f for f in vars(module).values()
                if isinstance(f, Function) and f.__module__ == module.__name__ and not inspect.isgeneratorfunction(f.py) and not f.external]
        _UNITS[module.__name__] = Unit(mine)
    return _UNITS[module.__name__]


class Runner:
    """What a test sees of an engine."""

    def __init__(self, unit: Unit, name: str) -> None:
        self.name, self.engine = name, unit.engine(name)
        self.pointer_bits = self.engine.bits
        self.engine.reset()

    def __call__(self, function: Any, *args: Any, **named: Any) -> Any:
        return self.engine.call(function, *args, **named)

    def panics(self, function: Any, *args: Any, kind: str, mark: str = "") -> None:
        """The call must panic with that kind, on the line that ends in the comment `# mark` (default: the kind)."""
        with pytest.raises(Panic) as caught:
            self.engine.call(function, *args)
        code = function.py.__code__
        lines, first = inspect.getsourcelines(function.py)
        wanted = [first + i for i, line in enumerate(lines) if line.rstrip().endswith(f"# {mark or kind}")]
        assert (caught.value.kind, caught.value.line) == (kind, wanted[0]), f"{self.name}: {caught.value}"
        assert same_file(caught.value.file, code.co_filename)

    def reset(self) -> None:
        """Static storage as the program starts with it."""
        self.engine.reset()


@pytest.fixture(params=ALL)
def engine(request: pytest.FixtureRequest) -> Iterator[Runner]:
    yield Runner(unit_of(request.module), request.param)


def pytest_sessionfinish() -> None:
    for unit in _UNITS.values():
        unit.close()
