"""The engines that run one program: rendered Python, C on the host in three builds, machine code on three emulated CPUs.

`Unit(functions)` lowers once for each pointer width; `unit.engine(name).call(f, ...)` gives the result or raises Panic.
"""
from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import unicorn
from unicorn import arm64_const, arm_const, x86_const
from unicorn.unicorn import UcError

from freestanding import types as t
from freestanding.errors import CHECK_KINDS, Panic
from freestanding.functions import Function
from freestanding.hosted import Engine as HostedEngine
from freestanding.hosted import Door, _bind, _complain
from freestanding.hosted_memory import Memory, Window, load_bytes, store_bytes
from freestanding.ir import FunctionIR, Program
from freestanding.pywriter.convert import raiser
from freestanding.pywriter.live import copier, is_plain, kind_of
from freestanding.structs import Array, Struct, Union
from freestanding.toolchain import BuildResult, Options, build

from tests.engines.target_memory import TargetMemory

WORKER = Path(__file__).with_name("host_worker.py")
HEAP_SIZE = 1 << 20
CACHE = Path(__file__).parents[2] / "build" / "engine-cache"


class Broken(Exception):
    """A compiled program crashed, ran on for ever, or stopped at a trap that is no check."""


@dataclass(frozen=True)
class Build:
    target: str
    optimize: str = "2"
    sanitize: bool = False
    thumb: bool = False

    @property
    def pointer_bits(self) -> int:
        return 32 if self.target == "armv7" else 64


BUILDS = {
    "host-O0": Build("host", "0"), "host-O2": Build("host"), "host-ubsan": Build("host", "1", sanitize=True),
    "aarch64": Build("aarch64"), "armv7": Build("armv7", thumb=True), "x86_64": Build("x86_64")}
PYTHON = {"python": 64, "python32": 32}
ALL = (*PYTHON, *BUILDS)


class Unit:
    """A set of functions that every engine runs."""

    def __init__(self, functions: Iterable[Function], checks: frozenset[str] = frozenset(CHECK_KINDS), cache: bool = True) -> None:
        self.functions = list(functions)
        self.checks, self.cache = checks, cache
        self.hosted = {bits: HostedEngine(bits, checks) for bits in PYTHON.values()}
        self.programs: dict[int, Program] = {}
        self.engines: dict[str, PythonEngine | NativeEngine] = {}
        self.snapshot: Snapshot | None = None

    def program(self, bits: int) -> Program:
        """The program, every function of it exported under its own name."""
        if bits not in self.programs:
            front = self.hosted[bits].frontend
            program = front.program(self.functions)
            for function in self.functions:
                made = front.functions[function]
                made.symbol = made.symbol or made.name
            self.programs[bits] = program
        return self.programs[bits]

    def engine(self, name: str) -> PythonEngine | NativeEngine:
        if name not in self.engines:
            self.prepare([name])
        return self.engines[name]

    def prepare(self, names: Iterable[str]) -> None:
        """Build what these engines need, two compilers at a time."""
        wanted = [n for n in names if n not in self.engines]
        self.initial().restore()                            # what is built now starts as the others did
        with ThreadPoolExecutor(2) as pool:
            results = dict(zip(wanted, pool.map(self._build, wanted)))
        for name in wanted:
            result = results[name]
            if result is None:
                self.engines[name] = PythonEngine(self, PYTHON[name])
            else:
                self.engines[name] = (HostEngine if BUILDS[name].target == "host" else EmulatedEngine)(self, name, result)

    def _build(self, name: str) -> BuildResult | None:
        if name not in BUILDS:
            return None
        chosen = BUILDS[name]
        return build(self.program(chosen.pointer_bits),
                     Options(chosen.target, chosen.optimize, sanitize=chosen.sanitize, thumb=chosen.thumb, callers=True, debug=False, line_table=False,
                             assembly_modules=frozenset(), cache=CACHE if self.cache else None))

    def initial(self) -> Snapshot:
        """Static storage as it was before anything ran."""
        if self.snapshot is None:
            for bits in self.hosted:
                self.program(bits)
            self.snapshot = Snapshot(self.statics())
        return self.snapshot

    def close(self) -> None:
        for engine in self.engines.values():
            engine.close()
        self.engines.clear()
        for hosted in self.hosted.values():
            hosted.close()

    # ---- statics

    def statics(self) -> list[Any]:
        found = {id(s.live): s.live for p in self.programs.values() for s in p.statics}
        for engine in self.hosted.values():
            found.update({k: s.live for k, s in engine.frontend.statics.items()})
        return [live for live in found.values() if isinstance(live, (Struct, Union, Array))]


class Snapshot:
    """The contents of static storage, to be put back."""

    def __init__(self, objects: Iterable[Any]) -> None:
        self.saved = [(obj, kind_of(obj), t.copy_live(obj)) for obj in objects if not getattr(obj, "frozen", False)]

    def restore(self) -> None:
        for obj, kind, copy in self.saved:
            if not is_plain(kind):
                copier(kind)(obj, copy)


def _runs_on(number: int, frame: Any) -> None:
    raise Broken("the rendered program runs on for ever")


class PythonEngine:
    """The rendered program."""

    def __init__(self, unit: Unit, bits: int) -> None:
        self.name, self.unit, self.bits = f"python{bits}", unit, bits
        self.hosted = unit.hosted[bits]
        self.snapshot = unit.initial()

    def call(self, function: Function, *args: Any, **named: Any) -> Any:
        before = signal.signal(signal.SIGALRM, _runs_on)
        signal.setitimer(signal.ITIMER_REAL, 60)
        try:
            return self.hosted.call(function, args, named)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def reset(self) -> None:
        self.snapshot.restore()

    def close(self) -> None:
        pass


class NativeEngine:
    """What the compiled engines share: arguments and results through memory."""

    def __init__(self, unit: Unit, name: str, result: BuildResult) -> None:
        self.unit, self.name, self.result, self.image = unit, name, result, result.image
        self.bits = BUILDS[name].pointer_bits
        self.memory: TargetMemory

    def call(self, function: Function, *args: Any, **named: Any) -> Any:
        """The result, given its class; raises Panic or Broken."""
        hosted = self.unit.hosted[self.bits]
        door: Door = hosted.doors.get(function) or hosted._open(function)
        if named or len(args) != len(door.parameters):
            args = _bind(door, args, named)
        made = hosted.frontend.functions[function]
        self.memory.start_call()
        words = []
        for param, value in zip(made.params, _complain(door, args)):
            place = self.memory.room(t.layout(param.type, self.memory.pointer_bytes).size)
            store_bytes(param.type, Window(self.memory, place), 0, value)
            words.append(place)
        table = self.memory.room(max(1, len(words)) * self.memory.pointer_bytes)
        for i, word in enumerate(words):
            self.memory.store(table + i * self.memory.pointer_bytes, self.memory.pointer_bytes, word)
        out = self.memory.room(64 if made.result == t.VOID else t.layout(made.result, self.memory.pointer_bytes).size)
        try:
            self._run(made, out, table)
        finally:
            self.memory.copy_back()
        return self._give(made, out)

    def _give(self, made: FunctionIR, out: int) -> Any:
        if made.result == t.VOID:
            return None
        value = load_bytes(made.result, Window(self.memory, out), 0)
        give = raiser(made.result)
        return value if give is None else give(value)

    def _run(self, made: FunctionIR, out: int, table: int) -> None:
        raise NotImplementedError

    def _place_statics(self, start: int) -> None:
        for static in self.unit.program(self.bits).statics:
            if static.name in self.image.symbols:
                self.memory.add_static(start + self.image.symbols[static.name], static.live)

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


# ---- the host -----------------------------------------------------------------------------------------------------------------

class Worker:
    """The process that has the shared libraries."""

    def __init__(self) -> None:
        import mmap
        self.file = os.memfd_create("arguments")
        os.ftruncate(self.file, HEAP_SIZE)
        self.shared = mmap.mmap(self.file, HEAP_SIZE)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-I", "-S", str(WORKER), str(self.file), str(HEAP_SIZE)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, pass_fds=[self.file])
        self.rest = b""
        self.loaded: dict[str, int] = {}
        self.base = int(self._answer()["base"])

    def ask(self, **command: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()
            return self._answer()
        except (BrokenPipeError, EOFError):
            code = self.process.wait()
            self.start()
            raise Broken(f"the host program ended with {code}") from None
        except TimeoutError:
            self.process.kill()
            self.process.wait()
            self.start()
            raise Broken("the host program runs on for ever") from None

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.process.stdout], [], [], 20)
            if not ready:
                raise TimeoutError
            part = os.read(self.process.stdout.fileno(), 65536)
            if not part:
                raise EOFError
            self.rest += part
        line, _, self.rest = self.rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


@cache
def worker() -> Worker:
    return Worker()


class HostEngine(NativeEngine):
    """A shared library in the worker process."""

    def __init__(self, unit: Unit, name: str, result: BuildResult) -> None:
        super().__init__(unit, name, result)
        self.worker = worker()
        with tempfile.NamedTemporaryFile(suffix=".so", delete=False) as file:
            file.write(result.elf)
        self.path = file.name
        self.base = 0
        self._load()

    def _load(self) -> None:
        if self.path in self.worker.loaded:
            return
        data = [s for s in self.image.elf.iter_sections() if s.name in (".data", ".bss") and s["sh_size"]]
        answer = self.worker.ask(do="load", path=self.path, symbol="host_panic", value=self.image.symbols["host_panic"],
                                 writable=[(s["sh_addr"], s["sh_size"]) for s in data])
        self.worker.loaded[self.path] = answer["start"]
        self.memory = TargetMemory(64, self.worker.base, HEAP_SIZE, memoryview(self.worker.shared))
        self._place_statics(answer["start"])

    def _run(self, made: FunctionIR, out: int, table: int) -> None:
        self._load()
        answer = self.worker.ask(do="call", path=self.path, name=f"call_{made.symbol}", result=out, arguments=table)
        if "kind" in answer:
            raise Panic(answer["kind"], answer["message"], answer["file"], answer["line"])

    def reset(self) -> None:
        self._load()
        self.worker.ask(do="reset", path=self.path)

    def close(self) -> None:
        if self.path in self.worker.loaded:
            self.worker.ask(do="unload", path=self.path)
            del self.worker.loaded[self.path]
        Path(self.path).unlink(missing_ok=True)


# ---- emulated CPUs ------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Cpu:
    arch: int
    mode: int
    model: int | None
    pc: int
    sp: int
    link: int | None
    arguments: tuple[int, int]


CPUS = {
    "aarch64": Cpu(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM, None, arm64_const.UC_ARM64_REG_PC, arm64_const.UC_ARM64_REG_SP,
                   arm64_const.UC_ARM64_REG_X30, (arm64_const.UC_ARM64_REG_X0, arm64_const.UC_ARM64_REG_X1)),
    "armv7": Cpu(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_ARM, arm_const.UC_CPU_ARM_CORTEX_A15, arm_const.UC_ARM_REG_PC,
                 arm_const.UC_ARM_REG_SP, arm_const.UC_ARM_REG_LR, (arm_const.UC_ARM_REG_R0, arm_const.UC_ARM_REG_R1)),
    "x86_64": Cpu(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64, None, x86_const.UC_X86_REG_RIP, x86_const.UC_X86_REG_RSP, None,
                  (x86_const.UC_X86_REG_RDI, x86_const.UC_X86_REG_RSI))}
RAM, RAM_SIZE = 0x60000000, 1 << 21         # the heap, and above it the stack
RETURN = 0x70000000
LIMIT = 20_000_000                          # microseconds


class EmulatedRam:
    """Emulated memory as something to slice."""

    def __init__(self, uc: Any, base: int) -> None:
        self.uc, self.base = uc, base

    def __getitem__(self, part: slice) -> bytes:
        return bytes(self.uc.mem_read(self.base + part.start, part.stop - part.start))

    def __setitem__(self, part: slice, data: bytes) -> None:
        self.uc.mem_write(self.base + part.start, bytes(data))


class EmulatedEngine(NativeEngine):
    """Machine code on Unicorn; stops at the return or at a trap, which the image's table explains."""

    def __init__(self, unit: Unit, name: str, result: BuildResult) -> None:
        super().__init__(unit, name, result)
        self.cpu = CPUS[BUILDS[name].target]
        self.sites = {site.address: site for site in self.image.panics}
        self.uc: Any = cast(Any, unicorn).Uc(self.cpu.arch, self.cpu.mode)
        if self.cpu.model is not None:
            self.uc.ctl_set_cpu_model(self.cpu.model)
        self._map()
        self.trapped = False
        self.uc.hook_add(unicorn.UC_HOOK_INTR, self._trap)
        self.memory = TargetMemory(self.bits, RAM, HEAP_SIZE, EmulatedRam(self.uc, RAM))
        self.memory.map(self.low, EmulatedRam(self.uc, self.low), self.high - self.low)
        self._place_statics(0)

    def _map(self) -> None:
        segments = [s for s in self.image.elf.iter_segments("PT_LOAD") if s["p_memsz"]]
        self.low = min(s["p_vaddr"] for s in segments) & ~0xFFF
        self.high = max(s["p_vaddr"] + s["p_memsz"] for s in segments) + 0xFFF & ~0xFFF
        self.uc.mem_map(self.low, self.high - self.low)
        self.uc.mem_map(RAM, RAM_SIZE)
        self.uc.mem_map(RETURN, 0x1000)
        self.reset()

    def reset(self) -> None:
        for segment in self.image.elf.iter_segments("PT_LOAD"):
            self.uc.mem_write(segment["p_vaddr"], segment.data() + bytes(segment["p_memsz"] - segment["p_filesz"]))

    def _trap(self, uc: Any, number: int, data: Any) -> None:
        self.trapped = True
        uc.emu_stop()

    def _run(self, made: FunctionIR, out: int, table: int) -> None:
        top = RAM + RAM_SIZE - 256
        if self.cpu.link is not None:
            self.uc.reg_write(self.cpu.link, RETURN)
        else:
            top -= 8
            self.uc.mem_write(top, RETURN.to_bytes(8, "little"))
        self.uc.reg_write(self.cpu.sp, top)
        for register, value in zip(self.cpu.arguments, (out, table)):
            self.uc.reg_write(register, value)
        self.trapped = False
        fault = ""
        try:
            self.uc.emu_start(self.image.symbols[f"call_{made.symbol}"], RETURN, timeout=LIMIT)
        except UcError as error:
            fault = str(error)
        pc = self.uc.reg_read(self.cpu.pc)
        if pc == RETURN and not self.trapped and not fault:
            return
        site = self.sites.get(pc) or self.sites.get(pc - 4) or self.sites.get(pc - 2)
        if site is None or not (self.trapped or fault):
            raise Broken(f"{self.name}: stopped at {pc:#x} in {self.image.function_at(pc)}: {fault or 'no return'}")
        raise Panic(site.kind, site.message, site.file, site.line)


def same_file(a: str, b: str) -> bool:
    return Path(a).name == Path(b).name


__all__ = ["ALL", "BUILDS", "Broken", "Memory", "Unit", "same_file"]
