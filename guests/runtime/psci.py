"""PSCI as a guest calls it (Arm DEN0022), by HVC or SMC as the device tree says."""

from freestanding import Struct, assembly, external, fn, truncate, u32, u64, usize, zeroed
from xenarm.abi.psci import PSCI_64BIT, PSCI_BASE, PsciFunction
from xenarm.arm.instructions import wait_for_event
from xenarm.config import CONFIG
from xenarm.devicetree.reader import NO_NODE, Fdt
from xenarm.devicetree.values import fdt_find, fdt_string

__all__ = ["PSCI_NATIVE", "psci_affinity_info", "psci_cpu_on", "psci_init", "psci_system_off", "psci_system_reset", "psci_version"]

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
assembly(
    """
    .section .text.psci_calls, "ax"
    .arch_extension virt
    .arch_extension sec
    .global psci_hvc
psci_hvc:
    hvc #0
    bx lr
    .global psci_smc
psci_smc:
    smc #0
    bx lr
""",
    arch="armv7",
)


class Conduit(Struct):
    smc: bool


CONDUIT = zeroed(Conduit)
PSCI_NATIVE = PSCI_BASE + (PSCI_64BIT if CONFIG.ARM64 else 0)
"""Of the calls whose arguments are as wide as the CPU's registers."""


@external("psci_hvc")
def call_hvc(function: usize, a: usize, b: usize, c: usize) -> usize:
    raise NotImplementedError("there is no hypervisor here")


@external("psci_smc")
def call_smc(function: usize, a: usize, b: usize, c: usize) -> usize:
    raise NotImplementedError("there is no firmware here")


@fn
def psci_hvc(function: u64, a: u64, b: u64, c: u64) -> u64:
    """A call by HVC, whatever the tree says; arguments lose what a register has no room for."""
    return u64(call_hvc(truncate(usize, function), truncate(usize, a), truncate(usize, b), truncate(usize, c)))


@fn
def psci_smc(function: u64, a: u64, b: u64, c: u64) -> u64:
    return u64(call_smc(truncate(usize, function), truncate(usize, a), truncate(usize, b), truncate(usize, c)))


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
    return call(PSCI_NATIVE + PsciFunction.CPU_ON, mpidr, entry, context)


@fn
def psci_affinity_info(mpidr: u64) -> u64:
    """0: on, 1: off, 2: on its way; otherwise an error."""
    return call(PSCI_NATIVE + PsciFunction.AFFINITY_INFO, mpidr, 0, 0)


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
