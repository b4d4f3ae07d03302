"""The C writer: a whole program as one readable C unit."""
from __future__ import annotations

import re

from .. import ir
from ..errors import CompileError
from .checks import macros
from .ctypes import TypeNames
from .hostcalls import host_calls, plain_calls
from .operations import NO_MEMORY
from .origins import assembly_origins, origins, read_origins
from .runtime import TYPES, runtime, runtime_names
from .preserve import preserved, wrappers
from .statements import FunctionWriter, linkage, signature
from .statics import Statics
from .target import KIND_NUMBER, TARGETS, TRAP_BASE, Target
from .unit import Unit

__all__ = ["write_c", "runtime", "runtime_names", "TARGETS", "Target", "KIND_NUMBER", "TRAP_BASE", "TYPES", "NO_MEMORY", "TypeNames",
           "assembly_origins", "read_origins"]


def write_c(program: ir.Program, arch: str, *, root: str = "", assembly: str = "", title: str = "",
            callers: bool = False) -> str:
    """The program as one C unit for "aarch64", "armv7", "x86_64" or "host".

    Source paths are written relative to `root`. Statics that the text `assembly` names become visible to it. The runtime
    (`runtime()`) is not part of it. `callers` adds an entry for tests to each exported function. Raises CompileError.
    """
    if arch not in TARGETS:
        raise CompileError(None, f"no target {arch!r}: there are {', '.join(TARGETS)}")
    target = TARGETS[arch]
    if target.pointer_bits != program.pointer_bits:
        raise CompileError(None, f"the program was lowered for {program.pointer_bits}-bit pointers, {arch} has {target.pointer_bits}")
    unit = Unit(program, target, root)
    statics = Statics(unit)
    words = set(re.findall(r"[A-Za-z_]\w*", assembly))
    statics.visible = {name for name in (unit.static(s) for s in program.statics) if name in words}
    writers = [FunctionWriter(unit, f) for f in program.functions if not f.external]
    functions = [writer.write() for writer in writers]
    for position, writer in enumerate(writers):
        if writer.clashes():
            functions[position] = FunctionWriter(unit, writer.function).write()
    prototypes = _prototypes(unit)
    storage = statics.write()
    calls = host_calls(unit) if target.hosted else plain_calls(unit) if callers else ""
    return _assemble(unit, title, storage, prototypes, functions, calls)


def _prototypes(unit: Unit) -> str:
    lines = ["/* Functions. */"]
    for function in unit.program.functions:
        names = [p.name if unit.names.is_taken(p.name) is False else f"{p.name}_" for p in function.params]
        lines.append(f"{linkage(unit, function)}{signature(unit, function, names)}{preserved(unit, function)};")
    return "\n".join(lines)


def _assemble(unit: Unit, title: str, storage: str, prototypes: str, functions: list[str], calls: str) -> str:
    types = unit.types.definitions()
    files = "\n".join(f"#define {macro} {unit.files.number(path)}  /* {path} */" for path, macro in unit.file_macros.items())
    if unit.target.hosted:
        tables = "\n".join([unit.files.array("FILE_NAMES"), unit.messages.array("MESSAGES")])
    else:
        tables = "\n".join([unit.files.section(".panic_files"), unit.messages.section(".panic_messages")])
    parts = [f"/* {title or 'Written by the freestanding compiler'}. */", TYPES, macros(unit.target) if not unit.target.hosted else "",
             files, tables, macros(unit.target) if unit.target.hosted else "", types, "\n".join(unit.symbols.values()),
             "\n".join(unit.helpers.values()), "\n".join(unit.operation_texts), prototypes, storage, *functions, wrappers(unit), calls,
             "" if unit.target.hosted else origins(unit)]
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"
