"""A gdb server that has nothing but what gdb's manual describes: it stands between gdb and QEMU, and refuses QEMU's own packets.

So the hypervisor is seen as a JTAG probe's server shows it: memory is what the selected CPU reads. An empty answer is the protocol's "unknown packet"
(gdb's manual, "Remote Serial Protocol", Overview).
"""

from __future__ import annotations

import re
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REFUSED = re.compile(rb"\$(?:[Qq]qemu|qRcmd)[^#]*#[0-9a-fA-F]{2}")
SECONDS = 120.0


def relay(client: socket.socket, server: socket.socket, over: threading.Event) -> None:
    """Both ways, until one end closes. gdb waits for each answer, so a packet to refuse comes alone; acknowledgements of ours go nowhere that minds."""
    held = b""
    while not over.is_set():
        ready, _, _ = select.select([client, server], [], [], 0.2)
        for end in ready:
            try:
                data = end.recv(65536)
            except OSError:
                data = b""
            if not data:
                return
            if end is server:
                client.sendall(data)
                continue
            held += data
            while found := REFUSED.search(held):
                client.sendall(b"+$#00")
                held = held[: found.start()] + held[found.end() :]
            if not re.search(rb"\$[^#]*(#.?)?$", held):  # else the rest of a packet comes
                server.sendall(held)
                held = b""


@contextmanager
def standard_only(path: Path) -> Iterator[int]:
    """A port of such a server before QEMU's at a socket; for one connection after the other."""
    over = threading.Event()

    def serve() -> None:
        listener.settimeout(0.2)
        while not over.is_set():
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            with client, socket.socket(socket.AF_UNIX) as server:
                server.settimeout(SECONDS)
                client.settimeout(SECONDS)
                server.connect(str(path))
                relay(client, server, over)

    with socket.create_server(("localhost", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join(SECONDS)
