"""Every construct outside the language is refused with the right text underlined, the reason and, where there is one, the fix.

A case is source in which «marks» show what must be underlined, and a part of the reason.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from freestanding import CompileError, Function
from freestanding.frontend import Frontend

PREAMBLE = '''
from collections.abc import Callable, Iterator
from freestanding import *
import os

class Colour(IntEnum, type=u8):
    RED = 0
    BLUE = 1

class Result(IntEnum, type=u8, must_use=True):
    OK = 0
    BAD = 1

class Ctl(Bits, type=u32):
    MODE: u8 = bits(3, 0)
    ON: bool = bits(8)

class Pair(Struct, frozen=True):
    a: u32
    b: u32

class Node(Struct):
    n: u32
    flag: bool
    pair: Pair
    counter: Atomic[u32]
    items: Array[u32] = array(u32, 4)
    next: "Node | None" = None

    @fn
    def get(self) -> u32:
        return self.n

    def plain(self) -> int:
        return 1

class Guest(Struct, shared=True):
    head: u32
    tail: u32

class Host(Address):
    pass

class Ipa(Address):
    pass

Handler = Callable[[u32], u32]
NODE = zeroed(Node)
NODES = array(Node, 4)
BYTES = array(u8, 16)
ROWS = table(Pair, [Pair(1, 2), Pair(3, 4)])
TEXT = "text"

@fn
def ok(x: u32) -> Result:
    return Result.OK

@fn
def both(x: u32) -> tuple[Result, u32]:
    return Result.OK, x

@fn
def twice(x: u32) -> u32:
    return x + x

@fn
def nothing() -> None:
    pass

@fn
def put(s: View[u8]) -> None:
    pass

@fn
def fill(s: Slice[u8]) -> None:
    s.fill(1)

@fn
def keep(n: Node) -> None:
    NODE.next = n

@fn
def count(n: u32) -> Iterator[u32]:
    for i in range(n):
        yield i

printk = Printer(nothing, put, nothing)

def python() -> int:
    return 1
'''

CASES: dict[str, tuple[str, str]] = {
    # integers
    "mixed widths": ("def f(a: u32, b: u64) -> u64:\n    return «a + b»", "operands of '+' are u32 and u64"),
    "mixed signs": ("def f(a: u32, b: i32) -> u32:\n    return «a * b»", "operands of '*' are u32 and i32"),
    "mixed comparison": ("def f(a: u32, b: u64) -> bool:\n    return «a < b»", "operands of '<' are u32 and u64"),
    "usize is its own type": ("def f(a: usize, b: u64) -> bool:\n    return «a == b»", "usize and u64"),
    "signed division": ("def f(a: i32) -> i32:\n    return «a // 2»", "signed '//'"),
    "signed remainder": ("def f(a: i32) -> i32:\n    return «a % 2»", "signed '%'"),
    "signed left shift": ("def f(a: i32) -> i32:\n    return «a << 2»", "signed '<<'"),
    "literal shifted": ("def f(a: u32) -> u32:\n    return «1 << a»", "bare literal has no width to shift"),
    "shift by the width": ("def f(a: u32) -> u32:\n    return «a << 32»", "shift by its width or more"),
    "signed shift amount": ("def f(a: u32, n: i32) -> u32:\n    return «a << n»", "a shift amount is unsigned"),
    "true division": ("def f(a: u32) -> u32:\n    return «a / 2»", "Div is no operator"),
    "power": ("def f(a: u32) -> u32:\n    return «a ** 2»", "Pow is no operator"),
    "negative unsigned": ("def f(a: u32) -> u32:\n    return «-a»", "works on signed integers"),
    "unary plus": ("def f(a: u32) -> u32:\n    return «+a»", "unary + does nothing"),
    "invert bool": ("def f(a: bool) -> bool:\n    return «~a»", "'~' works on integers"),
    "bitwise bools": ("def f(a: bool, b: bool) -> bool:\n    return «a & b»", "'&' works on integers"),
    "literal local": ("def f() -> None:\n    n = «0»", "bare literal has no width"),
    "literal too large": ("def f() -> u8:\n    return «256»", "256 does not fit u8"),
    "literal negative": ("def f(a: u32) -> bool:\n    return «a == -1»", "-1 does not fit u32"),
    "truth of an integer": ("def f(a: u32) -> None:\n    if «a»:\n        nothing()", "a condition is a bool"),
    "truth of a reference": ("def f(a: Node | None) -> None:\n    if «a»:\n        nothing()", "a condition is a bool"),
    "truth in while": ("def f(a: u32) -> None:\n    while «a»:\n        nothing()", "a condition is a bool"),
    "not of an integer": ("def f(a: u32) -> bool:\n    return not «a»", "a condition is a bool"),
    "and of integers": ("def f(a: u32, b: bool) -> bool:\n    return b and «a»", "a condition is a bool"),
    "argument width": ("def f(a: u64) -> u32:\n    return twice(«a»)", "argument x is u64, and u32 is wanted"),
    "result width": ("def f(a: u64) -> u32:\n    return «a»", "the result is u64, and u32 is wanted"),
    "field width": ("def f(n: Node, a: u64) -> None:\n    n.n = «a»", "field n is u64"),
    "declared width": ("def f(a: u64) -> None:\n    x: u32 = «a»", "x is u64, and u32 is wanted"),
    "bool from integer": ("def f(a: u32) -> bool:\n    return «bool(a)»", "bool(x) is not in the language"),
    "bool as integer": ("def f(a: bool) -> u32:\n    return «a»", "bool, and u32 is wanted"),
    "int for bool": ("def f() -> bool:\n    return «1»", "a bool is wanted"),
    "int for enum": ("def f() -> Colour:\n    return «1»", "Colour is wanted"),
    "addresses mixed": ("def f(a: Host, b: Ipa) -> bool:\n    return «a == b»", "Host and Ipa"),
    "address times": ("def f(a: Host) -> Host:\n    return «a * 2»", "has no meaning"),
    "address plus address": ("def f(a: Host, b: Host) -> Host:\n    return «a + b»", "Host and Host"),
    "float": ("def f() -> u32:\n    return «1.5»", "no value of the language"),
    "choice of literals": ("def f(c: bool) -> None:\n    x = «1 if c else 2»", "bare literal has no width"),
    "truncate of a bool": ("def f(a: bool) -> u8:\n    return truncate(u8, «a»)", "truncate takes an integer"),
    "clz of signed": ("def f(a: i32) -> u32:\n    return «clz(a)»", "unsigned integers"),
    "alignment": ("def f(a: u32) -> u32:\n    return align_up(a, «12»)", "no power of two"),
    "changed type": ("def f(a: u32, b: u64) -> None:\n    x = a\n    x = «b»", "x is u64, and u32 is wanted"),
    "range of mixed": ("def f(a: u32, b: u64) -> None:\n    for i in «range(a, b)»:\n        nothing()", "the bounds are u32 and u64"),
    "negative step": ("def f(a: u32) -> None:\n    for i in range(0, a, «-1»):\n        nothing()", "positive constant"),
    # names and flow
    "undefined": ("def f() -> u32:\n    return «missing»", "missing is not defined"),
    "before assignment": ("def f(c: bool) -> u32:\n    if c:\n        x = u32(1)\n    return «x»", "may be read before it is assigned"),
    "after a loop": ("def f(n: u32) -> u32:\n    for i in range(n):\n        x = i\n    return «x»", "may be read before"),
    "before its line": ("def f() -> u32:\n    y = «x»\n    x = u32(1)\n    return y", "may be read before"),
    "missing return": ("def f(c: bool) -> u32:\n    «if c:»\n        return 1", "a path ends here without a u32"),
    "result from nothing": ("def f() -> None:\n    return «1»", "gives no result"),
    "no result value": ("def f() -> u32:\n    «return»", "a u32 is wanted"),
    "unreachable": ("def f() -> u32:\n    return 1\n    «nothing()»", "never reached"),
    "after panic": ("def f() -> None:\n    panic(\"x\")\n    «nothing()»", "never reached"),
    "result of nothing": ("def f() -> None:\n    x = «nothing()»", "gives no value"),
    "call chain": ("def f() -> u32:\n    return «nothing()»", "None, and u32 is wanted"),
    "dead branch is typed": ("def f(a: u32, b: u64) -> None:\n    if False:\n        x = «a + b»", "u32 and u64"),
    # annotations
    "parameter without type": ("def f(«a») -> None:\n    pass", "parameter a has no type"),
    "no result type": ("«def f(a: u32):»\n    pass", "no result type"),
    "plain int": ("def f(«a: int») -> None:\n    pass", "int has no width"),
    "list parameter": ("def f(«a: list[u8]») -> None:\n    pass", "no type of the language"),
    "array parameter": ("def f(«a: Array[u8]») -> None:\n    pass", "has no length here"),
    "optional integer": ("def f(«a: u32 | None») -> None:\n    pass", "only references to structs and functions can be None"),
    "star parameters": ("def f(*«a: u32») -> None:\n    pass", "fixed list of parameters"),
    "double star": ("def f(**«a: u32») -> None:\n    pass", "fixed list of parameters"),
    "no such type": ("def f() -> None:\n    x: «Missing» = u32(1)", "names no type"),
    # references
    "nullable field": ("def f(n: Node | None) -> u32:\n    return «n.n»", "may be None"),
    "nullable argument": ("def f(n: Node | None) -> None:\n    keep(«n»)", "Node | None, and Node is wanted"),
    "narrowing lost": ("def f(n: Node) -> u32:\n    x: Node | None = n\n    x = n.next\n    return «x.n»", "may be None"),
    "narrowing lost in a loop": ("def f(n: Node) -> u32:\n    x: Node | None = n\n    s = u32(0)\n    while s < 5:\n"
                                 "        s += «x.n»\n        x = n.next\n    return s", "may be None"),
    "equality of references": ("def f(a: Node, b: Node) -> bool:\n    return «a == b»", "references"),
    "identity of integers": ("def f(a: u32) -> bool:\n    return «a is 1»", "compares references"),
    "slices compared": ("def f(a: View[u8], b: View[u8]) -> bool:\n    return «a == b»", "does not compare"),
    "order of bools": ("def f(a: bool, b: bool) -> bool:\n    return «a < b»", "has no order"),
    "None without type": ("def f() -> None:\n    «x = None»", "has no type yet"),
    "returned local": ("def f() -> Node:\n    n = zeroed(Node)\n    «return n»", "lives on this function's stack and cannot be returned"),
    "returned slice of local": ("def f() -> Slice[u8]:\n    b = array(u8, 4)\n    «return b[1:]»", "cannot be returned"),
    "stored local": ("def f() -> None:\n    n = zeroed(Node)\n    «NODE.next = n»", "is stored"),
    "kept local": ("def f() -> None:\n    n = zeroed(Node)\n    «keep(n)»", "keeps its argument n"),
    "kept past the turn": ("def f() -> u32:\n    last: Node | None = None\n    for i in range(4):\n        n = «zeroed(Node)»\n"
                           "        last = n\n    return 0 if last is None else last.n", "past the loop turn"),
    "mutable bits": ("def f(c: Ctl) -> None:\n    «c.ON» = True", "a Bits value does not change"),
    "frozen field": ("def f(p: Pair) -> None:\n    «p.a» = 1", "frozen"),
    "unknown field": ("def f(n: Node) -> u32:\n    return «n.missing»", "Node has no field missing"),
    "unknown bits field": ("def f(c: Ctl) -> u32:\n    return «c.missing»", "Ctl has no field missing"),
    "unknown bits keyword": ("def f() -> Ctl:\n    return Ctl(«MISSING=1»)", "no field MISSING"),
    "bits value too large": ("def f() -> Ctl:\n    return Ctl(MODE=«16»)", "16 does not fit"),
    "plain method": ("def f(n: Node) -> u32:\n    return «n.plain»()", "no field plain"),
    "kept method": ("def f(n: Node) -> None:\n    x = «n.get»", "a method is called, not kept"),
    "shared field": ("def f(g: Guest) -> u32:\n    return «g.head»", "shared with a guest"),
    "shared store": ("def f(g: Guest) -> None:\n    «g.head» = 1", "shared with a guest"),
    "array assigned": ("def f(n: Node) -> None:\n    «n.items» = NODE.items", "not assigned as a whole"),
    "atomic assigned": ("def f(n: Node) -> None:\n    «n.counter» = 1", "atomic is written by its methods"),
    "atomic in a name": ("def f(n: Node) -> None:\n    x = «n.counter»", "an atomic stays where it is"),
    "atomic parameter": ("def f(«a: Atomic[u32]») -> None:\n    pass", "an atomic stays where it is"),
    "atomic method": ("def f(n: Node) -> None:\n    «n.counter.swap»(1)", "an atomic has no swap"),
    "pointer elsewhere": ("def f() -> None:\n    x = «Ptr[Node](4096)»", "modules that map memory"),
    "address elsewhere": ("def f(n: Node) -> usize:\n    return «address_of(n)»", "modules that map memory"),
    # arrays and slices
    "index out of range": ("def f(n: Node) -> u32:\n    return n.items[«4»]", "index 4 lies outside"),
    "negative index": ("def f(n: Node) -> u32:\n    return n.items[«-1»]", "index -1 lies outside"),
    "signed index": ("def f(n: Node, i: i32) -> u32:\n    return n.items[«i»]", "an index is an unsigned integer"),
    "slice step": ("def f(s: View[u8]) -> View[u8]:\n    return s[::«2»]", "a slice has no step"),
    "slice bound": ("def f(s: View[u8], n: i32) -> View[u8]:\n    return s[«n»:]", "a slice bound is i32"),
    "slice assigned": ("def f(s: Slice[u8]) -> None:\n    «s[1:2]» = 1", "a slice is not assigned to"),
    "view written": ("def f(s: View[u8]) -> None:\n    «s[0]» = 1", "read-only"),
    "view filled": ("def f(s: View[u8]) -> None:\n    «s.fill»(0)", "read-only"),
    "bytes where written": ("def f() -> None:\n    fill(«b'abc'»)", "View[u8], and Slice[u8] is wanted"),
    "table written": ("def f(p: Pair) -> None:\n    «ROWS[0]» = p", "read-only"),
    "element of an integer": ("def f(a: u32) -> u32:\n    return «a»[0]", "has no elements"),
    "length of an integer": ("def f(a: u32) -> usize:\n    return len(«a»)", "has no length"),
    "loop over an integer": ("def f(a: u32) -> None:\n    for x in «a»:\n        nothing()", "no elements to go through"),
    "slice method": ("def f(s: View[u8]) -> None:\n    «s.sort»()", "has no sort"),
    "load from words": ("def f(n: Node) -> u32:\n    return «n.items.load_be32»(0)", "has no load_be32"),
    "tuple index": ("def f(i: u32) -> u32:\n    return both(i)[«i»]", "indexed by a constant"),
    "array length": ("def f(n: usize) -> None:\n    x = array(u8, «n»)", "length of a local array is a constant"),
    # calls
    "plain Python": ("def f() -> u32:\n    return u32(«python»())", "plain Python function"),
    "library call": ("def f() -> None:\n    «os.getpid»()", "plain Python function"),
    "print": ("def f() -> None:\n    «print»(1)", "plain Python function"),
    "too many arguments": ("def f() -> u32:\n    return twice(1, «2»)", "takes 1 arguments, 2 given"),
    "missing argument": ("def f() -> u32:\n    return «twice()»", "wants an argument for x"),
    "unknown keyword": ("def f() -> u32:\n    return twice(1, «y=2»)", "no further parameter y"),
    "argument twice": ("def f() -> u32:\n    return twice(1, «x=2»)", "no further parameter x"),
    "star argument": ("def f() -> u32:\n    return twice(«*ROWS»)", "* unpacking"),
    "calling a number": ("def f(a: u32) -> u32:\n    return «a»(1)", "cannot be called"),
    "pointer keyword": ("def f(h: Handler) -> u32:\n    return h(«x=1»)", "no parameter names"),
    "pointer arity": ("def f(h: Handler) -> u32:\n    return «h(1, 2)»", "1 arguments are wanted, 2 given"),
    "nullable function": ("def f(h: Handler | None) -> u32:\n    return «h»(1)", "may be None"),
    "struct without field": ("def f() -> Pair:\n    return «Pair(a=1)»", "wants an argument for b"),
    "dropped result": ("def f() -> None:\n    «ok(1)»", "may not be dropped"),
    "dropped result in a tuple": ("def f() -> None:\n    «both(1)»", "may not be dropped"),
    "zeroed without zero": ("def f() -> None:\n    x = «zeroed(Handler)»", "no all-zero value"),
    "recursion": ("def f(a: u32) -> u32:\n    return «f(a)»", "recursion: f -> f"),
    "generator called": ("def f() -> None:\n    x = «count(3)»", "is a generator"),
    "module as value": ("def f() -> None:\n    x = «os»", "the module os has no value at run time"),
    "class as value": ("def f() -> None:\n    x = «Node»", "the class Node has no value at run time"),
    "getattr of a variable": ("def f(n: Node, a: View[u8]) -> u32:\n    return «getattr(n, a)»", "takes a constant name"),
    "range elsewhere": ("def f() -> None:\n    x = «range(3)»", "only after `in` of a for"),
    # statements
    "try": ("def f() -> None:\n    «try:»\n        nothing()\n    finally:\n        nothing()", "no exceptions"),
    "raise": ("def f() -> None:\n    «raise ValueError»", "no exceptions"),
    "global": ("def f() -> None:\n    «global NODE»", "frozen"),
    "del": ("def f(a: u32) -> None:\n    «del a»", "del is not in the language"),
    "nested function": ("def f() -> None:\n    «def g() -> None:»\n        pass", "a function is made at import time"),
    "nested class": ("def f() -> None:\n    «class C:»\n        pass", "a class is made at import time"),
    "import": ("def f() -> None:\n    «import sys»", "imports stand at module level"),
    "from import": ("def f() -> None:\n    «from sys import argv»", "imports stand at module level"),
    "loop else": ("def f() -> None:\n    «for i in range(3):»\n        pass\n    else:\n        pass", "a loop's else"),
    "while else": ("def f(c: bool) -> None:\n    «while c:»\n        pass\n    else:\n        pass", "a loop's else"),
    "two targets": ("def f() -> None:\n    «a = b = u32(1)»", "one target"),
    "unpack into fields": ("def f(n: Node) -> None:\n    r, «n.n» = both(1)", "local names"),
    "unpack count": ("def f() -> None:\n    «a, b, c» = both(1)", "3 names for tuple"),
    "expression alone": ("def f(a: u32) -> None:\n    «a + 1»", "does nothing here"),
    "yield elsewhere": ("«def f(a: u32) -> Iterator[u32]:»\n    yield a", "f is a generator"),
    "with a number": ("def f(a: u32) -> None:\n    with «a»:\n        pass", "has no @fn __enter__"),
    "match not exhaustive": ("def f(c: Colour) -> None:\n    match «c»:\n        case Colour.RED:\n            pass", "BLUE"),
    "match captures": ("def f(c: Colour) -> None:\n    match c:\n        case «x»:\n            pass", "does not capture"),
    "match a struct": ("def f(n: Node) -> None:\n    match «n»:\n        case _:\n            pass", "match works on enums and integers"),
    "match a pattern": ("def f(c: u32) -> None:\n    match c:\n        case «[1, 2]»:\n            pass", "pattern is not in the language"),
    "assert message": ("def f(c: bool, a: View[u8]) -> None:\n    assert c, «a»", "constant text"),
    "panic message": ("def f(a: View[u8]) -> None:\n    «panic(a)»", "constant text"),
    "generator with two yields": ("def f() -> None:\n    for x in «two(1)»:\n        nothing()", "2 yields"),
    # expressions
    "lambda": ("def f() -> None:\n    x = «lambda: 1»", "lambda"),
    "list": ("def f() -> None:\n    x = «[1, 2]»", "no lists"),
    "dict": ("def f() -> None:\n    x = «{1: 2}»", "no dicts"),
    "set": ("def f() -> None:\n    x = «{1, 2}»", "no sets"),
    "comprehension": ("def f() -> None:\n    x = «[i for i in ROWS]»", "import time only"),
    "set comprehension": ("def f() -> None:\n    x = «{i for i in ROWS}»", "import time only"),
    "dict comprehension": ("def f() -> None:\n    x = «{i: i for i in ROWS}»", "import time only"),
    "generator expression": ("def f() -> None:\n    x = «(i for i in ROWS)»", "import time only"),
    "walrus": ("def f() -> bool:\n    return («x := u32(1)») == 1", "assignment inside an expression"),
    "f-string": ("def f(a: u32) -> None:\n    x = «f'{a}'»", "f-string stands only"),
    "in": ("def f(a: u32) -> bool:\n    return «a in (1, 2)»", "'in' is not in the language"),
    "printer with a value": ("def f(a: View[u8]) -> None:\n    «printk(a)»", "a printer takes one text"),
    "bad format": ("def f(a: u32) -> None:\n    printk(«f'{a:>8}'»)", "no format of the language"),
    "conversion": ("def f(a: u32) -> None:\n    printk(«f'{a!r}'»)", "not in the language"),
    "printing a struct": ("def f(n: Node) -> None:\n    printk(«f'{n}'»)", "has no text"),
}

EXTRA = '''
@fn
def two(n: u32) -> Iterator[u32]:
    yield n
    yield n
'''
def refusal(function: Function) -> CompileError:
    with pytest.raises(CompileError) as caught:
        Frontend().lower(function)
    return caught.value


@pytest.mark.parametrize("case", CASES)
def test_refused(case: str, module: Callable[[str], Any]) -> None:
    source, reason = CASES[case]
    marked = source[source.index("«") + 1:source.index("»")]
    made = module(PREAMBLE + EXTRA + "\n@fn\n" + source.replace("«", "").replace("»", "") + "\n")
    error = refusal(made.f)
    assert reason in error.reason
    if marked.endswith(":"):                        # a compound statement: its first line
        assert error.underlined.startswith(marked.rstrip(":")) or error.underlined == marked
    else:
        assert error.underlined == marked
    assert marked in str(error) and str(made.__file__) in str(error)


def test_the_preamble_is_sound(module: Callable[[str], Any]) -> None:
    """What is refused is the case, not what stands around it."""
    made = module(PREAMBLE)
    front = Frontend()
    for name in ("ok", "both", "twice", "nothing", "put", "fill", "keep"):
        front.lower(getattr(made, name))
    assert front.errors() == []
