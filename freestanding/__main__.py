"""`python -m freestanding check|c|build MODULE...` and `lines IMAGE.elf ADDRESS...`."""
from __future__ import annotations

import argparse
import gc
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from .cwriter import TARGETS, TYPES, runtime, runtime_names, write_c
from .elf import Image
from .errors import CHECK_KINDS, CompileError
from .frontend import Frontend
from .functions import ASSEMBLY, EXPORTS, Function
from .ir import Program
from .linetable import Lines, describe
from .structs import Struct, Union
from . import toolchain
from .toolchain import BuildError, Options, assembly_text, build
from .types import set_pointer_bytes


class UsageError(Exception):
    """What was asked for cannot be done; the text says why."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 when all is well, 1 after errors, which are printed."""
    options = parser().parse_args(argv)
    try:
        return int(options.run(options))
    except CompileError as error:
        print(error, file=sys.stderr)
    except (BuildError, UsageError) as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: {error.filename or ''}: {error.strerror}", file=sys.stderr)
    return 1


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m freestanding", description="compile freestanding Python")
    commands = made.add_subparsers(required=True, metavar="check|c|build|lines")
    for name, run, text in (("check", run_check, "type-check every function of the modules"),
                            ("c", run_c, "write the C text"), ("build", run_build, "build an image: FILE, FILE.elf and FILE.c")):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        command.add_argument("modules", nargs="+", metavar="MODULE")
        command.add_argument("--target", choices=sorted(TARGETS), default="aarch64")
        command.add_argument("--without", action="append", default=[], choices=CHECK_KINDS, metavar="KIND",
                             help=f"leave out a kind of check: {', '.join(CHECK_KINDS)}")
        command.add_argument("--entry", action="append", default=[], metavar="NAME", help="compile from this function instead of all exported ones")
        if name != "check":
            command.add_argument("-o", metavar="FILE", dest="output", required=name == "build")
            command.add_argument("-O", dest="optimize", default="2", choices=("0", "1", "2", "s", "z"))
            command.add_argument("-v", dest="verbose", action="store_true", help="say what took how long")
            command.add_argument("--commands", action="store_true", help="show the commands that are run")
    lines = commands.add_parser("lines", help="source lines of code addresses")
    lines.set_defaults(run=run_lines)
    lines.add_argument("image", type=Path, metavar="IMAGE.elf")
    lines.add_argument("addresses", nargs="+", type=lambda text: int(text, 0), metavar="ADDRESS")
    return made


# ---- commands -----------------------------------------------------------------------------------------------------------

def run_check(options: argparse.Namespace) -> int:
    """Check every function of the modules, not only those that an entry reaches, and write the C of those that are sound."""
    modules = loaded(options)
    front = frontend(options)
    functions = entries(options, modules) if options.entry else [f for m in modules for f in functions_of(m)]
    errors = lower(front, functions)
    if not errors and functions:
        write_c(program(front, functions), options.target, root=str(Path.cwd()), assembly=all_assembly(options.target))
    for error in errors:
        print(error, file=sys.stderr)
    if not errors:
        print(f"{len(functions)} functions: no errors")
    return 1 if errors else 0


def run_c(options: argparse.Namespace) -> int:
    text = write_c(compiled(options), options.target, root=str(Path.cwd()), assembly=all_assembly(options.target))
    rest = runtime(options.target, runtime_names(options.target), frozenset(f.symbol for f in EXPORTS))
    text += "\n" + rest + "\n" if rest else ""
    if options.output:
        Path(options.output).write_text(text)
    else:
        sys.stdout.write(text)
    return 0


def run_build(options: argparse.Namespace) -> int:
    lowered = compiled(options)
    settings = Options(target=options.target, assembly_modules=assembly_modules(), optimize=options.optimize,
                       root=str(Path.cwd()), linker_script=setting("LINKER_SCRIPT", ""), cflags=tuple(setting("CFLAGS", ())),
                       features=tuple(setting("CPU_FEATURES", ())), floating_point=frozenset(setting("FLOATING_POINT", ())),
                       strict_align=bool(setting("STRICT_ALIGN", False)), thumb=bool(setting("THUMB", False)), inline_threshold=int(setting("INLINE_THRESHOLD", 0)))
    toolchain.show_commands = options.commands
    result = build(lowered, settings)
    result.write(Path(options.output))
    if options.verbose:
        print(", ".join(f"{name} {taken:.2f} s" for name, taken in result.seconds.items()))
    return 0


def run_lines(options: argparse.Namespace) -> int:
    image = Image(options.image.read_bytes())
    lines = Lines(image)
    for address in options.addresses:
        print(describe(image, lines, address))
    return 0


# ---- programs -----------------------------------------------------------------------------------------------------------

def load(name: str) -> ModuleType:
    """Import a module; an exception in it is an error of the program."""
    sys.path[:0] = [] if "" in sys.path or str(Path.cwd()) in sys.path else [str(Path.cwd())]
    try:
        return importlib.import_module(name)
    except CompileError:
        raise
    except ModuleNotFoundError as error:
        raise UsageError(f"no module {error.name}") from None
    except SyntaxError as error:
        raise UsageError(f"{error.filename}:{error.lineno}: SyntaxError: {error.msg}") from None
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
        own = [f for f in frames if Path(f.filename).parent != Path(__file__).parent] or frames
        where = f"{own[-1].filename}:{own[-1].lineno}: " if own else ""
        said = isinstance(error, AssertionError) and str(error)
        raise UsageError(where + (said or f"{type(error).__name__}: {error}")) from None


def loaded(options: argparse.Namespace) -> list[ModuleType]:
    """The program's modules, imported for the target."""
    set_pointer_bytes(TARGETS[options.target].pointer_bytes)
    return [load(name) for name in options.modules]


def assembly_modules() -> frozenset[str]:
    """Every imported module that added assembly: an image takes it all."""
    return frozenset(module for _, module, _ in ASSEMBLY)


def all_assembly(target: str) -> str:
    return assembly_text(Options(target), assembly_modules())


def frontend(options: argparse.Namespace) -> Frontend:
    return Frontend(TARGETS[options.target].pointer_bits, frozenset(CHECK_KINDS) - set(options.without))


def compiled(options: argparse.Namespace) -> Program:
    """The program of the entry points; all errors of independent functions are printed. Raises UsageError."""
    modules = loaded(options)
    roots = entries(options, modules)
    if not roots:
        raise UsageError(f"nothing to compile: no @export function in {', '.join(options.modules)}; name one by --entry")
    front = frontend(options)
    errors = lower(front, roots)
    if errors:
        for error in errors[:-1]:
            print(error, file=sys.stderr)
        raise errors[-1]
    return program(front, roots)


def program(front: Frontend, roots: list[Function]) -> Program:
    for root in roots:
        made = front.lower(root)
        if not made.symbol and not made.external:
            made.symbol = made.name
    return front.program(roots, setting("ONCE", ()), setting("FAST", ()), setting("SEPARATE", ()))


def lower(front: Frontend, functions: Iterable[Function]) -> list[CompileError]:
    """Lower them all; the errors, each once, in order of place."""
    errors: dict[str, CompileError] = {}
    for function in functions:
        try:
            front.lower(function)
        except CompileError as error:
            errors[str(error)] = error
    errors |= {str(error): error for error in front.errors()}
    return sorted(errors.values(), key=lambda e: (e.site.file, e.site.line, e.site.column) if e.site else ("", 0, 0))


def entries(options: argparse.Namespace, modules: list[ModuleType]) -> list[Function]:
    """The functions to start from: those named, else what the modules export and what assembly calls."""
    if options.entry:
        return [named(modules, name) for name in options.entry]
    names = {m.__name__ for m in modules}
    words = set(re.findall(r"[A-Za-z_]\w*", all_assembly(options.target)))
    return [f for f in EXPORTS if f.__module__ in names or f.symbol in words]


def named(modules: list[ModuleType], name: str) -> Function:
    for module in modules:
        found: Any = module
        for part in name.split("."):
            found = vars(found).get(part) if isinstance(found, (ModuleType, type)) else None
        if isinstance(found, Function):
            return found
    for function in EXPORTS:
        if function.symbol == name:
            return function
    raise UsageError(f"no function {name} in {', '.join(m.__name__ for m in modules)}")


def functions_of(module: ModuleType) -> Iterator[Function]:
    """Every function of the language that the module defines, methods too; generators are expanded where they are used."""
    seen: set[int] = set()
    for found in [*vars(module).values(), *(f for f in EXPORTS if f.__module__ == module.__name__)]:
        inner = list(vars(found).values()) if isinstance(found, type) and issubclass(found, (Struct, Union, int)) else []
        for candidate in [found, *inner]:
            if (isinstance(candidate, Function) and candidate.__module__ == module.__name__ and id(candidate) not in seen
                    and not inspect.isgeneratorfunction(candidate.py)):
                seen.add(id(candidate))
                yield candidate


def setting(name: str, default: Any) -> Any:
    """A setting of the image, given by the one imported module that has it."""
    found = {module: value for module, found in list(sys.modules.items())
             if isinstance(value := getattr(found, "__dict__", {}).get(name), type(default))}
    if len(set(found.values())) > 1:
        raise UsageError(f"{name} is given differently by {', '.join(sorted(found))}")
    return next(iter(found.values()), default)


if __name__ == "__main__":
    gc.disable()        # what a build makes it keeps until it ends; looking for garbage took a tenth of the time
    sys.exit(main())
