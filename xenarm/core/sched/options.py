"""The boot arguments of the scheduler.

Options have Xen's names: `sched=`, `sched_ratelimit_us=`, `credit2_runqueue=`; and `sched_rr_slice_us=`.
"""

from freestanding import Struct, View, fn, table, u8, u32
from xenarm.config import CONFIG
from xenarm.core.bootargs import bootarg, bootargs_text
from xenarm.core.log import log_warning
from xenarm.core.sched.credit2 import CREDIT2, Grouping
from xenarm.core.sched.rr import RR
from xenarm.core.sched.scheduler import NAMES, sched_name, sched_select
from xenarm.devicetree.reader import Fdt

__all__ = ["number_of", "sched_options"]

LONGEST_RATELIMIT_US = 500_000  # Xen's XEN_SYSCTL_SCHED_RATELIMIT_MAX
SHORTEST_SLICE_US = 100
LONGEST_SLICE_US = 1_000_000
THERE_ARE: View[u8] = " ".join(NAMES).encode()


class RunqueueName(Struct, frozen=True):
    """A value of `credit2_runqueue=`. Xen's `core`, `socket` and `node` are here what they mean on a board: CPU, cluster, all."""

    name: View[u8]
    grouping: Grouping


RUNQUEUE_NAMES = table(
    RunqueueName,
    [
        RunqueueName(name.encode(), grouping)
        for name, grouping in {
            "cpu": Grouping.CPU,
            "core": Grouping.CPU,
            "cluster": Grouping.CLUSTER,
            "socket": Grouping.CLUSTER,
            "node": Grouping.ALL,
            "all": Grouping.ALL,
        }.items()
    ],
)


@fn
def number_of(text: View[u8]) -> tuple[bool, u32]:
    """A decimal number of up to nine digits."""
    value = u32(0)
    for character in text:
        if character < 0x30 or character > 0x39 or len(text) > 9:
            return False, 0
        value = value * 10 + u32(character - 0x30)
    return len(text) > 0, value


@fn
def number_option(fdt: Fdt, name: View[u8], least: u32, most: u32) -> tuple[bool, u32]:
    """A number in that range; a warning, and False, when it is none."""
    present, text = bootarg(fdt, name)
    if not present:
        return False, 0
    sound, value = number_of(text)
    if not sound or value < least or value > most:
        log_warning(f"boot argument {name}={text}: ignored; it takes a number from {least} to {most}")
        return False, 0
    return True, value


@fn
def scheduler_option(fdt: Fdt) -> None:
    present, name = bootarg(fdt, b"sched")
    if present and not sched_select(name):
        log_warning(f"boot argument sched={name}: there is no such scheduler; there are {THERE_ARE}; {sched_name()} is taken")


@fn
def runqueue_option(fdt: Fdt) -> None:
    present, name = bootarg(fdt, b"credit2_runqueue")
    if not present:
        return
    for row in RUNQUEUE_NAMES:
        if row.name.equals(name):
            CREDIT2.grouping = row.grouping
            return
    log_warning(f"boot argument credit2_runqueue={name}: ignored; it takes cpu, cluster or all")


@fn
def sched_options(fdt: Fdt) -> None:
    """Apply the boot arguments, before `sched_init`. What is wrong with one is said, and the default is taken."""
    if len(bootargs_text(fdt)) == 0:
        return
    scheduler_option(fdt)
    if CONFIG.SCHED_CREDIT2:
        runqueue_option(fdt)
        present, value = number_option(fdt, b"sched_ratelimit_us", 0, LONGEST_RATELIMIT_US)
        if present:
            CREDIT2.ratelimit_us = value
    if CONFIG.SCHED_RR:
        present, value = number_option(fdt, b"sched_rr_slice_us", SHORTEST_SLICE_US, LONGEST_SLICE_US)
        if present:
            RR.slice_us = value
