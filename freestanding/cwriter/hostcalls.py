"""Entry points for tests on the host: one caller for each exported function, which comes back also from a panic."""
from __future__ import annotations

from ..types import VoidType
from .unit import Unit

_UBSAN = """add_overflow sub_overflow mul_overflow negate_overflow divrem_overflow shift_out_of_bounds out_of_bounds pointer_overflow
type_mismatch_v1 type_mismatch load_invalid_value vla_bound_not_positive invalid_builtin nonnull_arg
nonnull_return_v1 alignment_assumption function_type_mismatch implicit_conversion float_cast_overflow local_out_of_bounds"""


def host_calls(unit: Unit) -> str:
    """`int call_NAME(result, arguments)`: 0, or 1 after a panic, which `host_panic` then describes."""
    lines = ['#line 1 "callers"', "/* Callers for tests: arguments by address; 1 after a panic. */"]
    for function in unit.program.functions:
        if not function.symbol or function.external:
            continue
        args = ", ".join(f"*({unit.types.spell(p.type)} *)arguments[{i}]"
                         for i, p in enumerate(function.params))
        call = f"{unit.function(function)}({args})"
        if not isinstance(function.result, VoidType):
            call = f"*({unit.types.spell(function.result)} *)result = {call}"
        lines.append(f"""__attribute__((used)) int call_{unit.function(function)}(void *result, void **arguments) {{
    (void)result, (void)arguments;
    if (_setjmp(host_jump)) {{
        host_armed = false;
        return 1;
    }}
    host_armed = true;
    {call};
    host_armed = false;
    return 0;
}}""")
    return "\n".join([*lines, _ubsan_handlers()])


def plain_calls(unit: Unit) -> str:
    """`void call_NAME(result, arguments)` on a bare target: what a test that emulates the CPU enters by."""
    lines = ['#line 1 "callers"', "/* Callers for tests: arguments by address. */"]
    for function in unit.program.functions:
        if not function.symbol or function.external:
            continue
        args = ", ".join(f"*({unit.types.spell(p.type)} *)arguments[{i}]" for i, p in enumerate(function.params))
        call = f"{unit.function(function)}({args})"
        if not isinstance(function.result, VoidType):
            call = f"*({unit.types.spell(function.result)} *)result = {call}"
        lines.append(f"__attribute__((used)) void call_{unit.function(function)}(void *result, void **arguments) {{\n"
                     f"    (void)result, (void)arguments;\n    {call};\n}}")
    return "\n".join(lines)


def _ubsan_handlers() -> str:
    """The sanitizer's own failures come back the same way, as kind `ubsan`, with the place it gives."""
    lines = ["#ifdef SANITIZE",
             "struct ubsan_place { const char *file; u32 line, column; };",
             "#define UBSAN(name) __attribute__((used, noreturn)) void __ubsan_handle_##name(struct ubsan_place *place) { \\",
             "    host_fail(\"ubsan\", place->file, place->line, #name); }"]
    lines += [f"UBSAN({name}_abort)" for name in _UBSAN.split()] + ["UBSAN(builtin_unreachable)", "UBSAN(missing_return)"]
    lines.append("#endif")
    return "\n".join(lines)
