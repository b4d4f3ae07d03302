"""From a program to an image: writes the C, compiles and links it without any library, and checks what came out.

The compiler is the clang of the `ziglang` wheel; `CROSS_COMPILE=prefix-` or `CC=compiler` in the environment choose another.
Raises BuildError with the tool's own message.
"""
from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import cwriter
from .elf import Image
from .floating import refuse_floating_point
from .functions import ASSEMBLY
from .ir import Program
from .thumb import refuse_unknown_state

show_commands = False       # on standard output, before each is run

HOST_PROVIDES = frozenset({"_setjmp", "longjmp", "memcpy", "memmove", "memset", "memcmp", "bcmp"})


class BuildError(Exception):
    """The compiler or linker refused, or the image breaks a rule; the text says what."""


@dataclass(frozen=True)
class Options:
    """How to build. `root`: source paths are written relative to it. `optimize`: "0", "1", "2", "s" or "z"."""
    target: str = "aarch64"
    optimize: str = "2"
    root: str = ""
    linker_script: str = ""                     # text; empty: a flat image at 0x40000000 for tests
    extra_assembly: str = ""                    # beside what modules added by `assembly()`
    assembly_modules: frozenset[str] | None = None      # take what these modules added; None: the modules of the program's functions
    cflags: tuple[str, ...] = ()
    features: tuple[str, ...] = ()              # of the CPU: "lse"
    inline_threshold: int = 0                   # of clang's inliner at -O2; 0: INLINE_THRESHOLD
    strict_align: bool = False                  # no unaligned access at all (MMU off)
    thumb: bool = False                         # armv7: the C text becomes Thumb, assembly stays A32
    sanitize: bool = False                      # host only: UBSan, reported as panics of kind "ubsan"
    debug: bool = True
    line_table: bool = True                     # fill the `.lines` section where the linker script has one
    floating_point: frozenset[str] = frozenset()        # symbols that may use FP and SIMD registers
    undefined: frozenset[str] = frozenset()     # symbols that may stay undefined (host)
    callers: bool = False                       # a `call_NAME(result, arguments)` for each exported function, for tests
    warnings: bool = False                      # -Wall -Wextra -Werror, for the compiler's own tests
    cache: Path | None = None                   # directory that keeps objects by the hash of what they are made of


@dataclass
class BuildResult:
    """What was built: the C text, the ELF file and the flat image (host: the shared library) as bytes, and seconds by phase."""
    c: str
    elf: bytes
    binary: bytes
    image: Image
    seconds: dict[str, float] = field(default_factory=dict)

    def write(self, output: Path) -> None:
        """Write FILE (flat), FILE.elf and FILE.c."""
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(self.binary)
        output.with_name(output.name + ".elf").write_bytes(self.elf)
        output.with_name(output.name + ".c").write_text(self.c)


@dataclass(frozen=True)
class Tools:
    """The compiler and linker in use."""
    compiler: tuple[str, ...]
    linker: tuple[str, ...]
    gcc: bool


def find_tools(environment: Mapping[str, str] = os.environ) -> Tools:
    """What CROSS_COMPILE and CC say, else the wheel's clang and lld."""
    if prefix := environment.get("CROSS_COMPILE"):
        compiler = environment.get("CC", f"{prefix}gcc")
        return Tools((_found(compiler),), (_found(f"{prefix}ld"),), "clang" not in compiler)
    if chosen := environment.get("CC"):
        words = chosen.split()
        is_gcc = "clang" not in chosen
        linker = (_found("ld"),) if is_gcc else _lld()
        return Tools((_found(words[0]), *words[1:]), linker, is_gcc)
    return Tools((_zig(), "clang"), _lld(), False)


def _found(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise BuildError(f"{program} is not installed (asked for by CC or CROSS_COMPILE)")
    return found


def _zig() -> str:
    try:
        import ziglang                                                 # type: ignore[import-untyped]
    except ImportError:
        raise BuildError("the compiler is missing: pip install ziglang, or set CC= or CROSS_COMPILE=") from None
    return str(Path(str(ziglang.__file__)).with_name("zig"))


def _lld() -> tuple[str, ...]:
    try:
        return (_zig(), "ld.lld")
    except BuildError:
        return (_found("ld.lld"),)


# ---- flags ----------------------------------------------------------------------------------------------------------------

_TRIPLES = {"aarch64": "aarch64-none-elf", "armv7": "armv7-none-eabi", "x86_64": "x86_64-none-elf"}

_COMMON = ("-std=gnu11", "-ffreestanding", "-fno-stack-protector", "-fno-strict-aliasing", "-fno-delete-null-pointer-checks",
           "-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-fno-exceptions", "-fno-ident", "-fno-common",
           "-fno-omit-frame-pointer", "-fno-pic")
_GCC = ("-fno-tree-loop-distribute-patterns", "-fno-pie")
_CLANG = ("-fno-finite-loops", "-fno-pie", "-Wno-unused-command-line-argument")

_CPU = {
    "aarch64": ("-march=armv8-a{}", "-mgeneral-regs-only", "-mno-outline-atomics"),
    "armv7": ("-march=armv7ve", "-mfloat-abi=soft", "-marm", "-mno-unaligned-access"),
    "x86_64": ("-mno-red-zone", "-mno-mmx", "-mno-sse", "-mno-sse2", "-mgeneral-regs-only", "-mcmodel=kernel"),
    "host": (),
}

# What the writer's text does on purpose: values that a type cannot exceed are compared, names are kept though unused.
QUIET = ("-Wno-unused-parameter", "-Wno-unused-variable", "-Wno-unused-but-set-variable", "-Wno-unused-function", "-Wno-unused-value",
         "-Wno-unused-label", "-Wno-sign-compare", "-Wno-type-limits", "-Wno-address-of-packed-member", "-Wno-missing-field-initializers",
         "-Wno-missing-braces", "-Wno-parentheses-equality", "-Wno-unused-const-variable", "-Wno-unneeded-internal-declaration",
         "-Wno-tautological-compare", "-Wno-address")
QUIET_CLANG = ("-Wno-tautological-constant-out-of-range-compare", "-Wno-tautological-pointer-compare", "-Wno-infinite-recursion",
               "-Wno-sometimes-uninitialized", "-Wno-tautological-overlap-compare", "-Wno-self-assign", "-Wno-tautological-unsigned-zero-compare",
               "-Wno-uninitialized-const-pointer")
QUIET_GCC = ("-Wno-maybe-uninitialized", "-Wno-clobbered", "-Wno-array-bounds", "-Wno-stringop-overflow")

# Of LLVM's inliner (its own default is 225). Measured on the hypervisor: 225 makes the image 1.6 times as large as 50 for nothing on the
# paths that count, which say `inline=True`; below 50 nothing shrinks any more.
INLINE_THRESHOLD = 50


def compile_flags(options: Options, tools: Tools) -> list[str]:
    """Flags for one compilation, the same on every machine."""
    flags = list(_COMMON) + list(_GCC if tools.gcc else _CLANG) + [f"-O{options.optimize}"]
    if not tools.gcc and options.target in _TRIPLES:
        flags.insert(0, f"--target={_TRIPLES[options.target]}")
    if options.target == "host":
        flags = [f for f in flags if f not in ("-fno-pic", "-fno-pie", "-ffreestanding")] + ["-fPIC"]
    flags += [f.format("".join("+" + x for x in options.features)) for f in _CPU[options.target]]
    if options.debug:
        flags += ["-g", "-gdwarf-4"]
    if options.strict_align and options.target == "aarch64":
        flags.append("-mstrict-align")
    if not tools.gcc and options.optimize in ("2", "3"):
        # The default threshold alone: LLVM's own lower one, of functions compiled for size, stays. Outlined code has frames that neither
        # the stack's bound nor a backtrace knows.
        flags += ["-mllvm", f"-inlinedefault-threshold={options.inline_threshold or INLINE_THRESHOLD}", "-mllvm", "-enable-machine-outliner=never"]
    if options.sanitize:
        flags += ["-DSANITIZE", "-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
    flags += ["-Wall", "-Wextra", "-Werror", *QUIET, *(QUIET_GCC if tools.gcc else QUIET_CLANG)] if options.warnings else ["-w"]
    if options.thumb and options.target == "armv7":
        flags += ["-mthumb"]
    return flags + list(options.cflags)


def assembly_flags(options: Options, tools: Tools) -> list[str]:
    """Flags for a file of assembly."""
    return [f for f in compile_flags(options, tools) if not f.startswith(("-g", "-std=")) and f != "-mthumb"]


# ---- steps ------------------------------------------------------------------------------------------------------------------

def build(program: Program, options: Options, environment: Mapping[str, str] = os.environ) -> BuildResult:
    """Compile and link the program. Raises CompileError, BuildError."""
    seconds: dict[str, float] = {}
    clock = time.monotonic()

    def phase(name: str) -> None:
        nonlocal clock
        now = time.monotonic()
        seconds[name], clock = now - clock, now

    tools = find_tools(environment)
    chosen = options.assembly_modules
    assembly = assembly_text(options, {f.function.__module__ for f in program.functions} if chosen is None else chosen)
    c = cwriter.write_c(program, options.target, root=options.root, assembly=assembly, callers=options.callers)
    phase("write C")
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        objects = [compile_unit(work, "unit.c", c, options, tools)]
        if assembly.strip():
            objects.append(compile_unit(work, "assembly.S", assembly, options, tools))
        phase("compile")
        c += _add_runtime(work, program, objects, options, tools)
        has_lines = options.line_table and options.target != "host" and ".lines" in options.linker_script
        elf = (_link_with_lines if has_lines else link)(work, objects, options, tools)
        phase("link")
    image = Image(elf)
    if options.target != "host":
        refuse_floating_point(image, options.floating_point)
        refuse_unknown_state(image)
        phase("check")
    return BuildResult(c, elf, elf if options.target == "host" else image.flat(), image, seconds)


def assembly_text(options: Options, modules: Collection[str]) -> str:
    """The top-level assembly for the target that these modules added, then the caller's."""
    texts = [text + cwriter.assembly_origins(module, text)
             for arch, module, text in ASSEMBLY if arch == options.target and module in modules]
    return "\n".join([*texts, options.extra_assembly]).strip() + "\n"


def _add_runtime(work: Path, program: Program, objects: list[Path], options: Options, tools: Tools) -> str:
    """Compile what the objects miss and the runtime has; returns its C text."""
    wanted: set[str] = set()
    defined: set[str] = set()
    for path in objects:
        missing, present = Image(path.read_bytes()).symbol_needs()
        wanted |= missing
        defined |= present
    text = cwriter.runtime(options.target, frozenset(wanted), frozenset(defined))
    if not text:
        return ""
    objects.append(compile_unit(work, "runtime.c", cwriter.TYPES + "\n" + text + "\n", options, tools))
    return "\n" + text + "\n"


def compile_unit(work: Path, name: str, text: str, options: Options, tools: Tools) -> Path:
    """Compile one file by a relative name, so that no path gets into the object."""
    flags = (assembly_flags if name.endswith(".S") else compile_flags)(options, tools)
    output = work / (name.rpartition(".")[0] + ".o")
    kept = _cached(options, tools, name, text, flags)
    if kept is not None and kept.exists():
        shutil.copy(kept, output)
        return output
    (work / name).write_text(text)
    run([*tools.compiler, *flags, f"-ffile-prefix-map={work}=.", "-c", name, "-o", output.name], work)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        made = kept.with_suffix(f".{os.getpid()}")
        shutil.copy(output, made)
        made.replace(kept)
    return output


def _cached(options: Options, tools: Tools, name: str, text: str, flags: Iterable[str]) -> Path | None:
    if options.cache is None:
        return None
    stamp = str(Path(tools.compiler[0]).stat().st_mtime_ns)
    key = hashlib.sha256("\0".join([name, text, *tools.compiler, stamp, *flags]).encode()).hexdigest()
    return options.cache / f"{key[:32]}.o"


def link(work: Path, objects: Iterable[Path], options: Options, tools: Tools) -> bytes:
    """Link; any undefined symbol is an error."""
    output = work / "image.elf"
    names = [path.name for path in objects]
    if options.target == "host":
        run([*tools.linker, "-shared", "--build-id=none", *names, "-o", output.name], work)
        missing = Image(output.read_bytes()).symbol_needs()[0] - HOST_PROVIDES - options.undefined
        if missing:
            raise BuildError(f"undefined symbol: {', '.join(sorted(missing))}")
        return output.read_bytes()
    (work / "image.ld").write_text(options.linker_script or default_script(options.target))
    machine = {"aarch64": "aarch64elf", "armv7": "armelf", "x86_64": "elf_x86_64"}[options.target]
    extra = ["-m", machine] if not tools.gcc else []
    if options.target == "aarch64":
        extra.append("--fix-cortex-a53-843419")  # an ADRP at the end of a page, which these cores may get wrong
    run([*tools.linker, *extra, "-static", "--emit-relocs", "--build-id=none", "-z", "max-page-size=4096", "-T", "image.ld", *names, "-o", output.name], work)
    return output.read_bytes()


def _link_with_lines(work: Path, objects: list[Path], options: Options, tools: Tools) -> bytes:
    """Link twice, the second time with the tables of lines, which the first link tells; code must lie where it lay."""
    from .linetable import have_same_places, line_table, places_of
    sections = {".lines": False} | ({".once.lines": True} if ".once.lines" in options.linker_script else {})
    first = Image(link(work, [*objects, _lines_object(work, dict.fromkeys(sections, b""), options, tools)], options, tools))
    places = places_of(first)
    tables = {name: line_table(first, once, places) for name, once in sections.items()}
    made = link(work, [*objects, _lines_object(work, tables, options, tools)], options, tools)
    if not have_same_places(first, Image(made)):
        raise BuildError("the table of lines moved the code: put the .lines section after the text in the linker script")
    return made


def _lines_object(work: Path, tables: Mapping[str, bytes], options: Options, tools: Tools) -> Path:
    """The tables by the names of their sections. Even without them it has what every object has: an aligned .text."""
    flags = '"a",%progbits'
    text = ""
    for number, (name, table) in enumerate(tables.items()):
        (work / f"lines{number}.bin").write_bytes(table)
        text += f'.section {name},{flags}\n.balign 8\n.incbin "lines{number}.bin"\n'
    (work / "lines.S").write_text(text)
    run([*tools.compiler, *assembly_flags(options, tools), "-c", "lines.S", "-o", "lines.o"], work)
    return work / "lines.o"


def run(command: Iterable[str], work: Path) -> None:
    """Run a tool; its message becomes the error."""
    command = list(command)
    if show_commands:
        print(shlex.join(command), flush=True)
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False,
                          env={**os.environ, "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0"})
    if done.returncode:
        raise BuildError((done.stderr or done.stdout).strip() or f"{Path(command[0]).name} failed with {done.returncode}")


def default_script(target: str) -> str:
    """A flat image at 0x40000000: enough for tests on an emulated CPU."""
    return """SECTIONS
{
    . = 0x40000000;
    .text : { __text_start = .; *(.text .text.* .once.text) __text_end = .; }
    .rodata : ALIGN(16) { *(.rodata .rodata.* .once.rodata) . = ALIGN(8); __lines_start = .; *(.lines) __lines_end = .; }
    .data : ALIGN(4096) { *(.data .data.* .once.data) }
    .bss (NOLOAD) : ALIGN(16) { __bss_start = .; *(.bss .bss.* .once.bss COMMON) __bss_end = .; }
    /DISCARD/ : { *(.note.*) *(.eh_frame*) *(.ARM.*) *(.gnu.*) }
}
"""
