"""PSCI towards the firmware: start CPUs, turn the machine off, restart it. EL2 always calls by SMC."""

from freestanding import Struct, assembly, external, fn, u32, u64, usize, zeroed

from xenarm.abi.psci import PSCI_64BIT, PSCI_BASE, PsciFunction, Smccc
from xenarm.config import CONFIG
from xenarm.devicetree.reader import NO_NODE, Fdt
from xenarm.devicetree.values import fdt_find_compatible, fdt_u32

__all__ = ["host_arch_feature", "host_cpu_on", "host_psci_init", "host_system_off", "host_system_reset", "host_workaround2"]

SYSTEM_OFF = PSCI_BASE + PsciFunction.SYSTEM_OFF
SYSTEM_RESET = PSCI_BASE + PsciFunction.SYSTEM_RESET
VERSION = PSCI_BASE + PsciFunction.VERSION
FEATURES = PSCI_BASE + PsciFunction.FEATURES
PSCI_1_0 = 0x0001_0000
ERRORS = 0x8000_0000
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
    .type host_call, %function
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
    """What its PSCI has; zero without: without firmware an SMC is undefined, and without PSCI anything may answer it."""

    cpu_on: u32  # the function's number, 0 for none
    system: bool  # SYSTEM_OFF and SYSTEM_RESET, from version 0.2 on
    smccc: bool  # and the calls of SMCCC 1.1


FIRMWARE = zeroed(Firmware)


@fn
def host_psci_init(fdt: Fdt) -> None:
    """See what PSCI the device tree says that there is; until then there is none. Version 0.1 has the functions' numbers in its node."""
    FIRMWARE.system = fdt_find_compatible(fdt, b"arm,psci-0.2") != NO_NODE or fdt_find_compatible(fdt, b"arm,psci-1.0") != NO_NODE
    FIRMWARE.cpu_on = u32(CPU_ON) if FIRMWARE.system else 0
    old = fdt_find_compatible(fdt, b"arm,psci")
    if not FIRMWARE.system and old != NO_NODE:
        FIRMWARE.cpu_on = fdt_u32(fdt, old, b"cpu_on", 0)
    FIRMWARE.smccc = FIRMWARE.system and has_smccc()


@fn
def call32(function: usize, argument: usize) -> u64:
    """The 32-bit result of a call."""
    return u64(host_call(function, argument, 0, 0)) & 0xFFFF_FFFF


@fn
def has_smccc() -> bool:
    """By way of PSCI_FEATURES (DEN0028 5.2): older firmware need not survive the question."""
    if call32(VERSION, 0) >= ERRORS or call32(VERSION, 0) < PSCI_1_0 or call32(FEATURES, Smccc.VERSION) >= ERRORS:
        return False
    version = call32(Smccc.VERSION, 0)
    return version >= Smccc.VERSION_1_1 and version < ERRORS


@fn
def host_arch_feature(function: usize) -> u64:
    """What SMCCC_ARCH_FEATURES says of a call on this CPU, as 64 bits; NOT_SUPPORTED64 where it cannot be asked."""
    if not FIRMWARE.smccc:
        return Smccc.NOT_SUPPORTED64
    result = call32(Smccc.ARCH_FEATURES, function)
    return result | 0xFFFF_FFFF_0000_0000 if result >= ERRORS else result


@fn
def host_workaround2(on: bool) -> None:
    """Have the firmware keep this CPU from bypassing stores, or let it. Only where it offers that."""
    host_call(Smccc.ARCH_WORKAROUND_2, usize(1) if on else usize(0), 0, 0)


@fn
def host_cpu_on(mpidr: u64, entry: u64, context: u64) -> bool:
    """Start another CPU at a machine address, MMU off, `context` in its first register. False: the firmware refuses, or has no PSCI."""
    return FIRMWARE.cpu_on != 0 and host_call(usize(FIRMWARE.cpu_on), usize(mpidr), usize(entry), usize(context)) == 0


@fn
def host_system_off() -> None:
    """Turn the machine off. Returns only if the firmware cannot."""
    if FIRMWARE.system:
        host_call(SYSTEM_OFF, 0, 0, 0)


@fn
def host_system_reset() -> None:
    """Restart the machine. Returns only if the firmware cannot."""
    if FIRMWARE.system:
        host_call(SYSTEM_RESET, 0, 0, 0)
