"""Archives against what cpio's format says, read back by a reader written from the specification."""

from __future__ import annotations

import stat

from xenarm.tools.debian import guest_archive
from xenarm.tools.initramfs import Entry, archive, character_device, directory, file, link


def read(data: bytes) -> list[Entry]:
    """Every entry of a newc archive, up to its trailer."""
    entries: list[Entry] = []
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        field = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, name_size = field[1], field[6], field[11]
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        at += (110 + name_size + 3) & ~3
        if name == "TRAILER!!!":
            assert at == len(data)
            return entries
        entries.append(Entry(name, mode, data[at : at + size], (field[9], field[10])))
        at += (size + 3) & ~3


def test_entries_come_back() -> None:
    entries = [
        directory("bin"),
        file("bin/a", b"12345", 0o755),
        link("bin/b", "a"),
        character_device("dev/console", 5, 1),
        file("empty", b""),
    ]
    assert read(archive(entries)) == entries


def test_order_and_repetition_change_nothing() -> None:
    entries = [file("z", b"1"), directory("a"), file("a/b", b"2"), file("a-b", b"3")]
    assert archive(entries) == archive(reversed(entries)) == archive(entries)


def test_a_directory_comes_before_what_is_in_it() -> None:
    names = [entry.name for entry in read(archive([file("a/b/c", b""), file("a-x", b""), directory("a/b"), directory("a")]))]
    assert names.index("a") < names.index("a/b") < names.index("a/b/c")


def test_the_guest_archive_can_start() -> None:
    entries = {entry.name: entry for entry in read(guest_archive(b"\x7fELF"))}
    assert entries["init"].mode == stat.S_IFREG | 0o755
    assert entries["init"].data.startswith(b"#!/bin/busybox sh\n")
    assert entries["dev/console"].device == (5, 1)
    assert entries["bin/busybox"].data == b"\x7fELF"
    links = [entry for entry in entries.values() if stat.S_ISLNK(entry.mode) and entry.name != "sbin"]
    assert links and all(entry.data == b"busybox" for entry in links)
