"""Deployments: what their files say, each mistake by its line, and the machine that comes of one."""

from __future__ import annotations

import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from boards import board
from tests.boards import beacon
from xenarm.tools import doctor
from xenarm.tools.deployment import Deployment, plan, schema
from xenarm.tools.deployment.toml_file import key_lines, paths
from xenarm.tools.errors import ToolError
from xenarm.tools.layout import compose
from xenarm.tools.machine import MIB
from xenarm.tools.paths import ROOT

BOARD = "qemu-virt-arm64"

WHOLE = """\
description = "everything there is"

[machine]
memory = "1 GiB"
cpus = 4

[hypervisor]
scheduler = "credit2"
bootargs = "loglvl=info"

[domain.alpha]
kernel = "alpha.Image"
ramdisk = "ramdisk"
bootargs = \"\"\"console=ttyAMA0 \\
  quiet\"\"\"
memory = "64 MiB"
cpus = 2
mpidr-levels = [4, 2]
weight = 512
windows = [
  [0, 0, 5000],
  [1, 5000, 100],
]
on-crash = "restart"
gic = 2
static-memory = [[0x4820_0000, "64 MiB"]]
direct-map = true

[domain.alpha.vcpu.1]
affinity = "1,3"
extratime = false

[domain.beta]
kernel = "beta.Image"
memory = "32 MiB"
console = "pl011"
enhanced = "enabled"

[shared-memory.mail]
size = "1 MiB"
guest-address = 0x7000_0000
domains = ["alpha", "beta"]
owner = "beta"

[event-channel.bell]
ends = ["alpha:3", "beta:4"]
"""


@pytest.fixture(autouse=True, scope="module")
def programs() -> None:
    """QEMU and dtc."""
    doctor.provide("test")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with two kernels and a RAM disk."""
    beacon.kernel(tmp_path, "alpha")
    beacon.kernel(tmp_path, "beta")
    (tmp_path / "ramdisk").write_bytes(b"r" * 5000)
    return tmp_path


def written(directory: Path, text: str, name: str = "x.toml") -> Path:
    (directory / name).write_text(text)
    return directory / name


def read(directory: Path, text: str, name: str = "x.toml") -> Deployment:
    return plan.find(str(written(directory, text, name)))


def refusal(directory: Path, text: str, board_name: str = BOARD, name: str = "x.toml") -> str:
    """The one error of a deployment, less the directory."""
    with pytest.raises(ToolError) as caught:
        plan.check(read(directory, text, name), board(board_name))
    return str(caught.value).replace(f"{directory}/", "")


def test_every_key_has_its_line() -> None:
    lines = key_lines(WHOLE)
    assert set(lines) == set(paths(tomllib.loads(WHOLE)))
    text = WHOLE.splitlines()
    for path, line in lines.items():
        assert path[-1] in text[line - 1], f"{path} is not in line {line}"
    assert text[lines["domain", "alpha", "on-crash"] - 1] == 'on-crash = "restart"'
    assert lines["domain", "alpha", "windows"] == text.index("windows = [") + 1


def host_tree(directory: Path, deployment: Deployment) -> str:
    """The host tree's /chosen, as dtc prints it."""
    machine = plan.machine_for(deployment, BOARD)
    image = directory / "hypervisor"
    image.write_bytes(beacon.image())
    blob = compose(plan.replace(machine, hypervisor=image)).dtb
    text = subprocess.run(["dtc", "-I", "dtb", "-O", "dts", "-q", "-"], input=blob, capture_output=True, check=True, timeout=100).stdout.decode()
    return " ".join(text[text.index("chosen {") :].split())


def test_a_whole_deployment_becomes_a_host_tree(files: Path) -> None:
    deployment = read(files, WHOLE)
    chosen = host_tree(files, deployment)
    assert 'xen,xen-bootargs = "sched=credit2 loglvl=info";' in chosen
    assert 'alpha { compatible = "xen,domain"; #address-cells = <0x02>; #size-cells = <0x02>; memory = <0x00 0x10000>; cpus = <0x02>; vpl011;' in chosen
    assert "xenarm,mpidr-levels = <0x04 0x02>;" in chosen
    assert "xen,sched-weight = <0x200>;" in chosen and 'xenarm,on-crash = "restart"; xenarm,gic-version = <0x02>;' in chosen
    assert "xen,arinc653-windows = <0x00 0x00 0x1388 0x01 0x1388 0x64>;" in chosen
    assert "xen,static-mem = <0x00 0x48200000 0x00 0x4000000>; direct-map;" in chosen
    assert 'vcpu1 { compatible = "xen,vcpu"; id = <0x01>; hard-affinity = "1,3"; xen,sched-extratime = <0x00>; };' in chosen
    assert 'bootargs = "console=ttyAMA0 quiet";' in chosen
    assert 'vpl011 = "arm,pl011"; ' in chosen and 'xen,enhanced = "enabled";' in chosen
    assert 'xen,shm-id = "mail"; xen,shared-mem = <0x00 0x70000000 0x00 0x100000>; role = "borrower";' in chosen
    assert 'evtchn@3 { compatible = "xen,evtchn-v1"; xen,evtchn = <0x03 0x7e000001>; phandle = <0x7e000000>; };' in chosen
    assert 'evtchn@4 { compatible = "xen,evtchn-v1"; xen,evtchn = <0x04 0x7e000000>; phandle = <0x7e000001>; };' in chosen


def test_modules_keep_off_static_memory(files: Path) -> None:
    """The first free place after the tree is alpha's static memory."""
    chosen = host_tree(files, read(files, WHOLE))
    assert "module@4c200000" in chosen and "module@48200000" not in chosen


def test_32_bit_guests_are_built_for_the_32_bit_board(files: Path) -> None:
    deployment = read(files, '[domain.a]\nkernel = "guest32:hello"\nmemory = "32 MiB"\n[domain.b]\nkernel = "guest:hello"\nmemory = "32 MiB"\n')
    assert plan.guests_of(deployment, BOARD) == (("qemu-virt-arm32", "hello"), ("qemu-virt-arm64", "hello"))
    kernels = [domain.modules[0].path.parent.parent.name for domain in plan.machine_for(deployment, BOARD).domains]
    assert kernels == ["qemu-virt-arm32", "qemu-virt-arm64"]


def test_memory_follows_from_the_domains(files: Path) -> None:
    small = read(files, '[domain.a]\nkernel = "alpha.Image"\nmemory = "64 MiB"\n')
    large = read(files, '[domain.a]\nkernel = "alpha.Image"\nmemory = "2 GiB"\n')
    assert plan.machine_for(small, BOARD).memory_mib == 1024
    assert plan.machine_for(large, BOARD).memory_mib == 2304
    assert "memory = <0x00 0x200000>;" in host_tree(files, large)


DOMAIN = '[domain.a]\nkernel = "alpha.Image"\nmemory = "64 MiB"\n'

MISTAKES = {
    "no toml": ("[domain.a\n", "x.toml:1: this is no TOML (Expected ']' at the end of a table declaration): see https://toml.io"),
    "no domain": ("", "x.toml: there is no domain: begin one with [domain.NAME]"),
    "key": (DOMAIN + 'memroy = "1 MiB"\n', "x.toml:4: unknown key 'memroy' in [domain.a]; did you mean 'memory'?"),
    "table": ("[machines]\n" + DOMAIN, "x.toml:1: unknown key 'machines'; did you mean 'machine'?"),
    "far key": ("[machine]\n\ncolour = 1\n" + DOMAIN, "x.toml:3: unknown key 'colour' in [machine]; the keys there are: memory, cpus, gic, device-tree"),
    "no kernel": ('# a\n[domain.a]\nmemory = "64 MiB"\n', 'x.toml:2: [domain.a] has no kernel: a file, `"guest:NAME"` of guests/, or `"debian:kernel"`; with `guest32`, `debian32` for 32 bits'),
    "type": (DOMAIN + 'cpus = "2"\n', "x.toml:4: cpus takes a whole number from 1 to 512, without quotes"),
    "levels": (DOMAIN + "mpidr-levels = [6]\n", "x.toml:4: mpidr-levels takes a list of one to three powers of two up to 256, such as [4] or [64, 2, 2]"),
    "bool": (DOMAIN + "cpus = true\n", "x.toml:4: cpus takes a whole number from 1 to 512, without quotes"),
    "size": ('[domain.a]\nkernel = "alpha.Image"\nmemory = 64\n', 'x.toml:3: memory takes a size with its unit: "64 KiB", "256 MiB", "2 GiB"'),
    "choice": (DOMAIN + 'console = "hvc"\n', 'x.toml:4: console takes one of: "sbsa", "pl011", "none"'),
    "rows": (DOMAIN + "static-memory = [1]\n", 'x.toml:4: static-memory takes a list such as [[0x5000_0000, "64 MiB"]]'),
    "file": (DOMAIN + 'ramdisk = "nosuch"\n', "x.toml:4: there is no file nosuch: correct the name, relative to "),
    "guest": ('[domain.a]\nkernel = "guest:bye"\nmemory = "1 MiB"\n', "x.toml:2: there is no guest 'bye'; the guests are: bench, "),
    "gzip": ('[domain.a]\nkernel = "packed"\nmemory = "64 MiB"\n', "x.toml:2: packed is not an arm64 Image: it is compressed: unpack it with gunzip"),
    "text": ('[domain.a]\nkernel = "ramdisk"\nmemory = "64 MiB"\n', "x.toml:2: ramdisk is not an arm64 Image: take the one for this architecture"),
    "too big": (
        '[domain.a]\nkernel = "big"\nramdisk = "ramdisk"\nmemory = "8 MiB"\n',
        "x.toml:4: kernel and RAM disk of a take 9.0 MiB and its memory is 8 MiB: raise it",
    ),
    "null": (
        "[machine]\ncpus = 1\n" + DOMAIN + "cpus = 2\n",
        "x.toml: 2 virtual CPUs for 1 CPUs, and under 'null' each has one of its own: give hypervisor.scheduler, such as \"credit2\", or fewer cpus",
    ),
    "cpus": ("[machine]\ncpus = 9\n" + DOMAIN, "x.toml:2: qemu-virt-arm64 has at most 8 CPUs, not 9"),
    "vcpu": (DOMAIN + '[domain.a.vcpu.1]\naffinity = "0"\n', "x.toml:4: domain a has no vCPU '1': its 1 are numbered from 0"),
    "memory": (
        '[machine]\nmemory = "128 MiB"\n[domain.a]\nkernel = "alpha.Image"\nmemory = "128 MiB"\n',
        "x.toml:2: the domains' memory and their modules (2 MiB) come to 134 MiB and the machine has 128: give it more (machine.memory), or the domains less",
    ),
    "overlap": (
        DOMAIN + 'static-memory = [[0x4600_0000, "64 MiB"]]\n',
        "x.toml:4: static memory of domain a [0x46000000, 0x4a000000) overlaps the device tree [0x48000000, 0x48200000): choose another address",
    ),
    "two overlap": (
        DOMAIN.replace("a]", "b]") + 'static-memory = [[0x5000_0000, "64 MiB"]]\n' + DOMAIN + 'static-memory = [[0x5300_0000, "64 MiB"]]\n',
        "x.toml:8: static memory of domain a [0x53000000, 0x57000000) overlaps static memory of domain b [0x50000000, 0x54000000): choose another address",
    ),
    "outside": (
        "[machine]\nmemory = \"1 GiB\"\n" + DOMAIN + 'static-memory = [[0x9000_0000, "64 MiB"]]\n',
        "x.toml:6: static memory of domain a [0x90000000, 0x94000000) is not inside RAM [0x40000000, 0x80000000): correct the address, or raise machine.memory",
    ),
    "static size": (DOMAIN + 'static-memory = [[0x5000_0000, "32 MiB"]]\n', "x.toml:4: static-memory comes to 32768 KiB and memory is 65536 KiB: make them the same"),
    "direct": (DOMAIN + "direct-map = true\n", "x.toml:4: direct-map needs static-memory: say where the domain's RAM lies"),
    "gic 3": (DOMAIN + "gic = 3\n", "x.toml:4: a is to see a GICv3, and the machine has a GICv2: leave the line out, or give machine.gic = 3"),
    "gic 2": (
        "[machine]\ngic = 3\n" + DOMAIN + "gic = 2\n",
        "x.toml:6: a is to see a GICv2, and QEMU's GICv3 has no CPU interface for a GICv2: leave the line out, or give machine.gic = 2",
    ),
    "no gic": (DOMAIN + "gic = 4\n", "x.toml:4: gic takes one of: 2, 3"),
    "board": ('boards = ["zcu102"]\n' + DOMAIN, "x.toml:1: this deployment is for zcu102, not for qemu-virt-arm64: name the board (board=), or add it here"),
    "end": (DOMAIN + '[event-channel.e]\nends = ["a:1", "b:1"]\n', "x.toml:5: 'b:1' is no end: write a domain's name, a colon and a port from 1"),
    "shared": (
        DOMAIN + '[shared-memory.m]\nsize = "4 KiB"\nguest-address = 0x70000000\ndomains = ["c"]\n',
        "x.toml:4: 'c' is none of its domains: give the name of a [domain.NAME] that has it",
    ),
    "name": (DOMAIN.replace("domain.a", 'domain."a b"'), "x.toml:1: 'a b' is no name: begin with a letter, go on with letters, digits, - and _, at most 31"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_with_its_place_and_remedy(files: Path, name: str) -> None:
    (files / "packed").write_bytes(b"\x1f\x8b" + bytes(100))
    (files / "big").write_bytes(beacon.image(image_size=9 * MIB))
    text, expected = MISTAKES[name]
    said = refusal(files, text)
    assert said.startswith(expected) and "\n" not in said


def test_a_zimage_is_no_kernel_for_nobody(files: Path) -> None:
    zimage = bytearray(64)
    struct.pack_into("<I", zimage, 36, 0x016F_2818)
    (files / "z").write_bytes(zimage)
    text = '[domain.a]\nkernel = "z"\nmemory = "64 MiB"\n'
    plan.check(read(files, text), board("qemu-virt-arm32"))
    assert "beta.Image is not a zImage" in refusal(files, text.replace('"z"', '"beta.Image"'), "qemu-virt-arm32")


def test_what_is_for_emulated_machines_is_refused_for_others(files: Path) -> None:
    said = refusal(files, '[machine]\nmemory = "1 GiB"\n' + DOMAIN, "xgene")
    assert said == "x.toml:2: machine.memory is for emulated machines, and xgene is none: leave the line out"
    assert "is not inside RAM [0x100000000, 0x180000000)" in refusal(files, DOMAIN + 'static-memory = [[0x5000_0000, "64 MiB"]]\n', "xgene")


IMAGEBUILDER = """\
MEMORY_START="0x40000000"
MEMORY_END="0x80000000"
# a comment
XEN="xen"
XEN_CMD="console=dtuart dtuart=serial0 sched=rr"
DOM0_KERNEL="Image-dom0"

NUM_DOMUS=2
DOMU_KERNEL[0]="alpha.Image"
DOMU_RAMDISK[0]="ramdisk"
DOMU_CMD[0]="console=ttyAMA0 root=/dev/ram0"
DOMU_MEM[0]=64
DOMU_VCPUS[0]=2
DOMU_KERNEL[1]="beta.Image"
DOMU_STATIC_MEM[1]="0x50000000 0x4000000"
DOMU_PASSTHROUGH_DTB[1]="net.dtb"
DOMU_FROBNICATE[1]=1

UBOOT_SOURCE="boot.source"
UBOOT_SCRIPT="xen.scr"
"""


def test_imagebuilders_configuration_is_taken_as_it_is(files: Path) -> None:
    deployment = read(files, IMAGEBUILDER, "config")
    assert (deployment.script_source, deployment.script, deployment.memory_mib) == ("boot.source", "xen.scr", 1024)
    said = [note.rpartition("/")[2] for note in deployment.notes]
    assert said == [
        "config:4: XEN has no effect: xenarm's own image is taken",
        "config:6: DOM0_KERNEL has no effect: there is no dom0: describe it as a domain",
        "config:16: DOMU_PASSTHROUGH_DTB has no effect: devices are not passed through yet",
        "config:17: DOMU_FROBNICATE is not known, and has no effect",
    ]
    chosen = host_tree(files, deployment)
    assert 'xen,xen-bootargs = "sched=rr console=dtuart dtuart=serial0";' in chosen
    assert "domU0 { " in chosen and "memory = <0x00 0x10000>; cpus = <0x02>; vpl011;" in chosen
    assert 'bootargs = "console=ttyAMA0 root=/dev/ram0";' in chosen
    assert "xen,static-mem = <0x00 0x50000000 0x00 0x4000000>; direct-map;" in chosen
    assert 'bootargs = "console=ttyAMA0";' in chosen


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("NUM_DOMUS=2", "NUM_DOMUS=3", "config:8: NUM_DOMUS counts a domain without DOMU_KERNEL[2]: add it, or lower NUM_DOMUS"),
        ("NUM_DOMUS=2", "NUM_DOMUS=0", "config:8: NUM_DOMUS is 0: xenarm starts the domains of DOMU_KERNEL[0] and so on, and needs 1 to 64"),
        ("DOMU_MEM[0]=64", "DOMU_MEM[0]=lots", "config:12: DOMU_MEM takes a number, not 'lots'"),
        ("DOMU_MEM[0]=64", "DOMU_MEM[0]=$((32 * 2))", "config:12: DOMU_MEM is made by the shell, which is not run: write its value out"),
        ("DOMU_MEM[0]=64", 'DOMU_MEM[0]="$SIZE"', "config:12: DOMU_MEM is made by the shell, which is not run: write its value out"),
        ('"0x80000000"', '"0x4000"', "config:2: MEMORY_END is not a whole number of MiB above MEMORY_START"),
        ('"alpha.Image"', '"gamma.Image"', "config:9: there is no file gamma.Image: correct the name"),
        ("DOMU_MEM[0]=64", "DOMU_NOBOOT[0]=1", "config:12: DOMU_NOBOOT leaves a domain to dom0's tools"),
        ('="xen"', '="xen', "config:4: a quote is not closed"),
        ("0x50000000 0x4000000", "0x50000000", "config:15: DOMU_STATIC_MEM takes pairs of address and size, multiples of 4 KiB"),
    ],
)
def test_a_mistake_in_imagebuilders_format_too(files: Path, before: str, after: str, expected: str) -> None:
    text = IMAGEBUILDER.replace(before, after, 1)
    if "quote" in expected:
        text = text.replace('"', "", text.count('"')).replace("XEN=xen", 'XEN="xen', 1)
    assert refusal(files, text, name="config").startswith(expected)


def test_an_unknown_deployment_is_named_with_those_there_are() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "xenarm.tools.deploy", "--deploy", "nosuch", "--no-build"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    assert result.returncode == 1
    assert result.stderr == "error: there is no deployment 'nosuch' (deploy/nosuch.toml); those in deploy/ are: hello, pair\n"


@pytest.mark.parametrize("path", sorted(plan.DEPLOYMENTS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_deployments_of_the_tree_are_sound(path: Path) -> None:
    for name in ("qemu-virt-arm64", "qemu-virt-arm32"):
        plan.check(plan.find(str(path)), board(name))


def test_the_manual_has_every_key() -> None:
    text = (ROOT / "docs" / "deployments.md").read_text()
    for table, keys in schema.TABLES.items():
        for name, key in keys.items():
            assert f"| `{name}` | {key.meaning} |" in text, f"{table}: {name}"
