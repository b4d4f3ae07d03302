"""Runs built programs: the host's shared library in this process, the other targets on an emulated CPU."""
from __future__ import annotations

import ctypes
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import unicorn
from unicorn import arm64_const, arm_const, x86_const

from freestanding.errors import Panic
from freestanding.ir import FunctionIR, Program
from freestanding.toolchain import BuildResult
from freestanding.types import BitsType, BoolType, EnumType, IntType, StructType, TupleType, Type, VoidType, fields_of, layout

STACK, STACK_SIZE, RETURN = 0x60000000, 0x40000, 0x70000000


def unpack(kind: Type, data: bytes, pointer_bytes: int) -> Any:
    """A value from its bytes."""
    size = layout(kind, pointer_bytes).size
    match kind:
        case BoolType():
            return bool(data[0])
        case IntType():
            return int.from_bytes(data[:size], "little", signed=kind.signed)
        case EnumType():
            return kind.cls(int.from_bytes(data[:size], "little", signed=kind.base.signed))
        case BitsType():
            return kind.cls.from_raw(int.from_bytes(data[:size], "little"))
        case TupleType():
            offsets = [offset for _, offset in layout(kind, pointer_bytes).offsets]
            return tuple(unpack(k, data[at:], pointer_bytes) for k, at in zip(kind.items, offsets))
        case StructType():
            made = layout(kind, pointer_bytes)
            return kind.cls(**{name: unpack(fields_of(kind.cls)[name], data[at:], pointer_bytes) for name, at in made.offsets})
    raise TypeError(f"no value of {kind} comes back from compiled code")


def pack(kind: Type, value: Any, pointer_bytes: int) -> bytes:
    """The bytes of a scalar."""
    size = layout(kind, pointer_bytes).size
    return (int(value) & ((1 << size * 8) - 1)).to_bytes(size, "little")


class _Record(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_char_p), ("file", ctypes.c_char_p), ("message", ctypes.c_char_p), ("line", ctypes.c_uint)]


class HostMachine:
    """A program built for the host; `call` gives the result or raises Panic."""

    def __init__(self, program: Program, result: BuildResult) -> None:
        self.functions = {f.symbol: f for f in program.functions if f.symbol}
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "program.so"
            path.write_bytes(result.elf)
            self.library = ctypes.CDLL(str(path))
        self.record = _Record.in_dll(self.library, "host_panic")

    def call(self, name: str, *args: Any) -> Any:
        function = self.functions[name]
        buffers = [ctypes.create_string_buffer(_argument(p.type, a)) for p, a in zip(function.params, args, strict=True)]
        pointers = (ctypes.c_void_p * max(1, len(buffers)))(*(ctypes.addressof(b) for b in buffers))
        size = 0 if isinstance(function.result, VoidType) else layout(function.result, 8).size
        out = ctypes.create_string_buffer(max(8, size))
        if getattr(self.library, f"call_{name}")(ctypes.byref(out), pointers):
            r = self.record
            raise Panic(r.kind.decode(), r.message.decode(), r.file.decode(), r.line)
        return None if isinstance(function.result, VoidType) else unpack(function.result, out.raw, 8)


def _argument(kind: Type, value: Any) -> bytes:
    return pack(kind, value, 8)


@dataclass(frozen=True)
class _Cpu:
    arch: int
    mode: int
    pc: int
    sp: int
    link: int | None
    arguments: tuple[int, ...]
    results: tuple[int, ...]


_CPUS = {
    "aarch64": _Cpu(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM, arm64_const.UC_ARM64_REG_PC, arm64_const.UC_ARM64_REG_SP,
                    arm64_const.UC_ARM64_REG_X30, tuple(arm64_const.UC_ARM64_REG_X0 + n for n in range(8)),
                    (arm64_const.UC_ARM64_REG_X0, arm64_const.UC_ARM64_REG_X1)),
    "armv7": _Cpu(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_ARM, arm_const.UC_ARM_REG_PC, arm_const.UC_ARM_REG_SP, arm_const.UC_ARM_REG_LR,
                  tuple(arm_const.UC_ARM_REG_R0 + n for n in range(4)), (arm_const.UC_ARM_REG_R0, arm_const.UC_ARM_REG_R1)),
    "x86_64": _Cpu(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64, x86_const.UC_X86_REG_RIP, x86_const.UC_X86_REG_RSP, None,
                   (x86_const.UC_X86_REG_RDI, x86_const.UC_X86_REG_RSI, x86_const.UC_X86_REG_RDX, x86_const.UC_X86_REG_RCX,
                    x86_const.UC_X86_REG_R8, x86_const.UC_X86_REG_R9), (x86_const.UC_X86_REG_RAX, x86_const.UC_X86_REG_RDX)),
}


class EmulatedMachine:
    """A program on an emulated CPU. Arguments and results are scalars, or results of two registers at most."""

    def __init__(self, program: Program, result: BuildResult, target: str) -> None:
        self.functions = {f.symbol: f for f in program.functions if f.symbol}
        self.image, self.target, self.cpu = result.image, target, _CPUS[target]
        self.pointer_bytes = program.pointer_bits // 8
        self.panics = {site.address: site for site in self.image.panics}
        self.instructions = 0
        self._start()

    def _start(self) -> None:
        self.uc = unicorn.Uc(self.cpu.arch, self.cpu.mode)
        if self.target == "armv7":
            self.uc.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_A15)
        if self.target == "aarch64":
            self.uc.ctl_set_cpu_model(arm64_const.UC_CPU_ARM64_MAX)         # it has the large system extension
        segments = [s for s in self.image.elf.iter_segments("PT_LOAD") if s["p_memsz"]]
        low = min(s["p_vaddr"] for s in segments) & ~0xFFF
        high = max(s["p_vaddr"] + s["p_memsz"] for s in segments) + 0xFFF & ~0xFFF
        self.uc.mem_map(low, high - low)
        for segment in segments:
            self.uc.mem_write(segment["p_vaddr"], segment.data())
        self.uc.mem_map(STACK, STACK_SIZE)
        self.uc.mem_map(RETURN, 0x1000)
        self.counting = self.uc.hook_add(unicorn.UC_HOOK_CODE, self._count)
        self.trapped = False
        self.uc.hook_add(unicorn.UC_HOOK_INTR, self._trap)

    def _count(self, uc: Any, address: int, size: int, data: Any) -> None:
        self.instructions += 1

    def _trap(self, uc: Any, number: int, data: Any) -> None:
        self.trapped = True
        uc.emu_stop()

    def call(self, name: str, *args: Any) -> Any:
        """The result; raises Panic where a check's trap stopped it. Counts `instructions`."""
        function = self.functions[name]
        self.instructions, self.trapped = 0, False
        self._pass(function, args)
        try:
            self.uc.emu_start(self.image.symbols[name], RETURN, timeout=20_000_000)
        except unicorn.UcError:
            self.trapped = True
        pc = self.uc.reg_read(self.cpu.pc)
        if self.trapped or pc != RETURN:
            site = self.panics.get(pc) or self.panics.get(pc - 4) or self.panics.get(pc - 2)
            if site is None:
                raise RuntimeError(f"{name} stopped at {pc:#x} ({self.image.function_at(pc)}), which is no check")
            raise Panic(site.kind, site.message, site.file, site.line)
        return self._result(function)

    def _pass(self, function: FunctionIR, args: tuple[Any, ...]) -> None:
        """Arguments in registers, then on the stack (an armv7 u64 in an even pair)."""
        words: list[int] = []
        for param, value in zip(function.params, args, strict=True):
            size = layout(param.type, self.pointer_bytes).size
            number = int.from_bytes(pack(param.type, value, self.pointer_bytes), "little", signed=int(value) < 0)
            if size > self.pointer_bytes:
                words += [0] * (len(words) & 1) + [number & 0xFFFFFFFF, number >> 32 & 0xFFFFFFFF]
            else:
                words.append(number & ((1 << self.pointer_bytes * 8) - 1))
        for register, word in zip(self.cpu.arguments, words):
            self.uc.reg_write(register, word)
        top = STACK + STACK_SIZE - 256
        for slot, word in enumerate(words[len(self.cpu.arguments):]):
            self.uc.mem_write(top + slot * self.pointer_bytes, word.to_bytes(self.pointer_bytes, "little"))
        if self.cpu.link is not None:
            self.uc.reg_write(self.cpu.link, RETURN)
        else:
            top -= 8
            self.uc.mem_write(top, RETURN.to_bytes(8, "little"))
        self.uc.reg_write(self.cpu.sp, top)

    def _result(self, function: FunctionIR) -> Any:
        if isinstance(function.result, VoidType):
            return None
        width = self.pointer_bytes
        data = b"".join((self.uc.reg_read(r) & ((1 << width * 8) - 1)).to_bytes(width, "little") for r in self.cpu.results)
        return unpack(function.result, data, self.pointer_bytes)
