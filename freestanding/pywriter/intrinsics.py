"""The primitives of `ir.Intrinsic` in rendered Python: a table from name to handler."""
from __future__ import annotations

import ast
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from .. import ir, types as t
from .expressions import attribute, call, choose, compared, const, is_atom, operate

if TYPE_CHECKING:
    from .expressions import Expressions

Handler = Callable[["Expressions", ir.Intrinsic], ast.expr]


def render(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    return _HANDLERS[e.name](w, e)


# ---- integers ---------------------------------------------------------------------------------------------------------------

def _unsigned(w: Expressions, e: ir.Expr) -> ast.expr:
    """The bits of an integer as a number that is not negative."""
    low, high = w.limits(e.type)
    made = w.expr(e)
    return made if low == 0 else operate(made, "&", const(high - low))


def _method(value: ast.expr, text: str) -> ast.expr:
    return call(attribute(value, text))


def _clz(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    return operate(const(w.bits(e.args[0].type)), "-", _method(_unsigned(w, e.args[0]), "bit_length"))


def _ctz(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    first, x = w.atom_in(_unsigned(w, e.args[0]))
    lowest = operate(x, "&", ast.UnaryOp(ast.USub(), x))
    return choose(first, operate(_method(lowest, "bit_length"), "-", const(1)), const(w.bits(e.args[0].type)))


def _popcount(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    return _method(_unsigned(w, e.args[0]), "bit_count")


def _byteswap(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    helper = "@byteswap" if w.limits(e.type)[0] == 0 else "@byteswap_signed"
    return call(helper, w.expr(e.args[0]), const(w.bits(e.type) // 8))


def _rotate(helper: str, w: Expressions, e: ir.Intrinsic) -> ast.expr:
    return call(helper, *map(w.expr, e.args), const(w.bits(e.type)))


def _extreme(op: str, w: Expressions, e: ir.Intrinsic) -> ast.expr:
    a, b = map(w.expr, e.args)
    if is_atom(a) and is_atom(b):
        return choose(compared(a, "<=" if op == "min" else ">=", b), a, b)
    return call(f"@{op}", a, b)


def _checked(op: str, w: Expressions, e: ir.Intrinsic) -> ast.expr:
    low, high = w.limits(e.args[0].type)
    return call("@checked", operate(w.expr(e.args[0]), op, w.expr(e.args[1])), const(low), const(high - low))


def _bits_get(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    msb, lsb = (int(cast(ir.Const, a).value) for a in e.args[1:])
    whole = w.expr(e.args[0])
    mask = (1 << msb - lsb + 1) - 1
    if isinstance(e.type, t.BoolType):
        return compared(operate(whole, "&", const(mask << lsb)), "!=", const(0))
    number = operate(operate(whole, ">>", const(lsb)) if lsb else whole, "&", const(mask))
    return w.to_enum(number, e.type, e.site) if isinstance(e.type, t.EnumType) else number


def _bits_set(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    msb, lsb = (int(cast(ir.Const, a).value) for a in e.args[2:])
    mask = (1 << msb - lsb + 1) - 1
    value = w.expr(e.args[1])
    if isinstance(e.args[1].type, (t.EnumType, t.BoolType)):
        value = ast.UnaryOp(ast.UAdd(), value)
    if w.limits(e.args[1].type)[1] > mask:
        value = w.within(value, None, mask, w.panic("narrowing", e.site)) if "narrowing" in w.checks else \
            operate(value, "&", const(mask))
    keep = w.limits(e.type)[1] & ~(mask << lsb)
    return operate(operate(w.expr(e.args[0]), "&", const(keep)), "|", operate(value, "<<", const(lsb)))


# ---- slices -----------------------------------------------------------------------------------------------------------------

def _access(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    what, form = e.name.split("_")
    order = "big" if form.startswith("be") else "little"
    return call(f"@{what}", *map(w.expr, e.args), const(int(form[2:]) // 8), const(order), *w.place(e.site))


def _helper(helper: str, w: Expressions, e: ir.Intrinsic) -> ast.expr:
    return call(helper, *map(w.expr, e.args))


def _element(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    kind = cast(t.SliceType, e.args[0].type).element
    return w.bound("type", w.renderer.type(kind))


def _copy(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    return call("@copy", _element(w, e), *map(w.expr, e.args), *w.place(e.site), const("bounds" in w.checks))


def _fill(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    return call("@fill", _element(w, e), w.expr(e.args[0]), w.stored(e.args[1], cast(t.SliceType, e.args[0].type).element))


# ---- atomics, shared memory -------------------------------------------------------------------------------------------------

def _atomic_load(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    return attribute(w.expr(e.args[0]), "value")


def _fetch_add(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    low, high = w.limits(cast(t.AtomicType, e.args[0].type).element)
    return call("@atomic_fetch_add", *map(w.expr, e.args), const(low), const(high - low))


def _read_once(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    return w.expr(e.args[0])


def _write_once(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    place, value = e.args
    stored = w.stored(value, ir.storage_of(place))
    if isinstance(place, ir.Field):
        return call("@write_once", w.expr(place.object), const(place.name), stored)
    assert isinstance(place, ir.Index)
    target = w.element(place.base, place.index, place.checked, place.site, ast.Load())
    assert isinstance(target, ast.Subscript)
    return call(attribute(target.value, "__setitem__"), target.slice, stored)


# ---- raw memory -------------------------------------------------------------------------------------------------------------

def _pointer_ref(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    kind = cast(t.PtrType, e.args[0].type).element
    return call(w.bound("memory.ref", w.renderer.memory_method("ref")), w.bound("type", w.renderer.type(kind)), w.expr(e.args[0]))


def _pointer_slice(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    kind = cast(t.PtrType, e.args[0].type).element
    return call(w.bound("memory.slice", w.renderer.memory_method("slice")), w.bound("type", w.renderer.type(kind)),
                *map(w.expr, e.args))


def _address_of(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    return call(w.bound("memory.address_of", w.renderer.memory_method("address_of")), w.expr(e.args[0]))


def _first(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    return w.expr(e.args[0])


def _is_null(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    return compared(w.expr(e.args[0]), "==", const(0))


def _enum_name(w: Expressions, e: ir.Intrinsic) -> ast.expr:
    kind = cast(t.EnumType, e.args[0].type)
    names = w.bound(f"{kind.name}.names", w.renderer.enum_names(kind.cls))
    return ast.Subscript(names, w.expr(e.args[0]), ast.Load())


_HANDLERS: dict[str, Handler] = {
    "clz": _clz, "ctz": _ctz, "popcount": _popcount, "byteswap": _byteswap,
    "rotate_left": partial(_rotate, "@rotate_left"), "rotate_right": partial(_rotate, "@rotate_right"),
    "min": partial(_extreme, "min"), "max": partial(_extreme, "max"),
    "checked_add": partial(_checked, "+"), "checked_sub": partial(_checked, "-"), "checked_mul": partial(_checked, "*"),
    "bits_get": _bits_get, "bits_set": _bits_set,
    **{f"{what}_{order}{bits}": _access for what in ("load", "store") for order in ("be", "le") for bits in (16, 32, 64)},
    "equals": partial(_helper, "@equals"), "compare": partial(_helper, "@compare"), "find": partial(_helper, "@find"),
    "copy": _copy, "fill": _fill,
    "atomic_load": _atomic_load, "atomic_load_acquire": _atomic_load,
    "atomic_store": partial(_helper, "@atomic_store"), "atomic_store_release": partial(_helper, "@atomic_store"),
    "atomic_fetch_add": _fetch_add, "atomic_fetch_or": partial(_helper, "@atomic_fetch_or"),
    "atomic_fetch_and": partial(_helper, "@atomic_fetch_and"), "atomic_exchange": partial(_helper, "@atomic_exchange"),
    "atomic_compare_swap": partial(_helper, "@atomic_compare_swap"),
    "read_once": _read_once, "write_once": _write_once,
    "ptr_make": _first, "ptr_address": _first, "ptr_ref": _pointer_ref, "ptr_slice": _pointer_slice,
    "address_of": _address_of, "is_null": _is_null, "enum_name": _enum_name}
