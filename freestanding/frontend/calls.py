"""Calls: functions, methods, conversions, constructors, primitives; a table from the live callee to its handler."""
from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, cast

from .. import ir, primitives, structs, types as t
from ..functions import Function, Operation, Printer
from ..integers import Integer, i32
from ..ir import Effect, Expr
from ..structs import Bits, IntEnum, Struct, Union
from .core import Known, Method, OBJECT, kind_as_value
from .expressions import INDEXED
from .reader import MISSING, Parameter
from .text import Text

WIDTHS = {"16": t.U16, "32": t.U32, "64": t.U64}
I32 = t.IntType(i32)


class Calls(Text):
    """Call handlers."""

    def call(self, node: ast.Call) -> Expr:
        callee = self.expr(node.func)
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                self.fail(argument, "* unpacking is not in the language", "name each argument")
        for keyword in node.keywords:
            if keyword.arg is None:
                self.fail(keyword, "** unpacking is not in the language", "name each argument")
        if isinstance(callee, Method):
            return self.method(callee, node)
        if isinstance(callee, Known) and callee.type is OBJECT:
            return self.known_call(callee.value, node)
        return self.indirect(self.runtime(callee, node.func), node)

    def known_call(self, live: Any, node: ast.Call) -> Expr:
        if isinstance(live, Function):
            return self.direct(live, [], node)
        if isinstance(live, Operation):
            return self.operation(live, node)
        if isinstance(live, Printer):
            return self.printed(live, node)
        handler = _PRIMITIVES.get(live) if _hashable(live) else None
        if handler is not None:
            return handler(self, node)
        if isinstance(live, type):
            return self.construct(live, node)
        if getattr(live, "__origin__", None) is structs.Ptr:
            return self.pointer(live, node)
        self.fail(node.func, f"{getattr(live, '__name__', live)!s:.60} is a plain Python function: it runs at import time only",
                  "mark it @fn, or call it at module level")

    # ---- functions

    def direct(self, function: Function, receiver: list[Expr], node: ast.Call) -> Expr:
        made = self.frontend.callee(function, self.site(node))
        params, _ = self.frontend.signature(function)
        args = self.arguments(function.py.__name__, params, receiver, node)
        return ir.Call(made.result, made, args, self.site(node))

    def arguments(self, name: str, params: list[Parameter], receiver: list[Expr], node: ast.Call) -> list[Expr]:
        """Bind positional, keyword and default arguments; evaluation is in the order written."""
        order: list[tuple[Parameter, Callable[[], Expr], ast.AST]] = []
        for parameter, value in zip(params, receiver):
            order.append((parameter, lambda v=value: v, node.func))    # type: ignore[misc]
        rest = params[len(receiver):]
        if len(node.args) > len(rest):
            self.fail(node.args[len(rest)], f"{name} takes {len(rest)} arguments, {len(node.args)} given")
        for parameter, argument in zip(rest, node.args):
            order.append((parameter, lambda a=argument: self.expr(a), argument))   # type: ignore[misc]
        by_name = {p.name: p for p in rest[len(node.args):]}
        for keyword in node.keywords:
            if keyword.arg not in by_name:
                self.fail(keyword, f"{name} has no further parameter {keyword.arg}")
            order.append((by_name.pop(keyword.arg), lambda a=keyword.value: self.expr(a), keyword.value))   # type: ignore[misc]
        for parameter in by_name.values():
            if parameter.default is MISSING:
                self.fail(node, f"{name} wants an argument for {parameter.name}")
            order.append((parameter, lambda p=parameter: self.lift(p.default, node, p.name), node))   # type: ignore[misc]
        parts = [lambda v=v, p=p, n=n: self.coerce(v(), p.type, n, f"argument {p.name}") for p, v, n in order]
        done = self.operands(parts, self.site(node))                   # type: ignore[arg-type]
        by_parameter = {p.name: value for (p, _, _), value in zip(order, done)}
        return [by_parameter[p.name] for p in params]

    def operation(self, operation: Operation, node: ast.Call) -> Expr:
        params, result = self.frontend.signature(operation)
        args = self.arguments(operation.__name__, params, [], node)
        return ir.CallOperation(result, operation, args, self.site(node))

    def indirect(self, callee: Expr, node: ast.Call) -> Expr:
        kind = callee.type
        if not isinstance(kind, t.FnType):
            self.fail(node.func, f"{kind} cannot be called")
        if kind.nullable:
            self.fail(node.func, "this function may be None", "test it first: if f is not None (on a local name)")
        if node.keywords:
            self.fail(node.keywords[0], "a function pointer has no parameter names", "pass by position")
        if len(node.args) != len(kind.params):
            self.fail(node, f"{len(kind.params)} arguments are wanted, {len(node.args)} given")
        parts: list[Callable[[], Expr]] = [lambda: callee]
        parts += [lambda a=a, k=k: self.typed(a, k, "an argument") for a, k in zip(node.args, kind.params)]  # type: ignore[misc]
        done = self.operands(parts, self.site(node))
        return ir.CallIndirect(kind.result, done[0], done[1:], self.site(node))

    # ---- methods

    def method(self, method: Method, node: ast.Call) -> Expr:
        receiver = method.receiver
        if isinstance(method.function, Function):
            return self.direct(method.function, [receiver], node)
        if isinstance(receiver, Known) and isinstance(receiver.value, structs.PerCpu):
            return self._percpu(receiver.value, receiver.hint, method.name, node)
        if isinstance(receiver, Known):                                # Bits.from_raw
            return self._from_raw(receiver.value, node)
        kind = receiver.type
        if isinstance(kind, t.BitsType):
            return self._replace(receiver, kind, node)
        if isinstance(kind, t.AtomicType):
            return self._atomic(receiver, kind, method.name, node)
        if isinstance(kind, t.PtrType):
            return self._pointer_method(receiver, kind, method.name, node)
        return self._slice_method(receiver, kind, method.name, node)

    def _positional(self, node: ast.Call, kinds: list[t.Type], first: list[Expr], after: Effect = Effect.PURE) -> list[Expr]:
        if node.keywords or len(node.args) != len(kinds):
            self.fail(node, f"{ast.unparse(node.func)} takes {len(kinds)} arguments, by position")
        parts: list[Callable[[], Expr]] = [lambda f=f: f for f in first]   # type: ignore[misc]
        parts += [lambda a=a, k=k: self.typed(a, k, "an argument") for a, k in zip(node.args, kinds)]  # type: ignore[misc]
        return self.operands(parts, self.site(node), after)

    def _percpu(self, live: structs.PerCpu[Any], hint: str, name: str, node: ast.Call) -> Expr:
        static = self.frontend.static(live.storage, hint)
        base = ir.StaticRef(static.type, static)
        kind = t.RefType(live.element)
        if name == "of":
            index = self.value(node.args[0]) if len(node.args) == 1 else self.fail(node, "of(cpu) takes one argument")
            index, checked = self.index_of(static.type, index, node.args[0])
            return ir.Index(kind, base, index, checked, self.site(node))
        call = ast.copy_location(ast.Call(func=node.func, args=[], keywords=[]), node)
        return ir.Index(kind, base, self.known_call(live.index, call), False, self.site(node))

    def _from_raw(self, cls: type[Bits], node: ast.Call) -> Expr:
        kind = t.BitsType(cls)
        raw = self._positional(node, [kind.base], [])[0]
        return ir.Const(kind, raw.value) if isinstance(raw, ir.Const) else ir.Convert(kind, raw, "keep", self.site(node))

    def _replace(self, base: Expr, kind: t.BitsType, node: ast.Call) -> Expr:
        if node.args:
            self.fail(node.args[0], "fields are given by name")
        values = [lambda k=k: self._bits_value(kind, k) for k in node.keywords]
        done = self.operands([lambda: base, *values], self.site(node), Effect.PANIC)
        result = done[0]
        for keyword, value in zip(node.keywords, done[1:]):
            field = kind.cls.fields[cast(str, keyword.arg)]
            if isinstance(result, ir.Const) and isinstance(value, ir.Const):
                number = int(value.value)
                if not 0 <= number <= field.mask:
                    self.fail(keyword.value, f"{number} does not fit {kind}.{field.name}")
                result = ir.Const(kind, result.value & ~(field.mask << field.lsb) | number << field.lsb)
                continue
            places = [ir.Const(t.U32, field.msb), ir.Const(t.U32, field.lsb)]
            result = self.intrinsic(kind, "bits_set", [result, value, *places], node)
        return result

    def _bits_value(self, kind: t.BitsType, keyword: ast.keyword) -> Expr:
        field = kind.cls.fields.get(keyword.arg or "")
        if field is None:
            self.fail(keyword, f"{kind} has no field {keyword.arg}", f"it has {', '.join(kind.cls.fields)}")
        return self.typed(keyword.value, t.bits_field_type(kind.cls, field), f"{kind}.{field.name}")

    def _atomic(self, place: Expr, kind: t.AtomicType, name: str, node: ast.Call) -> Expr:
        shapes: dict[str, tuple[int, t.Type]] = {
            "load": (0, kind.element), "load_acquire": (0, kind.element), "store": (1, t.VOID), "store_release": (1, t.VOID),
            "fetch_add": (1, kind.element), "fetch_or": (1, kind.element), "fetch_and": (1, kind.element),
            "exchange": (1, kind.element), "compare_swap": (2, t.TupleType((t.BOOL, kind.element)))}
        if name not in shapes:
            self.fail(node.func, f"an atomic has no {name}", f"it has {', '.join(shapes)}")
        count, result = shapes[name]
        place = self.pinned(place, self.site(node))
        return self.intrinsic(result, f"atomic_{name}", [place, *self._positional(node, [kind.element] * count, [])], node)

    def _pointer_method(self, pointer: Expr, kind: t.PtrType, name: str, node: ast.Call) -> Expr:
        self.need_memory(node)
        if name == "ref":
            self._positional(node, [], [])
            element = kind_as_value(kind.element)
            if not isinstance(element, t.RefType):
                self.fail(node, f"a reference is to a struct, and this points to {kind.element}", ".slice(1)[0]")
            return self.intrinsic(element, "ptr_ref", [pointer], node)
        if name == "slice":
            return self.intrinsic(t.SliceType(kind.element), "ptr_slice", self._positional(node, [t.USIZE], [pointer]), node)
        self.fail(node.func, f"a Ptr has no {name}", "it has .ref(), .slice(n), .address")

    def need_memory(self, node: ast.AST) -> None:
        if not self.scope.source.py.__globals__.get("MAPS_MEMORY"):
            self.fail(node, "raw memory is used only in modules that map memory", "say MAPS_MEMORY = True in this module")

    def pointer(self, live: Any, node: ast.Call) -> Expr:
        self.need_memory(node)
        kind = t.storage_type(live, self.scope.source.namespace())
        if len(node.args) != 1 or node.keywords:
            self.fail(node, "a Ptr is made from one address")
        address = self.value(node.args[0])
        if isinstance(address.type, t.LiteralType):
            address = self.coerce(address, t.USIZE, node)
        if not isinstance(address.type, t.IntType) or address.type.base != t.USIZE:
            self.fail(node.args[0], f"an address is a usize or an Address, and this is {address.type}", "usize(...)")
        return self.intrinsic(kind, "ptr_make", [address], node)

    def _slice_method(self, base: Expr, kind: t.Type, name: str, node: ast.Call) -> Expr:
        assert isinstance(kind, INDEXED)
        const = isinstance(kind, t.TableType) or (isinstance(kind, t.SliceType) and kind.const)
        view = t.SliceType(kind.element, const=True)
        whole = self.coerce(base, view if const else t.SliceType(kind.element), node)
        shape = self._slice_shape(name, kind.element, view)
        if shape is None:
            self.fail(node.func, f"{kind} has no {name}")
        result, kinds, writes = shape
        if writes and const:
            self.fail(node.func, f"{kind} is read-only", "take a Slice where it is written")
        check_last = Effect.PANIC if name.startswith("store_") else Effect.PURE     # its own check comes after all operands
        args = self._positional(node, kinds, [whole], check_last)
        return self.intrinsic(result, {"copy_from": "copy"}.get(name, name), args, node)

    @staticmethod
    def _slice_shape(name: str, element: t.Type, view: t.SliceType) -> tuple[t.Type, list[t.Type], bool] | None:
        if name == "copy_from":
            return t.VOID, [view], True
        if name == "fill":
            return t.VOID, [kind_as_value(element)], True
        if element != t.U8:
            return None
        if name in ("equals", "compare", "find"):
            return {"equals": (t.BOOL, [view], False), "compare": (I32, [view], False),
                    "find": (t.USIZE, [t.U8], False)}[name]            # type: ignore[return-value]
        verb, _, rest = name.partition("_")
        width = WIDTHS.get(rest[2:])
        if verb not in ("load", "store") or rest[:2] not in ("be", "le") or width is None:
            return None
        return (width, [t.USIZE], False) if verb == "load" else (t.VOID, [t.USIZE, width], True)

    # ---- constructors and conversions

    def construct(self, cls: type[Any], node: ast.Call) -> Expr:
        if issubclass(cls, Integer) and cls is not Integer:
            return self.convert(t.IntType(cls), node)
        if issubclass(cls, Bits):
            return self._replace(ir.Const(t.BitsType(cls), 0), t.BitsType(cls), node)
        if issubclass(cls, IntEnum):
            return self._to_enum(t.EnumType(cls), node)
        if issubclass(cls, Struct):
            return self.make_struct(cls, node)
        if issubclass(cls, Union):
            return self.new_storage(t.RefType(cls), [], node)
        if cls is bool:
            self.fail(node, "bool(x) is not in the language", "compare it: x != 0")
        self.fail(node, f"{cls.__name__} does not exist at run time")

    def one_argument(self, node: ast.Call) -> Expr:
        if len(node.args) != 1 or node.keywords:
            self.fail(node, f"{ast.unparse(node.func)} takes one argument")
        return self.value(node.args[0])

    def convert(self, kind: t.IntType, node: ast.Call) -> Expr:
        """`u32(x)`: the same value, checked when it may not fit."""
        e = self.one_argument(node)
        if isinstance(e.type, t.LiteralType):
            return self.coerce(e, kind, node.args[0])
        if not isinstance(e.type, (t.IntType, t.BoolType, t.EnumType, t.BitsType)):
            self.fail(node.args[0], f"{e.type} has no integer value")
        low, high = kind.limits(self.pointer_bits)
        if isinstance(e, ir.Const) and low <= int(e.value) <= high:
            return ir.Const(kind, int(e.value))
        base = e.type if isinstance(e.type, t.IntType) else getattr(e.type, "base", None)
        least, most = base.limits(self.pointer_bits) if base is not None else (0, 1)
        return ir.Convert(kind, e, "keep" if low <= least and most <= high else "check", self.site(node))

    def _to_enum(self, kind: t.EnumType, node: ast.Call) -> Expr:
        e = self.one_argument(node)
        if isinstance(e.type, t.LiteralType):
            try:
                return ir.Const(kind, kind.cls(self.literal(e, node).value))
            except ValueError:
                self.fail(node.args[0], f"{self.literal(e, node).value} is no member of {kind}")
        if not isinstance(e.type, t.IntType):
            self.fail(node.args[0], f"{kind} is made from an integer, and this is {e.type}")
        return ir.Convert(kind, e, "enum", self.site(node))

    def make_struct(self, cls: type[Struct], node: ast.Call) -> Expr:
        try:
            fields = t.fields_of(cls)
        except t.BadType as error:
            self.fail(node, str(error))
        params = [Parameter(n, kind_as_value(k), cls._defaults.get(n, MISSING)) for n, k in fields.items()]
        arrays = {p.name for p in params if isinstance(p.type, t.ArrayType)}
        if cls.frozen and arrays:
            self.fail(node, f"{cls.__name__} is frozen and holds an array: it is made at import time only")
        if cls.frozen:
            values = self.arguments(cls.__name__, params, [], node)
            return ir.MakeStruct(t.StructType(cls), list(zip(fields, values)))
        embedded = {p.name for p in params if isinstance(p.default, (Struct, Union, structs.Array, structs.Atomic))}
        for p in params:
            if p.name in embedded and _not_zero(p.default):
                self.fail(node, f"{cls.__name__}.{p.name} has a default that is not zero: it cannot be made at run time",
                          "make it at module level, or give the field")
        named = {k.arg for k in node.keywords} | {p.name for p in params[:len(node.args)]}
        skipped = {n for n in embedded | arrays if n not in named}
        wanted = [p for p in params if p.name not in skipped]
        values = self.arguments(cls.__name__, wanted, [], node)
        return self.new_storage(t.RefType(cls), list(zip([p.name for p in wanted], values)), node, zero=bool(skipped))

    def new_storage(self, kind: t.Type, fields: list[tuple[str, Expr]], node: ast.AST, zero: bool = True) -> Expr:
        """A struct or array of the function's own, on its stack."""
        name, self.wanted_slot = self.wanted_slot, ""
        var = self.new_var(name or "made", kind, storage=True)
        self.emit(ir.New(self.site(node), var, zero, fields))
        self.flow.assigned.add(var)
        return ir.Local(kind, var)

    wanted_slot = ""            # the name that an assignment gives to what it makes

    # ---- primitives

    def _zeroed(self, node: ast.Call) -> Expr:
        kind = self._type_argument(node)
        try:
            t.zero_value(kind)
        except (TypeError, ValueError) as error:
            self.fail(node, str(error))
        if isinstance(kind, t.StructType) and not kind.frozen or isinstance(kind, t.ArrayType):
            return self.new_storage(kind_as_value(kind), [], node)
        return self.coerce(self.lift(t.zero_value(kind), node), kind, node)

    def _array(self, node: ast.Call) -> Expr:
        if len(node.args) != 2 or node.keywords:
            self.fail(node, "array(T, N) takes a type and a length")
        element = self._storage_type(node.args[0])
        length = self.expr(node.args[1])
        if not isinstance(length, ir.Const) or not isinstance(length.type, (t.LiteralType, t.IntType)):
            self.fail(node.args[1], "the length of a local array is a constant")
        return self.new_storage(t.ArrayType(element, length.value), [], node)

    def _type_argument(self, node: ast.Call) -> t.Type:
        if len(node.args) != 1 or node.keywords:
            self.fail(node, "one type is wanted")
        return self._storage_type(node.args[0])

    def _storage_type(self, node: ast.expr) -> t.Type:
        known = self.expr(node)
        if not isinstance(known, Known):
            self.fail(node, "a type is wanted here")
        try:
            return t.storage_type(known.value, self.scope.source.namespace())
        except t.BadType as error:
            self.fail(node, str(error))

    def _truncate(self, node: ast.Call) -> Expr:
        if len(node.args) != 2 or node.keywords:
            self.fail(node, "truncate(T, x) takes a type and a value")
        kind = self._storage_type(node.args[0])
        if not isinstance(kind, t.IntType):
            self.fail(node.args[0], f"truncate gives an integer, not {kind}")
        e = self.value(node.args[1])
        bits = kind.bits(self.pointer_bits)
        if isinstance(e, ir.Const) and isinstance(e.type, (t.LiteralType, t.IntType)):
            low = kind.limits(self.pointer_bits)[0]
            return ir.Const(kind, (e.value - low) % (1 << bits) + low)
        if not isinstance(e.type, t.IntType):
            self.fail(node.args[1], f"truncate takes an integer, and this is {e.type}")
        return ir.Convert(kind, e, "truncate", self.site(node))

    def _arithmetic(self, op: str, mode: str, node: ast.Call) -> Expr:
        left, right = self._pair(node)
        e = self.operate(op, left, right, node, mode)
        if isinstance(e.type, t.LiteralType):
            self.fail(node, "one operand says the width", "u32(...)")
        return e

    def _pair(self, node: ast.Call) -> tuple[Expr, Expr]:
        if len(node.args) != 2 or node.keywords:
            self.fail(node, f"{ast.unparse(node.func)} takes two arguments")
        left, right = self.operands([lambda: self.value(node.args[0]), lambda: self.value(node.args[1])], self.site(node))
        return left, right

    def _checked(self, op: str, node: ast.Call) -> Expr:
        left, right = self.unify(*self._pair(node), node, "the operands")
        if not isinstance(left.type, t.IntType):
            self.fail(node, f"checked arithmetic is on integers, and these are {left.type}")
        return self.intrinsic(t.TupleType((t.BOOL, left.type)), f"checked_{op}", [left, right], node)

    def _negated(self, node: ast.Call) -> Expr:
        e = self.one_argument(node)
        if not isinstance(e.type, t.IntType):
            self.fail(node, f"wrapping_neg works on typed integers, and this is {e.type}")
        return ir.Binary(e.type, "-", ir.Const(e.type, 0), e, "wrapping", self.site(node))

    def _extreme(self, name: str, node: ast.Call) -> Expr:
        left, right = self._pair(node)
        if isinstance(left.type, t.LiteralType) and isinstance(right.type, t.LiteralType):
            pick = min if name == "min" else max
            return ir.Const(t.LITERAL, pick(self.literal(left, node).value, self.literal(right, node).value))
        left, right = self.unify(left, right, node, "the operands")
        if not isinstance(left.type, t.IntType):
            self.fail(node, f"{name} is of integers, and these are {left.type}")
        return self.intrinsic(left.type, name, [left, right], node)

    def _bit_operation(self, name: str, node: ast.Call) -> Expr:
        e = self.one_argument(node)
        if not isinstance(e.type, t.IntType) or (name != "popcount" and e.type.signed):
            self.fail(node, f"{name} works on typed unsigned integers, and this is {e.type}")
        return self.intrinsic(e.type if name == "byteswap" else t.U32, name, [e], node)

    def _rotate(self, name: str, node: ast.Call) -> Expr:
        e, amount = self._pair(node)
        if not isinstance(e.type, t.IntType) or e.type.signed:
            self.fail(node, f"{name} works on typed unsigned integers, and this is {e.type}")
        if isinstance(amount.type, t.LiteralType):
            amount = self.coerce(amount, t.U32, node)
        if not isinstance(amount.type, t.IntType) or amount.type.signed:
            self.fail(node.args[1], f"a rotation's amount is unsigned, and this is {amount.type}")
        return self.intrinsic(e.type, name, [e, amount], node)

    def _align(self, name: str, node: ast.Call) -> Expr:
        e, step = self._pair(node)
        if not isinstance(e.type, t.IntType) or e.type.signed:
            self.fail(node, f"{name} works on typed unsigned integers and addresses, and this is {e.type}")
        base = e.type.base if e.type.is_address else e.type
        step = self.coerce(step, base, node.args[1], "the alignment")
        if isinstance(step, ir.Const) and (step.value <= 0 or step.value & (step.value - 1)):
            self.fail(node.args[1], f"{step.value} is no power of two")
        site = self.site(node)
        low: Expr = ir.Binary(base, "-", step, ir.Const(base, 1), "wrapping", site) if not isinstance(step, ir.Const) \
            else ir.Const(base, step.value - 1)
        low = self.atom(low, site, "mask")
        number = e if base == e.type else ir.Convert(base, e, "keep", site)
        if name == "align_up":
            number = self.operate("+", number, low, node)
        if name == "is_aligned":
            return ir.Compare(t.BOOL, "==", ir.Binary(base, "&", number, low, "checked", site), ir.Const(base, 0))
        mask: Expr = ir.Unary(base, "~", low, site)
        if isinstance(low, ir.Const):
            mask = ir.Const(base, ~low.value & base.limits(self.pointer_bits)[1])
        whole = ir.Binary(base, "&", number, mask, "checked", site)
        return whole if base == e.type else ir.Convert(e.type, whole, "keep", site)

    def _length(self, node: ast.Call) -> Expr:
        if len(node.args) != 1:
            self.fail(node, "len takes one argument")
        e = self.expr(node.args[0])
        if isinstance(e, Known) and isinstance(e.value, (tuple, list, bytes, str)):
            return ir.Const(t.USIZE, len(e.value))
        e = self.runtime(e, node.args[0])
        if isinstance(e.type, (t.ArrayType, t.TableType)):
            return ir.Const(t.USIZE, e.type.length)
        if not isinstance(e.type, t.SliceType):
            self.fail(node.args[0], f"{e.type} has no length")
        return ir.Length(t.USIZE, e)

    def _measure(self, node: ast.Call) -> Expr:
        """size_of(T), offset_of(T, "field"): constants of the target."""
        live: Any = cast(Known, self.expr(node.func)).value
        values = [cast(Any, self.expr(a)).value for a in node.args]
        try:
            return ir.Const(t.USIZE, live(*values, pointer_bytes=self.pointer_bits // 8))
        except (AttributeError, TypeError, t.BadType) as error:
            self.fail(node, str(error))

    def _getattr(self, node: ast.Call) -> Expr:
        name = self.expr(node.args[1]) if len(node.args) == 2 else None
        if not isinstance(name, Known) or not isinstance(name.value, str):
            self.fail(node, "getattr(object, NAME) takes a constant name")
        return self.member(self.expr(node.args[0]), name.value, node)

    def _read_once(self, node: ast.Call) -> Expr:
        place = self._shared_place(node, 1)
        return self.intrinsic(place.type, "read_once", [place], node)

    def _write_once(self, node: ast.Call) -> Expr:
        place = self._shared_place(node, 2)
        place = self.pinned(place, self.site(node))
        value = self.typed(node.args[1], place.type, "the value")
        return self.intrinsic(t.VOID, "write_once", [place, value], node)

    def _shared_place(self, node: ast.Call, count: int) -> Expr:
        if len(node.args) != count:
            self.fail(node, f"{ast.unparse(node.func)} takes {count} arguments")
        self.shared_access = True
        try:
            place = self.value(node.args[0])
        finally:
            self.shared_access = False
        if not isinstance(place, (ir.Field, ir.Index)) or not isinstance(place.type, (t.IntType, t.EnumType, t.BitsType, t.BoolType)):
            self.fail(node.args[0], "a field or element of one integer is wanted here")
        return place

    def _address_of(self, node: ast.Call) -> Expr:
        self.need_memory(node)
        e = self.one_argument(node)
        if not isinstance(e.type, (t.RefType, t.SliceType, t.ArrayType, t.TableType, t.FnType)):
            self.fail(node.args[0], f"{e.type} has no address", "take that of its struct, plus offset_of(...)")
        return self.intrinsic(t.USIZE, "address_of", [e], node)

    def _panic(self, node: ast.Call) -> Expr:
        message = self.expr(node.args[0]) if node.args else Known(t.TEXT, "")
        if not isinstance(message, Known) or not isinstance(message.value, str):
            self.fail(node, "a panic's message is a constant text")
        self.emit(ir.PanicStmt(self.site(node), "panic", message.value))
        self.flow.reachable = False
        return ir.Const(t.VOID, None)

    def _range(self, node: ast.Call) -> Expr:
        self.fail(node, f"{ast.unparse(node.func)} stands only after `in` of a for")


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _not_zero(default: Any) -> bool:
    """Whether an embedded default has contents that zeroing would not give."""
    if isinstance(default, structs.Atomic):
        return default.value != 0
    if isinstance(default, list):
        return any(_not_zero(x) for x in default)
    if isinstance(default, Union):
        return any(default._bytes)
    if isinstance(default, Struct):
        return any(_not_zero(getattr(default, n)) for n in t.fields_of(type(default)))
    return default is not None and bool(default)


Handler = Callable[[Any, ast.Call], Expr]


def _bound(method: Callable[..., Expr], *first: str) -> Handler:
    """A handler with its leading arguments fixed."""
    return lambda lowering, node: method(lowering, *first, node)


_PRIMITIVES: dict[Any, Handler] = {
    primitives.truncate: Calls._truncate, primitives.wrapping_neg: Calls._negated, primitives.read_once: Calls._read_once,
    primitives.write_once: Calls._write_once, primitives.address_of: Calls._address_of, primitives.panic: Calls._panic,
    structs.zeroed: Calls._zeroed, structs.array: Calls._array, len: Calls._length, getattr: Calls._getattr,
    t.size_of: Calls._measure, t.offset_of: Calls._measure, range: Calls._range, enumerate: Calls._range, reversed: Calls._range,
    min: _bound(Calls._extreme, "min"), max: _bound(Calls._extreme, "max"),
    primitives.saturating_add: _bound(Calls._arithmetic, "+", "saturating"),
    primitives.saturating_sub: _bound(Calls._arithmetic, "-", "saturating"),
    primitives.wrapping_add: _bound(Calls._arithmetic, "+", "wrapping"),
    primitives.wrapping_sub: _bound(Calls._arithmetic, "-", "wrapping"),
    primitives.wrapping_mul: _bound(Calls._arithmetic, "*", "wrapping"),
    **{getattr(primitives, f"checked_{n}"): _bound(Calls._checked, n) for n in ("add", "sub", "mul")},
    **{getattr(primitives, n): _bound(Calls._bit_operation, n) for n in ("clz", "ctz", "popcount", "byteswap")},
    **{getattr(primitives, n): _bound(Calls._rotate, n) for n in ("rotate_left", "rotate_right")},
    **{getattr(primitives, n): _bound(Calls._align, n) for n in ("align_down", "align_up", "is_aligned")},
}
