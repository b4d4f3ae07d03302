"""The hosted engine's door: a call from CPython to an `@fn` checks its arguments and runs the rendered program.

`memory` is the bus on which `Ptr`s look; `configure` chooses pointer width and checks, and forgets what was rendered.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import CHECK_KINDS
from .functions import Function
from .hosted_memory import Memory, load_bytes, store_bytes
from .pywriter import Renderer
from .pywriter.convert import Converter, lowerer, raiser

if TYPE_CHECKING:
    from .frontend import Frontend

__all__ = ["Engine", "call", "configure", "engine", "load_bytes", "memory", "set_pointer_bits", "store_bytes"]

_MISSING: Any = object()


@dataclass
class Door:
    """How one function is entered."""
    engine: Engine
    name: str
    parameters: tuple[str, ...]
    defaults: tuple[Any, ...]
    lower: tuple[Converter, ...]
    run: Callable[..., Any]
    give: Converter | None


class Engine:
    """One front end and its rendered functions."""

    def __init__(self, pointer_bits: int = 64, checks: frozenset[str] = frozenset(CHECK_KINDS), bus: Memory | None = None) -> None:
        from .frontend import Frontend
        self.frontend: Frontend = Frontend(pointer_bits=pointer_bits, checks=checks)
        self.memory = bus or Memory(pointer_bits)
        self.renderer = Renderer(pointer_bits, checks, self.frontend.lower, self.memory)
        self.doors: dict[Function, Door] = {}

    def call(self, function: Function, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call a function from CPython. Raises CompileError, TypeError, OverflowError, and Panic from its checks."""
        door = self.doors.get(function) or self._open(function)
        if named or len(args) != len(door.parameters):
            args = _bind(door, args, named)
        try:
            lowered = [lower(a) for lower, a in zip(door.lower, args)]
        except (TypeError, OverflowError):
            lowered = _complain(door, args)
        result = door.run(*lowered)
        return result if door.give is None else door.give(result)

    def close(self) -> None:
        """Forget what was rendered."""
        self.renderer.close()
        self.doors.clear()

    def _open(self, function: Function) -> Door:
        from .frontend.reader import MISSING
        run = self.renderer.function(function)
        parameters, result = self.frontend.signature(function)
        bits = self.frontend.pointer_bits
        defaults = tuple(_MISSING if p.default is MISSING else p.default for p in parameters)
        self.doors[function] = Door(self, function.__name__, tuple(p.name for p in parameters), defaults,
                                    tuple(lowerer(p.type, bits) for p in parameters), run, raiser(result))
        return self.doors[function]


def _bind(door: Door, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """Positional and named arguments and defaults, in the order of the parameters. Raises TypeError."""
    if len(args) > len(door.parameters):
        raise TypeError(f"{door.name}() takes {len(door.parameters)} arguments, {len(args)} given")
    given = dict(zip(door.parameters, args))
    for name, value in named.items():
        if name in given or name not in door.parameters:
            raise TypeError(f"{door.name}() has {'two values for' if name in given else 'no parameter'} {name}")
        given[name] = value
    bound = tuple(given.get(n, d) for n, d in zip(door.parameters, door.defaults))
    if missing := [n for n, v in zip(door.parameters, bound) if v is _MISSING]:
        raise TypeError(f"{door.name}() wants a value for {', '.join(missing)}")
    return bound


def _complain(door: Door, args: tuple[Any, ...]) -> list[Any]:
    """Find the argument that does not convert, and name it. Raises TypeError or OverflowError."""
    lowered = []
    for name, lower, value in zip(door.parameters, door.lower, args):
        try:
            lowered.append(lower(value))
        except (TypeError, OverflowError) as error:
            kind = OverflowError if isinstance(error, OverflowError) else TypeError
            raise kind(f"{door.name}(): parameter {name}: {error}") from None
    return lowered


memory = Memory()
_engine: Engine | None = None


def engine() -> Engine:
    """The engine behind the door."""
    global _engine
    if _engine is None:
        _engine = Engine(memory.pointer_bits, bus=memory)
    return _engine


def configure(*, pointer_bits: int = 64, checks: frozenset[str] = frozenset(CHECK_KINDS)) -> Engine:
    """Start anew with another pointer width or other checks."""
    global _engine
    if _engine is not None:
        _engine.close()
    memory.set_pointer_bits(pointer_bits)
    _engine = Engine(pointer_bits, checks, memory)
    return _engine


def set_pointer_bits(bits: int) -> None:
    configure(pointer_bits=bits)


def call(function: Function, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    return engine().call(function, args, named)

