"""Instructions and registers of EL1 that the guests use, beyond those that they share with the hypervisor."""

from typing import Any

from freestanding import fn, operation, u32, u64
from xenarm.arm64.instructions import instruction_sync
from xenarm.arm64.registers import Reader, Writer, reader, writer

__all__ = [
    "counter",
    "cpu_number",
    "interrupts_off",
    "interrupts_on",
    "read_cntvct_el0",
    "write_cntv_ctl_el0",
    "write_cntv_cval_el0",
]


def _mask(name: str, instruction: str) -> Any:
    def model() -> None:
        return None

    model.__name__ = model.__qualname__ = name
    return operation(aarch64=instruction, clobbers=("memory",))(model)


interrupts_on = _mask("interrupts_on", "msr daifclr, #2")
interrupts_off = _mask("interrupts_off", "msr daifset, #2")

read_cntvct_el0: Reader = reader("cntvct_el0")
read_tpidr_el1: Reader = reader("tpidr_el1")
write_cntv_ctl_el0: Writer = writer("cntv_ctl_el0")
write_cntv_cval_el0: Writer = writer("cntv_cval_el0")


@fn
def counter() -> u64:
    """The virtual counter, not read ahead of what came before."""
    instruction_sync()
    return read_cntvct_el0()


@fn
def cpu_number() -> u32:
    """Which CPU this is, in the order of the device tree; the entry code has put it there."""
    return u32(read_tpidr_el1())
