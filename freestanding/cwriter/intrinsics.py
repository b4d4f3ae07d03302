"""The primitives of the language as C text, a table by name."""
from __future__ import annotations

from collections.abc import Callable

from .. import ir
from ..errors import CompileError
from ..types import (AtomicType, BitsType, BoolType, EnumType, FnType, IntType, PtrType, RefType, SliceType, StructType, Type,
                     layout)
from .ctypes import int_literal, join
from .expressions import Expressions, is_simple
from .names import string_literal, wrap

Writer = Callable[[Expressions, ir.Intrinsic], str]


def _args(w: Expressions, e: ir.Intrinsic) -> str:
    return ", ".join(map(w.expr, e.args))


def _unary(w: Expressions, e: ir.Intrinsic) -> str:
    return f"{w.unit.helper(e.name, e.args[0].type)}({_args(w, e)})"


def _byteswap(w: Expressions, e: ir.Intrinsic) -> str:
    if w.base(e.args[0].type).bits(w.bits) == 8:
        return w.expr(e.args[0])
    return _unary(w, e)


def _rotate(w: Expressions, e: ir.Intrinsic) -> str:
    """Rotation by an amount modulo the width, so its low bits alone count."""
    return f"{w.unit.helper(e.name, e.type)}({w.expr(e.args[0])}, (u32){w.operand(e.args[1])})"


def _checked(w: Expressions, e: ir.Intrinsic) -> str:
    return f"{w.unit.helper(e.name, e.args[0].type, e.type)}({_args(w, e)})"


# ---- bit fields -----------------------------------------------------------------------------------------------------------

def _field_bits(e: ir.Intrinsic, first: int) -> tuple[int, int]:
    msb, lsb = e.args[first], e.args[first + 1]
    assert isinstance(msb, ir.Const) and isinstance(lsb, ir.Const)
    return int(msb.value), int(lsb.value)


def _bits_get(w: Expressions, e: ir.Intrinsic) -> str:
    msb, lsb = _field_bits(e, 1)
    source, width = e.args[0], msb - lsb + 1
    number = f"{w.operand(source)} >> {lsb}" if lsb else w.expr(source)
    if width < w.base(source.type).bits(w.bits) - lsb:
        number = f"{wrap(number)} & {int_literal(source.type, (1 << width) - 1, w.bits)}"
    if isinstance(e.type, BoolType):
        return f"{wrap(number)} != 0"
    if isinstance(e.type, EnumType) and (width > 16 or not set(range(1 << width)) <= {int(m) for m in e.type.cls}):
        return w.checked_enum(e.type, w.base(source.type), number, e.site)
    return f"({w.types.spell(e.type)}){wrap(number)}"


def _bits_set(w: Expressions, e: ir.Intrinsic) -> str:
    msb, lsb = _field_bits(e, 2)
    target, value, width = e.args[0], e.args[1], msb - lsb + 1
    spelled = w.types.spell(e.type)
    full = w.base(e.type).bits(w.bits)
    kept = int_literal(e.type, ((1 << full) - 1) & ~(((1 << width) - 1) << lsb), w.bits)
    number = f"({spelled}){_fitting(w, value, width, e)}"
    moved = f"{wrap(number)} << {lsb}" if lsb else number
    if width == full:
        return f"({spelled}){wrap(number)}"
    if isinstance(target, ir.Const):
        old = int_literal(e.type, int(target.value) & ~(((1 << width) - 1) << lsb), w.bits)
        return f"({spelled})({wrap(moved)})" if int(target.value) == 0 else f"({spelled})({old} | {wrap(moved)})"
    return f"({spelled})(({w.operand(target)} & {kept}) | {wrap(moved)})"


def _fitting(w: Expressions, value: ir.Expr, width: int, e: ir.Intrinsic) -> str:
    """The value as an operand, checked to fit so many bits."""
    fails = w.misfits("value_", value.type, value.type, width) if not isinstance(value.type, BoolType) else ""
    if isinstance(value, ir.Const) and 0 <= int(value.value) < 1 << width:
        fails = ""
    if isinstance(value.type, EnumType) and all(0 <= int(m) < 1 << width for m in value.type.cls):
        fails = ""
    if not fails or not w.unit.on("narrowing"):
        return w.operand(value)
    spelled = w.types.spell(value.type)
    return f"CHECK_NARROW({spelled}, {spelled}, {w.expr(value)}, {fails}, {w.unit.at(e.site)})"


# ---- slices -------------------------------------------------------------------------------------------------------------

def _load(w: Expressions, e: ir.Intrinsic) -> str:
    return f"{w.unit.load_store(e.name)}({_bytes_at(w, e)})"


def _store(w: Expressions, e: ir.Intrinsic) -> str:
    return f"{w.unit.load_store(e.name)}({_bytes_at(w, e)}, {w.expr(e.args[2])})"


def _bytes_at(w: Expressions, e: ir.Intrinsic) -> str:
    """A pointer to the bytes at an offset of a slice, with room for the access (one check)."""
    base, offset = e.args[0], e.args[1]
    size = int(e.name[-2:]) // 8
    if not w.unit.on("bounds"):
        return f"{w.operand(base)}.pointer + {w.operand(offset)}"
    text = w.operand(base) if is_simple(base) else "slice_"
    hold = "" if is_simple(base) else f"{w.types.spell(base.type)} slice_ = {w.expr(base)}; "
    span = f"CHECK_SPAN({w.types.spell(offset.type)}, {w.expr(offset)}, {size}, {text}.length, {w.unit.at(e.site)})"
    return f"({{ {hold}&{text}.pointer[{span}]; }})" if hold else f"&{text}.pointer[{span}]"


def _pair(name: str) -> Writer:
    """equals, compare: two slices handed on as pointer and length."""
    def write(w: Expressions, e: ir.Intrinsic) -> str:
        inner = w.unit.bytes_helper(f"bytes_{name}")
        view = w.types.spell(e.args[0].type), w.types.spell(e.args[1].type)
        made = f"{name}_{view[0]}_{view[1]}"
        result = "bool" if name == "equal" else "i32"
        made = w.unit.custom(made, f"HELPER {result} {made}({view[0]} a, {view[1]} b) "
                                   f"{{ return {inner}(a.pointer, a.length, b.pointer, b.length); }}")
        return f"{made}({_args(w, e)})"
    return write


def _find(w: Expressions, e: ir.Intrinsic) -> str:
    inner = w.unit.bytes_helper("bytes_find")
    view = w.types.spell(e.args[0].type)
    name = w.unit.custom(f"find_{view}", f"HELPER usize find_{view}({view} a, u8 byte) {{ return {inner}(a.pointer, a.length, byte); }}")
    return f"{name}({_args(w, e)})"


def _copy(w: Expressions, e: ir.Intrinsic) -> str:
    target, source = (w.types.spell(a.type) for a in e.args)
    name = f"copy_{target}_{source}"
    name = w.unit.custom(name, f"HELPER void {name}({target} to, {source} from) "
                        "{ __builtin_memmove(to.pointer, from.pointer, to.length * sizeof *to.pointer); }")
    if not w.unit.on("bounds"):
        return f"{name}({_args(w, e)})"
    return (f"({{ {target} slice_ = {w.expr(e.args[0])}; {source} copy_ = {w.expr(e.args[1])}; "
            f"if (UNLIKELY(slice_.length != copy_.length)) PANIC(bounds, {w.unit.at(e.site)}, 0); {name}(slice_, copy_); }})")


def _fill(w: Expressions, e: ir.Intrinsic) -> str:
    kind = e.args[0].type
    assert isinstance(kind, SliceType)
    spelled, element = w.types.spell(kind), w.types.spell(kind.element)
    name = f"fill_{spelled}"
    is_byte = isinstance(kind.element, (IntType, EnumType, BitsType, BoolType)) and layout(kind.element, w.unit.target.pointer_bytes).size == 1
    body = ("__builtin_memset(to.pointer, value, to.length);" if is_byte
            else "for (usize at = 0; at < to.length; at++)\n        to.pointer[at] = value;")
    if isinstance(kind.element, StructType) and not kind.element.frozen:
        element = f"const {element} *"
        body = "for (usize at = 0; at < to.length; at++)\n        to.pointer[at] = *value;"
    name = w.unit.custom(name, f"HELPER void {name}({spelled} to, {join(element, 'value')}) {{\n    {body}\n}}")
    return f"{name}({_args(w, e)})"


# ---- memory -------------------------------------------------------------------------------------------------------------

def _scalar(w: Expressions, place: ir.Expr) -> Type:
    """The type stored in a place that is accessed as one: it has to be aligned for that."""
    kind = ir.storage_of(place)
    kind = kind.element if isinstance(kind, AtomicType) else kind
    align = w._alignment(place)
    if align < layout(kind, w.unit.target.pointer_bytes).align:
        raise CompileError(w.site, f"this {kind} is not aligned, so it cannot be accessed at once")
    return kind


def _atomic(template: str) -> Writer:
    def write(w: Expressions, e: ir.Intrinsic) -> str:
        _scalar(w, e.args[0])
        values = [w.expr(a) for a in e.args[1:]]
        return template.format(f"&{w.place(e.args[0])}", *values)
    return write


def _compare_swap(w: Expressions, e: ir.Intrinsic) -> str:
    kind = _scalar(w, e.args[0])
    plain = w.base(kind)
    name = w.unit.helper("compare_swap", plain, e.type)
    return f"{name}(&{w.place(e.args[0])}, {w.expr(e.args[1])}, {w.expr(e.args[2])})"


def _once_type(w: Expressions, kind: Type) -> Type:
    """Scalars are accessed as the integer they are made of; a bool as the byte that it is, so that any byte is read well."""
    if isinstance(kind, BoolType):
        from ..types import U8
        return U8
    if isinstance(kind, (RefType, FnType, PtrType)):
        from ..types import USIZE
        return USIZE
    return w.base(kind)


def _read_once(w: Expressions, e: ir.Intrinsic) -> str:
    kind = _scalar(w, e.args[0])
    name = w.unit.helper("read_once", _once_type(w, kind))
    text = f"{name}(&{w.place(e.args[0])})"
    if isinstance(kind, BoolType):
        return f"{text} != 0"
    return text if isinstance(kind, IntType) else f"({w.types.spell(kind)}){text}"


def _write_once(w: Expressions, e: ir.Intrinsic) -> str:
    kind = _scalar(w, e.args[0])
    plain = _once_type(w, kind)
    value = w.expr(e.args[1])
    if not isinstance(kind, (IntType, EnumType)):
        value = f"({w.types.spell(plain)}){wrap(value)}"
    return f"{w.unit.helper('write_once', plain)}(&{w.place(e.args[0])}, {value})"


# ---- raw pointers -------------------------------------------------------------------------------------------------------

def _ptr_make(w: Expressions, e: ir.Intrinsic) -> str:
    return f"({w.types.spell(e.type)})(usize){w.operand(e.args[0])}"


def _ptr_ref(w: Expressions, e: ir.Intrinsic) -> str:
    return w.expr(e.args[0])


def _ptr_slice(w: Expressions, e: ir.Intrinsic) -> str:
    return f"({w.types.spell(e.type)}){{ {w.expr(e.args[0])}, {w.expr(e.args[1])} }}"


def _ptr_address(w: Expressions, e: ir.Intrinsic) -> str:
    return f"({w.types.spell(e.type)})(usize){w.operand(e.args[0])}"


def _address_of(w: Expressions, e: ir.Intrinsic) -> str:
    target = e.args[0]
    pointer = f"{w.operand(target)}.pointer" if isinstance(target.type, SliceType) else w.operand(target)
    return f"({w.types.spell(e.type)})(usize){pointer}"


def _is_null(w: Expressions, e: ir.Intrinsic) -> str:
    return f"{w.operand(e.args[0])} == NULL"


def _enum_name(w: Expressions, e: ir.Intrinsic) -> str:
    kind = e.args[0].type
    assert isinstance(kind, EnumType)
    spelled, view = w.types.spell(kind), w.types.spell(e.type)
    name = f"{spelled}_name"
    cases = "\n".join(f"    case {w.types.enumerator(kind, m.name)}: return ({view}){{ (const u8 *){string_literal(m.name.encode())}, "
                      f"{len(m.name)} }};" for m in kind.cls)
    name = w.unit.custom(name, f"HELPER_CALLED {view} {name}({spelled} x) {{\n    switch (x) {{\n{cases}\n"
                        f'    default: return ({view}){{ (const u8 *)"\\?", 1 }};\n    }}\n}}')
    return f"{name}({w.expr(e.args[0])})"


INTRINSICS: dict[str, Writer] = {
    **{name: _unary for name in ("clz", "ctz", "popcount", "min", "max")},
    "byteswap": _byteswap, "rotate_left": _rotate, "rotate_right": _rotate,
    **{name: _checked for name in ("checked_add", "checked_sub", "checked_mul")},
    "bits_get": _bits_get, "bits_set": _bits_set,
    **{f"load_{order}{width}": _load for order in ("be", "le") for width in (16, 32, 64)},
    **{f"store_{order}{width}": _store for order in ("be", "le") for width in (16, 32, 64)},
    "equals": _pair("equal"), "compare": _pair("compare"), "find": _find, "copy": _copy, "fill": _fill,
    "atomic_load": _atomic("__atomic_load_n({}, __ATOMIC_RELAXED)"),
    "atomic_load_acquire": _atomic("__atomic_load_n({}, __ATOMIC_ACQUIRE)"),
    "atomic_store": _atomic("__atomic_store_n({}, {}, __ATOMIC_RELAXED)"),
    "atomic_store_release": _atomic("__atomic_store_n({}, {}, __ATOMIC_RELEASE)"),
    "atomic_fetch_add": _atomic("__atomic_fetch_add({}, {}, __ATOMIC_SEQ_CST)"),
    "atomic_fetch_or": _atomic("__atomic_fetch_or({}, {}, __ATOMIC_SEQ_CST)"),
    "atomic_fetch_and": _atomic("__atomic_fetch_and({}, {}, __ATOMIC_SEQ_CST)"),
    "atomic_exchange": _atomic("__atomic_exchange_n({}, {}, __ATOMIC_SEQ_CST)"),
    "atomic_compare_swap": _compare_swap,
    "read_once": _read_once, "write_once": _write_once,
    "ptr_make": _ptr_make, "ptr_ref": _ptr_ref, "ptr_slice": _ptr_slice, "ptr_address": _ptr_address, "address_of": _address_of,
    "is_null": _is_null, "enum_name": _enum_name,
}
