"""Sends a file by YMODEM with CRC and blocks of 1 KiB (Chuck Forsberg, "XMODEM/YMODEM Protocol Reference", 1988), as U-Boot's `loady` takes it.

U-Boot asks for a block again by `C` where others send NAK, and so does whoever has not got the first block yet. Between the first block and the
next it says `C` only after some seconds (common/xyzModem.c); others do at once.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from dataclasses import dataclass

from xenarm.tools.console import Console
from xenarm.tools.errors import ToolError

__all__ = ["Transfer", "packet", "send"]

SOH, STX, EOT, ACK, NAK, CAN, ASK = 0x01, 0x02, 0x04, 0x06, 0x15, 0x18, 0x43
SMALL, LARGE = 128, 1024
PAD = 0x1A
RETRIES = 10
START_SECONDS = 20.0
ANSWER_SECONDS = 5.0  # U-Boot's own patience is 2 s
GO_SECONDS = 0.5  # for the `C` after the first block


@dataclass
class Transfer:
    """What a transfer came to."""

    blocks: int = 0
    again: int = 0  # blocks that had to be sent again


def packet(number: int, data: bytes) -> bytes:
    """A block on the line; `data` has one of the two sizes."""
    head = bytes([SOH if len(data) == SMALL else STX, number & 0xFF, ~number & 0xFF])
    return head + data + binascii.crc_hqx(data, 0).to_bytes(2, "big")


def wait_for(console: Console, wanted: int, what: str, seconds: float) -> None:
    """Read until a byte comes."""
    came: list[int] = []
    while (byte := console.take(seconds)) != wanted:
        if byte is None or len(came) > 4096:
            raise ToolError(f"{what}: expected {name(wanted)} within {seconds:g} s, and {shown(came)} came: is the other end waiting for YMODEM?")
        if byte == CAN:
            raise ToolError(f"{what}: the other end cancels")
        came.append(byte)


def name(byte: int) -> str:
    """A byte of the protocol for people."""
    return {ACK: "ACK", NAK: "NAK", ASK: "'C'", CAN: "CAN"}.get(byte, f"{byte:#04x}")


def shown(came: list[int]) -> str:
    """What came instead."""
    return repr(bytes(came[-60:]).decode("latin-1")) if came else "nothing"


def deliver(console: Console, raw: bytes, what: str, transfer: Transfer, asks_again: bool = True) -> None:
    """Send until it is acknowledged. What is neither yes nor no is noise on the line, and so is `C` where it may have been said before."""
    came: list[int] = []
    for attempt in range(RETRIES):
        transfer.again += attempt > 0
        console.send(raw)
        while (byte := console.take(ANSWER_SECONDS)) is not None:
            if byte == ACK:
                return
            if byte == CAN:
                raise ToolError(f"{what}: the other end cancels")
            came.append(byte)
            if byte == NAK or (byte == ASK and asks_again):
                break
    raise ToolError(f"{what}: expected ACK, sent it {RETRIES} times, and {shown(came)} came: check the cable, or send slower")


def send(console: Console, file_name: str, data: bytes, progress: Callable[[int], object] = lambda size: None) -> Transfer:
    """Send one file; `progress` is told of each block's bytes. Raises ToolError."""
    transfer = Transfer()
    total = -(-len(data) // LARGE)
    wait_for(console, ASK, "begin", START_SECONDS)
    console.skip()  # it asks again and again until the first block is there
    header = file_name.encode() + b"\0" + str(len(data)).encode() + b"\0"
    deliver(console, packet(0, header.ljust(SMALL if len(header) <= SMALL else LARGE, b"\0")), "name and size", transfer, asks_again=False)
    told_to_go = console.take(GO_SECONDS) == ASK
    for number in range(total):
        piece = data[number * LARGE : (number + 1) * LARGE]
        deliver(console, packet(number + 1, piece.ljust(LARGE, bytes([PAD]))), f"block {number + 1} of {total}", transfer, told_to_go or number > 0)
        transfer.blocks += 1
        progress(len(piece))
    deliver(console, bytes([EOT]), "end of file", transfer)
    wait_for(console, ASK, "end of file", ANSWER_SECONDS)
    deliver(console, packet(0, bytes(SMALL)), "end of all files", transfer)
    return transfer
