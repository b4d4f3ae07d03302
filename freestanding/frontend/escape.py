"""References to what lives on the stack: they go down into calls, never up, sideways or into the next loop turn.

Each reference has a set of origins: a slot of this function, a parameter, or what a parameter's object holds; static storage
has none. A summary of each function says which parameters it keeps and which it gives back. Conservative, flow-insensitive.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .. import ir, types as t
from ..errors import CompileError, Site
from ..ir import Expr, FunctionIR, Var

Token = tuple[str, Any]
Origins = frozenset[Token]
NONE: Origins = frozenset()
DOWN_ONLY = "it may only go down into calls"


@dataclass
class Summary:
    """What a function does with the references it is given."""
    keeps: set[Token] = field(default_factory=set)          # ("param", i), ("content", i) that it stores away
    returns: set[Token] = field(default_factory=set)        # those that its result may be


def carries(kind: t.Type) -> bool:
    """Whether a value of that type refers to storage."""
    match kind:
        case t.RefType() | t.SliceType() | t.ArrayType():
            return True
        case t.TupleType():
            return any(carries(i) for i in kind.items)
        case t.StructType():
            return any(carries(k) for k in t.fields_of(kind.cls).values())
    return False


class Escape:
    """The analysis of one function, its callees already summarised."""

    def __init__(self, function: FunctionIR, summary_of: Callable[[FunctionIR], Summary],
                 targets_of: Callable[[t.Type], list[FunctionIR]]) -> None:
        self.function, self.summary_of, self.targets_of = function, summary_of, targets_of
        self.env: dict[Var, Origins] = {p: frozenset({("param", i)}) for i, p in enumerate(function.params) if carries(p.type)}
        self.content: dict[Var, Origins] = {}
        self.summary = Summary()
        self.all = ir.statements(function.body)

    def run(self) -> Summary:
        if self.function.external:
            self.summary.keeps = {("param", i) for i, p in enumerate(self.function.params) if carries(p.type)}
            return self.summary
        while self._propagate():
            pass
        for s in self.all:
            self._check(s)
        self._check_loops()
        return self.summary

    # ---- origins

    def origins(self, e: Expr) -> Origins:
        if not carries(e.type):
            return NONE
        match e:
            case ir.Local(var=var):
                return frozenset({("slot", var)}) if var.storage else self.env.get(var, NONE)
            case ir.Field(object=inner) | ir.Index(base=inner):
                held = self.origins(inner)
                if isinstance(inner.type, t.StructType) and isinstance(e.type, t.ArrayType) and (owner := _value_owner(inner)):
                    return held | {("slot", owner)}                    # an array inside a value, which lives where its name does
                if isinstance(inner.type, t.StructType) or isinstance(e.type, t.ArrayType) or ir.storage_of(e) != e.type:
                    return held                                        # a part of a value, or an address inside
                return self.load(held)
            case ir.Slicing() | ir.ToSlice():
                return self.origins(e.base)
            case ir.Select():
                return self.origins(e.then) | self.origins(e.otherwise)
            case ir.Call():
                return self._returned(self.summary_of(e.function), e.args)
            case ir.CallIndirect():
                return frozenset().union(*(self.origins(a) for a in e.args))
            case ir.MakeStruct():
                return frozenset().union(*(self.origins(v) for _, v in e.fields))
            case ir.MakeTuple():
                return frozenset().union(*(self.origins(v) for v in e.items))
            case ir.TupleItem():
                return self.origins(e.tuple)
        return NONE

    def load(self, held: Origins) -> Origins:
        """The origins of a reference read out of storage with those origins."""
        found: set[Token] = set()
        for kind, what in held:
            if kind == "slot":
                found |= self.content.get(what, NONE)
            else:
                found.add(("content", what))
        return frozenset(found)

    def _returned(self, summary: Summary, args: list[Expr]) -> Origins:
        found: set[Token] = set()
        for kind, i in summary.returns:
            held = self.origins(args[i])
            found |= held if kind == "param" else self.load(held)
        return frozenset(found)

    def _propagate(self) -> bool:
        changed = False
        for s in self.all:
            if isinstance(s, ir.Let):
                changed |= self._grow(self.env, s.var, self.origins(s.value))
            for target, value in self._stores(s):
                for kind, what in target:
                    if kind == "slot":
                        changed |= self._grow(self.content, what, self.origins(value))
        return changed

    def _stores(self, s: ir.Stmt) -> list[tuple[Origins, Expr]]:
        """(origins of what is written into, value) for each reference that the statement stores."""
        match s:
            case ir.SetField():
                return [(self.origins(s.object), s.value)] if _stored_reference(s.object, s.name, s.value) else []
            case ir.SetIndex():
                element = s.base.type.element                          # type: ignore[attr-defined]
                return [(self.origins(s.base), s.value)] if element == s.value.type and carries(element) else []
            case ir.New():
                slot: Origins = frozenset({("slot", s.var)})
                return [(slot, v) for n, v in s.fields if carries(v.type)
                        and isinstance(s.var.type, t.RefType) and t.fields_of(s.var.type.cls)[n] == v.type]
        return []

    @staticmethod
    def _grow(where: dict[Var, Origins], var: Var, more: Origins) -> bool:
        before = where.get(var, NONE)
        where[var] = before | more
        return where[var] != before

    # ---- checks

    def _check(self, s: ir.Stmt) -> None:
        for target, value in self._stores(s):
            self._check_store(target, self.origins(value), s.site)
        if isinstance(s, ir.Return) and s.value is not None:
            for kind, what in self.origins(s.value):
                if kind == "slot":
                    raise CompileError(s.site, f"{self._named(what)} lives on this function's stack and cannot be returned",
                                       "return a frozen struct or a tuple, or let the caller pass the struct in")
                self.summary.returns.add((kind, what))
        for top in ir.expressions(s):
            for e in ir.walk(top):
                if isinstance(e, (ir.Call, ir.CallIndirect)):
                    self._check_call(e)

    def _check_store(self, target: Origins, value: Origins, site: Site) -> None:
        only_slots = bool(target) and all(kind == "slot" for kind, _ in target)
        for kind, what in value:
            if kind == "slot":
                raise CompileError(site, f"a reference to {self._named(what)}, which lives on this function's stack, is stored",
                                   f"{DOWN_ONLY}; store a copy in a field of its own type, or make it static")
            if not only_slots:
                self.summary.keeps.add((kind, what))

    def _check_call(self, e: ir.Call | ir.CallIndirect) -> None:
        callees = [e.function] if isinstance(e, ir.Call) else self.targets_of(e.callee.type)
        for callee in callees:
            for kind, i in self.summary_of(callee).keeps:
                held = self.origins(e.args[i])
                for token in held if kind == "param" else self.load(held):
                    if token[0] == "slot":
                        raise CompileError(e.site, f"{callee.function.__name__} keeps its argument {callee.params[i].name}, and "
                                           f"{self._named(token[1])} lives on this function's stack", DOWN_ONLY)
                    self.summary.keeps.add(token)

    @staticmethod
    def _named(var: Var) -> str:
        return "this struct" if var.name.startswith("made") else var.name

    # ---- loops: a slot made anew in each turn must not be seen by the next

    def _check_loops(self) -> None:
        loops_of: dict[Var, list[tuple[ir.Stmt, ...]]] = {}
        made: list[tuple[ir.New, tuple[ir.Stmt, ...]]] = []
        self._places(self.function.body, (), loops_of, made)
        for new, loops in made:
            if not loops:
                continue
            for var, held in self.env.items():
                if ("slot", new.var) in held and any(loops[-1] not in place for place in loops_of.get(var, [])):
                    raise CompileError(new.site, f"{var.name} keeps this struct past the loop turn that made it",
                                       "make one before the loop and change its fields, or copy it")

    def _places(self, body: list[ir.Stmt], loops: tuple[ir.Stmt, ...], loops_of: dict[Var, list[tuple[ir.Stmt, ...]]],
                made: list[tuple[ir.New, tuple[ir.Stmt, ...]]]) -> None:
        for s in body:
            for top in ir.expressions(s):
                for e in ir.walk(top):
                    if isinstance(e, ir.Local):
                        loops_of.setdefault(e.var, []).append(loops)
            if isinstance(s, ir.Let):
                loops_of.setdefault(s.var, []).append(loops)
            if isinstance(s, ir.New):
                made.append((s, loops))
            inner = (*loops, s) if isinstance(s, (ir.While, ir.ForRange)) else loops
            for block in ir.blocks(s):
                self._places(block, inner, loops_of, made)


_UNNAMED = Var("made", t.VOID)


def _value_owner(e: Expr) -> Var | None:
    """The variable that a frozen value is part of, `_UNNAMED` for one that has no name, None where it lies in other storage."""
    match e:
        case ir.Local(var=var):
            return var
        case ir.Field(object=inner) | ir.Index(base=inner):
            return _value_owner(inner) if isinstance(inner.type, t.StructType) else None
        case ir.TupleItem(tuple=inner):
            return _value_owner(inner)
    return _UNNAMED


def _stored_reference(place: Expr, name: str, value: Expr) -> bool:
    assert isinstance(place.type, (t.RefType, t.StructType))
    kind = t.fields_of(place.type.cls)[name]
    return carries(value.type) and not (isinstance(kind, t.StructType) and isinstance(value.type, t.RefType))
