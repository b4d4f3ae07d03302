"""Random expressions of the language: typed text over what is in scope, drawn choice by choice.

The types are those of `preamble`, which every generated module imports.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

PREAMBLE = '"""Generated."""\nfrom tests.engines.preamble import *\n\n'

WIDTH = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "usize": 32, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "isize": 32}
INTS = tuple(WIDTH)
UNSIGNED = tuple(n for n in INTS if n.startswith("u"))
SIGNED = tuple(n for n in INTS if n.startswith("i"))
MEMBERS = {"E8": ("A", "B", "C", "D"), "E32": ("P", "Q", "R")}
BITS = {"B32": (("KIND", "E8"), ("WIDE", "u16"), ("LOW", "u8"), ("ON", "bool")), "B64": (("TOP", "u32"), ("MID", "u64"), ("FLAG", "bool"))}
FIELDS = {
    "V": (("x", "u16"), ("y", "i32"), ("z", "u64"), ("b", "bool"), ("e", "E8")),
    "Inner": (("a", "u32"), ("b", "i64"), ("c", "u8")),
    "S": (("n8", "u8"), ("n64", "u64"), ("s16", "i16"), ("flag", "bool"), ("e", "E8"), ("bits", "B32"), ("v", "V"), ("inner", "Inner"),
          ("over.word", "u32"), ("over.half", "i16"), ("over.bytes", "[u8]6"), ("bytes", "[u8]8"), ("words", "[u32]4"), ("halves", "[i16]3"), ("inners", "[Inner]2")),
    "Packed": (("p8", "u8"), ("p32", "u32"), ("p64", "u64"), ("p16", "i16"))}
SCALARS = (*INTS, "bool", "E8", "E32", "B32", "B64")
ELEMENT = {"Slice[u8]": "u8", "View[u8]": "u8", "Slice[u32]": "u32", "View[u32]": "u32", "Slice[i16]": "i16", "View[V]": "V",
           "Slice[Inner]": "Inner"}


def limits(kind: str) -> tuple[int, int]:
    """What fits on every target (usize: the smaller)."""
    width = WIDTH[kind]
    return (0, (1 << width) - 1) if kind[0] == "u" else (-(1 << (width - 1)), (1 << (width - 1)) - 1)


@dataclass
class Helper:
    """A function that later ones may call."""
    name: str
    params: list[str]
    result: str
    cost: int


class Expressions:
    """Draws expressions. `pick(n)` gives an integer from 0 to n - 1, 0 being the simplest choice."""

    def __init__(self, pick: Callable[[int], int], tag: str) -> None:
        self._pick, self.tag = pick, tag
        self.picked = 0                                     # choices made so far
        self.spans: list[tuple[str, int, int]] = []         # which choices made what, for shrinking
        self.lines: list[str] = []
        self.depth = 0
        self.helpers: list[Helper] = []
        self.names = 0
        self.scope: list[dict[str, str]] = []               # name to type, innermost last
        self.fixed: set[str] = set()                        # names that may not be assigned
        self.weight, self.cost, self.loops = 1, 0, 0
        self.result = ""
        self.room = 0                                       # how many more statements this function may have
        self.generators = 0
        self.ended = False                                  # whether what follows here is never reached
        self.block_ended = False                            # the same at the end of the last block

    # ---- choices

    def pick(self, n: int) -> int:
        self.picked += 1
        return self._pick(n)

    @contextmanager
    def span(self, what: str) -> Iterator[None]:
        """The choices made inside belong together."""
        start = self.picked
        yield
        self.spans.append((what, start, self.picked))

    def one_of(self, options: Sequence[Any]) -> Any:
        return options[self.pick(len(options))]

    def chance(self, percent: int) -> bool:
        """True in that share of cases; shrinks to False."""
        return self.pick(100) >= 100 - percent

    def fresh(self, hint: str = "x") -> str:
        self.names += 1
        return f"{hint}{self.names}"

    # ---- lines and scopes

    def put(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.put(head)
        self.depth += 1
        self.scope.append({})
        before = len(self.lines)
        self.ended = False
        yield
        if len(self.lines) == before:
            self.put("pass")
        self.scope.pop()
        self.depth -= 1
        self.block_ended, self.ended = self.ended, False

    def declare(self, name: str, kind: str) -> None:
        self.scope[-1][name] = kind

    def known(self, *kinds: str) -> list[tuple[str, str]]:
        return [(n, k) for level in self.scope for n, k in level.items() if k in kinds]

    # ---- places: what can be read, by type

    def places(self, kind: str) -> list[str]:
        """Expressions without effects that give a value of the type from what is in scope."""
        found = [n for n, _ in self.known(kind)]
        for name, owner in self.known("V", "Inner", "S", "Packed"):
            found += [f"{name}.{f}" for f, k in FIELDS[owner] if k == kind]
        for name, _ in self.known("S"):
            found += [f"{name}.v.{f}" for f, k in FIELDS["V"] if k == kind]
            found += [f"{name}.inner.{f}" for f, k in FIELDS["Inner"] if k == kind]
            found += [f"{name}.bits.{f}" for f, k in BITS["B32"] if k == kind and f != "KIND"]
        return found

    def element(self, kind: str) -> str | None:
        """An element of an array, slice or table; the index may lie outside."""
        options = [(f"{n}.{f}", k) for n, _ in self.known("S") for f, k in FIELDS["S"] if k.startswith("[") and k[1:-2] == kind]
        options += [(n, k) for n, k in self.known(*ELEMENT) if ELEMENT[k] == kind]
        options += [("NUMBERS", "[u32]5")] if kind == "u32" else [("VALUES", "[V]2")] if kind == "V" else []
        if not options:
            return None
        base, held = self.one_of(options)
        return f"{base}[{self.index(held)}]"

    def index(self, held: str) -> str:
        length = int(held[-1]) if held.startswith("[") else 4
        way = self.pick(6)
        if way <= 1:
            return str(self.pick(length))
        kind = self.one_of(("usize", "u32", "u8", "u64"))
        if way <= 4:
            return f"{self.expr(kind, 1)} & {1 if length < 4 else 3 if length < 8 else 7}"
        return self.expr(kind, 1)

    # ---- expressions

    def literal(self, kind: str) -> str:
        low, high = limits(kind)
        edges = (0, 1, 2, 3, 7, 10, high, high - 1, high // 2, high // 2 + 1, 100, 5, *((-1, low, low + 1, -2, -7) if low else ()))
        if self.pick(4):
            value = self.one_of(edges)
        else:
            value = self.pick(1 << 16) % (high + 1)
        if self.chance(20):
            return hex(value)
        return str(value)

    def expr(self, kind: str, depth: int = 3) -> str:
        """An expression of the type; never a bare literal."""
        with self.span("expression"):
            return self._expr(kind, depth)

    def _expr(self, kind: str, depth: int) -> str:
        if kind in WIDTH:
            return self.integer(kind, depth)
        return {"bool": self.boolean, "E8": self.enum, "E32": self.enum, "B32": self.bits, "B64": self.bits, "V": self.frozen,
                "S": self.struct, "Inner": self.struct, "Packed": self.struct}.get(kind, self.run)(kind, depth)

    def variable(self, kind: str) -> str:
        """Something of an integer type that the compiler cannot fold."""
        places = self.places(kind)
        if places:
            return str(self.one_of(places))
        source, other = self.one_of(self.known(*INTS))
        return f"truncate({kind}, {source})"

    def integer(self, kind: str, depth: int) -> str:
        if depth <= 0:
            return self.variable(kind) if self.pick(3) else f"{kind}({self.literal(kind)})"
        way = self.pick(20)
        if way <= 2:
            return self.variable(kind)
        if way == 3:
            return f"{kind}({self.literal(kind)})"
        if way <= 7:
            return self.arithmetic(kind, depth)
        if way <= 9:
            return self.safe(kind, depth)
        handler = (self.bitwise, self.shift, self.division, self.conversion, self.truncation, self.selection, self.extreme,
                   self.counting, self.reading, self.calling)[way - 10]
        return handler(kind, depth) or self.variable(kind)

    def pair(self, kind: str, depth: int) -> tuple[str, str]:
        """Two operands, at most one a literal."""
        left = self.expr(kind, depth - 1)
        way = self.pick(5)
        if way <= 2:
            return left, self.literal(kind)
        if way == 3:
            return self.literal(kind), left
        return left, self.expr(kind, depth - 1)

    def joined(self, left: str, op: str, right: str) -> str:
        """With parentheses, and sometimes over two lines."""
        if right.startswith("-") and op in "+-":
            right = f"({right})"
        if left.startswith("-"):
            left = f"({left})"
        if self.chance(5):
            return f"({left}\n{'    ' * (self.depth + 1)}{op} {right})"
        return f"({left} {op} {right})"

    def arithmetic(self, kind: str, depth: int) -> str:
        if kind[0] == "i" and self.chance(15):
            return f"(-{self.expr(kind, depth - 1)})"
        left, right = self.pair(kind, depth)
        return self.joined(left, self.one_of("+-*"), right)

    def safe(self, kind: str, depth: int) -> str:
        left, right = self.pair(kind, depth)
        way = self.pick(8)
        if way == 7:
            return f"wrapping_neg({self.expr(kind, depth - 1)})"
        name = ("wrapping_add", "wrapping_sub", "wrapping_mul", "saturating_add", "saturating_sub", "wrapping_add", "wrapping_mul")[way]
        return f"{name}({left}, {right})"

    def bitwise(self, kind: str, depth: int) -> str:
        if self.chance(15):
            return f"(~{self.expr(kind, depth - 1)})"
        left, right = self.pair(kind, depth)
        return self.joined(left, self.one_of("&|^"), right)

    def shift(self, kind: str, depth: int) -> str:
        op = self.one_of((">>", "<<")) if kind[0] == "u" else ">>"
        left = self.expr(kind, depth - 1)
        way = self.pick(4)
        if way <= 1:
            return f"({left} {op} {self.pick(WIDTH[kind])})"
        amount = self.expr(self.one_of(("u32", "u8", "u64", "usize")), depth - 1)
        return f"({left} {op} ({amount} & {WIDTH[kind] - 1}))" if way == 2 else f"({left} {op} {amount})"

    def division(self, kind: str, depth: int) -> str | None:
        if kind[0] == "i":
            return None
        left, op = self.expr(kind, depth - 1), self.one_of(("//", "%"))
        way = self.pick(4)
        if way == 0:
            return f"({left} {op} {1 + self.pick(limits(kind)[1])})"
        if way == 3:
            return f"({self.literal(kind)} {op} {left})"
        return f"({left} {op} {self.expr(kind, depth - 1)})"

    def conversion(self, kind: str, depth: int) -> str:
        way = self.pick(8)
        source = self.one_of(INTS) if way <= 4 else ("bool", "E8", "E32")[way - 5]
        return f"{kind}({self.expr(source, depth - 1)})"

    def truncation(self, kind: str, depth: int) -> str:
        return f"truncate({kind}, {self.expr(self.one_of(INTS), depth - 1)})"

    def selection(self, kind: str, depth: int) -> str:
        left, right = self.pair(kind, depth)
        return f"({left} if {self.boolean('bool', depth - 1)} else {right})"

    def extreme(self, kind: str, depth: int) -> str:
        left, right = self.pair(kind, depth)
        return f"{self.one_of(('min', 'max'))}({left}, {right})"

    def counting(self, kind: str, depth: int) -> str | None:
        way = self.pick(6)
        if kind == "u32" and way <= 2:
            return f"{('clz', 'ctz', 'popcount')[way]}({self.expr(self.one_of(UNSIGNED), depth - 1)})"
        if kind[0] == "i":
            return None
        if way == 3 and kind != "u8":
            return f"byteswap({self.expr(kind, depth - 1)})"
        amount = self.pick(70) if self.pick(2) else self.expr(self.one_of(("u8", "u32")), depth - 1)
        return f"{self.one_of(('rotate_left', 'rotate_right'))}({self.expr(kind, depth - 1)}, {amount})"

    def reading(self, kind: str, depth: int) -> str | None:
        """Elements, loads from bytes, lengths, fields of Bits, atomics."""
        way = self.pick(5)
        runs = self.known("Slice[u8]", "View[u8]") + [(f"{n}.bytes", "") for n, _ in self.known("S")]
        if way == 0 and kind in ("u16", "u32", "u64") and runs:
            at = self.pick(9) if self.pick(2) else f"{self.expr('usize', 1)} & 7"
            return f"{self.one_of(runs)[0]}.load_{self.one_of(('le', 'be'))}{kind[1:]}({at})"
        if way == 1 and kind == "usize" and (all_runs := self.known(*ELEMENT)):
            return f"len({self.one_of(all_runs)[0]})"
        if way == 2 and kind == "usize" and runs:
            return f"{self.one_of(runs)[0]}.find({self.expr('u8', 1)})"
        if way == 3 and kind == "i32" and runs:
            return f"{self.one_of(runs)[0]}.compare({self.run('View[u8]', 1)})"
        if way == 4 and kind == "u32" and (owners := self.known("S")):
            name = self.one_of(owners)[0]
            method = self.one_of(("load()", "load_acquire()", f"fetch_add({self.expr('u32', 1)})", f"exchange({self.expr('u32', 1)})",
                                  f"fetch_or({self.expr('u32', 1)})", f"compare_swap({self.expr('u32', 1)}, 5)[1]"))
            return f"{name}.counter.{method}"
        for name, fields in BITS.items():
            for text, of in fields:
                if of == kind and self.chance(40):
                    return f"{self.expr(name, depth - 1)}.{text}"
        return self.element(kind)

    def calling(self, kind: str, depth: int) -> str | None:
        """A call of an earlier helper."""
        options = [h for h in self.helpers if h.result == kind and self.weight * h.cost < 3000]
        if not options:
            return None
        chosen = self.one_of(options)
        self.cost += self.weight * chosen.cost
        return f"{chosen.name}({', '.join(self.argument(p, depth - 1) for p in chosen.params)})"

    def argument(self, kind: str, depth: int) -> str:
        if kind in WIDTH and self.chance(30):
            return self.literal(kind)
        return self.expr(kind, depth)

    def boolean(self, kind: str, depth: int) -> str:
        way = self.pick(12) if depth > 0 else 0
        if way <= 4:
            return self.comparison(depth)
        if way == 5:
            return f"(not {self.boolean(kind, depth - 1)})"
        if way <= 7:
            return f"({self.boolean(kind, depth - 1)} {self.one_of(('and', 'or'))} {self.boolean(kind, depth - 1)})"
        if way == 8 and (places := self.places("bool")):
            return str(self.one_of(places))
        if way == 9:
            return self.chained(depth)
        if way == 10:
            return self.identity(depth)
        return self.calling("bool", depth) or self.comparison(depth)

    def comparison(self, depth: int) -> str:
        way = self.pick(8)
        if way == 6:
            kind = self.one_of(("E8", "E32"))
            return f"({self.enum_value(kind)} {self.one_of(('==', '!=', '<', '>='))} {self.expr(kind, depth - 1)})"
        if way == 7:
            kind = self.one_of(("V", "B32", "bool"))
            left = self.variable_of(kind)
            return f"({left} {self.one_of(('==', '!='))} {self.expr(kind, depth - 1)})"
        kind = self.one_of(INTS)
        left = self.variable(kind) if depth <= 1 else f"({self.variable(kind)} ^ {self.expr(kind, depth - 1)})"
        right = self.literal(kind) if self.pick(2) else self.expr(kind, depth - 1)
        return f"({left} {self.one_of(('<', '<=', '>', '>=', '==', '!='))} {right})"

    def variable_of(self, kind: str) -> str:
        if kind == "bool":
            return f"({self.variable('u32')} != 0)"
        if places := self.places(kind):
            return str(self.one_of(places))
        return f"B32.from_raw({self.variable('u32')})" if kind == "B32" else f"VALUES[{self.variable('usize')} & 1]"

    def enum_value(self, kind: str) -> str:
        places = self.places(kind)
        return str(self.one_of(places)) if places else f"({kind}.{MEMBERS[kind][0]} if {self.comparison(0)} else {kind}.{MEMBERS[kind][1]})"

    def chained(self, depth: int) -> str:
        kind = self.one_of(INTS)
        parts = [self.variable(kind), self.expr(kind, depth - 1), self.expr(kind, depth - 1)]
        return f"({parts[0]} {self.one_of(('<', '<=', '!='))} {parts[1]} {self.one_of(('<', '<=', '=='))} {parts[2]})"

    def identity(self, depth: int) -> str:
        owners = self.known("S")
        if self.pick(2) and (runs := self.known("View[u8]", "Slice[u8]")):
            return f"{self.one_of(runs)[0]}.equals({self.run('View[u8]', 1)})"
        if not owners:
            return self.comparison(depth)
        name = self.one_of(owners)[0]
        return f"({name}.link is {self.one_of(('None', 'not None'))})"

    def enum(self, kind: str, depth: int) -> str:
        way = self.pick(6) if depth > 0 else self.pick(3)
        if way <= 1:
            return f"{kind}.{self.one_of(MEMBERS[kind])}"
        if way == 2 and (places := self.places(kind)):
            return str(self.one_of(places))
        if way == 3:
            return f"{kind}({self.expr(self.one_of(('u8', 'u32', 'u64', 'i16')), depth - 1)} & {self.one_of((1, 3, 7))})"
        if way == 4:
            return f"({kind}.{self.one_of(MEMBERS[kind])} if {self.boolean('bool', depth - 1)} else {self.expr(kind, depth - 1)})"
        if way == 5 and kind == "E8":
            return f"{self.bits('B32', depth - 1)}.KIND"
        return f"{kind}.{self.one_of(MEMBERS[kind])}"

    def bits(self, kind: str, depth: int) -> str:
        way = self.pick(5)
        if way <= 1 and (places := self.places(kind)):
            return str(self.one_of(places))
        if depth <= 0 or way == 2:
            return f"{kind}.from_raw({self.expr('u32' if kind == 'B32' else 'u64', depth - 1)})"
        given = [f for f in BITS[kind] if self.pick(2)]
        values = ", ".join(f"{n}={self.bit_value(n, k, depth - 1)}" for n, k in given)
        if way == 3 or not given:
            return f"{kind}({values})"
        return f"{self.bits(kind, depth - 1)}.replace({values})"

    def bit_value(self, name: str, kind: str, depth: int) -> str:
        if kind in WIDTH:
            narrow = {"WIDE": 0x1FFF, "LOW": 31, "TOP": 0xFFFFFF, "MID": (1 << 36) - 1}[name]
            if self.pick(3) == 0:
                return str(self.pick(min(narrow, 100) + 1))
            return self.variable(kind) if self.chance(30) else f"({self.variable(kind)} ^ {self.expr(kind, depth)}) & {narrow}"
        return self.expr(kind, depth)

    def frozen(self, kind: str, depth: int) -> str:
        way = self.pick(4)
        if way <= 1 and (places := self.places("V")):
            return str(self.one_of(places))
        if way == 2:
            return self.element("V") or "VALUES[0]"
        return f"V({', '.join(self.argument(k, min(depth - 1, 1)) for _, k in FIELDS['V'])})"

    def struct(self, kind: str, depth: int) -> str:
        """A reference; `main` and helpers always have one of each kind in reach."""
        places = self.places(kind)
        if kind == "Inner" and (element := self.pick(3)) == 2 and (made := self.element("Inner")):
            return made
        return str(self.one_of(places))

    def run(self, kind: str, depth: int) -> str:
        """A slice or view."""
        element = ELEMENT[kind]
        options = [n for n, k in self.known(*ELEMENT) if k == kind or (kind.startswith("View") and ELEMENT[k] == element)]
        options += [f"{n}.{f}" for n, _ in self.known("S") for f, k in FIELDS["S"] if k.startswith("[") and k[1:-2] == element]
        if kind == "View[u8]":
            options.append(self.one_of(('b""', 'b"abc"', 'b"\\xff\\x00\\x7f01234567"')))
        if kind == "View[u32]":
            options.append("NUMBERS")
        if kind == "View[V]":
            options.append("VALUES")
        base = self.one_of(options)
        if depth <= 0 or self.pick(3):
            return str(base)
        low = ("", "1", f"{self.expr('usize', 1)} & 3")[self.pick(3)]
        high = ("", "2", f"{self.expr('usize', 1)} & 7")[self.pick(3)]
        return f"{base}[{low}:{high}]" if base[0] != "b" or base[1] != '"' else str(base)
