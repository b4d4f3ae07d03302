"""Values between CPython and rendered code: checked on the way in, given their classes on the way out."""
from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from .. import types as t
from ..functions import Function
from ..integers import Integer
from ..structs import Array, Ptr, Slice, Table, View

Converter = Callable[[Any], Any]


class NotA(TypeError):
    """A value of the wrong type, before its place is known."""


@cache
def lowerer(kind: t.Type, pointer_bits: int) -> Converter:
    """A function that checks a CPython value and gives what rendered code works on. Raises TypeError, OverflowError."""
    match kind:
        case t.VoidType():
            return _nothing
        case t.BoolType():
            return _instance(kind, bool)
        case t.IntType():
            return _integer(kind, pointer_bits)
        case t.EnumType():
            return _instance(kind, kind.cls)
        case t.BitsType():
            return _instance(kind, kind.cls, int)
        case t.StructType():
            return _instance(kind, kind.cls)
        case t.RefType():
            return _nullable(_instance(kind, kind.cls)) if kind.nullable else _instance(kind, kind.cls)
        case t.SliceType():
            return _run(kind, pointer_bits)
        case t.TupleType():
            return _tuple(kind, pointer_bits)
        case t.FnType():
            return _nullable(_function(kind, pointer_bits)) if kind.nullable else _function(kind, pointer_bits)
        case t.PtrType():
            return _pointer
    raise NotA(f"{kind} does not pass between CPython and a function")


def _refuse(value: Any, kind: t.Type) -> NotA:
    return NotA(f"{kind} is wanted, and this is {value!r:.80}")


def _nothing(value: Any) -> None:
    if value is not None:
        raise _refuse(value, t.VOID)


def _instance(kind: t.Type, cls: type[Any], then: Converter | None = None) -> Converter:
    def convert(value: Any) -> Any:
        if not isinstance(value, cls):
            raise _refuse(value, kind)
        return value if then is None else then(value)
    return convert


def _nullable(inner: Converter) -> Converter:
    return lambda value: None if value is None else inner(value)


def _integer(kind: t.IntType, pointer_bits: int) -> Converter:
    cls = kind.cls
    low, high = kind.limits(pointer_bits)

    def convert(value: Any) -> int:
        if type(value) is not int:
            if not isinstance(value, int) or isinstance(value, bool) or type(value) is not cls:
                raise _refuse(value, kind)
            value = int(value)
        if not low <= value <= high:
            raise OverflowError(f"{value:#x} does not fit {kind}")
        return value                                                   # type: ignore[no-any-return]
    return convert


def _run(kind: t.SliceType, pointer_bits: int) -> Converter:
    made = View if kind.const else Slice

    def convert(value: Any) -> Any:
        if isinstance(value, View):
            if not kind.const and not isinstance(value, Slice):
                raise _refuse(value, kind)
            return value
        if isinstance(value, (Array, bytearray)) or (kind.const and isinstance(value, (bytes, Table))):
            return made(value, 0, len(value))
        if isinstance(value, list):
            check = lowerer(kind.element, pointer_bits)
            for item in value:
                check(item)
            return made(value, 0, len(value))
        raise _refuse(value, kind)
    return convert


def _tuple(kind: t.TupleType, pointer_bits: int) -> Converter:
    parts = [lowerer(i, pointer_bits) for i in kind.items]

    def convert(value: Any) -> Any:
        if not isinstance(value, tuple) or len(value) != len(parts):
            raise _refuse(value, kind)
        return tuple(part(v) for part, v in zip(parts, value))
    return convert


class StandIn(Function):
    """A plain Python function in the place of one of the language, for tests."""

    def __init__(self, py: Callable[..., Any], kind: t.FnType, pointer_bits: int) -> None:
        super().__init__(lambda *args: py(*args), external=True)
        self.model = model(py, kind.params, kind.result, pointer_bits)


def _function(kind: t.FnType, pointer_bits: int) -> Converter:
    def convert(value: Any) -> Any:
        if isinstance(value, Function):
            return value
        if callable(value):
            return StandIn(value, kind, pointer_bits)
        raise _refuse(value, kind)
    return convert


def _pointer(value: Any) -> int:
    if isinstance(value, Ptr):
        return value.address
    if type(value) is not int:
        raise NotA(f"a pointer is wanted, and this is {value!r:.80}")
    return value


def _pointer_to(element: t.Type, address: int) -> Ptr[Any]:
    made: Ptr[Any] = Ptr(address)
    made.element = element
    return made


@cache
def raiser(kind: t.Type) -> Converter | None:
    """A function that gives a result its class; None where it has it already."""
    match kind:
        case t.IntType():
            return partial(int.__new__, kind.cls)   # in range already
        case t.BitsType():
            return partial(int.__new__, kind.cls)
        case t.PtrType():
            return partial(_pointer_to, kind.element)
        case t.TupleType():
            parts = [raiser(i) for i in kind.items]
            return lambda value: tuple(v if part is None else part(v) for part, v in zip(parts, value))
    return None


def model(py: Callable[..., Any], params: tuple[t.Type, ...], result: t.Type, pointer_bits: int) -> Callable[..., Any]:
    """A plain Python body as rendered code calls it: typed arguments in, a checked result out."""
    raisers = [raiser(p) for p in params]
    lower = lowerer(result, pointer_bits)

    def call(*args: Any) -> Any:
        value = py(*(a if up is None else up(a) for up, a in zip(raisers, args)))
        try:
            if isinstance(value, Integer) and isinstance(result, t.IntType):
                value = int(value)
            return lower(value)
        except (TypeError, OverflowError) as error:
            raise type(error)(f"the model of {getattr(py, '__qualname__', py)} gives a bad result: {error}") from None
    return call
