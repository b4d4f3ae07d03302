"""Writes docs/kconfig.md, the reference of all switches, from Kconfig. A test holds the one to the other."""

from __future__ import annotations

from collections.abc import Iterator

import kconfiglib

from xenarm.tools.errors import run_tool
from xenarm.tools.kconfig import empty
from xenarm.tools.paths import ROOT, shown

REFERENCE = ROOT / "docs" / "kconfig.md"
INTRODUCTION = """# The switches

Written from `Kconfig` by `make reference`; change them there. `make menuconfig` edits them, `docs/getting-started.md` says how a configuration gets
into an image. In the source a switch `NAME` is `CONFIG.NAME`, in a file `CONFIG_NAME=`. What is off leaves no byte in the image,
but for switches that only choose other instructions: `ERRATUM_832075`, `GIC_HW_TIMER_LINK` and `HIGH_DEVICES`.
"""
TYPES = {kconfiglib.BOOL: "switch", kconfiglib.INT: "number", kconfiglib.HEX: "number", kconfiglib.STRING: "text"}


def always(symbol: kconfiglib.Symbol, expression: object) -> bool:
    return expression is symbol.kconfig.y


def facts(symbol: kconfiglib.Symbol) -> Iterator[str]:
    """One line for each property that a reader may need."""
    for value, when in symbol.defaults:
        if symbol.choice is None:
            yield f"default `{kconfiglib.expr_str(value)}`" + ("" if always(symbol, when) else f" if `{kconfiglib.expr_str(when)}`")
    for low, high, when in symbol.ranges:
        yield f"from {low.str_value} to {high.str_value}" + ("" if always(symbol, when) else f" if `{kconfiglib.expr_str(when)}`")
    if symbol.choice is None and not always(symbol, symbol.direct_dep):
        yield f"depends on `{kconfiglib.expr_str(symbol.direct_dep)}`"
    prompt = next(node.prompt for node in symbol.nodes if node.prompt)
    if symbol.choice is None and not always(symbol, prompt[1]) and kconfiglib.expr_str(prompt[1]) != kconfiglib.expr_str(symbol.direct_dep):
        yield f"can be chosen if `{kconfiglib.expr_str(prompt[1])}`"
    chosen = [f"`{other.name}`" for other, _ in symbol.selects]
    if chosen:
        yield "brings " + ", ".join(chosen)


def text_of(node: kconfiglib.MenuNode) -> str:
    return " ".join((node.help or "").split())


def entry(node: kconfiglib.MenuNode) -> Iterator[str]:
    """One symbol."""
    symbol = node.item
    yield f"### {symbol.name}"
    yield f"{node.prompt[0]}."
    details = "; ".join([TYPES[symbol.orig_type], *facts(symbol)])
    yield f"*{details}*"
    yield text_of(node)


def choice(node: kconfiglib.MenuNode) -> Iterator[str]:
    """One of several."""
    yield f"### {node.prompt[0]}"
    yield f"{text_of(node)} One of:"
    yield "\n".join(f"- `{option.item.name}`: {option.prompt[0]}. {text_of(option)}" for option in nodes(node.list))


def nodes(first: kconfiglib.MenuNode | None) -> Iterator[kconfiglib.MenuNode]:
    """A node and its siblings."""
    while first is not None:
        yield first
        first = first.next


def section(first: kconfiglib.MenuNode | None) -> Iterator[str]:
    """All of a menu. Symbols without a prompt are nobody's to choose, and so not here."""
    for node in nodes(first):
        if node.item == kconfiglib.MENU:
            yield f"## {node.prompt[0]}"
            yield from section(node.list)
        elif node.item == kconfiglib.COMMENT:
            yield node.prompt[0]
        elif isinstance(node.item, kconfiglib.Choice):
            yield from choice(node)
        elif node.prompt:
            yield from entry(node)
            yield from section(node.list)
        else:
            yield from section(node.list)


def reference() -> str:
    """The page."""
    return "\n\n".join([INTRODUCTION.strip(), *section(empty().top_node.list)]) + "\n"


def main() -> None:
    """Write it."""
    REFERENCE.write_text(reference())
    print(f"wrote {shown(REFERENCE)}")


if __name__ == "__main__":
    run_tool(main)
