"""Typing of expressions: a table from syntax node to handler; names, operators, comparisons, fields, elements."""
from __future__ import annotations

import ast
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, cast

from .. import ir, types as t
from ..functions import Function
from ..ir import Expr
from ..structs import Array, Bits, PerCpu, Struct, Table, Union
from .core import Core, Known, Method, OBJECT, kind_as_value

OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Mod: "%", ast.BitAnd: "&", ast.BitOr: "|",
    ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>"}
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Is: "is", ast.IsNot: "is not"}
REFUSED: dict[type[ast.expr], tuple[str, str]] = {
    ast.Lambda: ("lambda is not in the language", "write a nested @fn at import time"),
    ast.ListComp: ("comprehensions run at import time only", "compute it at module level, or write a loop"),
    ast.SetComp: ("comprehensions run at import time only", "compute it at module level, or write a loop"),
    ast.DictComp: ("comprehensions run at import time only", "compute it at module level, or write a loop"),
    ast.GeneratorExp: ("comprehensions run at import time only", "compute it at module level, or write a loop"),
    ast.List: ("there are no lists at run time", "use array(T, N), or a table at module level"),
    ast.Dict: ("there are no dicts at run time", "use a table at module level"),
    ast.Set: ("there are no sets at run time", "use a table at module level"),
    ast.Await: ("there is no async in the language", ""),
    ast.YieldFrom: ("yield from is not in the language", "loop and yield"),
    ast.NamedExpr: ("an assignment inside an expression is not in the language", "assign on a line of its own"),
    ast.Starred: ("* unpacking is not in the language", "name each value"),
    ast.JoinedStr: ("an f-string stands only in a printer's call", "printk(f\"...\")"),
    ast.Yield: ("yield is a statement of its own in a generator", "for x in ...: yield x"),
}
INDEXED = (t.ArrayType, t.SliceType, t.TableType)


class Expressions(Core):
    """Expression handlers; `expr` is the entry."""

    def expr(self, node: ast.expr) -> Expr:
        """Type an expression; what must run earlier is emitted before it."""
        if type(node) in REFUSED:
            self.fail(node, *REFUSED[type(node)])
        handler = _HANDLERS.get(type(node))
        if handler is None:
            self.fail(node, f"{type(node).__name__} is not in the language")
        return handler(self, node)

    def value(self, node: ast.expr) -> Expr:
        """An expression with a value at run time."""
        return self.runtime(self.expr(node), node)

    def typed(self, node: ast.expr, wanted: t.Type, what: str = "") -> Expr:
        return self.coerce(self.expr(node), wanted, node, what)

    def literal(self, e: Expr, node: ast.AST) -> ir.Const:
        """A bare integer that is one number (not a choice between two)."""
        if not isinstance(e, ir.Const):
            self.fail(node, "a choice between bare literals has no width here", "write u32(...) for one of them")
        return e

    def condition(self, node: ast.expr) -> Expr:
        e = self.value(node)
        if e.type != t.BOOL:
            fix = "compare it: ... != 0" if isinstance(e.type, (t.IntType, t.LiteralType)) else \
                "test it: ... is not None" if isinstance(e.type, t.RefType) else ""
            self.fail(node, f"a condition is a bool, and this is {e.type}", fix)
        return e

    # ---- names and constants

    def constant(self, node: ast.Constant) -> Expr:
        if isinstance(node.value, (float, complex)) or node.value is ...:
            self.fail(node, f"{node.value!r} is no value of the language", "there is no floating point")
        if isinstance(node.value, str):
            return Known(t.TEXT, node.value)
        return self.lift(node.value, node)

    def name(self, node: ast.Name) -> Expr:
        var = self.scope.names.get(node.id)
        if var is not None:
            if var not in self.flow.assigned and self.flow.reachable:
                self.fail(node, f"{node.id} may be read before it is assigned", "give it a value on every path")
            narrowed = var in self.flow.nonnull and isinstance(var.type, (t.RefType, t.FnType)) and var.type.nullable
            return ir.Local(_narrow(var.type) if narrowed else var.type, var)
        if node.id in self.scope.bindings:
            self.fail(node, f"{node.id} may be read before it is assigned", "give it a value on every path")
        try:
            return self.lift(self.scope.source.lookup(node.id), node, node.id)
        except KeyError:
            self.fail(node, f"{node.id} is not defined", "import it or define it at module level")

    # ---- operators

    def binary(self, node: ast.BinOp) -> Expr:
        if type(node.op) not in OPERATORS:
            self.fail(node, f"{type(node.op).__name__} is no operator of the language",
                      "integers divide by //" if isinstance(node.op, ast.Div) else "")
        op = OPERATORS[type(node.op)]
        left, right = self.operands([lambda: self.value(node.left), lambda: self.value(node.right)], self.site(node))
        return self.operate(op, left, right, node)

    def operate(self, op: str, left: Expr, right: Expr, node: ast.expr | ast.stmt, mode: str = "checked") -> Expr:
        """Apply a binary operator to typed operands."""
        if isinstance(left.type, t.LiteralType) and isinstance(right.type, t.LiteralType):
            return self._fold_literals(op, self.literal(left, node), self.literal(right, node), node)
        if op in ("<<", ">>"):
            return self._shift(op, left, right, node)
        if isinstance(left.type, t.IntType) and left.type.is_address and op in ("+", "-"):
            return self._address(op, left, right, node, mode)
        left, right = self.unify(left, right, node, f"operands of '{op}'")
        kind = left.type
        if isinstance(kind, t.BitsType) and op in "&|^":
            return ir.Binary(kind, op, left, right, mode, self.site(node))
        if not isinstance(kind, t.IntType):
            fix = {"&": "use and", "|": "use or", "^": "use !="}.get(op, "") if kind == t.BOOL else ""
            self.fail(node, f"'{op}' works on integers, and these are {kind}", fix)
        if op in ("//", "%") and kind.signed:
            self.fail(node, f"signed '{op}' is not in the language: rounding differs between machines",
                      f"convert to u{kind.bits(self.pointer_bits)} first, or use a shift")
        if kind.is_address and op not in "&|":
            self.fail(node, f"'{op}' of two addresses has no meaning", f"convert: {kind.base}(...)")
        made = ir.Binary(kind, op, left, right, mode, self.site(node))
        return self._folded(made) if mode == "checked" else made

    def _fold_literals(self, op: str, left: ir.Const, right: ir.Const, node: ast.AST) -> Expr:
        try:
            return ir.Const(t.LITERAL, _PYTHON[op](left.value, right.value))
        except (ZeroDivisionError, ValueError) as error:
            self.fail(node, f"this constant cannot be computed: {error}")

    def _shift(self, op: str, left: Expr, right: Expr, node: ast.AST) -> Expr:
        kind = left.type
        if isinstance(kind, t.LiteralType):
            self.fail(node, "a bare literal has no width to shift in", f"write u32({self.literal(left, node).value}) {op} ...")
        if not isinstance(kind, t.IntType):
            self.fail(node, f"'{op}' works on integers, and this is {kind}")
        if op == "<<" and kind.signed:
            self.fail(node, "a signed '<<' is not in the language", f"truncate(u{kind.bits(self.pointer_bits)}, ...) first")
        if isinstance(right.type, t.LiteralType):
            amount = self.literal(right, node).value
            if not 0 <= amount < kind.bits(self.pointer_bits):
                self.fail(node, f"a shift by {amount} of {kind} is a shift by its width or more")
            right = ir.Const(t.U32, amount)
        if not isinstance(right.type, t.IntType) or right.type.signed:
            self.fail(node, f"a shift amount is unsigned, and this is {right.type}")
        return self._folded(ir.Binary(kind, op, left, right, "checked", self.site(node)))

    def _address(self, op: str, left: Expr, right: Expr, node: ast.AST, mode: str) -> Expr:
        kind = cast(t.IntType, left.type)
        if right.type == kind and op == "-":
            return ir.Binary(kind.base, op, left, right, mode, self.site(node))
        if isinstance(right.type, t.IntType) and right.type.distinct:
            self.fail(node, f"operands of '{op}' are {kind} and {right.type}", f"convert one of them, for instance {kind.base}(...)")
        return ir.Binary(kind, op, left, self.coerce(right, kind.base, node, "an offset"), mode, self.site(node))

    def _folded(self, e: ir.Binary) -> Expr:
        """Constant operands give a constant, unless that would panic (then it panics when it runs)."""
        if not (isinstance(e.left, ir.Const) and isinstance(e.right, ir.Const) and isinstance(e.type, t.IntType)):
            return e
        if e.op in ("//", "%") and e.right.value == 0:
            return e
        low, high = e.type.limits(self.pointer_bits)
        if e.op in ("<<", ">>"):
            if e.right.value >= e.type.bits(self.pointer_bits):
                return e
            number = e.left.value << e.right.value & high if e.op == "<<" else e.left.value >> e.right.value
        else:
            number = _PYTHON[e.op](e.left.value, e.right.value)
        return ir.Const(e.type, number) if low <= number <= high else e

    def unary(self, node: ast.UnaryOp) -> Expr:
        if isinstance(node.op, ast.Not):
            inner = self.condition(node.operand)
            return ir.Const(t.BOOL, not inner.value) if isinstance(inner, ir.Const) else \
                ir.Unary(t.BOOL, "not", inner, self.site(node))
        e = self.value(node.operand)
        if isinstance(e, ir.Const) and isinstance(e.type, t.LiteralType):
            return ir.Const(t.LITERAL, -e.value if isinstance(node.op, ast.USub) else
                            ~e.value if isinstance(node.op, ast.Invert) else e.value)
        if isinstance(node.op, ast.UAdd):
            self.fail(node, "unary + does nothing", "leave it out")
        return self._negate(e, node) if isinstance(node.op, ast.USub) else self._invert(e, node)

    def _negate(self, e: Expr, node: ast.UnaryOp) -> Expr:
        if not isinstance(e.type, t.IntType) or not e.type.signed:
            self.fail(node, f"unary - works on signed integers, and this is {e.type}", "wrapping_neg(x), or convert first")
        if isinstance(e, ir.Const) and -e.value <= e.type.limits(self.pointer_bits)[1]:
            return ir.Const(e.type, -e.value)
        return ir.Unary(e.type, "-", e, self.site(node))

    def _invert(self, e: Expr, node: ast.UnaryOp) -> Expr:
        if not isinstance(e.type, (t.IntType, t.BitsType)):
            self.fail(node, f"'~' works on integers, and this is {e.type}", "use not" if e.type == t.BOOL else "")
        base = e.type if isinstance(e.type, t.IntType) else e.type.base
        if isinstance(e, ir.Const):
            return ir.Const(e.type, ~e.value if base.signed else ~e.value & base.limits(self.pointer_bits)[1])
        return ir.Unary(e.type, "~", e, self.site(node))

    # ---- comparisons and logic

    def compare(self, node: ast.Compare) -> Expr:
        left, right = self.operands([lambda: self.value(node.left), lambda: self._middle(node, 0)], self.site(node))
        return self._chain(left, right, node, 0)

    def _middle(self, node: ast.Compare, position: int) -> Expr:
        """A chain's operand; one that is compared twice is evaluated once."""
        e = self.value(node.comparators[position])
        return e if position == len(node.ops) - 1 else self.atom(e, self.site(node))

    def _chain(self, left: Expr, right: Expr, node: ast.Compare, position: int) -> Expr:
        """`a < b < c`: the rest is evaluated only while it holds."""
        test = self._comparison(node.ops[position], left, right, node)
        if position == len(node.ops) - 1:
            return test
        return self.short_circuit(
            "and", test, lambda: self._chain(right, self._middle(node, position + 1), node, position + 1), self.site(node))

    def _comparison(self, op: ast.cmpop, left: Expr, right: Expr, node: ast.Compare) -> Expr:
        if type(op) not in COMPARISONS:
            self.fail(node, "'in' is not in the language", "compare with each, or use .find()")
        sign = COMPARISONS[type(op)]
        if isinstance(left.type, t.LiteralType) and isinstance(right.type, t.LiteralType):
            return ir.Const(t.BOOL, _COMPARE[sign](self.literal(left, node).value, self.literal(right, node).value))
        left, right = self.unify(left, right, node, f"operands of '{sign}'")
        self._check_comparable(sign, left.type, node)
        if isinstance(left, ir.Const) and isinstance(right, ir.Const) and sign in _COMPARE:
            return ir.Const(t.BOOL, _COMPARE[sign](left.value, right.value))
        return ir.Compare(t.BOOL, sign, left, right)

    def _check_comparable(self, sign: str, kind: t.Type, node: ast.Compare) -> None:
        if sign in ("is", "is not"):
            if not isinstance(kind, (t.RefType, t.FnType)):
                self.fail(node, f"'{sign}' compares references, and these are {kind}", "use ==")
        elif isinstance(kind, (t.RefType, t.FnType)):
            self.fail(node, f"'{sign}' compares values, and these are references to {kind}", "use is, or compare their fields")
        elif isinstance(kind, INDEXED):
            self.fail(node, f"'{sign}' does not compare {kind}", "a.equals(b), a.compare(b)")
        elif sign not in ("==", "!=") and not isinstance(kind, (t.IntType, t.EnumType)):
            self.fail(node, f"{kind} has no order")

    def boolean(self, node: ast.BoolOp) -> Expr:
        op = "and" if isinstance(node.op, ast.And) else "or"
        return self._boolean_rest(op, node.values, node)

    def _boolean_rest(self, op: str, nodes: list[ast.expr], node: ast.BoolOp) -> Expr:
        before = self.flow.copy()
        result = self.condition(nodes[0])
        for i, later in enumerate(nodes[1:], 1):
            for earlier in nodes[:i]:
                self.learn(earlier, op == "and")
            result = self.short_circuit(op, result, lambda later=later: self.condition(later), self.site(node))  # type: ignore[misc]
        self.flow.nonnull = before.nonnull
        return result

    def short_circuit(self, op: str, left: Expr, right_of: Callable[[], Expr], site: Any) -> Expr:
        """`left and right`: statements that the right side needs run only when it is evaluated."""
        with self.buffer() as early:
            right = right_of()
        if isinstance(left, ir.Const):
            decided = left.value == (op == "or")
            if decided:
                return left
            self.out.extend(early)
            return right
        if not early:
            if isinstance(right, ir.Const) and right.value == (op == "and"):
                return left
            return ir.Logical(t.BOOL, op, left, right)
        result = self.temporary(left, site)
        early.append(ir.Let(site, result.var, right))
        self.emit(ir.If(site, result, early, []) if op == "and" else ir.If(site, result, [], early))
        return result

    def select(self, node: ast.IfExp) -> Expr:
        condition = self.condition(node.test)
        site, start = self.site(node), self.flow.copy()
        self.learn(node.test, True)
        with self.buffer() as then_early:
            then = self.value(node.body)
        self.flow = start.copy()
        self.learn(node.test, False)
        with self.buffer() as else_early:
            otherwise = self.value(node.orelse)
        self.flow = start
        then, otherwise = self.unify(then, otherwise, node, "the two values")
        if isinstance(condition, ir.Const):
            self.out.extend(then_early if condition.value else else_early)
            return then if condition.value else otherwise
        kind = otherwise.type if isinstance(otherwise.type, t.RefType) and otherwise.type.nullable else then.type
        if not then_early and not else_early:
            return ir.Select(kind, condition, then, otherwise)
        var = self.new_var("t", kind, temporary=True)
        then_early.append(ir.Let(site, var, then))
        else_early.append(ir.Let(site, var, otherwise))
        self.emit(ir.If(site, condition, then_early, else_early))
        self.flow.assigned.add(var)
        return ir.Local(kind, var)

    def learn(self, node: ast.expr, truth: bool) -> None:
        """Narrow nullable locals by a condition known to be `truth`."""
        match node:
            case ast.UnaryOp(op=ast.Not()):
                self.learn(node.operand, not truth)
            case ast.BoolOp(op=op) if isinstance(op, ast.And) == truth:
                for part in node.values:
                    self.learn(part, truth)
            case ast.Compare(left=ast.Name(id=name), ops=[op], comparators=[ast.Constant(value=None)]):
                var = self.scope.names.get(name)
                if var is not None and isinstance(op, ast.IsNot if truth else ast.Is):
                    self.flow.nonnull.add(var)

    # ---- fields and elements

    def attribute(self, node: ast.Attribute) -> Expr:
        return self.member(self.expr(node.value), node.attr, node)

    def member(self, base: Expr, name: str, node: ast.expr) -> Expr:
        """`base.name`, also for getattr with a constant name."""
        if isinstance(base, Known) and base.type is OBJECT:
            known = self._known_member(base, name, node)
            if known is not None:
                return known
            base = self.runtime(base, node)
        kind = base.type
        if isinstance(kind, t.RefType) and kind.nullable:
            self.fail(node, f"this may be None: {kind}", "test it first: if x is not None (on a local name)")
        if isinstance(kind, (t.RefType, t.StructType)):
            return self._struct_member(base, kind.cls, name, node)
        if isinstance(kind, t.BitsType):
            return self._bits_member(base, kind, name, node)
        if isinstance(kind, t.EnumType) and isinstance(kind.cls.__dict__.get(name), Function):
            return Method(OBJECT, base, name, kind.cls.__dict__[name])
        if isinstance(kind, t.PtrType) and name == "address":
            return self.intrinsic(t.USIZE, "ptr_address", [base], node)
        if isinstance(kind, (t.SliceType, t.ArrayType, t.TableType, t.AtomicType, t.PtrType)):
            return Method(OBJECT, base, name, None)
        self.fail(node, f"{kind} has no attribute {name}")

    def _known_member(self, base: Known, name: str, node: ast.expr) -> Expr | None:
        live = base.value
        if isinstance(live, (Struct, Union)):
            if isinstance(live, Struct) and live.frozen and name in t.fields_of(type(live)):
                return self.typed_constant(t.fields_of(type(live))[name], getattr(live, name), node, name)
            return None
        if isinstance(live, PerCpu) and name in ("this", "of"):
            return Method(OBJECT, Known(OBJECT, live, base.hint), name, None)
        if isinstance(live, (Array, Table, bytes)):
            return None
        if isinstance(live, type) and issubclass(live, Bits) and name == "from_raw":
            return Method(OBJECT, base, name, None)
        try:
            value = live.__dict__[name] if isinstance(live, type) and name in live.__dict__ and \
                isinstance(live.__dict__[name], Function) else getattr(live, name)
        except AttributeError:
            self.fail(node, f"{getattr(live, '__name__', live)!s:.40} has no attribute {name}")
        return self.lift(value, node, name)

    def _struct_member(self, base: Expr, cls: type[Any], name: str, node: ast.expr) -> Expr:
        try:
            fields = t.fields_of(cls)
        except t.BadType as error:
            self.fail(node, str(error))
        if name in fields:
            if cls.shared and not self.shared_access:
                self.fail(node, f"{cls.__name__} is shared with a guest: its fields are read and written one access at a time",
                          f"read_once(x.{name}), write_once(x.{name}, value)")
            return ir.Field(kind_as_value(fields[name]), base, name)
        method = cls.__dict__.get(name)
        if isinstance(method, Function):
            return Method(OBJECT, base, name, method)
        if method is not None and not callable(method):
            return self.lift(method, node, name)
        self.fail(node, f"{cls.__name__} has no field {name}",
                  "mark the method @fn" if callable(method) else f"it has {', '.join(fields)}")

    shared_access = False       # inside read_once / write_once

    def _bits_member(self, base: Expr, kind: t.BitsType, name: str, node: ast.expr) -> Expr:
        if name == "raw":
            return ir.Const(kind.base, base.value) if isinstance(base, ir.Const) else \
                ir.Convert(kind.base, base, "keep", self.site(node))
        field = kind.cls.fields.get(name)
        if field is None:
            method = kind.cls.__dict__.get(name)
            if name == "replace" or isinstance(method, Function):
                return Method(OBJECT, base, name, method)
            self.fail(node, f"{kind} has no field {name}", f"it has {', '.join(kind.cls.fields)}")
        try:
            field_type = t.bits_field_type(kind.cls, field)
        except t.BadType as error:
            self.fail(node, str(error))
        places = [ir.Const(t.U32, field.msb), ir.Const(t.U32, field.lsb)]
        return self.intrinsic(field_type, "bits_get", [base, *places], node)

    def intrinsic(self, kind: t.Type, name: str, args: list[Expr], node: ast.AST) -> Expr:
        return ir.Intrinsic(kind, name, args, self.site(node))

    def subscript(self, node: ast.Subscript) -> Expr:
        base = self.expr(node.value)
        if isinstance(base, Known) and base.type is OBJECT and not isinstance(base.value, (Struct, Union, Array, Table, bytes)):
            return self._known_subscript(base, node)
        if isinstance(node.slice, ast.Slice):
            return self._slicing(base, node, node.slice)
        if isinstance(base, Known) and isinstance(base.value, Table):
            row = self.expr(node.slice)
            if isinstance(row, ir.Const) and 0 <= row.value < len(base.value):
                element = t.storage_type(base.value.element, {})
                return self.typed_constant(element, base.value[row.value], node, base.hint)
        base, index = self.operands([lambda: self.runtime(base, node.value), lambda: self.value(node.slice)], self.site(node))
        return self.element(base, index, node)

    def _known_subscript(self, base: Known, node: ast.Subscript) -> Expr:
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        keys = [self.expr(p) for p in parts]
        if not all(isinstance(k, (ir.Const, Known)) for k in keys):
            self.fail(node, "this is a compile-time object: its subscript is a constant")
        values = tuple(cast(Any, k).value for k in keys)
        try:
            return self.lift(base.value[values if len(values) > 1 else values[0]], node, base.hint)
        except Exception as error:
            self.fail(node, f"cannot be computed at compile time: {error}")

    def element(self, base: Expr, index: Expr, node: ast.Subscript) -> Expr:
        """`base[index]` of run-time values."""
        if isinstance(base.type, t.TupleType):
            if not isinstance(index, ir.Const) or not 0 <= index.value < len(base.type.items):
                self.fail(node.slice, "a tuple is indexed by a constant", f"0 to {len(base.type.items) - 1}")
            return ir.TupleItem(base.type.items[index.value], base, index.value)
        if not isinstance(base.type, INDEXED):
            self.fail(node.value, f"{base.type} has no elements")
        index, checked = self.index_of(base.type, index, node.slice)
        return ir.Index(kind_as_value(base.type.element), base, index, checked, self.site(node))

    def index_of(self, kind: t.Type, index: Expr, node: ast.expr) -> tuple[Expr, bool]:
        length = kind.length if isinstance(kind, (t.ArrayType, t.TableType)) else None
        if isinstance(index.type, t.LiteralType):
            number = self.literal(index, node).value
            if number < 0 or (length is not None and number >= length):
                self.fail(node, f"index {number} lies outside {kind}", "len(x) - 1 is the last" if number < 0 else "")
            return ir.Const(t.USIZE, number), length is None
        if not isinstance(index.type, t.IntType) or index.type.signed or index.type.is_address:
            self.fail(node, f"an index is an unsigned integer, and this is {index.type}", "usize(x)")
        known = isinstance(index, ir.Const) and length is not None and index.value < length
        return index, not known

    def _slicing(self, base: Expr, node: ast.Subscript, cut: ast.Slice) -> Expr:
        if cut.step is not None:
            self.fail(cut.step, "a slice has no step")
        bounds = [b for b in (cut.lower, cut.upper) if b is not None]
        parts: list[Callable[[], Expr]] = [lambda: self.runtime(base, node.value)]
        parts += [lambda b=b: self._bound(b) for b in bounds]          # type: ignore[misc]
        done = self.operands(parts, self.site(node))
        kind = done[0].type
        if not isinstance(kind, INDEXED):
            self.fail(node.value, f"{kind} has no elements")
        const = isinstance(kind, t.TableType) or (isinstance(kind, t.SliceType) and kind.const)
        rest = done[1:]
        low = rest.pop(0) if cut.lower is not None else None
        high = rest.pop(0) if cut.upper is not None else None
        return ir.Slicing(t.SliceType(kind.element, const), done[0], low, high, self.site(node))

    def _bound(self, node: ast.expr) -> Expr:
        """A slice bound: any unsigned integer, as a usize."""
        e = self.value(node)
        if isinstance(e.type, t.IntType) and not e.type.signed and not e.type.is_address and e.type != t.USIZE:
            if isinstance(e, ir.Const):
                return self.adapt(e.value, t.USIZE, node)
            fits = e.type.bits(self.pointer_bits) <= self.pointer_bits
            return ir.Convert(t.USIZE, e, "keep" if fits else "check", self.site(node))
        return self.coerce(e, t.USIZE, node, "a slice bound")

    def tuple_(self, node: ast.Tuple) -> Expr:
        items = self.operands([lambda n=n: self.value(n) for n in node.elts], self.site(node))   # type: ignore[misc]
        return ir.MakeTuple(t.TupleType(tuple(i.type for i in items)), items)

    @abstractmethod
    def call(self, node: ast.Call) -> Expr:
        """A call; `Calls` has it."""


def _narrow(kind: t.Type) -> t.Type:
    return t.RefType(kind.cls) if isinstance(kind, t.RefType) else t.FnType(kind.params, kind.result) \
        if isinstance(kind, t.FnType) else kind


_PYTHON: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "//": lambda a, b: a // b, "%": lambda a, b: a % b,
    "&": lambda a, b: a & b, "|": lambda a, b: a | b, "^": lambda a, b: a ^ b, "<<": lambda a, b: a << b, ">>": lambda a, b: a >> b}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b, ">=": lambda a, b: a >= b}
_HANDLERS: dict[type[ast.expr], Callable[[Any, Any], Expr]] = {
    ast.Constant: lambda s, n: s.constant(n), ast.Name: lambda s, n: s.name(n), ast.BinOp: lambda s, n: s.binary(n),
    ast.UnaryOp: lambda s, n: s.unary(n), ast.Compare: lambda s, n: s.compare(n), ast.BoolOp: lambda s, n: s.boolean(n),
    ast.IfExp: lambda s, n: s.select(n), ast.Attribute: lambda s, n: s.attribute(n), ast.Subscript: lambda s, n: s.subscript(n),
    ast.Tuple: lambda s, n: s.tuple_(n), ast.Call: lambda s, n: s.call(n)}
