"""Boot layouts: what is refused, and the device tree, read back by dtc."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from boards import board
from tests.boards import beacon
from xenarm.tools import doctor
from xenarm.tools.dtb import Tree
from xenarm.tools.errors import ToolError
from xenarm.tools.layout import check_regions, compose
from xenarm.tools.machine import MIB, DomainSpec, Machine, ModuleKind, ModuleSpec, Region
from xenarm.tools.session import booted

VIRT = board("qemu-virt-arm64")


@pytest.fixture(autouse=True, scope="module")
def programs() -> None:
    """QEMU and dtc."""
    doctor.provide("test")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Something that QEMU takes for a kernel."""
    path = tmp_path / "hypervisor"
    path.write_bytes(beacon.image())
    return path


def machine(image: Path, *domains: DomainSpec, cpus: int = 1, memory_mib: int = 512) -> Machine:
    return Machine(VIRT, image, domains, cpus, memory_mib, bootargs="console=dtuart")


def two_modules(tmp_path: Path) -> DomainSpec:
    (tmp_path / "ramdisk").write_bytes(b"r" * 5000)
    kernel = beacon.kernel(tmp_path)
    modules = (ModuleSpec(kernel.kind, kernel.path, "quiet"), ModuleSpec(ModuleKind.RAMDISK, tmp_path / "ramdisk"))
    return DomainSpec("guest", 0x1_0000_0000, modules, cpus=3)


def source(blob: bytes) -> str:
    """A blob as dtc prints it; dtc also checks it."""
    run = subprocess.run(["dtc", "-I", "dtb", "-O", "dts", "-q", "-"], input=blob, capture_output=True, check=True, timeout=100)
    return run.stdout.decode()


def test_a_domain_is_described_by_xens_bindings(image: Path, tmp_path: Path) -> None:
    text = source(compose(machine(image, two_modules(tmp_path))).dtb)
    chosen = " ".join(text[text.index("chosen {") :].split())
    assert 'xen,xen-bootargs = "console=dtuart";' in chosen
    assert 'guest { compatible = "xen,domain"; #address-cells = <0x02>; #size-cells = <0x02>;' in chosen
    assert "memory = <0x01 0x00>; cpus = <0x03>; vpl011;" in chosen
    assert (
        'module@48200000 { compatible = "multiboot,kernel\\0multiboot,module"; reg = <0x00 0x48200000 0x00 0x80>; '
        'bootargs = "quiet"; }' in chosen
    )
    assert 'module@48400000 { compatible = "multiboot,ramdisk\\0multiboot,module"; reg = <0x00 0x48400000 0x00 0x1388>;' in chosen


def test_the_boards_own_nodes_survive(image: Path) -> None:
    blob = compose(machine(image)).dtb
    text = source(blob)
    assert 'compatible = "linux,dummy-virt"' in text and "pl011@9000000" in text
    assert "seed" not in text
    assert compose(machine(image)).dtb == blob


def test_qemu_puts_things_where_the_layout_says(image: Path, tmp_path: Path) -> None:
    layout = compose(machine(image, two_modules(tmp_path)))
    with booted(layout, "layout", paused=True) as session:
        # The boot code: ldr x0 takes the device tree's address from here, ldr x4 the image's.
        words = session.qemu.monitor("xp /4xw 0x40000018").split(":")[1].split()
        assert [int(word, 16) for word in words] == [layout.device_tree.base, 0, layout.hypervisor.base, 0]
        ramdisk = session.qemu.monitor("xp /1xw 0x48400000").split(":")[1]
        assert int(ramdisk, 16) == int.from_bytes(b"rrrr", "little")


@pytest.mark.parametrize("memory_mib", [128, 256, 2048])
def test_the_device_trees_place_follows_the_memory(image: Path, memory_mib: int) -> None:
    layout = compose(machine(image, memory_mib=memory_mib))
    with booted(layout, f"layout-{memory_mib}", paused=True) as session:
        word = session.qemu.monitor("xp /1xw 0x40000018").split(":")[1]
        assert int(word, 16) == layout.device_tree.base


def test_what_does_not_fit_is_named(image: Path, tmp_path: Path) -> None:
    domain = DomainSpec("guest", 64 * 1024, (beacon.kernel(tmp_path),))
    with pytest.raises(ToolError, match="module beacon.Image of domain guest .* does not fit into RAM .*MEM="):
        compose(machine(image, domain, memory_mib=6))


def test_overlaps_are_named() -> None:
    ram = Region("RAM", 0, 64 * MIB)
    with pytest.raises(ToolError, match=r"b \[0xfff, 0x1fff\) overlaps a \[0x0, 0x1000\)"):
        check_regions([Region("a", 0, 0x1000), Region("b", 0xFFF, 0x1000)], ram)
    check_regions([Region("a", 0, 0x1000), Region("b", 0x1000, 0x1000)], ram)


def test_a_file_that_is_not_there_is_named(image: Path, tmp_path: Path) -> None:
    missing = ModuleSpec(ModuleKind.KERNEL, tmp_path / "nosuch")
    with pytest.raises(ToolError, match="cannot read .*nosuch: No such file"):
        compose(machine(image, DomainSpec("guest", 1024, (missing,))))


def test_an_image_without_a_header_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no image " * 20)
    with pytest.raises(ToolError, match="text is no arm64 Image"):
        compose(machine(tmp_path / "text"))


def test_more_cpus_than_the_board_has(image: Path) -> None:
    with pytest.raises(ToolError, match="at most 8 CPUs, not 9"):
        compose(machine(image, cpus=9))


def test_empty_strings_and_reservations_survive(image: Path) -> None:
    tree = Tree(compose(machine(image)).dtb)
    tree.set_strings("/chosen", "bootargs", "")
    tree.reserve(0x1234000, 0x1000)
    again = Tree(tree.blob())
    again.reserve(0x5678000, 0x1000)
    text = source(again.blob())
    assert 'bootargs = "";' in text or "bootargs = [00];" in text
    assert text.count("/memreserve/") == 2
    assert "/memreserve/" not in source(Tree(compose(machine(image)).dtb).blob())


def test_a_damaged_tree_is_one_error() -> None:
    with pytest.raises(ToolError, match="device tree cannot be read"):
        Tree(b"\0" * 64)
