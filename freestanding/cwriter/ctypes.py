"""C spellings and definitions of the types a program uses, with their layout asserted."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import CompileError
from ..types import (ArrayType, AtomicType, BitsType, BoolType, EnumType, FnType, IntType, PtrType, RefType, SliceType, StructType,
                     TableType, TupleType, Type, VoidType, fields_of, layout)
from .names import RESERVED, Names, identifier
from .target import Target


def member(name: str) -> str:
    """The C name of a field."""
    return f"{name}_" if name in RESERVED else name


class TypeNames:
    """Spells types; every type spelled is defined by `definitions()`."""

    def __init__(self, target: Target, names: Names) -> None:
        self.target, self.names = target, names
        self.given: dict[Any, str] = {}
        self.used: list[Type] = []

    # -- spelling ---------------------------------------------------------------------------------------------------

    def spell(self, kind: Type) -> str:
        """The C type of a value: references and arrays are pointers."""
        match kind:
            case VoidType():
                return "void"
            case BoolType():
                return "bool"
            case RefType():
                return f"{self.tag(StructType(kind.cls))} *"
            case ArrayType() | PtrType():
                return self._pointer(kind.element)
            case TableType():
                return f"const {self._pointer(kind.element)}"
            case AtomicType():
                return self.spell(kind.element)
        return self.tag(kind)

    def _pointer(self, element: Type) -> str:
        spelled = self.storage(element)
        return f"{spelled}*" if spelled.endswith("*") else f"{spelled} *"

    def storage(self, kind: Type) -> str:
        """The C type of an object of that type (an array by its typedef)."""
        return self.tag(kind) if isinstance(kind, (ArrayType, TableType)) else self.spell(kind)

    def declare(self, kind: Type, name: str) -> str:
        """A declarator for storage: `u32 name[8]`."""
        if isinstance(kind, (ArrayType, TableType)):
            const = "const " if isinstance(kind, TableType) else ""
            return f"{const}{join(self.storage(kind.element), name)}[{kind.length}]"
        return join(self.spell(kind), name)

    def tag(self, kind: Type) -> str:
        """The typedef name of a type, given out once."""
        if isinstance(kind, BoolType):
            return "bool"
        if isinstance(kind, IntType) and not kind.distinct:
            return kind.name
        key = self._key(kind)
        if key not in self.given:
            wanted, qualified = self._wanted(kind)
            self.given[key] = self.names.unique(wanted, qualified)
            self.used.append(kind)
        return self.given[key]

    @staticmethod
    def _key(kind: Type) -> Any:
        if isinstance(kind, FnType):
            return FnType(kind.params, kind.result)
        return kind

    def _wanted(self, kind: Type) -> tuple[str, str]:
        match kind:
            case StructType() | EnumType() | BitsType() | IntType():
                return kind.cls.__name__, f"{kind.cls.__module__.rpartition('.')[2]}_{kind.cls.__name__}"
            case SliceType():
                return f"{'view' if kind.const else 'slice'}_{self._word(kind.element)}", ""
            case ArrayType() | TableType():
                return f"array_{self._word(kind.element)}_{kind.length}", ""
            case TupleType():
                return "tuple_" + "_".join(map(self._word, kind.items)), ""
            case FnType():
                return "fn_" + "_".join([*map(self._word, kind.params), "to", self._word(kind.result)]), ""
        raise CompileError(None, f"{kind} has no C type")

    def _word(self, kind: Type) -> str:
        match kind:
            case VoidType():
                return "none"
            case RefType():
                return f"{self.tag(StructType(kind.cls))}_ref"
            case PtrType():
                return f"{self._word(kind.element)}_ptr"
            case AtomicType():
                return f"atomic_{self._word(kind.element)}"
        return identifier(self.tag(kind))

    # -- definitions --------------------------------------------------------------------------------------------------

    def definitions(self) -> str:
        """All types used so far, in an order C accepts."""
        order = _Order(self)
        position = 0
        while position < len(self.used):            # defining one type may spell others
            order.visit(self.used[position])
            position += 1
        return "\n".join(["/* Types. */", *order.scalars, "", *order.forward, "", *order.bodies])

    def enumerator(self, kind: EnumType, member_name: str) -> str:
        key = (kind, member_name)
        if key not in self.given:
            self.given[key] = self.names.unique(f"{self.tag(kind)}_{member_name}")
        return self.given[key]


def join(spelled: str, name: str) -> str:
    return f"{spelled}{name}" if spelled.endswith("*") else f"{spelled} {name}"


class _Order:
    """Depth-first emission of definitions."""

    def __init__(self, types: TypeNames) -> None:
        self.types = types
        self.done: set[Any] = set()
        self.scalars: list[str] = []
        self.forward: list[str] = []
        self.bodies: list[str] = []

    def visit(self, kind: Type) -> None:
        key = TypeNames._key(kind)
        if key in self.done:
            return
        self.done.add(key)
        for cls, handler in _HANDLERS.items():
            if isinstance(kind, cls):
                handler(self, kind)
                return

    def integer(self, kind: IntType) -> None:
        if kind.distinct:
            self.scalars.append(f"typedef {kind.base.name} {self.types.tag(kind)};")

    def bits(self, kind: BitsType) -> None:
        self.scalars.append(f"typedef {kind.base.name} {self.types.tag(kind)};")

    def enum(self, kind: EnumType) -> None:
        name = self.types.tag(kind)
        self.scalars.append(f"typedef {kind.base.name} {name};")
        members = [f"{self.types.enumerator(kind, n)} = {enum_number(kind, int(m))}" for n, m in kind.cls.__members__.items()]
        for start in range(0, len(members), 4):
            opening = "enum { " if start == 0 else "       "
            closing = " };" if start + 4 >= len(members) else ","
            self.scalars.append(opening + ", ".join(members[start:start + 4]) + closing)

    def slice(self, kind: SliceType) -> None:
        name = self.types.tag(kind)
        self.forward.append(f"typedef struct {name} {name};")
        if isinstance(kind.element, (ArrayType, FnType)):
            self.need(kind.element)
        pointer = self.types._pointer(kind.element)
        const = "const " if kind.const else ""
        if const and pointer.endswith("**"):        # a run of references that is read-only itself
            pointer, const = f"{pointer[:-1]}const *", ""
        self.bodies.append(f"struct {name} {{ {const}{pointer}pointer; usize length; }};")

    def array(self, kind: ArrayType | TableType) -> None:
        self.need(kind.element)
        self.bodies.append(f"typedef {self.types.declare(ArrayType(kind.element, kind.length), self.types.tag(kind))};")

    def pair(self, kind: TupleType) -> None:
        self.aggregate(kind, [(f"_{i}", item) for i, item in enumerate(kind.items)], "struct", "")

    def struct(self, kind: StructType) -> None:
        cls = kind.cls
        attributes = (["packed"] if cls.packed else []) + ([f"aligned({cls.align})"] if cls.align else [])
        suffix = f" __attribute__(({', '.join(attributes)}))" if attributes else ""
        fields = [(member(name), field) for name, field in fields_of(cls).items()]
        self.aggregate(kind, fields, "union" if kind.is_union else "struct", suffix)

    def aggregate(self, kind: Type, fields: list[tuple[str, Type]], keyword: str, suffix: str) -> None:
        name = self.types.tag(kind)
        self.forward.append(f"typedef {keyword} {name} {name};")
        for _, field in fields:
            self.need(field)
        lines = [f"    {self.types.declare(field, field_name)};" for field_name, field in fields]
        self.bodies += [f"{keyword} {name} {{", *lines, f"}}{suffix};"]
        made = layout(kind, self.types.target.pointer_bytes)
        self.bodies.append(f'_Static_assert(sizeof({name}) == {made.size}, "{name}");')
        for (field_name, _), (_, offset) in zip(fields, made.offsets):
            self.bodies.append(f'_Static_assert(__builtin_offsetof({name}, {field_name}) == {offset}, "{name}.{field_name}");')

    def function(self, kind: FnType) -> None:
        """A pointer to functions needs its parameters declared only: all forward declarations come before."""
        for inner in (*kind.params, kind.result):
            if isinstance(inner, (FnType, ArrayType)):
                self.visit(inner)
            else:
                self.types.spell(inner)
        params = ", ".join(map(self.types.spell, kind.params)) or "void"
        pointed = f"(*{self.types.tag(kind)})({params})"
        self.bodies.append(f"typedef {join(self.types.spell(kind.result), pointed)};")

    def need(self, kind: Type) -> None:
        """Define what a field of that type needs complete."""
        self.types.storage(kind)
        if not isinstance(kind, (RefType, PtrType, BoolType, AtomicType)):
            self.visit(kind)


_HANDLERS: dict[type[Type], Callable[[_Order, Any], None]] = {
    IntType: _Order.integer, BitsType: _Order.bits, EnumType: _Order.enum, SliceType: _Order.slice, ArrayType: _Order.array,
    TableType: _Order.array, TupleType: _Order.pair, StructType: _Order.struct, FnType: _Order.function,
}


def enum_number(kind: EnumType, value: int) -> str:
    if -(1 << 31) <= value < (1 << 31):
        return str(value) if value > -(1 << 31) else "(-2147483647 - 1)"
    return f"{value}ull" if value > 0 else f"({value + 1}ll - 1)"


def int_literal(kind: Type, value: int, pointer_bits: int) -> str:
    """A literal that has the C type of an IntType, EnumType or BitsType (small types: after promotion)."""
    base = kind if isinstance(kind, IntType) else getattr(kind, "base", None)
    assert isinstance(base, IntType), kind
    base = base.base
    name = base.cls.__name__
    if base.signed:
        suffix = {"i64": "ll", "isize": "l"}.get(name, "")
        low = base.limits(pointer_bits)[0]
        if value == low and base.bits(pointer_bits) >= 32:
            return f"({value + 1}{suffix} - 1)"
        return f"{value}{suffix}" if value >= 0 else f"({value}{suffix})"
    suffix = {"u64": "ull", "usize": "ul"}.get(name, "u")
    return f"{value:#x}{suffix}" if value >= 4096 else f"{value}{suffix}"
