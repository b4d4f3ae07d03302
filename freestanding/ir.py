"""The typed IR that both writers read: structured statements over typed expression trees.

The front end has already fixed evaluation order: in any tree, operands may be evaluated in any order with the same result,
because an operand whose order matters was spilled to a temporary by an earlier `Let`. Exception: `Logical` and `Select`
evaluate their later operands only when needed. Every check is still here; a writer drops the kinds that are switched off.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from enum import Flag, auto
from functools import cached_property
from typing import Any

from .errors import Site
from .functions import Function, Operation
from .types import FnType, Type


class Effect(Flag):
    """What evaluating an expression does beside giving a value."""
    PURE = 0
    READ = auto()       # reads memory that a write may change
    PANIC = auto()      # may panic
    WRITE = auto()      # writes memory, calls, touches hardware


@dataclass(eq=False)
class Var:
    """A parameter, local or temporary. `storage` is set for the slot of a struct or array made in the function:
    then the variable is a constant reference to that slot (ArrayType: the array itself)."""
    name: str           # unique in its function; the source name where there is one
    type: Type
    parameter: bool = False
    temporary: bool = False
    storage: bool = False


@dataclass(eq=False)
class Static:
    """Static storage: a live struct (type RefType), array (ArrayType), table (TableType)."""
    name: str           # C name, unique in the program
    live: Any
    type: Type


# ---- expressions: every node has `type`; those that can panic have `site` ---------------------------------------------

@dataclass(eq=False)
class Expr:
    type: Type


@dataclass(eq=False)
class Const(Expr):
    """An int (IntType), bool (BoolType), enum member (EnumType), raw int (BitsType) or None (nullable RefType/FnType)."""
    value: Any


@dataclass(eq=False)
class Local(Expr):
    var: Var


@dataclass(eq=False)
class StaticRef(Expr):
    """A static: reference to a struct, an array, or a table."""
    static: Static


@dataclass(eq=False)
class FnValue(Expr):
    """A function as a value (FnType)."""
    function: FunctionIR


@dataclass(eq=False)
class BytesConst(Expr):
    """A `b"..."` constant, type View[u8]."""
    value: bytes


@dataclass(eq=False)
class SymbolAddress(Expr):
    """The address of a linker symbol, a usize."""
    symbol: str


@dataclass(eq=False)
class Unary(Expr):
    """'-' (signed; checked 'overflow'), '~' (integers and Bits), 'not' (bool)."""
    op: str
    operand: Expr
    site: Site


@dataclass(eq=False)
class Binary(Expr):
    """`+ - * // % & | ^ << >>` on integers of one type (shift amounts: any unsigned type; address + - its base integer,
    address - address gives the base). `mode`: 'checked' (overflow, division, shift kinds), 'wrapping', 'saturating'."""
    op: str
    left: Expr
    right: Expr
    mode: str
    site: Site


@dataclass(eq=False)
class Compare(Expr):
    """`== != < <= > >=` on integers, enums, bools, Bits, addresses; `==`/`!=` on frozen structs and tuples (all fields);
    'is'/'is not' on references, function pointers and None."""
    op: str
    left: Expr
    right: Expr


@dataclass(eq=False)
class Logical(Expr):
    """'and' / 'or' of two bools; the right one is evaluated only when needed."""
    op: str
    left: Expr
    right: Expr


@dataclass(eq=False)
class Select(Expr):
    """`then if condition else otherwise`; only the chosen one is evaluated."""
    condition: Expr
    then: Expr
    otherwise: Expr


@dataclass(eq=False)
class Convert(Expr):
    """Change of type. `mode`: 'keep' (always fits: widening, enum/Bits/bool/distinct to integer and back to Bits/distinct),
    'check' (panic 'narrowing' unless the value fits), 'truncate' (low bits), 'enum' (panic 'enum' unless a member)."""
    operand: Expr
    mode: str
    site: Site


@dataclass(eq=False)
class Field(Expr):
    """`object.name`: a value for scalars and frozen structs, a reference (RefType) for an embedded mutable struct or union,
    the array for ArrayType. `object` is a RefType or a frozen StructType."""
    object: Expr
    name: str


@dataclass(eq=False)
class Index(Expr):
    """`base[index]`, base an ArrayType, TableType, SliceType; same value/reference rule as Field. Panic 'bounds' if checked."""
    base: Expr
    index: Expr
    checked: bool
    site: Site


@dataclass(eq=False)
class Length(Expr):
    """`len(slice)`, a usize (arrays and tables have become constants)."""
    base: Expr


@dataclass(eq=False)
class Slicing(Expr):
    """`base[low:high]` of an array, table or slice; None means the end. Panic 'bounds' unless low <= high <= len."""
    base: Expr
    low: Expr | None
    high: Expr | None
    site: Site


@dataclass(eq=False)
class ToSlice(Expr):
    """An array or table as a Slice/View of all its elements; a Slice as a View."""
    base: Expr


@dataclass(eq=False)
class Call(Expr):
    function: FunctionIR
    args: list[Expr]
    site: Site


@dataclass(eq=False)
class CallIndirect(Expr):
    callee: Expr
    args: list[Expr]
    site: Site


@dataclass(eq=False)
class CallOperation(Expr):
    operation: Operation
    args: list[Expr]
    site: Site


@dataclass(eq=False)
class Intrinsic(Expr):
    """A primitive, by name; each has at most one check, kind 'bounds', unless said otherwise:

    integers      clz(x) ctz(x) popcount(x) -> u32; byteswap(x); rotate_left(x, n) rotate_right(x, n); min(a, b) max(a, b)
                  checked_add/checked_sub/checked_mul(a, b) -> tuple[bool, T]
                  bits_get(b, msb, lsb are Const in args[1:]) -> the field's type (bool, integer, enum: kind 'enum' check)
                  bits_set(b, value, msb, lsb) -> b with the field replaced (kind 'narrowing' check when value may not fit)
    slices of u8  load_be16 .. load_le64(s, offset); store_be16 .. store_le64(s, offset, v)
                  equals(a, b) -> bool; compare(a, b) -> i32; find(s, byte) -> usize
    slices        copy(dst, src): lengths must be equal, may overlap; fill(dst, value)
    atomics       atomic_load/atomic_load_acquire(place); atomic_store/atomic_store_release(place, v);
                  atomic_fetch_add/fetch_or/fetch_and/exchange(place, v); atomic_compare_swap(place, expected, new) -> tuple
                  (place: a Field or Index of AtomicType)
    shared        read_once(place), write_once(place, v): place is a Field or Index, exactly one access of its width
    pointers      ptr_make(address), ptr_ref(p), ptr_slice(p, n), ptr_address(p), address_of(x), is_null(p)
    names         enum_name(e) -> View[u8]
    """
    name: str
    args: list[Expr]
    site: Site


@dataclass(eq=False)
class MakeStruct(Expr):
    """A frozen struct value; every field given, in declaration order."""
    fields: list[tuple[str, Expr]]


@dataclass(eq=False)
class MakeTuple(Expr):
    items: list[Expr]


@dataclass(eq=False)
class TupleItem(Expr):
    tuple: Expr
    index: int


# ---- statements ---------------------------------------------------------------------------------------------------------

@dataclass(eq=False)
class Stmt:
    site: Site


@dataclass(eq=False)
class Let(Stmt):
    """Set a local or temporary."""
    var: Var
    value: Expr


@dataclass(eq=False)
class New(Stmt):
    """Make a struct, union or array in the slot of `var` (var.storage): all zero first where `zero`, then these fields in order.
    Array: `fields` is empty and it is all zero. Each execution makes it anew; in the hosted engine it is a new object."""
    var: Var
    zero: bool
    fields: list[tuple[str, Expr]]


@dataclass(eq=False)
class SetField(Stmt):
    """`object.name = value`; a mutable struct value (RefType) is copied into the field's own storage."""
    object: Expr
    name: str
    value: Expr


@dataclass(eq=False)
class SetIndex(Stmt):
    """`base[index] = value`, same copying rule. Panic 'bounds' if checked."""
    base: Expr
    index: Expr
    value: Expr
    checked: bool


@dataclass(eq=False)
class Eval(Stmt):
    """An expression for its effects."""
    value: Expr


@dataclass(eq=False)
class If(Stmt):
    condition: Expr
    then: list[Stmt]
    otherwise: list[Stmt]


@dataclass(eq=False)
class While(Stmt):
    """`while condition: body`; the condition has no spills (else the front end made `while True` with an If and Break)."""
    condition: Expr
    body: list[Stmt]


@dataclass(eq=False)
class ForRange(Stmt):
    """`for var in range(start, stop, step)`: start and stop are atoms (Const or Local temporaries), step a positive int
    constant; `reverse`: the same values backwards. The body may assign var without effect on the count;
    var keeps its last value after the loop, and stays as it was when there is no turn. Never overflows."""
    var: Var
    start: Expr
    stop: Expr
    step: int
    reverse: bool
    body: list[Stmt]


@dataclass(eq=False)
class Break(Stmt):
    """Leave the innermost loop."""


@dataclass(eq=False)
class Continue(Stmt):
    """Next turn of the innermost loop."""


@dataclass(eq=False)
class Block(Stmt):
    """A labelled run of statements that `Leave` can leave, also out of loops inside it. Break and Continue look through it."""
    label: str
    body: list[Stmt]


@dataclass(eq=False)
class Leave(Stmt):
    label: str


@dataclass(eq=False)
class Return(Stmt):
    value: Expr | None


@dataclass(eq=False)
class PanicStmt(Stmt):
    """kind 'assert' (inside an If that a writer drops when the kind is off: `is_assert` on the If's body), 'panic', 'unreachable'."""
    kind: str
    message: str


# ---- programs -----------------------------------------------------------------------------------------------------------

@dataclass(eq=False)
class FunctionIR:
    """One compiled function. Closures and methods have each their own; `external` ones have no body."""
    name: str                       # C name, unique in the program
    function: Function
    params: list[Var]
    result: Type
    file: str
    line: int                       # of the `def`
    body: list[Stmt] = field(default_factory=list)
    locals: list[Var] = field(default_factory=list)     # every Var but the parameters, each declared once
    inline: bool | None = None
    symbol: str = ""                # exported or external symbol
    external: bool = False
    preserve: bool = False          # changes few registers: see functions.export

    @cached_property
    def type(self) -> FnType:
        return FnType(tuple(p.type for p in self.params), self.result)


@dataclass(eq=False)
class Program:
    """What the entry points reach, in an order where callees come before callers."""
    pointer_bits: int
    functions: list[FunctionIR]
    statics: list[Static]           # in order of discovery; Var and live graphs refer to them by identity of `live`
    checks: frozenset[str]          # kinds that are on
    by_function: dict[Function, FunctionIR] = field(default_factory=dict)   # for functions met in live data
    once: frozenset[FunctionIR] = frozenset()           # reached only from functions that run once (`ONCE`)
    once_statics: frozenset[int] = frozenset()          # by id of `live`: named only by those
    small: frozenset[FunctionIR] = frozenset()          # compiled for size (`FAST`)
    part: dict[FunctionIR, str] = field(default_factory=dict)       # the part of the image that a function is in (`SEPARATE`)


def effects(e: Expr) -> Effect:
    """The effects of evaluating the whole tree (checks count as if they were all on)."""
    own = Effect.PURE
    match e:
        case Field(object=o):
            own = Effect.READ if _is_place_read(e) and not _is_value(o) else Effect.PURE
        case Index():
            own = Effect.READ if _is_place_read(e) and not _is_readonly(e.base) else Effect.PURE
            own |= Effect.PANIC if e.checked else Effect.PURE
        case Slicing():
            own = Effect.PANIC
        case Unary(op="-"):
            own = Effect.PANIC
        case Binary(mode="checked", op=op):
            own = Effect.PANIC if op in ("+", "-", "*", "//", "%") or (op in ("<<", ">>") and not isinstance(e.right, Const)) else Effect.PURE
            if op in ("//", "%") and isinstance(e.right, Const) and e.right.value:
                own = Effect.PURE
        case Convert(mode="check" | "enum"):
            own = Effect.PANIC
        case Call() | CallIndirect():
            own = Effect.WRITE | Effect.READ | Effect.PANIC
        case CallOperation():
            own = Effect.PURE if e.operation.pure else Effect.WRITE | Effect.READ
        case Intrinsic():
            own = intrinsic_effect(e)
    for child in children(e):
        own |= effects(child)
    return own


def _is_value(e: Expr) -> bool:
    from .types import StructType
    return isinstance(e.type, StructType)


def _is_readonly(e: Expr) -> bool:
    from .types import TableType
    return isinstance(e.type, TableType)


def _is_place_read(e: Expr) -> bool:
    """Whether a Field or Index loads a value (an embedded struct or array only computes an address)."""
    from .types import ArrayType, AtomicType, RefType, TableType
    if isinstance(e.type, (ArrayType, AtomicType)):
        return False
    if isinstance(e.type, RefType):
        return storage_of(e) == e.type
    return not isinstance(e.type, TableType)


def storage_of(e: Expr) -> Type:
    """The storage type of the place a Field or Index names (StructType for an embedded struct)."""
    from .types import ArrayType, RefType, SliceType, StructType, TableType, fields_of
    if isinstance(e, Field):
        assert isinstance(e.object.type, (RefType, StructType))
        return fields_of(e.object.type.cls)[e.name]
    assert isinstance(e, Index) and isinstance(e.base.type, (ArrayType, SliceType, TableType))
    return e.base.type.element


_PURE = {"clz", "ctz", "popcount", "byteswap", "rotate_left", "rotate_right", "min", "max", "checked_add", "checked_sub",
         "checked_mul", "ptr_make", "ptr_ref", "ptr_slice", "ptr_address", "address_of", "is_null", "enum_name"}


def intrinsic_effect(e: Intrinsic) -> Effect:
    from .types import EnumType
    if e.name in _PURE:
        return Effect.PURE
    if e.name == "bits_get":
        return Effect.PANIC if isinstance(e.type, EnumType) else Effect.PURE
    if e.name == "bits_set":
        return Effect.PANIC
    if e.name.startswith("load_"):
        return Effect.READ | Effect.PANIC
    if e.name in ("equals", "compare", "find"):
        return Effect.READ
    return Effect.WRITE | Effect.READ | Effect.PANIC


def children(e: Expr) -> list[Expr]:
    """The direct operands, left to right."""
    match e:
        case Unary() | Convert():
            return [e.operand]
        case Binary() | Compare() | Logical():
            return [e.left, e.right]
        case Select():
            return [e.condition, e.then, e.otherwise]
        case Field():
            return [e.object]
        case Index():
            return [e.base, e.index]
        case Length() | ToSlice():
            return [e.base]
        case Slicing():
            return [e.base] + [x for x in (e.low, e.high) if x is not None]
        case Call() | CallOperation() | Intrinsic():
            return list(e.args)
        case CallIndirect():
            return [e.callee, *e.args]
        case MakeStruct():
            return [x for _, x in e.fields]
        case MakeTuple():
            return list(e.items)
        case TupleItem():
            return [e.tuple]
    return []


def walk(e: Expr) -> list[Expr]:
    """The expression and everything below it."""
    found = [e]
    for child in children(e):
        found.extend(walk(child))
    return found


def expressions(s: Stmt) -> list[Expr]:
    """The top expressions of one statement (not of statements inside it)."""
    match s:
        case Let() | Eval():
            return [s.value]
        case New():
            return [v for _, v in s.fields]
        case SetField():
            return [s.object, s.value]
        case SetIndex():
            return [s.base, s.index, s.value]
        case If() | While():
            return [s.condition]
        case ForRange():
            return [s.start, s.stop]
        case Return():
            return [] if s.value is None else [s.value]
    return []


def blocks(s: Stmt) -> list[list[Stmt]]:
    """The statement lists inside a statement."""
    match s:
        case If():
            return [s.then, s.otherwise]
        case While() | ForRange() | Block():
            return [s.body]
    return []


def statements(body: list[Stmt]) -> list[Stmt]:
    """Every statement, outer ones first."""
    found: list[Stmt] = []
    for s in body:
        found.append(s)
        for inner in blocks(s):
            found.extend(statements(inner))
    return found
