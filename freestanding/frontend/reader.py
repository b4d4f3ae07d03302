"""From a live function to its syntax tree, its names and its signature."""
from __future__ import annotations

import ast
import builtins
import linecache
from dataclasses import dataclass
from typing import Any

from ..errors import CompileError, Site
from ..functions import Function, Operation
from ..structs import Bits, IntEnum
from ..types import BadType, BitsType, EnumType, RefType, StructType, Type, VOID, value_type

_FILES: dict[str, dict[int, ast.FunctionDef]] = {}


def function_node(py: Any) -> ast.FunctionDef:
    """The `def` of a Python function, found by its first line. Raises CompileError where there is no source."""
    file, line = py.__code__.co_filename, py.__code__.co_firstlineno
    if file not in _FILES or line not in _FILES[file]:
        _FILES[file] = _index(file)
    if line not in _FILES[file]:
        raise CompileError(None, f"no source for {py.__qualname__} ({file}:{line})", "define it with `def` in a file")
    return _FILES[file][line]


def _index(file: str) -> dict[int, ast.FunctionDef]:
    linecache.checkcache(file)
    lines = linecache.getlines(file)
    tree = ast.parse("".join(lines), file)
    found: dict[int, ast.FunctionDef] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            found[min([node.lineno, *(d.lineno for d in node.decorator_list)])] = node
    return found


def site_of(file: str, node: ast.AST) -> Site:
    """The span of a syntax node."""
    line = getattr(node, "lineno", 1)
    end = getattr(node, "end_lineno", line) or line
    return Site(file, line, getattr(node, "col_offset", 0), end, getattr(node, "end_col_offset", 0) or 0)


@dataclass
class Parameter:
    name: str
    type: Type
    default: Any            # inspect-like: MISSING when there is none


MISSING: Any = object()


class Source:
    """What a body may name: the closure's captures, the module's globals, the builtins; and the signature."""

    def __init__(self, function: Function | Operation) -> None:
        self.function = function
        self.py = function.py
        self.file: str = self.py.__code__.co_filename
        self.node = function_node(self.py)
        cells = self.py.__closure__ or ()
        self.captured = {n: c.cell_contents for n, c in zip(self.py.__code__.co_freevars, cells)}

    @property
    def name(self) -> str:
        return str(self.py.__qualname__)

    def lookup(self, name: str) -> Any:
        """The live object that a name outside the function's locals means. Raises KeyError."""
        for names in (self.captured, self.py.__globals__, vars(builtins)):
            if name in names:
                return names[name]
        raise KeyError(name)

    def namespace(self) -> dict[str, Any]:
        names = dict(self.py.__globals__) | self.captured
        owner = getattr(self.function, "owner", None)
        if owner is not None:
            names = names | owner.__dict__.get("_namespace", {}) | {owner.__name__: owner}
        return names

    def resolve(self, annotation: Any, node: ast.AST) -> Type:
        try:
            return value_type(annotation, self.namespace())
        except BadType as error:
            raise CompileError(site_of(self.file, node), str(error)) from None

    def signature(self) -> tuple[list[Parameter], Type]:
        """Parameters and result, every one annotated (but `self`). Raises CompileError."""
        arguments = self.node.args
        if arguments.kwarg or (arguments.vararg and self.node.name != "__exit__"):
            raise CompileError(site_of(self.file, arguments.vararg or arguments.kwarg or self.node),
                               "a function takes a fixed list of parameters", "name each parameter")
        nodes = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        defaults = self._defaults(nodes)
        params = [Parameter(a.arg, self._parameter_type(a, i), defaults.get(a.arg, MISSING)) for i, a in enumerate(nodes)]
        return params, self._result()

    def _defaults(self, nodes: list[ast.arg]) -> dict[str, Any]:
        positional = [a.arg for a in nodes[:len(self.node.args.posonlyargs) + len(self.node.args.args)]]
        values = self.py.__defaults__ or ()
        found = dict(zip(positional[len(positional) - len(values):], values))
        return found | dict(self.py.__kwdefaults__ or {})

    def _parameter_type(self, arg: ast.arg, position: int) -> Type:
        annotations = self.py.__annotations__
        owner = getattr(self.function, "owner", None)
        if position == 0 and owner is not None and arg.arg not in annotations:
            return self_type(owner)
        if arg.arg not in annotations:
            raise CompileError(site_of(self.file, arg), f"parameter {arg.arg} has no type", f"write {arg.arg}: u32 (or its type)")
        return self.resolve(annotations[arg.arg], arg)

    def _result(self) -> Type:
        if "return" not in self.py.__annotations__:
            raise CompileError(site_of(self.file, self.node), f"{self.node.name} has no result type", "write -> None, or its type")
        annotation = self.py.__annotations__["return"]
        return VOID if annotation is None else self.resolve(annotation, self.node.returns or self.node)


def self_type(owner: type[Any]) -> Type:
    if issubclass(owner, Bits):
        return BitsType(owner)
    if issubclass(owner, IntEnum):
        return EnumType(owner)
    return StructType(owner) if owner.frozen else RefType(owner)
