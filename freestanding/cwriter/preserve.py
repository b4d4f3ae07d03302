"""Exported functions that change few registers: clang's preserve_most, and for gcc a wrapper that saves what differs."""
from __future__ import annotations

from .. import ir
from ..errors import CompileError, Site
from .unit import Unit

GCC_WRAPPER = {
    "aarch64": ["stp x9, x10, [sp, #-64]!", "stp x11, x12, [sp, #16]", "stp x13, x14, [sp, #32]", "stp x15, x30, [sp, #48]",
                "bl {body}",
                "ldp x11, x12, [sp, #16]", "ldp x13, x14, [sp, #32]", "ldp x15, x30, [sp, #48]", "ldp x9, x10, [sp], #64", "ret"],
    "x86_64": ["push r10", "push r11", "sub rsp, 8", "call {body}", "add rsp, 8", "pop r11", "pop r10", "ret"],
}


def preserved(unit: Unit, function: ir.FunctionIR) -> str:
    """What follows the prototype of such a function; nothing for others. Raises CompileError where no compiler can do it."""
    if not function.preserve or unit.target.hosted:
        return ""
    if unit.target.name not in GCC_WRAPPER:
        raise CompileError(Site(function.file, function.line), f"there is no preserve=True on {unit.target.name}",
                           "save all that the procedure call standard lets a function change")
    return f" PRESERVE({function.symbol})"


def wrappers(unit: Unit) -> str:
    """The assembly that gcc needs around the bodies."""
    names = [f.symbol for f in unit.program.functions if f.preserve and not unit.target.hosted]
    if not names:
        return ""
    lines = ["#if !defined(__clang__)"]
    for name in names:
        code = [line.format(body=f"{name}_body") for line in GCC_WRAPPER[unit.target.name]]
        intel, att = (".intel_syntax noprefix", ".att_syntax") if unit.target.name == "x86_64" else ("", "")
        text = [".text", f".global {name}", f"{name}:", intel, *code, att]
        lines.append("__asm__(" + " ".join(f'"{line}\\n"' for line in text if line) + ");")
    return "\n".join([*lines, "#endif"])
