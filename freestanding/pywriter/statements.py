"""Statements of the IR as Python statements; jumps out of several loops at once go by a flag, `@jump`.

A Block whose Leaves only skip the rest of it becomes plain if/else; any other becomes `while True: ...; break`.
"""
from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from .. import ir, types as t
from ..errors import Site
from .expressions import Expressions, attribute, call, compared, const, name
from .live import copier, maker

MAX_NESTING = 24                # how deep a Block may become if/else before it becomes a loop


@dataclass
class Loop:
    """A Python loop being written: a loop of the program, or a Block that has to be one."""
    label: str                                      # of a Block; "" for a loop
    codes: dict[int, tuple[Loop, str]] = field(default_factory=dict)    # jumps that leave it for an outer one


class Statements(Expressions):
    """Statement handlers of one function; `body` is the entry."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.loops: list[Loop] = []
        self.line = 0
        self.jumps = 0

    def body(self, statements: list[ir.Stmt]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for s in statements:
            out.extend(self.statement(s))
        return out or [self.at(ast.Pass())]

    def statement(self, s: ir.Stmt) -> list[ast.stmt]:
        self.see(s.site)
        made = _HANDLERS[type(s)](self, s)
        return made if isinstance(made, list) else [made]

    def see(self, site: Site) -> None:
        """Lines of an inlined generator from another file count as the line that inlines it."""
        if site.file == self.file:
            self.line = site.line

    def at(self, node: ast.stmt) -> ast.stmt:
        """Give the nodes that have no line of their own that of the statement."""
        _locate(node, self.line)
        return node

    # ---- assignments

    def let(self, s: ir.Let) -> ast.stmt:
        return self.at(ast.Assign([ast.Name(s.var.name, ast.Store())], self.expr(s.value)))

    def new(self, s: ir.New) -> list[ast.stmt]:
        kind = t.StructType(s.var.type.cls) if isinstance(s.var.type, t.RefType) else s.var.type
        make = self.bound(f"{getattr(kind, 'cls', t.ArrayType).__name__}.zeroed", maker(kind))
        out = [self.at(ast.Assign([ast.Name(s.var.name, ast.Store())], call(make)))]
        for field_name, value in s.fields:
            out.append(self._set(name(s.var.name), cast(t.StructType, kind), field_name, value))
        return out

    def set_field(self, s: ir.SetField) -> ast.stmt:
        kind = cast("t.RefType | t.StructType", s.object.type)
        return self._set(self.expr(s.object), t.StructType(kind.cls), s.name, s.value)

    def _set(self, owner: ast.expr, kind: t.StructType, field_name: str, value: ir.Expr) -> ast.stmt:
        storage = t.fields_of(kind.cls)[field_name]
        if _is_embedded(storage):
            return self._copy(storage, attribute(owner, field_name), value)
        stored = self.stored(value, storage)
        if kind.frozen:                             # being made: nobody has seen it yet
            return self.at(ast.Expr(call("@setattr", owner, const(field_name), stored)))
        return self.at(ast.Assign([ast.Attribute(owner, field_name, ast.Store())], stored))

    def _copy(self, kind: t.Type, target: ast.expr, value: ir.Expr) -> ast.stmt:
        copy = self.bound(f"{getattr(kind, 'cls', t.ArrayType).__name__}.copy", copier(kind))
        return self.at(ast.Expr(call(copy, target, self.expr(value))))

    def set_index(self, s: ir.SetIndex) -> ast.stmt:
        element = cast(t.ArrayType, s.base.type).element
        if _is_embedded(element):
            return self._copy(element, self.element(s.base, s.index, s.checked, s.site, ast.Load()), s.value)
        target = self.element(s.base, s.index, s.checked, s.site, ast.Store())
        return self.at(ast.Assign([target], self.stored(s.value, element)))

    def eval(self, s: ir.Eval) -> ast.stmt:
        return self.at(ast.Expr(self.expr(s.value)))

    # ---- branches and loops

    def if_(self, s: ir.If) -> list[ast.stmt]:
        if len(s.then) == 1 and isinstance(s.then[0], ir.PanicStmt) and s.then[0].kind not in self.checks | {"panic", "unreachable"}:
            return []
        test = self.expr(s.condition)
        made = ast.If(test, [], [])
        self.at(made)
        made.body = self.body(s.then)
        made.orelse = self.body(s.otherwise) if s.otherwise else []
        return [made]

    def while_(self, s: ir.While) -> list[ast.stmt]:
        made = ast.While(self.expr(s.condition), [], [])
        self.at(made)
        return self._loop(Loop(""), made, s.body)

    def for_range(self, s: ir.ForRange) -> list[ast.stmt]:
        parts = [self.expr(s.start), self.expr(s.stop)] + ([const(s.step)] if s.step != 1 else [])
        turns = call("@range", *parts)
        if s.reverse:
            turns = call("@reversed", turns)
        made = ast.For(ast.Name(s.var.name, ast.Store()), turns, [], [])
        self.at(made)
        return self._loop(Loop(""), made, s.body)

    def block(self, s: ir.Block) -> list[ast.stmt]:
        if not _leaves(s.body, s.label):
            return self.body(s.body)
        flat = _absorb(s.body, s.label, 0)
        if flat is not None:
            return self.body(flat)
        made = ast.While(const(True), [], [])
        self.at(made)
        out = self._loop(Loop(s.label), made, s.body)
        self.see(s.site)
        made.body.append(self.at(ast.Break()))
        return out

    def _loop(self, loop: Loop, made: ast.While | ast.For, body: list[ir.Stmt]) -> list[ast.stmt]:
        line = self.line
        self.loops.append(loop)
        made.body = self.body(body)
        self.loops.pop()
        self.line = line
        return [made, *(self._landing(code, *to) for code, to in loop.codes.items())]

    def _landing(self, code: int, target: Loop, action: str) -> ast.stmt:
        """After a loop that a jump left: go on outwards, or act where it leads."""
        test = compared(name("@jump"), "==", const(code))
        if self.loops[-1] is target:
            act: list[ast.stmt] = [ast.Assign([ast.Name("@jump", ast.Store())], const(0)),
                                   ast.Break() if action == "break" else ast.Continue()]
        else:
            self.loops[-1].codes[code] = (target, action)
            act = [ast.Break()]
        return self.at(ast.If(test, act, []))

    def break_(self, s: ir.Break) -> list[ast.stmt]:
        return self._jump(next(x for x in reversed(self.loops) if not x.label), "break")

    def continue_(self, s: ir.Continue) -> list[ast.stmt]:
        return self._jump(next(x for x in reversed(self.loops) if not x.label), "continue")

    def leave(self, s: ir.Leave) -> list[ast.stmt]:
        return self._jump(next(x for x in reversed(self.loops) if x.label == s.label), "break")

    def _jump(self, target: Loop, action: str) -> list[ast.stmt]:
        if self.loops[-1] is target:
            return [self.at(ast.Break() if action == "break" else ast.Continue())]
        self.jumps += 1
        self.loops[-1].codes[self.jumps] = (target, action)
        return [self.at(ast.Assign([ast.Name("@jump", ast.Store())], const(self.jumps))), self.at(ast.Break())]

    # ---- ends

    def return_(self, s: ir.Return) -> ast.stmt:
        return self.at(ast.Return(self.expr(s.value) if s.value is not None else None))

    def panic_(self, s: ir.PanicStmt) -> ast.stmt:
        made = call("@Panic", const(s.kind), const(s.message), const(s.site.file), const(s.site.line))
        return self.at(ast.Raise(made, None))


def _locate(node: ast.AST, line: int) -> None:
    for part in ast.walk(node):
        if not hasattr(part, "lineno"):
            part.lineno = part.end_lineno = line                       # type: ignore[attr-defined]
            part.col_offset = part.end_col_offset = 0                  # type: ignore[attr-defined]


def _is_embedded(kind: t.Type) -> bool:
    return isinstance(kind, t.ArrayType) or (isinstance(kind, t.StructType) and not kind.frozen)


# ---- Blocks that need no loop -------------------------------------------------------------------------------------------------

def _inner(s: ir.Stmt) -> list[list[ir.Stmt]]:
    match s:
        case ir.If():
            return [s.then, s.otherwise]
        case ir.While() | ir.ForRange() | ir.Block():
            return [s.body]
    return []


def _leaves(statements: list[ir.Stmt], label: str) -> bool:
    return any((isinstance(s, ir.Leave) and s.label == label) or any(_leaves(b, label) for b in _inner(s)) for s in statements)


def _ends(statements: list[ir.Stmt]) -> bool:
    """Whether control never comes out at the end."""
    match statements[-1:]:
        case [ir.Leave() | ir.Return() | ir.Break() | ir.Continue() | ir.PanicStmt()]:
            return True
        case [ir.If(then=then, otherwise=otherwise)]:
            return _ends(then) and _ends(otherwise)
    return False


def _absorb(statements: list[ir.Stmt], label: str, depth: int) -> list[ir.Stmt] | None:
    """The statements with no Leave to the label, where what follows a Leave can move into an else; None where not."""
    for i, s in enumerate(statements):
        if isinstance(s, ir.Leave) and s.label == label:
            return statements[:i]
        if not any(_leaves(b, label) for b in _inner(s)):
            continue
        rest = statements[i + 1:]
        if not isinstance(s, ir.If) or depth > MAX_NESTING:
            return None
        if rest and not _ends(s.then) and not _ends(s.otherwise):
            return None
        then = _absorb(s.then if _ends(s.then) else s.then + rest, label, depth + 1)
        otherwise = _absorb(s.otherwise if _ends(s.otherwise) else s.otherwise + rest, label, depth + 1)
        if then is None or otherwise is None:
            return None
        return [*statements[:i], ir.If(s.site, s.condition, then, otherwise)]
    return statements


_HANDLERS: dict[type[ir.Stmt], Callable[[Any, Any], ast.stmt | list[ast.stmt]]] = {
    ir.Let: Statements.let, ir.New: Statements.new, ir.SetField: Statements.set_field, ir.SetIndex: Statements.set_index,
    ir.Eval: Statements.eval, ir.If: Statements.if_, ir.While: Statements.while_, ir.ForRange: Statements.for_range,
    ir.Break: Statements.break_, ir.Continue: Statements.continue_, ir.Block: Statements.block, ir.Leave: Statements.leave,
    ir.Return: Statements.return_, ir.PanicStmt: Statements.panic_}
