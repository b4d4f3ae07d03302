"""The Python writer: a typed program back to plain Python, with the original file names and lines.

`Renderer.function(f)` gives the plain Python function of an `@fn`; what it calls is rendered on first call.
"""
from __future__ import annotations

import ast
import sys
import types as python
from collections.abc import Callable
from functools import partial
from typing import Any

from .. import ir, types as t
from ..functions import Function, Operation
from ..structs import View
from . import convert
from .runtime import SHARED
from .statements import Statements

__all__ = ["Renderer"]


class Renderer:
    """Rendered functions for one pointer width and one choice of checks."""
    count = 0

    def __init__(self, pointer_bits: int, checks: frozenset[str], lower: Callable[[Function], ir.FunctionIR], memory: Any) -> None:
        self.pointer_bits, self.checks, self.lower, self.memory = pointer_bits, checks, lower, memory
        self.attribute = f"rendered{Renderer.count}"    # under which a Function carries its rendered self
        RENDERERS[self.attribute] = self
        Renderer.count += 1
        self.globals: dict[str, dict[str, Any]] = {}    # by module: what its functions see
        self.functions: dict[ir.FunctionIR, Callable[..., Any]] = {}
        self.sources: dict[ir.FunctionIR, ast.FunctionDef] = {}
        self._names: dict[int, tuple[str, Any]] = {}
        self._taken: set[str] = set()
        self._made: dict[Any, Any] = {}

    def close(self) -> None:
        """Forget what was rendered; functions of the program remember it no more."""
        RENDERERS.pop(self.attribute, None)
        for source in self.functions:
            source.function.__dict__.pop(self.attribute, None)
        self.functions.clear()
        self.globals.clear()

    # ---- functions

    def function(self, function: Function) -> Callable[..., Any]:
        """The rendered function; the Function remembers it for calls by pointer."""
        found = self.render(self.lower(function))
        function.__dict__[self.attribute] = found
        return found

    def render(self, source: ir.FunctionIR) -> Callable[..., Any]:
        if source not in self.functions:
            made = self._external(source) if source.external else self._rendered(source)
            self.functions[source] = made
            text = f"@f.{source.name}"
            for names in self.globals.values():
                if text in names:
                    names[text] = made
        return self.functions[source]

    def _external(self, source: ir.FunctionIR) -> Callable[..., Any]:
        return convert.model(source.function.py, tuple(p.type for p in source.params), source.result, self.pointer_bits)

    def _rendered(self, source: ir.FunctionIR) -> Callable[..., Any]:
        names = self._globals_of(source.function.__module__)
        writer = Statements(self, names, source.file)
        writer.line = source.line
        body = writer.body(source.body)
        if writer.jumps:
            body.insert(0, writer.at(ast.Assign([ast.Name("@jump", ast.Store())], ast.Constant(0))))
        parameters = ast.arguments([], [ast.arg(p.name) for p in source.params], None, [], [], None, [])
        made = ast.FunctionDef(source.function.__name__, parameters, body, [], None)
        writer.line = source.line
        writer.at(made)
        self.sources[source] = made
        module = compile(ast.Module([made], []), source.file, "exec", dont_inherit=True)
        code = next(c for c in module.co_consts if isinstance(c, python.CodeType))
        return python.FunctionType(code, names, source.function.__name__)

    def _globals_of(self, module: str) -> dict[str, Any]:
        """The module's names as they are now (for the debugger), and what rendered code needs under names with `@`."""
        if module not in self.globals:
            live = sys.modules.get(module)
            self.globals[module] = dict(vars(live)) if live is not None else {}
            self.globals[module].update(SHARED, __name__=module)
        return self.globals[module]

    def callee(self, source: ir.FunctionIR, names: dict[str, Any]) -> str:
        """The name by which a function is called; until its first call it stands for rendering it."""
        text = f"@f.{source.name}"
        if text not in names:
            names[text] = self.functions.get(source) or partial(self._first_call, source)
        return text

    def _first_call(self, source: ir.FunctionIR, *args: Any) -> Any:
        return self.render(source)(*args)

    def text_of(self, source: ir.FunctionIR) -> str:
        """The rendered function as text, for people."""
        self.render(source)
        return ast.unparse(self.sources[source])

    # ---- names for live objects

    def name_of(self, hint: str, value: Any) -> str:
        """A name for a live object, the same one each time."""
        if id(value) not in self._names:
            text, n = f"@{hint}", 2
            while text in self._taken:
                text, n = f"@{hint}.{n}", n + 1
            self._taken.add(text)
            self._names[id(value)] = (text, value)
        return self._names[id(value)][0]

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def text(self, value: bytes) -> Any:
        return self._once(("text", value), lambda: View(value, 0, len(value)))

    def type(self, kind: t.Type) -> t.Type:
        return self._once(("type", kind), lambda: kind)                # type: ignore[no-any-return]

    def members(self, cls: Any) -> Any:
        """A function from integer to member, or to its second argument."""
        return self._once(("members", cls), lambda: {int(m): m for m in cls}.get)

    def enum_names(self, cls: Any) -> Any:
        return self._once(("names", cls), lambda: {int(m): self.text(m.name.encode()) for m in cls})

    def bits_maker(self, cls: Any) -> Any:
        return self._once(("bits", cls), lambda: partial(int.__new__, cls))

    def memory_method(self, name: str) -> Any:
        return self._once(("memory", name), lambda: getattr(self.memory, name))

    def model(self, operation: Operation, params: tuple[t.Type, ...], result: t.Type) -> Any:
        return self._once(("model", operation), lambda: convert.model(operation.py, params, result, self.pointer_bits))


RENDERERS: dict[str, Renderer] = {}


def rendered(function: Function, attribute: str) -> Callable[..., Any]:
    """A function called by pointer that has not been rendered yet."""
    made = function.model if isinstance(function, convert.StandIn) else RENDERERS[attribute].function(function)
    function.__dict__[attribute] = made
    return made
