"""Which Python object each symbol of the image comes from: lines `symbol module name` in the section `.names`, which no image loads."""
from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable
from types import ModuleType

from .. import ir
from .names import string_literal
from .unit import Unit

LANGUAGE = "freestanding"       # the module of what the compiler adds by itself


def origins(unit: Unit) -> str:
    """File-scope assembly with the names of all functions, statics and helpers of the unit."""
    rows = [(unit.function(f), f.function.__module__, _qualified(f)) for f in unit.program.functions if not f.external]
    owners = _Owners()
    rows += [(unit.static(s), *owners.of(s)) for s in unit.program.statics]
    rows += [(name, LANGUAGE, wanted) for wanted, name in unit.helper_names.items()]
    strings = "\n".join("    " + string_literal(f'.asciz "{" ".join(row)}"\n'.encode()) for row in rows if row[1])
    return f'__asm__(".pushsection .names,\\"\\",%progbits\\n"\n{strings}\n    ".popsection");'


def assembly_origins(module: str, text: str) -> str:
    """The same for the labels of one module's assembly."""
    labels = dict.fromkeys(re.findall(r"^\s*([A-Za-z_]\w*):", text, re.MULTILINE))
    strings = "".join(f'.asciz "{label} {module} {label}"\n' for label in labels)
    return f'\n.pushsection .names,"",%progbits\n{strings}.popsection\n' if labels else ""


def _qualified(function: ir.FunctionIR) -> str:
    """`Type.method`, `function`, and for a closure the maker's name with what it was made for, as the C name has it."""
    name = str(getattr(function.function.py, "__qualname__", function.name))
    return function.name if "<locals>" in name else name


class _Owners:
    """Finds the module-level name that a live object was given where it was made."""

    def __init__(self) -> None:
        self.found: dict[int, list[tuple[ModuleType, str]]] = {}
        self.sources: dict[str, str] = {}
        for module in list(sys.modules.values()):
            for name, value in list(getattr(module, "__dict__", {}).items()):
                self.found.setdefault(id(value), []).append((module, name))

    def of(self, static: ir.Static) -> tuple[str, str]:
        """Module and name; an empty module when only other statics hold it."""
        holders = self.found.get(id(static.live), [])
        for module, name in (*(h for h in holders if self._assigns(*h)), *holders):
            return module.__name__, name
        return "", static.name

    def _assigns(self, module: ModuleType, name: str) -> bool:
        """Whether the module makes it, and does not import it."""
        if module.__name__ not in self.sources:
            try:
                self.sources[module.__name__] = inspect.getsource(module)
            except (OSError, TypeError):
                self.sources[module.__name__] = ""
        return re.search(rf"^(\s*|.*,\s*){name}\b\s*([:,=].*|$)", self.sources[module.__name__], re.MULTILINE) is not None \
            and re.search(rf"^\s*(from\b.*)?\bimport\b.*\b{name}\b", self.sources[module.__name__], re.MULTILINE) is None


def read_origins(data: bytes) -> dict[str, tuple[str, str]]:
    """Module and name by symbol, from the bytes of `.names`."""
    rows: Iterable[list[str]] = (line.decode().split(" ", 2) for line in data.split(b"\0") if line)
    return {row[0]: (row[1], row[2]) for row in rows}
