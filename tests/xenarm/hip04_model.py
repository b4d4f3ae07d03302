"""HiP04's interrupt controller as its drivers in Linux and Xen describe it (irq-hip04.c, gic-hip04.c), and a GICv2 beside it (ARM IHI 0048B).

A bus with the registers of one machine; a test says which CPU is at work. An access that the controller has no register for fails the test.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xenarm.arm import instructions

GICD, GICC, GICH = 0xE0C0_1000, 0xE0C0_2000, 0xE0C0_4000
SPURIOUS = 1023


@dataclass(frozen=True)
class Kind:
    """CPUs; bytes of a target register; where GICD_SGIR's list begins; GICH_APR and GICH_LR0; INTIDs."""

    cpus: int
    target: int
    sgir: int
    apr: int
    lists: int
    intids: int


HIP04 = Kind(16, 2, 8, 0x70, 0x80, 510)
GICV2 = Kind(8, 1, 16, 0xF0, 0x100, 96)


@dataclass
class Interface:
    """A CPU's banked registers."""

    enabled: int = 0
    sgis: dict[int, int] = field(default_factory=dict)  # pending ones, with their sender
    control: int = 0
    mask: int = 0
    running: list[int] = field(default_factory=list)
    virtual: dict[int, int] = field(default_factory=dict)


class Controller(instructions.ModelBus):
    """`cpu` is at work; `dropped` and `deactivated` are what it has written to GICC_EOIR and GICC_DIR."""

    def __init__(self, kind: Kind, lists: int = 4) -> None:
        super().__init__()
        self.kind, self.lists, self.cpu = kind, lists, 0
        self.interfaces = [Interface() for _ in range(kind.cpus)]
        self.targets = dict.fromkeys(range(32, kind.intids), (1 << kind.cpus) - 1)
        self.priorities, self.configuration = bytearray(0x400), bytearray(0x100)
        self.enabled: set[int] = set()
        self.pending: set[int] = set()
        self.control = 0
        self.dropped: list[int] = []
        self.deactivated: list[int] = []

    @property
    def own(self) -> Interface:
        return self.interfaces[self.cpu]

    # ---- what the machine does --------------------------------------------------------------------------------------

    def reached(self, intid: int) -> list[int]:
        """CPUs that a shared interrupt is signalled to now."""
        assert self.control & 1, "the distributor forwards nothing"
        return [n for n in range(self.kind.cpus) if intid in self.enabled and self.targets[intid] >> n & 1]

    def signalled(self) -> dict[int, dict[int, int]]:
        """By CPU the SGIs that are pending there, with their senders, if they are enabled."""
        return {n: i.sgis for n, i in enumerate(self.interfaces) if i.sgis and all(i.enabled >> sgi & 1 for sgi in i.sgis)}

    # ---- the bus -----------------------------------------------------------------------------------------------------

    def read(self, address: int, width: int) -> int:
        for base, load in ((GICD, self.load_gicd), (GICC, self.load_gicc), (GICH, self.load_gich)):
            if base <= address < base + (0x2000 if base == GICC else 0x1000):
                return load(address - base, width)
        raise AssertionError(f"a load at {address:#x}")

    def write(self, address: int, width: int, value: int) -> None:
        for base, store in ((GICD, self.store_gicd), (GICC, self.store_gicc), (GICH, self.store_gich)):
            if base <= address < base + (0x2000 if base == GICC else 0x1000):
                store(address - base, width, value)
                return
        raise AssertionError(f"a store at {address:#x}")

    def load_gicd(self, at: int, width: int) -> int:
        if at == 4:
            return min(-(-self.kind.intids // 32), 32) - 1
        if at == 0x800:
            assert width == 4
            mine = 1 << self.cpu
            return sum(mine << 8 * self.kind.target * n for n in range(4 // self.kind.target))
        if 0xC00 <= at < 0xD00:
            return int.from_bytes(self.configuration[at - 0xC00 : at - 0xC00 + width], "little")
        raise AssertionError(f"GICD {at:#x} is not for reading")

    def store_gicd(self, at: int, width: int, value: int) -> None:
        if at == 0:
            self.control = value
        elif at == 0xF00:
            self.send(value)
        elif 0x100 <= at < 0x180 or 0x180 <= at < 0x200:
            self.enable((at & 0x7F) * 8, value, at < 0x180)
        elif 0x280 <= at < 0x300 or 0x380 <= at < 0x400:
            self.check_intid((at & 0x7F) * 8)
        elif 0x400 <= at < 0x400 + self.kind.intids + 2:
            self.priorities[at - 0x400 : at - 0x400 + width] = value.to_bytes(width, "little")
        elif 0x800 <= at < 0xC00:
            self.route(at - 0x800, width, value)
        elif 0xC00 <= at < 0xD00:
            self.configuration[at - 0xC00 : at - 0xC00 + width] = value.to_bytes(width, "little")
        else:
            raise AssertionError(f"GICD {at:#x}: nothing is there to write to")

    def check_intid(self, intid: int) -> None:
        assert intid < self.kind.intids, f"there is no interrupt {intid}"

    def enable(self, first: int, bits: int, on: bool) -> None:
        self.check_intid(first)
        if first == 0:
            self.own.enabled = self.own.enabled | bits if on else self.own.enabled & ~bits
        named = {first + n for n in range(32) if bits >> n & 1}
        self.enabled = self.enabled | named if on else self.enabled - named

    def route(self, at: int, width: int, value: int) -> None:
        assert at % width == 0 and width % self.kind.target == 0, "part of a target register"
        for n in range(width // self.kind.target):
            intid = at // self.kind.target + n
            bits = value >> 8 * self.kind.target * n & (1 << self.kind.cpus) - 1
            if intid < 32:
                raise AssertionError("the first 32 are read-only")
            if intid < self.kind.intids:
                self.targets[intid] = bits
            else:
                assert bits == 0 and intid < 512, f"there is no interrupt {intid}"

    def send(self, value: int) -> None:
        everybody = set(range(self.kind.cpus))
        listed = {n for n in everybody if value >> self.kind.sgir >> n & 1}
        to = {0: listed, 1: everybody - {self.cpu}, 2: {self.cpu}}[value >> 24 & 3]
        for n in to:
            self.interfaces[n].sgis[value & 15] = self.cpu

    def load_gicc(self, at: int, width: int) -> int:
        if at == 0x0C:
            assert self.own.control & 1 and self.own.mask > 0x80
            if not self.own.sgis:
                return SPURIOUS
            sgi = min(self.own.sgis)
            return sgi | self.own.sgis.pop(sgi) << 10
        if at == 0xFC:
            return 0x43B
        raise AssertionError(f"GICC {at:#x} is not for reading")

    def store_gicc(self, at: int, width: int, value: int) -> None:
        if at == 0x10:
            self.dropped.append(value)
        elif at == 0x1000:
            assert self.own.control & 1 << 9, "without EOImode there is no GICC_DIR"
            self.deactivated.append(value)
        elif at == 0:
            self.own.control = value
        elif at == 4:
            self.own.mask = value
        else:
            assert at == 8, f"GICC {at:#x}: nothing is there to write to"

    def check_gich(self, at: int, width: int) -> None:
        lists = range(self.kind.lists, self.kind.lists + 4 * self.lists, 4)
        assert width == 4 and (at in (0, 4, 8, 0x10, 0x20, 0x30, self.kind.apr) or at in lists), f"GICH {at:#x}: no register is there"

    def load_gich(self, at: int, width: int) -> int:
        self.check_gich(at, width)
        if at == 0x30:
            return sum(1 << n for n in range(self.lists) if self.own.virtual.get(self.kind.lists + 4 * n, 0) >> 28 & 3 == 0)
        return self.lists - 1 if at == 4 else self.own.virtual.get(at, 0)

    def store_gich(self, at: int, width: int, value: int) -> None:
        self.check_gich(at, width)
        assert at not in (4, 0x10, 0x20, 0x30), "read-only"
        self.own.virtual[at] = value
