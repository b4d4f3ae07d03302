"""What `make doctor` says of device trees: every one that Debian ships without a crash, and each kind of finding with node, property and remedy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from boards import BOARDS as DESCRIPTIONS
from tests.xenarm.trees import compile_source
from xenarm.config import CONFIG
from xenarm.config import ROOT as CHECKOUT
from xenarm.tools import debian, kconfig
from xenarm.tools.layout import source_dtb
from xenarm.tools.paths import BOARDS
from xenarm.tools.tree_checks import Place, Report, examine

PLACE = Place(0x4020_0000, 0x8_0000)


def host(*, chosen: str = 'stdout-path = "/serial@9000000";', memory: str = "reg = <0x40000000 0x40000000>;", more: str = "", gic: str = "", timer: str = "<1 13 4>, <1 14 4>, <1 11 4>, <1 10 4>") -> bytes:
    """A sound machine, but for what a test changes."""
    return compile_source(f"""/dts-v1/;
    / {{ #address-cells = <1>; #size-cells = <1>; interrupt-parent = <&gic>; compatible = "test,board";
        chosen {{ {chosen} }};
        memory@40000000 {{ device_type = "memory"; {memory} }};
        cpus {{ #address-cells = <1>; #size-cells = <0>;
            cpu@0 {{ device_type = "cpu"; reg = <0>; }};
            cpu@1 {{ device_type = "cpu"; reg = <1>; enable-method = "psci"; }};
        }};
        psci {{ compatible = "arm,psci-0.2"; method = "smc"; }};
        timer {{ compatible = "arm,armv8-timer"; interrupts = {timer}; }};
        gic: gic@8000000 {{ compatible = "arm,gic-400"; #interrupt-cells = <3>; interrupt-controller; interrupts = <1 9 4>;
            reg = <0x8000000 0x1000>, <0x8010000 0x2000>, <0x8030000 0x1000>, <0x8040000 0x2000>; {gic} }};
        serial@9000000 {{ compatible = "arm,pl011"; reg = <0x9000000 0x1000>; interrupts = <0 1 4>; }};
        {more}
    }};""")


def found(report: Report) -> list[str]:
    return [str(finding) for finding in report.findings]


def test_a_sound_machine() -> None:
    report = examine(host(), PLACE)
    assert found(report) == []
    assert report.sections["console"] == ["/serial@9000000 (arm,pl011)", "registers at 0x9000000", "interrupt 33"]
    assert report.sections["interrupt controller"][0] == "/gic@8000000: GICv2"
    assert "start by PSCI" in report.sections["CPUs"]
    assert "1048064 KiB are free" in report.sections["memory"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"chosen": ""}, "warning: /chosen: stdout-path: missing; the first port with a driver is used; name the console"),
        ({"chosen": 'stdout-path = "/no";'}, "warning: /chosen: stdout-path: names no node of the tree"),
        ({"chosen": 'stdout-path = "/other";', "more": 'other { compatible = "x,uart"; };'}, "error: /other: compatible: this image has no driver for x,uart"),
        ({"chosen": 'stdout-path = "/other";', "more": 'other { compatible = "cdns,uart-r1p12"; };'}, "cdns,uart-r1p12; CONFIG_UART_CADENCE=y"),
        ({"chosen": 'stdout-path = "/p";', "more": 'p { compatible = "arm,pl011"; };'}, "error: /p: reg: names no registers"),
        ({"memory": "reg = <0x40000000 0>;"}, "error: /memory: reg: has size 0; have the boot loader fill it in"),
        ({"memory": "reg = <0x40000000>;"}, "error: /memory@40000000: reg: makes no sense"),
        ({"memory": "reg = <0x80000000 0x10000000>;"}, "error: the hypervisor's image: load address 0x40200000: not inside the machine's memory"),
        ({"timer": "<1 13 4>, <1 14 4>"}, "warning: /timer: interrupts: entry 2, the virtual timer's, is missing"),
        ({"timer": "<1 13 4>, <1 14 4>, <1 12 4>, <1 10 4>"}, "error: /timer: interrupts: the virtual timer has 28, this image takes 27; CONFIG_PPI_VIRTUAL_TIMER=28"),
        ({"gic": "reg = <0x8000000 0x1000>;"}, "error: /gic@8000000: reg: entry 1, the CPU interface, is missing"),
        ({"gic": 'compatible = "arm,cortex-a9-gic";'}, "error: /gic@8000000: compatible: no interrupt controller that the hypervisor drives (arm,cortex-a9-gic)"),
        ({"gic": "interrupts = <0 9 4>;"}, "error: /gic@8000000: interrupts: no maintenance interrupt"),
    ],
)
def test_what_is_wrong_with_a_machine(changes: dict[str, str], says: str) -> None:
    if "reg =" in changes.get("gic", "") or "compatible" in changes.get("gic", "") or "interrupts" in changes.get("gic", ""):
        blob = host()  # dtc refuses a property twice
        name = changes["gic"].split(" = ")[0]
        source = subprocess.run(["dtc", "-q", "-I", "dtb", "-O", "dts"], input=blob, stdout=subprocess.PIPE, check=True, timeout=100).stdout.decode()
        start = source.index("gic@8000000 {")
        at = source.index(f"{name} = ", start)
        blob = compile_source(source[:at] + changes["gic"] + source[source.index(";", at) + 1 :])
        report = examine(blob, PLACE)
    else:
        report = examine(host(**changes), PLACE)  # type: ignore[arg-type]
    assert any(says in line for line in found(report)), found(report)


@pytest.mark.parametrize(("place", "says"), [(Place(0x4020_1000, 0x8_0000), "not a multiple of 0x200000"), (Place(0x4060_0000, 0x8_0000), "overlaps /reserved-memory/fw@40600000")])
def test_where_the_image_goes(place: Place, says: str) -> None:
    more = "reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges; fw@40600000 { reg = <0x40600000 0x1000>; }; };"
    assert any(says in line for line in found(examine(host(more=more), place)))


def test_what_each_domain_gets() -> None:
    """The hypervisor's own lines, node, property and remedy."""
    domain = """ {name} {{ compatible = "xen,domain"; #address-cells = <1>; #size-cells = <1>; memory = <0 {kib}>; cpus = <{cpus}>; vpl011;
        module@{at:x} {{ compatible = "multiboot,kernel", "multiboot,module"; reg = <{at:#x} 0x1000>; }}; }};"""
    chosen = 'stdout-path = "/serial@9000000";' + domain.format(name="good", kib=65536, cpus=1, at=0x4800_0000)
    chosen += domain.format(name="large", kib=0x1000_0000, cpus=1, at=0x4900_0000) + domain.format(name="none", kib=1024, cpus=0, at=0x4A00_0000)
    chosen += domain.format(name="lost", kib=1024, cpus=1, at=0x9000_0000)
    report = examine(host(chosen=chosen), PLACE)
    assert report.sections["domains"] == ["/chosen/good: 1 CPUs, a GICv2, 65536 KiB of memory (allocated), kernel at 0x48000000, a serial port"]
    lines = found(report)
    assert any(line.startswith("error: /chosen/large: memory asks for 268435456 KiB") and "ask for less" in line for line in lines), lines
    assert "error: /chosen/none: cpus is no number of virtual CPUs; give it as one cell, for one <1>" in lines
    assert any(line.startswith("error: /chosen/lost/module@90000000: reg is not inside the machine's memory; correct") for line in lines), lines


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("<3>", "error: /chosen/d: xenarm,gic-version asks for a GICv3, and the machine has a GICv2; give 2, or leave it out"),
        ("<4>", "error: /chosen/d: xenarm,gic-version is neither 2 nor 3; give one of them in one cell, or leave it out"),
        ("<0 2>", "error: /chosen/d: xenarm,gic-version is neither 2 nor 3; give one of them in one cell, or leave it out"),
    ],
)
def test_a_domains_interrupt_controller(asked: str, says: str) -> None:
    """On a GICv3: gicv2_on_v3_cases.py."""
    domain = f"""d {{ compatible = "xen,domain"; #address-cells = <1>; #size-cells = <1>; memory = <0 65536>; cpus = <1>; xenarm,gic-version = {asked};
        module@48000000 {{ compatible = "multiboot,kernel", "multiboot,module"; reg = <0x48000000 0x1000>; }}; }};"""
    assert found(examine(host(chosen='stdout-path = "/serial@9000000";' + domain), PLACE)) == [says]


def test_what_a_soc_keeps_and_how_its_cpus_start() -> None:
    """An image without the SoC's driver says which symbol brings it."""
    report = examine(source_dtb(BOARDS / "raspi4.dts"))
    assert "/soc/watchdog@fe100000: restarts the machine" in report.sections["kept from guests"]
    assert "start by spin table" in report.sections["CPUs"]
    assert any(line.endswith("; CONFIG_SOC_BCM2711=y") for line in found(report))
    report = examine(source_dtb(BOARDS / "arndale.dts"))
    assert any("/cpus/cpu@1: enable-method: ''" in line for line in found(report))


@pytest.mark.parametrize("damage", [b"", b"\xd0\x0d\xfe\xed", b"MZ" * 100, "cut", "nesting"])
def test_a_damaged_tree_is_one_finding(damage: bytes | str) -> None:
    sound = host()
    blob = damage if isinstance(damage, bytes) else sound[: len(sound) // 2] if damage == "cut" else sound.replace(b"\0\0\0\x02\0\0\0\x02", b"\0\0\0\x02\0\0\0\x09")
    report = examine(blob)
    assert report.errors == 1 and not report.sections and report.findings[0].remedy


def shipped(architecture: str) -> list[Path]:
    """The trees of Debian's kernel package."""
    port = next(port for port in debian.PORTS.values() if port.architecture == architecture)
    debian.fetch(architecture=architecture)
    return sorted((port.directory / architecture / "root" / "usr" / "lib").glob("linux-image-*/**/*.dtb"))


def well_examined(paths: list[Path]) -> int:
    """Every finding is whole, without a crash; how many trees have an interrupt controller and timers as they should be."""
    good = 0
    for path in paths:
        report = examine(path.read_bytes(), PLACE)
        assert report.sections["machine"] and report.sections["memory"], path
        assert all(finding.node and ": " in finding.what and finding.remedy for finding in report.findings), path
        good += not any("interrupt" in finding.what and finding.error for finding in report.findings)
    return good


def test_every_tree_that_debian_ships() -> None:
    """Both architectures' with one image's configuration."""
    paths = [*shipped("arm64"), *shipped("armhf")]
    assert len(paths) > 1400
    assert well_examined(paths) > 400, "most 64-bit boards are as they should be"


IN_32_BITS = """import sys
from tests.xenarm.test_tree_doctor import CONFIG, shipped, well_examined
paths = shipped("armhf")[:: int(sys.argv[1])]
assert CONFIG.ARM32
print(len(paths), well_examined(paths))
"""


def test_32_bit_trees_with_a_32_bit_image(tmp_path: Path) -> None:
    """Every fifth in the suite, all with XENARM_TREES=all (`make test-long`)."""
    step = 1 if os.environ.get("XENARM_TREES") == "all" else 5
    kconfig.changed("qemu-virt-arm32", {}, tmp_path / "config")
    environment = {**os.environ, "XENARM_CONFIG": str(tmp_path / "config")}
    result = subprocess.run([sys.executable, "-c", IN_32_BITS, str(step)], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False, timeout=350)
    assert result.returncode == 0, result.stderr
    looked_at, good = map(int, result.stdout.split())
    assert looked_at * step > 890 and good * step > 150, "a quarter of them have the controller and timers that virtualization needs"


BOARDS_OWN: dict[str, tuple[list[str], list[str]]] = {
    "qemu-virt-arm64": ([], ["interrupt controller", "    restart: by PSCI", "    off: by PSCI"]),
    "qemu-virt-arm32": ([], ["    restart: by PSCI"]),
    "xlnx-versal-virt": ([], ["    restart: by PSCI"]),
    "arndale": ([], ["    start by the SoC's own way (samsung,exynos5250)", "    restart: by the SoC (samsung,exynos5250)"]),
    "colombus": (["/timer: arm,cpu-registers-not-fw-configured"], ["    4", "    start by the SoC's own way (allwinner,sun6i-a31)"]),
    "cubieboard2": ([], ["    start by the SoC's own way (allwinner,sun7i-a20)"]),
    "hip04-d01": (
        [],
        ["    /soc/interrupt-controller@e0c01000: HiP04's interrupt controller", "    restart: nothing does it: switch the machine off and on", "    16"],
    ),
    "lager": (
        [],
        [
            "    [0x180000000, 0x200000000)  2048 MiB",
            *("    restart: by the SoC (renesas,r8a7790)", "    off: nothing does it: switch the machine off"),
            *("    8", "    start by the SoC's own way (renesas,r8a7790)"),
            "    of different kinds: arm,cortex-a15, arm,cortex-a7; a domain has those of the CPU that boots, unless its hard-affinity names others",
        ],
    ),
    "orangepi-pc": ([], ["    restart: by PSCI", "    start by PSCI"]),
    "midway": ([], ["    [0x200000000, 0x500000000)  12288 MiB", "    restart: by the SoC (calxeda,ecx-2000)", "    off: by the SoC (calxeda,ecx-2000)", "    start by PSCI"]),
    "omap5-uevm": ([], ["    start by the SoC's own way (ti,omap5)"]),
    "raspi4": ([], ["    restart: by the SoC (brcm,bcm2711)", "    start by spin table"]),
    "thunderx": ([], ["    48", "    no interrupt that the GIC has: the port is polled, a hundred times a second while it is idle"]),
    "vexpress-a15": ([], ["    off: by the SoC (arm,vexpress)"]),
    "xgene": ([], ["    8", "    start by spin table", "    restart: by the SoC (apm,xgene-storm)"]),
    "zcu102": ([], ["    4", "    start by PSCI"]),
}
"""What `make doctor` says of each board's own tree with its own configuration: findings, none of which is an error, and some of the lines; nothing is found of those that are not here."""


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_the_verb(name: str, tmp_path: Path) -> None:
    findings, lines = BOARDS_OWN.get(name, ([], []))
    command = [sys.executable, "-m", "xenarm.tools.examine", "--board", name]
    result = subprocess.run(command, cwd=CHECKOUT, env={**os.environ, "XENARM_O": str(tmp_path)}, capture_output=True, text=True, check=False, timeout=100)
    assert result.returncode == 0, result.stdout + result.stderr
    said = result.stdout.splitlines()
    assert [line for line in lines if line not in said] == []
    found = [line for line in said if re.match("(error|warning): ", line)]
    assert len(found) == len(findings) and all(line.startswith(f"warning: {finding}") for line, finding in zip(found, findings, strict=True)), found


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("no.dtb", None, "there is no {}: give DTB= a device tree, source or blob"),
        ("directory", "", "{} cannot be read (Is a directory): name a device tree, source or blob"),
        ("README.md", b"# no tree\n", "{0} is no device tree ({0}:1.1-2 syntax error): correct it, or name another, source or blob"),
        ("noise", bytes(range(256)), "{} is no device tree ("),
        ("noise.dtb", b"MZ", "{} is no device tree blob: give DTB= one that dtc made"),
    ],
)
def test_what_is_no_tree_is_one_line(name: str, content: bytes | str | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content == "":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    command = [sys.executable, "-m", "xenarm.tools.examine", "--board", "zcu102", "--dtb", str(path)]
    result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=100)
    assert result.returncode == 1 and not result.stdout
    assert result.stderr.startswith("error: " + says.format(path)) and result.stderr.count("\n") == 1, result.stderr


def test_a_blob_is_one_by_whatever_name(tmp_path: Path) -> None:
    (tmp_path / "fdt").write_bytes(host())
    assert source_dtb(tmp_path / "fdt") == host()
