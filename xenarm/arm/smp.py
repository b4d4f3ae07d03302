"""Starting the other CPUs: found in the device tree, turned on by PSCI, out of a spin table or in the SoC's own way, each at its own stack."""

from freestanding import IntEnum, View, export, fn, linker_symbol, truncate, u8, u32, u64, usize

from xenarm.abi.affinity import MPIDR_AFFINITY
from xenarm.arm.handover import ALONE, handover
from xenarm.arm.instructions import cpu_relax, data_sync_all, send_event, wait_for_event
from xenarm.arm.machine import arch_counter, arch_counter_hz
from xenarm.arm.mmu import cache_line, image_physical
from xenarm.arm.hw import read_midr_el1, read_mpidr_el1
from xenarm.arm.run import cpu_run
from xenarm.arm.vcpu import CPUS
from xenarm.arm.variant import processor_init, vectors_choose
from xenarm.arm.window import slot_claim
from xenarm.config import CONFIG
from xenarm.core.domain import MAX_CPUS, SLOTS
from xenarm.core.log import log_warning
from xenarm.core.result import Result
from xenarm.core.sched.state import SCHED_CPUS
from xenarm.devicetree.reader import NO_NODE, Fdt, Node, fdt_children, fdt_cpus, fdt_parent
from xenarm.devicetree.values import fdt_raw_reg, fdt_status_okay, fdt_string
from xenarm.gic.host import gic_cpu_init, gic_is_v3, gic_most_cpus, gic_wake_others
from xenarm.p2m.stage2 import stage2_enable
from xenarm.psci.host import host_cpu_on
from xenarm.soc.registers import Started
from xenarm.soc.spin_table import spin_start, spins
from xenarm.soc.table import soc_from_reset, soc_start

__all__ = ["cpu_init", "cpus_start"]

SECONDARY_START = linker_symbol("secondary_start")
FROM_RESET = linker_symbol("secondary_from_reset")
MPIDR_THREADS = 1 << 24
PATIENCE_MS = 1000  # an emulated machine on a busy host takes its time


class Fit(IntEnum, type=u32):
    """Whether a CPU that has come can be used."""

    YES = 0
    UNLIKE = 1
    NO_INTERRUPTS = 2


UNLIKE = b"has other cache lines than the first" if CONFIG.MIXED_CPUS else b"is of another kind than the first, which needs CONFIG_MIXED_CPUS"


@fn
def cpus_start(fdt: Fdt) -> None:
    """Start every CPU of the device tree, up to MAX_CPUS; one that cannot be started is named and left out.

    After one that was started and does not come, no more are: should it come late, its number and stack must still be its own.
    """
    CPUS.online.store(1)
    CPUS.likeness = likeness()
    kind_init(0)
    cpus = fdt_cpus(fdt)
    if cpus == NO_NODE:
        return
    data_sync_all()
    own = read_mpidr_el1() & MPIDR_AFFINITY
    for node in fdt_children(fdt, cpus):
        if is_cpu(fdt, node) and CPUS.online.load() < gic_most_cpus(MAX_CPUS):
            reg = fdt_raw_reg(fdt, cpus, node, 0)
            if reg.result == Result.OK and reg.base != own and not start(fdt, node, reg.base):
                return


@fn
def is_cpu(fdt: Fdt, node: Node) -> bool:
    sound, kind = fdt_string(fdt, node, b"device_type")
    return sound and kind.equals(b"cpu") and fdt_status_okay(fdt, node)


@fn
def hand_over(mpidr: u64, number: u32) -> None:
    """Others that the same act lets go wait in the boot code."""
    CPUS.alone = True
    handover(mpidr, number)


@fn
def start_in_socs_way(fdt: Fdt, mpidr: u64, number: u32) -> Started:
    hand_over(mpidr, number)
    return soc_start(fdt, mpidr, image_physical(usize(FROM_RESET)) if CONFIG.SOC_FROM_RESET and soc_from_reset() else image_physical(usize(ALONE)))


@fn
def turn_on(fdt: Fdt, node: Node, mpidr: u64, number: u32) -> Started:
    """In the way that the CPU's node names, else by PSCI, else in the SoC's own."""
    if CONFIG.SPIN_TABLE and spins(fdt, node):
        hand_over(mpidr, number)
        return spin_start(fdt, node, image_physical(usize(ALONE)))
    if host_cpu_on(mpidr, image_physical(usize(SECONDARY_START)), u64(number)):
        return Started.CALLED
    return start_in_socs_way(fdt, mpidr, number) if CONFIG.SOC else Started.REFUSED


@fn
def wait_for(number: u32, wake: bool) -> bool:
    """Whether the CPU comes in time, fit or not. One that sleeps is woken again and again: it may have been on its way to sleep."""
    deadline = arch_counter() + arch_counter_hz() * PATIENCE_MS // 1000
    while CPUS.online.load_acquire() == number and CPUS.unfit.load_acquire() == u32(Fit.YES):
        if arch_counter() > deadline:
            return False
        if CONFIG.SOC and wake:
            gic_wake_others()
        send_event()
        cpu_relax()
    return True


@fn
def say_refused(fdt: Fdt, node: Node, mpidr: u64) -> None:
    sound, method = fdt_string(fdt, node, b"enable-method")
    if not sound:
        _, method = fdt_string(fdt, fdt_parent(fdt, node), b"enable-method")
    log_warning(f"cpu {mpidr:#x}: not turned on by the firmware, nor in any other way that this image has; its enable-method is '{method}'")


@fn
def start(fdt: Fdt, node: Node, mpidr: u64) -> bool:
    """Turn on one CPU and wait for it: the next number is free only once this one is taken. False: it does not come."""
    number = CPUS.online.load()
    CPUS.unfit.store(u32(Fit.YES))
    if slot_claim(number) != Result.OK:
        log_warning(f"cpu {mpidr:#x}: no memory for its stack; it and those after it are left out")
        return False
    SLOTS[number].vcpu.cpu = number
    SLOTS[number].vcpu.number = number
    started = turn_on(fdt, node, mpidr, number)
    if started == Started.REFUSED:
        say_refused(fdt, node, mpidr)
        return True
    if not wait_for(number, started == Started.WAKE):
        CPUS.awaited = True
        log_warning(f"cpu {mpidr:#x}: does not come; it and those after it are left out")
        return False
    fit = CPUS.unfit.load_acquire()
    if fit != u32(Fit.YES):
        why: View[u8] = UNLIKE if fit == u32(Fit.UNLIKE) else b"is unknown to the interrupt controller"
        log_warning(f"cpu {mpidr:#x}: {why}; it is left out")
    return True


@fn
def cluster(mpidr: u64) -> u32:
    """Which CPUs share a cache, as far as affinity tells: those that differ in the lowest level only, two levels where threads are one (Arm ARM, MPIDR_EL1.MT)."""
    lowest = u32(16) if mpidr & MPIDR_THREADS != 0 else u32(8)
    return truncate(u32, mpidr >> lowest) & 0xFFFF


@fn
def cluster_set(cpu: u32) -> None:
    SCHED_CPUS[cpu].cluster = cluster(read_mpidr_el1())


@fn
def cluster_none(cpu: u32) -> None:
    pass


cluster_init = cluster_set if CONFIG.SCHED_CREDIT2 else cluster_none


@fn
def kind_set(cpu: u32) -> None:
    SCHED_CPUS[cpu].kind = read_midr_el1()


kind_init = kind_set if CONFIG.MIXED_CPUS else cluster_none


@fn
def line_alike() -> u64:
    """What one CPU cleans line by line is to be clean in all caches."""
    return cache_line()


@fn
def kind_alike() -> u64:
    return read_midr_el1()


likeness = line_alike if CONFIG.MIXED_CPUS else kind_alike
"""What all CPUs must have in common."""


@fn
def turn_away(why: Fit) -> None:
    """This CPU does nothing more; the next one gets its number and its stack, so that nothing is called here once that is said. Does not return."""
    CPUS.unfit.store_release(u32(why))
    while True:
        wait_for_event()


@fn
def cpu_init(cpu: u32) -> Result:
    """What every CPU sets up for itself, once the interrupt controller is known. NOT_FOUND: that has nothing for this CPU."""
    stage2_enable()
    vectors_choose(gic_is_v3())
    cluster_init(cpu)
    return gic_cpu_init(cpu)


@export("boot_secondary_cpu")
def boot_secondary_cpu(cpu: u32) -> None:
    """Where another CPU enters the image's address space, on its own stack. Does not return."""
    if likeness() != CPUS.likeness:
        turn_away(Fit.UNLIKE)
    if cpu_init(cpu) != Result.OK:
        turn_away(Fit.NO_INTERRUPTS)
    kind_init(cpu)
    processor_init(cpu)
    CPUS.online.store_release(cpu + 1)
    cpu_run()
