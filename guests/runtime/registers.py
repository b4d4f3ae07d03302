"""The registers that the guests use, of the architecture that the configuration names, under AArch64's names."""

from typing import Any

from freestanding import fn, operation, u64
from xenarm.config import CONFIG

if CONFIG.ARM64:
    from xenarm.arm64.registers import TimerControl, read_cntfrq_el0, read_midr_el1, read_mpidr_el1, reader, writer

    NAMES = {name: name for name in ("cntvct_el0", "tpidr_el1", "tpidr_el0", "cntv_ctl_el0", "cntv_cval_el0")}
else:
    from xenarm.arm32.registers import TimerControl, read_cntfrq_el0, read_midr_el1, read_mpidr_el1, reader, writer

    NAMES = {
        "cntvct_el0": "cntvct",
        "tpidr_el1": "tpidrprw",
        "tpidr_el0": "tpidrurw",
        "cntv_ctl_el0": "cntv_ctl",
        "cntv_cval_el0": "cntv_cval",
    }

__all__ = [
    "TIMER_COMPATIBLE",
    "TimerControl",
    "failed_check",
    "interrupts_off",
    "interrupts_on",
    "read_cntfrq_el0",
    "read_midr_el1",
    "read_mpidr_el1",
    "register_reader",
    "register_writer",
]

TIMER_COMPATIBLE = b"arm,armv8-timer" if CONFIG.ARM64 else b"arm,armv7-timer"
BRK = 0x3C  # ESR_EL1.EC
EC_SHIFT = 26
UNDEFINED = 1  # the vector that UDF takes in AArch32


def register_reader(name: str) -> Any:
    """The function that reads a register: `() -> u64`."""
    return reader(NAMES[name])


def register_writer(name: str) -> Any:
    return writer(NAMES[name])


def _mask(name: str, aarch64: str, armv7: str) -> Any:
    def model() -> None:
        return None

    model.__name__ = model.__qualname__ = name
    return operation(aarch64=aarch64, armv7=armv7, clobbers=("memory",))(model)


interrupts_on = _mask("interrupts_on", "msr daifclr, #2", "cpsie i")
interrupts_off = _mask("interrupts_off", "msr daifset, #2", "cpsid i")


@fn
def failed_check(vector: u64, syndrome: u64) -> bool:
    """Whether a fault is a check's trap instruction."""
    return syndrome >> EC_SHIFT == BRK if CONFIG.ARM64 else vector == UNDEFINED
