"""`@fn` and its kin: the only door from CPython to a function of the language."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any


def _enter(function: Function, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """The hosted engine's door, imported when something is first called; an import each time would triple its cost."""
    global _enter
    from . import hosted
    _enter = hosted.call
    return hosted.call(function, args, named)


class Function:
    """A function of the language. Calling it in CPython runs the rendered program; the compiler reads `py`."""

    def __init__(self, py: Callable[..., Any], *, inline: bool | None = None, symbol: str = "", external: bool = False,
                 preserve: bool = False) -> None:
        self.py, self.inline, self.symbol, self.external, self.preserve = py, inline, symbol, external, preserve
        self.owner: type[Any] | None = None         # the class whose method it is
        self.__name__, self.__doc__, self.__module__ = py.__name__, py.__doc__, py.__module__
        self.__wrapped__ = py

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.owner = owner

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        return self if instance is None else partial(self, instance)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return _enter(self, args, named)

    def __getattr__(self, name: str) -> Any:
        """`rendered0` and its kin: the plain Python function, made when it is first called by pointer."""
        if name.startswith("rendered"):
            from .pywriter import rendered
            return rendered(self, name)
        raise AttributeError(name)

    def __repr__(self) -> str:
        return f"<fn {self.__module__}.{self.py.__qualname__}>"


def fn(py: Callable[..., Any] | None = None, *, inline: bool | None = None) -> Any:
    """Make a function of the language: `@fn`, or `@fn(inline=True)` to always inline it, `inline=False` never."""
    if py is None:
        return partial(fn, inline=inline)
    return Function(py, inline=inline)


EXPORTS: list[Function] = []


def export(symbol: str, *, preserve: bool = False) -> Any:
    """`@fn` under a fixed symbol, kept in the image for assembly or C to call.

    `preserve`: it changes few registers, for a caller that saves no more: on aarch64 x0-x8, x16, x17 and x30, on x86-64 rax, rdi,
    rsi, rdx, rcx, r8 and r9 (clang's preserve_most).
    """
    def make(py: Callable[..., Any]) -> Function:
        made = Function(py, symbol=symbol, inline=False, preserve=preserve)
        EXPORTS.append(made)
        return made
    return make


def external(symbol: str) -> Any:
    """A function that assembly provides under that symbol; the Python body, plain CPython, is its model."""
    return lambda py: Function(py, symbol=symbol, external=True)


class Operation:
    """A declared hardware operation: one instruction template per architecture; the Python body is the model."""

    def __init__(self, py: Callable[..., Any], templates: dict[str, str], clobbers: tuple[str, ...], pure: bool) -> None:
        self.py, self.templates, self.clobbers, self.pure = py, templates, clobbers, pure
        self.__name__, self.__doc__, self.__module__ = py.__name__, py.__doc__, py.__module__
        self.__wrapped__ = py

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self.py(*args, **named)

    def __repr__(self) -> str:
        return f"<operation {self.__module__}.{self.__name__}>"


def operation(*, clobbers: tuple[str, ...] = (), pure: bool = False, **templates: str) -> Any:
    """Declare an operation; templates by architecture (`aarch64=`, `armv7=`, `x86_64=`, `host=`)."""
    return lambda py: Operation(py, templates, clobbers, pure)


ASSEMBLY: list[tuple[str, str, str]] = []           # architecture, module, text


def assembly(text: str, *, arch: str) -> None:
    """Add top-level assembly to every image of that architecture which imports the calling module."""
    import sys
    ASSEMBLY.append((arch, sys._getframe(1).f_globals.get("__name__", "?"), text))


class Printer:
    """`printk = Printer(begin, write, end)`: text sink; calls with an f-string are expanded at compile time.

    With `on`, a function without parameters, nothing of a call is done, its values not worked out either, while that gives False.
    """

    def __init__(self, begin: Any, write: Any, end: Any, on: Any = None) -> None:
        self.begin, self.write, self.end, self.on = begin, write, end, on

    def __call__(self, text: str) -> None:
        if self.on is not None and not self.on():
            return
        self.begin()
        self.write(text.encode())
        self.end()
