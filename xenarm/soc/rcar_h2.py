"""Renesas' R-Car H2 (its User's Manual: APMU, RST, SYSC, CPG, RWDT; what is beside it is in Linux's mach-shmobile and in U-Boot's PSCI for it).

The APMU wakes the CPUs of a cluster one by one, out of reset and in secure state, at the boot address of the cluster: a few words of on-chip RAM.
The cluster that did not boot needs power for its snoop control unit first. What its CPUs do about coherency is secure state's: `rcar_h2_secure.py`.
"""

from freestanding import Array, Struct, array, fn, table, u32, u64, usize, zeroed

from xenarm.arm.hw import read_mpidr_el1
from xenarm.arm.instructions import data_sync_all, mmio_read8, mmio_read32, mmio_write32
from xenarm.config import CONFIG
from xenarm.devicetree.reader import NO_NODE, Fdt, Node, fdt_cpus, fdt_nodes, fdt_property
from xenarm.devicetree.values import fdt_by_phandle, fdt_compatible, fdt_raw_reg
from xenarm.core.result import Result
from xenarm.soc.registers import LOOKS, Started, bits_clear, bits_set, pause, registers_at, registers_of, registers_of_node

__all__ = ["KEPT", "bit_of", "rcar_h2_prepare", "rcar_h2_restart", "rcar_h2_start"]

WUPCR = 0x10  # of an APMU: wake up
DBGRCR = 0x180
DEBUG_RESETS = 1 << 24 | 1 << 19  # other requests for a reset count
DEBUG_CPU_RESET = 20
BAR_VALID = 0x10  # boot addresses are in units of 256 bytes, on boundaries of 256 KiB
HELD = 0xF  # CPUs of a cluster that are held in reset
WDTRSTCR = 0x54  # of RST
RESET_BY_RWDT = 0xA55A_0002  # the key; not by the secure watchdog
ICRAM1 = 0xE63C_0000
BOOT_ROM = 0xE634_0000
JUMP = 0xE51F_F004  # ldr pc, [pc, #-4]: to the word behind
SYSC = 0xE618_0000
SYSCSR = 0x00
READY = 1 << 1  # for a request to resume power
SYSCISR = 0x04
SYSCISCR = 0x08
SYSCIER = 0x0C
SYSCIMR = 0x10
POWER_EVENTS = 0x0131_11EF  # of every power domain with CPUs
PWRSR = 0x00  # of a power domain: a one while it is off
PWRONCR = 0x0C
PWRER = 0x14
REQUESTS = 100
CPG = 0xE615_0000
MSTPSR4 = 0x4C
SMSTPCR4 = 0x140
RWDT_STOPS = 1 << 2  # module stop bit 402
RWDT = 0xE602_0000
RWTCNT = 0x00
RWTCSRA = 0x04
RWTCNT_KEY = 0x5A5A_0000
RWTCSRA_KEY = 0xA5A5_A500
LAST_TICK = 0xFFFF
RWDT_RUNS = 1 << 7
RWDT_WRITES = 1 << 5

KEPT = (
    ("renesas,apmu", "turns CPUs off"),
    ("renesas,r8a7790-rst", "restarts the machine"),
    ("renesas,r8a7790-sysc", "turns power domains off"),
    ("renesas,r8a7790-cpg-mssr", "stops clocks"),
    ("renesas,rcar-gen2-wdt", "restarts the machine"),
)


class Cluster(Struct, frozen=True):
    """Offsets in RST: boot address, reset control and its key; the SCU's power domain in SYSC, and its event."""

    boot_address: u64
    reset: u64
    key: u32
    scu: u64
    event: u32


CLUSTERS = table(Cluster, [Cluster(0x20, 0x40, 0xA5A5_0000, 0x180, 1 << 12), Cluster(0x30, 0x44, 0x5A5A_0000, 0x100, 1 << 21)])
"""Cortex-A15, Cortex-A7: by affinity level 1."""
MOST = len(CLUSTERS)


class Chip(Struct):
    """`apmus`: of the clusters whose CPUs can be started."""

    rst: u64
    apmus: Array[u64] = array(u64, MOST)
    nodes: Array[Node] = array(Node, MOST)


CHIP = zeroed(Chip)


@fn
def cpu_listed(fdt: Fdt, apmu: Node, index: u32) -> tuple[bool, u64]:
    """MPIDR of entry `index` of an APMU's `cpus`; False when there are fewer."""
    _, cpus = fdt_property(fdt, apmu, b"cpus")
    if usize(index) * 4 + 4 > len(cpus):
        return False, 0
    node = fdt_by_phandle(fdt, cpus.load_be32(usize(index) * 4))
    parent = fdt_cpus(fdt)
    if node == NO_NODE or parent == NO_NODE:
        return False, 0
    reg = fdt_raw_reg(fdt, parent, node, 0)
    return reg.result == Result.OK, reg.base


@fn
def bit_of(fdt: Fdt, apmu: Node, mpidr: u64) -> tuple[bool, u32]:
    """Which of the APMU's CPUs one is."""
    for index in range(u32(4)):
        there, listed = cpu_listed(fdt, apmu, index)
        if there and listed == mpidr & 0xFF_FFFF:
            return True, index
    return False, 0


@fn
def cluster_of(mpidr: u64) -> u32:
    return u32(mpidr >> 8 & 0xFF)


# ---- before CPUs start --------------------------------------------------------------------------------------------------


@fn
def boot_address_set(c: Cluster, address: u32) -> None:
    """Where CPUs of the cluster begin after a reset."""
    mmio_write32(CHIP.rst + c.boot_address, address >> 8)
    mmio_write32(CHIP.rst + c.boot_address, address >> 8 | BAR_VALID)


@fn
def resume_asked(c: Cluster) -> bool:
    """Ask for the SCU's power once; whether that is accepted."""
    for _ in range(LOOKS):
        if mmio_read32(u64(SYSC + SYSCSR)) & READY != 0:
            break
    mmio_write32(u64(SYSC + PWRONCR) + c.scu, 1)
    return mmio_read32(u64(SYSC + PWRER) + c.scu) & 1 == 0


@fn
def power_up(c: Cluster) -> bool:
    """Power for the cluster's SCU; whether it has it."""
    if mmio_read32(u64(SYSC + PWRSR) + c.scu) & 1 == 0:
        return True
    mmio_write32(u64(SYSC + SYSCISCR), c.event)
    asked = u32(0)
    while not resume_asked(c):
        asked += 1
        if asked == REQUESTS:
            return False
    for _ in range(LOOKS):
        if mmio_read32(u64(SYSC + SYSCISR)) & c.event != 0:
            mmio_write32(u64(SYSC + SYSCISCR), c.event)
            return True
    return False


@fn
def cluster_prepare(fdt: Fdt, node: Node, own: u32) -> None:
    """Have a cluster ready to start CPUs: that which boots, and others where they are wanted."""
    there, first = cpu_listed(fdt, node, 0)
    number = cluster_of(first)
    if not there or number >= MOST or (number != own and not CONFIG.MIXED_CPUS):
        return
    c = CLUSTERS[number]
    apmu = registers_of_node(fdt, node)
    if apmu != 0 and power_up(c):
        boot_address_set(c, ICRAM1)
        mmio_write32(CHIP.rst + c.reset, (mmio_read32(CHIP.rst + c.reset) & ~u32(HELD)) | c.key)
        CHIP.apmus[number] = apmu
        CHIP.nodes[number] = node


@fn
def rcar_h2_prepare(fdt: Fdt) -> None:
    CHIP.rst = registers_of(fdt, b"renesas,r8a7790-rst")
    if CHIP.rst == 0:
        return
    registers_at(RWDT, 0x1000)
    registers_at(CPG, 0x1000)
    mmio_write32(registers_at(ICRAM1, 0x1000), JUMP)
    sysc = registers_at(SYSC, 0x200)
    bits_set(sysc + SYSCIMR, POWER_EVENTS)
    mmio_write32(sysc + SYSCIER, POWER_EVENTS)
    for node in fdt_nodes(fdt):
        if fdt_compatible(fdt, node, b"renesas,apmu"):
            cluster_prepare(fdt, node, cluster_of(read_mpidr_el1()))


# ---- CPUs ---------------------------------------------------------------------------------------------------------------


@fn
def rcar_h2_start(fdt: Fdt, mpidr: u64, entry: u64) -> Started:
    number = cluster_of(mpidr)
    if CHIP.rst == 0 or number >= MOST or CHIP.apmus[number] == 0:
        return Started.REFUSED
    found, bit = bit_of(fdt, CHIP.nodes[number], mpidr)
    if not found:
        return Started.REFUSED
    apmu = CHIP.apmus[number]
    mmio_write32(u64(ICRAM1 + 4), u32(entry))
    data_sync_all()
    bits_set(apmu + DBGRCR, u32(DEBUG_RESETS) | u32(1) << (bit + DEBUG_CPU_RESET))
    mmio_write32(apmu + WUPCR, u32(1) << bit)
    for _ in range(LOOKS):
        if mmio_read32(apmu + WUPCR) == 0:
            return Started.CALLED
    return Started.REFUSED


# ---- restart ------------------------------------------------------------------------------------------------------------


@fn
def watchdog_clock() -> None:
    """Have the watchdog's clock run."""
    bits_clear(u64(CPG + SMSTPCR4), RWDT_STOPS)
    for _ in range(LOOKS):
        if mmio_read32(u64(CPG + MSTPSR4)) & RWDT_STOPS == 0:
            break


@fn
def rcar_h2_restart() -> None:
    """By the watchdog, which needs one tick of 32 kHz. Boot addresses outlive that: CPUs are to begin in the boot ROM again."""
    if CHIP.rst == 0:
        return
    for c in CLUSTERS:
        boot_address_set(c, BOOT_ROM)
    data_sync_all()
    mmio_write32(CHIP.rst + WDTRSTCR, RESET_BY_RWDT)
    watchdog_clock()
    mmio_write32(u64(RWDT + RWTCSRA), RWTCSRA_KEY)
    pause(1)  # it stops after two ticks
    mmio_write32(u64(RWDT + RWTCNT), RWTCNT_KEY | LAST_TICK)
    for _ in range(LOOKS):
        if mmio_read8(u64(RWDT + RWTCSRA)) & RWDT_WRITES == 0:
            break
    mmio_write32(u64(RWDT + RWTCSRA), RWTCSRA_KEY | RWDT_RUNS)
