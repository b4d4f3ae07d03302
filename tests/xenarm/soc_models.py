"""The registers by which SoCs start CPUs, as their manuals describe them: what `xenarm/soc` is tested against.

Each model is a bus with CPUs: `running` has, by number, the address at which each began. What a manual forbids fails the test.
"""

from __future__ import annotations

from collections.abc import Callable

from xenarm.arm import instructions


class SocModel(instructions.ModelBus):
    """Registers of four bytes; those that a model knows have handlers, any other access fails the test."""

    def __init__(self) -> None:
        super().__init__()
        self.running: dict[int, int] = {}
        self.values: dict[int, int] = {}
        self.stores: dict[int, Callable[[int], None]] = {}
        self.loads: dict[int, Callable[[], int]] = {}
        self.ended = ""

    def register(self, address: int, value: int = 0, store: Callable[[int], None] | None = None, load: Callable[[], int] | None = None) -> None:
        self.values[address] = value
        if store is not None:
            self.stores[address] = store
        if load is not None:
            self.loads[address] = load

    def read(self, address: int, width: int) -> int:
        assert width == 4 and address in self.values, f"a load of {width} bytes at {address:#x}"
        return self.loads[address]() if address in self.loads else self.values[address]

    def write(self, address: int, width: int, value: int) -> None:
        assert width == 4 and address in self.values, f"a store of {width} bytes at {address:#x}"
        self.values[address] = value
        if address in self.stores:
            self.stores[address](value)

    def end(self, how: str) -> None:
        self.ended = how

    def interrupt(self) -> None:
        """Every other CPU is interrupted."""

    def event(self) -> None:
        """SEV."""


class Exynos5250(SocModel):
    """Exynos 5 Dual User's Manual: PMU (ARM_CORE1_CONFIGURATION and _STATUS, SWRESET), MCT (G_TCON); the boot ROM's pen."""

    def __init__(self, secure: bool = False, powered: bool = False) -> None:
        super().__init__()
        self.entry = 0x0204_F01C if secure else 0x0202_0000
        self.register(self.entry)
        self.register(0x1004_0400, store=lambda value: self.end("restart") if value & 1 else None)
        self.register(0x1004_2080, 3 if powered else 0, self.configure)
        self.looks = 0
        self.register(0x1004_2084, 3 if powered else 0, load=self.status)
        self.register(0x101C_0240)
        self.allowed = not secure  # by the monitor's call

    def configure(self, value: int) -> None:
        assert value in (0, 3)
        self.looks = 0

    def status(self) -> int:
        """The power comes up after a while."""
        self.looks += 1
        if self.looks > 5:
            self.values[0x1004_2084] = self.values[0x1004_2080]
        return self.values[0x1004_2084]

    def interrupt(self) -> None:
        if self.values[0x1004_2084] == 3 and self.values[self.entry] and self.allowed:
            self.running[1] = self.values[self.entry]


class Omap5(SocModel):
    """SWPU249: AuxCoreBoot0 has the number of the CPU that may go on, from bit 5, AuxCoreBoot1 where; master counter; PRM."""

    def __init__(self, clock: int = 4) -> None:
        super().__init__()
        self.register(0x4828_1800)
        self.register(0x4828_1804)
        self.register(0x4AE0_6110, clock)
        self.register(0x4AE0_7C00, store=lambda value: self.end("restart") if value & 3 else None)
        self.register(0x4824_3210, 0xA000_0001)
        self.register(0x4824_3214, 0xB000_0001)

    def event(self) -> None:
        if self.values[0x4828_1800] >> 5 == 1:
            self.running[1] = self.values[0x4828_1804]

    def counts(self, hertz: int) -> float:
        """The counter's rate."""
        assert self.values[0x4824_3214] & 1 << 16, "the denominator is not taken over"
        return hertz * (self.values[0x4824_3210] & 0xFFF) / (self.values[0x4824_3214] & 0xFFF)


class Sunxi(SocModel):
    """A20 and A31 User Manuals: a CPU runs from PRIVATE0 when its reset ends with the power on and its clamp open."""

    def __init__(self, cpucfg: int, clamps: dict[int, int], gates: dict[int, tuple[int, int]]) -> None:
        super().__init__()
        self.base, self.clamps, self.gates = cpucfg, clamps, gates
        for cpu, clamp in clamps.items():
            self.register(cpucfg + 0x40 + 0x40 * cpu, 3, self.reset(cpu))
            self.register(clamp, 0xFF, self.clamp(clamp))
            self.values.setdefault(gates[cpu][0], 0)
            self.values[gates[cpu][0]] |= gates[cpu][1]
        self.register(cpucfg + 0x184, 0xF)
        self.register(cpucfg + 0x1A4)
        self.register(cpucfg + 0x1E4, 0xF)
        self.steps: dict[int, list[int]] = {clamp: [] for clamp in clamps.values()}

    def clamp(self, at: int) -> Callable[[int], None]:
        return lambda value: self.steps[at].append(value)

    def reset(self, cpu: int) -> Callable[[int], None]:
        def store(value: int) -> None:
            if value == 0:
                self.running.pop(cpu, None)
                return
            assert value == 3
            assert not self.values[self.base + 0x184] & 1 << cpu, "the cache was not reset"
            assert not self.values[self.base + 0x1E4] & 1 << cpu, "a debugger may hold it"
            assert self.steps[self.clamps[cpu]] == [0xFF >> n for n in range(9)], "the supply sagged"
            assert not self.values[self.gates[cpu][0]] & self.gates[cpu][1], "it has no power"
            self.running[cpu] = self.values[self.base + 0x1A4]

        return store


def a20() -> Sunxi:
    """CPU 1's clamp and gate are in the CPU configuration; an old watchdog."""
    made = Sunxi(0x01C2_5C00, {1: 0x01C2_5DB0}, {1: (0x01C2_5DB4, 1)})
    made.register(0x01C2_0C94, store=lambda value: made.end("restart") if value & 3 == 3 else None)
    return made


def a31() -> Sunxi:
    """Those of all CPUs are in the PRCM; a new watchdog."""
    made = Sunxi(0x01F0_1C00, {n: 0x01F0_1540 + 4 * n for n in range(4)}, {n: (0x01F0_1500, 1 << n) for n in range(4)})
    made.register(0x01C2_0CB4)
    made.register(0x01C2_0CB8, store=lambda value: made.end("restart") if value & 1 and made.values[0x01C2_0CB4] & 3 == 1 else None)
    return made


class RcarH2(SocModel):
    """R-Car H2 User's Manual: APMUs, RST, SYSC, CPG, RWDT. A CPU begins at its cluster's boot address, where two words in RAM send it on; the SCU of the cluster
    that did not boot is off, and takes a while to get ready, to accept a request, and to have power. `running` is by MPIDR."""

    APMUS, RST, SYSC, RAM = (0xE615_2000, 0xE615_1000), 0xE616_0000, 0xE618_0000, 0xE63C_0000
    BARS, RESETS, KEYS, SCUS, EVENTS = (0x20, 0x30), (0x40, 0x44), (0xA5A5, 0x5A5A), (0x180, 0x100), (1 << 12, 1 << 21)
    CPG, RWDT, ROM = 0xE615_0000, 0xE602_0000, 0xE634_0000

    def __init__(self, boots: int = 0, refusals: int = 2) -> None:
        super().__init__()
        self.powered = [number == boots for number in range(2)]
        self.boots, self.refusals, self.looks = boots, refusals, 0
        for number in range(2):
            self.register(self.APMUS[number] + 0x10, store=self.wake(number), load=self.waking(number))
            self.register(self.APMUS[number] + 0x180)
            self.register(self.RST + self.BARS[number], self.ROM >> 8 | 0x10)
            self.register(self.RST + self.RESETS[number], 0xF, self.reset(number))
            self.register(self.SYSC + self.SCUS[number], load=self.power_status(number))
            self.register(self.SYSC + self.SCUS[number] + 0x0C, store=self.resume(number))
            self.register(self.SYSC + self.SCUS[number] + 0x14)
        self.register(self.SYSC, 0, load=self.ready)
        self.register(self.SYSC + 0x04, load=self.events)
        self.register(self.SYSC + 0x08, store=self.events_clear)
        self.register(self.SYSC + 0x0C)
        self.register(self.SYSC + 0x10)
        self.register(self.RAM)
        self.register(self.RAM + 4)
        self.register(self.RST + 0x54, 0xFFFF, self.watchdog_resets)
        self.register(self.CPG + 0x140, 0x0000_03FC)
        self.register(self.CPG + 0x4C, load=lambda: self.values[self.CPG + 0x140])
        self.register(self.RWDT, store=self.count)
        self.register(self.RWDT + 4, 0x87, self.watchdog)  # as after the boot ROM: it may run
        self.by_watchdog, self.counter = False, 0

    def read(self, address: int, width: int) -> int:
        if address == self.RWDT + 4:
            assert width == 1, "it is read by the byte"
            self.looks += 1
            return self.values[address] & 0xFF | (0x20 if self.looks < 3 else 0)
        return super().read(address, width)

    # ---- SYSC

    def power_status(self, number: int) -> Callable[[], int]:
        return lambda: 0 if self.powered[number] else 1

    def ready(self) -> int:
        """For a request to resume, at the third look."""
        self.looks += 1
        return 2 if self.looks % 3 == 0 else 0

    def resume(self, number: int) -> Callable[[int], None]:
        def store(value: int) -> None:
            assert value == 1 and self.looks and self.looks % 3 == 0, "it is not ready for a request"
            assert self.values[self.SYSC + 0x0C] & self.EVENTS[number] and self.values[self.SYSC + 0x10] & self.EVENTS[number], "its events are not on, or interrupt CPUs"
            refused = self.refusals > 0
            self.refusals -= 1
            self.values[self.SYSC + self.SCUS[number] + 0x14] = 1 if refused else 0
            if not refused:
                self.looks = 0
                self.values[self.SYSC + 0x04] = self.EVENTS[number] << 32  # soon

        return store

    def events(self) -> int:
        self.looks += 1
        soon = self.values[self.SYSC + 0x04] >> 32
        if soon and self.looks > 4:
            self.values[self.SYSC + 0x04] = soon
            self.powered[self.EVENTS.index(soon)] = True
        return self.values[self.SYSC + 0x04] & 0xFFFF_FFFF

    def events_clear(self, value: int) -> None:
        self.values[self.SYSC + 0x04] &= ~value

    # ---- RST and APMU

    def reset(self, number: int) -> Callable[[int], None]:
        def store(value: int) -> None:
            assert value >> 16 == self.KEYS[number], "without the key the store is ignored"

        return store

    def waking(self, number: int) -> Callable[[], int]:
        """Done after one look."""
        at = self.APMUS[number] + 0x10

        def load() -> int:
            value, self.values[at] = self.values[at], 0
            return value

        return load

    def wake(self, number: int) -> Callable[[int], None]:
        def store(value: int) -> None:
            bar = self.values[self.RST + self.BARS[number]]
            assert bar & 0x10 and not self.values[self.RST + self.RESETS[number]] & 0xF, "it is held in reset, or has no boot address"
            assert self.powered[number], "its SCU is off"
            at = (bar & ~0x3FF) << 8
            assert at % 0x4_0000 == 0 and self.values[at] == 0xE51F_F004, "ldr pc, [pc, #-4]"
            for bit in range(4):
                if value & 1 << bit:
                    self.running[number << 8 | bit] = self.values[at + 4]

        return store

    # ---- RWDT

    def watchdog_resets(self, value: int) -> None:
        assert value >> 16 == 0xA55A, "without the key the store is ignored"
        self.by_watchdog = not value & 1

    def count(self, value: int) -> None:
        assert value >> 16 == 0x5A5A, "without the key the store is ignored"
        assert not self.values[self.RWDT + 4] & 0x80, "it counts"
        self.counter, self.looks = value & 0xFFFF, 0

    def watchdog(self, value: int) -> None:
        assert value >> 8 == 0xA5A5A5, "without the key the store is ignored"
        assert not self.values[self.CPG + 0x140] & 4, "its clock stands"
        if value & 0x80:
            assert self.looks >= 3, "the counter is still being written"
            assert self.counter == 0xFFFF and value & 7 == 0, "that takes long"
            bar = self.values[self.RST + self.BARS[self.boots]]
            if self.by_watchdog and bar == self.ROM >> 8 | 0x10:
                self.end("restart")


class Vexpress(SocModel):
    """DUI 0447: the SYS_FLAGS register has a set and a clear address; a function of the configuration controller is done at once."""

    BASE = 0x1C01_0000

    def __init__(self) -> None:
        super().__init__()
        self.flags = 0xBAD
        self.register(self.BASE + 0x30, store=lambda value: setattr(self, "flags", self.flags | value))
        self.register(self.BASE + 0x34, store=lambda value: setattr(self, "flags", self.flags & ~value))
        self.register(self.BASE + 0xA0)
        self.register(self.BASE + 0xA4, store=self.control)
        self.register(self.BASE + 0xA8)

    def control(self, value: int) -> None:
        assert value >> 30 == 3 and value >> 16 & 3 == 0, "a write to the motherboard"
        self.end({8: "off", 9: "restart"}[value >> 20 & 0x3F])
        self.values[self.BASE + 0xA8] = 1

    def interrupt(self) -> None:
        if self.flags:
            self.running[1] = self.flags


class Hip04(SocModel):
    """What Linux's platmcpm.c says of HiP04: a CPU runs once its core, NEON unit and debug logic are out of reset, in a cluster whose debug logic is, and
    whose part of the fabric snoops; it waits in the boot wrapper for an interrupt, which sends it on by the relocation area."""

    CONTROL, FABRIC, AREA, WRAPPER = 0xE3E0_0000, 0xE302_A000, 0xE000_0100, 0x10C0_0000

    def __init__(self) -> None:
        super().__init__()
        self.reset = [0x3FFF] * 4  # by cluster, as SC_CPU_RESET_STATUS has it
        self.reset[0] &= ~(1 << 13 | 1 << 8 | 0x211)  # CPU 0 runs
        self.waiting: set[int] = set()
        self.register(self.FABRIC + 0x0C)
        self.register(self.CONTROL + 0x4, store=lambda value: self.end("restart") if value == 0xDEAD_BEEF else None)  # where a tree says that it is
        for word in range(4):
            self.register(self.AREA + 4 * word, 0xBAD)
        for cluster in range(4):
            self.register(self.CONTROL + 0x524 + 8 * cluster, store=self.release(cluster))
            self.register(self.CONTROL + 0x1520 + 8 * cluster, load=self.status(cluster))

    def status(self, cluster: int) -> Callable[[], int]:
        return lambda: self.reset[cluster]

    def release(self, cluster: int) -> Callable[[int], None]:
        def store(value: int) -> None:
            was, self.reset[cluster] = self.reset[cluster], self.reset[cluster] & ~value
            for cpu in range(4):
                bits = 0x211 << cpu
                if was & bits and not self.reset[cluster] & bits:
                    assert not was & 1 << 13, "the cluster's debug logic is in reset"
                    assert self.values[self.FABRIC + 0x0C] >> cluster & 1, "the cluster's caches are not coherent"
                    assert self.values[self.AREA] == self.WRAPPER and self.values[self.AREA + 4] == 0xA5A5_A5A5
                    self.waiting.add(cluster << 8 | cpu)

        return store

    def interrupt(self) -> None:
        for mpidr in self.waiting:
            self.running[mpidr] = self.values[self.AREA + 8]
        self.waiting.clear()
