"""Where each variable of a function is declared in C: at its first assignment where that encloses every use."""
from __future__ import annotations

from collections.abc import Iterator

from .. import ir
from ..types import ArrayType, StructType, TupleType, Type, fields_of


def variables(e: ir.Expr) -> Iterator[ir.Var]:
    return (inner.var for inner in ir.walk(e) if isinstance(inner, ir.Local))


def assigned(s: ir.Stmt) -> ir.Var | None:
    return s.var if isinstance(s, (ir.Let, ir.New, ir.ForRange)) else None


def mentions(s: ir.Stmt) -> set[int]:
    """ids of the variables that the statement, with everything inside it, names."""
    found = {id(v) for e in ir.expressions(s) for v in variables(e)}
    if (target := assigned(s)) is not None:
        found.add(id(target))
    for body in ir.blocks(s):
        for inner in body:
            found |= mentions(inner)
    return found


def assigns(body: list[ir.Stmt]) -> set[int]:
    """ids of the variables that the statements set, at any depth."""
    found: set[int] = set()
    for s in body:
        if (target := assigned(s)) is not None:
            found.add(id(target))
        for inner in ir.blocks(s):
            found |= assigns(inner)
    return found


class Scopes:
    """For each statement the variables that are declared by it (`at`) or just before it (`before`)."""

    def __init__(self, function: ir.FunctionIR) -> None:
        self.at: dict[int, int] = {}                    # id(Let or ForRange) -> id(var) that it declares
        self.before: dict[int, list[ir.Var]] = {}       # id(statement) -> declared without a value just before it
        self.top: list[ir.Var] = []
        self.mentioned: dict[int, set[int]] = {}
        self._vars = {id(v): v for v in function.locals}
        self._order = {i: n for n, i in enumerate(self._vars)}      # addresses must not decide any order
        pending = {i for i, v in self._vars.items() if not _needs_top(v)}
        self.top = [v for i, v in self._vars.items() if i not in pending]
        if function.body:
            self._place(function.body, pending, loop=False)

    def _mentions(self, s: ir.Stmt) -> set[int]:
        if id(s) not in self.mentioned:
            self.mentioned[id(s)] = mentions(s)
        return self.mentioned[id(s)]

    def _place(self, body: list[ir.Stmt], pending: set[int], loop: bool) -> set[int]:
        """Declare in this list what is named only in it. In a loop's body only what every turn sets first; gives back the rest."""
        left: set[int] = set()
        where: dict[int, list[int]] = {}
        for position, s in enumerate(body):
            for i in sorted(self._mentions(s) & pending, key=self._order.__getitem__):
                where.setdefault(i, []).append(position)
        inner: dict[int, set[int]] = {}
        for i, positions in where.items():
            first = body[positions[0]]
            if isinstance(first, ir.Let) and id(first.var) == i and not _reads(first, i):
                self.at[id(first)] = i
            elif len(positions) == 1 and ir.blocks(first):
                inner.setdefault(positions[0], set()).add(i)
            else:
                left |= self._outside(i, first, loop)
        for position, some in inner.items():
            for i in sorted(self._inside(body[position], some, loop), key=self._order.__getitem__):
                left |= self._outside(i, body[position], loop)
        return left

    def _outside(self, i: int, first: ir.Stmt, loop: bool) -> set[int]:
        if loop:                                        # may carry its value from turn to turn
            return {i}
        self.before.setdefault(id(first), []).append(self._vars[i])
        return set()

    def _inside(self, s: ir.Stmt, some: set[int], loop: bool) -> set[int]:
        """Try to declare these inside the compound statement s; gives back those that have to be outside."""
        left: set[int] = set()
        own = {id(v) for e in ir.expressions(s) for v in variables(e)}
        if isinstance(s, ir.ForRange) and id(s.var) in some and id(s.var) not in own:
            self.at[id(s)] = id(s.var)
            own.add(id(s.var))
            some = some - {id(s.var)}
        left |= some & own
        rest = some - own
        looping = loop or isinstance(s, (ir.While, ir.ForRange))
        lists = ir.blocks(s)
        for i in sorted(rest, key=self._order.__getitem__):
            inside = [b for b in lists if any(i in self._mentions(x) for x in b)]
            left |= self._place(inside[0], {i}, looping) if len(inside) == 1 else {i}
        return left


def _reads(s: ir.Let, i: int) -> bool:
    return any(id(v) == i for v in variables(s.value))


def _needs_top(v: ir.Var) -> bool:
    """Slots of structs live as long as the function (a reference may leave the branch that made it), and so do values with arrays in them."""
    return v.storage or (isinstance(v.type, (StructType, TupleType)) and _has_array(v.type))


def _has_array(kind: Type) -> bool:
    if isinstance(kind, ArrayType):
        return True
    if isinstance(kind, StructType):
        return any(map(_has_array, fields_of(kind.cls).values()))
    return isinstance(kind, TupleType) and any(map(_has_array, kind.items))
