"""Each file of tests finds the modules' storage as an import leaves it."""

from __future__ import annotations

import pytest

from tests.xenarm.module_state import ModuleState


@pytest.fixture(scope="session")
def imported_state() -> ModuleState:
    """As all files have been collected and no test has run."""
    return ModuleState()


@pytest.fixture(autouse=True, scope="module")
def module_state(imported_state: ModuleState) -> None:
    """What the file before left is gone."""
    imported_state.restore()
