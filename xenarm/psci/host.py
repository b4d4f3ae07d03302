"""PSCI towards the firmware: start CPUs, turn the machine off, restart it. EL2 always calls by SMC."""

from freestanding import Struct, assembly, external, fn, u64, usize, zeroed

from xenarm.abi.psci import PSCI_64BIT, PSCI_BASE, PsciFunction
from xenarm.config import CONFIG
from xenarm.devicetree.reader import NO_NODE, Fdt
from xenarm.devicetree.values import fdt_find_compatible

__all__ = ["host_cpu_on", "host_psci_init", "host_system_off", "host_system_reset"]

SYSTEM_OFF = PSCI_BASE + PsciFunction.SYSTEM_OFF
SYSTEM_RESET = PSCI_BASE + PsciFunction.SYSTEM_RESET
CPU_ON = PSCI_BASE + (PSCI_64BIT if CONFIG.ARM64 else 0) + PsciFunction.CPU_ON

assembly(
    """
    .section .text.host_call, "ax"
    .global host_call
host_call:
    smc #0
    ret
""",
    arch="aarch64",
)
assembly(
    """
    .section .text.host_call, "ax"
    .arch_extension sec
    .global host_call
host_call:
    smc #0
    bx lr
""",
    arch="armv7",
)


@external("host_call")
def host_call(function: usize, a: usize, b: usize, c: usize) -> usize:
    """An SMC to the firmware: function identifier and three arguments; its first result (DEN0028)."""
    raise NotImplementedError("there is no firmware here")


class Firmware(Struct):
    """Whether it has PSCI: without firmware an SMC is undefined, and without PSCI anything may answer it."""

    psci: bool


FIRMWARE = zeroed(Firmware)


@fn
def host_psci_init(fdt: Fdt) -> None:
    """See whether the device tree says that there is PSCI with the function numbers of version 0.2; until then there is none."""
    FIRMWARE.psci = fdt_find_compatible(fdt, b"arm,psci-0.2") != NO_NODE or fdt_find_compatible(fdt, b"arm,psci-1.0") != NO_NODE


@fn
def host_cpu_on(mpidr: u64, entry: u64, context: u64) -> bool:
    """Start another CPU at a machine address, MMU off, `context` in its first register. False: the firmware refuses, or has no PSCI."""
    return FIRMWARE.psci and host_call(CPU_ON, usize(mpidr), usize(entry), usize(context)) == 0


@fn
def host_system_off() -> None:
    """Turn the machine off. Returns only if the firmware cannot."""
    if FIRMWARE.psci:
        host_call(SYSTEM_OFF, 0, 0, 0)


@fn
def host_system_reset() -> None:
    """Restart the machine. Returns only if the firmware cannot."""
    if FIRMWARE.psci:
        host_call(SYSTEM_RESET, 0, 0, 0)
