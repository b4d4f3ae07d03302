"""What the parts of one C unit share: names, types, helpers, strings, where functions and statics are."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePath

from ..errors import Site
from ..functions import Operation
from ..ir import FunctionIR, Program, Static
from ..types import IntType, Type
from . import helpers
from .checks import MACRO_NAMES, Strings
from .ctypes import TypeNames
from .names import Names, identifier
from .target import Target


ONCE = ".once"      # code, constants and data that only functions that run once use are in `.once.text`, `.once.rodata` and so on
PART = ".part"      # code of a part of the image is in `.part.NAME`


@dataclass
class Unit:
    """One C unit while it is written."""
    program: Program
    target: Target
    root: str = ""                                  # files below it are written relative to it
    names: Names = field(default_factory=Names)
    helpers: dict[str, str] = field(default_factory=dict)           # C text by name, in order of first use
    helper_names: dict[str, str] = field(default_factory=dict)
    operations: dict[int, tuple[Operation, str]] = field(default_factory=dict)
    operation_texts: list[str] = field(default_factory=list)
    symbols: dict[str, str] = field(default_factory=dict)           # linker symbols used in functions
    paths: dict[str, str] = field(default_factory=dict)             # as the C text says them, by file
    files: Strings = field(default_factory=Strings)
    file_macros: dict[str, str] = field(default_factory=dict)
    messages: Strings = field(default_factory=Strings)
    functions: dict[int, str] = field(default_factory=dict)         # C names by id(FunctionIR)
    statics: dict[int, str] = field(default_factory=dict)           # C names by id(Static)

    def __post_init__(self) -> None:
        for name in MACRO_NAMES:
            self.names.claim(name)
        self._claim_functions()
        self.types = TypeNames(self.target, self.names)
        for static in self.program.statics:
            self.statics[id(static)] = self.names.unique(static.name)

    def _claim_functions(self) -> None:
        for function in self.program.functions:
            if function.symbol:
                self.functions[id(function)] = self.names.claim(function.symbol)
        for function in self.program.functions:
            if not function.symbol:
                self.functions[id(function)] = self.names.unique(function.name)

    # -- names --------------------------------------------------------------------------------------------------------

    def function(self, function: FunctionIR) -> str:
        if id(function) not in self.functions:
            self.functions[id(function)] = self.names.unique(function.symbol or function.name)
        return self.functions[id(function)]

    def static(self, static: Static) -> str:
        if id(static) not in self.statics:
            self.statics[id(static)] = self.names.unique(static.name)
        return self.statics[id(static)]

    def path(self, file: str) -> str:
        """The file as the C text and the tables say it: relative to the root, so that bytes do not depend on the machine."""
        if file not in self.paths:
            self.paths[file] = _relative(PurePath(file), self.root)
        return self.paths[file]

    def at(self, site: Site) -> str:
        """The `file, line` arguments of a check."""
        path = self.path(site.file)
        if path not in self.file_macros:
            self.files.number(path)
            self.file_macros[path] = self.names.unique(f"FILE_{identifier(PurePath(path).stem)}", f"FILE_{identifier(path)}")
        return f"{self.file_macros[path]}, {site.line}"

    def symbol(self, name: str) -> str:
        """A C expression for the address of a linker symbol."""
        for function in self.program.functions:
            if function.symbol == name:
                return name
        self.symbols.setdefault(name, f"extern char {name}[];")
        return name

    def on(self, kind: str) -> bool:
        return kind in self.program.checks

    # -- helpers ------------------------------------------------------------------------------------------------------

    def helper(self, name: str, kind: Type, result: Type | None = None) -> str:
        """The C name of an integer helper for one type; its text is written on first use."""
        if name == "popcount":
            self.custom("population", helpers.TEXTS["population"])
        spelled = identifier(self.types.spell(kind))
        return self.custom(f"{name}_{spelled}", helpers.expand(name, self._replacements(kind, spelled, result)))

    def bytes_helper(self, name: str) -> str:
        return self.custom(name, helpers.TEXTS[name])

    def load_store(self, name: str) -> str:
        """`load_be32`, `store_le64`..."""
        return self.custom(name, helpers.load_store(name[:-5], int(name[-2:]), name[-4:-2]))

    def custom(self, name: str, text: str) -> str:
        """A helper with a text of its own, which calls it by that name; returns the name it got."""
        if name not in self.helper_names:
            given = self.helper_names[name] = self.names.unique(name)
            self.helpers[name] = text if given == name else re.sub(rf"\b{name}\b", given, text)
        return self.helper_names[name]

    def _replacements(self, kind: Type, spelled: str, result: Type | None) -> dict[str, str]:
        base = kind if isinstance(kind, IntType) else getattr(kind, "base", None)
        replace = {"T": spelled, "R": self.types.spell(result) if result is not None else ""}
        if not isinstance(base, IntType):
            return replace
        width = base.bits(self.target.pointer_bits)
        unsigned = unsigned_name(base)
        wide = width > 32
        low, high = base.limits(self.target.pointer_bits)
        top, bottom = limit_literals(base, low, high, unsigned)
        over = f"(a < 0 ? {bottom} : {top})" if base.signed else top
        under = over if base.signed else "0"
        product = f"((a < 0) != (b < 0) ? {bottom} : {top})" if base.signed else top
        return replace | {"N": str(width), "M": str(width - 1), "U": unsigned, "L": "ll" if wide else "",
                          "C": "unsigned long long" if wide else "u32", "PAD": str((64 if wide else 32) - width),
                          "OVER": over, "UNDER": under, "PRODUCT": product}


def unsigned_name(base: IntType) -> str:
    """The plain unsigned C type of the same width."""
    name = base.base.cls.__name__
    return {"isize": "usize"}.get(name, name.replace("i", "u", 1) if name.startswith("i") else name)


def limit_literals(base: IntType, low: int, high: int, unsigned: str) -> tuple[str, str]:
    name = base.base.cls.__name__
    if not base.signed:
        return f"({name})-1", "0"
    return f"({name})(({unsigned})-1 >> 1)", f"({name})(-({name})(({unsigned})-1 >> 1) - 1)"


def _relative(given: PurePath, root: str) -> str:
    if root and given.is_relative_to(root):
        return given.relative_to(root).as_posix()
    return given.name if given.is_absolute() else given.as_posix()
