"""Structs, unions, bit fields, enumerations, arrays, slices: the live objects that are static storage and initial values."""
from __future__ import annotations

import enum
import reprlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, ClassVar, Generic, TypeVar, cast

from .integers import Integer, u32

T = TypeVar("T")


class _Reference:
    """Marks a field that refers to a struct instead of holding one."""


REFERENCE = _Reference()
Ref = Annotated[T, REFERENCE]


class _Aggregate:
    """What Struct and Union share: fields in order, read from the class's own annotations."""
    _annotations: ClassVar[dict[str, Any]] = {}
    _defaults: ClassVar[dict[str, Any]] = {}
    _namespace: ClassVar[dict[str, Any]] = {}        # what string annotations may name beside the module's globals
    frozen: ClassVar[bool] = False
    packed: ClassVar[bool] = False
    shared: ClassVar[bool] = False
    align: ClassVar[int] = 0

    def __init_subclass__(cls, *, frozen: bool = False, packed: bool = False, align: int = 0,
                          shared: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = dict(cls.__dict__.get("__annotations__", {}))
        cls._annotations = {n: a for n, a in own.items() if not str(a).startswith(("ClassVar", "typing.ClassVar"))}
        cls._defaults = {name: cls.__dict__[name] for name in cls._annotations if name in cls.__dict__}
        for name in cls._defaults:
            delattr(cls, name)
        cls._namespace = _enclosing_names()
        cls.frozen, cls.packed, cls.align, cls.shared = frozen, packed, align, shared


def _enclosing_names() -> dict[str, Any]:
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_name == "__init_subclass__":
        frame = frame.f_back                                           # type: ignore[assignment]
    return dict(frame.f_locals) if frame is not None and frame.f_code.co_name != "<module>" else {}


class Struct(_Aggregate):
    """A struct in C layout: mutable with identity, or with `frozen=True` a value."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not cls.frozen and "__setattr__" not in cls.__dict__:
            cls.__setattr__ = object.__setattr__    # type: ignore[assignment]  # ten times as fast as ours

    def __init__(self, *values: Any, **named: Any) -> None:
        from . import types
        fields = types.fields_of(type(self))
        if len(values) > len(fields):
            raise TypeError(f"{type(self).__name__} has {len(fields)} fields, {len(values)} values given")
        given = dict(zip(fields, values))
        if twice := given.keys() & named.keys():
            raise TypeError(f"{type(self).__name__}: field {min(twice)} given twice")
        given.update(named)
        if unknown := given.keys() - fields.keys():
            raise TypeError(f"{type(self).__name__} has no field {min(unknown)}")
        for name, field_type in fields.items():
            if name in given:
                value = types.live_value(field_type, given[name])
            elif name in self._defaults:
                value = types.live_default(field_type, self._defaults[name])
            else:
                raise TypeError(f"{type(self).__name__} wants a value for {name}; zeroed({type(self).__name__}) makes it all zero")
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if self.frozen:
            raise AttributeError(f"{type(self).__name__} is frozen: make a new value instead of setting {name}")
        object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        if not self.frozen:
            return self is other
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.values())) if self.frozen else id(self)

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"


class Union(_Aggregate):
    """Overlapping fields; in CPython they share one bytearray in the target's little-endian layout."""

    def __init__(self) -> None:
        from . import types
        object.__setattr__(self, "_bytes", bytearray(types.layout(types.StructType(type(self)), 8).size))

    def __getattr__(self, name: str) -> Any:
        from . import types
        if name.startswith("_") or name not in types.fields_of(type(self)):
            raise AttributeError(name)
        return types.load_bytes(types.fields_of(type(self))[name], self._bytes, 0)

    def __setattr__(self, name: str, value: Any) -> None:
        from . import types
        types.store_bytes(types.fields_of(type(self))[name], self._bytes, 0, value)


class BitField:
    """One field of a Bits class: most and least significant bit; filled in with name and type by the class."""

    def __init__(self, msb: int, lsb: int) -> None:
        if not 0 <= lsb <= msb:
            raise ValueError(f"bits({msb}, {lsb}): most significant bit first")
        self.msb, self.lsb = msb, lsb
        self.name = ""

    @property
    def width(self) -> int:
        return self.msb - self.lsb + 1

    @property
    def mask(self) -> int:
        return (1 << self.width) - 1

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        from . import types
        return types.bits_field_value(owner, self, int(instance))


def bits(msb: int, lsb: int | None = None) -> Any:
    """A field of a Bits class: `bits(31, 26)`, or `bits(25)` for one bit."""
    return BitField(msb, msb if lsb is None else lsb)


class Bits(int):
    """A register or descriptor: an integer with named fields. `Esr(EC=.., IL=True)`, `Esr.from_raw(x)`, `.replace(..)`."""
    base: ClassVar[type[Integer]] = u32
    _annotations: ClassVar[dict[str, Any]] = {}
    _namespace: ClassVar[dict[str, Any]] = {}
    fields: ClassVar[dict[str, BitField]] = {}

    def __init_subclass__(cls, *, type: type[Integer] = u32, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.base = type
        cls.fields = {n: f for n, f in cls.__dict__.items() if isinstance(f, BitField)}
        cls._annotations = dict(cls.__dict__.get("__annotations__", {}))
        cls._namespace = _enclosing_names()
        taken = 0
        for name, field in cls.fields.items():
            span = field.mask << field.lsb
            if taken & span:
                raise TypeError(f"{cls.__name__}.{name} overlaps another field")
            if field.msb >= type.bits:
                raise TypeError(f"{cls.__name__}.{name} lies outside {type.__name__}")
            taken |= span

    def __new__(cls, **values: Any) -> Any:
        return cls.from_raw(0).replace(**values)

    @classmethod
    def from_raw(cls, raw: int) -> Any:
        return int.__new__(cls, cls.base(raw))

    @property
    def raw(self) -> int:
        return int(self)

    def replace(self, **values: Any) -> Any:
        from . import types
        number = int(self)
        for name, value in values.items():
            field = self.fields[name]
            if not 0 <= int(value) <= field.mask:
                raise OverflowError(f"{int(value):#x} does not fit {type(self).__name__}.{name}")
            number = number & ~(field.mask << field.lsb) | int(value) << field.lsb
        return int.__new__(type(self), number)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={self._shown(n)}' for n in self.fields)})"

    def _shown(self, name: str) -> str:
        """A field's value; the bare number where it is no member of its enum."""
        try:
            return repr(getattr(self, name))
        except ValueError:
            return hex(int(self) >> self.fields[name].lsb & self.fields[name].mask)


class IntEnum(enum.IntEnum):
    """An enumeration of `type`; a `must_use` result may not be dropped."""

    def __init_subclass__(cls, *, type: type[Integer] = u32, must_use: bool = False) -> None:
        super().__init_subclass__()
        cls.__base__type__ = type                                      # type: ignore[attr-defined]
        cls.__must_use__ = must_use                                    # type: ignore[attr-defined]

    __str__ = enum.Enum.__str__


class _Bytes:
    """What slices can do, for plain Python (models, tests): the same primitives as in a program, a panic without a place."""
    __slots__ = ()

    def _view(self) -> Any:
        return self if isinstance(self, View) else View(self, 0, len(self))

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("load_be", "load_le", "store_be", "store_le")) or name in ("equals", "compare", "find", "copy_from", "fill"):
            from .pywriter import primitives
            return primitives.bound(self._view(), name)
        raise AttributeError(name)


class Array(_Bytes, list[T]):
    """N elements of one type; made by `array(T, N)` or `array(T, [..])`."""
    element: Any = None                             # a type annotation, or for arrays of arrays a prototype Array

    def copy_of(self) -> Array[T]:
        from . import types
        made: Array[T] = Array(types.copy_live(x) for x in self)
        made.element = self.element
        return made

    def __hash__(self) -> int:                      # type: ignore[override]  # identity: a static is found by the object itself
        return id(self)

    def __eq__(self, other: object) -> bool:
        return list.__eq__(self, other) if isinstance(other, list) else NotImplemented


def array(element: Any, size: int | Iterable[Any]) -> Any:
    """`array(u32, 8)`: eight zeros; `array(u32, [1, 2])`: given contents; an element may be a struct type or an array."""
    from . import types
    element_type = types.storage_type(element, {})
    if isinstance(size, int):
        made: Array[Any] = Array(types.zero_value(element_type) for _ in range(size))
    else:
        made = Array(types.live_value(element_type, x) for x in size)
    made.element = element
    return made


class View(_Bytes, Generic[T]):
    """A run of elements, read-only: `base[start : start + length]`."""
    __slots__ = ("base", "start", "length")

    def __init__(self, base: Any, start: int, length: int) -> None:
        self.base, self.start, self.length = base, start, length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[T]:
        return (self.base[self.start + i] for i in range(self.length))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            start, stop, step = index.indices(self.length)
            if step != 1:
                raise ValueError("a slice has no step")
            return type(self)(self.base, self.start + start, stop - start)
        if not 0 <= index < self.length:
            raise IndexError(index)
        return self.base[self.start + index]

    def __bytes__(self) -> bytes:
        return bytes(self.base[self.start:self.start + self.length])


class Slice(View[T]):
    """A run of elements that may be written."""
    __slots__ = ()

    def __setitem__(self, index: int, value: T) -> None:
        if not 0 <= index < self.length:
            raise IndexError(index)
        self.base[self.start + index] = value


class Ptr(Generic[T]):
    """A raw typed address; only modules that say MAPS_MEMORY = True may use it. In CPython it looks at `hosted.memory`."""
    element: Any = None

    def __init__(self, address: int) -> None:
        self.address = int(address)

    def _kind(self) -> Any:
        from . import types
        return self.element or types.storage_type(self.__orig_class__.__args__[0], {})  # type: ignore[attr-defined]

    def ref(self) -> T:
        from . import hosted
        return hosted.memory.ref(self._kind(), self.address)           # type: ignore[no-any-return]

    def slice(self, length: int) -> Slice[T]:
        from . import hosted
        return hosted.memory.slice(self._kind(), self.address, length) # type: ignore[no-any-return]


class Atomic(Generic[T]):
    """A field of one integer with atomic operations. In CPython it holds `value`."""

    def __init__(self, element: type[Integer], value: int = 0) -> None:
        self.element, self.value = element, int(element(value))

    def load(self) -> int:
        return self.value

    def store(self, value: int) -> None:
        self.value = int(self.element(value))

    load_acquire, store_release = load, store

    def _change(self, value: int) -> int:
        old, (low, high) = self.value, self.element.limits()
        self.value = (int(value) - low) % (high - low + 1) + low
        return old

    def exchange(self, value: int) -> int:
        return self._change(value)

    def fetch_add(self, value: int) -> int:
        return self._change(self.value + value)

    def fetch_or(self, value: int) -> int:
        return self._change(self.value | value)

    def fetch_and(self, value: int) -> int:
        return self._change(self.value & value)

    def compare_swap(self, expected: int, new: int) -> tuple[bool, int]:
        same = self.value == expected
        return same, self._change(new if same else self.value)


def atomic(element: Any, value: int = 0) -> Any:
    """An `Atomic[element]` with its initial value."""
    return Atomic(element, value)


class Table(_Bytes, tuple[T, ...]):
    """Read-only rows in the image; made by `table(Row, [...])`."""
    element: Any = None

    def __hash__(self) -> int:
        return id(self)


def table(element: Any, rows: Iterable[Any]) -> Any:
    """A read-only table of frozen structs, integers, enums, Bits, functions' tables as import time computed it."""
    from . import types
    element_type = types.storage_type(element, {})
    if isinstance(element_type, types.StructType) and not element_type.cls.frozen:
        raise TypeError(f"table rows are values: {element_type.cls.__name__} must be frozen=True")
    made = Table(types.live_value(element_type, row) for row in rows)
    made.element = element
    return made


class PerCpu(Generic[T]):
    """One struct for each CPU: `.this()` by the index function, `.of(n)` by number."""

    def __init__(self, element: type[T], count: int, index: Callable[[], Any]) -> None:
        self.storage = array(element, count)
        self.element, self.count, self.index = element, count, index

    def this(self) -> T:
        return cast(T, self.storage[self.index()])

    def of(self, cpu: int) -> T:
        return cast(T, self.storage[cpu])


def percpu(element: type[T], count: int, index: Callable[[], Any]) -> PerCpu[T]:
    """Per-CPU storage: `count` structs; `index()` gives the running CPU's number."""
    return PerCpu(element, count, index)


def zeroed(element: Any) -> Any:
    """An all-zero struct, union or array element of that type."""
    from . import types
    return types.zero_value(types.storage_type(element, {}))


PLACEMENTS: dict[int, tuple[Any, int, str]] = {}


def place(obj: T, *, align: int = 0, section: str = "") -> T:
    """Say where a static lies: its alignment in bytes, its linker section."""
    PLACEMENTS[id(obj)] = (obj, align, section)
    return obj


class LinkerSymbol:
    """An address that the linker knows; in functions a usize."""

    def __init__(self, name: str) -> None:
        self.name = name


def linker_symbol(name: str) -> Any:
    return LinkerSymbol(name)


