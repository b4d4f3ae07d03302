"""Expressions of the IR as C text. Every result has exactly the C type of its IR type (small integers: after promotion)."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ir
from ..errors import CompileError, Site
from ..types import (ArrayType, BitsType, BoolType, EnumType, FnType, IntType, RefType, SliceType, StructType, TableType,
                     TupleType, Type, fields_of, layout)
from .ctypes import int_literal, member
from .names import string_literal, wrap
from .unit import Unit, unsigned_name


class Expressions:
    """Writes the expressions of one function; `names` gives the C name of each of its variables."""

    def __init__(self, unit: Unit, names: dict[int, str]) -> None:
        self.unit, self.names, self.types = unit, names, unit.types
        self.bits = unit.target.pointer_bits
        self.site: Site | None = None               # of the statement, for nodes that have none
        self.held: list[str] = []                   # declarations that live as long as the function
        self.fresh: Callable[[str], str] = lambda name: name
        self.once = False                               # the function is one that runs once

    def expr(self, e: ir.Expr) -> str:
        """The value of e."""
        handler = _EXPRESSIONS.get(type(e))
        if handler is None:
            raise CompileError(self.site, f"the C writer knows no {type(e).__name__}")
        return handler(self, e)

    def operand(self, e: ir.Expr) -> str:
        """The value of e, in parentheses where an operator needs them."""
        return wrap(self.expr(e))

    # -- atoms ----------------------------------------------------------------------------------------------------------

    def const(self, e: ir.Const) -> str:
        kind = e.type
        if e.value is None:
            return "NULL"
        if isinstance(kind, BoolType):
            return "true" if e.value else "false"
        if isinstance(kind, EnumType):
            return self.enum_literal(kind, e.value)
        return int_literal(kind, int(e.value), self.bits)

    def enum_literal(self, kind: EnumType, value: Any) -> str:
        name = getattr(value, "name", None)
        if name is None:
            return int_literal(kind, int(value), self.bits)
        text = self.types.enumerator(kind, name)
        return text if kind.base.bits(self.bits) <= 32 and not int(value) >> 31 else f"({self.types.spell(kind)}){text}"

    def local(self, e: ir.Local) -> str:
        name = self.names[id(e.var)]
        return f"&{name}" if e.var.storage and isinstance(e.var.type, RefType) else name

    def static(self, e: ir.StaticRef) -> str:
        name = self.unit.static(e.static)
        return f"&{name}" if isinstance(e.type, RefType) else name

    def fn_value(self, e: ir.FnValue) -> str:
        if isinstance(e.type, FnType):
            self.types.spell(e.type)
        return self.unit.function(e.function)

    def bytes_const(self, e: ir.BytesConst) -> str:
        text = string_literal(e.value)
        where = f"ONCE_TEXT({text})" if self.once and e.value else f"(const u8 *){text}"
        return f"({self.types.spell(e.type)}){{ {where}, {len(e.value)} }}"

    def symbol(self, e: ir.SymbolAddress) -> str:
        return f"({self.types.spell(e.type)}){self.unit.symbol(e.symbol)}"

    # -- operators --------------------------------------------------------------------------------------------------------

    def unary(self, e: ir.Unary) -> str:
        if e.op == "not":
            return f"!{self.operand(e.operand)}"
        spelled = self.types.spell(e.type)
        if e.op == "~":
            return f"({spelled})~{self.operand(e.operand)}"
        if self.unit.on("overflow"):
            return f"CHECK_SUB({spelled}, 0, {self.expr(e.operand)}, {self.unit.at(e.site)})"
        unsigned = self.compute_type(e.type)
        return f"({spelled})(0 - ({unsigned}){self.operand(e.operand)})"

    def base(self, kind: Type) -> IntType:
        """The plain integer under an IntType, EnumType or BitsType."""
        found = kind if isinstance(kind, IntType) else getattr(kind, "base", None)
        if not isinstance(found, IntType):
            raise CompileError(self.site, f"{kind} is no integer")
        return found.base

    def compute_type(self, kind: Type) -> str:
        """The unsigned C type to compute in without promotion to a signed one."""
        base = self.base(kind)
        return "u32" if base.bits(self.bits) < 32 else unsigned_name(base)

    def binary(self, e: ir.Binary) -> str:
        if e.mode == "saturating":
            return self._saturating(e)
        if e.op in ("<<", ">>"):
            return self._shift(e)
        if e.op in ("//", "%"):
            return self._divide(e)
        if e.op in ("&", "|", "^"):
            return self._bitwise(e)
        return self._arithmetic(e)

    def _bitwise(self, e: ir.Binary) -> str:
        return f"{self.operand(e.left)} {e.op} {self.operand(e.right)}"

    def _arithmetic(self, e: ir.Binary) -> str:
        spelled = self.types.spell(e.type)
        if e.mode == "checked" and self.unit.on("overflow"):
            name = {"+": "CHECK_ADD", "-": "CHECK_SUB", "*": "CHECK_MUL"}[e.op]
            return f"{name}({spelled}, {self.expr(e.left)}, {self.expr(e.right)}, {self.unit.at(e.site)})"
        compute = self.compute_type(e.type)
        if self.types.spell(e.left.type) == compute and self.types.spell(e.right.type) == compute == spelled:
            return f"{self.operand(e.left)} {e.op} {self.operand(e.right)}"
        return f"({spelled})(({compute}){self.operand(e.left)} {e.op} ({compute}){self.operand(e.right)})"

    def _saturating(self, e: ir.Binary) -> str:
        name = {"+": "saturating_add", "-": "saturating_sub", "*": "saturating_mul"}[e.op]
        return f"{self.unit.helper(name, e.type)}({self.expr(e.left)}, {self.expr(e.right)})"

    def _shift(self, e: ir.Binary) -> str:
        spelled, width = self.types.spell(e.type), self.base(e.type).bits(self.bits)
        amount = self.operand(e.right)
        constant = isinstance(e.right, ir.Const) and int(e.right.value) < width
        if e.mode == "checked" and self.unit.on("shift") and not constant:
            amount = f"CHECK_SHIFT({self.types.spell(e.right.type)}, {self.expr(e.right)}, {width}, {self.unit.at(e.site)})"
        left = self.operand(e.left)
        if e.op == "<<":
            compute = self.compute_type(e.type)
            if self.types.spell(e.left.type) == compute == spelled:
                return f"{left} << {amount}"
            return f"({spelled})(({compute}){left} << {amount})"
        return f"{left} >> {amount}"

    def _divide(self, e: ir.Binary) -> str:
        spelled = self.types.spell(e.type)
        divisor = self.operand(e.right)
        constant = isinstance(e.right, ir.Const) and int(e.right.value) != 0
        if self.unit.on("division") and not constant:
            divisor = f"CHECK_DIVISOR({spelled}, {self.expr(e.right)}, {self.unit.at(e.site)})"
        return f"{self.operand(e.left)} {'/' if e.op == '//' else '%'} {divisor}"

    def compare(self, e: ir.Compare) -> str:
        kind = e.left.type
        if isinstance(kind, (StructType, TupleType)):
            text = f"{self.equality(kind)}({self.expr(e.left)}, {self.expr(e.right)})"
            return text if e.op == "==" else f"!{text}"
        op = {"is": "==", "is not": "!="}.get(e.op, e.op)
        return f"{self.operand(e.left)} {op} {self.operand(e.right)}"

    def equality(self, kind: Type) -> str:
        """The name of the function that compares two values of a frozen struct or tuple."""
        spelled = self.types.spell(kind)
        name = f"{spelled}_equal"
        if name not in self.unit.helper_names:
            fields = ([(member(n), k) for n, k in fields_of(kind.cls).items()] if isinstance(kind, StructType)
                      else [(f"_{i}", k) for i, k in enumerate(kind.items)] if isinstance(kind, TupleType) else [])
            tests = [self._equal(k, f"a.{n}", f"b.{n}") for n, k in fields]
            self.unit.custom(name, f"HELPER bool {name}({spelled} a, {spelled} b) {{\n    return "
                                   + ("\n        && ".join(tests) or "true") + ";\n}")
        return self.unit.helper_names[name]

    def _equal(self, kind: Type, a: str, b: str) -> str:
        if isinstance(kind, (StructType, TupleType)):
            return f"{self.equality(kind)}({a}, {b})"
        if isinstance(kind, (ArrayType, TableType)):
            return f"{self._array_equality(kind)}({a}, {b})"
        if isinstance(kind, SliceType):
            raise CompileError(self.site, f"values that hold a {kind} cannot be compared")
        return f"{a} == {b}"

    def _array_equality(self, kind: ArrayType | TableType) -> str:
        name = f"{self.types.tag(kind)}_equal"
        if name not in self.unit.helper_names:
            element = self._equal(kind.element, "a[i]", "b[i]")
            pointer = self.types._pointer(kind.element)
            self.unit.custom(name, f"HELPER bool {name}(const {pointer}a, const {pointer}b) {{\n"
                                   f"    for (usize i = 0; i < {kind.length}; i++)\n        if (!({element}))\n"
                                   "            return false;\n    return true;\n}")
        return self.unit.helper_names[name]

    def logical(self, e: ir.Logical) -> str:
        return f"{self.operand(e.left)} {'&&' if e.op == 'and' else '||'} {self.operand(e.right)}"

    def select(self, e: ir.Select) -> str:
        then, otherwise = self.operand(e.then), self.operand(e.otherwise)
        text = f"{self.operand(e.condition)} ? {then} : {otherwise}"
        return f"({self.types.spell(e.type)})({text})" if isinstance(e.type, (IntType, EnumType, BitsType)) else text

    def convert(self, e: ir.Convert) -> str:
        spelled = self.types.spell(e.type)
        if isinstance(e.type, (RefType, FnType, SliceType, StructType, TupleType)):
            return self.expr(e.operand)
        if e.mode == "enum":
            return self.checked_enum(e.type, e.operand.type, self.expr(e.operand), e.site)
        if e.mode == "check" and self.unit.on("narrowing"):
            return self._narrow(e, spelled)
        if spelled == self.types.spell(e.operand.type) and not isinstance(e.operand, ir.Const):
            return self.expr(e.operand)
        return f"({spelled}){self.operand(e.operand)}"

    def _narrow(self, e: ir.Convert, spelled: str) -> str:
        fails = self.misfits("value_", e.operand.type, e.type)
        if not fails:
            return f"({spelled}){self.operand(e.operand)}"
        source = self.types.spell(e.operand.type)
        return f"CHECK_NARROW({spelled}, {source}, {self.expr(e.operand)}, {fails}, {self.unit.at(e.site)})"

    def misfits(self, value: str, source: Type, target: Type, width: int = 0) -> str:
        """A C condition that is true when a value of one type does not fit the other (or `width` bits); empty when it always fits."""
        low, high = self.limits(source)
        target_low, target_high = (0, (1 << width) - 1) if width else self.limits(target)
        tests = []
        if low < target_low:
            tests.append(f"{value} < {int_literal(source, target_low, self.bits)}")
        if high > target_high:
            tests.append(f"{value} > {int_literal(source, target_high, self.bits)}")
        return " || ".join(tests)

    def limits(self, kind: Type) -> tuple[int, int]:
        return (0, 1) if isinstance(kind, BoolType) else self.base(kind).limits(self.bits)

    def checked_enum(self, kind: Type, source: Type, text: str, site: Site) -> str:
        """The enum member with that number; a panic 'enum' where there is none."""
        assert isinstance(kind, EnumType)
        spelled = self.types.spell(kind)
        if not self.unit.on("enum"):
            return f"({spelled}){wrap(text)}"
        test = self.is_member(kind, source)
        if not test:
            return f"({spelled}){wrap(text)}"
        return (f"({{ {self.types.spell(source)} value_ = {text}; if (UNLIKELY(!{test}(value_))) "
                f"PANIC(enum, {self.unit.at(site)}, 0); ({spelled})value_; }})")

    def is_member(self, kind: EnumType, source: Type) -> str:
        """The name of the test whether a number of the source type is a member's; empty when every number is."""
        low, high = self.limits(source)
        numbers = sorted({int(m) for m in kind.cls if low <= int(m) <= high})
        if len(numbers) == high - low + 1:
            return ""
        spelled = self.types.spell(source)
        name = f"{self.types.spell(kind)}_has_{spelled}"
        return self.unit.custom(name, f"HELPER bool {name}({spelled} x) {{ {self._member_test(numbers, source)} }}")

    def _member_test(self, numbers: list[int], source: Type) -> str:
        literal = [int_literal(source, n, self.bits) for n in numbers]
        if not numbers:
            return "(void)x; return false;"
        if len(numbers) == numbers[-1] - numbers[0] + 1:
            low, high = self.limits(source)
            tests = ([f"x >= {literal[0]}"] if numbers[0] > low else []) + ([f"x <= {literal[-1]}"] if numbers[-1] < high else [])
            return f"return {' && '.join(tests)};"
        cases = " ".join(f"case {n}:" for n in literal)
        return f"switch (x) {{ {cases} return true; default: return false; }}"

    # -- places -----------------------------------------------------------------------------------------------------------

    def field(self, e: ir.Field) -> str:
        place = self.place(e)
        return f"&{place}" if isinstance(ir.storage_of(e), StructType) and isinstance(e.type, RefType) else place

    def index(self, e: ir.Index) -> str:
        place = self.place(e)
        return f"&{place}" if isinstance(ir.storage_of(e), StructType) and isinstance(e.type, RefType) else place

    def place(self, e: ir.Expr) -> str:
        """The lvalue that a Field or Index names."""
        if isinstance(e, ir.Field):
            return self.member_of(e.object, e.name)
        assert isinstance(e, ir.Index), e
        return self.element_of(e.base, e.index, e.checked, e.site)

    def member_of(self, owner: ir.Expr, name: str) -> str:
        if isinstance(owner.type, StructType):
            passing = isinstance(fields_of(owner.type.cls)[name], ArrayType) and not is_lvalue(owner)
            return f"{self.hold(owner) if passing else self.operand(owner)}.{member(name)}"
        direct = self._direct(owner)
        return f"{direct}.{member(name)}" if direct else f"{self.operand(owner)}->{member(name)}"

    def hold(self, e: ir.Expr) -> str:
        """A value that nothing holds, kept as long as the function because an array in it is referred to."""
        name = self.fresh("held")
        self.held.append(f"{self.types.declare(e.type, name)};")
        return f"(*({{ {name} = {self.expr(e)}; &{name}; }}))"

    def _direct(self, reference: ir.Expr) -> str:
        """The struct itself as an lvalue where the reference is to a named or embedded one; else empty."""
        match reference:
            case ir.Local(var=var) if var.storage:
                return self.names[id(var)]
            case ir.StaticRef():
                return self.unit.static(reference.static)
            case ir.Field() | ir.Index() if isinstance(ir.storage_of(reference), StructType):
                return self.place(reference)
            case ir.Convert(operand=inner) if isinstance(inner.type, RefType):
                return self._direct(inner)
        return ""

    def deref(self, reference: ir.Expr) -> str:
        """The struct that a reference refers to, as an lvalue."""
        return self._direct(reference) or f"*{self.operand(reference)}"

    def element_of(self, base: ir.Expr, index: ir.Expr, checked: bool, site: Site) -> str:
        kind = base.type
        checked = checked and self.unit.on("bounds")
        if isinstance(kind, SliceType):
            return self._slice_element(base, index, checked, site)
        assert isinstance(kind, (ArrayType, TableType)), kind
        subscript = self.expr(index)
        if checked and self._may_exceed(index, kind.length):
            subscript = self.check_index(index, f"{kind.length}u" if kind.length else "0u", site)
        return f"{self.operand(base)}[{subscript}]"

    def _may_exceed(self, index: ir.Expr, length: int) -> bool:
        top = int(index.value) if isinstance(index, ir.Const) else self.limits(index.type)[1]
        return top >= length

    def check_index(self, index: ir.Expr, length: str, site: Site) -> str:
        return f"CHECK_INDEX({self.types.spell(index.type)}, {self.expr(index)}, {length}, {self.unit.at(site)})"

    def _slice_element(self, base: ir.Expr, index: ir.Expr, checked: bool, site: Site) -> str:
        if not checked:
            return f"{self.operand(base)}.pointer[{self.expr(index)}]"
        if is_simple(base):
            text = self.operand(base)
            return f"{text}.pointer[{self.check_index(index, f'{text}.length', site)}]"
        spelled = self.types.spell(base.type)
        subscript = self.check_index(index, "slice_.length", site)
        return f"(*({{ {spelled} slice_ = {self.expr(base)}; &slice_.pointer[{subscript}]; }}))"

    # -- slices -----------------------------------------------------------------------------------------------------------

    def length(self, e: ir.Length) -> str:
        return f"{self.operand(e.base)}.length"

    def to_slice(self, e: ir.ToSlice) -> str:
        spelled = self.types.spell(e.type)
        kind = e.base.type
        if isinstance(kind, (ArrayType, TableType)):
            self.refuse_misaligned(e.base)
            return f"({spelled}){{ {self.expr(e.base)}, {kind.length} }}"
        if kind == e.type:
            return self.expr(e.base)
        source = self.types.spell(kind)
        name = self.unit.custom(f"{spelled}_of_{source}", f"HELPER {spelled} {spelled}_of_{source}({source} slice) "
                                f"{{ return ({spelled}){{ slice.pointer, slice.length }}; }}")
        return f"{name}({self.expr(e.base)})"

    def slicing(self, e: ir.Slicing) -> str:
        spelled = self.types.spell(e.type)
        kind = e.base.type
        if isinstance(kind, (ArrayType, TableType)):
            self.refuse_misaligned(e.base)
        whole = self.expr(e.base) if kind == e.type else self.expr(ir.ToSlice(e.type, e.base))
        low = f"{self._bound_type(e.low)} low_ = {self.expr(e.low)}; " if e.low is not None else ""
        high = f"{self._bound_type(e.high)} high_ = {self.expr(e.high)}; " if e.high is not None else ""
        test = self._slice_test(e)
        check = f"if (UNLIKELY({test})) PANIC(bounds, {self.unit.at(e.site)}, 0); " if test and self.unit.on("bounds") else ""
        start = "slice_.pointer + low_" if low else "slice_.pointer"
        end = "high_" if high else "slice_.length"
        count = f"(usize)({end} - low_)" if low else f"(usize){end}"
        return f"({{ {low}{high}{spelled} slice_ = {whole}; {check}({spelled}){{ {start}, {count} }}; }})"

    def _bound_type(self, e: ir.Expr) -> str:
        """Slice bounds of any unsigned type, compared without losing bits."""
        return "u64" if self.base(e.type).bits(self.bits) > self.bits else "usize"

    @staticmethod
    def _slice_test(e: ir.Slicing) -> str:
        if e.low is not None and e.high is not None:
            return "low_ > high_ || high_ > slice_.length"
        return "low_ > slice_.length" if e.low is not None else "high_ > slice_.length" if e.high is not None else ""

    def refuse_misaligned(self, e: ir.Expr) -> None:
        """The address of a packed struct's field may be taken only where it is aligned as its type wants."""
        align = self._alignment(e)
        wanted = layout(e.type, self.unit.target.pointer_bytes).align if isinstance(e.type, (ArrayType, TableType)) else 1
        if align < wanted:
            raise CompileError(self.site, f"{e.type} lies at no multiple of {wanted} in a packed struct: a slice or reference cannot name it",
                               "align the struct, move the field, or use single elements")

    def _alignment(self, e: ir.Expr) -> int:
        """What the address of this place is known to be a multiple of (a large number where it is aligned by its type)."""
        if isinstance(e, ir.Field) and isinstance(e.object.type, (RefType, StructType)):
            cls = e.object.type.cls
            made = layout(StructType(cls), self.unit.target.pointer_bytes)
            outer = min(self._alignment(e.object), made.align)
            offset = dict(made.offsets)[e.name]
            return outer if not offset else min(outer, offset & -offset)
        if isinstance(e, ir.Index):
            size = layout(ir.storage_of(e), self.unit.target.pointer_bytes).size or 1
            return min(self._alignment(e.base), size & -size)
        if isinstance(e, (ir.Local, ir.StaticRef)) or not isinstance(e.type, (RefType, StructType)):
            return 1 << 20
        return 1 << 20

    # -- calls ------------------------------------------------------------------------------------------------------------

    def call(self, e: ir.Call) -> str:
        return f"{self.unit.function(e.function)}({', '.join(map(self.expr, e.args))})"

    def call_indirect(self, e: ir.CallIndirect) -> str:
        return f"{self.operand(e.callee)}({', '.join(map(self.expr, e.args))})"

    def call_operation(self, e: ir.CallOperation) -> str:
        from .operations import operation_name
        return f"{operation_name(self.unit, e)}({', '.join(map(self.expr, e.args))})"

    def intrinsic(self, e: ir.Intrinsic) -> str:
        from .intrinsics import INTRINSICS
        if e.name not in INTRINSICS:
            raise CompileError(e.site, f"the C writer knows no primitive {e.name}")
        return INTRINSICS[e.name](self, e)

    # -- values -----------------------------------------------------------------------------------------------------------

    def make_struct(self, e: ir.MakeStruct) -> str:
        spelled = self.types.spell(e.type)
        plain = [f".{member(name)} = {self.expr(value)}" for name, value in e.fields if not isinstance(value.type, ArrayType)]
        arrays = [(name, value) for name, value in e.fields if isinstance(value.type, ArrayType)]
        text = f"({spelled}){{ {', '.join(plain)} }}" if plain else f"({spelled}){{ 0 }}"
        if not arrays:
            return text
        copies = " ".join(f"__builtin_memcpy(copy_.{member(n)}, {self.expr(v)}, sizeof copy_.{member(n)});" for n, v in arrays)
        return f"({{ {spelled} copy_ = {text}; {copies} copy_; }})"

    def make_tuple(self, e: ir.MakeTuple) -> str:
        return f"({self.types.spell(e.type)}){{ {', '.join(map(self.expr, e.items))} }}"

    def tuple_item(self, e: ir.TupleItem) -> str:
        return f"{self.operand(e.tuple)}._{e.index}"


def is_lvalue(e: ir.Expr) -> bool:
    """Whether the C text of a frozen value names an object that outlives the expression."""
    match e:
        case ir.Local() | ir.StaticRef() | ir.Index():
            return True
        case ir.Field(object=inner):
            return isinstance(inner.type, RefType) or is_lvalue(inner)
        case ir.TupleItem(tuple=inner):
            return is_lvalue(inner)
    return False


def in_value(e: ir.Expr) -> bool:
    """Whether an array lies in a frozen value (not in a table), so that naming it has to copy it."""
    match e:
        case ir.Field(object=inner) if isinstance(inner.type, StructType):
            return True if not isinstance(inner, (ir.Field, ir.Index)) else in_value(inner) or not _in_table(inner)
        case ir.Index(base=inner):
            return in_value(inner)
    return False


def _in_table(e: ir.Expr) -> bool:
    match e:
        case ir.Index(base=base):
            return isinstance(base.type, TableType) or _in_table(base)
        case ir.Field(object=inner):
            return _in_table(inner)
    return False


def is_simple(e: ir.Expr) -> bool:
    """Whether evaluating e twice is the same as once, and cheap to read."""
    match e:
        case ir.Local() | ir.StaticRef():
            return True
        case ir.Field(object=inner) | ir.TupleItem(tuple=inner):
            return is_simple(inner)
    return False


_EXPRESSIONS: dict[type[ir.Expr], Callable[[Expressions, Any], str]] = {
    ir.Const: Expressions.const, ir.Local: Expressions.local, ir.StaticRef: Expressions.static, ir.FnValue: Expressions.fn_value,
    ir.BytesConst: Expressions.bytes_const, ir.SymbolAddress: Expressions.symbol, ir.Unary: Expressions.unary,
    ir.Binary: Expressions.binary, ir.Compare: Expressions.compare, ir.Logical: Expressions.logical, ir.Select: Expressions.select,
    ir.Convert: Expressions.convert, ir.Field: Expressions.field, ir.Index: Expressions.index, ir.Length: Expressions.length,
    ir.Slicing: Expressions.slicing, ir.ToSlice: Expressions.to_slice, ir.Call: Expressions.call,
    ir.CallIndirect: Expressions.call_indirect, ir.CallOperation: Expressions.call_operation, ir.Intrinsic: Expressions.intrinsic,
    ir.MakeStruct: Expressions.make_struct, ir.MakeTuple: Expressions.make_tuple, ir.TupleItem: Expressions.tuple_item,
}
