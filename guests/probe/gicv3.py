"""A GICv3 register by register and rule by rule (ARM IHI 0069): distributor, redistributors, CPU interface, groups, preemption, routing.

What it finds on a machine it must find on a hypervisor: nothing in here knows which one it is on.
"""

from freestanding import View, fn, table, u8, u16, u32, u64
from guests.probe.interrupts import SPURIOUS, enable_at, pend, take
from guests.probe.processors import took, took_soon
from guests.probe.report import expect, expect_true
from guests.runtime.gic import GIC, gic_own_target, gic_redistributor, gic_registers, gic_sgi_value
from guests.runtime.machine import MACHINE
from xenarm.abi.affinity import MPIDR_AFFINITY
from xenarm.arm.instructions import (
    data_sync_all,
    instruction_sync,
    mmio_read8,
    mmio_read16,
    mmio_read32,
    mmio_read64,
    mmio_write8,
    mmio_write16,
    mmio_write32,
    mmio_write64,
)
from xenarm.arm64.registers import Reader, Writer, read_aa64pfr0, read_mpidr_el1, reader, writer
from xenarm.gic.registers import Gicd
from xenarm.gic.registers3 import Gicd3, Gicr, read_icc_iar1, write_icc_bpr1, write_icc_ctlr, write_icc_dir, write_icc_eoir1
from xenarm.gic.registers3 import write_icc_igrpen1, write_icc_pmr, write_icc_sgi1r

__all__ = ["probe_gicv3", "probe_gicv3_processors"]

read_icc_iar0: Reader = reader("icc_iar0_el1")
write_icc_eoir0: Writer = writer("icc_eoir0_el1")
read_icc_hppir0: Reader = reader("icc_hppir0_el1")
read_icc_hppir1: Reader = reader("icc_hppir1_el1")
read_icc_rpr: Reader = reader("icc_rpr_el1")
read_icc_pmr: Reader = reader("icc_pmr_el1")
read_icc_ctlr: Reader = reader("icc_ctlr_el1")
read_icc_sre: Reader = reader("icc_sre_el1")
read_icc_igrpen1: Reader = reader("icc_igrpen1_el1")
write_icc_igrpen0: Writer = writer("icc_igrpen0_el1")
write_icc_sgi0r: Writer = writer("icc_sgi0r_el1")

ALL = 0xFFFF_FFFF
WORD = 1  # interrupts 32 to 63, but for the serial port's
LOW_SPI = 33
SPI = 40
OTHER_SPI = 41
PPI = 22  # nobody's
ARE_DS = 0x50
IDLE = 0xFF
PMR_ALL = 0xF0
EOIMODE = 2
NOBODY = table(u64, [0x55 << 16, 1 << 32, 1 << 48])
"""Affinities 1, 2 and 3, as ICC_SGI1R_EL1 has them, that no CPU has."""


# ---- registers --------------------------------------------------------------------------------------------------------


@fn
def kept32(name: View[u8], address: u64, value: u32, wanted: u32) -> None:
    """A plain register keeps what is stored, as far as `wanted` says; it is put back."""
    before = mmio_read32(address)
    mmio_write32(address, value)
    expect(name, u64(mmio_read32(address)), u64(wanted))
    mmio_write32(address, before)


@fn
def set_and_clear(name: View[u8], base: u64, set_at: u64, clear_at: u64, bits: u32) -> None:
    """A pair of registers with a bit for each interrupt; what was set is cleared again."""
    mmio_write32(base + set_at, bits)
    expect(name, u64(mmio_read32(base + set_at) & bits), u64(bits))
    expect(name, u64(mmio_read32(base + clear_at) & bits), u64(bits))
    mmio_write32(base + clear_at, bits)
    expect(name, u64(mmio_read32(base + set_at) & bits), 0)
    mmio_write32(base + set_at, 0)
    mmio_write32(base + clear_at, 0)
    expect(name, u64(mmio_read32(base + clear_at) & bits), 0)


@fn
def probe_distributor() -> None:
    d = GIC.gicd
    at = u64(WORD * 4)
    bits = u32(0xFFFF_FF00)
    expect(b"d-control", u64(mmio_read32(d) & 0xFF), ARE_DS | 3)
    expect(b"d-revision", u64(mmio_read32(d + Gicd3.PIDR2) >> 4), 3)
    expect(b"d-no-cpu-number", u64(mmio_read32(d + Gicd.TYPER) >> 5 & 0x3F), 0)
    expect(b"d-no-1-of-n", u64(mmio_read32(d + Gicd.TYPER) >> 25 & 1), 1)
    mmio_write32(d + Gicd.TYPER, 0)
    expect_true(b"d-type-read-only", mmio_read32(d + Gicd.TYPER) != 0)
    set_and_clear(b"d-enable", d + at, Gicd.ISENABLER, Gicd.ICENABLER, bits)
    set_and_clear(b"d-pending", d + at, Gicd.ISPENDR, Gicd.ICPENDR, bits)
    set_and_clear(b"d-active", d + at, Gicd.ISACTIVER, Gicd.ICACTIVER, bits)
    kept32(b"d-group", d + Gicd.IGROUPR + at, bits, bits)
    kept32(b"d-config", d + Gicd.ICFGR + 12, ALL, 0xAAAA_AAAA)
    kept32(b"d-priority", d + Gicd.IPRIORITYR + SPI, 0xF8C0_4008, 0xF8C0_4008)
    mmio_write8(d + Gicd.IPRIORITYR + SPI + 1, 0x98)
    expect(b"d-priority-byte", u64(mmio_read8(d + Gicd.IPRIORITYR + SPI + 1)), 0x98)
    kept32(b"d-no-targets", d + Gicd.ITARGETSR + SPI, ALL, 0)
    kept32(b"d-no-modifier", d + 0xD00 + at, ALL, 0)
    kept32(b"d-no-sgis", d + 0xF20, ALL, 0)


@fn
def probe_distributor_own() -> None:
    """A vCPU's own interrupts are not in the distributor."""
    for n in range(u64(7)):
        kept32(b"d-own-bits", GIC.gicd + Gicd.IGROUPR + n * 0x80, ALL, 0)
    kept32(b"d-own-priority", GIC.gicd + Gicd.IPRIORITYR + 16, ALL, 0)
    kept32(b"d-own-config", GIC.gicd + Gicd.ICFGR, ALL, 0)
    kept32(b"d-own-route", GIC.gicd + Gicd3.IROUTER + 16 * 8, ALL, 0)


@fn
def probe_routes() -> None:
    route = GIC.gicd + Gicd3.IROUTER + SPI * 8
    mmio_write64(route, 0x00_0003_0201)
    expect(b"route-wide", mmio_read64(route), 0x0003_0201)
    expect(b"route-low", u64(mmio_read32(route)), 0x0003_0201)
    expect(b"route-high", u64(mmio_read32(route + 4)), 0)
    mmio_write32(route, 0x0000_0105)
    expect(b"route-by-halves", mmio_read64(route), 0x105)
    mmio_write64(route, gic_own_target() & MPIDR_AFFINITY)


@fn
def probe_sizes() -> None:
    """Reserved registers, and sizes that a register does not take, read as zero and ignore writes."""
    d = GIC.gicd
    mmio_write32(d + Gicd.ISENABLER + 4, 1 << (SPI - 32))
    expect(b"size-8-of-4", mmio_read64(d + Gicd.ISENABLER), 0)
    expect(b"size-2-of-4", u64(mmio_read16(d + Gicd.ISENABLER + 4)), 0)
    expect(b"size-1-of-4", u64(mmio_read8(d + Gicd.ISENABLER + 5)), 0)
    mmio_write64(d + Gicd.ICENABLER, 0xFFFF_FFFF_0000_0000)
    mmio_write16(d + Gicd.ICENABLER + 4, u16(0xFFFF))
    mmio_write8(d + Gicd.ICENABLER + 5, u8(0xFF))
    expect(b"size-ignored", u64(mmio_read32(d + Gicd.ISENABLER + 4) >> (SPI - 32) & 1), 1)
    mmio_write32(d + Gicd.ICENABLER + 4, 1 << (SPI - 32))
    reserved = u32(0)
    for offset in range(u64(0x1000), u64(0x6000), u64(4)):
        mmio_write32(d + offset, ALL)
        reserved |= mmio_read32(d + offset)
    expect(b"reserved", u64(reserved), 0)


@fn
def probe_redistributor() -> None:
    base = gic_redistributor(read_mpidr_el1())
    frame = base + Gicr.SGI_BASE
    kind = mmio_read64(base + Gicr.TYPER)
    expect(b"r-affinity", kind >> 32, read_mpidr_el1() & 0xFF_FFFF)
    expect(b"r-type-by-halves", u64(mmio_read32(base + Gicr.TYPER)) | u64(mmio_read32(base + Gicr.TYPER + 4)) << 32, kind)
    expect(b"r-last", kind >> 4 & 1, u64(1) if MACHINE.cpus == 1 else u64(0))
    expect(b"r-revision", u64(mmio_read32(base + Gicr.PIDR2) >> 4), 3)
    expect(b"r-awake", u64(mmio_read32(base + Gicr.WAKER)), 0)
    mmio_write32(base + Gicr.WAKER, 2)
    expect(b"r-asleep", u64(mmio_read32(base + Gicr.WAKER)), 6)
    mmio_write32(base + Gicr.WAKER, 0)
    expect(b"r-awake-again", u64(mmio_read32(base + Gicr.WAKER)), 0)
    own = u32(0xFFFF | 1 << PPI)
    set_and_clear(b"r-enable", frame, Gicd.ISENABLER, Gicd.ICENABLER, own)
    set_and_clear(b"r-pending", frame, Gicd.ISPENDR, Gicd.ICPENDR, own)
    set_and_clear(b"r-active", frame, Gicd.ISACTIVER, Gicd.ICACTIVER, own)
    kept32(b"r-group", frame + Gicd.IGROUPR, 0x0040_F00F, 0x0040_F00F)
    kept32(b"r-priority", frame + Gicd.IPRIORITYR + 20, 0xF8C0_4008, 0xF8C0_4008)
    mmio_write8(frame + Gicd.IPRIORITYR + 3, 0x48)
    expect(b"r-priority-byte", u64(mmio_read8(frame + Gicd.IPRIORITYR + 3)), 0x48)
    kept32(b"r-config-of-sgis", frame + Gicd.ICFGR, 0, 0xAAAA_AAAA)
    kept32(b"r-no-modifier", frame + 0xD00, ALL, 0)
    kept32(b"r-reserved", frame + Gicd.ISENABLER + 4, ALL, 0)
    kept32(b"r-reserved-page", frame + 0x2000, ALL, 0)
    expect(b"r-size-8-of-4", mmio_read64(frame + Gicd.IGROUPR), 0)


@fn
def probe_interface() -> None:
    expect(b"c-present", read_aa64pfr0() >> 24 & 0xF, 1)
    expect(b"c-system-registers", read_icc_sre() & 1, 1)
    expect(b"c-mode", read_icc_ctlr() & EOIMODE, 0)
    expect(b"c-mask", read_icc_pmr(), PMR_ALL)
    expect(b"c-on", read_icc_igrpen1(), 1)
    expect(b"c-idle", read_icc_rpr(), IDLE)
    expect(b"c-nothing", read_icc_hppir1(), SPURIOUS)


# ---- rules ------------------------------------------------------------------------------------------------------------


@fn
def send_self(sgi: u32) -> None:
    write_icc_sgi1r(gic_sgi_value(gic_own_target(), sgi))
    instruction_sync()


@fn
def probe_masks() -> None:
    enable_at(SPI, 0x80, gic_own_target())
    pend(SPI)
    expect(b"highest-pending", read_icc_hppir1(), SPI)
    write_icc_pmr(0x80)
    instruction_sync()
    expect(b"masked-by-priority", u64(take()), SPURIOUS)
    write_icc_pmr(0x88)
    instruction_sync()
    expect(b"not-masked", u64(take()), SPI)
    write_icc_pmr(PMR_ALL)
    pend(SPI)
    write_icc_igrpen1(0)
    instruction_sync()
    expect(b"group-off", u64(take()), SPURIOUS)
    write_icc_igrpen1(1)
    instruction_sync()
    expect(b"group-on", u64(take()), SPI)


@fn
def probe_running_priority() -> None:
    """Nested: each ends before the one that it interrupted, and the running priority goes back."""
    enable_at(SPI, 0x80, gic_own_target())
    enable_at(OTHER_SPI, 0x40, gic_own_target())
    pend(SPI)
    outer = read_icc_iar1()
    expect(b"running-outer", read_icc_rpr(), 0x80)
    pend(OTHER_SPI)
    inner = read_icc_iar1()
    expect(b"running-inner", read_icc_rpr(), 0x40)
    write_icc_eoir1(inner)
    expect(b"running-back", read_icc_rpr(), 0x80)
    write_icc_eoir1(outer)
    expect(b"running-idle", read_icc_rpr(), IDLE)


@fn
def probe_binary_point() -> None:
    """With BPR1 5 the upper two bits preempt: 0x80 and 0x90 are of one kind, 0x40 is not."""
    enable_at(SPI, 0x90, gic_own_target())
    write_icc_bpr1(5)
    instruction_sync()
    pend(SPI)
    outer = read_icc_iar1()
    enable_at(OTHER_SPI, 0x80, gic_own_target())
    pend(OTHER_SPI)
    expect(b"same-kind-waits", u64(take()), SPURIOUS)
    enable_at(LOW_SPI, 0x40, gic_own_target())
    pend(LOW_SPI)
    expect(b"other-kind-preempts", u64(take()), LOW_SPI)
    write_icc_eoir1(outer)
    expect(b"then-the-waiting", u64(take()), OTHER_SPI)
    write_icc_bpr1(0)
    instruction_sync()


@fn
def probe_split_end() -> None:
    """With EOImode the end drops the priority, and ICC_DIR_EL1 deactivates."""
    enable_at(SPI, 0x80, gic_own_target())
    write_icc_ctlr(EOIMODE)
    instruction_sync()
    pend(SPI)
    iar = read_icc_iar1()
    write_icc_eoir1(iar)
    expect(b"dropped", read_icc_rpr(), IDLE)
    pend(SPI)
    expect(b"still-active", u64(take()), SPURIOUS)
    write_icc_dir(iar)
    instruction_sync()
    again = read_icc_iar1()
    expect(b"deactivated", again, SPI)
    write_icc_eoir1(again)
    write_icc_dir(again)
    write_icc_ctlr(0)
    instruction_sync()


@fn
def probe_group0() -> None:
    """An interrupt of group 0 is seen by the registers of group 0 alone, and not before that is on."""
    enable_at(5, 0x80, 0)
    group = gic_registers(5) + Gicd.IGROUPR
    before = mmio_read32(group)
    mmio_write32(group, before & ~u32(1 << 5))
    write_icc_sgi0r(gic_sgi_value(gic_own_target(), 5))
    instruction_sync()
    expect(b"group-0-not-as-1", read_icc_iar1(), SPURIOUS)
    expect(b"group-0-off", read_icc_iar0(), SPURIOUS)
    write_icc_igrpen0(1)
    instruction_sync()
    expect(b"group-0-pending", read_icc_hppir0(), 5)
    expect(b"group-0-taken", read_icc_iar0(), 5)
    write_icc_eoir0(5)
    write_icc_igrpen0(0)
    instruction_sync()
    mmio_write32(group, before)
    write_icc_sgi0r(gic_sgi_value(gic_own_target(), 5))
    instruction_sync()
    expect(b"sgi-0-not-to-group-1", u64(take()), SPURIOUS)


@fn
def probe_own_state() -> None:
    """SGIs of a GICv3 can be off, and made pending by a store."""
    enable_at(6, 0x80, 0)
    mmio_write32(gic_registers(6) + Gicd.ISPENDR, 1 << 6)
    expect(b"sgi-by-store", u64(take()), 6)
    mmio_write32(gic_registers(6) + Gicd.ICENABLER, 1 << 6)
    send_self(6)
    expect(b"sgi-off", u64(take()), SPURIOUS)
    mmio_write32(gic_registers(6) + Gicd.ISENABLER, 1 << 6)
    expect(b"sgi-kept", u64(take()), 6)
    enable_at(PPI, 0x80, 0)
    mmio_write32(gic_registers(PPI) + Gicd.ISACTIVER, 1 << PPI)
    mmio_write32(gic_registers(PPI) + Gicd.ISPENDR, 1 << PPI)
    expect(b"ppi-active-waits", u64(take()), SPURIOUS)
    mmio_write32(gic_registers(PPI) + Gicd.ICACTIVER, 1 << PPI)
    expect(b"ppi-inactive", u64(take()), PPI)


@fn
def probe_nobody() -> None:
    """Affinities that nobody has."""
    enable_at(7, 0x80, 0)
    own = gic_sgi_value(gic_own_target(), 7)
    for where in NOBODY:
        write_icc_sgi1r(own | where)
        instruction_sync()
        expect(b"sgi-to-nobody", u64(take()), SPURIOUS)
    write_icc_sgi1r(own & ~u64(0xFFFF))
    instruction_sync()
    expect(b"sgi-to-no-bit", u64(take()), SPURIOUS)
    send_self(7)
    expect(b"sgi-to-self", u64(take()), 7)
    enable_at(SPI, 0x80, 0x00AB_0000)
    pend(SPI)
    expect(b"spi-to-nobody", u64(take()), SPURIOUS)
    enable_at(SPI, 0x80, gic_own_target())
    expect(b"spi-follows-its-route", u64(take()), SPI)


@fn
def probe_gicv3() -> None:
    """On the first CPU."""
    if not GIC.v3:
        return
    probe_interface()
    probe_distributor()
    probe_distributor_own()
    probe_routes()
    probe_sizes()
    probe_redistributor()
    probe_masks()
    probe_running_priority()
    probe_binary_point()
    probe_split_end()
    probe_group0()
    probe_own_state()
    probe_nobody()


# ---- several CPUs -----------------------------------------------------------------------------------------------------


@fn
def probe_lists() -> None:
    """One store reaches all CPUs of a target list, and no other."""
    value = u64(10) << 24
    for n in range(u32(1), MACHINE.cpus):
        value |= gic_sgi_value(MACHINE.mpidr[n], 10)
    data_sync_all()
    write_icc_sgi1r(value)
    instruction_sync()
    for n in range(u32(1), MACHINE.cpus):
        expect_true(b"sgi-to-list", took(n, 10))
    expect(b"not-in-the-list", u64(take()), SPURIOUS)


@fn
def probe_others_redistributors() -> None:
    """Any CPU may use any redistributor."""
    for n in range(u32(1), MACHINE.cpus):
        frame = gic_redistributor(MACHINE.mpidr[n]) + Gicr.SGI_BASE
        mmio_write32(frame + Gicd.IGROUPR, mmio_read32(frame + Gicd.IGROUPR) | 1 << PPI)
        mmio_write8(frame + Gicd.IPRIORITYR + PPI, 0x80)
        mmio_write32(frame + Gicd.ISENABLER, 1 << PPI)
        expect(b"other-enabled", u64(mmio_read32(frame + Gicd.ISENABLER) >> PPI & 1), 1)
        mmio_write32(frame + Gicd.ISPENDR, 1 << PPI)
        expect_true(b"other-takes-ppi", took(n, PPI))
        mmio_write32(frame + Gicd.ICENABLER, 1 << PPI)
        expect(b"other-disabled", u64(mmio_read32(frame + Gicd.ISENABLER) >> PPI & 1), 0)
        mmio_write32(frame + Gicd.ISPENDR, 1 << PPI)
        expect_true(b"other-does-not-take", not took_soon(n, PPI))
        mmio_write32(frame + Gicd.ICPENDR, 1 << PPI)


@fn
def probe_gicv3_processors() -> None:
    """With the others serving."""
    if GIC.v3:
        probe_lists()
        probe_others_redistributors()
