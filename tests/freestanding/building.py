"""Builds functions of a test for one engine: the host at several levels, or a target on an emulated CPU."""
from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from freestanding.cwriter import TARGETS
from freestanding.errors import CHECK_KINDS
from freestanding.frontend import Frontend
from freestanding.functions import Function
from freestanding.ir import Program
from freestanding.toolchain import BuildResult, Options, build

from tests.freestanding.machines import EmulatedMachine, HostMachine


@dataclass(frozen=True)
class Engine:
    """How compiled code is made and run."""
    name: str
    options: Options
    environment: tuple[tuple[str, str], ...] = ()


def _options(target: str, **more: Any) -> Options:
    return Options(target=target, warnings=True, linker_script="", **more)


ENGINES = [
    Engine("host-O0", _options("host", optimize="0")),
    Engine("host-O2", _options("host", optimize="2")),
    Engine("host-ubsan", _options("host", optimize="1", sanitize=True)),
    Engine("aarch64", _options("aarch64")),
    Engine("armv7", _options("armv7")),
    Engine("x86_64", _options("x86_64")),
]
if shutil.which("gcc"):
    ENGINES.append(Engine("host-gcc", _options("host", optimize="2"), (("CC", "gcc"),)))


def lower(target: str, *functions: Function, without: tuple[str, ...] = ()) -> Program:
    """The program of these functions, each exported under its own name."""
    front = Frontend(TARGETS[target].pointer_bits, frozenset(CHECK_KINDS) - set(without))
    for function in functions:
        lowered = front.lower(function)
        lowered.symbol = lowered.symbol or function.__name__
    return front.program(list(functions))


def built(target: str, *functions: Function, without: tuple[str, ...] = (), **options: Any) -> tuple[Program, BuildResult]:
    program = lower(target, *functions, without=without)
    root = str(Path(functions[0].py.__code__.co_filename).parent)
    return program, build(program, Options(target=target, root=root, warnings=True, **options))


def machine(engine: Engine, *functions: Function, without: tuple[str, ...] = ()) -> HostMachine | EmulatedMachine:
    """The functions on an engine: `machine(...).call("name", ...)`."""
    program = lower(engine.options.target, *functions, without=without)
    root = str(Path(functions[0].py.__code__.co_filename).parent)
    result = build(program, replace(engine.options, root=root), dict(engine.environment))
    if engine.options.target == "host":
        return HostMachine(program, result)
    return EmulatedMachine(program, result, engine.options.target)
