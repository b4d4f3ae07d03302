"""Declared operations: inline assembly functions from their templates.

Operands are passed at full register width on 64-bit targets (`{value}` is the x register, `{value:w}` its 32-bit name), so
that an instruction's operand width is what the template says. On armv7 a u64 is a pair: `{value:lo}`, `{value:hi}`.
"""
from __future__ import annotations

import inspect
import re

from .. import ir
from ..errors import CompileError
from ..functions import Operation
from ..types import BoolType, EnumType, FnType, IntType, PtrType, RefType, Type, VoidType
from .names import string_literal
from .unit import Unit

NO_MEMORY = "no memory"     # as a clobber: this operation neither reads nor writes memory, so values may stay in registers over it

_OPERAND = re.compile(r"\{(\w+)(?::(\w+))?\}")


def operation_name(unit: Unit, call: ir.CallOperation) -> str:
    """The C function for an operation; written on first use."""
    operation = call.operation
    if id(operation) not in unit.operations:
        module = operation.__module__.rpartition(".")[2]
        name = unit.names.unique(operation.__name__, f"{module}_{operation.__name__}")
        unit.operations[id(operation)] = operation, name
        unit.operation_texts.append(_definition(unit, call, name))
    return unit.operations[id(operation)][1]


def _definition(unit: Unit, call: ir.CallOperation, name: str) -> str:
    operation = call.operation
    template = operation.templates.get(unit.target.name)
    if template is None:
        raise CompileError(call.site, f"operation {operation.__name__} has no template for {unit.target.name}",
                           f"give @operation a {unit.target.name}=\"...\"")
    params = list(inspect.signature(operation.py).parameters)
    types = unit.types
    spelled = ", ".join(_declare(types.spell(a.type), f"in_{p}") for p, a in zip(params, call.args)) or "void"
    lines = [f"HELPER {types.spell(call.type)} {name}({spelled}) {{"]
    lines += [f"    {_widen(unit, a.type, p)}" for p, a in zip(params, call.args)]
    has_result = not isinstance(call.type, VoidType)
    if has_result:
        lines.append(f"    {_register(unit, call.type)} out;")
    volatile = "" if operation.pure else " volatile"
    text = _template(unit, call, template, params, has_result)
    lines.append(f"    __asm__{volatile}({text}")
    lines.append(f"        : {_output(template) if has_result else ''} : {_inputs(params, template)} : {_clobbers(operation)});")
    if has_result:
        lines.append(f"    return {_result(unit, call.type)};")
    return "\n".join([*lines, "}"])


def _declare(spelled: str, name: str) -> str:
    return f"{spelled}{name}" if spelled.endswith("*") else f"{spelled} {name}"


def _register(unit: Unit, kind: Type) -> str:
    """The C type an operand is passed in."""
    if unit.target.register_bits == 64:
        return "u64"
    return "u64" if isinstance(kind, IntType) and kind.bits(unit.target.pointer_bits) == 64 else "u32"


def _widen(unit: Unit, kind: Type, name: str) -> str:
    cast = "(usize)" if isinstance(kind, (RefType, PtrType, FnType)) else ""
    return f"{_register(unit, kind)} {name}_ = ({_register(unit, kind)}){cast}in_{name};"


def _result(unit: Unit, kind: Type) -> str:
    if isinstance(kind, BoolType):
        return "out != 0"
    if isinstance(kind, (RefType, PtrType, FnType)):
        return f"({unit.types.spell(kind)})(usize)out"
    if not isinstance(kind, IntType) and not hasattr(kind, "base") and not isinstance(kind, EnumType):
        raise CompileError(None, f"an operation cannot give a {kind}")
    return f"({unit.types.spell(kind)})out"


def _template(unit: Unit, call: ir.CallOperation, template: str, params: list[str], has_result: bool) -> str:
    allowed = set(params) | ({"ret"} if has_result else set())

    def operand(match: re.Match[str]) -> str:
        name, modifier = match.group(1), match.group(2) or ""
        if name not in allowed:
            raise CompileError(call.site, f"operation {call.operation.__name__}: {{{name}}} is no parameter"
                               + (" (it gives no result)" if name == "ret" else ""))
        if modifier not in unit.target.modifiers:
            raise CompileError(call.site, f"operation {call.operation.__name__}: {{{name}:{modifier}}}: {unit.target.name} has no "
                               f"such operand name, only {', '.join(m for m in unit.target.modifiers if m)}")
        return f"%{unit.target.modifiers[modifier]}[{name}]"

    pieces, position = [], 0
    doubled = template.strip().replace("{{", "\1").replace("}}", "\2")
    for match in _OPERAND.finditer(doubled):
        pieces += [doubled[position:match.start()].replace("%", "%%"), operand(match)]
        position = match.end()
    pieces.append(doubled[position:].replace("%", "%%"))
    text = "".join(pieces).replace("\1", "{").replace("\2", "}")
    lines = [line.strip() for line in text.split("\n")]
    return string_literal("\n\t".join(lines).encode()).replace("\\?", "?")


def _output(template: str) -> str:
    """A result that several instructions write must share no register with an input."""
    early = "&" if "\n" in template.strip() or ";" in template else ""
    return f'[ret] "={early}r" (out)'


def _inputs(params: list[str], template: str) -> str:
    named = {match.group(1) for match in _OPERAND.finditer(template)}
    return ", ".join(f'[{p}] "r" ({p}_)' for p in params if p in named)


def _clobbers(operation: Operation) -> str:
    named = [c for c in operation.clobbers if c != NO_MEMORY]
    if not operation.pure and NO_MEMORY not in operation.clobbers and "memory" not in named:
        named.append("memory")
    return ", ".join(f'"{c}"' for c in named)
