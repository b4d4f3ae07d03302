"""Live objects in the memory of a compiled program: copied in for a call, and what was written copied back."""
from __future__ import annotations

from typing import Any

from freestanding import types as t
from freestanding.functions import Function
from freestanding.hosted_memory import Memory, Window, _pull, store_bytes
from freestanding.structs import Table


class TargetMemory(Memory):
    """Addresses in a target: statics where the image has them, everything else on a heap that each call starts anew."""

    def __init__(self, pointer_bits: int, heap: int, size: int, ram: Any, at: int = 0, length: int = 0) -> None:
        super().__init__(pointer_bits)
        self.heap, self.heap_end = heap, heap + size
        self.map(at or heap, ram, length or size)
        self._fixed: tuple[dict[int, tuple[int, Any]], dict[int, list[Any]]] = ({}, {})     # of statics
        self.start_call()

    def start_call(self) -> None:
        self._next = self.heap
        self.copied: list[tuple[Any, t.Type, int]] = []
        self._addresses, self._objects = dict(self._fixed[0]), dict(self._fixed[1])
        self._views = {}

    def add_static(self, address: int, obj: Any) -> None:
        self._note(obj, self._kind_of(obj), address)
        self._fixed = dict(self._addresses), dict(self._objects)

    def room(self, size: int) -> int:
        """Heap space for `size` bytes."""
        start = self._allocate(max(size, 1), 16)
        if self._next > self.heap_end:
            raise MemoryError("the arguments are larger than the heap for them")
        return start

    def _give_address(self, obj: Any) -> None:
        if isinstance(obj, Function):
            raise TypeError("functions do not go into compiled programs as arguments")
        kind = self._kind_of(obj)
        assert kind is not None
        start = self.room(t.layout(kind, self.pointer_bytes).size)
        self._note(obj, kind, start)
        if not isinstance(obj, (bytes, Table)):
            self.copied.append((obj, kind, start))
        store_bytes(kind, Window(self, start), 0, obj)

    def copy_back(self) -> None:
        """Set the live objects that went in to what the program left there."""
        for obj, kind, start in self.copied:
            if isinstance(obj, (list, bytearray)) and not hasattr(obj, "element"):
                size = t.layout(kind, self.pointer_bytes).size
                obj[:] = self.read(start, size)
            else:
                _pull(kind, obj, Window(self, start), 0)
