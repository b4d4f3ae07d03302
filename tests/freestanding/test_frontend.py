"""What the front end makes of a program: order, folding, names, reachability, and references it accepts."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from freestanding import CompileError, Panic, ir, types as t
from freestanding.frontend import Frontend

Make = Callable[[str], Any]
HEAD = "from __future__ import annotations\nfrom collections.abc import Callable, Iterator\nfrom freestanding import *\n"


def names(module: Any, *roots: str) -> list[str]:
    return [f.name for f in Frontend().program([getattr(module, r) for r in roots]).functions]


def test_a_branch_that_configuration_folds_away_leaves_nothing(module: Make) -> None:
    made = module(HEAD + """
DEBUG = False
BUFFER = array(u8, 4096)
@fn
def heavy() -> None:
    BUFFER.fill(1)
@fn
def f() -> None:
    if DEBUG:
        heavy()
""")
    program = Frontend().program([made.f])
    assert [f.function.__name__ for f in program.functions] == ["f"]
    assert program.statics == []


def test_callees_come_before_callers_and_each_once(module: Make) -> None:
    made = module(HEAD + """
@fn
def c() -> None:
    pass
@fn
def b() -> None:
    c()
@fn
def a() -> None:
    c()
    b()
""")
    assert [n.rpartition("_")[2] for n in names(made, "a")] == ["c", "b", "a"]


def test_functions_in_tables_are_reached_through_the_table(module: Make) -> None:
    made = module(HEAD + """
class Row(Struct, frozen=True):
    handler: Callable[[u32], u32]
def shifted(by: int) -> Callable[[u32], u32]:
    @fn
    def handler(x: u32) -> u32:
        return x << by
    return handler
ROWS = table(Row, [Row(shifted(1)), Row(shifted(3))])
@fn
def f(x: u32) -> u32:
    total = u32(0)
    for row in ROWS:
        total = total + row.handler(x)
    return total
""")
    assert {"shifted_1", "shifted_3"} <= set(names(made, "f"))
    assert int(made.f(2)) == 4 + 16


def test_recursion_through_a_pointer_is_found(module: Make) -> None:
    made = module(HEAD + """
Handler = Callable[[u32], u32]
class Hook(Struct):
    call: Handler | None = None
@fn
def f(x: u32) -> u32:
    h = HOOK.call
    return x if h is None else h(x)
HOOK = Hook(call=f)
""")
    with pytest.raises(CompileError, match="recursion: f -> f"):
        Frontend().program([made.f])


def test_an_earlier_operand_is_spilled_before_a_later_effect(module: Make) -> None:
    made = module(HEAD + """
class S(Struct):
    n: u32
STATE = zeroed(S)
@fn
def bump() -> u32:
    STATE.n += 1
    return 10
@fn
def f() -> u32:
    STATE.n = 1
    return STATE.n + bump()
""")
    function = Frontend().lower(made.f)
    last = function.body[-1]
    assert isinstance(last, ir.Return) and isinstance(last.value, ir.Binary) and isinstance(last.value.left, ir.Local)
    assert int(made.f()) == 11


def test_two_panics_keep_their_order(module: Make) -> None:
    made = module(HEAD + """
DATA = array(u32, 4)
@fn
def f(i: u32, x: u8) -> u32:
    return DATA[i] + u32(x - 1)
""")
    with pytest.raises(Panic) as caught:
        made.f(9, 0)
    assert caught.value.kind == "bounds"
    with pytest.raises(Panic) as caught:
        made.f(1, 0)
    assert caught.value.kind == "overflow"


def test_narrowing_through_and_not_early_return_and_loops(module: Make) -> None:
    made = module(HEAD + """
class Node(Struct):
    n: u32
    next: Node | None = None
@fn
def last(n: Node | None) -> u32:
    if n is None:
        return 0
    at = n
    while True:
        following = at.next
        if following is None:
            return at.n
        at = following
@fn
def both(a: Node | None, b: Node | None) -> u32:
    if a is not None and b is not None and a.n < b.n:
        return b.n
    if not (a is None or b is None):
        return a.n + b.n
    assert a is not None
    return a.n
""")
    tail = made.Node(n=7)
    head = made.Node(n=3, next=tail)
    assert int(made.last(head)) == 7 and int(made.last(None)) == 0
    assert int(made.both(head, tail)) == 7 and int(made.both(tail, head)) == 10 and int(made.both(head, None)) == 3


def test_references_that_only_go_down_are_accepted(module: Make) -> None:
    made = module(HEAD + """
class Buffer(Struct):
    used: usize
    data: Array[u8] = array(u8, 8)
class Cursor(Struct):
    text: View[u8]
    at: usize
@fn
def push(b: Buffer, x: u8) -> Buffer:
    b.data[b.used] = x
    b.used += 1
    return b
@fn
def take(c: Cursor) -> u8:
    c.at += 1
    return c.text[c.at - 1]
@fn
def f(text: View[u8]) -> u32:
    b = zeroed(Buffer)
    c = Cursor(text=text, at=0)
    for i in range(3):
        turn = zeroed(Buffer)
        push(push(turn, take(c)), 1)
        push(b, turn.data[0])
    return u32(b.data[0]) + u32(b.data[2])
""")
    assert int(made.f(b"\x05\x06\x07")) == 12


def test_a_reference_given_back_by_a_callee_is_still_local(module: Make) -> None:
    made = module(HEAD + """
class Node(Struct):
    n: u32
@fn
def same(n: Node) -> Node:
    return n
@fn
def f() -> Node:
    n = zeroed(Node)
    return same(n)
""")
    with pytest.raises(CompileError, match="cannot be returned"):
        Frontend().lower(made.f)


def test_what_a_parameter_holds_may_not_hide_a_local(module: Make) -> None:
    made = module(HEAD + """
class Cursor(Struct):
    text: View[u8]
class Keep(Struct):
    text: View[u8]
KEEP = zeroed(Keep)
@fn
def inner(c: Cursor) -> None:
    KEEP.text = c.text
@fn
def outer(text: View[u8]) -> None:
    c = Cursor(text=text)
    inner(c)
@fn
def f() -> None:
    data = array(u8, 4)
    outer(data)
""")
    with pytest.raises(CompileError, match="outer keeps its argument text"):
        Frontend().lower(made.f)


def test_a_loop_name_of_another_type_is_another_variable(module: Make) -> None:
    made = module(HEAD + """
@fn
def f(n: u8, s: View[u8]) -> u32:
    total = u32(0)
    for i in range(n):
        total += u32(i)
    for i in range(len(s)):
        total += u32(i)
    return total
""")
    kinds = {v.type for v in Frontend().lower(made.f).locals if v.name.startswith("i")}
    assert kinds == {t.U8, t.USIZE}
    assert int(made.f(4, b"abc")) == 6 + 3


def test_with_is_released_on_every_way_out_and_not_by_a_panic(module: Make) -> None:
    made = module(HEAD + """
class Lock(Struct):
    held: u32
    @fn
    def __enter__(self) -> None:
        self.held += 1
    @fn
    def __exit__(self, *exc: object) -> None:
        self.held -= 1
LOCK = zeroed(Lock)
@fn
def each(n: u32) -> Iterator[u32]:
    for i in range(n):
        with LOCK:
            yield i
@fn
def f(stop: u32, skip: u32) -> u32:
    total = u32(0)
    for i in each(10):
        if i == skip:
            continue
        if i == stop:
            break
        if i == 8:
            return 1000 + LOCK.held
        total += i
    return total * 10 + LOCK.held
@fn
def broken(i: u32) -> u32:
    with LOCK:
        return u32(DATA[i])
DATA = array(u8, 2)
""")
    assert int(made.f(3, 1)) == 20 and int(made.f(20, 1)) == 1001 and made.LOCK.held == 0
    with pytest.raises(Panic):
        made.broken(5)
    assert made.LOCK.held == 1


def test_objects_that_statics_refer_to_become_statics(module: Make) -> None:
    made = module(HEAD + """
class Node(Struct):
    n: u32
    next: Node | None = None
POOL = array(Node, 2)
HEAD = Node(n=1, next=Node(n=2, next=POOL[1]))
@fn
def f() -> u32:
    first = HEAD.next
    return 0 if first is None else first.n
""")
    program = Frontend().program([made.f])
    assert any(s.live is made.HEAD.next for s in program.statics)


def test_text_is_written_whole_between_begin_and_end(module: Make) -> None:
    made = module(HEAD + """
class Colour(IntEnum, type=u8):
    RED = 3
class Ctl(Bits, type=u32):
    MODE: u8 = bits(3, 0)
    ON: bool = bits(8)
class Host(Address):
    pass
OUT = array(u8, 256)
class State(Struct):
    used: usize
    depth: u32
STATE = zeroed(State)
@fn
def begin() -> None:
    STATE.depth += 1
@fn
def end() -> None:
    STATE.depth -= 1
@fn
def put(s: View[u8]) -> None:
    assert STATE.depth == 1
    OUT[STATE.used:STATE.used + len(s)].copy_from(s)
    STATE.used += len(s)
show = Printer(begin, put, end)
@fn
def f(a: u32, b: i32, c: u64) -> None:
    show(f"{a} {a:5d} {a:05d} {a:#x} {a:08x} {b} {b:6d} {b:06d} {c:#018x} {Colour(u8(3))} {a == 7} {b'hi'} {Host(a)} {Ctl(MODE=5, ON=True)}!")
""")
    made.f(7, -42, 0xABCDEF)
    text = bytes(made.OUT[:made.STATE.used]).decode()
    a, b, c = 7, -42, 0xABCDEF
    assert text == f"{a} {a:5d} {a:05d} {a:#x} {a:08x} {b} {b:6d} {b:06d} {c:#018x} RED True hi 0x7 Ctl(MODE=0x5, ON=True)!"
