"""The device tree that a domain boots with: what Xen's toolstack and dom0less build for an ARM guest.

Nodes and values follow what Xen 4.17 hands to a dom0less guest, read back from a running one; Linux's bindings
(psci.yaml, arm,gic.yaml, arm,arch_timer.yaml, arm,sbsa-uart) give their meaning.
"""

from freestanding import Array, Slice, Struct, View, array, fn, truncate, u8, u32, u64, usize, zeroed
from xenarm.abi.affinity import Affinities, affinity_mpidr, affinity_of
from xenarm.abi.layout import (
    GUEST_GICC_SIZE,
    GUEST_GICD3_SIZE,
    GUEST_GICD_SIZE,
    GUEST_PL011_SIZE,
    GUEST_TIMER_PHYS_NS_PPI,
    GUEST_TIMER_PHYS_S_PPI,
    GUEST_TIMER_VIRT_PPI,
)
from xenarm.config import CONFIG
from xenarm.core.result import Result
from xenarm.devicetree.writer import (
    FdtWriter,
    fdt_begin,
    fdt_begin_at,
    fdt_cell,
    fdt_copy,
    fdt_end,
    fdt_finish,
    fdt_flag,
    fdt_head,
    fdt_new,
    fdt_put,
    fdt_put64,
    fdt_text,
    fdt_text_at,
    fdt_value,
    fdt_wide,
    named,
    prepared,
)

__all__ = ["GUEST_TREE_ROOM", "MOST_SHARES", "GuestTree", "guest_tree_bank", "guest_tree_redistributors", "guest_tree_share", "guest_tree_write"]

BYTES_OF_CPU = 96  # of a vCPU's node
BYTES_BESIDE = 6 * 1024  # bootargs of 2 KiB and all else that there may be
GUEST_TREE_ROOM = max(16 * 1024, (BYTES_BESIDE + CONFIG.MAX_DOMAIN_CPUS * BYTES_OF_CPU + 0xFFF) & ~0xFFF)
GIC_PHANDLE = 0xFDE8  # Xen's GUEST_PHANDLE_GIC
CLOCK_PHANDLE = 0xFDE9
UART_CLOCK = 24_000_000
PSCI = (b"arm,psci-1.0\0" if CONFIG.PSCI_1_1 else b"") + b"arm,psci-0.2\0arm,psci\0"
MOST_BANKS = 32
MOST_SHARES = 8
MOST_GICR = 4

# Properties, by where their names stand in the strings block.
ADDRESS_CELLS = named("#address-cells")
SIZE_CELLS = named("#size-cells")
COMPATIBLE = named("compatible")
MODEL = named("model")
INTERRUPT_PARENT = named("interrupt-parent")
BOOTARGS = named("bootargs")
STDOUT_PATH = named("stdout-path")
LINUX_INITRD_START = named("linux,initrd-start")
LINUX_INITRD_END = named("linux,initrd-end")
METHOD = named("method")
CPU_OFF = named("cpu_off")
CPU_ON = named("cpu_on")
DEVICE_TYPE = named("device_type")
REG = named("reg")
ENABLE_METHOD = named("enable-method")
RANGES = named("ranges")
XEN_ID = named("xen,id")
XEN_OFFSET = named("xen,offset")
INTERRUPT_CELLS = named("#interrupt-cells")
INTERRUPT_CONTROLLER = named("interrupt-controller")
LINUX_PHANDLE = named("linux,phandle")
PHANDLE = named("phandle")
INTERRUPTS = named("interrupts")
CURRENT_SPEED = named("current-speed")
CLOCK_CELLS = named("#clock-cells")
CLOCK_FREQUENCY = named("clock-frequency")
CLOCK_NAMES = named("clock-names")
CLOCKS = named("clocks")
REDISTRIBUTOR_REGIONS = named("#redistributor-regions")

GIC_SPI = 0
GIC_PPI = 1
LEVEL_HIGH = 4
LEVEL_LOW = 8
ALL_CPUS = 0xF00  # the GICv2 binding's CPU mask of a PPI


class Bank(Struct):
    """A run of guest-physical memory."""

    base: u64
    size: u64


class Share(Struct):
    """A region of shared memory, by the name that its users know."""

    base: u64
    size: u64
    id: View[u8]


class GuestTree(Struct):
    """What the tree says."""

    vcpus: u32
    affinities: Affinities
    armv7: bool  # the kernel is a 32-bit one
    gic_v3: bool
    gicd: u64
    gicc: u64  # of a GICv2
    gicr_count: u32
    gicr: Array[Bank] = array(Bank, MOST_GICR)  # of a GICv3
    uart: u64
    uart_intid: u32  # of an SPI
    bank_count: u32
    banks: Array[Bank] = array(Bank, MOST_BANKS)  # RAM; what the tree's /memory is named after comes first
    share_count: u32
    shares: Array[Share] = array(Share, MOST_SHARES)
    ramdisk: u64  # guest-physical address
    ramdisk_size: u64  # 0 for none
    vpl011: bool
    primecell: bool  # the serial port as a full PL011, for a guest without an SBSA driver
    bootargs: View[u8]


@fn
def guest_tree_bank(tree: GuestTree, base: u64, size: u64) -> None:
    """One more run of RAM. Nothing of size 0, and not more than MOST_BANKS."""
    if size > 0 and tree.bank_count < MOST_BANKS:
        tree.banks[tree.bank_count].base = base
        tree.banks[tree.bank_count].size = size
        tree.bank_count += 1


@fn
def guest_tree_redistributors(tree: GuestTree, base: u64, size: u64) -> None:
    """One more region of redistributors, of MOST_GICR at most."""
    if tree.gicr_count < MOST_GICR:
        tree.gicr[tree.gicr_count].base = base
        tree.gicr[tree.gicr_count].size = size
        tree.gicr_count += 1


@fn
def guest_tree_share(tree: GuestTree, base: u64, size: u64, id: View[u8]) -> None:
    """One more region of shared memory, of MOST_SHARES at most."""
    if tree.share_count < MOST_SHARES:
        tree.shares[tree.share_count].base = base
        tree.shares[tree.share_count].size = size
        tree.shares[tree.share_count].id = id
        tree.share_count += 1


@fn
def write_root(w: FdtWriter) -> None:
    fdt_cell(w, ADDRESS_CELLS, 2)
    fdt_cell(w, SIZE_CELLS, 2)
    fdt_value(w, COMPATIBLE, b"xen,xenvm-4.17\0xen,xenvm\0")
    fdt_text(w, MODEL, b"XENVM-4.17")
    fdt_cell(w, INTERRUPT_PARENT, GIC_PHANDLE)


ROOT_PROPERTIES = prepared(write_root)


@fn
def write_chosen(w: FdtWriter, tree: GuestTree) -> None:
    fdt_begin(w, b"chosen")
    if len(tree.bootargs) > 0:
        fdt_text(w, BOOTARGS, tree.bootargs)
    if CONFIG.VPL011 and tree.vpl011:
        fdt_text_at(w, STDOUT_PATH, b"/pl011" if tree.primecell else b"/sbsa-uart", tree.uart)
    if tree.ramdisk_size > 0:
        fdt_wide(w, LINUX_INITRD_START, tree.ramdisk)
        fdt_wide(w, LINUX_INITRD_END, tree.ramdisk + tree.ramdisk_size)
    fdt_end(w)


@fn
def write_psci(w: FdtWriter) -> None:
    """`cpu_on` and `cpu_off` are the function numbers of PSCI 0.1, for guests that know no other."""
    fdt_begin(w, b"psci")
    fdt_value(w, COMPATIBLE, PSCI)
    fdt_text(w, METHOD, b"hvc")
    fdt_cell(w, CPU_OFF, 1)
    fdt_cell(w, CPU_ON, 2)
    fdt_end(w)


PSCI = prepared(write_psci)


@fn
def write_cpus(w: FdtWriter, tree: GuestTree) -> None:
    """`reg` is the affinity of the vCPU's MPIDR: two cells where affinity 3 is used (Linux's binding arm/cpus.yaml)."""
    wide = affinity_of(tree.affinities, tree.vcpus - 1) >> 24 != 0
    fdt_begin(w, b"cpus")
    fdt_cell(w, ADDRESS_CELLS, 2 if wide else u32(1))
    fdt_cell(w, SIZE_CELLS, 0)
    for n in range(tree.vcpus):
        affinity = affinity_mpidr(affinity_of(tree.affinities, n))
        fdt_begin_at(w, b"cpu", affinity)
        fdt_text(w, COMPATIBLE, b"arm,cortex-a15" if tree.armv7 else b"arm,armv8")
        fdt_text(w, DEVICE_TYPE, b"cpu")
        if wide:
            fdt_wide(w, REG, affinity)
        else:
            fdt_cell(w, REG, truncate(u32, affinity))
        fdt_text(w, ENABLE_METHOD, b"psci")
        fdt_end(w)
    fdt_end(w)


@fn
def write_memory(w: FdtWriter, tree: GuestTree) -> None:
    """Shared memory is memory too, as Xen has it from 4.19 on; what is reserved says that it is nobody's RAM."""
    fdt_begin_at(w, b"memory", tree.banks[0].base)
    fdt_text(w, DEVICE_TYPE, b"memory")
    fdt_head(w, REG, usize(tree.bank_count + tree.share_count) * 16)
    for i in range(tree.bank_count):
        fdt_put64(w, tree.banks[i].base)
        fdt_put64(w, tree.banks[i].size)
    for k in range(tree.share_count):
        fdt_put64(w, tree.shares[k].base)
        fdt_put64(w, tree.shares[k].size)
    fdt_end(w)


@fn
def write_shares(w: FdtWriter, tree: GuestTree) -> None:
    """Linux's binding reserved-memory/xen,shared-memory.txt."""
    fdt_begin(w, b"reserved-memory")
    fdt_cell(w, ADDRESS_CELLS, 2)
    fdt_cell(w, SIZE_CELLS, 2)
    fdt_flag(w, RANGES)
    for i in range(tree.share_count):
        fdt_begin_at(w, b"xen-shmem", tree.shares[i].base)
        fdt_text(w, COMPATIBLE, b"xen,shared-memory-v1")
        fdt_head(w, REG, 16)
        fdt_put64(w, tree.shares[i].base)
        fdt_put64(w, tree.shares[i].size)
        fdt_text(w, XEN_ID, tree.shares[i].id)
        fdt_wide(w, XEN_OFFSET, 0)
        fdt_end(w)
    fdt_end(w)


@fn
def write_gic_v2(w: FdtWriter, tree: GuestTree) -> None:
    """Distributor and CPU interface."""
    fdt_value(w, COMPATIBLE, b"arm,gic-400\0arm,cortex-a15-gic\0")
    fdt_head(w, REG, 32)
    fdt_put64(w, tree.gicd)
    fdt_put64(w, GUEST_GICD_SIZE)
    fdt_put64(w, tree.gicc)
    fdt_put64(w, GUEST_GICC_SIZE)


@fn
def write_gic_v3(w: FdtWriter, tree: GuestTree) -> None:
    """Distributor and redistributors; how many regions of these only where it is not one."""
    fdt_text(w, COMPATIBLE, b"arm,gic-v3")
    if tree.gicr_count > 1:
        fdt_cell(w, REDISTRIBUTOR_REGIONS, tree.gicr_count)
    fdt_head(w, REG, usize(tree.gicr_count) * 16 + 16)
    fdt_put64(w, tree.gicd)
    fdt_put64(w, GUEST_GICD3_SIZE)
    for i in range(tree.gicr_count):
        fdt_put64(w, tree.gicr[i].base)
        fdt_put64(w, tree.gicr[i].size)


@fn
def write_gic(w: FdtWriter, tree: GuestTree) -> None:
    fdt_begin_at(w, b"interrupt-controller", tree.gicd)
    fdt_cell(w, ADDRESS_CELLS, 0)
    fdt_cell(w, INTERRUPT_CELLS, 3)
    fdt_flag(w, INTERRUPT_CONTROLLER)
    if CONFIG.GICV3 and (tree.gic_v3 or not CONFIG.GICV2):
        write_gic_v3(w, tree)
    else:
        write_gic_v2(w, tree)
    fdt_cell(w, LINUX_PHANDLE, GIC_PHANDLE)
    fdt_cell(w, PHANDLE, GIC_PHANDLE)
    fdt_end(w)


@fn
def put_ppi(w: FdtWriter, intid: u32) -> None:
    fdt_put(w, GIC_PPI)
    fdt_put(w, intid - 16)
    fdt_put(w, ALL_CPUS | LEVEL_LOW)


def timer(compatible: bytes) -> bytes:
    """Secure, non-secure and virtual timer, in the order of Linux's binding; level low is what that asks for."""

    @fn
    def write_timer(w: FdtWriter) -> None:
        fdt_begin(w, b"timer")
        fdt_text(w, COMPATIBLE, compatible)
        fdt_head(w, INTERRUPTS, 36)
        put_ppi(w, GUEST_TIMER_PHYS_S_PPI)
        put_ppi(w, GUEST_TIMER_PHYS_NS_PPI)
        put_ppi(w, GUEST_TIMER_VIRT_PPI)
        fdt_cell(w, INTERRUPT_PARENT, GIC_PHANDLE)
        fdt_end(w)

    return prepared(write_timer)


TIMER_ARMV7 = timer(b"arm,armv7-timer")
TIMER_ARMV8 = timer(b"arm,armv8-timer")


@fn
def write_uart_place(w: FdtWriter, tree: GuestTree) -> None:
    fdt_head(w, REG, 16)
    fdt_put64(w, tree.uart)
    fdt_put64(w, GUEST_PL011_SIZE)
    fdt_head(w, INTERRUPTS, 12)
    fdt_put(w, GIC_SPI)
    fdt_put(w, tree.uart_intid - 32)
    fdt_put(w, LEVEL_HIGH)
    fdt_cell(w, INTERRUPT_PARENT, GIC_PHANDLE)
    fdt_cell(w, CURRENT_SPEED, 115200)


@fn
def write_sbsa_uart(w: FdtWriter, tree: GuestTree) -> None:
    """What Xen shows: the subset of a PL011 that needs no clock."""
    fdt_begin_at(w, b"sbsa-uart", tree.uart)
    fdt_text(w, COMPATIBLE, b"arm,sbsa-uart")
    write_uart_place(w, tree)
    fdt_end(w)


@fn
def write_primecell_uart(w: FdtWriter, tree: GuestTree) -> None:
    """Linux's binding pl011.yaml wants the clocks by name; a fixed one serves as both."""
    fdt_begin(w, b"clock")
    fdt_text(w, COMPATIBLE, b"fixed-clock")
    fdt_cell(w, CLOCK_CELLS, 0)
    fdt_cell(w, CLOCK_FREQUENCY, UART_CLOCK)
    fdt_cell(w, PHANDLE, CLOCK_PHANDLE)
    fdt_end(w)
    fdt_begin_at(w, b"pl011", tree.uart)
    fdt_value(w, COMPATIBLE, b"arm,pl011\0arm,primecell\0")
    fdt_value(w, CLOCK_NAMES, b"uartclk\0apb_pclk\0")
    fdt_wide(w, CLOCKS, CLOCK_PHANDLE << 32 | CLOCK_PHANDLE)
    write_uart_place(w, tree)
    fdt_end(w)


@fn
def write_uart(w: FdtWriter, tree: GuestTree) -> None:
    if tree.primecell:
        write_primecell_uart(w, tree)
    else:
        write_sbsa_uart(w, tree)


@fn
def guest_tree_write(tree: GuestTree, out: Slice[u8]) -> tuple[Result, usize]:
    """Write the tree; (OK, size in bytes), or NO_MEMORY when `out` is too small."""
    w = zeroed(FdtWriter)
    fdt_new(w, out)
    fdt_begin(w, b"")
    fdt_copy(w, ROOT_PROPERTIES)
    write_chosen(w, tree)
    fdt_copy(w, PSCI)
    write_cpus(w, tree)
    write_memory(w, tree)
    if CONFIG.STATIC_SHM and tree.share_count > 0:
        write_shares(w, tree)
    write_gic(w, tree)
    fdt_copy(w, TIMER_ARMV7 if tree.armv7 else TIMER_ARMV8)
    if CONFIG.VPL011 and tree.vpl011:
        write_uart(w, tree)
    fdt_end(w)
    return fdt_finish(w)
