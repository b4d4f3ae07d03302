"""Expressions of the IR as Python syntax trees: checks stand inline, so that an addition costs nanoseconds.

The pattern of a check is `(@t if (@t := a + b) <= 0xffffffff else @panic(...))`: names with `@` can clash with nothing in
a program. `@t` may be shared by nested checks, because it is read right after the condition that sets it.
"""
from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from .. import ir, types as t
from ..errors import Site
from .live import value_maker

if TYPE_CHECKING:
    from . import Renderer

BINARY: dict[str, type[ast.operator]] = {
    "+": ast.Add, "-": ast.Sub, "*": ast.Mult, "//": ast.FloorDiv, "%": ast.Mod, "&": ast.BitAnd, "|": ast.BitOr,
    "^": ast.BitXor, "<<": ast.LShift, ">>": ast.RShift}
COMPARE: dict[str, type[ast.cmpop]] = {
    "==": ast.Eq, "!=": ast.NotEq, "<": ast.Lt, "<=": ast.LtE, ">": ast.Gt, ">=": ast.GtE, "is": ast.Is, "is not": ast.IsNot}


def const(value: Any) -> ast.expr:
    return ast.Constant(value)


def name(text: str) -> ast.expr:
    return ast.Name(text, ast.Load())


def call(function: ast.expr | str, *args: ast.expr) -> ast.Call:
    return ast.Call(name(function) if isinstance(function, str) else function, list(args), [])


def attribute(value: ast.expr, text: str) -> ast.expr:
    return ast.Attribute(value, text, ast.Load())


def operate(left: ast.expr, op: str, right: ast.expr) -> ast.expr:
    return ast.BinOp(left, BINARY[op](), right)


def compared(left: ast.expr, *rest: str | ast.expr) -> ast.expr:
    """`compared(a, "<", b, "<", c)`."""
    return ast.Compare(left, [COMPARE[cast(str, op)]() for op in rest[::2]], [cast(ast.expr, e) for e in rest[1::2]])


def choose(condition: ast.expr, then: ast.expr, otherwise: ast.expr) -> ast.expr:
    return ast.IfExp(condition, then, otherwise)


def bind(text: str, value: ast.expr) -> ast.expr:
    return ast.NamedExpr(ast.Name(text, ast.Store()), value)


def is_atom(e: ast.expr) -> bool:
    return isinstance(e, (ast.Name, ast.Constant))


def limits_of(kind: t.Type, pointer_bits: int) -> tuple[int, int]:
    """The least and the greatest integer that a value of the type can be."""
    match kind:
        case t.IntType():
            return kind.limits(pointer_bits)
        case t.BitsType():
            return kind.base.limits(pointer_bits)
        case t.EnumType():
            return min(kind.cls), max(kind.cls)
    return 0, 1


class Expressions:
    """Expression handlers of one function; `expr` is the entry."""

    def __init__(self, renderer: Renderer, names: dict[str, Any], file: str) -> None:
        self.renderer, self.names, self.file = renderer, names, file
        self.pointer_bits, self.checks = renderer.pointer_bits, renderer.checks
        self.temporaries = 0

    def expr(self, e: ir.Expr) -> ast.expr:
        return _HANDLERS[type(e)](self, e)

    # ---- help for handlers

    def fresh(self) -> str:
        self.temporaries += 1
        return f"@t{self.temporaries}"

    def bound(self, hint: str, value: Any) -> ast.expr:
        """A live object by a name of its own in the function's globals."""
        text = self.renderer.name_of(hint, value)
        self.names[text] = value
        return name(text)

    def panic(self, kind: str, site: Site, message: str = "") -> ast.expr:
        made = call("@panic", const(kind), const(message), const(site.file), const(site.line))
        if site.file == self.file:
            for node in ast.walk(made):
                node.lineno = node.end_lineno = site.line             # type: ignore[attr-defined]
                node.col_offset = node.end_col_offset = 0             # type: ignore[attr-defined]
        return made

    def place(self, site: Site) -> tuple[ast.expr, ast.expr]:
        return const(site.file), const(site.line)

    def limits(self, kind: t.Type) -> tuple[int, int]:
        return limits_of(kind, self.pointer_bits)

    def bits(self, kind: t.Type) -> int:
        return kind.bits(self.pointer_bits) if isinstance(kind, t.IntType) else self.bits(cast(t.BitsType, kind).base)

    def wrapped(self, value: ast.expr, kind: t.Type) -> ast.expr:
        """The low bits of any integer as that type."""
        low, high = self.limits(kind)
        if low == 0:
            return operate(value, "&", const(high))
        return call("@wrap", value, const(low), const(high - low))

    def within(self, value: ast.expr, low: int | None, high: int | None, otherwise: ast.expr) -> ast.expr:
        """The value if it lies between the limits (None: no need to look)."""
        if low is None and high is None:
            return value
        held = bind("@t", value)
        if low is None:
            test = compared(held, "<=", const(high))
        elif high is None:
            test = compared(held, ">=", const(low))
        else:
            test = compared(const(low), "<=", held, "<=", const(high))
        return choose(test, name("@t"), otherwise)

    # ---- values

    def const(self, e: ir.Const) -> ast.expr:
        if isinstance(e.type, t.EnumType):
            member = e.value if isinstance(e.value, e.type.cls) else e.type.cls(e.value)
            return self.bound(f"{e.type.name}.{member.name}", member)
        if isinstance(e.type, t.BoolType) or e.value is None:
            return const(e.value)
        return const(int(e.value))

    def local(self, e: ir.Local) -> ast.expr:
        return name(e.var.name)

    def static(self, e: ir.StaticRef) -> ast.expr:
        return self.bound(e.static.name, e.static.live)

    def function_value(self, e: ir.FnValue) -> ast.expr:
        return self.bound(e.function.name, e.function.function)

    def bytes_const(self, e: ir.BytesConst) -> ast.expr:
        return self.bound("text", self.renderer.text(e.value))

    def symbol(self, e: ir.SymbolAddress) -> ast.expr:
        return const(self.renderer.memory.symbol(e.symbol))

    # ---- operators

    def unary(self, e: ir.Unary) -> ast.expr:
        inner = self.expr(e.operand)
        if e.op == "not":
            return ast.UnaryOp(ast.Not(), inner)
        low, high = self.limits(e.type)
        if e.op == "~":
            return operate(inner, "^", const(high)) if low == 0 else ast.UnaryOp(ast.Invert(), inner)
        if "overflow" not in self.checks:
            return self.wrapped(ast.UnaryOp(ast.USub(), inner), e.type)
        return self.within(ast.UnaryOp(ast.USub(), inner), None, high, self.panic("overflow", e.site))

    def binary(self, e: ir.Binary) -> ast.expr:
        if e.op in ("<<", ">>"):
            return self.shift(e)
        if e.op in ("//", "%"):
            return self.division(e)
        exact = operate(self.expr(e.left), e.op, self.expr(e.right))
        if e.op in "&|^":
            return exact
        if e.mode == "checked" and "overflow" in self.checks:
            return self.checked(exact, e)
        if e.mode == "saturating":
            low, high = self.limits(e.type)
            return call("@saturate", exact, const(low), const(high))
        return self.wrapped(exact, e.type)

    def checked(self, exact: ast.expr, e: ir.Binary) -> ast.expr:
        low, high = self.limits(e.type)
        if low < 0:
            return self.within(exact, low, high, self.panic("overflow", e.site))
        if e.op == "-":
            return self.within(exact, 0, None, self.panic("overflow", e.site))
        return self.within(exact, None, high, self.panic("overflow", e.site))

    def atom_in(self, e: ast.expr) -> tuple[ast.expr, ast.expr]:
        """An expression where it is first evaluated, and as it is named afterwards."""
        if is_atom(e):
            return e, e
        text = self.fresh()
        return bind(text, e), name(text)

    def shift(self, e: ir.Binary) -> ast.expr:
        width = self.bits(e.type)
        if isinstance(e.right, ir.Const) and e.right.value < width:
            return self._shifted(self.expr(e.left), e, const(e.right.value))
        if "shift" not in self.checks:
            return self._shifted(self.expr(e.left), e, operate(self.expr(e.right), "&", const(width - 1)))
        first, amount = self.atom_in(self.expr(e.right))
        test, left = self.after_left(e.left, compared(first, "<", const(width)))
        return choose(test, self._shifted(left, e, amount), self.panic("shift", e.site))

    def _shifted(self, left: ast.expr, e: ir.Binary, amount: ast.expr) -> ast.expr:
        made = operate(left, e.op, amount)
        return self.wrapped(made, e.type) if e.op == "<<" else made

    def division(self, e: ir.Binary) -> ast.expr:
        if isinstance(e.right, ir.Const) and e.right.value:
            return operate(self.expr(e.left), e.op, const(e.right.value))
        first, divisor = self.atom_in(self.expr(e.right))
        test, left = self.after_left(e.left, compared(first, "!=", const(0)))
        return choose(test, operate(left, e.op, divisor), self.panic("division", e.site))

    def after_left(self, left: ir.Expr, test: ast.expr) -> tuple[ast.expr, ast.expr]:
        """A check of the right operand that comes after the left one where that may panic too; and the left one."""
        made = self.expr(left)
        if not ir.effects(left) & ir.Effect.PANIC:
            return test, made
        text = self.fresh()
        return ast.BoolOp(ast.And(), [compared(bind(text, made), "is not", const(None)), test]), name(text)

    def compare(self, e: ir.Compare) -> ast.expr:
        return compared(self.expr(e.left), e.op, self.expr(e.right))

    def logical(self, e: ir.Logical) -> ast.expr:
        made = ast.And() if e.op == "and" else ast.Or()
        return ast.BoolOp(made, [self.expr(e.left), self.expr(e.right)])

    def select(self, e: ir.Select) -> ast.expr:
        return choose(self.expr(e.condition), self.expr(e.then), self.expr(e.otherwise))

    # ---- conversions

    def convert(self, e: ir.Convert) -> ast.expr:
        inner = self.expr(e.operand)
        source = e.operand.type
        if isinstance(source, (t.EnumType, t.BoolType)):
            inner = ast.UnaryOp(ast.UAdd(), inner)                     # a plain int
        if e.mode == "enum":
            return self.to_enum(inner, cast(t.EnumType, e.type), e.site)
        if isinstance(e.type, t.BoolType) and isinstance(source, (t.IntType, t.BitsType)):
            return compared(inner, "!=", const(0))
        if e.mode == "truncate":
            return self.wrapped(inner, e.type)
        if e.mode == "keep":
            return inner
        if "narrowing" not in self.checks:
            return self.wrapped(inner, e.type)
        least, most = self.limits(source)
        low, high = self.limits(e.type)
        return self.within(inner, low if least < low else None, high if most > high else None, self.panic("narrowing", e.site))

    def to_enum(self, number: ast.expr, kind: t.EnumType, site: Site) -> ast.expr:
        members = self.bound(f"{kind.name}.members", self.renderer.members(kind.cls))
        if "enum" not in self.checks:
            first, again = self.atom_in(number)
            return call(members, first, again)
        return choose(compared(bind("@t", call(members, number)), "is not", const(None)), name("@t"), self.panic("enum", site))

    # ---- places

    def field(self, e: ir.Field) -> ast.expr:
        return attribute(self.expr(e.object), e.name)

    def index(self, e: ir.Index) -> ast.expr:
        return self.element(e.base, e.index, e.checked, e.site, ast.Load())

    def element(self, base: ir.Expr, index: ir.Expr, checked: bool, site: Site, context: ast.expr_context) -> ast.expr:
        """`base[index]`, to read or to write."""
        checked = checked and "bounds" in self.checks
        at = self.expr(index)
        if isinstance(base.type, t.SliceType):
            first, view = self.atom_in(self.expr(base))
            if checked:
                at = self._inside(at, attribute(view, "length"), site)
            return ast.Subscript(attribute(first, "base"), operate(attribute(view, "start"), "+", at), context)
        length = cast(t.ArrayType, base.type).length
        if checked and not (isinstance(index, ir.Const) and index.value < length):
            at = self._inside(at, const(length), site)
        return ast.Subscript(self.expr(base), at, context)

    def _inside(self, at: ast.expr, length: ast.expr, site: Site) -> ast.expr:
        if is_atom(at):
            return choose(compared(at, "<", length), at, self.panic("bounds", site))
        return choose(compared(bind("@t", at), "<", length), name("@t"), self.panic("bounds", site))

    def length(self, e: ir.Length) -> ast.expr:
        return attribute(self.expr(e.base), "length")

    def slicing(self, e: ir.Slicing) -> ast.expr:
        made = name("@View" if cast(t.SliceType, e.type).const else "@Slice")
        low = self.expr(e.low) if e.low is not None else const(0)
        high = self.expr(e.high) if e.high is not None else const(None)
        if isinstance(e.base.type, t.SliceType):
            return call("@slice_slice", made, self.expr(e.base), low, high, *self.place(e.site))
        length = const(cast(t.ArrayType, e.base.type).length)
        return call("@slice_array", made, self.expr(e.base), length, low, high, *self.place(e.site))

    def to_slice(self, e: ir.ToSlice) -> ast.expr:
        if isinstance(e.base.type, t.SliceType):
            return self.expr(e.base)
        made = "@View" if cast(t.SliceType, e.type).const else "@Slice"
        return call(made, self.expr(e.base), const(0), const(cast(t.ArrayType, e.base.type).length))

    # ---- calls

    def call(self, e: ir.Call) -> ast.expr:
        return call(name(self.renderer.callee(e.function, self.names)), *map(self.expr, e.args))

    def call_indirect(self, e: ir.CallIndirect) -> ast.expr:
        return call(attribute(self.expr(e.callee), self.renderer.attribute), *map(self.expr, e.args))

    def call_operation(self, e: ir.CallOperation) -> ast.expr:
        model = self.renderer.model(e.operation, tuple(a.type for a in e.args), e.type)
        return call(self.bound(e.operation.__name__, model), *map(self.expr, e.args))

    def intrinsic(self, e: ir.Intrinsic) -> ast.expr:
        from .intrinsics import render
        return render(self, e)

    # ---- structs and tuples

    def stored(self, e: ir.Expr, kind: t.Type) -> ast.expr:
        """A value as it lies in a field or element: Bits keep their class there, for who looks from CPython."""
        made = self.expr(e)
        if isinstance(kind, t.BitsType):
            return call(self.bound(f"{kind.name}.make", self.renderer.bits_maker(kind.cls)), made)
        return made

    def make_struct(self, e: ir.MakeStruct) -> ast.expr:
        cls: Any = cast(t.StructType, e.type).cls
        kinds = t.fields_of(cls)
        return call(self.bound(f"{cls.__name__}.make", value_maker(cls)), *(self.stored(v, kinds[n]) for n, v in e.fields))

    def make_tuple(self, e: ir.MakeTuple) -> ast.expr:
        return ast.Tuple([self.expr(i) for i in e.items], ast.Load())

    def tuple_item(self, e: ir.TupleItem) -> ast.expr:
        return ast.Subscript(self.expr(e.tuple), const(e.index), ast.Load())


_HANDLERS: dict[type[ir.Expr], Callable[[Any, Any], ast.expr]] = {
    ir.Const: Expressions.const, ir.Local: Expressions.local, ir.StaticRef: Expressions.static,
    ir.FnValue: Expressions.function_value, ir.BytesConst: Expressions.bytes_const, ir.SymbolAddress: Expressions.symbol,
    ir.Unary: Expressions.unary, ir.Binary: Expressions.binary, ir.Compare: Expressions.compare, ir.Logical: Expressions.logical,
    ir.Select: Expressions.select, ir.Convert: Expressions.convert, ir.Field: Expressions.field, ir.Index: Expressions.index,
    ir.Length: Expressions.length, ir.Slicing: Expressions.slicing, ir.ToSlice: Expressions.to_slice, ir.Call: Expressions.call,
    ir.CallIndirect: Expressions.call_indirect, ir.CallOperation: Expressions.call_operation, ir.Intrinsic: Expressions.intrinsic,
    ir.MakeStruct: Expressions.make_struct, ir.MakeTuple: Expressions.make_tuple, ir.TupleItem: Expressions.tuple_item}
