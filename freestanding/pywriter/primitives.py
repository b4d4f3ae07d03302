"""The primitives of slices as methods for plain Python: models and tests call them on Arrays, Slices and Views."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .. import types as t
from ..structs import View
from . import runtime
from .live import is_plain

_PLACE = ("<python>", 0)


def bound(view: View[Any], name: str) -> Callable[..., Any]:
    """The primitive of that name on a slice. A failed check is a Panic, as in a program."""
    what, _, form = name.partition("_")
    if what in ("load", "store") and form[:2] in ("be", "le"):
        order = "big" if form[:2] == "be" else "little"
        return partial(_access, view, what, int(form[2:]) // 8, order)
    return {"equals": partial(_two, runtime.equals, view), "compare": partial(_two, runtime.compare, view),
            "find": partial(runtime.find, view), "copy_from": partial(_copy, view), "fill": partial(_fill, view)}[name]


def _access(view: View[Any], what: str, size: int, order: str, offset: int, value: int = 0) -> int | None:
    if what == "load":
        return runtime.load(view, offset, size, order, *_PLACE)
    runtime.store(view, offset, value, size, order, *_PLACE)
    return None


def _as_view(run: Any) -> View[Any]:
    return run if isinstance(run, View) else View(run, 0, len(run))


def _two(primitive: Callable[[Any, Any], Any], view: View[Any], other: Any) -> Any:
    return primitive(view, _as_view(other))


def _element(view: View[Any]) -> t.Type:
    element = getattr(view.base, "element", None)
    return t.storage_type(element, {}) if element is not None else t.U8


def _copy(view: View[Any], source: Any) -> None:
    runtime.copy(_element(view), view, _as_view(source), *_PLACE, True)


def _fill(view: View[Any], value: Any) -> None:
    kind = _element(view)
    runtime.fill(kind, view, t.live_value(kind, value) if is_plain(kind) else value)
