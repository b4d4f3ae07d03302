"""How hypothesis runs here: the first call of a function renders it, so that no example has a deadline."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("xenarm", deadline=None)
settings.load_profile("xenarm")
