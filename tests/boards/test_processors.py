"""The hypervisor on each of QEMU's processors: what it says of them, what Debian finds, what happens to a guest that uses what it is not shown."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from boards import board
from guests.firmware import WORKAROUND_INSTRUCTIONS
from tests.boards.test_debian import ask, power_off, shell
from tests.conftest import Boot
from tests.guests.conftest import bench_guest, features_guest, firmware
from xenarm.tools.bench import read_operations
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import KIB, DomainSpec, Machine, ModuleKind, ModuleSpec
from xenarm.tools.run import debian_domain
from xenarm.tools.session import booted

__all__ = ["bench_guest", "features_guest", "firmware"]

SECONDS = 60
NO_FIRMWARE = "vulnerable, firmware offers no workaround"
SAID = {
    "cortex-a53": r"Cortex-A53 r0p4; errata 835769 843419 1530924; Spectre v2: not affected; branch history: not affected; store bypass: not affected",
    "cortex-a57": r"Cortex-A57 r1p0; errata 832075 834220 852523 1319537; "
    rf"Spectre v2: {NO_FIRMWARE}; branch history: vulnerable; store bypass: {NO_FIRMWARE}",
    "cortex-a72": rf"Cortex-A72 r0p3; errata 853709 1319367; Spectre v2: {NO_FIRMWARE}; branch history: vulnerable; store bypass: {NO_FIRMWARE}",
    "cortex-a76": r"Cortex-A76 r4p1; errata none; Spectre v2: not affected; branch history: cleared at each exit; store bypass: off in EL2",
    "neoverse-n1": r"Neoverse-N1 r4p1; errata 1349291; Spectre v2: not affected; branch history: cleared at each exit; store bypass: off in EL2",
    "max": r"another core r0p0; errata none; Spectre v2: not affected; branch history: not affected; store bypass: off in EL2",
}
PLAIN_EXIT = 32  # instructions of a PSCI_VERSION call
LOOP_EXIT = 2 + 24 * 3 + 3  # what 24 turns of the loop add


def guest(name: str, kernel: Path) -> DomainSpec:
    return DomainSpec(name, 64 * KIB, (ModuleSpec(ModuleKind.KERNEL, kernel),))


ARMV8_0 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
ARMV8_2 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
FEATURES = {
    "cortex-a53": ARMV8_0,
    "cortex-a57": ARMV8_0,
    "cortex-a72": ARMV8_0,
    "cortex-a76": ARMV8_2,
    "neoverse-n1": ARMV8_2,
    "max": "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop sha3 sm3 sm4 asimddp sha512 "
    "asimdfhm dit ilrcpc flagm ssbs sb dcpodp flagm2 frint i8mm bf16 dgh rng bti",
}
"""What a program sees: no SVE, SME, pointer authentication (paca, pacg) or memory tagging (mte) on `max`, and all else that there is."""

NOT_AFFECTED = {"meltdown": "Not affected", "spectre_v2": "Not affected", "spec_store_bypass": "Not affected"}
OPEN = {"meltdown": "Not affected", "spectre_v2": "Vulnerable", "spec_store_bypass": "Vulnerable"}
BY_ITSELF = {"meltdown": "Not affected", "spectre_v2": "Mitigation: CSV2, BHB", "spec_store_bypass": "Mitigation: Speculative Store Bypass disabled via prctl"}
VULNERABILITIES = {
    "cortex-a53": NOT_AFFECTED,
    "cortex-a57": OPEN,
    "cortex-a72": OPEN,
    "cortex-a76": BY_ITSELF,
    "neoverse-n1": BY_ITSELF,
    "max": BY_ITSELF | {"spectre_v2": "Mitigation: CSV2, but not BHB"},
}
"""What Debian's kernel makes of CSV2, SSBS, MIDR_EL1 and SMCCC_ARCH_FEATURES. Of a core that it does not know it believes that branch history is a way in, and has nothing against it."""

SPLATS = "SANITY|ndefined|WARNING:|BUG:|Oops"


@pytest.mark.parametrize(("cpu", "gic"), [("cortex-a53", 2), ("cortex-a57", 3), ("cortex-a72", 2), ("cortex-a76", 3), ("neoverse-n1", 2), ("max", 3)])
def test_debian_finds_what_it_is_shown(boot: Boot, xenarm: Hypervisor, cpu: str, gic: int) -> None:
    """The boot says in one line, for CPUs that are all alike, what is in force; Debian's two find the same features, and nothing of what they use is undefined."""
    with boot(xenarm, debian_domain(2), cpus=2, cpu=cpu, gic=gic) as session:
        console = shell(session, xenarm)
        assert re.findall(r"cpu (\d): ([^\r\n]*errata[^\r\n]*)", console.text()) == [("0", SAID[cpu])]
        found = ask(console, "grep Features /proc/cpuinfo | uniq -c", r"2 Features\t: ([^\r]*)\r")
        assert found[1].decode().split() == FEATURES[cpu].split()
        for name, state in VULNERABILITIES[cpu].items():
            ask(console, f"cat /sys/devices/system/cpu/vulnerabilities/{name}", rf"\n{re.escape(state)}\r")
        ask(console, "dmesg | grep -c detected.*EL0", r"\n1\r")  # the log is whole
        ask(console, f"dmesg | grep -Ec '{SPLATS}'", r"\n0\r")
        ask(console, "grep arch_timer /proc/interrupts", r"GICv3 +27" if gic == 3 else r"GIC-0 +27")
        power_off(session, xenarm)


def test_what_guests_are_not_shown_is_undefined(boot: Boot, xenarm: Hypervisor, features_guest: Path) -> None:
    """On `max`, which has nearly all of it."""
    with boot(xenarm, guest("features", features_guest), cpu="max") as session:
        said = session.console.expect(r"features end, (\d+) good, (\d+) bad", SECONDS)
        bad = re.findall(r"features (\S+ BAD: [^\r\n]*)", session.console.text())
        assert not bad and int(said[1]) > 100
        session.wait_off(SECONDS)


@pytest.mark.parametrize(("bootargs", "instructions"), [("", PLAIN_EXIT + LOOP_EXIT), ("spec-ctrl=no", PLAIN_EXIT)])
def test_branch_history_is_cleared_where_the_cpu_needs_it(
    boot: Boot, xenarm: Hypervisor, bench_guest: Path, bootargs: str, instructions: int
) -> None:
    """The loop is in each exit of a Neoverse N1, and no instruction of it when it is not wanted. Cortex-A57's exits are test_bench.py's."""
    chosen = replace(xenarm, bootargs=f"{xenarm.bootargs} bootscrub=0 {bootargs}".strip())
    with boot(chosen, guest("bench", bench_guest), cpu="neoverse-n1", count_instructions=True) as session:
        assert read_operations(session)["psci_version"] == instructions


@pytest.mark.parametrize(("option", "said", "instructions"), [
    ("", "Spectre v2: firmware called at each exit; branch history: cleared at each exit; store bypass: off, by firmware", PLAIN_EXIT + 3 + WORKAROUND_INSTRUCTIONS),
    ("spec-ctrl=no", "Spectre v2: vulnerable, not asked for; branch history: vulnerable; store bypass: vulnerable, not asked for", PLAIN_EXIT),
])
def test_firmware_is_called_where_the_cpu_needs_it(xenarm: Hypervisor, bench_guest: Path, firmware: Path, option: str, said: str, instructions: int) -> None:
    """A Cortex-A57 whose firmware has ARCH_WORKAROUND_1 and 2: in each exit three instructions and the firmware's own."""
    plain = board(xenarm.board)
    machine = Machine(plain, xenarm.image, (guest("bench", bench_guest),), 1, 1024, f"bootscrub=0 {option}".strip(), count_instructions=True)
    layout = compose(machine)  # with the tree of QEMU's own firmware, which says that there is PSCI
    start = ("-bios", str(firmware), "-device", "loader,addr=0x4,cpu-num=0")
    secure = replace(plain, machine=plain.machine.replace("virtualization=on", "virtualization=on,secure=on"))
    layout = replace(layout, machine=replace(machine, board=secure, extra=start))
    with booted(layout, f"firmware-{option or 'asked'}", dtb=layout.dtb) as session:
        session.console.expect(f"Cortex-A57 r1p0; [^;]*; {said}", SECONDS)
        assert read_operations(session)["psci_version"] == instructions
