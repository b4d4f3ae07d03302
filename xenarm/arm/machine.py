"""The machine as a whole: its clock, and its end."""

from freestanding import View, fn, u8, u64

from xenarm.arm.instructions import cpu_relax, instruction_sync, wait_for_event
from xenarm.arm.hw import read_cntfrq_el0, read_cntpct_el0
from xenarm.config import CONFIG
from xenarm.drivers.serial import serial_write
from xenarm.psci.host import host_system_off, host_system_reset
from xenarm.soc.table import soc_off, soc_restart

__all__ = ["arch_counter", "arch_counter_hz", "arch_machine_off", "arch_machine_reset", "cpu_stop"]

PATIENCE_MS = 2000  # a watchdog takes its time


@fn
def arch_counter() -> u64:
    """The physical counter, not read ahead of what came before (Arm ARM D11.1.2)."""
    instruction_sync()
    return read_cntpct_el0()


@fn
def arch_counter_hz() -> u64:
    return read_cntfrq_el0()


@fn
def cpu_stop() -> None:
    """This CPU does nothing more. Does not return."""
    while True:
        wait_for_event()


@fn
def stay(what: View[u8]) -> None:
    """Neither firmware nor SoC has ended the machine. What was said before has been sent. Does not return."""
    end = arch_counter() + arch_counter_hz() * PATIENCE_MS // 1000
    while arch_counter() < end:
        cpu_relax()
    if CONFIG.LOG_LEVEL >= 0:
        serial_write(b"(xenarm) this machine cannot ")
        serial_write(what)
    cpu_stop()


@fn
def arch_machine_off() -> None:
    """Does not return."""
    host_system_off()
    if CONFIG.SOC:
        soc_off()
    stay(b"turn itself off: it can be switched off now\n")


@fn
def arch_machine_reset() -> None:
    """Does not return."""
    host_system_reset()
    if CONFIG.SOC:
        soc_restart()
    stay(b"restart by itself: switch it off and on\n")
