"""Files for U-Boot, a card and a flash: each read back by a tool that others wrote, and the same bytes wherever they are made."""

from __future__ import annotations

import hashlib
import re
import shutil
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from boards import BOARDS
from boards import board as board_named
from tests.boards import beacon
from xenarm.flash.table import MAGIC, TABLE_AT
from xenarm.tools import build, doctor, image
from xenarm.tools.artefacts import fat, nor, uimage
from xenarm.tools.deployment import Deployment, plan
from xenarm.tools.errors import ToolError
from xenarm.tools.layout import Layout, compose
from xenarm.tools.machine import KIB, MIB, Architecture, Region
from xenarm.tools.paths import ROOT

BOARD = "qemu-virt-arm64"
TEXT = """
[domain.alpha]
kernel = "alpha.Image"
ramdisk = "ramdisk"
memory = "64 MiB"
[domain.beta]
kernel = "alpha.Image"
memory = "32 MiB"
"""


@pytest.fixture(autouse=True, scope="module")
def programs() -> None:
    doctor.provide("test")


def made(directory: Path) -> tuple[Deployment, Layout]:
    """A deployment with files of a directory."""
    directory.mkdir(exist_ok=True)
    beacon.kernel(directory, "alpha")
    (directory / "ramdisk").write_bytes(b"r" * 5000)
    (directory / "hypervisor").write_bytes(beacon.image(text="hypervisor"))
    (directory / "x.toml").write_text(TEXT)
    deployment = plan.find(str(directory / "x.toml"))
    return deployment, compose(replace(plan.machine_for(deployment, BOARD), hypervisor=directory / "hypervisor"))


def files(directory: Path) -> dict[str, bytes]:
    """Everything that is made of it, by name."""
    deployment, layout = made(directory)
    (directory / "stage").write_bytes(b"stage" * 100)
    written = image.write_all(directory / "out", deployment, layout, directory / "stage")
    return {path.name: path.read_bytes() for path in written}


def listed(path: Path) -> str:
    """What mkimage says of a file."""
    return subprocess.run(["mkimage", "-l", str(path)], capture_output=True, text=True, check=True, timeout=100).stdout


@pytest.fixture
def out(tmp_path: Path) -> Path:
    files(tmp_path)
    return tmp_path / "out"


def test_the_same_files_anywhere(tmp_path: Path) -> None:
    first, second = files(tmp_path / "one"), files(tmp_path / "another place")
    assert set(first) == {"host.dtb", "xenarm.uimg", "xenarm.itb", "boot.cmd", "boot.scr", "sdcard.img", "flash.img", "placement.txt"}
    differing = {name for name in first if first[name] != second[name]}
    assert differing <= {"placement.txt"}, "only the list for people has paths"


def test_mkimage_lists_the_legacy_image(out: Path) -> None:
    said = listed(out / "xenarm.uimg")
    assert "AArch64 Linux Kernel Image (uncompressed)" in said and "Load Address: 40200000" in said and "Entry Point:  40200000" in said
    assert f"Data Size:    {len(beacon.image(text='hypervisor'))} Bytes" in said


def test_mkimage_notices_a_changed_byte(out: Path) -> None:
    """Its listing checks both checksums: so ours are right."""
    for place in (20, 100):  # the load address, the data
        damaged = bytearray((out / "xenarm.uimg").read_bytes())
        damaged[place] ^= 1
        (out / "bad").write_bytes(damaged)
        assert "AArch64 Linux Kernel Image" not in listed(out / "bad")


def test_the_script_is_the_source_with_a_header(out: Path) -> None:
    said = listed(out / "boot.scr")
    source = (out / "boot.cmd").read_bytes()
    assert "AArch64 Linux Script (uncompressed)" in said and f"Image 0: {len(source)} Bytes" in said
    assert (out / "boot.scr").read_bytes().endswith(source)
    assert b"booti 0x40200000 - 0x48000000\n" in source and b"0x48200000 alpha-kernel" in source


def test_mkimage_lists_the_fit_with_its_hashes(out: Path) -> None:
    said = listed(out / "xenarm.itb")
    kernel = beacon.image()
    assert said.count(hashlib.sha256(kernel).hexdigest()) == 2 and said.count(f"{zlib.crc32(kernel):08x}") == 2
    assert "Kernel:       xenarm" in said and "FDT:          host-dtb" in said
    assert re.search(r"Loadables:    alpha-kernel\n\s+alpha-ramdisk\n\s+beta-kernel", said)
    assert "Unknown" not in said and "bad" not in said.lower()


def test_dumpimage_takes_a_part_out_of_the_fit(out: Path) -> None:
    said = subprocess.run(["dumpimage", "-T", "flat_dt", "-p", "2", "-o", str(out / "kernel"), str(out / "xenarm.itb")], capture_output=True, text=True, check=False, timeout=100)
    assert said.returncode == 0, said.stderr
    assert (out / "kernel").read_bytes() == beacon.image()


def test_mtools_reads_the_card(out: Path) -> None:
    card = f"{out / 'sdcard.img'}@@1M"
    listing = subprocess.run(["mdir", "-b", "-i", card, "::"], capture_output=True, text=True, check=True, timeout=100).stdout
    assert listing.split() == ["::/xenarm", "::/host.dtb", "::/alpha-kernel", "::/alpha-ramdisk", "::/beta-kernel", "::/boot.cmd", "::/boot.scr"]
    for name in ("alpha-ramdisk", "host.dtb", "boot.scr"):
        subprocess.run(["mcopy", "-n", "-i", card, f"::{name}", str(out / "copy")], check=True, timeout=100)
        expected = b"r" * 5000 if name == "alpha-ramdisk" else (out / name).read_bytes()
        assert (out / "copy").read_bytes() == expected
        (out / "copy").unlink()


@pytest.mark.parametrize("sizes", [[0, 1, 511, 512, 513], [40 * MIB, 3], [1] * 200])
def test_cards_of_any_size(tmp_path: Path, sizes: list[int]) -> None:
    """mtools' own check of the file system's chains, and every byte."""
    content = {f"a rather long name of file number {number}": bytes([number % 251]) * size for number, size in enumerate(sizes)}
    if len(sizes) > 100:
        with pytest.raises(ToolError, match="more files"):
            fat.write_card(tmp_path / "card", {f"{name}{'x' * 60}": data for name, data in content.items()})
        return
    fat.write_card(tmp_path / "card", content)
    for name, data in content.items():
        subprocess.run(["mcopy", "-n", "-i", f"{tmp_path / 'card'}@@1M", f"::{name}", str(tmp_path / "copy")], check=True, timeout=100)
        assert (tmp_path / "copy").read_bytes() == data
        (tmp_path / "copy").unlink()
    record = (tmp_path / "card").read_bytes()[:512]
    kind, start, size = struct.unpack_from("<4xB3xII", record, 446)
    assert (kind, start) == (0x0E, 2048) and (start + size) * 512 == (tmp_path / "card").stat().st_size


def test_the_flash_has_each_kernel_once_and_the_hypervisor_last(tmp_path: Path) -> None:
    _, layout = made(tmp_path)
    flash = nor.flash_image(layout, b"stage", Region("flash", 0, 64 * MIB))
    content = dict(flash.pieces)
    numbers = struct.unpack_from("<10Q", content[TABLE_AT])
    rows = [struct.unpack_from("<5Q", content[TABLE_AT], 80 + 40 * n) for n in range(numbers[9])]
    assert numbers[0] == MAGIC and numbers[4] == layout.hypervisor.base and [row[2] for row in rows][-1] == layout.hypervisor.base
    assert rows[0][0] == rows[2][0], "alpha and beta boot the same kernel"
    assert content[rows[1][0]].startswith(b"r" * 5000)


def test_a_flash_that_is_too_small_is_one_error(tmp_path: Path) -> None:
    _, layout = made(tmp_path)
    with pytest.raises(ToolError, match=r"takes 0\.1 MiB of flash, and qemu-virt-arm64 has 0"):
        nor.flash_image(layout, b"stage", Region("flash", 0, 64 * KIB))


def test_the_sums_notice_order() -> None:
    one, two = (1).to_bytes(8, "little"), (2).to_bytes(8, "little")
    assert nor.sums(one + two) == (3, 4) and nor.sums(two + one) == (3, 5)


def test_a_legacy_header_is_as_u_boots_header_file_has_it() -> None:
    data = uimage.legacy_image(b"abc", uimage.TYPE_SCRIPT, 2, "name")
    assert data[:4] == b"\x27\x05\x19\x56" and data[12:16] == (3).to_bytes(4, "big") and data[28:32] == bytes([5, 2, 6, 0])
    assert data[24:28] == zlib.crc32(b"abc").to_bytes(4, "big") and data[32:36] == b"name" and data[64:] == b"abc"


@pytest.mark.parametrize("name", sorted(board.name for board in BOARDS.values() if board.tree))
def test_a_board_with_a_tree_of_its_own_gets_its_files(tmp_path: Path, name: str) -> None:
    """The image where the board's loader puts it, everything else in the same bank of its tree's memory, and all CPUs; whether QEMU has a model of it too or not."""
    made(tmp_path)
    if board_named(name).architecture is Architecture.ARM32:
        zimage = bytearray(4096)
        struct.pack_into("<I", zimage, 36, 0x016F_2818)
        (tmp_path / "alpha.Image").write_bytes(zimage)
    deployment = plan.find(str(tmp_path / "x.toml"))
    layout = compose(replace(plan.machine_for(deployment, name, hardware=True), hypervisor=tmp_path / "hypervisor"))
    written = {path.name for path in image.write_all(tmp_path / "out", deployment, layout, None)}
    address = board_named(name).hardware.load_address
    assert layout.hypervisor.base == address and ("xenarm.uimg" in written) == (address < 1 << 32)
    said = listed(tmp_path / "out" / "xenarm.itb")
    assert f"Load Address: {address:#010x}" in said or f"Load Address: {address:08x}" in said
    tree = subprocess.run(["dtc", "-I", "dtb", "-O", "dts", "-q", str(tmp_path / "out/host.dtb")], capture_output=True, text=True, check=True, timeout=100).stdout
    assert len(re.findall(r"^\t\tcpu@", tree, re.MULTILINE)) == board_named(name).max_cpus
    assert 'compatible = "xen,domain"' in tree and tree.count('"multiboot,module') + tree.count("multiboot,module") >= 3


def test_what_is_said_of_an_emulated_machine_is_of_that_alone(tmp_path: Path) -> None:
    """QEMU's model gets the CPUs and the memory; the board's files are for those that the board has."""
    made(tmp_path)
    (tmp_path / "x.toml").write_text('[machine]\ncpus = 3\nmemory = "1 GiB"\n' + TEXT)
    deployment = plan.find(str(tmp_path / "x.toml"))
    emulated, own = (plan.machine_for(deployment, "zcu102", hardware=hardware) for hardware in (False, True))
    assert (emulated.cpus, emulated.memory_mib, own.cpus, own.memory_mib) == (3, 1024, 4, 4096)
    with pytest.raises(ToolError, match="machine.memory is for emulated machines, and arndale is none: leave the line out"):
        plan.machine_for(deployment, "arndale", hardware=True)


def test_two_checkouts_make_the_same_bytes(built_board: str, tmp_path: Path) -> None:
    """The hypervisor, a guest, the first stage and all that is made of them, in another directory."""
    image.make("hello", BOARD, may_build=False)
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for name in ("freestanding", "xenarm", "guests", "boards", "deploy", "configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Kconfig", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, copy / name)
    subprocess.run([sys.executable, "-m", "xenarm.tools.image", "--deploy", "hello"], cwd=copy, check=True, capture_output=True, timeout=350)
    ours, theirs = ROOT / "build" / BOARD, copy / "build" / BOARD
    names = ["xenarm", "xenarm.elf", "flash-stage", "guests/hello", *(f"deploy/hello/{path.name}" for path in (ours / "deploy/hello").iterdir() if path.name[0] != ".")]
    assert len(names) == 12
    for name in names:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
