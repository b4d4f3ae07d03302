"""The front end: live functions to typed IR."""
from __future__ import annotations

import inspect
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from .. import ir, types as t
from ..errors import CHECK_KINDS, CompileError, Site
from ..functions import Function, Operation
from ..ir import FunctionIR, Program, Static
from ..structs import Array, Atomic, Struct, Table, Union, View
from .escape import Escape, Summary
from .reader import Parameter, Source, site_of
from .statements import Statements, count_bindings

__all__ = ["Frontend"]

Parts = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Named:
    """What a function's body names: functions called, or the types of pointers to them; functions as values; statics."""

    callees: list[tuple[Any, Site]]
    values: list[FunctionIR]
    statics: list[Static]


@dataclass(frozen=True)
class Survey:
    """What lies inside a live object, by id, and what it refers to, with a hint of a name."""

    inside: set[int]
    referred: list[tuple[str, Any]]


class Frontend:
    """Lowers functions on demand; what is lowered once is kept."""

    def __init__(self, pointer_bits: int = 64, checks: frozenset[str] = frozenset(CHECK_KINDS)) -> None:
        self.pointer_bits, self.checks = pointer_bits, checks
        self.functions: dict[Function, FunctionIR] = {}
        self.failed: dict[FunctionIR, CompileError] = {}
        self.queue: list[tuple[FunctionIR, Source]] = []
        self.statics: dict[int, Static] = {}
        self.address_taken: set[FunctionIR] = set()
        self.names: set[str] = set()
        self.expanding: list[Function] = []
        self.signatures: dict[Function | Operation, tuple[list[Parameter], t.Type]] = {}
        self.summaries: dict[FunctionIR, Summary] = {}
        self.named_by: dict[FunctionIR, Named] = {}
        self.functions_in: dict[int, list[FunctionIR]] = {}
        self.surveys: dict[int, Survey] = {}

    # ---- what users call

    def lower(self, function: Function) -> FunctionIR:
        """Lower a function and all it reaches. Raises CompileError."""
        root = self.callee(function, None)
        self._drain()
        self._verify([root])
        return root

    def program(self, roots: list[Function] | None = None, once: Collection[str] = (), fast: Collection[str] = (), separate: Parts = ()) -> Program:
        """Everything the roots reach (all that was lowered when not given), callees first. `once`: symbols of roots that run once.

        `fast`: modules, functions and symbols compiled for speed, all others then being compiled for size; none: all are. `separate`: names of parts, with such names,
        for code that only those reach. Raises CompileError.
        """
        starts = [self.callee(f, None) for f in roots] if roots is not None else list(self.functions.values())
        self._drain()
        functions, statics = self._verify(starts)
        stay = [f for f in (*starts, *functions) if f.symbol not in once and (f.symbol or f in starts)]
        kept, named = self._reach(stay)
        return Program(self.pointer_bits, functions, statics, self.checks, dict(self.functions),
                       frozenset(f for f in functions if f not in kept), frozenset(id(s.live) for s in statics if self._surveyed(s).inside.isdisjoint(named)),
                       frozenset(f for f in functions if fast and _names(f).isdisjoint(fast)), self._parts(separate, stay, kept))

    def callees(self, function: FunctionIR) -> list[FunctionIR]:
        """What a function may call, through pointers too."""
        found: list[FunctionIR] = []
        for target, _ in self._callees(function):
            found += [target] if isinstance(target, FunctionIR) else self._targets(target) if isinstance(target, t.FnType) else []
        return found

    def errors(self) -> list[CompileError]:
        """The errors of every function tried so far."""
        return list(self.failed.values())

    # ---- what the lowering calls

    def callee(self, function: Function, site: Site | None) -> FunctionIR:
        """The header of a function; its body is lowered later."""
        if function not in self.functions:
            source = Source(function)
            if inspect.isgeneratorfunction(source.py):
                raise CompileError(site or site_of(source.file, source.node), f"{function.py.__name__} is a generator",
                                   "it stands only after `in` of a for")
            params, result = self.signature(function)
            made = FunctionIR(self._function_name(function, source), function,
                              [ir.Var(p.name, p.type, parameter=True) for p in params], result, source.file, source.node.lineno,
                              inline=function.inline, symbol=function.symbol, external=function.external,
                              preserve=function.preserve)
            self.functions[function] = made
            if not function.external:
                self.queue.append((made, source))
        return self.functions[function]

    def signature(self, function: Function | Operation) -> tuple[list[Parameter], t.Type]:
        if function not in self.signatures:
            self.signatures[function] = Source(function).signature()
        return self.signatures[function]

    def generator_parameters(self, function: Function) -> list[Parameter]:
        source = Source(function)
        source._result = lambda: t.VOID                                # type: ignore[method-assign]
        return source.signature()[0]

    def enter(self, generator: Function, site: Site) -> None:
        if generator in self.expanding:
            raise CompileError(site, f"{generator.py.__name__} would be expanded inside itself", "recursion is not in the language")
        self.expanding.append(generator)

    def leave(self, generator: Function) -> None:
        self.expanding.remove(generator)

    def static(self, live: Any, hint: str) -> Static:
        """The static storage that a live object is."""
        if id(live) not in self.statics:
            self.statics[id(live)] = Static(self._unique(_identifier(hint or type(live).__name__)), live, _static_type(live))
            self._visit_live(live, set())
        return self.statics[id(live)]

    # ---- names

    def _unique(self, name: str) -> str:
        unique, n = name, 2
        while unique in self.names:
            unique, n = f"{name}_{n}", n + 1
        self.names.add(unique)
        return unique

    def _function_name(self, function: Function, source: Source) -> str:
        if function.symbol:
            self.names.add(function.symbol)
            return function.symbol
        parts = [p for p in source.py.__qualname__.split(".") if p != "<locals>"]
        if len(parts) > 1 and function.owner is None:
            values = [_value_name(v) for v in source.captured.values() if isinstance(v, (bool, int, str))]
            parts = parts[:-1] + values if values and parts[-1] in ("handler", parts[0]) else [*parts, *values]
        module = source.py.__module__.rpartition(".")[2]
        name = _identifier("_".join(parts)).lstrip("_")
        if function.owner is None and not name.startswith(module) and len(parts) == 1:
            name = f"{_identifier(module)}_{name}"
        return self._unique(name)

    # ---- lowering

    def _drain(self) -> None:
        while self.queue:
            made, source = self.queue.pop(0)
            try:
                self._lower_body(made, source)
            except CompileError as error:
                self.failed[made] = error
            except t.BadType as error:
                self.failed[made] = CompileError(site_of(source.file, source.node), str(error))
            except RecursionError:
                self.failed[made] = CompileError(site_of(source.file, source.node), "an expression here is nested too deeply")
            finally:
                self.expanding.clear()

    def _lower_body(self, made: FunctionIR, source: Source) -> None:
        lowering = Statements(self, source, made.result)
        lowering.scope.bindings = count_bindings(source.node)
        for param in made.params:
            lowering.scope.names[param.name] = param
            lowering.used_names.add(param.name)
            lowering.flow.assigned.add(param)
        with lowering.buffer() as body:
            lowering.body(source.node.body)
        if lowering.flow.reachable and made.result != t.VOID:
            lowering.fail(source.node.body[-1], f"a path ends here without a {made.result}", "return one, or panic(\"why\")")
        made.body, made.locals = body, lowering.locals

    def _visit_live(self, live: Any, seen: set[int]) -> None:
        """Lower the functions that live data points to."""
        if id(live) in seen:
            return
        seen.add(id(live))
        if isinstance(live, Function):
            self.address_taken.add(self.callee(live, None))
        elif isinstance(live, Struct):
            for name in t.fields_of(type(live)):
                self._visit_live(getattr(live, name), seen)
        elif isinstance(live, (Array, Table, tuple)):
            for item in live:
                if not isinstance(item, (int, Atomic)):
                    self._visit_live(item, seen)
        elif isinstance(live, View):
            self._visit_live(live.base, seen)

    # ---- the whole graph: reachability, recursion, escapes

    def _verify(self, roots: list[FunctionIR]) -> tuple[list[FunctionIR], list[Static]]:
        order: list[FunctionIR] = []
        state: dict[FunctionIR, int] = {}
        statics: dict[int, Static] = {}
        for root in roots:
            self._visit(root, None, state, order, [])
        done = 0
        while done < len(order):                                       # functions that only live data reaches
            for static in self._statics_of(order[done]):
                if id(static.live) not in statics:
                    statics[id(static.live)] = static
                    for function in self._functions_in(static.live):
                        self._visit(function, None, state, order, [])
            done += 1
            if done == len(order):
                self._adopt(statics)
        for function in order:
            if function not in self.summaries:
                self.summaries[function] = Escape(function, self._summary, self._targets).run()
        return order, list(statics.values())

    def _parts(self, parts: Parts, roots: list[FunctionIR], kept: set[FunctionIR]) -> dict[FunctionIR, str]:
        """The part of each function that only functions of that part's modules and symbols lead to."""
        found: dict[FunctionIR, str] = {}
        for name, members in parts:
            inside = {f for f in kept if not _names(f).isdisjoint(members)}
            others = self._reach(roots, inside)[0]
            found |= {f: name for f in kept if f not in others}
        return found

    def _reach(self, roots: list[FunctionIR], without: Collection[FunctionIR] = ()) -> tuple[set[FunctionIR], set[int]]:
        """The functions that the roots may call, through any pointer too, and the statics that they name, by id of `live`; not through `without`."""
        functions: set[FunctionIR] = set()
        statics: dict[int, Static] = {}
        waiting = list(roots)
        while waiting:
            function = waiting.pop()
            if function in functions or function in without:
                continue
            functions.add(function)
            waiting += [*self.callees(function), *self._values(function)]
            for static in self._statics_of(function):
                statics[id(static.live)] = static
            if not waiting:
                self._adopt(statics)
                waiting += [f for static in statics.values() for f in self._functions_in(static.live) if f not in functions]
        return functions, set(statics)

    def _adopt(self, statics: dict[int, Static]) -> None:
        """Give storage to live objects that statics refer to and that lie inside none of them."""
        inside: set[int] = set()
        referred: list[tuple[str, Any]] = []
        for static in statics.values():
            self._note(static, inside, referred)
        for hint, live in referred:                                    # which grows
            if id(live) not in inside:
                statics[id(live)] = self.static(live, hint)
                self._note(statics[id(live)], inside, referred)

    def _note(self, static: Static, inside: set[int], referred: list[tuple[str, Any]]) -> None:
        found = self._surveyed(static)
        inside |= found.inside
        referred += found.referred

    def _surveyed(self, static: Static) -> Survey:
        if id(static.live) not in self.surveys:
            made = self.surveys[id(static.live)] = Survey(set(), [])
            _survey(static.live, static.name, made.inside, made.referred)
        return self.surveys[id(static.live)]

    def _visit(self, function: FunctionIR, site: Site | None, state: dict[FunctionIR, int], order: list[FunctionIR],
               path: list[FunctionIR]) -> None:
        if function in self.failed:
            raise self.failed[function]
        if state.get(function) == 2:
            return
        if state.get(function) == 1:
            names = " -> ".join(f.function.__name__ for f in [*path[path.index(function):], function])
            raise CompileError(site, f"recursion: {names}", "write a loop with a bound")
        state[function] = 1
        for target, place in self._callees(function):
            if isinstance(target, FunctionIR):
                self._visit(target, place, state, order, [*path, function])
            elif isinstance(target, t.FnType):
                for possible in self._targets(target):
                    self._visit(possible, place, state, order, [*path, function])
        for value in self._values(function):
            if state.get(value) != 1:
                self._visit(value, None, state, order, [])
        state[function] = 2
        order.append(function)

    def _named(self, function: FunctionIR) -> Named:
        if function not in self.named_by:
            self.named_by[function] = _named_in(_all_expressions(function))
        return self.named_by[function]

    def _callees(self, function: FunctionIR) -> list[tuple[Any, Site]]:
        """Functions called, and types of functions called through pointers."""
        return self._named(function).callees

    def _values(self, function: FunctionIR) -> list[FunctionIR]:
        return self._named(function).values

    def _statics_of(self, function: FunctionIR) -> list[Static]:
        return self._named(function).statics

    def _functions_in(self, live: Any) -> list[FunctionIR]:
        """The functions that live data points to, which does not change any more."""
        if id(live) not in self.functions_in:
            before, self.address_taken = self.address_taken, set()
            self._visit_live(live, set())
            found, self.address_taken = self.address_taken, before | self.address_taken
            self.functions_in[id(live)] = sorted(found, key=lambda f: f.name)
        return self.functions_in[id(live)]

    def _targets(self, kind: t.Type) -> list[FunctionIR]:
        assert isinstance(kind, t.FnType)
        plain = t.FnType(kind.params, kind.result)
        return sorted((f for f in self.address_taken if f.type == plain), key=lambda f: f.name)

    def _summary(self, function: FunctionIR) -> Summary:
        return self.summaries.get(function) or Summary()


def _all_expressions(function: FunctionIR) -> list[ir.Expr]:
    return [e for s in ir.statements(function.body) for top in ir.expressions(s) for e in ir.walk(top)]


def _named_in(expressions: list[ir.Expr]) -> Named:
    found = Named([], [], [])
    for e in expressions:
        if isinstance(e, ir.Call):
            found.callees.append((e.function, e.site))
        elif isinstance(e, ir.CallIndirect):
            found.callees.append((e.callee.type, e.site))
        elif isinstance(e, ir.FnValue):
            found.values.append(e.function)
        elif isinstance(e, ir.StaticRef):
            found.statics.append(e.static)
    return found


def _static_type(live: Any) -> t.Type:
    if isinstance(live, (Struct, Union)):
        return t.RefType(type(live))
    if isinstance(live, Array):
        return t.storage_type(live, {})
    assert isinstance(live, Table)
    return t.TableType(t.storage_type(live.element, {}), len(live))


def _survey(live: Any, name: str, inside: set[int], referred: list[tuple[str, Any]]) -> None:
    """Note what lies inside a live object, and what it refers to."""
    inside.add(id(live))
    if isinstance(live, Struct):
        for field, kind in t.fields_of(type(live)).items():
            value = getattr(live, field)
            if isinstance(kind, t.RefType):
                if value is not None:
                    referred.append((f"{name}_{field}", value))
            elif isinstance(kind, t.SliceType):
                if isinstance(value.base, (Array, Table)) and len(value.base):
                    referred.append((f"{name}_{field}", value.base))
            elif isinstance(value, (Struct, Array, Union)):
                _survey(value, f"{name}_{field}", inside, referred)
    elif isinstance(live, (Array, Table)):
        for item in live:
            if isinstance(item, (Struct, Array, Union)):
                _survey(item, name, inside, referred)


def _names(function: FunctionIR) -> set[str | None]:
    """What lists may call a function by: its module, its own name, its symbol."""
    return {function.function.__module__, _full_name(function.function), function.symbol}


def _full_name(function: Function) -> str:
    return f"{function.__module__}.{function.py.__name__}"


def _identifier(text: str) -> str:
    return re.sub(r"\W", "_", text)


def _value_name(value: Any) -> str:
    return str(value).lower().replace("-", "minus_")
