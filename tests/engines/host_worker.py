"""A process that calls functions in shared libraries for the tests: a crash or an endless loop ends it, not the test run.

Commands come as JSON lines on stdin: `load`, `call`, `reset`; memory for arguments is a shared file.
"""
import ctypes
import json
import mmap
import os
import sys
from typing import Any


class Record(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_char_p), ("file", ctypes.c_char_p), ("message", ctypes.c_char_p), ("line", ctypes.c_uint)]


def main() -> None:
    size = int(sys.argv[2])
    shared = mmap.mmap(int(sys.argv[1]), size)
    base = ctypes.addressof(ctypes.c_char.from_buffer(shared))
    libraries: dict[str, Any] = {}
    put({"base": base})
    for line in sys.stdin:
        command = json.loads(line)
        match command["do"]:
            case "load":
                path, symbol, value, writable = (command[k] for k in ("path", "symbol", "value", "writable"))
                library = ctypes.CDLL(path)
                start = ctypes.addressof(ctypes.c_char.in_dll(library, symbol)) - value
                parts = [(start + at, ctypes.string_at(start + at, length)) for at, length in writable]
                libraries[path] = (library, Record.in_dll(library, "host_panic"), parts)
                put({"start": start})
            case "reset":
                for at, data in libraries[command["path"]][2]:
                    ctypes.memmove(at, data, len(data))
                put({})
            case "call":
                library, record, _ = libraries[command["path"]]
                if getattr(library, command["name"])(ctypes.c_void_p(command["result"]), ctypes.c_void_p(command["arguments"])):
                    put({"kind": record.kind.decode(), "file": record.file.decode(), "line": record.line, "message": record.message.decode()})
                else:
                    put({})
            case "unload":
                library = libraries.pop(command["path"])[0]
                import _ctypes
                _ctypes.dlclose(library._handle)
                put({})


def put(answer: dict[str, Any]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


main()
