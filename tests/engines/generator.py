"""Random programs of the language, drawn choice by choice, so that what is shrunk stays a valid program.

Every choice is an integer whose 0 is the simplest thing; `Program` writes one program: some helper functions and an entry
`main(a, b, c, data)`, with `digest()` over the static storage.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tests.engines.drawn_expressions import (BITS, ELEMENT, FIELDS, INTS, MEMBERS, PREAMBLE, SCALARS, WIDTH, Expressions, Helper,
                                             limits)

__all__ = ["PREAMBLE", "Program", "Text", "programs", "replay"]


@dataclass
class Text:
    """One drawn program: its text, which names `main`, `state` and helpers with its number; and calls to make."""
    source: str
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    picks: list[int] = field(default_factory=list, repr=False)      # the choices that made it
    spans: list[tuple[str, int, int]] = field(default_factory=list, repr=False)


class Program(Expressions):
    """Draws statements and functions: one whole program."""

    # ---- statements

    def statements(self, ends: bool = False) -> None:
        """A few statements; with `ends`, one that leaves may come last."""
        while self.room > 0 and not self.ended:
            with self.span("statement"):
                if self.pick(10) < 1:
                    return self._end(ends)
                self.room -= 1
                self.cost += self.weight
                self.statement()
        self._end(ends)

    def _end(self, ends: bool) -> None:
        if ends and not self.ended and self.chance(30):
            self.leave()

    def statement(self) -> None:
        way = self.pick(24)
        simple = (self.new_local, self.assign, self.assign_field, self.assign_element, self.new_local, self.augmented)
        if way < len(simple):
            simple[way]()
            return
        nested = (self.if_, self.if_, self.for_range, self.for_each, self.while_, self.match_, self.with_, self.local_struct, self.copy_struct,
                  self.slice_operation, self.call_helper, self.unpack, self.assertion, self.link, self.generator_loop, self.reference, self.pointer, self.generator_loop)
        nested[way - len(simple)]()

    def new_local(self) -> None:
        kind = self.one_of((*SCALARS, "V", "View[u8]", "Slice[u32]"))
        name = self.fresh()
        if kind in WIDTH and self.chance(30):
            self.put(f"{name}: {kind} = {self.literal(kind)}")
        else:
            self.put(f"{name} = {self.expr(kind)}")
        self.declare(name, kind)

    def targets(self, *kinds: str) -> list[tuple[str, str]]:
        return [(n, k) for n, k in self.known(*kinds) if n not in self.fixed]

    def assign(self) -> None:
        options = self.targets(*SCALARS, "V")
        if options:
            name, kind = self.one_of(options)
            self.put(f"{name} = {self.argument(kind, 3)}")

    def augmented(self) -> None:
        options = self.targets(*INTS) + [(f"{n}.{f}", k) for n, o in self.known("S", "Inner", "Packed") for f, k in FIELDS[o] if k in WIDTH]
        if options:
            name, kind = self.one_of(options)
            right = self.literal(kind) if self.pick(2) else self.expr(kind, 2)
            self.put(f"{name} {self.one_of('+^-|&*')}= {right}")

    def assign_field(self) -> None:
        options = [(f"{n}.{f}", k) for n, o in self.known("S", "Inner", "Packed") for f, k in FIELDS[o]
                   if k in SCALARS or k == "V"]
        options += [(f"{n}.inner.{f}", k) for n, _ in self.known("S") for f, k in FIELDS["Inner"]]
        if options:
            place, kind = self.one_of(options)
            self.put(f"{place} = {self.argument(kind, 3)}")

    def assign_element(self) -> None:
        options = [(f"{n}.{f}", k) for n, _ in self.known("S") for f, k in FIELDS["S"] if k.startswith("[")]
        options += [(n, k) for n, k in self.known(*ELEMENT) if k.startswith("Slice")]
        if options:
            base, held = self.one_of(options)
            kind = held[1:-2] if held.startswith("[") else ELEMENT[held]
            op = self.one_of(("=", "=", "+=", "^=")) if kind in WIDTH else "="
            self.put(f"{base}[{self.index(held)}] {op} {self.argument(kind, 2)}")

    def if_(self) -> None:
        with self.block(f"if {self.boolean('bool', 3)}:"):
            self.statements(ends=True)
        ended = self.block_ended
        if self.pick(2):
            if self.chance(30):
                with self.block(f"elif {self.boolean('bool', 2)}:"):
                    self.statements(ends=True)
                ended = ended and self.block_ended
            with self.block("else:"):
                self.statements()
            self.ended = ended and self.block_ended

    @contextmanager
    def loop(self, head: str, turns: int) -> Iterator[None]:
        self.weight, self.loops = self.weight * turns, self.loops + 1
        with self.block(head):
            yield
        self.weight, self.loops = self.weight // turns, self.loops - 1

    def for_range(self) -> None:
        if self.weight > 60:
            return
        kind = self.one_of(INTS)
        low, high = limits(kind)
        way = self.pick(6)
        if way == 0:
            bounds = f"range({1 + self.pick(4)})"
            kind = "usize"
        elif way == 1:
            bounds = f"range({kind}({self.pick(3)}), {3 + self.pick(5)})"
        elif way == 2:
            bounds = f"range({self.expr(kind, 1)} & 7)"
        elif way == 3 and not kind.endswith("size"):        # those reach further than `high` where they are wider
            bounds = f"range({high - self.pick(6)}, {self.variable(kind)} | {high}, {1 + self.pick(4)})"
        elif way == 4:
            bounds = f"range({self.expr(kind, 1)} & 3, {self.expr(kind, 1)} & 15, {1 + self.pick(5)})"
        else:
            bounds = f"range({kind}({low}), {low + self.pick(7)}, {1 + self.pick(3)})"
        if self.chance(25):
            bounds = f"reversed({bounds})"
        name = self.fresh("it")
        with self.loop(f"for {name} in {bounds}:", 8):
            self.declare(name, kind)
            self.statements(ends=True)

    def for_each(self) -> None:
        if self.weight > 60:
            return
        options = [(f"{n}.{f}", k[1:-2]) for n, _ in self.known("S") for f, k in FIELDS["S"] if k.startswith("[")]
        options += [(n, ELEMENT[k]) for n, k in self.known(*ELEMENT)] + [("NUMBERS", "u32"), ("VALUES", "V")]
        base, kind = self.one_of(options)
        name, number = self.fresh("e"), self.fresh("k")
        numbered = self.chance(30)
        head = f"for {number}, {name} in enumerate({base}):" if numbered else f"for {name} in {base}:"
        with self.loop(head, 8):
            self.declare(name, kind)
            self.fixed.add(name)
            if numbered:
                self.declare(number, "usize")
            self.statements(ends=True)

    def while_(self) -> None:
        if self.weight > 60:
            return
        name = self.fresh("w")
        self.put(f"{name} = u32(0)")
        self.fixed.add(name)
        self.declare(name, "u32")
        test = f" and {self.boolean('bool', 2)}" if self.pick(2) else ""
        with self.loop(f"while {name} < {1 + self.pick(6)}{test}:", 6):
            self.put(f"{name} += 1")
            self.statements(ends=True)

    def match_(self) -> None:
        way = self.pick(2)
        kind = self.one_of(("E8", "E32")) if way == 0 else self.one_of(("u8", "u32", "i32"))
        subject = self.enum_value(kind) if way == 0 else f"({self.variable(kind)} & 3)"
        members = [f"{kind}.{m}" for m in MEMBERS[kind]] if way == 0 else ["0", "1", "2"]
        with self.block(f"match {subject}:"):
            ended = True
            with self.block(f"case {members[0]}:"):
                self.statements(ends=True)
            ended = ended and self.block_ended
            if self.pick(2):
                with self.block(f"case {members[1]} | {members[2]}:"):
                    self.statements(ends=True)
                ended = ended and self.block_ended
            with self.block("case _:"):
                self.statements()
            ended = ended and self.block_ended
        self.ended = ended

    def with_(self) -> None:
        with self.block(f"with LOCK{self.tag}:"):
            self.statements(ends=True)
        self.ended = self.block_ended

    def local_struct(self) -> None:
        kind = self.one_of(("Inner", "S", "Packed"))
        name = self.fresh("l")
        if kind == "S" or self.pick(2):
            self.put(f"{name} = zeroed({kind})")
        else:
            self.put(f"{name} = {kind}({', '.join(self.argument(k, 1) for _, k in FIELDS[kind])})")
        self.declare(name, kind)
        self.fixed.add(name)

    def copy_struct(self) -> None:
        owners = self.known("S")
        if owners:
            name = self.one_of(owners)[0]
            place = self.one_of((f"{name}.inner", f"{name}.inners[{self.index('[Inner]2')}]"))
            self.put(f"{place} = {self.struct('Inner', 1)}")

    def reference(self) -> None:
        name = self.fresh("r")
        self.put(f"{name} = {self.struct('Inner', 1)}")
        self.declare(name, "Inner")
        self.fixed.add(name)

    def slice_operation(self) -> None:
        bytes_ = self.known("Slice[u8]") + [(f"{n}.bytes", "") for n, _ in self.known("S")]
        words = self.known("Slice[u32]") + [(f"{n}.words", "") for n, _ in self.known("S")]
        way = self.pick(4)
        if way == 0 and words:
            self.put(f"{self.one_of(words)[0]}.fill({self.argument('u32', 2)})")
        elif way == 1 and bytes_:
            kind = self.one_of(("u16", "u32", "u64"))
            self.put(f"{self.one_of(bytes_)[0]}.store_{self.one_of(('le', 'be'))}{kind[1:]}({self.pick(9)}, {self.argument(kind, 2)})")
        elif way == 2 and bytes_:
            low = self.pick(4)
            base, other = self.one_of(bytes_)[0], self.one_of(bytes_)[0]
            self.put(f"{base}[{low}:{low + 3}].copy_from({other}[{self.pick(4)}:{self.pick(2) + 5}])")
        elif words:
            low = self.pick(2)
            base = self.one_of(words)[0]
            self.put(f"{base}[{low}:{low + 2}].copy_from({base}[{self.pick(3)}:][:2])")

    def call_helper(self) -> None:
        options = [h for h in self.helpers if self.weight * h.cost < 3000]
        if options:
            chosen = self.one_of(options)
            self.cost += self.weight * chosen.cost
            self.put(f"{chosen.name}({', '.join(self.argument(p, 2) for p in chosen.params)})")

    def unpack(self) -> None:
        a, b = self.fresh("ok"), self.fresh("n")
        kind = self.one_of(INTS)
        options = [h for h in self.helpers if h.result.startswith("tuple") and self.weight * h.cost < 3000]
        if options and self.pick(2):
            chosen = self.one_of(options)
            self.cost += self.weight * chosen.cost
            first, _, kind = chosen.result[6:-1].partition(", ")
            self.put(f"{a}, {b} = {chosen.name}({', '.join(self.argument(p, 2) for p in chosen.params)})")
            self.declare(a, first)
        else:
            left, right = self.pair(kind, 2)
            self.put(f"{a}, {b} = checked_{self.one_of(('add', 'sub', 'mul'))}({left}, {right})")
            self.declare(a, "bool")
        self.declare(b, kind)

    def assertion(self) -> None:
        if self.chance(40):
            self.put(f'assert {self.comparison(1)}, "no"')

    def link(self) -> None:
        owners = self.known("S")
        if not owners:
            return
        name = self.one_of(owners)[0]
        if self.pick(2):
            self.put(f"{name}.link = {self.one_of(('None', f'STATE{self.tag}.inner', f'STATE{self.tag}.inners[1]'))}")
            return
        held = self.fresh("link")
        self.put(f"{held} = {name}.link")
        with self.block(f"if {held} is not None:"):
            self.declare(held, "Inner")
            self.fixed.add(held)
            self.statements(ends=True)

    def pointer(self) -> None:
        """A function chosen at run time, kept in a field or a local, and called."""
        owners = self.known("S")
        held, name = self.fresh("call"), self.fresh()
        way = self.pick(4)
        if way == 0:
            self.put(f"{name} = STEPS[{self.index('[]3')}]({self.argument('u32', 2)})")
        elif way == 1:
            self.put(f"{held} = step0 if {self.boolean('bool', 2)} else {self.one_of(('step1', 'step2'))}")
            self.put(f"{name} = {held}({self.argument('u32', 2)})")
        elif way == 2 or not owners:
            self.put(f"STATE{self.tag}.run = {self.one_of(('step0', 'step1', 'step2', 'None'))}")
            return
        else:
            self.put(f"{held} = {self.one_of(owners)[0]}.run")
            with self.block(f"if {held} is not None:"):
                self.put(f"{name} = {held}({self.argument('u32', 2)})")
                self.declare(name, "u32")
                self.statements(ends=True)
            return
        self.declare(name, "u32")

    def generator_loop(self) -> None:
        if not self.generators or self.weight > 60:
            return
        name = self.fresh("g")
        with self.loop(f"for {name} in gen{self.tag}_{self.pick(self.generators)}({self.argument('u32', 1)}):", 6):
            self.declare(name, "u32")
            self.statements(ends=True)

    def leave(self) -> None:
        way = self.pick(4)
        self.ended = True
        if self.loops and way <= 1:
            self.put("break" if way else "continue")
        elif way == 3 and self.result and self.chance(20):
            self.put('panic("stop")')
        elif self.result:
            self.put(f"return {self.outcome(self.result, 2)}")
        else:
            self.ended = False

    def outcome(self, kind: str, depth: int) -> str:
        if kind.startswith("tuple"):
            return ", ".join(self.argument(k, depth) for k in kind[6:-1].split(", "))
        return self.argument(kind, depth)

    # ---- functions

    def generator(self) -> None:
        """An inlined generator: yields in a bounded loop, with a condition or two around."""
        number = self.generators
        with self.block(f"@fn\ndef gen{self.tag}_{number}(n: u32) -> Iterator[u32]:"):
            self.declare("n", "u32")
            self.result, self.room = "", 2
            self.statements()
            with self.loop(f"for i in range(n & {self.one_of((1, 3, 7))}):", 4):
                self.declare("i", "u32")
                self.fixed.add("i")
                if self.pick(2):
                    with self.block(f"if {self.comparison(1)}:"):
                        self.put(self.one_of(("continue", "break", "return")))
                self.put(f"yield {self.expr('u32', 2)}")
                self.room = 1
                self.statements()
        self.put("\n")
        self.generators += 1

    def function(self, name: str, params: list[tuple[str, str]], result: str, room: int) -> None:
        self.cost, self.weight, self.room, self.result = 1, 1, room, result
        self.fixed = {n for n, k in params if k not in SCALARS and k != "V"}
        inline = self.one_of(("@fn", "@fn", "@fn(inline=True)", "@fn(inline=False)"))
        head = f"{inline}\ndef {name}({', '.join(f'{n}: {k}' for n, k in params)}) -> {result}:"
        with self.block(head):
            for n, k in params:
                self.declare(n, k)
            self.statements()
            if not self.ended:
                self.put(f"return {self.outcome(result, 3)}")
        self.put("\n")

    def helper(self) -> None:
        name = f"f{self.tag}_{len(self.helpers)}"
        kinds = [self.one_of((*SCALARS, "S", "Inner", "V", "Packed", *ELEMENT)) for _ in range(self.pick(4))]
        params = [("a", "u64"), ("s", "S"), *((f"p{i}", k) for i, k in enumerate(kinds))]
        result = self.one_of(("u32", *SCALARS, "V", "tuple[bool, u32]", "tuple[u8, i64]"))
        if not result.startswith("tuple") and self.chance(40):
            params, kinds = params[:1] + params[2:], kinds
        self.function(name, params, result, 3 + self.pick(6))
        self.helpers.append(Helper(name, [k for _, k in params], result, self.cost))

    def write(self) -> Text:
        """Draw everything."""
        self.scope.append({f"STATE{self.tag}": "S", f"PACKED{self.tag}": "Packed"})
        self.put(f"STATE{self.tag} = zeroed(S)\nPACKED{self.tag} = zeroed(Packed)\nLOCK{self.tag} = zeroed(Lock)\n\n")
        self._several(self.generator, 2, 50)
        self._several(self.helper, 3, 70)
        kinds = [self.one_of(SCALARS) for _ in range(2)]
        result = self.one_of(("u64", *SCALARS, "V", "tuple[u64, i32]", "tuple[bool, u8]", "tuple[E8, B32]"))
        params = [("a", "u64"), ("b", kinds[0]), ("c", kinds[1]), ("data", "View[u8]")]
        self.function(f"main{self.tag}", params, result, 5 + self.pick(16))
        self.put(f"@fn\ndef digest{self.tag}() -> u64:\n    s = STATE{self.tag}\n    h = s.n64\n"
                 "    for b in s.bytes:\n        h = wrapping_add(wrapping_mul(h, 31), u64(b))\n"
                 "    for w in s.words:\n        h = wrapping_add(wrapping_mul(h, 31), u64(w))\n"
                 "    for i in s.inners:\n        h = wrapping_add(wrapping_mul(h, 31), u64(i.a) ^ truncate(u64, i.b) ^ u64(i.c))\n"
                 "    for x in s.halves:\n        h = wrapping_add(wrapping_mul(h, 31), truncate(u64, x))\n"
                 "    h = wrapping_add(wrapping_mul(h, 31), u64(s.n8) ^ truncate(u64, s.s16) ^ u64(s.e) ^ u64(s.bits.raw))\n"
                 "    h = wrapping_add(wrapping_mul(h, 31), u64(s.inner.a) ^ truncate(u64, s.inner.b) ^ u64(s.v.x) ^ s.v.z ^ u64(s.over.word))\n"
                 f"    return wrapping_add(h, PACKED{self.tag}.p64 ^ u64(PACKED{self.tag}.p32) ^ u64(PACKED{self.tag}.p8)) ^ wrapping_add(h, u64(s.counter.load()) + (1 if s.flag else 0) + u64(LOCK{self.tag}.depth))\n\n")
        calls = [self.arguments([k for _, k in params])]
        while len(calls) < 3 and self.chance(60):
            calls.append(self.arguments([k for _, k in params]))
        return Text("\n".join(self.lines) + "\n", calls, spans=self.spans)

    def _several(self, make: Callable[[], None], most: int, percent: int) -> None:
        for _ in range(most):
            with self.span("statement"):
                if not self.chance(percent):
                    return
                make()

    def arguments(self, kinds: list[str]) -> tuple[Any, ...]:
        return tuple(self.value(k) for k in kinds)

    def value(self, kind: str) -> Any:
        """An argument of main: an integer, a bool, (class name, raw) or bytes."""
        if kind in WIDTH:
            return int(self.literal(kind), 0)
        if kind == "bool":
            return bool(self.pick(2))
        if kind in MEMBERS:
            return kind, self.one_of(MEMBERS[kind])
        if kind in BITS:
            return kind, int(self.literal("u32" if kind == "B32" else "u64"), 0)
        return bytes(self.pick(256) for _ in range(self.pick(12)))


def replay(picks: list[int], tag: str) -> Text:
    """The program that these choices make, 0 for what is missing."""
    used: list[int] = []

    def pick(n: int) -> int:
        used.append(min(picks[len(used)], n - 1) if len(used) < len(picks) else 0)
        return used[-1]
    text = Program(pick, tag).write()
    while used and not used[-1]:
        used.pop()
    text.picks = used
    return text


@st.composite
def programs(draw: Any, tag: str) -> Text:
    """One program."""
    picks: list[int] = []
    cache: dict[int, Any] = {}

    def pick(n: int) -> int:
        if n not in cache:
            cache[n] = st.integers(0, n - 1)
        picks.append(draw(cache[n]) if n > 1 else 0)
        return picks[-1]
    text = Program(pick, tag).write()
    text.picks = picks
    return text
