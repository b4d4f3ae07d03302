"""Static data: C definitions initialised from the live objects as they are at compile time."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import CompileError
from ..functions import Function
from ..ir import Static
from ..structs import PLACEMENTS, Array, Atomic, Struct, Table, Union, View
from ..types import (ArrayType, AtomicType, BadType, BitsType, BoolType, EnumType, FnType, IntType, PtrType, RefType, SliceType, StructType,
                     TableType, TupleType, Type, fields_of, layout, storage_type)
from .ctypes import int_literal, member
from .names import string_literal
from .unit import ONCE, Unit


class Statics:
    """All static storage of one unit; `paths` finds the C path of every live struct and array in it by identity."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.all: list[Static] = list(unit.program.statics)
        self.paths: dict[int, str] = {}
        self.kept: list[Any] = []                   # keeps ids of what `paths` names alive
        self.visible: set[str] = set()              # names that assembly uses
        for static in self.all:
            self._find(static)

    def _find(self, static: Static) -> None:
        self._note(storage_of(static), static.live, self.unit.static(static))

    def _note(self, kind: Type, live: Any, path: str) -> None:
        if isinstance(live, (Struct, Union, Array, Table)):
            self.kept.append(live)
            self.paths[id(live)] = path
        if isinstance(kind, StructType) and not kind.is_union:
            for name, field in fields_of(kind.cls).items():
                if isinstance(field, (StructType, ArrayType)):
                    self._note(field, getattr(live, name), f"{path}.{member(name)}")
        elif isinstance(kind, (ArrayType, TableType)) and isinstance(kind.element, (StructType, ArrayType)):
            for position, element in enumerate(live):
                self._note(kind.element, element, f"{path}[{position}]")

    # -- definitions --------------------------------------------------------------------------------------------------------

    def write(self) -> str:
        """Declarations where objects refer to each other, then definitions."""
        definitions: list[str] = []
        position = 0
        while position < len(self.all):             # initialisers may reach objects that no function names
            definitions.append(self._definition(self.all[position]))
            position += 1
        declarations = [f"{self._head(s)};" for s in self.all] if len(self.all) > 1 else []
        return "\n".join(["/* Static storage. */", *declarations, *definitions])

    def _head(self, static: Static, definition: bool = False) -> str:
        kind, name = storage_of(static), self.unit.static(static)
        _, align, section = PLACEMENTS.get(id(static.live), (None, 0, ""))
        attributes = ([f"aligned({align})"] if align else []) + ([f"section({string_literal(section.encode())})"] if section else [])
        shown = name in self.visible
        if not section and not shown and id(static.live) in self.unit.program.once_statics and not self.unit.target.hosted:
            section = f"{ONCE}{self._kind(kind, static)}"
            attributes.append(f"section({string_literal(section.encode())})")
        attributes += ["used"] if shown and definition else []
        suffix = f" __attribute__(({', '.join(attributes)}))" if attributes else ""
        return f"{'' if shown and definition else 'extern ' if shown else 'static '}{self.unit.types.declare(kind, name)}{suffix}"

    @staticmethod
    def _kind(kind: Type, static: Static) -> str:
        return ".rodata" if isinstance(kind, TableType) else ".bss" if is_zero(kind, static.live) else ".data"

    def _definition(self, static: Static) -> str:
        kind = storage_of(static)
        head = self._head(static, definition=True)
        if is_zero(kind, static.live) and not isinstance(kind, TableType):
            return f"{head};"
        try:
            return f"{head} = {self.initialiser(kind, static.live, 0)};"
        except (OverflowError, TypeError, BadType) as error:
            raise CompileError(None, f"static {static.name}: {error}") from None

    def initialiser(self, kind: Type, live: Any, depth: int) -> str:
        for cls, handler in _INITIALISERS.items():
            if isinstance(kind, cls):
                return handler(self, kind, live, depth)
        raise CompileError(None, f"a {kind} cannot have an initial value")

    # -- scalars ------------------------------------------------------------------------------------------------------------

    def integer(self, kind: IntType | EnumType | BitsType, live: Any, depth: int) -> str:
        base = kind if isinstance(kind, IntType) else kind.base
        low, high = base.limits(self.unit.target.pointer_bits)
        if not low <= int(live) <= high:
            raise OverflowError(f"{int(live):#x} does not fit {kind} on {self.unit.target.name}")
        if isinstance(kind, EnumType) and getattr(live, "name", None) is not None:
            return self.unit.types.enumerator(kind, live.name)
        return int_literal(kind, int(live), self.unit.target.pointer_bits)

    def boolean(self, kind: BoolType, live: Any, depth: int) -> str:
        return "1" if live else "0"

    def atomic(self, kind: AtomicType, live: Any, depth: int) -> str:
        return self.integer(kind.element, live.value if isinstance(live, Atomic) else live, depth)

    def function(self, kind: FnType, live: Any, depth: int) -> str:
        if live is None:
            return "NULL"
        found = self.unit.program.by_function.get(live) if isinstance(live, Function) else None
        if found is None:
            raise CompileError(None, f"static data refers to {live!r}, which is not compiled as a function")
        return self.unit.function(found)

    def pointer(self, kind: PtrType, live: Any, depth: int) -> str:
        if live is None or int(getattr(live, "address", live)) == 0:
            return "NULL"
        return f"({self.unit.types.spell(kind)}){int(getattr(live, 'address', live)):#x}ul"

    # -- references and slices -------------------------------------------------------------------------------------------------

    def reference(self, kind: RefType, live: Any, depth: int) -> str:
        if live is None:
            return "NULL"
        return f"&{self.path_of(live, StructType(type(live)))}"

    def path_of(self, live: Any, kind: Type) -> str:
        """The C path of a live object; one that no other static holds becomes a static of its own."""
        if id(live) not in self.paths:
            name = f"{type(live).__name__}_data" if isinstance(live, (Struct, Union)) else "array_data"
            static = Static(self.unit.names.unique(name), live, kind)
            self.unit.statics[id(static)] = static.name
            self.all.append(static)
            self._find(static)
        return self.paths[id(live)]

    def slice(self, kind: SliceType, live: Any, depth: int) -> str:
        base, start, length = flatten(live)
        if length == 0:
            return "{ 0 }"
        if isinstance(base, (bytes, bytearray)):
            if not kind.const:
                raise TypeError("bytes are read-only: a Slice needs an array")
            return f"{{ (const u8 *){string_literal(bytes(base[start:start + length]))}, {length} }}"
        path = self.path_of(base, array_type(base))
        return f"{{ &{path}[{start}], {length} }}" if start else f"{{ {path}, {length} }}"

    # -- aggregates ---------------------------------------------------------------------------------------------------------------

    def struct(self, kind: StructType, live: Any, depth: int) -> str:
        if kind.is_union:
            return self.union(kind, live, depth)
        parts = [f".{member(name)} = {self.initialiser(field, getattr(live, name), depth + 1)}"
                 for name, field in fields_of(kind.cls).items() if not is_zero(field, getattr(live, name))]
        return braces(parts, depth)

    def tuple(self, kind: TupleType, live: Any, depth: int) -> str:
        return braces([self.initialiser(k, v, depth + 1) for k, v in zip(kind.items, live)], depth)

    def array(self, kind: ArrayType | TableType, live: Any, depth: int) -> str:
        if len(live) != kind.length:
            raise TypeError(f"{len(live)} elements where the type says {kind.length}")
        zero = [is_zero(kind.element, value) for value in live]
        while zero and zero[-1]:
            zero.pop()
        parts: list[str] = []
        skipped = False
        for position, empty in enumerate(zero):
            if empty and sum(zero) > 8:             # sparse: name the places instead of writing zeros
                skipped = True
                continue
            text = self.initialiser(kind.element, live[position], depth + 1)
            parts.append(f"[{position}] = {text}" if skipped else text)
            skipped = False
        return braces(parts, depth)

    def union(self, kind: StructType, live: Union, depth: int) -> str:
        """Through the first field that covers all the bytes."""
        size = layout(kind, self.unit.target.pointer_bytes).size
        data = bytes(live._bytes)
        for name, field in fields_of(kind.cls).items():
            if layout(field, self.unit.target.pointer_bytes).size == size == len(data):
                values = self._decode(field, data)
                if values is not None:
                    return f"{{ .{member(name)} = {values} }}"
        raise CompileError(None, f"union {kind}: no integer field or array of integers covers all its bytes, so it cannot have an initial value")

    def _decode(self, kind: Type, data: bytes) -> str | None:
        if isinstance(kind, (IntType, BitsType)):
            base = kind if isinstance(kind, IntType) else kind.base
            return self.integer(kind, int.from_bytes(data, "little", signed=base.signed), 0)
        if isinstance(kind, ArrayType):
            step = layout(kind.element, self.unit.target.pointer_bytes).size
            parts = [self._decode(kind.element, data[at:at + step]) for at in range(0, len(data), step)]
            return None if None in parts else "{ " + ", ".join(p for p in parts if p is not None) + " }"
        return None


_INITIALISERS: dict[type[Type], Callable[[Statics, Any, Any, int], str]] = {
    IntType: Statics.integer, EnumType: Statics.integer, BitsType: Statics.integer, BoolType: Statics.boolean,
    AtomicType: Statics.atomic, FnType: Statics.function, PtrType: Statics.pointer, RefType: Statics.reference,
    SliceType: Statics.slice, StructType: Statics.struct, TupleType: Statics.tuple, ArrayType: Statics.array, TableType: Statics.array,
}


def storage_of(static: Static) -> Type:
    return StructType(static.type.cls) if isinstance(static.type, RefType) else static.type


def braces(parts: list[str], depth: int) -> str:
    """`{ a, b }` on one line where it is short, else one line for each few parts."""
    if not parts:
        return "{ 0 }"
    flat = "{ " + ", ".join(parts) + " }"
    if len(flat) + 4 * depth <= 120 and "\n" not in flat:
        return flat
    indent = "    " * (depth + 1)
    lines, current = [], ""
    for part in parts:
        if current and len(indent) + len(current) + len(part) > 120:
            lines.append(current)
            current = ""
        current += part + ", "
    return "{\n" + "\n".join(indent + line.rstrip() for line in [*lines, current]) + "\n" + "    " * depth + "}"


def array_type(base: Any) -> Type:
    """The type of a live array or table."""
    if isinstance(base, Table):
        return TableType(storage_type(base.element, {}), len(base))
    if isinstance(base, Array):
        return ArrayType(storage_type(base.element, {}), len(base))
    raise TypeError(f"a slice of {type(base).__name__}: only arrays, tables and bytes have storage")


def flatten(live: Any) -> tuple[Any, int, int]:
    """A live view as base object, first element, length."""
    if not isinstance(live, View):
        return live, 0, len(live)
    base, start = live.base, live.start
    while isinstance(base, View):
        base, start = base.base, start + base.start
    return base, start, live.length


def is_zero(kind: Type, live: Any) -> bool:
    """Whether all its bytes are zero."""
    match kind:
        case RefType() | FnType() | PtrType():
            return live is None or (isinstance(kind, PtrType) and int(getattr(live, "address", 1)) == 0)
        case SliceType():
            return len(live) == 0
        case AtomicType():
            return int(live.value if isinstance(live, Atomic) else live) == 0
        case ArrayType() | TableType():
            return not any(live) if isinstance(kind.element, IntType) else all(is_zero(kind.element, value) for value in live)
        case StructType(is_union=True):
            return not any(live._bytes)
        case StructType():
            return all(is_zero(field, getattr(live, name)) for name, field in fields_of(kind.cls).items())
        case TupleType():
            return all(is_zero(k, v) for k, v in zip(kind.items, live))
    return int(live) == 0
