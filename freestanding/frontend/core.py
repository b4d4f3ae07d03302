"""What every part of the lowering shares: scopes, flow state, spilling, coercion, errors."""
from __future__ import annotations

import ast
from abc import ABC
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from .. import ir, types as t
from ..errors import CompileError, Site
from ..functions import Function
from ..integers import Integer
from ..ir import Effect, Expr, Var
from ..structs import Array, Bits, IntEnum, LinkerSymbol, Struct, Table, Union
from .reader import Source, site_of

if TYPE_CHECKING:
    from . import Frontend


@dataclass(eq=False)
class Known(Expr):
    """A live object with no value at run time of its own yet: module, class, function, static, printer, ..."""
    value: Any
    hint: str = ""              # what to call it if it becomes a static


@dataclass(eq=False)
class Method(Expr):
    """A method bound to its object, about to be called."""
    receiver: Expr
    name: str
    function: Any


class ObjectType(t.Type):
    """The type of Known and Method while the compiler looks at them."""
    name = "compile-time object"


OBJECT = ObjectType()


@dataclass
class Flow:
    """What is known at a point: the variables set for certain, those not None, whether the point is reached at all."""
    assigned: set[Var] = field(default_factory=set)
    nonnull: set[Var] = field(default_factory=set)
    reachable: bool = True

    def copy(self) -> Flow:
        return Flow(set(self.assigned), set(self.nonnull), self.reachable)


def join(*flows: Flow) -> Flow:
    live = [f for f in flows if f.reachable]
    if not live:
        dead = flows[0].copy()
        dead.reachable = False
        return dead
    return Flow(set.intersection(*(f.assigned for f in live)), set.intersection(*(f.nonnull for f in live)))


@dataclass
class Loop:
    """Where `break` and `continue` go: a real loop, or labels around an inlined generator's consumer."""
    cleanups: int                   # how many `with` exits stay when a turn ends
    kept_by_break: int              # and how many when the loop is left
    breaks: list[Flow] = field(default_factory=list)
    continues: list[Flow] = field(default_factory=list)
    break_label: str = ""
    continue_label: str = ""


@dataclass
class Scope:
    """The names of one function body; an inlined generator has its own inside its caller's."""
    source: Source
    names: dict[str, Var] = field(default_factory=dict)
    bindings: dict[str, int] = field(default_factory=dict)      # how often each name is bound, by syntax
    on_yield: Callable[[ast.Yield], None] | None = None
    on_return: str = ""                                         # label to leave by, in a generator
    exits: list[Flow] = field(default_factory=list)             # the states in which that label is left for
    loops: list[Loop] = field(default_factory=list)
    cleanups: int = 0                                           # the caller's `with` exits, in a generator


class Core(ABC):
    """State of one function being lowered."""

    def __init__(self, frontend: Frontend, source: Source, result: t.Type) -> None:
        self.frontend, self.result = frontend, result
        self.scope = Scope(source)
        self.root = self.scope
        self.locals: list[Var] = []
        self.used_names: set[str] = set()
        self.out: list[ir.Stmt] = []
        self.flow = Flow()
        self.cleanups: list[Callable[[], None]] = []
        self.labels = 0
        self.used_labels: set[str] = set()
        self.current: Site = site_of(source.file, source.node)

    # ---- errors and sites

    def fail(self, node: ast.AST, reason: str, fix: str = "") -> NoReturn:
        raise CompileError(site_of(self.scope.source.file, node), reason, fix)

    def site(self, node: ast.AST) -> Site:
        return site_of(self.scope.source.file, node)

    @property
    def pointer_bits(self) -> int:
        return self.frontend.pointer_bits

    # ---- variables

    def new_var(self, name: str, kind: t.Type, *, temporary: bool = False, storage: bool = False) -> Var:
        unique, n = name, 2
        while unique in self.used_names:
            unique, n = f"{name}_{n}", n + 1
        self.used_names.add(unique)
        made = Var(unique, kind, temporary=temporary, storage=storage)
        self.locals.append(made)
        return made

    def temporary(self, value: Expr, site: Site, name: str = "t") -> ir.Local:
        var = self.new_var(name, value.type, temporary=True)
        self.emit(ir.Let(site, var, value))
        self.flow.assigned.add(var)
        return ir.Local(var.type, var)

    def emit(self, statement: ir.Stmt) -> None:
        self.out.append(statement)

    @contextmanager
    def buffer(self) -> Iterator[list[ir.Stmt]]:
        """Collect statements apart."""
        outer, self.out = self.out, []
        try:
            yield self.out
        finally:
            self.out = outer

    def label(self, name: str) -> str:
        self.labels += 1
        return f"{name}_{self.labels}"

    # ---- order of evaluation

    def operands(self, parts: list[Callable[[], Expr]], site: Site, after: Effect = Effect.PURE) -> list[Expr]:
        """Evaluate left to right; spill what a later operand (or the operation itself, `after`) could overtake."""
        done: list[Expr] = []
        for part in parts:
            with self.buffer() as early:
                value = part()
            later = ir.effects(value) if not isinstance(value, (Known, Method)) else Effect.PURE
            if early:
                later |= Effect.WRITE | Effect.PANIC
            done = [self.spill_if(d, value, later, bool(early), site) for d in done]
            self.out.extend(early)
            done.append(value)
        return [self.spill_if(d, None, after, True, site) for d in done]

    def spill_if(self, value: Expr, other: Expr | None, later: Effect, statements: bool, site: Site) -> Expr:
        """Put a value in a temporary if what follows with effects `later` could overtake it."""
        if isinstance(value, (Known, Method, ir.Const, ir.Local)) or later == Effect.PURE:
            return value
        own = ir.effects(value)
        panics = Effect.PANIC in own and later & (Effect.PANIC | Effect.WRITE)
        if panics and Effect.WRITE not in later and other is not None and not statements:
            one, two = panic_kinds(value), panic_kinds(other)
            panics = Effect.PURE if one is not None and two is not None and len(one | two) == 1 else panics
        writes = Effect.WRITE in own
        reads = Effect.READ in own and Effect.WRITE in later
        return self.temporary(value, site) if panics or writes or reads else value

    def atom(self, value: Expr, site: Site, name: str = "t") -> Expr:
        """The value as something that can be named twice."""
        if isinstance(value, (ir.Const, ir.Local, ir.StaticRef)):
            return value
        return self.temporary(value, site, name)

    def pinned(self, place: Expr, site: Site) -> Expr:
        """A field or element whose object, base and index are evaluated already."""
        if isinstance(place, ir.Field) and ir.effects(place.object) != Effect.PURE:
            return ir.Field(place.type, self.atom(place.object, site), place.name)
        if isinstance(place, ir.Index):
            return ir.Index(place.type, self.atom(place.base, site), self.atom(place.index, site), place.checked, place.site)
        return place

    # ---- live objects

    def lift(self, value: Any, node: ast.AST, hint: str = "") -> Expr:
        """A live object as an expression: constants become typed, the rest stays Known."""
        match value:
            case None:
                return ir.Const(t.NONE, None)
            case bool():
                return ir.Const(t.BOOL, value)
            case IntEnum():
                return ir.Const(t.EnumType(type(value)), value)
            case Bits():
                return ir.Const(t.BitsType(type(value)), int(value))
            case Integer():
                return ir.Const(t.IntType(type(value)), int(value))
            case int():
                return ir.Const(t.LITERAL, value)
        return Known(OBJECT, value, hint)

    def typed_constant(self, kind: t.Type, value: Any, node: ast.AST, hint: str) -> Expr:
        """A field or row of a frozen live object."""
        if isinstance(kind, (t.IntType, t.BoolType, t.EnumType, t.BitsType)):
            return ir.Const(kind, int(value) if isinstance(kind, (t.IntType, t.BitsType)) else value)
        if value is None:
            return ir.Const(kind, None)
        return Known(OBJECT, value, hint)

    def runtime(self, e: Expr, node: ast.AST) -> Expr:
        """An expression that has a value at run time. Raises CompileError for modules, classes and the like."""
        if isinstance(e, Method):
            self.fail(node, f"a method is called, not kept: {e.name}(...)")
        if not isinstance(e, Known):
            return e
        value = e.value
        if isinstance(value, bytes):
            return ir.BytesConst(t.BYTES, value)
        if isinstance(value, Struct) and value.frozen:
            return self.frozen_constant(value, node)
        if isinstance(value, (Struct, Union, Array, Table)):
            static = self.frontend.static(value, e.hint)
            return ir.StaticRef(static.type, static)
        if isinstance(value, Function):
            made = self.frontend.callee(value, self.site(node))
            self.frontend.address_taken.add(made)
            return ir.FnValue(made.type, made)
        if isinstance(value, LinkerSymbol):
            return ir.SymbolAddress(t.USIZE, value.name)
        if isinstance(value, str):
            return Known(t.TEXT, value)
        if isinstance(value, tuple):
            items = [self.runtime(self.lift(v, node), node) for v in value]
            return ir.MakeTuple(t.TupleType(tuple(i.type for i in items)), items)
        self.fail(node, f"{_describe(value)} has no value at run time",
                  "compute what you need from it at import time, at module level")

    def frozen_constant(self, value: Any, node: ast.AST) -> Expr:
        fields = []
        for name, kind in t.fields_of(type(value)).items():
            inner = self.typed_constant(kind, getattr(value, name), node, name)
            fields.append((name, self.coerce(inner, kind_as_value(kind), node)))
        return ir.MakeStruct(t.StructType(type(value)), fields)

    # ---- coercion

    def coerce(self, e: Expr, wanted: t.Type, node: ast.AST, what: str = "") -> Expr:
        """The expression as the wanted type by the free conversions only. Raises CompileError."""
        e = self.runtime(e, node)
        have = e.type
        if have == wanted:
            return e
        if isinstance(e, ir.Const) and isinstance(have, t.LiteralType):
            return self.adapt(e.value, wanted, node, what)
        if isinstance(have, t.NoneValueType) and isinstance(wanted, (t.RefType, t.FnType)) and wanted.nullable:
            return ir.Const(wanted, None)
        if isinstance(have, t.RefType) and wanted == t.RefType(have.cls, nullable=True):
            return e
        if isinstance(have, t.FnType) and wanted == t.FnType(have.params, have.result, nullable=True):
            return e
        if isinstance(wanted, t.SliceType) and self._converts_to_slice(have, wanted):
            return ir.ToSlice(wanted, e)
        if isinstance(e, ir.MakeTuple) and isinstance(wanted, t.TupleType) and len(e.items) == len(wanted.items):
            return ir.MakeTuple(wanted, [self.coerce(i, k, node, what) for i, k in zip(e.items, wanted.items)])
        if isinstance(e, ir.Select):
            return ir.Select(wanted, e.condition, self.coerce(e.then, wanted, node, what),
                             self.coerce(e.otherwise, wanted, node, what))
        self.mismatch(have, wanted, node, what)

    def mismatch(self, have: t.Type, wanted: t.Type, node: ast.AST, what: str) -> NoReturn:
        prefix = f"{what} is" if what else "this is"
        fix = ""
        if isinstance(wanted, t.IntType) and isinstance(have, (t.IntType, t.EnumType, t.BoolType)):
            fix = f"{wanted}(...) keeps the value, truncate({wanted}, ...) keeps the low bits"
        elif isinstance(wanted, t.BoolType) and isinstance(have, t.IntType):
            fix = "compare it: ... != 0"
        elif isinstance(have, t.RefType) and have.nullable and wanted == t.RefType(have.cls):
            fix = "test it first: if x is not None"
        self.fail(node, f"{prefix} {have}, and {wanted} is wanted", fix)

    @staticmethod
    def _converts_to_slice(have: t.Type, wanted: t.SliceType) -> bool:
        if isinstance(have, t.ArrayType):
            return have.element == wanted.element
        if isinstance(have, t.TableType):
            return have.element == wanted.element and wanted.const
        return isinstance(have, t.SliceType) and have.element == wanted.element and wanted.const

    def adapt(self, value: int, wanted: t.Type, node: ast.AST, what: str = "") -> Expr:
        """A bare literal in the place of a typed integer."""
        if isinstance(wanted, t.IntType):
            low, high = wanted.limits(self.pointer_bits)
            if not low <= value <= high:
                self.fail(node, f"{value} does not fit {wanted}", f"truncate({wanted}, ...) keeps the low bits" if value >= 0 else "")
            return ir.Const(wanted, value)
        if isinstance(wanted, t.BoolType):
            self.fail(node, "a bool is wanted, and this is an integer", "write True or False")
        if isinstance(wanted, t.EnumType):
            self.fail(node, f"{wanted} is wanted, and this is an integer", f"name the member, or {wanted}(...)")
        self.mismatch(t.LITERAL, wanted, node, what)

    def unify(self, a: Expr, b: Expr, node: ast.AST, what: str) -> tuple[Expr, Expr]:
        """Two operands of one type; a literal takes the other's. Raises CompileError."""
        a, b = self.runtime(a, node), self.runtime(b, node)
        if a.type == b.type:
            return a, b
        if isinstance(b.type, (t.LiteralType, t.NoneValueType)):
            return a, self.coerce(b, _nullable(a.type) if isinstance(b.type, t.NoneValueType) else a.type, node)
        if isinstance(a.type, (t.LiteralType, t.NoneValueType)):
            return self.coerce(a, _nullable(b.type) if isinstance(a.type, t.NoneValueType) else b.type, node), b
        if isinstance(a.type, t.RefType) and isinstance(b.type, t.RefType) and a.type.cls is b.type.cls:
            return a, b
        for wide in (a.type, b.type):
            if isinstance(wide, t.SliceType) and (a.type == wide or self._converts_to_slice(a.type, wide)) \
                    and (b.type == wide or self._converts_to_slice(b.type, wide)):
                return self.coerce(a, wide, node), self.coerce(b, wide, node)
        fix = ""
        if isinstance(a.type, t.IntType) and isinstance(b.type, t.IntType):
            wider = max(a.type, b.type, key=lambda k: k.bits(self.pointer_bits))
            fix = f"convert one of them, for instance {wider}(...)"
        self.fail(node, f"{what} are {a.type} and {b.type}", fix)


def _nullable(kind: t.Type) -> t.Type:
    if isinstance(kind, t.RefType):
        return t.RefType(kind.cls, nullable=True)
    return t.FnType(kind.params, kind.result, nullable=True) if isinstance(kind, t.FnType) else kind


def kind_as_value(kind: t.Type) -> t.Type:
    """A storage type as the type of an expression that reads it."""
    return t.RefType(kind.cls) if isinstance(kind, t.StructType) and not kind.frozen else kind


def _describe(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if type(value).__name__ == "module":
        return f"the module {value.__name__}"
    if callable(value):
        return f"the plain Python function {getattr(value, '__name__', value)}"
    return f"{value!r:.60}"


def panic_kinds(e: Expr) -> set[tuple[str, int]] | None:
    """The (kind, line) pairs with which evaluating may panic; None where they are not all known."""
    found: set[tuple[str, int]] = set()
    match e:
        case ir.Binary(mode="checked", op=op):
            kind = {"<<": "shift", ">>": "shift", "//": "division", "%": "division"}.get(op, "overflow")
            if ir.effects(e) & Effect.PANIC and op not in "&|^":
                found.add((kind, e.site.line))
        case ir.Unary(op="-"):
            found.add(("overflow", e.site.line))
        case ir.Convert(mode="check"):
            found.add(("narrowing", e.site.line))
        case ir.Convert(mode="enum"):
            found.add(("enum", e.site.line))
        case ir.Index(checked=True) | ir.Slicing():
            found.add(("bounds", e.site.line))
        case ir.Intrinsic() if ir.intrinsic_effect(e) & Effect.PANIC:
            if not e.name.startswith("load_"):
                return None
            found.add(("bounds", e.site.line))
        case ir.Call() | ir.CallIndirect():
            return None
    for child in ir.children(e):
        inner = panic_kinds(child)
        if inner is None:
            return None
        found |= inner
    return found
