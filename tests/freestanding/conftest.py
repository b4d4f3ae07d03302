"""Programs under test, written to files of their own and imported; the engines that compiled ones run on."""
from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.freestanding.building import ENGINES, Engine

_numbers = itertools.count()


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Writes source to a module of its own and imports it."""
    names: list[str] = []

    def make(source: str) -> Any:
        name = f"program_{next(_numbers)}"
        path = tmp_path / f"{name}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[name] = loaded
        names.append(name)
        spec.loader.exec_module(loaded)
        return loaded
    yield make
    for name in names:
        del sys.modules[name]


@pytest.fixture(params=ENGINES, ids=lambda e: e.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    """One engine after the other."""
    found: Engine = request.param
    return found
