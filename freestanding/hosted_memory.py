"""Memory as the hosted engine sees it: RAM and device models at addresses, and live objects that were given an address.

`Ptr[T](address).ref()` gives the live object that lies there, or a view: an object of the same class whose fields are
loads and stores on the bus, each of exactly its own width, in the layout of the target.
"""
from __future__ import annotations

import bisect
from typing import Any, Protocol, cast

from . import types as t
from .functions import Function
from .pywriter.live import is_plain, kind_of, value_maker
from .structs import Array, Slice, Table, View

FIRST_FAKE = {64: 0x7F00_0000_0000, 32: 0xE000_0000}


class Device(Protocol):
    """A model of a device: accesses by offset into its range."""

    def read(self, offset: int, width: int) -> int: ...

    def write(self, offset: int, width: int, value: int) -> None: ...


class BusError(Exception):
    """An access to an address where nothing is."""


class Window:
    """Bytes somewhere: on the bus from an address on, or in a bytearray."""

    def __init__(self, memory: Memory, base: int, data: Any = None) -> None:
        self.memory, self.base, self.data = memory, base, data

    def load(self, offset: int, width: int) -> int:
        if self.data is not None:
            return int.from_bytes(self.data[offset:offset + width], "little")
        return self.memory.load(self.base + offset, width)

    def store(self, offset: int, width: int, value: int) -> None:
        if self.data is not None:
            self.data[offset:offset + width] = value.to_bytes(width, "little")
        else:
            self.memory.store(self.base + offset, width, value)

    def __getitem__(self, part: slice) -> bytes:
        start, stop = part.start or 0, part.stop if part.stop is not None else self.memory.size_at(self.base)
        return bytes(self.data[start:stop]) if self.data is not None else self.memory.read(self.base + start, stop - start)

    def __setitem__(self, part: slice, value: bytes) -> None:
        if self.data is not None:
            self.data[part] = value
        else:
            self.memory.write(self.base + (part.start or 0), value)


class MemoryArray:
    """Elements in a window, in the place of an Array or of the bytes under a Slice."""

    def __init__(self, kind: t.Type, window: Window, offset: int, length: int) -> None:
        self.element, self.window, self.offset, self.length = kind, window, offset, length
        self.step = t.layout(kind, window.memory.pointer_bytes).size
        self.bytes = kind == t.U8

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            return load_bytes(self.element, self.window, self.offset + index * self.step)
        start, stop, _ = index.indices(self.length)
        if self.bytes:
            return self.window[self.offset + start:self.offset + stop]
        return [self[i] for i in range(start, stop)]

    def __setitem__(self, index: Any, value: Any) -> None:
        if not isinstance(index, slice):
            store_bytes(self.element, self.window, self.offset + index * self.step, value)
            return
        start, stop, _ = index.indices(self.length)
        if self.bytes:
            self.window[self.offset + start:self.offset + stop] = bytes(value)
            return
        for i, item in zip(range(start, stop), value):
            self[i] = item

    def __iter__(self) -> Any:
        return (self[i] for i in range(self.length))

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, (list, MemoryArray)) else NotImplemented

    __hash__ = object.__hash__


class AtomicView:
    """An atomic in a window."""

    def __init__(self, kind: t.IntType, window: Window, offset: int) -> None:
        self.element, self.window, self.offset = kind, window, offset

    @property
    def value(self) -> int:
        return int(load_bytes(self.element, self.window, self.offset))

    @value.setter
    def value(self, value: int) -> None:
        store_bytes(self.element, self.window, self.offset, value)


class Memory:
    """What is at which address."""

    def __init__(self, pointer_bits: int = 64) -> None:
        self.pointer_bits, self.pointer_bytes = pointer_bits, pointer_bits // 8
        self.symbols: dict[str, int] = {}
        self.reset()

    def set_pointer_bits(self, bits: int) -> None:
        """From now on pointers have this width: with another one than before, live objects lie nowhere yet."""
        if bits != self.pointer_bits:
            self.pointer_bits, self.pointer_bytes = bits, bits // 8
            mapped = [region for region in self._regions if region[3] is None]
            self.reset()
            for base, size, target, kind in mapped:
                self._insert(base, size, target, kind)

    def reset(self) -> None:
        """Forget every mapping and every address given out."""
        self._symbols: dict[str, int] = {}                              # those that nobody has set
        self._starts: list[int] = []
        self._regions: list[tuple[int, int, Any, t.Type | None]] = []   # start, size, what; a type for live objects
        self._addresses: dict[int, tuple[int, Any]] = {}                # by id
        self._objects: dict[int, list[Any]] = {}                        # by address: outermost first
        self._views: dict[tuple[t.Type, int], Any] = {}
        self._next = FIRST_FAKE[self.pointer_bits]

    # ---- mapping

    def map(self, base: int, target: Any, size: int | None = None) -> None:
        """Put RAM (a bytearray or memoryview) or a device model at an address. Raises ValueError on overlap."""
        self._insert(base, len(target) if size is None else size, target, None)

    def unmap(self, base: int) -> None:
        at = self._starts.index(base)
        del self._starts[at], self._regions[at]

    def _insert(self, base: int, size: int, target: Any, kind: t.Type | None) -> None:
        at = bisect.bisect_right(self._starts, base)
        if (at and sum(self._regions[at - 1][:2]) > base) or (at < len(self._starts) and self._starts[at] < base + size):
            raise ValueError(f"{base:#x}..{base + size:#x} overlaps what is mapped there")
        self._starts.insert(at, base)
        self._regions.insert(at, (base, size, target, kind))

    def _find(self, address: int, size: int) -> tuple[int, int, Any, t.Type | None]:
        at = bisect.bisect_right(self._starts, address) - 1
        if at < 0 or address + size > sum(self._regions[at][:2]):
            raise BusError(f"nothing is mapped at {address:#x} ({size} bytes)")
        return self._regions[at]

    def size_at(self, address: int) -> int:
        return self._find(address, 1)[1]

    # ---- access

    def load(self, address: int, width: int) -> int:
        base, _, target, kind = self._find(address, width)
        if kind is not None:
            return self._load_live(target, kind, address - base, width)
        if hasattr(target, "read"):
            return int(target.read(address - base, width))
        return int.from_bytes(target[address - base:address - base + width], "little")

    def store(self, address: int, width: int, value: int) -> None:
        base, _, target, kind = self._find(address, width)
        if kind is not None:
            self._store_live(target, kind, address - base, value.to_bytes(width, "little"))
        elif hasattr(target, "write"):
            target.write(address - base, width, value)
        else:
            target[address - base:address - base + width] = value.to_bytes(width, "little")

    def read(self, address: int, size: int) -> bytes:
        if not size:
            return b""
        base, _, target, kind = self._find(address, size)
        if kind is not None:
            return bytes(self._bytes_of(target, kind)[address - base:address - base + size])
        if hasattr(target, "read"):
            return bytes(target.read(address - base + i, 1) for i in range(size))
        return bytes(target[address - base:address - base + size])

    def write(self, address: int, data: bytes) -> None:
        if not data:
            return
        base, _, target, kind = self._find(address, len(data))
        if kind is not None:
            self._store_live(target, kind, address - base, data)
        elif hasattr(target, "write"):
            for i, byte in enumerate(data):
                target.write(address - base + i, 1, byte)
        else:
            target[address - base:address - base + len(data)] = data

    # ---- pointers

    def ref(self, kind: t.Type, address: int) -> Any:
        """The struct at an address: the live one where one lies there, else a view."""
        for obj in self._objects.get(address, ()):
            if isinstance(kind, (t.StructType, t.RefType)) and isinstance(obj, kind.cls):
                return obj
        if isinstance(kind, t.RefType):
            kind = t.StructType(kind.cls)
        if (kind, address) not in self._views:
            self._views[kind, address] = load_bytes(kind, Window(self, address), 0)
        return self._views[kind, address]

    def slice(self, kind: t.Type, address: int, length: int) -> Any:
        """A run of elements at an address: part of a live array where one lies there, else a view."""
        at = bisect.bisect_right(self._starts, address) - 1
        if at >= 0 and isinstance(inner := self._regions[at][3], t.ArrayType) and inner.element == kind:
            start, size, target, _ = self._regions[at]
            step = t.layout(kind, self.pointer_bytes).size
            if address < start + size and (address - start) % step == 0:
                return Slice(target, (address - start) // step, length)
        return Slice(MemoryArray(kind, Window(self, address), 0, length), 0, length)

    def address_of(self, obj: Any) -> int:
        """The address of a struct, array, slice, table or function; the same one each time."""
        if obj is None:
            return 0
        if isinstance(obj, View):
            step = obj.base.step if isinstance(obj.base, MemoryArray) else self._step_of(obj.base)
            return self.address_of(obj.base) + obj.start * step
        if isinstance(obj, MemoryArray):
            return obj.window.base + obj.offset
        if (window := getattr(obj, "_window", None)) is not None:
            return int(window.base)
        if id(obj) not in self._addresses:
            self._give_address(obj)
        return self._addresses[id(obj)][0]

    def _step_of(self, base: Any) -> int:
        if isinstance(base, (Array, Table)):
            return t.layout(t.storage_type(base.element, {}), self.pointer_bytes).size
        return 1

    def symbol(self, name: str) -> int:
        """The address of a linker symbol; tests may set `symbols[name]`."""
        if name in self.symbols:
            return self.symbols[name]
        if name not in self._symbols:
            self._symbols[name] = self._allocate(4096, 4096)
        return self._symbols[name]

    def at(self, address: int) -> Any:
        """The live object that was given this address, or None."""
        return next(iter(self._objects.get(address, ())), None)

    def _allocate(self, size: int, align: int) -> int:
        start = -(-self._next // align) * align
        self._next = start + size
        return start

    def _give_address(self, obj: Any) -> None:
        kind = self._kind_of(obj)
        size, align = (16, 16) if kind is None else (t.layout(kind, self.pointer_bytes).size, 4096)
        start = self._allocate(max(size, 1), max(align, 16))
        self._note(obj, kind, start)
        if kind is not None and size:
            self._insert(start, size, obj, kind)

    @staticmethod
    def _kind_of(obj: Any) -> t.Type | None:
        if isinstance(obj, Function):
            return None
        if isinstance(obj, Table):
            return t.ArrayType(t.storage_type(obj.element, {}), len(obj))
        if isinstance(obj, (bytes, bytearray, list)) and not isinstance(obj, Array):
            return t.ArrayType(t.U8, len(obj))
        return kind_of(obj)

    def _note(self, obj: Any, kind: t.Type | None, address: int) -> None:
        """Remember where an object and all that is embedded in it lies."""
        self._addresses.setdefault(id(obj), (address, obj))
        self._objects.setdefault(address, []).append(obj)
        if isinstance(kind, t.StructType) and not kind.is_union:
            for name, offset in t.layout(kind, self.pointer_bytes).offsets:
                if not is_plain(inner := t.fields_of(kind.cls)[name]):
                    self._note(getattr(obj, name), inner, address + offset)
        elif isinstance(kind, t.ArrayType) and not is_plain(kind.element):
            step = t.layout(kind.element, self.pointer_bytes).size
            for i, item in enumerate(obj):
                self._note(item, kind.element, address + i * step)

    # ---- live objects as bytes

    def _bytes_of(self, obj: Any, kind: t.Type) -> bytearray:
        data = bytearray(t.layout(kind, self.pointer_bytes).size)
        store_bytes(kind, Window(self, 0, data), 0, obj)
        return data

    def _leaf(self, obj: Any, kind: t.Type, offset: int, width: int) -> tuple[Any, Any, t.Type] | None:
        """The scalar of that width at that offset: its owner, its name or index, its type."""
        key: int | str
        while True:
            if isinstance(kind, t.ArrayType):
                step = t.layout(kind.element, self.pointer_bytes).size
                owner, key, kind, offset = obj, offset // step, kind.element, offset % step
            elif isinstance(kind, t.StructType) and not kind.is_union:
                fields = [(n, o) for n, o in t.layout(kind, self.pointer_bytes).offsets if o <= offset]
                owner, key, kind, offset = obj, fields[-1][0], t.fields_of(kind.cls)[fields[-1][0]], offset - fields[-1][1]
            else:
                exact = offset == 0 and t.layout(kind, self.pointer_bytes).size == width
                return (owner, key, kind) if exact and isinstance(kind, (t.IntType, t.BitsType)) else None
            obj = owner[key] if isinstance(key, int) else getattr(owner, key)

    def _load_live(self, obj: Any, kind: t.Type, offset: int, width: int) -> int:
        leaf = self._leaf(obj, kind, offset, width)
        if leaf is None:
            return int.from_bytes(self._bytes_of(obj, kind)[offset:offset + width], "little")
        owner, key, _ = leaf
        return int(owner[key] if isinstance(key, int) else getattr(owner, key)) & (1 << width * 8) - 1

    def _store_live(self, obj: Any, kind: t.Type, offset: int, data: bytes) -> None:
        leaf = self._leaf(obj, kind, offset, len(data))
        if leaf is None:
            whole = self._bytes_of(obj, kind)
            whole[offset:offset + len(data)] = data
            _pull(kind, obj, Window(self, 0, whole), 0)
            return
        owner, key, scalar = leaf
        value = load_bytes(scalar, Window(self, 0, data), 0)
        if isinstance(key, int):
            owner[key] = value
        else:
            setattr(owner, key, value)


def _pull(kind: t.Type, obj: Any, window: Window, offset: int) -> None:
    """Set a live object from bytes."""
    size = window.memory.pointer_bytes
    if isinstance(kind, t.ArrayType):
        step = t.layout(kind.element, size).size
        for i in range(kind.length):
            if is_plain(kind.element):
                obj[i] = load_bytes(kind.element, window, offset + i * step)
            else:
                _pull(kind.element, obj[i], window, offset + i * step)
    elif isinstance(kind, t.AtomicType):
        obj.value = load_bytes(kind.element, window, offset)
    elif isinstance(kind, t.StructType) and kind.is_union:
        obj._bytes[:] = window[offset:offset + t.layout(kind, size).size]
    elif isinstance(kind, t.StructType):
        for name, at in t.layout(kind, size).offsets:
            inner = t.fields_of(kind.cls)[name]
            if is_plain(inner):
                setattr(obj, name, load_bytes(inner, window, offset + at))
            else:
                _pull(inner, getattr(obj, name), window, offset + at)


# ---- single values ------------------------------------------------------------------------------------------------------------

def window_on(memory: Any) -> Window:
    """A window on a Union's own bytes."""
    if isinstance(memory, Window):
        return memory
    from . import hosted
    return Window(hosted.memory, 0, memory)


def load_bytes(kind: t.Type, memory: Any, offset: int) -> Any:
    """Read a storage type from little-endian bytes; embedded structs and arrays come back as views of them."""
    window = window_on(memory)
    size = t.layout(kind, window.memory.pointer_bytes).size
    match kind:
        case t.StructType() if not kind.frozen:
            return _view(kind, window, offset)
        case t.StructType():
            places = t.layout(kind, window.memory.pointer_bytes).offsets
            fields = t.fields_of(kind.cls)
            return value_maker(cast(Any, kind.cls))(*(load_bytes(fields[n], window, offset + o) for n, o in places))
        case t.ArrayType():
            return MemoryArray(kind.element, window, offset, kind.length)
        case t.TupleType():
            offsets = [o for _, o in t.layout(kind, window.memory.pointer_bytes).offsets]
            return tuple(load_bytes(k, window, offset + o) for k, o in zip(kind.items, offsets))
        case t.AtomicType():
            return AtomicView(kind.element, window, offset)
        case t.SliceType():
            address = window.load(offset, size // 2)
            return window.memory.slice(kind.element, address, window.load(offset + size // 2, size // 2))
    return _scalar(kind, window.load(offset, size), size, window.memory)


def _scalar(kind: t.Type, raw: int, size: int, memory: Memory) -> Any:
    match kind:
        case t.BoolType():
            return raw != 0
        case t.IntType():
            return raw - (1 << size * 8) if kind.signed and raw >> (size * 8 - 1) else raw
        case t.EnumType():
            return next((m for m in kind.cls if m == raw), raw)
        case t.BitsType():
            return kind.cls.from_raw(raw)
        case t.RefType():
            return memory.ref(kind, raw) if raw else None
        case t.FnType():
            return memory.at(raw)
    return raw


def store_bytes(kind: t.Type, memory: Any, offset: int, value: Any) -> None:
    """Write a value of a storage type as little-endian bytes; embedded structs and arrays are copied."""
    window = window_on(memory)
    size = t.layout(kind, window.memory.pointer_bytes).size
    match kind:
        case t.StructType(is_union=True):
            window[offset:offset + size] = bytes(value._bytes[0:size])
        case t.StructType():
            for name, at in t.layout(kind, window.memory.pointer_bytes).offsets:
                store_bytes(t.fields_of(kind.cls)[name], window, offset + at, getattr(value, name))
        case t.ArrayType():
            step = size // kind.length if kind.length else 0
            for i, item in enumerate(value):
                store_bytes(kind.element, window, offset + i * step, item)
        case t.TupleType():
            for (_, at), item, part in zip(t.layout(kind, window.memory.pointer_bytes).offsets, kind.items, value):
                store_bytes(item, window, offset + at, part)
        case t.AtomicType():
            store_bytes(kind.element, window, offset, value.value)
        case t.SliceType():
            window.store(offset, size // 2, window.memory.address_of(value) if value.length else 0)
            window.store(offset + size // 2, size // 2, value.length)
        case t.RefType() | t.FnType():
            window.store(offset, size, window.memory.address_of(value))
        case _:
            window.store(offset, size, int(value) & (1 << size * 8) - 1)


# ---- views of structs -----------------------------------------------------------------------------------------------------------

_VIEWS: dict[tuple[type[Any], int], type[Any]] = {}


def _view(kind: t.StructType, window: Window, offset: int) -> Any:
    inner = Window(window.memory, window.base + offset, None if window.data is None else memoryview(window.data)[offset:])
    if kind.is_union:
        made = object.__new__(kind.cls)
        object.__setattr__(made, "_bytes", inner)
        return made
    key = kind.cls, window.memory.pointer_bytes
    if key not in _VIEWS:
        _VIEWS[key] = _view_class(kind, window.memory.pointer_bytes)
    made = object.__new__(_VIEWS[key])
    made.__dict__.update(_window=inner, _parts={})
    return made


def _view_class(kind: t.StructType, pointer_bytes: int) -> type[Any]:
    fields = t.fields_of(kind.cls)
    parts = {n: _property(n, fields[n], at) for n, at in t.layout(kind, pointer_bytes).offsets}
    made: Any = type(kind.cls.__name__, (cast(Any, kind.cls),), {**parts, "__module__": kind.cls.__module__, "__setattr__": object.__setattr__})
    for name in ("_annotations", "_defaults", "_namespace", "frozen", "packed", "align", "shared"):
        setattr(made, name, getattr(kind.cls, name))
    made._viewed = kind.cls
    made.__repr__ = lambda self: f"<{kind.cls.__name__} at {self._window.base:#x}>"
    t._FIELDS[made] = fields
    return made                                                        # type: ignore[no-any-return]


def _property(name: str, kind: t.Type, offset: int) -> property:
    def read(self: Any) -> Any:
        if is_plain(kind):
            return load_bytes(kind, self._window, offset)
        if name not in self._parts:                 # one object for one embedded struct: identity
            self._parts[name] = load_bytes(kind, self._window, offset)
        return self._parts[name]

    def write(self: Any, value: Any) -> None:
        store_bytes(kind, self._window, offset, value)
    return property(read, write)

