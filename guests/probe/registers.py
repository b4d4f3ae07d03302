"""Calls to the hypervisor and registers that trap: what they answer, and that they answer at all."""

from freestanding import fn, operation, u64
from guests.probe.report import expect, expect_true
from guests.runtime.gic import GIC
from guests.runtime.machine import MACHINE
from guests.runtime.psci import psci_affinity_info, psci_cpu_on, psci_hvc, psci_smc
from xenarm.abi.psci import PSCI_64BIT, PSCI_BASE, PsciFunction, Smccc
from xenarm.arm64.registers import Reader, Writer, read_aa64dfr0, read_aa64pfr0, read_mpidr_el1, reader, writer
from xenarm.arm.instructions import mmio_read32
from xenarm.gic.registers import Gicd

__all__ = ["probe_calls", "probe_registers"]

MINUS_1_32 = 0xFFFF_FFFF
MINUS_1 = 0xFFFF_FFFF_FFFF_FFFF
MINUS_2 = MINUS_1 - 1
ALREADY_ON = MINUS_1 - 3
PMUVER_SHIFT = 8
EL2_SHIFT = 8

read_oslsr_el1: Reader = reader("oslsr_el1")
write_oslar_el1: Writer = writer("oslar_el1")
read_dbgbcr0_el1: Reader = reader("dbgbcr0_el1")
write_dbgbcr0_el1: Writer = writer("dbgbcr0_el1")
read_pmcr_el0: Reader = reader("pmcr_el0")
write_pmcr_el0: Writer = writer("pmcr_el0")
read_actlr: Reader = reader("actlr_el1")


@operation(aarch64="dc csw, {value}", clobbers=("memory",))
def clean_set_way(value: u64) -> None:
    return None


@fn
def probe_registers() -> None:
    expect(b"mpidr", read_mpidr_el1() & 0xFF_00FF_FFFF, MACHINE.mpidr[0])
    expect(b"no-el2", read_aa64pfr0() >> EL2_SHIFT & 0xF, 0)
    expect(b"no-pmu", read_aa64dfr0() >> PMUVER_SHIFT & 0xF, 0)
    write_oslar_el1(0)
    expect(b"os-lock", read_oslsr_el1() & 0xA, 8)
    write_dbgbcr0_el1(0x1E5)
    expect(b"no-breakpoints", read_dbgbcr0_el1(), 0)
    read_actlr()
    clean_set_way(0)
    clean_set_way(0xFFFF_FFFE)
    expect_true(b"set-way", True)
    if not GIC.v3:
        expect(b"cpu-number", u64(mmio_read32(GIC.gicd + Gicd.TYPER) >> 5 & 7), u64(MACHINE.cpus - 1))


@fn
def probe_calls() -> None:
    expect_true(b"psci-version", psci_hvc(PSCI_BASE, 0, 0, 0) >= 0x1_0000)
    expect(b"psci-by-smc", psci_smc(PSCI_BASE, 0, 0, 0), psci_hvc(PSCI_BASE, 0, 0, 0))
    expect_true(b"smccc-version", psci_hvc(Smccc.VERSION, 0, 0, 0) >= 0x1_0001)
    expect(b"features", psci_hvc(PSCI_BASE + PsciFunction.FEATURES, PSCI_BASE + PSCI_64BIT + PsciFunction.CPU_ON, 0, 0), 0)
    expect(b"no-feature", psci_hvc(PSCI_BASE + PsciFunction.FEATURES, PSCI_BASE + 0x1F, 0, 0) & MINUS_1_32, MINUS_1_32)
    expect(b"unknown-call", psci_hvc(0xC600_1234, 0, 0, 0), MINUS_1)
    expect(b"affinity-on", psci_affinity_info(MACHINE.mpidr[0]), 0)
    expect(b"affinity-nobody", psci_affinity_info(0x55) & MINUS_1_32, MINUS_2 & MINUS_1_32)
    expect(b"already-on", psci_cpu_on(MACHINE.mpidr[0], 0x4000_0000, 0), ALREADY_ON)
    expect(b"on-nobody", psci_cpu_on(0x55, 0x4000_0000, 0), MINUS_2)
