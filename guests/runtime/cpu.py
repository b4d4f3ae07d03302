"""What the guests ask of their CPU, beyond the registers."""

from freestanding import fn, u32, u64
from guests.runtime.registers import interrupts_off, interrupts_on, register_reader, register_writer
from xenarm.arm.instructions import instruction_sync
from xenarm.arm64.registers import Reader, Writer

__all__ = [
    "counter",
    "cpu_number",
    "interrupts_off",
    "interrupts_on",
    "read_cntvct_el0",
    "write_cntv_ctl_el0",
    "write_cntv_cval_el0",
]

read_cntvct_el0: Reader = register_reader("cntvct_el0")
read_tpidr_el1: Reader = register_reader("tpidr_el1")
write_cntv_ctl_el0: Writer = register_writer("cntv_ctl_el0")
write_cntv_cval_el0: Writer = register_writer("cntv_cval_el0")


@fn
def counter() -> u64:
    """The virtual counter, not read ahead of what came before."""
    instruction_sync()
    return read_cntvct_el0()


@fn
def cpu_number() -> u32:
    """Which CPU this is, in the order of the device tree; the entry code has put it there."""
    return u32(read_tpidr_el1())
