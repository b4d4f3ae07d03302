"""Both timers, with the CPU's interrupts masked: the line, its mask, its level."""

from freestanding import fn, u32, u64
from guests.probe.interrupts import SPURIOUS, enable_at, take
from guests.probe.report import expect, expect_true
from guests.runtime.cpu import counter, write_cntv_ctl_el0, write_cntv_cval_el0
from xenarm.arm.instructions import cpu_relax, instruction_sync, wait_for_interrupt
from xenarm.arm64.registers import Reader, Writer, read_cntfrq_el0, read_cntpct_el0, reader, writer

__all__ = ["probe_timers"]

VIRTUAL_PPI = 27
PHYSICAL_PPI = 30
ENABLE = 1
IMASK = 2
ISTATUS = 4
PATIENCE_MS = 500

read_cntp_ctl_el0: Reader = reader("cntp_ctl_el0")
write_cntp_ctl_el0: Writer = writer("cntp_ctl_el0")
read_cntp_cval_el0: Reader = reader("cntp_cval_el0")
write_cntp_cval_el0: Writer = writer("cntp_cval_el0")
read_cntp_tval_el0: Reader = reader("cntp_tval_el0")
write_cntp_tval_el0: Writer = writer("cntp_tval_el0")


@fn
def take_in_time() -> u32:
    """The next interrupt, waited for a while."""
    limit = counter() + read_cntfrq_el0() * PATIENCE_MS // 1000
    while counter() < limit:
        intid = take()
        if intid != SPURIOUS:
            return intid
        cpu_relax()
    return SPURIOUS


@fn
def soon() -> u64:
    return read_cntfrq_el0() // 1000


@fn
def probe_virtual() -> None:
    enable_at(VIRTUAL_PPI, 0x80, 0)
    write_cntv_cval_el0(counter() + soon())
    write_cntv_ctl_el0(ENABLE)
    expect(b"virtual-timer", u64(take_in_time()), VIRTUAL_PPI)
    write_cntv_ctl_el0(0)
    instruction_sync()
    expect(b"virtual-timer-off", u64(take()), SPURIOUS)
    start = counter()
    write_cntv_cval_el0(start + soon())
    write_cntv_ctl_el0(ENABLE)
    wait_for_interrupt()
    expect_true(b"wakes-from-wfi", counter() >= start + soon())
    expect(b"wfi-with-masked", u64(take_in_time()), VIRTUAL_PPI)
    write_cntv_ctl_el0(0)


@fn
def probe_physical() -> None:
    enable_at(PHYSICAL_PPI, 0x80, 0)
    write_cntp_cval_el0(read_cntpct_el0() + soon())
    write_cntp_ctl_el0(ENABLE)
    expect(b"physical-timer", u64(take_in_time()), PHYSICAL_PPI)
    expect(b"physical-status", read_cntp_ctl_el0(), ENABLE | ISTATUS)
    expect(b"physical-level", u64(take_in_time()), PHYSICAL_PPI)
    write_cntp_ctl_el0(ENABLE | IMASK)
    expect(b"physical-masked", u64(take()), SPURIOUS)
    write_cntp_tval_el0(1_000_000)
    left = read_cntp_tval_el0()
    expect_true(b"physical-value", left > 0 and left <= 1_000_000)
    write_cntp_tval_el0(0xFFFF_FFFF)
    expect_true(b"physical-past", read_cntp_cval_el0() <= read_cntpct_el0())
    write_cntp_tval_el0(u64(u32(soon())))
    write_cntp_ctl_el0(ENABLE)
    wait_for_interrupt()
    expect(b"physical-wakes", u64(take_in_time()), PHYSICAL_PPI)
    write_cntp_ctl_el0(0)
    expect(b"physical-off", u64(take()), SPURIOUS)


@fn
def probe_timers() -> None:
    probe_virtual()
    probe_physical()
