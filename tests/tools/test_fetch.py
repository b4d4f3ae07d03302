"""The fetcher's private apt, its decisions and its errors, without a network."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from xenarm.tools import debian
from xenarm.tools.errors import ToolError

IMAGE = b"\0" * 56 + b"ARMd" + b"\0" * 4


def test_a_kernel_is_unpacked_only_when_packed() -> None:
    assert debian.kernel_image(IMAGE, "k") == IMAGE
    assert debian.kernel_image(gzip.compress(IMAGE), "k") == IMAGE
    with pytest.raises(ToolError, match="vmlinuz is no arm64 Image"):
        debian.kernel_image(b"MZ" + b"\0" * 100, "vmlinuz")


def test_the_machines_own_package_database_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "DEBIAN", tmp_path)
    apt = debian.Apt("arm64")
    apt.prepare()
    text = (tmp_path / "arm64" / "apt.conf").read_text()
    for setting in ("Dir::State ", "Dir::State::status ", "Dir::Cache "):
        (line,) = [line for line in text.splitlines() if line.startswith(setting)]
        assert str(tmp_path) in line
    assert 'APT::Architectures { "arm64"; };' in text
    assert "Invoke" not in text


def test_without_a_network_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "DEBIAN", tmp_path)
    nowhere = [f'Acquire::{scheme}::Proxy "http://127.0.0.1:9";' for scheme in ("http", "https")]
    monkeypatch.setattr(debian, "machine_acquire_settings", lambda: [*nowhere, 'Acquire::Retries "0";'])
    with pytest.raises(ToolError, match="could not fetch the arm64 package lists .*check the network") as caught:
        debian.fetch(say=lambda text: None)
    assert "\n" not in str(caught.value)


def test_what_is_there_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "DEBIAN", tmp_path)
    monkeypatch.setattr(debian, "_fetch_packages", lambda say: pytest.fail("downloads"))
    root = tmp_path / "arm64" / "root"
    for name, data in (("boot/vmlinuz-6.1-arm64", IMAGE), ("boot/xen-4.17-arm64", b"xen"), ("bin/busybox", b"box")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    files = debian.fetch()
    assert files.kernel.read_bytes() == IMAGE and files.xen.read_bytes() == b"xen"
    first = files.initramfs.read_bytes()
    assert debian.fetch().initramfs.read_bytes() == first
