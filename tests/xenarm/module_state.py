"""The storage of xenarm's modules as it was: what a file of tests leaves behind is nothing that another one depends on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from freestanding.pywriter.live import is_plain, kind_of
from freestanding.structs import Array, PerCpu, Struct, Union
from freestanding import types as t


def storage() -> Iterator[Any]:
    """Every struct, union and array that is static storage of a module."""
    seen: set[int] = set()
    for name, module in list(sys.modules.items()):
        if name.startswith("xenarm."):
            for value in list(vars(module).values()):
                if isinstance(value, PerCpu):
                    value = value.storage
                if isinstance(value, (Struct, Union, Array)) and id(value) not in seen and not getattr(value, "frozen", False):
                    seen.add(id(value))
                    yield value


def parts(owner: Any, kind: t.Type) -> Iterator[tuple[Any, Any, t.Type]]:
    """The parts of an aggregate: owner, name or index, type."""
    if isinstance(kind, t.ArrayType):
        yield from ((owner, i, kind.element) for i in range(kind.length))
    elif isinstance(kind, t.StructType):
        yield from ((owner, name, inner) for name, inner in t.fields_of(kind.cls).items())


def saved(owner: Any, kind: t.Type) -> Any:
    """A copy of an aggregate's values; what it refers to stays what it is."""
    if isinstance(kind, t.AtomicType):
        return owner.value
    if isinstance(kind, t.StructType) and kind.is_union:
        return bytes(owner._bytes)
    if isinstance(kind, t.ArrayType) and is_plain(kind.element):
        return list(owner)
    return [value if is_plain(inner) else saved(value, inner) for value, inner in values(owner, kind)]


def values(owner: Any, kind: t.Type) -> Iterator[tuple[Any, t.Type]]:
    for at, key, inner in parts(owner, kind):
        yield (at[key] if isinstance(key, int) else getattr(at, key)), inner


def restore(owner: Any, kind: t.Type, copy: Any) -> None:
    """Put the values of `saved` back, in place."""
    if isinstance(kind, t.AtomicType):
        owner.value = copy
    elif isinstance(kind, t.StructType) and kind.is_union:
        owner._bytes[:] = copy
    else:
        for (at, key, inner), value in zip(parts(owner, kind), copy, strict=True):
            if not is_plain(inner):
                restore(at[key] if isinstance(key, int) else getattr(at, key), inner, value)
            elif isinstance(key, int):
                at[key] = value
            else:
                setattr(at, key, value)


class ModuleState:
    """All storage with its values."""

    def __init__(self) -> None:
        self.all = [(owner, kind, saved(owner, kind)) for owner in storage() for kind in (kind_of(owner),)]

    def restore(self) -> None:
        """Make it all as it was."""
        for owner, kind, copy in self.all:
            if saved(owner, kind) != copy:
                restore(owner, kind, copy)
