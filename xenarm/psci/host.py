"""PSCI towards the firmware: start CPUs, turn the machine off, restart it. EL2 always calls by SMC."""

from freestanding import assembly, external, fn, u64

from xenarm.abi.psci import PSCI_64BIT, PSCI_BASE, PsciFunction

__all__ = ["host_cpu_on", "host_system_off", "host_system_reset"]

SYSTEM_OFF = PSCI_BASE + PsciFunction.SYSTEM_OFF
SYSTEM_RESET = PSCI_BASE + PsciFunction.SYSTEM_RESET
CPU_ON_64 = PSCI_BASE + PSCI_64BIT + PsciFunction.CPU_ON

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


@external("host_call")
def host_call(function: u64, a: u64, b: u64, c: u64) -> u64:
    """An SMC to the firmware: function identifier and three arguments; its first result (DEN0028)."""
    raise NotImplementedError("there is no firmware here")


@fn
def host_cpu_on(mpidr: u64, entry: u64, context: u64) -> bool:
    """Start another CPU at a machine address, MMU off, `context` in x0. False: the firmware refuses."""
    return host_call(CPU_ON_64, mpidr, entry, context) == 0


@fn
def host_system_off() -> None:
    """Turn the machine off. Returns only if the firmware cannot."""
    host_call(SYSTEM_OFF, 0, 0, 0)


@fn
def host_system_reset() -> None:
    """Restart the machine. Returns only if the firmware cannot."""
    host_call(SYSTEM_RESET, 0, 0, 0)
