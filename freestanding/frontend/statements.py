"""Lowering of statements: a table from syntax node to handler; flow, loops, match, with, inlined generators."""
from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, cast

from .. import ir, types as t
from ..functions import Function
from ..ir import Effect, Expr, Var
from ..structs import Struct, Union, array, zeroed

from .calls import Calls
from .core import Flow, Known, Loop, Scope, join
from .expressions import INDEXED, OPERATORS
from .reader import Source

REFUSED: dict[type[ast.stmt], tuple[str, str]] = {
    ast.Try: ("there are no exceptions at run time", "return a result enum"),
    ast.Raise: ("there are no exceptions at run time", "return a result enum, or panic(\"why\")"),
    ast.Global: ("module-level names are frozen", "put the value in a static struct"),
    ast.Nonlocal: ("captured names are constants", "put the value in a static struct"),
    ast.Delete: ("del is not in the language", ""),
    ast.FunctionDef: ("a function is made at import time", "move it to module level, or into a plain Python factory"),
    ast.AsyncFunctionDef: ("there is no async in the language", ""),
    ast.AsyncFor: ("there is no async in the language", ""),
    ast.AsyncWith: ("there is no async in the language", ""),
    ast.ClassDef: ("a class is made at import time", "move it to module level"),
    ast.Import: ("imports stand at module level", "move it to the top"),
    ast.ImportFrom: ("imports stand at module level", "move it to the top"),
}


class Statements(Calls):
    """Statement handlers; `body` is the entry."""

    def body(self, nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if not self.flow.reachable:
                if self.scope.on_yield is not None:     # a loop that always leaves takes only the first value
                    return
                self.fail(node, "this is never reached", "remove it")
            self.statement(node)

    def statement(self, node: ast.stmt) -> None:
        if type(node) in REFUSED:
            self.fail(node, *REFUSED[type(node)])
        handler = _HANDLERS.get(type(node))
        if handler is None:
            self.fail(node, f"{type(node).__name__} is not in the language")
        handler(self, node)

    def branch(self, nodes: list[ast.stmt], start: Flow) -> tuple[list[ir.Stmt], Flow]:
        """Lower a block from a given state; returns its statements and the state at its end."""
        self.flow = start
        with self.buffer() as out:
            self.body(nodes)
        return out, self.flow

    # ---- assignment

    def assign(self, node: ast.Assign) -> None:
        if len(node.targets) != 1:
            self.fail(node, "one target for each assignment", "write a line for each")
        self.assign_to(node.targets[0], node.value, node)

    def annotated(self, node: ast.AnnAssign) -> None:
        if not isinstance(node.target, ast.Name):
            self.fail(node.target, "only a local name is declared")
        kind = self._annotation(node)
        name = node.target.id
        known = self.scope.names.get(name)
        if known is not None and known.type != kind:
            self.fail(node.target, f"{name} is {known.type} elsewhere in this function", "use another name")
        if node.value is None:
            if known is None:
                self.scope.names[name] = self.new_var(name, kind)
            return
        value = self.typed(node.value, kind, name)
        self.bind(name, value, node, kind)

    def _annotation(self, node: ast.AnnAssign) -> t.Type:
        source = self.scope.source
        code = compile(ast.Expression(node.annotation), source.file, "eval")
        try:
            annotation = eval(code, source.namespace())                # noqa: S307  an annotation of the program's own
        except Exception as error:
            self.fail(node.annotation, f"this names no type ({error})")
        return source.resolve(annotation, node.annotation)

    def assign_to(self, target: ast.expr, value: ast.expr, node: ast.stmt) -> None:
        match target:
            case ast.Name():
                self._assign_name(target, value, node)
            case ast.Attribute():
                self._assign_field(target, value, node)
            case ast.Subscript():
                self._assign_element(target, value, node)
            case ast.Tuple():
                self._unpack(target, value, node)
            case _:
                self.fail(target, "this cannot be assigned to")

    def _assign_name(self, target: ast.Name, value: ast.expr, node: ast.stmt) -> None:
        once = self.scope.bindings.get(target.id) == 1 and target.id not in self.scope.names
        self.wanted_slot = target.id if once and self._makes_storage(value) else ""
        wanted = self.wanted_slot
        e = self.expr(value)
        made_here = wanted and not self.wanted_slot and isinstance(e, ir.Local) and e.var.storage
        self.wanted_slot = ""
        if isinstance(e.type, t.VoidType):
            self.fail(value, "this gives no value")
        if made_here:
            self.scope.names[target.id] = cast(ir.Local, e).var
            return
        if target.id == "_":
            self.emit(ir.Eval(self.site(node), self.runtime(e, value)))
            return
        known = self.scope.names.get(target.id)
        self.bind(target.id, self.coerce(e, known.type, value, target.id) if known else self.runtime(e, value), node)

    def _makes_storage(self, value: ast.expr) -> bool:
        """Whether the expression is S(...), zeroed(T) or array(T, N): then the local's name is that of the slot."""
        if not isinstance(value, ast.Call) or not isinstance(value.func, (ast.Name, ast.Attribute)):
            return False
        with self.buffer():
            callee = self.expr(value.func)
        return isinstance(callee, Known) and (callee.value is zeroed or callee.value is array or
                                              isinstance(callee.value, type) and issubclass(callee.value, (Struct, Union)))

    def bind(self, name: str, value: Expr, node: ast.AST, kind: t.Type | None = None) -> None:
        """Set a local name; the first value gives its type."""
        var = self.scope.names.get(name)
        if var is None:
            if isinstance(value.type, t.LiteralType):
                self.fail(cast(Any, node).value if hasattr(node, "value") else node, "a bare literal has no width of its own",
                          f"write {name} = u32(...), or {name}: u32 = ...")
            if isinstance(value.type, t.AtomicType):
                self.fail(cast(Any, node).value if hasattr(node, "value") else node, "an atomic stays where it is", "name its struct instead")
            if isinstance(value.type, (t.NoneValueType, t.VoidType, t.TextType)):
                self.fail(node, f"{name} has no type yet", f"declare it: {name}: S | None = None")
            var = self.scope.names[name] = self.new_var(name, kind or value.type)
        if var.parameter and var.type != value.type and not isinstance(value.type, t.RefType):
            value = self.coerce(value, var.type, node, name)
        self.emit(ir.Let(self.site(node), var, value))
        self.flow.assigned.add(var)
        nonnull = isinstance(value.type, (t.RefType, t.FnType)) and not value.type.nullable
        (self.flow.nonnull.add if nonnull else self.flow.nonnull.discard)(var)

    def _assign_field(self, target: ast.Attribute, value: ast.expr, node: ast.stmt) -> None:
        e, place = self.operands([lambda: self.expr(value), lambda: self.value(target)], self.site(node))
        place = self._writable(place, target)
        e = self.coerce(e, self._store_type(place, target), value, f"field {target.attr}")
        self.emit(ir.SetField(self.site(node), place.object, place.name, e))

    def _writable(self, place: Expr, target: ast.Attribute) -> ir.Field:
        if isinstance(place, ir.Intrinsic) and place.name == "bits_get":
            self.fail(target, "a Bits value does not change", f"x = x.replace({target.attr}=...)")
        if not isinstance(place, ir.Field):
            self.fail(target, "this cannot be assigned to")
        if isinstance(place.object.type, t.StructType):
            self.fail(target, f"{place.object.type} is frozen", "make a new value")
        return place

    def _store_type(self, place: ir.Field | ir.Index, node: ast.expr) -> t.Type:
        """What a store into the place takes. Arrays and atomics are not stored as a whole."""
        kind = ir.storage_of(place)
        if isinstance(kind, t.ArrayType):
            self.fail(node, "an array is not assigned as a whole", ".copy_from(...), .fill(...)")
        if isinstance(kind, t.AtomicType):
            self.fail(node, "an atomic is written by its methods", ".store(v), .store_release(v)")
        return t.RefType(kind.cls) if isinstance(kind, t.StructType) and not kind.frozen else kind

    def _assign_element(self, target: ast.Subscript, value: ast.expr, node: ast.stmt) -> None:
        e, base, index = self.operands(
            [lambda: self.expr(value), lambda: self.value(target.value), lambda: self._index_value(target)], self.site(node))
        e = self.spill_if(e, None, Effect.PANIC, False, self.site(node))
        place = self.element(base, index, target)
        if not isinstance(place, ir.Index):
            self.fail(target, "this cannot be assigned to")
        self._check_writable(base.type, target)
        e = self.coerce(e, self._store_type(place, target), value, "the element")
        self.emit(ir.SetIndex(self.site(node), place.base, place.index, e, place.checked))

    def _index_value(self, target: ast.Subscript) -> Expr:
        if isinstance(target.slice, ast.Slice):
            self.fail(target, "a slice is not assigned to", ".copy_from(...), .fill(...)")
        return self.value(target.slice)

    def _check_writable(self, kind: t.Type, target: ast.Subscript) -> None:
        if isinstance(kind, t.TableType) or (isinstance(kind, t.SliceType) and kind.const):
            self.fail(target, f"{kind} is read-only", "take a Slice where it is written")

    def _unpack(self, target: ast.Tuple, value: ast.expr, node: ast.stmt) -> None:
        whole = self.value(value)
        if not isinstance(whole.type, t.TupleType) or len(whole.type.items) != len(target.elts):
            self.fail(target, f"{len(target.elts)} names for {whole.type}")
        site = self.site(node)
        if isinstance(whole, ir.MakeTuple):
            items = [i if isinstance(i, ir.Const) else self.temporary(i, site) for i in whole.items]
        else:
            held = self.atom(whole, site, "pair")
            items = [ir.TupleItem(k, held, i) for i, k in enumerate(whole.type.items)]   # type: ignore[misc]
        for name, item in zip(target.elts, items):
            if isinstance(name, ast.Name) and name.id == "_":
                continue
            if not isinstance(name, ast.Name):
                self.fail(name, "a tuple is taken apart into local names", "then store each")
            known = self.scope.names.get(name.id)
            self.bind(name.id, self.coerce(item, known.type, name, name.id) if known else item, node)

    def augmented(self, node: ast.AugAssign) -> None:
        if type(node.op) not in OPERATORS:
            self.fail(node, f"{type(node.op).__name__} is no operator of the language",
                      "integers divide by //" if isinstance(node.op, ast.Div) else "")
        op, site = OPERATORS[type(node.op)], self.site(node)
        if isinstance(node.target, ast.Name):
            left, right = self.operands([lambda: self.name(cast(ast.Name, node.target)), lambda: self.value(node.value)], site)
            result = self.operate(op, left, right, node)
            self.bind(node.target.id, result, node)
            return
        place = self._place_once(node.target)
        old, right = self.operands([lambda: place, lambda: self.value(node.value)], site)
        result = self.operate(op, old, right, node)
        if isinstance(place, ir.Field):
            self.emit(ir.SetField(site, place.object, place.name, result))
        else:
            self.emit(ir.SetIndex(site, place.base, place.index, result, False))

    def _place_once(self, target: ast.expr) -> ir.Field | ir.Index:
        """A field or element whose object and index are evaluated once, for `+=`."""
        place = self.value(target)
        site = self.site(target)
        if isinstance(place, ir.Field) and isinstance(target, ast.Attribute):
            place = self._writable(place, target)
            self._store_type(place, target)
            return ir.Field(place.type, self.atom(place.object, site), place.name)
        if isinstance(place, ir.Index) and isinstance(target, ast.Subscript):
            self._check_writable(place.base.type, target)
            self._store_type(place, target)
            base, index = self.atom(place.base, site), self.atom(place.index, site)
            return ir.Index(place.type, base, index, place.checked, place.site)
        if isinstance(place, ir.Intrinsic) and isinstance(target, ast.Attribute):
            self._writable(place, target)
        self.fail(target, "this cannot be assigned to")

    # ---- simple statements

    def expression(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return
        if isinstance(node.value, ast.Yield):
            if self.scope.on_yield is None:
                self.fail(node, "yield stands only in a generator (-> Iterator[T])")
            self.scope.on_yield(node.value)
            return
        if not isinstance(node.value, ast.Call):
            self.fail(node, "an expression that is no call does nothing here")
        e = self.value(node.value)
        if isinstance(e.type, t.EnumType) and e.type.must_use:
            self.fail(node, f"a {e.type} may not be dropped", "test it, return it, or write _ = ...")
        if isinstance(e.type, t.TupleType) and any(isinstance(i, t.EnumType) and i.must_use for i in e.type.items):
            self.fail(node, f"a result in {e.type} may not be dropped", "test it, return it, or write _ = ...")
        if ir.effects(e) != Effect.PURE:
            self.emit(ir.Eval(self.site(node), e))

    def assertion(self, node: ast.Assert) -> None:
        message = node.msg.value if isinstance(node.msg, ast.Constant) and isinstance(node.msg.value, str) else \
            "" if node.msg is None else self.fail(node.msg, "an assertion's message is a constant text")
        with self.buffer() as early:
            test = self.condition(node.test)
        if "assert" in self.frontend.checks:
            self.out.extend(early)
            site = self.site(node)
            failed = ir.Unary(t.BOOL, "not", test, site)
            self.emit(ir.If(site, failed, [ir.PanicStmt(site, "assert", message)], []))
        self.learn(node.test, True)

    def return_(self, node: ast.Return) -> None:
        site = self.site(node)
        if self.scope.on_return:
            if node.value is not None:
                self.fail(node, "a generator returns nothing")
            self.scope.exits.append(self.flow.copy())
            self._leave(self.scope.on_return, self.scope.cleanups, node)
            return
        e: Expr | None = None
        if node.value is not None:
            if self.result == t.VOID and not (isinstance(node.value, ast.Constant) and node.value.value is None):
                self.fail(node.value, "this function gives no result", "declare -> T")
            if self.result != t.VOID:
                e = self.typed(node.value, self.result, "the result")
        elif self.result != t.VOID:
            self.fail(node, f"a {self.result} is wanted")
        if e is not None and self.cleanups and not isinstance(e, (ir.Const, ir.Local)):
            e = self.temporary(e, site, "result")
        self._clean(0)
        self.emit(ir.Return(site, e))
        self.flow.reachable = False

    def _clean(self, depth: int) -> None:
        """Release what `with` holds above that depth, innermost first."""
        for cleanup in reversed(self.cleanups[depth:]):
            cleanup()

    def _leave(self, label: str, depth: int, node: ast.AST) -> None:
        self._clean(depth)
        self.used_labels.add(label)
        self.emit(ir.Leave(self.site(node), label))
        self.flow.reachable = False

    def break_(self, node: ast.Break | ast.Continue) -> None:
        loop = self.scope.loops[-1]
        is_break = isinstance(node, ast.Break)
        (loop.breaks if is_break else loop.continues).append(self.flow.copy())
        label = loop.break_label if is_break else loop.continue_label
        kept = loop.kept_by_break if is_break else loop.cleanups
        if label:
            self._leave(label, kept, node)
            return
        self._clean(kept)
        self.emit((ir.Break if is_break else ir.Continue)(self.site(node)))
        self.flow.reachable = False

    # ---- branches and loops

    def if_(self, node: ast.If) -> None:
        test = self.condition(node.test)
        start = self.flow
        then_flow, else_flow = start.copy(), start.copy()
        self.flow = then_flow
        self.learn(node.test, True)
        self.flow = else_flow
        self.learn(node.test, False)
        if isinstance(test, ir.Const):
            (else_flow if test.value else then_flow).reachable = False
        then, then_end = self._branch_or_dead(node.body, then_flow)
        otherwise, else_end = self._branch_or_dead(node.orelse, else_flow)
        self.flow = join(then_end, else_end)
        if isinstance(test, ir.Const):
            self.out.extend(then if test.value else otherwise)
        else:
            self.emit(ir.If(self.site(node), test, then, otherwise))

    def _branch_or_dead(self, nodes: list[ast.stmt], start: Flow) -> tuple[list[ir.Stmt], Flow]:
        """A branch that configuration folds away is typed all the same."""
        dead = not start.reachable
        start.reachable = True
        out, end = self.branch(nodes, start) if nodes else ([], start)
        end.reachable = end.reachable and not dead
        return out, end

    def while_(self, node: ast.While) -> None:
        if node.orelse:
            self.fail(node, "a loop's else is not in the language")
        site = self.site(node)
        self._forget_assigned(node)
        entry = self.flow.copy()
        with self.buffer() as early:
            test = self.condition(node.test)
        self.learn(node.test, True)
        loop = Loop(len(self.cleanups), len(self.cleanups))
        self.scope.loops.append(loop)
        body, _ = self.branch(node.body, self.flow)
        self.scope.loops.pop()
        self.flow = entry
        self.learn(node.test, False)
        endless = isinstance(test, ir.Const) and test.value
        if endless:
            self.flow.reachable = False
        if early:
            stop = ir.If(site, ir.Unary(t.BOOL, "not", test, site), [ir.Break(site)], [])
            body, test = [*early, stop, *body], ir.Const(t.BOOL, True)
        if not (isinstance(test, ir.Const) and not test.value):
            self.emit(ir.While(site, test, body))
        self.flow = join(self.flow, *loop.breaks)

    def _forget_assigned(self, node: ast.AST) -> None:
        """What a loop assigns is not known to be other than None when a later turn begins."""
        for name in bound_names([cast(ast.stmt, node)]):
            if name in self.scope.names:
                self.flow.nonnull.discard(self.scope.names[name])

    def for_(self, node: ast.For) -> None:
        if node.orelse:
            self.fail(node, "a loop's else is not in the language")
        self._forget_assigned(node)
        match node.iter:
            case ast.Call(func=ast.Name(id="range")):
                self._for_range(node, node.iter, False)
            case ast.Call(func=ast.Name(id="reversed"), args=[ast.Call(func=ast.Name(id="range")) as inner]):
                self._for_range(node, inner, True)
            case ast.Call(func=ast.Name(id="enumerate"), args=[what]):
                self._for_each(node, what, numbered=True)
            case ast.Call() if self._is_generator(node.iter):
                self._for_generator(node, node.iter)
            case _:
                self._for_each(node, node.iter, numbered=False)

    def _for_range(self, node: ast.For, call: ast.Call, reverse: bool) -> None:
        if not isinstance(node.target, ast.Name):
            self.fail(node.target, "range gives one name")
        if call.keywords or not 1 <= len(call.args) <= 3:
            self.fail(call, "range(stop), range(start, stop) or range(start, stop, step)")
        site = self.site(node)
        parts = self.operands([lambda a=a: self.atom(self.value(a), site, "bound") for a in call.args[:2]], site)  # type: ignore[misc]
        start: Expr = ir.Const(t.LITERAL, 0) if len(parts) == 1 else parts[0]
        start, stop = self.unify(start, parts[-1], call, "the bounds")
        if isinstance(start.type, t.LiteralType):
            start, stop = self.coerce(start, t.USIZE, call), self.coerce(stop, t.USIZE, call)
        if not isinstance(start.type, t.IntType):
            self.fail(call, f"range counts integers, and these are {start.type}")
        step = self._step(call)
        stop = self._fixed(stop, node, site)
        start = self._fixed(start, node, site)
        var = self.loop_var(node.target, start.type)
        self._loop(node, lambda body: ir.ForRange(site, var, start, stop, step, reverse, body), [var])

    def _fixed(self, bound: Expr, node: ast.For, site: Any) -> Expr:
        """A bound keeps its value though the body assigns the variable it came from."""
        if isinstance(bound, ir.Local) and not bound.var.temporary and \
                bound.var in {self.scope.names.get(n) for n in bound_names([node])}:
            return self.temporary(bound, site, "bound")
        return bound

    def _step(self, call: ast.Call) -> int:
        if len(call.args) < 3:
            return 1
        step = self.expr(call.args[2])
        if not isinstance(step, ir.Const) or not isinstance(step.value, int) or step.value < 1:
            self.fail(call.args[2], "a step is a positive constant", "reversed(range(...)) counts down")
        return step.value

    def loop_var(self, target: ast.expr, kind: t.Type) -> Var:
        """The variable a loop sets; a name used again with another type is another variable."""
        if not isinstance(target, ast.Name):
            self.fail(target, "a loop sets one name")
        var = self.scope.names.get(target.id)
        if var is None or var.type != kind or var.storage or var.parameter:
            var = self.new_var(target.id, kind)
            if target.id != "_":
                self.scope.names[target.id] = var
        return var

    def _loop(self, node: ast.For, make: Callable[[list[ir.Stmt]], ir.Stmt], sets: list[Var],
              first: Callable[[], None] | None = None) -> None:
        """Lower a counted loop's body; `first` emits what each turn begins with."""
        entry = self.flow.copy()
        self.flow.assigned.update(sets)
        loop = Loop(len(self.cleanups), len(self.cleanups))
        self.scope.loops.append(loop)
        with self.buffer() as body:
            if first is not None:
                first()
            self.body(node.body)
        self.scope.loops.pop()
        self.flow = join(entry, *loop.breaks)
        self.emit(make(body))

    def _for_each(self, node: ast.For, what: ast.expr, numbered: bool) -> None:
        site = self.site(node)
        run = self.value(what)
        if not isinstance(run.type, INDEXED):
            self.fail(what, f"{run.type} has no elements to go through")
        kind: t.Type = run.type
        run = run if isinstance(run, (ir.StaticRef, ir.Const)) else self.temporary(run, site, "run") \
            if not (isinstance(run, ir.Local) and run.var.storage) else run
        stop: Expr = ir.Const(t.USIZE, run.type.length) if isinstance(run.type, (t.ArrayType, t.TableType)) else \
            self.temporary(ir.Length(t.USIZE, run), site, "count")
        index = self._each_index(node, numbered)
        target = node.target.elts[1] if numbered and isinstance(node.target, ast.Tuple) else node.target
        element = ir.Index(_value(cast(t.SliceType, kind).element), run, ir.Local(t.USIZE, index), False, site)
        var = self.loop_var(target, element.type)

        def first() -> None:
            self.emit(ir.Let(site, var, element))
            self.flow.assigned.add(var)
            self.flow.nonnull.discard(var)
        self._loop(node, lambda body: ir.ForRange(site, index, ir.Const(t.USIZE, 0), stop, 1, False, body), [index, var], first)

    def _each_index(self, node: ast.For, numbered: bool) -> Var:
        if not numbered:
            return self.new_var("i", t.USIZE, temporary=True)
        if not isinstance(node.target, ast.Tuple) or len(node.target.elts) != 2:
            self.fail(node.target, "enumerate gives two names", "for i, x in enumerate(...)")
        return self.loop_var(node.target.elts[0], t.USIZE)

    # ---- inlined generators

    def _is_generator(self, call: ast.Call) -> bool:
        try:
            with self.buffer():
                callee = self.expr(call.func)
        except Exception:
            return False
        function = callee.value if isinstance(callee, Known) else getattr(callee, "function", None)
        return isinstance(function, Function) and any(isinstance(n, (ast.Yield, ast.YieldFrom))
                                                      for n in ast.walk(Source(function).node))

    def _for_generator(self, node: ast.For, call: ast.Call) -> None:
        callee = self.expr(call.func)
        known = isinstance(callee, Known)
        function: Function = cast(Any, callee).value if known else cast(Any, callee).function
        receiver = [] if known else [cast(Any, callee).receiver]
        source = Source(function)
        yields = [n for n in ast.walk(source.node) if isinstance(n, ast.Yield)]
        if len(yields) != 1:
            self.fail(call, f"{function.py.__name__} has {len(yields)} yields: a generator to be inlined has exactly one")
        self.frontend.enter(function, self.site(call))
        params = self.frontend.generator_parameters(function)
        args = self.arguments(function.py.__name__, params, receiver, call)
        inner = Scope(source, bindings=count_bindings(source.node), cleanups=len(self.cleanups))
        outer, site = self.scope, self.site(node)
        for parameter, argument in zip(params, args):
            var = inner.names[parameter.name] = self.new_var(parameter.name, parameter.type)
            self.emit(ir.Let(site, var, argument))
            self.flow.assigned.add(var)
        done, turn = self.label("done"), self.label("turn")
        inner.on_return = done
        inner.on_yield = lambda expression: self._consume(node, function, outer, inner, expression, done, turn)
        self.scope = inner
        with self.buffer() as body:
            self.body([s for s in source.node.body])
        self.scope = outer
        self.flow = join(self.flow, *inner.exits)
        self.frontend.leave(function)
        if done in self.used_labels:
            self.emit(ir.Block(site, done, body))
        else:
            self.out.extend(body)

    def _consume(self, node: ast.For, generator: Function, outer: Scope, inner: Scope, expression: ast.Yield,
                 done: str, turn: str) -> None:
        """The consumer's body in the place of the yield."""
        if expression.value is None:
            self.fail(expression, "a generator yields a value")
        value = self.value(expression.value)
        if isinstance(value.type, t.LiteralType):
            self.fail(expression, "a bare literal has no width of its own", "yield u32(...)")
        self.scope = outer
        self.frontend.leave(generator)                                 # the consumer may use the same generator inside
        loop = Loop(len(self.cleanups), inner.cleanups, break_label=done, continue_label=turn)
        outer.loops.append(loop)
        with self.buffer() as body:
            if isinstance(node.target, ast.Tuple):
                self._spread(node, value)
            else:
                var = self.loop_var(node.target, value.type)
                self.emit(ir.Let(self.site(node), var, value))
                self.flow.assigned.add(var)
            self.body(node.body)
        outer.loops.pop()
        inner.exits.extend(loop.breaks)
        self.flow = join(self.flow, *loop.continues)
        self.frontend.enter(generator, self.site(node))
        self.scope = inner
        if turn in self.used_labels:
            self.emit(ir.Block(self.site(node), turn, body))
        else:
            self.out.extend(body)

    def _spread(self, node: ast.For, value: Expr) -> None:
        target = cast(ast.Tuple, node.target)
        if not isinstance(value.type, t.TupleType) or len(value.type.items) != len(target.elts):
            self.fail(target, f"{len(target.elts)} names for {value.type}")
        held = self.atom(value, self.site(node), "pair")
        for i, name in enumerate(target.elts):
            var = self.loop_var(name, value.type.items[i])
            self.emit(ir.Let(self.site(node), var, ir.TupleItem(var.type, held, i)))
            self.flow.assigned.add(var)

    # ---- match and with

    def match_(self, node: ast.Match) -> None:
        site = self.site(node)
        subject = self.value(node.subject)
        if not isinstance(subject.type, (t.EnumType, t.IntType, t.BoolType)):
            self.fail(node.subject, f"match works on enums and integers, and this is {subject.type}")
        subject = self.atom(subject, site, "subject")
        whole = self._exhaustive(node, subject.type)
        start, ends = self.flow, []
        chain: list[tuple[Expr | None, list[ir.Stmt]]] = []
        for position, case in enumerate(node.cases):
            test = self._pattern(case.pattern, subject)
            last = position == len(node.cases) - 1
            if whole and last and case.guard is None:
                test = None
            self.flow = start.copy()
            if case.guard is not None:
                with self.buffer() as early:
                    guard = self.condition(case.guard)
                if early:
                    self.fail(case.guard, "this guard needs statements of its own", "use an if inside the case")
                self.learn(case.guard, True)
                test = guard if test is None else self.short_circuit("and", test, lambda g=guard: g, site)   # type: ignore[misc]
            out, end = self.branch(case.body, self.flow)
            chain.append((test, out))
            ends.append(end)
        self._chain_of_ifs(node, chain, start, ends)

    def _chain_of_ifs(self, node: ast.Match, chain: list[tuple[Expr | None, list[ir.Stmt]]], start: Flow, ends: list[Flow]) -> None:
        rest: list[ir.Stmt] = []
        if chain[-1][0] is None:
            rest = chain.pop()[1]
        else:
            ends = [*ends, start]
        for position in range(len(chain) - 1, -1, -1):
            test, out = chain[position]
            rest = [ir.If(self.site(node.cases[position].pattern), cast(Expr, test), out, rest)]
        self.out.extend(rest)
        self.flow = join(*ends)

    def _exhaustive(self, node: ast.Match, kind: t.Type) -> bool:
        """Whether some case always matches; an enum's match must have that. Raises CompileError naming what is missing."""
        named: set[Any] = set()
        for case in node.cases:
            if case.guard is not None:
                continue
            if isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None:
                return True
            parts = case.pattern.patterns if isinstance(case.pattern, ast.MatchOr) else [case.pattern]
            for part in parts:
                if isinstance(part, ast.MatchValue):
                    value = self.expr(part.value)
                    named.add(value.value if isinstance(value, ir.Const) else None)
        if isinstance(kind, t.EnumType):
            missing = [m.name for m in kind.cls if m not in named]
            if missing:
                self.fail(node.subject, f"match does not say what happens for {', '.join(missing)}", "add the case, or case _:")
            return True
        return False

    def _pattern(self, pattern: ast.pattern, subject: Expr) -> Expr | None:
        """The test for a pattern; None matches everything."""
        match pattern:
            case ast.MatchAs(pattern=None, name=None):
                return None
            case ast.MatchValue():
                value = self.expr(pattern.value)
                if not isinstance(value, ir.Const):
                    self.fail(pattern, "a case is a constant")
                return ir.Compare(t.BOOL, "==", subject, self.coerce(value, subject.type, pattern, "the case"))
            case ast.MatchSingleton() if isinstance(pattern.value, bool) and subject.type == t.BOOL:
                return subject if pattern.value else ir.Unary(t.BOOL, "not", subject, self.site(pattern))
            case ast.MatchOr():
                tests = [self._pattern(p, subject) for p in pattern.patterns]
                if any(x is None for x in tests):
                    return None
                result = cast(Expr, tests[0])
                for test in tests[1:]:
                    result = ir.Logical(t.BOOL, "or", result, cast(Expr, test))
                return result
            case ast.MatchAs(name=name) if name is not None:
                self.fail(pattern, "a case names a constant, it does not capture", "case _:, or a dotted name")
        self.fail(pattern, "this pattern is not in the language", "enum members, integers, | and _")

    def with_(self, node: ast.With) -> None:
        depth = len(self.cleanups)
        for item in node.items:
            self._enter(item, node)
        self.body(node.body)
        if self.flow.reachable:
            self._clean(depth)
        del self.cleanups[depth:]

    def _enter(self, item: ast.withitem, node: ast.With) -> None:
        site, expression = self.site(item.context_expr), item.context_expr
        manager = self.atom(self.value(expression), site, "held")
        kind = manager.type
        methods = [kind.cls.__dict__.get(n) if isinstance(kind, t.RefType) and not kind.nullable else None
                   for n in ("__enter__", "__exit__")]
        if not all(isinstance(m, Function) for m in methods):
            self.fail(expression, f"{kind} has no @fn __enter__ and __exit__")
        enter, leave = (self.frontend.callee(cast(Function, m), site) for m in methods)
        entered = ir.Call(enter.result, enter, [manager], site)
        if item.optional_vars is None:
            self.emit(ir.Eval(site, entered))
        elif isinstance(item.optional_vars, ast.Name) and entered.type != t.VOID:
            self.bind(item.optional_vars.id, entered, item.optional_vars)
        else:
            self.fail(item.optional_vars, "`as` takes one name, and __enter__ gives it a value")
        self.cleanups.append(lambda: self.emit(ir.Eval(site, ir.Call(leave.result, leave, [manager], site))))


def _value(kind: t.Type) -> t.Type:
    return t.RefType(kind.cls) if isinstance(kind, t.StructType) and not kind.frozen else kind


def bound_names(nodes: list[ast.stmt]) -> set[str]:
    """Every local name that some statement below binds."""
    return set(_bindings(nodes))


def count_bindings(node: ast.FunctionDef) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in _bindings(node.body):
        counts[name] = counts.get(name, 0) + 1
    return counts


def _bindings(nodes: list[ast.stmt]) -> list[str]:
    return [n.id for top in nodes for n in ast.walk(top) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


_HANDLERS: dict[type[ast.stmt], Callable[[Any, Any], None]] = {
    ast.Assign: lambda s, n: s.assign(n), ast.AnnAssign: lambda s, n: s.annotated(n), ast.AugAssign: lambda s, n: s.augmented(n),
    ast.Expr: lambda s, n: s.expression(n), ast.Assert: lambda s, n: s.assertion(n), ast.Return: lambda s, n: s.return_(n),
    ast.Break: lambda s, n: s.break_(n), ast.Continue: lambda s, n: s.break_(n), ast.Pass: lambda s, n: None,
    ast.If: lambda s, n: s.if_(n), ast.While: lambda s, n: s.while_(n), ast.For: lambda s, n: s.for_(n),
    ast.Match: lambda s, n: s.match_(n), ast.With: lambda s, n: s.with_(n)}
