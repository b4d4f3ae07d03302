"""How the walk says what it found: `walk <name> <values>`; of a run of registers with equal answers one line."""

from freestanding import Struct, View, fn, u8, u32, u64
from guests.runtime.console import printk

__all__ = ["Answer", "Run", "run_add", "run_end", "say1", "say2", "say3", "say4", "section"]


class Answer(Struct, frozen=True):
    """What a register was in four steps."""

    a: u32
    b: u32
    c: u32
    d: u32


class Run(Struct):
    """Registers number `first` to `last` of a part that ends before `end`, all with the same answer. `end` 0: there is none yet."""

    first: u32
    last: u32
    end: u32
    answer: Answer


@fn
def section(name: View[u8]) -> None:
    """What the lines that follow are of."""
    printk(f"walk section {name}")


@fn
def say1(name: View[u8], a: u64) -> None:
    printk(f"walk {name} {a:#x}")


@fn
def say2(name: View[u8], a: u64, b: u64) -> None:
    printk(f"walk {name} {a:#x} {b:#x}")


@fn
def say3(name: View[u8], a: u64, b: u64, c: u64) -> None:
    printk(f"walk {name} {a:#x} {b:#x} {c:#x}")


@fn
def say4(name: View[u8], a: u64, b: u64, c: u64, d: u64) -> None:
    printk(f"walk {name} {a:#x} {b:#x} {c:#x} {d:#x}")


@fn
def run_end(name: View[u8], part: View[u8], run: Run) -> None:
    """The line of a run. The last register of a part is called that, as its number depends on how many interrupts there are."""
    if run.end == 0:
        return
    x = run.answer
    if run.last + 1 == run.end:
        printk(f"walk {name} {part} {run.first}-last {x.a:#x} {x.b:#x} {x.c:#x} {x.d:#x}")
    else:
        printk(f"walk {name} {part} {run.first}-{run.last} {x.a:#x} {x.b:#x} {x.c:#x} {x.d:#x}")
    run.end = 0


@fn
def run_add(name: View[u8], part: View[u8], run: Run, number: u32, end: u32, answer: Answer) -> None:
    """One more register, of those of the part before `end`."""
    if run.end != 0 and run.answer == answer:
        run.last = number
        return
    run_end(name, part, run)
    run.first = number
    run.last = number
    run.end = end
    run.answer = answer
