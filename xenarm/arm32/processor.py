"""What each CPU finds out about itself before any guest runs: nothing yet, and guests are offered no workarounds."""

from freestanding import fn, u32, u64

from xenarm.abi.psci import Smccc
from xenarm.devicetree.reader import Fdt

__all__ = ["processor_init", "processors_judge", "processors_prepare", "workaround_for_guests"]


@fn
def processors_prepare(fdt: Fdt) -> None:
    pass


@fn
def processor_init(cpu: u32) -> None:
    pass


@fn
def processors_judge() -> None:
    pass


@fn
def workaround_for_guests(function: u64) -> u64:
    return Smccc.NOT_SUPPORTED64
