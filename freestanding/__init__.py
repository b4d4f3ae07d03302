"""Freestanding Python: typed Python that runs in CPython and compiles to bare metal. See docs/language.md."""
from .errors import CompileError, Panic
from .functions import Function, Printer, assembly, export, external, fn, operation
from .integers import (Address, Distinct, Integer, i8, i16, i32, i64, isize, u8, u16, u32, u64, usize)
from .primitives import (address_of, align_down, align_up, byteswap, checked_add, checked_mul, checked_sub, clz, ctz, is_aligned,
                         panic, popcount, read_once, rotate_left, rotate_right, saturating_add, saturating_sub, truncate,
                         wrapping_add, wrapping_mul, wrapping_neg, wrapping_sub, write_once)
from .structs import (Array, Atomic, Bits, IntEnum, PerCpu, Ptr, Ref, Slice, Struct, Table, Union, View, array, atomic, bits,
                      linker_symbol, percpu, place, table, zeroed)
from .types import offset_of, size_of

__all__ = [name for name in dir() if not name.startswith("_")]
