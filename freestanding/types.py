"""Type descriptors: what the compiler knows of a type; resolution of annotations; C layout; zero and initial live values."""
from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Callable as AbcCallable
from dataclasses import dataclass
from functools import cache
from types import GenericAlias, NoneType as PyNone, UnionType
from typing import Any

from .integers import Distinct, Integer, u32, u64, u8, u16, usize
from .structs import (REFERENCE, Array, Atomic, BitField, Bits, IntEnum, Ptr, Slice, Struct, Table, Union, View)


class Type(ABC):
    """Base of all descriptors; equal when they describe the same type."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As the programmer writes it."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class IntType(Type):
    cls: type[Integer]

    @property
    def name(self) -> str:
        return self.cls.__name__

    @property
    def signed(self) -> bool:
        return self.cls.signed

    @property
    def distinct(self) -> bool:
        return issubclass(self.cls, Distinct)

    @property
    def is_address(self) -> bool:
        return issubclass(self.cls, Distinct) and self.cls.is_address

    @property
    def base(self) -> IntType:
        """The plain integer type underneath (itself for plain ones)."""
        return IntType(self.cls.base).base if self.cls.base is not None else self

    @property
    def pointer_sized(self) -> bool:
        return self.base.cls.__name__ in ("usize", "isize")

    def bits(self, pointer_bits: int) -> int:
        return pointer_bits if self.pointer_sized else self.cls.bits

    def limits(self, pointer_bits: int) -> tuple[int, int]:
        width = self.bits(pointer_bits)
        return (-(1 << (width - 1)), (1 << (width - 1)) - 1) if self.signed else (0, (1 << width) - 1)


@dataclass(frozen=True)
class BoolType(Type):
    name = "bool"


@dataclass(frozen=True)
class VoidType(Type):
    name = "None"


@dataclass(frozen=True)
class LiteralType(Type):
    """A bare integer: takes the type of what it meets."""
    name = "integer literal"


@dataclass(frozen=True)
class TextType(Type):
    """A `str` constant: messages and formats only."""
    name = "str"


@dataclass(frozen=True)
class NoneValueType(Type):
    """The literal None before it meets a nullable type."""
    name = "None"


@dataclass(frozen=True)
class EnumType(Type):
    cls: type[IntEnum]

    @property
    def name(self) -> str:
        return self.cls.__name__

    @property
    def base(self) -> IntType:
        return IntType(self.cls.__base__type__)                        # type: ignore[attr-defined]

    @property
    def must_use(self) -> bool:
        return bool(self.cls.__must_use__)                             # type: ignore[attr-defined]


@dataclass(frozen=True)
class BitsType(Type):
    cls: type[Bits]

    @property
    def name(self) -> str:
        return self.cls.__name__

    @property
    def base(self) -> IntType:
        return IntType(self.cls.base)


@dataclass(frozen=True)
class StructType(Type):
    """A struct or union where it lies: inside another, in an array, or a frozen value."""
    cls: type[Any]

    @property
    def name(self) -> str:
        return self.cls.__name__

    @property
    def frozen(self) -> bool:
        return bool(self.cls.frozen)

    @property
    def is_union(self) -> bool:
        return issubclass(self.cls, Union)


@dataclass(frozen=True)
class RefType(Type):
    """A reference to a mutable struct or union."""
    cls: type[Any]
    nullable: bool = False

    @property
    def name(self) -> str:
        return self.cls.__name__ + (" | None" if self.nullable else "")


@dataclass(frozen=True)
class ArrayType(Type):
    element: Type
    length: int

    @property
    def name(self) -> str:
        return f"Array[{self.element}] of {self.length}"


@dataclass(frozen=True)
class TableType(Type):
    element: Type
    length: int

    @property
    def name(self) -> str:
        return f"table of {self.length} {self.element}"


@dataclass(frozen=True)
class SliceType(Type):
    element: Type
    const: bool = False

    @property
    def name(self) -> str:
        return f"{'View' if self.const else 'Slice'}[{self.element}]"


@dataclass(frozen=True)
class PtrType(Type):
    element: Type

    @property
    def name(self) -> str:
        return f"Ptr[{self.element}]"


@dataclass(frozen=True)
class TupleType(Type):
    items: tuple[Type, ...]

    @property
    def name(self) -> str:
        return f"tuple[{', '.join(map(str, self.items))}]"


@dataclass(frozen=True)
class FnType(Type):
    params: tuple[Type, ...]
    result: Type
    nullable: bool = False

    @property
    def name(self) -> str:
        return f"Callable[[{', '.join(map(str, self.params))}], {self.result}]" + (" | None" if self.nullable else "")


@dataclass(frozen=True)
class AtomicType(Type):
    element: IntType

    @property
    def name(self) -> str:
        return f"Atomic[{self.element}]"


BOOL, VOID, LITERAL, TEXT, NONE = BoolType(), VoidType(), LiteralType(), TextType(), NoneValueType()
U8, U16, U32, U64, USIZE = IntType(u8), IntType(u16), IntType(u32), IntType(u64), IntType(usize)
BYTES = SliceType(U8, const=True)


class BadType(Exception):
    """An annotation that names no type of the language."""


# ---- annotations -------------------------------------------------------------------------------------------------------

def value_type(annotation: Any, namespace: dict[str, Any]) -> Type:
    """The type of a parameter, result or local: a mutable struct there is a reference. Raises BadType."""
    found = storage_type(annotation, namespace)
    if isinstance(found, AtomicType):
        raise BadType("an atomic stays where it is: pass its struct")
    if isinstance(found, StructType) and not found.frozen:
        return RefType(found.cls)
    if isinstance(found, TupleType):
        return TupleType(tuple(RefType(i.cls) if isinstance(i, StructType) and not i.frozen else i for i in found.items))
    return found


def storage_type(annotation: Any, namespace: dict[str, Any]) -> Type:
    """The type of a field or element, where a struct's name means the struct itself. Raises BadType."""
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, namespace)                   # noqa: S307  an annotation of the program's own
        except Exception as error:
            raise BadType(f"{annotation!r} names no type ({error})") from None
    if isinstance(annotation, Type):
        return annotation
    if isinstance(annotation, Array):
        return ArrayType(storage_type(annotation.element, namespace), len(annotation))
    if annotation is None or annotation is PyNone:
        return VOID
    if isinstance(annotation, type) and not isinstance(annotation, GenericAlias):
        return _class_type(annotation)
    return _generic_type(annotation, namespace)


def _class_type(cls: type[Any]) -> Type:
    if cls is bool:
        return BOOL
    if issubclass(cls, Integer):
        return IntType(cls)
    if issubclass(cls, IntEnum):
        return EnumType(cls)
    if issubclass(cls, Bits):
        return BitsType(cls)
    if issubclass(cls, (Struct, Union)) and cls not in (Struct, Union):
        return StructType(cls)
    if cls is int:
        raise BadType("int has no width: say u8, u16, u32, u64, usize or a signed one")
    if cls is str:
        return TEXT
    if cls is bytes:
        return BYTES
    raise BadType(f"{cls.__name__} is no type of the language")


def _generic_type(annotation: Any, namespace: dict[str, Any]) -> Type:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated or (hasattr(annotation, "__metadata__") and REFERENCE in annotation.__metadata__):
        inner = storage_type(args[0] if args else annotation.__origin__, namespace)
        if REFERENCE in annotation.__metadata__ and isinstance(inner, StructType) and not inner.frozen:
            return RefType(inner.cls)
        if isinstance(inner, RefType):
            return inner
        raise BadType(f"Ref[{inner}]: only a mutable struct can be referred to")
    if origin in (typing.Union, UnionType):
        return _optional_type(args, namespace)
    if origin in (Slice, View):
        return SliceType(storage_type(args[0], namespace), const=origin is View)
    if origin is Ptr:
        return PtrType(storage_type(args[0], namespace))
    if origin is Atomic:
        inner = storage_type(args[0], namespace)
        if not isinstance(inner, IntType):
            raise BadType(f"Atomic[{inner}]: only integers are atomic")
        return AtomicType(inner)
    if origin is tuple:
        return TupleType(tuple(value_type(a, namespace) for a in args))
    if origin is AbcCallable:
        return FnType(tuple(value_type(a, namespace) for a in args[0]), value_type(args[1], namespace))
    if origin is Array:
        raise BadType(f"Array[{args[0]}] has no length here: write Slice[...] for a parameter, "
                      "or give a field its `= array(T, N)`")
    raise BadType(f"{annotation!r} is no type of the language")


def _optional_type(args: tuple[Any, ...], namespace: dict[str, Any]) -> Type:
    rest = [a for a in args if a is not PyNone and a is not None]
    if len(rest) == 1 and len(args) == 2:
        inner = storage_type(rest[0], namespace)
        if isinstance(inner, StructType) and not inner.frozen:
            return RefType(inner.cls, nullable=True)
        if isinstance(inner, RefType):
            return RefType(inner.cls, nullable=True)
        if isinstance(inner, FnType):
            return FnType(inner.params, inner.result, nullable=True)
        raise BadType(f"{inner} | None: only references to structs and functions can be None")
    raise BadType("a union type is only `S | None`")


_FIELDS: dict[type[Any], dict[str, Type]] = {}


def module_namespace(obj: Any) -> dict[str, Any]:
    import sys
    module = sys.modules.get(obj.__module__)
    return dict(vars(module)) if module is not None else {}


def fields_of(cls: type[Any]) -> dict[str, Type]:
    """Field names and storage types of a Struct, Union or Bits class, in order. Raises BadType."""
    if cls not in _FIELDS:
        namespace = module_namespace(cls) | cls._namespace | {cls.__name__: cls}
        found: dict[str, Type] = {}
        for name, annotation in cls._annotations.items():
            found[name] = _field_type(cls, name, annotation, namespace)
        if issubclass(cls, Struct) and cls.frozen:
            for name, kind in found.items():
                if isinstance(kind, StructType) and not kind.frozen:
                    raise BadType(f"{cls.__name__}.{name}: a frozen struct cannot hold the mutable {kind}; use Ref[{kind}]")
        _FIELDS[cls] = found
    return _FIELDS[cls]


def _field_type(cls: type[Any], name: str, annotation: Any, namespace: dict[str, Any]) -> Type:
    default = getattr(cls, "_defaults", {}).get(name)
    try:
        if isinstance(default, Array):
            return storage_type(default, namespace)
        if issubclass(cls, Bits) and name not in cls.fields:
            raise BadType("a field of Bits is given by bits(msb, lsb)")
        return storage_type(annotation, namespace)
    except BadType as error:
        raise BadType(f"{cls.__name__}.{name}: {error}") from None


# ---- layout -------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Layout:
    """Bytes: size, alignment, and for structs the offset of each field."""
    size: int
    align: int
    offsets: tuple[tuple[str, int], ...] = ()


@cache
def layout(kind: Type, pointer_bytes: int) -> Layout:
    """The C layout of a storage type on a target with pointers of that many bytes."""
    match kind:
        case BoolType():
            return Layout(1, 1)
        case IntType():
            size = kind.bits(pointer_bytes * 8) // 8
            return Layout(size, size)
        case EnumType() | BitsType():
            return layout(kind.base, pointer_bytes)
        case AtomicType():
            return layout(kind.element, pointer_bytes)
        case RefType() | PtrType() | FnType():
            return Layout(pointer_bytes, pointer_bytes)
        case SliceType():
            return Layout(2 * pointer_bytes, pointer_bytes)
        case ArrayType() | TableType():
            inner = layout(kind.element, pointer_bytes)
            return Layout(inner.size * kind.length, inner.align)
        case TupleType():
            return _struct_layout([(str(i), k) for i, k in enumerate(kind.items)], pointer_bytes, False, 0, False)
        case StructType():
            fields = list(fields_of(kind.cls).items())
            return _struct_layout(fields, pointer_bytes, kind.cls.packed, kind.cls.align, kind.is_union)
    raise BadType(f"{kind} has no layout")


def _struct_layout(fields: list[tuple[str, Type]], pointer_bytes: int, packed: bool, least: int, union: bool) -> Layout:
    end, align, offsets = 0, max(1, least), []
    for name, kind in fields:
        inner = layout(kind, pointer_bytes)
        step = 1 if packed else inner.align
        start = 0 if union else -(-end // step) * step
        offsets.append((name, start))
        end, align = max(end, start + inner.size), max(align, step)
    return Layout(-(-end // align) * align, align, tuple(offsets))


_pointer_bytes = 8


def set_pointer_bytes(count: int) -> None:
    """What sizes computed while modules are imported are for; set before they are."""
    global _pointer_bytes
    _pointer_bytes = count


def size_of(annotation: Any, pointer_bytes: int | None = None) -> int:
    """Size of a type in bytes on a target with such pointers; by default the one that the program is compiled for."""
    return layout(storage_type(annotation, {}), pointer_bytes or _pointer_bytes).size


def offset_of(cls: type[Any], path: str, pointer_bytes: int | None = None) -> int:
    """Byte offset of a field; `a.b` goes into nested structs."""
    pointer_bytes = pointer_bytes or _pointer_bytes
    offset = 0
    kind: Type = StructType(cls)
    for name in path.split("."):
        if not isinstance(kind, StructType):
            raise AttributeError(f"{kind} has no field {name}")
        offsets = dict(layout(kind, pointer_bytes).offsets)
        if name not in offsets:
            raise AttributeError(f"{kind} has no field {name}")
        offset += offsets[name]
        kind = fields_of(kind.cls)[name]
    return offset


# ---- live values --------------------------------------------------------------------------------------------------------

def zero_value(kind: Type) -> Any:
    """The live value whose bytes are all zero. Raises TypeError for what has no zero (a reference that is never None)."""
    match kind:
        case BoolType():
            return False
        case IntType():
            return 0
        case EnumType():
            return kind.cls(0)
        case BitsType():
            return kind.cls.from_raw(0)
        case RefType(nullable=True) | FnType(nullable=True):
            return None
        case SliceType():
            return (View if kind.const else Slice)([], 0, 0)
        case AtomicType():
            return Atomic(kind.element.cls)
        case ArrayType():
            made: Array[Any] = Array(zero_value(kind.element) for _ in range(kind.length))
            made.element = kind.element
            return made
        case StructType(is_union=True):
            return kind.cls()
        case StructType():
            struct: Any = object.__new__(kind.cls)
            for name, field in fields_of(kind.cls).items():
                object.__setattr__(struct, name, zero_value(field))
            return struct
        case TupleType():
            return tuple(zero_value(i) for i in kind.items)
    raise TypeError(f"{kind} has no all-zero value")


def live_default(kind: Type, default: Any) -> Any:
    return default.copy_of() if isinstance(default, Array) else live_value(kind, copy_live(default))


def copy_live(value: Any) -> Any:
    """A copy of an embedded value: structs, unions, arrays and atomics anew; everything else is shared."""
    if isinstance(value, Struct) and not value.frozen:
        made: Any = object.__new__(type(value))
        for name, field in fields_of(type(value)).items():
            inner = getattr(value, name)
            object.__setattr__(made, name, inner if isinstance(field, RefType) else copy_live(inner))
        return made
    if isinstance(value, Union):
        fresh = type(value)()
        fresh._bytes[:] = value._bytes
        return fresh
    if isinstance(value, Array):
        return value.copy_of()
    if isinstance(value, Atomic):
        return Atomic(value.element, value.value)
    return value


def live_value(kind: Type, value: Any) -> Any:
    """Check a value given at import time against a storage type; integers become plain ints. Raises TypeError, OverflowError."""
    match kind:
        case BoolType() if isinstance(value, bool):
            return value
        case IntType() if isinstance(value, int) and not isinstance(value, bool):
            if isinstance(value, Integer) and type(value) is not kind.cls:
                raise TypeError(f"{value!r} is no {kind}; convert it")
            return int(kind.cls(value))
        case EnumType() if isinstance(value, kind.cls):
            return value
        case BitsType() if isinstance(value, kind.cls):
            return value
        case RefType() if isinstance(value, kind.cls) or (value is None and kind.nullable):
            return value
        case StructType() if isinstance(value, kind.cls):
            return copy_live(value)
        case ArrayType() if isinstance(value, list) and len(value) == kind.length:
            made: Array[Any] = Array(live_value(kind.element, v) for v in value)
            made.element = kind.element
            return made
        case SliceType() if isinstance(value, (bytes, View, Array, Table)):
            if isinstance(value, View):
                return value
            return (View if kind.const else Slice)(value, 0, len(value))
        case AtomicType() if isinstance(value, Atomic):
            return copy_live(value)
        case TupleType() if isinstance(value, tuple) and len(value) == len(kind.items):
            return tuple(live_value(k, v) for k, v in zip(kind.items, value))
        case FnType() if callable(value) or (value is None and kind.nullable):
            return value
    raise TypeError(f"{value!r} is no {kind}")


def bits_field_type(cls: type[Bits], field: BitField) -> Type:
    """The type of a bit field: bool, an unsigned integer or an enum. Raises BadType."""
    kind = fields_of(cls)[field.name]
    if isinstance(kind, BoolType) and field.width == 1:
        return kind
    if isinstance(kind, EnumType) or (isinstance(kind, IntType) and not kind.signed and kind.bits(64) >= field.width):
        return kind
    raise BadType(f"{cls.__name__}.{field.name}: {field.width} bits do not fit {kind}")


def bits_field_value(cls: type[Bits], field: BitField, raw: int) -> Any:
    kind = bits_field_type(cls, field)
    number = raw >> field.lsb & field.mask
    if isinstance(kind, EnumType):
        return kind.cls(number)
    return bool(number) if isinstance(kind, BoolType) else number


def load_bytes(kind: Type, memory: Any, offset: int) -> Any:
    """Read a storage type from little-endian bytes; arrays and structs come back as views of the same bytes."""
    from .hosted import load_bytes as load
    return load(kind, memory, offset)


def store_bytes(kind: Type, memory: Any, offset: int, value: Any) -> None:
    from .hosted import store_bytes as store
    store(kind, memory, offset, value)
