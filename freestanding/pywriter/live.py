"""Live objects as rendered programs make and copy them: all-zero objects, frozen values, copies into existing storage.

Each struct class gets its own generated function, made on first use: a loop over fields would cost ten times as much.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from .. import types as t
from ..structs import Array, Atomic, Slice, Struct, Union, View

Maker = Callable[[], Any]


def _define(name: str, parameters: str, lines: list[str], names: dict[str, Any]) -> Any:
    source = f"def {name}({parameters}):\n" + "\n".join(f"    {line}" for line in lines or ["pass"])
    scope = dict(names)
    exec(compile(source, f"<{name}>", "exec"), scope)                  # noqa: S102  text made here from field names
    return scope[name]


@cache
def maker(kind: t.Type) -> Maker:
    """A function that makes the value whose bytes are all zero; a reference that has no zero starts as None."""
    match kind:
        case t.StructType(is_union=False):
            return _struct_maker(kind)
        case t.ArrayType():
            return _array_maker(kind)
        case t.RefType() | t.FnType():
            return lambda: None
        case t.PtrType():
            return int
        case t.SliceType():
            return lambda: (View if kind.const else Slice)(b"" if kind.const else [], 0, 0)
        case t.AtomicType():
            return lambda: Atomic(kind.element.cls)
        case t.EnumType():
            return _enum_zero(kind)
        case t.TupleType():
            makers = [maker(i) for i in kind.items]
            return lambda: tuple(make() for make in makers)
    zero = t.zero_value(kind)
    return lambda: t.copy_live(zero)


def _enum_zero(kind: t.EnumType) -> Maker:
    zero = next((m for m in kind.cls if m.value == 0), None)
    return lambda: zero


def is_plain(kind: t.Type) -> bool:
    """Whether a value of that storage type is one immutable object."""
    return not isinstance(kind, (t.ArrayType, t.AtomicType)) and not (isinstance(kind, t.StructType) and not kind.frozen)


def _struct_maker(kind: t.StructType) -> Maker:
    names: dict[str, Any] = {"new": object.__new__, "cls": kind.cls}
    lines = ["made = new(cls)", "fields = made.__dict__"]
    for i, (name, inner) in enumerate(t.fields_of(kind.cls).items()):
        make = maker(inner)
        if is_plain(inner):
            names[f"v{i}"] = make()
            lines.append(f"fields[{name!r}] = v{i}")
        else:
            names[f"v{i}"] = make
            lines.append(f"fields[{name!r}] = v{i}()")
    return _define("make", "", [*lines, "return made"], names)         # type: ignore[no-any-return]


def _array_maker(kind: t.ArrayType) -> Maker:
    make, length, element = maker(kind.element), kind.length, kind.element
    if is_plain(element):
        zeros = [make()] * length

        def plain() -> Any:
            made: Array[Any] = Array(zeros)
            made.element = element
            return made
        return plain

    def nested() -> Any:
        made: Array[Any] = Array([make() for _ in range(length)])
        made.element = element
        return made
    return nested


@cache
def value_maker(cls: Any) -> Callable[..., Any]:
    """A function that makes a frozen struct from all its fields in order."""
    fields = list(t.fields_of(cls))
    lines = ["made = new(cls)", "fields = made.__dict__", *(f"fields[{n!r}] = {n}" for n in fields), "return made"]
    parameters = ", ".join([*fields, "*, new=new, cls=cls"])
    return _define("make", parameters, lines, {"new": object.__new__, "cls": cls})  # type: ignore[no-any-return]


@cache
def copier(kind: t.Type) -> Callable[[Any, Any], None]:
    """A function `(target, source)` that copies a mutable struct, union or array into existing storage."""
    if isinstance(kind, t.ArrayType):
        return _array_copier(kind)
    if isinstance(kind, t.AtomicType):
        return _copy_atomic
    assert isinstance(kind, t.StructType)
    if kind.is_union:
        return _copy_union
    names: dict[str, Any] = {}
    lines = []
    for i, (name, inner) in enumerate(t.fields_of(kind.cls).items()):
        if is_plain(inner):
            lines.append(f"target.{name} = source.{name}")
        else:
            names[f"c{i}"] = copier(inner)
            lines.append(f"c{i}(target.{name}, source.{name})")
    return _define("copy", "target, source", lines, names)             # type: ignore[no-any-return]


def _copy_atomic(target: Any, source: Any) -> None:
    target.value = source.value


def _copy_union(target: Any, source: Any) -> None:
    target._bytes[:] = bytes(source._bytes[:])


def _array_copier(kind: t.ArrayType) -> Callable[[Any, Any], None]:
    if is_plain(kind.element):
        def plain(target: Any, source: Any) -> None:
            target[:] = source[:]
        return plain
    inner = copier(kind.element)

    def nested(target: Any, source: Any) -> None:
        for one, other in zip(target, source):
            inner(one, other)
    return nested


def kind_of(obj: Any) -> t.Type:
    """The storage type of a live struct, union or array."""
    if isinstance(obj, Array):
        return t.ArrayType(t.storage_type(obj.element, {}), len(obj))
    if isinstance(obj, (Struct, Union)):
        return t.StructType(getattr(type(obj), "_viewed", type(obj)))
    raise TypeError(f"{obj!r} is no storage")
