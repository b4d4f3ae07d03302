"""PSCI as a guest calls it (Arm DEN0022), by HVC or SMC as the device tree says."""

from freestanding import Struct, assembly, external, fn, u32, u64, zeroed
from xenarm.abi.psci import PSCI_64BIT, PSCI_BASE, PsciFunction
from xenarm.arm64.instructions import wait_for_event
from xenarm.devicetree.reader import NO_NODE, Fdt
from xenarm.devicetree.values import fdt_find, fdt_string

__all__ = ["psci_affinity_info", "psci_cpu_on", "psci_init", "psci_system_off", "psci_system_reset", "psci_version"]

assembly(
    """
    .section .text.psci_calls, "ax"
    .global psci_hvc
psci_hvc:
    hvc #0
    ret
    .global psci_smc
psci_smc:
    smc #0
    ret
""",
    arch="aarch64",
)


class Conduit(Struct):
    smc: bool


CONDUIT = zeroed(Conduit)


@external("psci_hvc")
def psci_hvc(function: u64, a: u64, b: u64, c: u64) -> u64:
    raise NotImplementedError("there is no hypervisor here")


@external("psci_smc")
def psci_smc(function: u64, a: u64, b: u64, c: u64) -> u64:
    raise NotImplementedError("there is no firmware here")


@fn
def psci_init(fdt: Fdt) -> None:
    """Which instruction calls; HVC when the tree does not say."""
    node = fdt_find(fdt, b"/psci")
    if node != NO_NODE:
        sound, method = fdt_string(fdt, node, b"method")
        CONDUIT.smc = sound and method.equals(b"smc")


@fn
def call(function: u32, a: u64, b: u64, c: u64) -> u64:
    return psci_smc(u64(function), a, b, c) if CONDUIT.smc else psci_hvc(u64(function), a, b, c)


@fn
def psci_version() -> u32:
    """The major version in the upper half, the minor in the lower."""
    return u32(call(PSCI_BASE + PsciFunction.VERSION, 0, 0, 0) & 0xFFFF_FFFF)


@fn
def psci_cpu_on(mpidr: u64, entry: u64, context: u64) -> u64:
    """Start a CPU at a physical address with `context` in its x0; the call's status."""
    return call(PSCI_BASE + PSCI_64BIT + PsciFunction.CPU_ON, mpidr, entry, context)


@fn
def psci_affinity_info(mpidr: u64) -> u64:
    """0: on, 1: off, 2: on its way; otherwise an error."""
    return call(PSCI_BASE + PSCI_64BIT + PsciFunction.AFFINITY_INFO, mpidr, 0, 0)


@fn
def stop() -> None:
    while True:
        wait_for_event()


@fn
def psci_system_off() -> None:
    """Does not return."""
    call(PSCI_BASE + PsciFunction.SYSTEM_OFF, 0, 0, 0)
    stop()


@fn
def psci_system_reset() -> None:
    """Does not return."""
    call(PSCI_BASE + PsciFunction.SYSTEM_RESET, 0, 0, 0)
    stop()
