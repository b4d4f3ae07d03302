"""Statements and whole functions of the IR as C text with `#line` to the Python source."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ir
from ..errors import CompileError, Site
from ..types import ArrayType, EnumType, IntType, RefType, StructType, TableType, Type, VoidType, fields_of
from .ctypes import int_literal, join, member
from .expressions import Expressions, in_value
from .names import Names, wrap
from .scopes import Scopes, assigns
from .unit import ONCE, PART, Unit


def signature(unit: Unit, function: ir.FunctionIR, names: list[str]) -> str:
    """`u32 f(u32 a)` with the given parameter names."""
    params = ", ".join(join(unit.types.spell(p.type), name) for p, name in zip(function.params, names)) or "void"
    return join(unit.types.spell(function.result), f"{unit.function(function)}({params})")


def placement(unit: Unit, function: ir.FunctionIR) -> str:
    """The section of a function that is not among the others, and whether it is compiled for size."""
    if unit.target.hosted:
        return ""
    program = unit.program
    section = f"{ONCE}.text" if function in program.once else f"{PART}.{program.part[function]}" if function in program.part else ""
    size = "SMALL " if function in program.small and not function.inline else ""
    return (f'__attribute__((section("{section}"))) ' if section else "") + size


def linkage(unit: Unit, function: ir.FunctionIR) -> str:
    if function.external:
        return "extern "
    inline = {True: "static inline __attribute__((always_inline)) ", False: "static __attribute__((noinline)) ", None: "static "}
    return placement(unit, function) + ("__attribute__((used, noinline)) " if function.symbol else inline[function.inline])


class FunctionWriter:
    """Writes one function."""

    def __init__(self, unit: Unit, function: ir.FunctionIR) -> None:
        self.unit, self.function = unit, function
        self.local_names = Names(unit.names)
        self.names: dict[int, str] = {}
        for var in (*function.params, *function.locals):
            self.names[id(var)] = self.local_names.unique(var.name)
        self.scopes = Scopes(function)
        self.e = Expressions(unit, self.names)
        self.e.fresh = self.local_names.unique
        self.e.once = function in unit.program.once and not unit.target.hosted
        self.lines: list[str] = []
        self.depth = 0
        self.position: tuple[str, int] | None = None        # what `#line` made the next C line be
        self.labels: list[tuple[str, str]] = []
        self.inside: list[str] = []                         # loops ("", or the label behind one) and switches ("switch")
        self.used_labels: set[str] = set()

    def clashes(self) -> bool:
        """Whether a type, helper or operation that was named since has the name of a variable here."""
        return any(self.unit.names.is_taken(name) for name in self.local_names.taken)

    # -- lines ----------------------------------------------------------------------------------------------------------

    def write(self) -> str:
        """The definition."""
        function = self.function
        origin = f"{function.function.__module__}.{getattr(function.function.py, '__qualname__', function.function.__name__)}"
        self.lines.append(f"/* {origin.replace('*/', '')} */")
        names = [self.names[id(p)] for p in function.params]
        self.line(Site(function.file, function.line), f"{linkage(self.unit, function)}{signature(self.unit, function, names)} {{")
        opening = len(self.lines) - 1
        self.depth = 1
        for var in self.scopes.top:
            self.line(Site(function.file, function.line), self.declaration(var) + ";")
        self.body(function.body)
        self.depth = 0
        self.plain("}")
        self.lines[opening] = " ".join([self.lines[opening], *self.e.held])         # one line, so that none is moved
        return "\n".join(self.lines)

    def line(self, site: Site, text: str) -> None:
        """One C line that belongs to a line of the source."""
        path = self.unit.path(site.file)
        if self.position != (path, site.line):
            self.lines.append(f'#line {site.line} "{path}"')
        self.plain(text)
        self.position = (path, site.line + 1)

    def plain(self, text: str) -> None:
        """A line that belongs to none (a closing brace)."""
        self.lines.append("    " * self.depth + text)
        if self.position is not None:
            self.position = (self.position[0], self.position[1] + 1)

    def declaration(self, var: ir.Var) -> str:
        name = self.names[id(var)]
        if var.storage:
            kind = StructType(var.type.cls) if isinstance(var.type, RefType) else var.type
            return self.unit.types.declare(kind, name)
        return join(self.unit.types.spell(var.type), name)

    def body(self, body: list[ir.Stmt]) -> None:
        for s in body:
            self.e.site = s.site
            for var in self.scopes.before.get(id(s), ()):
                self.line(s.site, self.declaration(var) + ";")
            handler = _STATEMENTS.get(type(s))
            if handler is None:
                raise CompileError(s.site, f"the C writer knows no {type(s).__name__}")
            handler(self, s)

    def nested(self, body: list[ir.Stmt]) -> None:
        self.depth += 1
        self.body(body)
        self.depth -= 1

    # -- simple statements --------------------------------------------------------------------------------------------------

    def let(self, s: ir.Let) -> None:
        value = self.e.expr(s.value)
        if isinstance(s.var.type, ArrayType) and not s.var.storage:
            value = self.array_value(s, value)
        target = self.declaration(s.var) if id(s) in self.scopes.at else self.names[id(s.var)]
        self.line(s.site, f"{target} = {value};")

    def array_value(self, s: ir.Let, value: str) -> str:
        """A name for an array: of a frozen value a copy, because the value's own variable may change under the name."""
        if in_value(s.value):
            held = self.local_names.unique(f"{self.names[id(s.var)]}_held")
            self.e.held.append(f"{self.unit.types.declare(s.var.type, held)};")
            self.line(s.site, f"__builtin_memcpy({held}, {value}, sizeof {held});")
            return held
        return f"({self.unit.types.spell(s.var.type)}){wrap(value)}"            # a table's array is const

    def new(self, s: ir.New) -> None:
        name = self.names[id(s.var)]
        if s.zero or isinstance(s.var.type, ArrayType):
            self.line(s.site, f"__builtin_memset(&{name}, 0, sizeof {name});")
        for field, value in s.fields:
            self.store(s.site, f"{name}.{member(field)}", value, field_type(s.var.type, field))

    def set_field(self, s: ir.SetField) -> None:
        union = getattr(s.object.type, "cls", None) is not None and StructType(s.object.type.cls).is_union  # type: ignore[attr-defined]
        self.store(s.site, self.e.member_of(s.object, s.name), s.value, field_type(s.object.type, s.name), overlap=union)

    def set_index(self, s: ir.SetIndex) -> None:
        kind = s.base.type
        assert hasattr(kind, "element")
        self.store(s.site, self.e.element_of(s.base, s.index, s.checked, s.site), s.value, kind.element)

    def store(self, site: Site, place: str, value: ir.Expr, kind: Type, overlap: bool = False) -> None:
        """Store into a place; structs and arrays are copied into it."""
        if isinstance(kind, (ArrayType, TableType)):
            self.line(site, f"__builtin_memmove({place}, {self.e.expr(value)}, sizeof {wrap(place)});")
        elif isinstance(kind, StructType) and isinstance(value.type, RefType):
            if overlap:
                self.line(site, f"__builtin_memmove(&{place}, {self.e.expr(value)}, sizeof {wrap(place)});")
            else:
                self.line(site, f"{place} = {self.e.deref(value)};")
        else:
            self.line(site, f"{place} = {self.e.expr(value)};")

    def eval(self, s: ir.Eval) -> None:
        text = self.e.expr(s.value)
        self.line(s.site, f"{text};" if isinstance(s.value.type, VoidType) else f"(void){wrap(text)};")

    def ret(self, s: ir.Return) -> None:
        if s.value is None:
            self.line(s.site, "return;")
        elif isinstance(s.value.type, VoidType):
            self.line(s.site, f"{self.e.expr(s.value)}; return;")
        else:
            self.line(s.site, f"return {self.e.expr(s.value)};")

    def panic(self, s: ir.PanicStmt) -> None:
        if s.kind == "assert" and not self.unit.on("assert"):
            return
        self.line(s.site, f"PANIC({s.kind}, {self.unit.at(s.site)}, {self.unit.messages.number(s.message)});")

    # -- control flow -------------------------------------------------------------------------------------------------------

    def conditional(self, s: ir.If, keyword: str = "if") -> None:
        if is_assert(s) and not self.unit.on("assert"):
            return
        if keyword == "if" and self.switch(s):
            return
        condition = self.e.expr(s.condition)
        if panics(s.then):
            condition = f"UNLIKELY({condition})"
        self.line(s.site, f"{keyword} ({condition}) {{")
        self.nested(s.then)
        follow = s.otherwise[0] if len(s.otherwise) == 1 else None
        if isinstance(follow, ir.If) and not is_assert(follow) and id(follow) not in self.scopes.before:
            self.conditional(follow, "} else if")
            return
        if s.otherwise:
            self.plain("} else {")
            self.nested(s.otherwise)
        self.plain("}")

    def switch(self, s: ir.If) -> bool:
        """Write a chain of comparisons of one variable with constants as a switch; False where s is none."""
        found = chain(s, self.scopes.before)
        if found is None:
            return False
        subject, arms, otherwise = found
        self.line(s.site, f"switch ({self.e.expr(subject)}) {{")
        self.inside.append("switch")
        for arm, values in arms:
            cases = " ".join(f"case {self.e.expr(value)}:" for value in values)
            self.arm(arm.site, cases, arm.then)
        if otherwise:
            self.arm(otherwise[0].site, "default:", otherwise)
        self.inside.pop()
        self.plain("}")
        return True

    def arm(self, site: Site, cases: str, body: list[ir.Stmt]) -> None:
        self.line(site, f"{cases} {{")
        self.nested(body)
        if not leaves(body):
            self.depth += 1
            self.plain("break;")
            self.depth -= 1
        self.plain("}")

    def loop_body(self, body: list[ir.Stmt]) -> None:
        """The inside of a loop, its closing brace, and a label behind it where a switch inside had to be left for it."""
        self.inside.append("")
        self.nested(body)
        self.plain("}")
        if label := self.inside.pop():
            self.plain(f"{label}:;")

    def leave_loop(self, s: ir.Break) -> None:
        at = max(n for n, what in enumerate(self.inside) if what != "switch")
        if at == len(self.inside) - 1:
            self.line(s.site, "break;")
            return
        self.inside[at] = self.inside[at] or self.local_names.unique("loop_end")
        self.line(s.site, f"goto {self.inside[at]};")

    def loop(self, s: ir.While) -> None:
        self.line(s.site, f"while ({self.e.expr(s.condition)}) {{")
        self.loop_body(s.body)

    def block(self, s: ir.Block) -> None:
        label = self.local_names.unique(f"{s.label}_end" if not s.label.endswith("end") else s.label)
        self.labels.append((s.label, label))
        self.line(s.site, "{")
        self.nested(s.body)
        self.plain("}")
        self.labels.pop()
        if label in self.used_labels:
            self.plain(f"{label}:;")

    def leave(self, s: ir.Leave) -> None:
        for label, name in reversed(self.labels):
            if label == s.label:
                self.used_labels.add(name)
                self.line(s.site, f"goto {name};")
                return
        raise CompileError(s.site, f"no block {s.label} to leave")

    def for_range(self, s: ir.ForRange) -> None:
        changed = assigns(s.body)
        stop = self.stable(s, s.stop, changed, "stop")
        start = self.stable(s, s.start, changed, "start") if s.reverse else self.e.operand(s.start)
        declared = id(s) in self.scopes.at
        direct = declared and id(s.var) not in changed and (self.cannot_overflow(s) or not self.can_widen(s))
        (self.backward if s.reverse else self.forward)(s, start, stop, declared, direct)

    def stable(self, s: ir.ForRange, e: ir.Expr, changed: set[int], name: str) -> str:
        """The bound as text that means the same in every turn."""
        if isinstance(e, ir.Const) or (isinstance(e, ir.Local) and id(e.var) not in changed and e.var is not s.var):
            return self.e.operand(e)
        held = self.local_names.unique(name)
        self.line(s.site, f"const {join(self.unit.types.spell(e.type), held)} = {self.e.expr(e)};")
        return held

    def forward(self, s: ir.ForRange, start: str, stop: str, declared: bool, direct: bool) -> None:
        spelled = self.unit.types.spell(s.var.type)
        name = self.names[id(s.var)]
        counter = name if direct else self.local_names.unique(f"{name}_next")
        counted, step = self.counting(s, counter, stop)
        self.line(s.site, f"for ({join(counted, counter)} = {start}; {counter} < {stop}; {step}) {{")
        if not direct:
            target = join(spelled, name) if declared else name
            self.depth += 1
            self.line(s.site, f"{target} = ({spelled}){counter};")
            self.depth -= 1
        self.loop_body(s.body)

    def cannot_overflow(self, s: ir.ForRange) -> bool:
        high = self.e.limits(s.var.type)[1]
        return s.step == 1 or (isinstance(s.stop, ir.Const) and int(s.stop.value) + s.step - 1 <= high)

    def can_widen(self, s: ir.ForRange) -> bool:
        """Whether a register counts further than the type of the variable (by any step that fits the type)."""
        return self.e.base(s.var.type).bits(self.e.bits) < self.e.bits

    def counting(self, s: ir.ForRange, counter: str, stop: str) -> tuple[str, str]:
        """The counter's C type and the step, which never overflows."""
        kind = s.var.type
        spelled = self.unit.types.spell(kind)
        if s.step == 1:
            return spelled, f"{counter}++"
        if self.cannot_overflow(s):
            return spelled, f"{counter} += {int_literal(kind, s.step, self.e.bits)}"
        if self.can_widen(s):
            return f"{'i' if self.e.base(kind).signed else 'u'}{self.e.bits}", f"{counter} += {s.step}"
        compute = self.e.compute_type(kind)
        left = f"({compute}){wrap(stop)} - ({compute}){counter}"
        return spelled, f"{counter} = {left} > {s.step}u ? ({spelled})(({compute}){counter} + {s.step}u) : {stop}"

    def backward(self, s: ir.ForRange, start: str, stop: str, declared: bool, direct: bool) -> None:
        """Counts turns down to none: the value is start plus the turns left times the step."""
        spelled, compute = self.unit.types.spell(s.var.type), self.e.compute_type(s.var.type)
        name = self.names[id(s.var)]
        left = self.local_names.unique(f"{name}_left")
        span = f"(({compute}){wrap(stop)} - ({compute}){wrap(start)})"
        turns = span if s.step == 1 else f"(({span} - 1) / {s.step}u + 1)"
        self.line(s.site, f"for ({compute} {left} = {start} < {stop} ? {turns} : 0; {left}-- != 0; ) {{")
        self.depth += 1
        offset = left if s.step == 1 else f"{left} * {s.step}u"
        target = join(spelled, name) if declared else name
        self.line(s.site, f"{target} = ({spelled})(({compute}){wrap(start)} + {offset});")
        self.depth -= 1
        self.loop_body(s.body)


Arms = list[tuple[ir.If, list[ir.Const]]]


def chain(s: ir.If, declared_before: dict[int, list[ir.Var]]) -> tuple[ir.Local, Arms, list[ir.Stmt]] | None:
    """The subject, arms and rest of `if x == 1: .. elif x == 2 or x == 3: .. else: ..`; None where it is no such chain of three values."""
    arms: Arms = []
    subject: ir.Local | None = None
    seen: set[int] = set()
    rest: list[ir.Stmt] = [s]
    while len(rest) == 1 and isinstance(rest[0], ir.If) and (rest[0] is s or id(rest[0]) not in declared_before):
        link = rest[0]
        tests = comparisons(link.condition)
        if tests is None or is_assert(link) or (subject is not None and tests[0].var is not subject.var):
            break
        subject = tests[0]
        fresh = {int(value.value): value for value in tests[1] if int(value.value) not in seen}
        arms.append((link, list(fresh.values())))
        seen |= set(fresh)
        rest = link.otherwise
    if subject is None or len(arms) < 2 or len(seen) < 3 or not all(values for _, values in arms):
        return None
    return subject, arms, rest


def comparisons(e: ir.Expr) -> tuple[ir.Local, list[ir.Const]] | None:
    """`x == 1 or x == 2` as x and its constants."""
    match e:
        case ir.Compare(op="==", left=ir.Local() as subject, right=ir.Const() as value) if isinstance(value.type, (IntType, EnumType)):
            return subject, [value]
        case ir.Logical(op="or", left=left, right=right):
            first, second = comparisons(left), comparisons(right)
            if first is not None and second is not None and first[0].var is second[0].var:
                return first[0], first[1] + second[1]
    return None


def leaves(body: list[ir.Stmt]) -> bool:
    return bool(body) and isinstance(body[-1], (ir.Return, ir.Break, ir.Continue, ir.Leave, ir.PanicStmt))


def field_type(owner: Type, name: str) -> Type:
    assert isinstance(owner, (RefType, StructType)), owner
    return fields_of(owner.cls)[name]


def is_assert(s: ir.If) -> bool:
    return not s.otherwise and len(s.then) == 1 and isinstance(s.then[0], ir.PanicStmt) and s.then[0].kind == "assert"


def panics(body: list[ir.Stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ir.PanicStmt)


_STATEMENTS: dict[type[ir.Stmt], Callable[[FunctionWriter, Any], None]] = {
    ir.Let: FunctionWriter.let, ir.New: FunctionWriter.new, ir.SetField: FunctionWriter.set_field,
    ir.SetIndex: FunctionWriter.set_index, ir.Eval: FunctionWriter.eval, ir.If: FunctionWriter.conditional,
    ir.While: FunctionWriter.loop, ir.ForRange: FunctionWriter.for_range, ir.Block: FunctionWriter.block,
    ir.Leave: FunctionWriter.leave, ir.Return: FunctionWriter.ret, ir.PanicStmt: FunctionWriter.panic,
    ir.Break: FunctionWriter.leave_loop, ir.Continue: lambda w, s: w.line(s.site, "continue;"),
}
