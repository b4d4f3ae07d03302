"""Builds every kernel three times (C, ours without checks, ours with them) and measures what each costs."""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from math import exp, log
from pathlib import Path

from bench.language.machine import Run, run
from bench.language.workloads import WORKLOADS, Workload
from freestanding import cwriter
from freestanding.elf import Image
from freestanding.errors import CHECK_KINDS
from freestanding.frontend import Frontend
from freestanding.functions import EXPORTS, Function
from freestanding.ir import Program
from freestanding.toolchain import Options, Tools, build, compile_flags, compile_unit, find_tools, link
from freestanding.toolchain import run as run_tool

KERNELS = Path(__file__).parent / "kernels"
PACKAGE = "bench.language.kernels"
NO_CHECKS: frozenset[str] = frozenset()
ALL_CHECKS = frozenset(CHECK_KINDS)
INLINE_THRESHOLD = 225  # of clang itself; images are built with less, for their size
LIMIT_WITHOUT = 1.02  # of C's instructions, for each kernel
LIMIT_WITH = 1.15  # in the geometric mean
LIMIT_FRONT_END = 0.2  # seconds for a thousand lines


@dataclass
class Seconds:
    """Where the time of compiling went, and how much there was to compile."""

    front_end: float = 0.0
    writer: float = 0.0
    clang: float = 0.0
    lines: int = 0

    @property
    def front_end_per_thousand(self) -> float:
        return self.front_end * 1000 / self.lines


@dataclass(frozen=True)
class Measured:
    """One kernel in one of its three forms."""

    run: Run
    size: int  # bytes of code


@dataclass
class Row:
    """One kernel."""

    work: Workload
    c: Measured
    without: Measured
    checked: Measured

    @property
    def ratio_without(self) -> float:
        return self.without.run.instructions / self.c.run.instructions

    @property
    def ratio_checked(self) -> float:
        return self.checked.run.instructions / self.c.run.instructions

    def agrees(self) -> bool:
        """Whether all three give the same result and wrote the same bytes."""
        forms = {(m.run.result, m.run.output) for m in (self.c, self.without, self.checked)}
        return len(forms) == 1


@dataclass
class Comparison:
    """Everything measured."""

    rows: list[Row] = field(default_factory=list)
    kernels: Seconds = field(default_factory=Seconds)
    hypervisor: Seconds = field(default_factory=Seconds)


def geometric_mean(values: Iterable[float]) -> float:
    logs = [log(value) for value in values]
    return exp(sum(logs) / len(logs))


def options() -> Options:
    """Flags for both languages: the ones that images are built with."""
    return Options(target="aarch64", debug=False, line_table=False, assembly_modules=frozenset(), inline_threshold=INLINE_THRESHOLD)


def code_size(image: Image) -> int:
    return sum(len(data) for _, data in image.code())


def c_options(tools: Tools) -> Options:
    """As ours, with the freestanding headers (stdint.h and its kin), which the wheel's clang does not look for by itself."""
    headers = Path(tools.compiler[0]).parent / "lib" / "include"
    return replace(options(), cflags=("-isystem", str(headers)) if headers.is_dir() else ())


def build_c(work: Workload) -> Image:
    """The C text, compiled and linked as ours is, with our runtime (memcpy and its kin) where it needs that."""
    tools = find_tools()
    chosen = c_options(tools)
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        objects = [compile_unit(place, "unit.c", (KERNELS / f"{work.name}.c").read_text(), chosen, tools)]
        missing, present = Image(objects[0].read_bytes()).symbol_needs()
        text = cwriter.runtime("aarch64", frozenset(missing), frozenset(present))
        if text:
            objects.append(compile_unit(place, "runtime.c", f"{cwriter.TYPES}\n{text}\n", chosen, tools))
        return Image(link(place, objects, chosen, tools))


def entry(work: Workload) -> Function:
    module = importlib.import_module(f"{PACKAGE}.{work.name}")
    function = vars(module)["kernel"]
    assert isinstance(function, Function)
    return function


def source_lines(program: Program) -> int:
    """Lines of the functions in a program, from their decorators to their ends."""
    import inspect

    return sum(len(inspect.getsourcelines(f.py)[0]) for f in program.by_function)


def lower(roots: list[Function], checks: frozenset[str], seconds: Seconds) -> Program:
    start = time.process_time()
    front = Frontend(64, checks)
    for root in roots:
        front.lower(root)
    program = front.program(roots)
    seconds.front_end += time.process_time() - start
    seconds.lines += source_lines(program)
    return program


def build_ours(work: Workload, checks: frozenset[str], seconds: Seconds) -> Image:
    program = lower([entry(work)], checks, seconds)
    result = build(program, options())
    seconds.writer += result.seconds["write C"]
    seconds.clang += result.seconds["compile"]
    return result.image


def measured(image: Image, work: Workload, data: bytes) -> Measured:
    return Measured(run(image, work, data), code_size(image))


def compare_kernel(work: Workload, seconds: Seconds) -> Row:
    data = work.data()
    images = build_c(work), build_ours(work, NO_CHECKS, seconds), build_ours(work, ALL_CHECKS, seconds)
    return Row(work, *(measured(image, work, data) for image in images))


def compile_hypervisor(seconds: Seconds) -> None:
    """How long the whole hypervisor takes to lower and to write: kernels are too small to judge the front end by."""
    main = importlib.import_module("xenarm.main")
    roots = [f for f in EXPORTS if f.__module__.startswith("xenarm.")]
    assert main
    program = lower(roots, ALL_CHECKS, seconds)
    start = time.process_time()
    text = cwriter.write_c(program, "aarch64")
    seconds.writer += time.process_time() - start
    start = time.perf_counter()
    tools = find_tools()
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "unit.c").write_text(text)
        run_tool([*tools.compiler, *compile_flags(options(), tools), "-c", "unit.c", "-o", "unit.o"], Path(directory))
    seconds.clang += time.perf_counter() - start


def compare(say: Callable[[str], None]) -> Comparison:
    """Measure everything; `say` is told what comes next."""
    result = Comparison()
    for work in WORKLOADS:
        say(work.what)
        result.rows.append(compare_kernel(work, result.kernels))
    say("compiling the hypervisor")
    compile_hypervisor(result.hypervisor)
    return result


def missed(result: Comparison) -> list[str]:
    """What is not where it should be, a line for each."""
    lines = [f"{row.work.name}: the three forms disagree" for row in result.rows if not row.agrees()]
    lines += [
        f"{row.work.name}: {row.ratio_without:.3f} of C without checks, at most {LIMIT_WITHOUT} is allowed"
        for row in result.rows
        if row.ratio_without > LIMIT_WITHOUT
    ]
    mean = geometric_mean(row.ratio_checked for row in result.rows)
    if mean > LIMIT_WITH:
        lines.append(f"with checks: {mean:.3f} of C in the geometric mean, at most {LIMIT_WITH} is allowed")
    if result.hypervisor.front_end_per_thousand > LIMIT_FRONT_END:
        lines.append(f"front end: {result.hypervisor.front_end_per_thousand:.3f} s for a thousand lines")
    return lines
