"""Single instructions as declared operations: barriers, hints, cache and TLB maintenance, device loads and stores. AArch64's, then ARMv7's.

The bodies are the models that CPython runs: hints and maintenance do nothing there, devices go to `BUS`. AArch64 reads devices by load-acquire,
and invalidates other CPUs' TLBs twice: `arm64/errata.py` says for which cores (832075, 1286807).
A device access keeps its order among other operations only; where memory must be seen first, say a barrier.
"""

from typing import Any

from freestanding import operation, u8, u16, u32, u64, usize
from xenarm.config import CONFIG

LOAD = "ldar" if CONFIG.ERRATUM_832075 else "ldr"
"""How AArch64 reads devices."""

__all__ = [
    "BUS",
    "STACK_OFFSET",
    "ModelBus",
    "address_translate_el1_read",
    "address_translate_el1_write",
    "address_translate_guest_read",
    "address_translate_guest_write",
    "cpu_relax",
    "data_memory_barrier",
    "data_sync_all",
    "data_sync_inner",
    "data_sync_inner_stores",
    "data_sync_local",
    "dcache_clean_invalidate_set_way",
    "dcache_clean_invalidate_va",
    "icache_invalidate_all_inner",
    "instruction_sync",
    "mmio_read8",
    "mmio_read16",
    "mmio_read32",
    "mmio_read32_of",
    "mmio_read64",
    "mmio_reader32",
    "mmio_write8",
    "mmio_write16",
    "mmio_write32",
    "mmio_write32_of",
    "mmio_write64",
    "mmio_writer32",
    "read_stack_pointer",
    "send_event",
    "tlb_invalidate_all_guests",
    "tlb_invalidate_el2",
    "tlb_invalidate_el2_va",
    "tlb_invalidate_guest",
    "tlb_invalidate_guest_ipa",
    "tlb_invalidate_guest_stage1",
    "tlb_invalidate_guest_stage1_local",
    "wait_for_event",
    "wait_for_interrupt",
]


class ModelBus:
    """The devices of a test: address to value, with hooks that a test may override."""

    def __init__(self) -> None:
        self.memory: dict[int, int] = {}

    def read(self, address: int, width: int) -> int:
        return self.memory.get(address, 0) & ((1 << 8 * width) - 1)

    def write(self, address: int, width: int, value: int) -> None:
        self.memory[address] = value

    def translate(self, address: int, write: bool) -> None:
        """A guest's address, through both stages: the result goes to PAR_EL1."""

    def store_exclusive(self, address: int) -> bool:
        """Whether a store-exclusive to a guest's memory succeeds."""
        return True


BUS = ModelBus()


def _hint(name: str, aarch64: str, armv7: str = "", *, memory: bool = True) -> Any:
    """An operation without operands, spelled alike in both where only one is given; `memory` keeps the compiler from moving accesses across it."""

    def model() -> None:
        return None

    model.__name__ = model.__qualname__ = name
    return operation(aarch64=aarch64, armv7=armv7 or aarch64, clobbers=("memory",) if memory else ())(model)


def _twice(aarch64: str) -> str:
    """An invalidation that other CPUs take part in."""
    return f"{aarch64}\n    dsb ish\n    {aarch64}"


cpu_relax = _hint("cpu_relax", "yield")
wait_for_interrupt = _hint("wait_for_interrupt", "wfi")
wait_for_event = _hint("wait_for_event", "wfe")
send_event = _hint("send_event", "sev")
instruction_sync = _hint("instruction_sync", "isb")
data_memory_barrier = _hint("data_memory_barrier", "dmb ish")
data_sync_all = _hint("data_sync_all", "dsb sy")
data_sync_inner = _hint("data_sync_inner", "dsb ish")
data_sync_inner_stores = _hint("data_sync_inner_stores", "dsb ishst")
data_sync_local = _hint("data_sync_local", "dsb nsh")
icache_invalidate_all_inner = _hint("icache_invalidate_all_inner", "ic ialluis", "mcr p15, 0, r0, c7, c1, 0")  # ICIALLUIS
tlb_invalidate_el2 = _hint("tlb_invalidate_el2", _twice("tlbi alle2is"), "mcr p15, 4, r0, c8, c3, 0")  # TLBIALLHIS
tlb_invalidate_all_guests = _hint("tlb_invalidate_all_guests", "tlbi alle1", "mcr p15, 4, r0, c8, c7, 4")  # TLBIALLNSNH
tlb_invalidate_guest = _hint("tlb_invalidate_guest", _twice("tlbi vmalls12e1is"), "mcr p15, 0, r0, c8, c3, 0")  # TLBIALLIS
tlb_invalidate_guest_stage1 = _hint("tlb_invalidate_guest_stage1", _twice("tlbi vmalle1is"), "mcr p15, 0, r0, c8, c3, 0")  # TLBIALLIS
tlb_invalidate_guest_stage1_local = _hint("tlb_invalidate_guest_stage1_local", "tlbi vmalle1", "mcr p15, 0, r0, c8, c7, 0")  # TLBIALL


def _maintenance(name: str, aarch64: str, opc1: int, crn: int, crm: int, opc2: int, *, twice: bool = False) -> Any:
    """An operation on one address (or, for TLBI, an address in the register format of Arm ARM D8.14); ARMv7's by its encoding in CP15."""

    def model(value: u64) -> None:
        return None

    model.__name__ = model.__qualname__ = name
    armv7 = f"mcr p15, {opc1}, {{value:lo}}, c{crn}, c{crm}, {opc2}"
    arm64 = f"{aarch64}, {{value}}"
    return operation(aarch64=_twice(arm64) if twice else arm64, armv7=armv7, clobbers=("memory",))(model)


dcache_clean_invalidate_va = _maintenance("dcache_clean_invalidate_va", "dc civac", 0, 7, 14, 1)  # DCCIMVAC
dcache_clean_invalidate_set_way = _maintenance("dcache_clean_invalidate_set_way", "dc cisw", 0, 7, 14, 2)  # DCCISW
tlb_invalidate_el2_va = _maintenance("tlb_invalidate_el2_va", "tlbi vae2is", 4, 8, 3, 1, twice=True)  # TLBIMVAHIS
tlb_invalidate_guest_ipa = _maintenance("tlb_invalidate_guest_ipa", "tlbi ipas2e1is", 0, 8, 3, 0, twice=True)  # TLBIALLIS: ARMv7 has none by IPA
address_translate_el1_read = _maintenance("address_translate_el1_read", "at s1e1r", 0, 7, 8, 0)  # ATS1CPR
address_translate_el1_write = _maintenance("address_translate_el1_write", "at s1e1w", 0, 7, 8, 1)  # ATS1CPW


@operation(aarch64="at s12e1r, {address}", armv7="mcr p15, 0, {address:lo}, c7, c8, 4")  # ATS12NSOPR
def address_translate_guest_read(address: u64) -> None:
    BUS.translate(int(address), False)


@operation(aarch64="at s12e1w, {address}", armv7="mcr p15, 0, {address:lo}, c7, c8, 5")  # ATS12NSOPW
def address_translate_guest_write(address: u64) -> None:
    BUS.translate(int(address), True)


@operation(aarch64=f"{LOAD}b {{ret:w}}, [{{address}}]", armv7="ldrb {ret}, [{address:lo}]")
def mmio_read8(address: u64) -> u8:
    return u8(BUS.read(int(address), 1))


@operation(aarch64=f"{LOAD}h {{ret:w}}, [{{address}}]", armv7="ldrh {ret}, [{address:lo}]")
def mmio_read16(address: u64) -> u16:
    return u16(BUS.read(int(address), 2))


@operation(aarch64=f"{LOAD} {{ret:w}}, [{{address}}]", armv7="ldr {ret}, [{address:lo}]")
def mmio_read32(address: u64) -> u32:
    return u32(BUS.read(int(address), 4))


@operation(aarch64=f"{LOAD} {{ret}}, [{{address}}]", armv7="ldrd {ret:lo}, {ret:hi}, [{address:lo}]")
def mmio_read64(address: u64) -> u64:
    return u64(BUS.read(int(address), 8))


@operation(aarch64="strb {value:w}, [{address}]", armv7="strb {value}, [{address:lo}]")
def mmio_write8(address: u64, value: u8) -> None:
    BUS.write(int(address), 1, int(value))


@operation(aarch64="strh {value:w}, [{address}]", armv7="strh {value}, [{address:lo}]")
def mmio_write16(address: u64, value: u16) -> None:
    BUS.write(int(address), 2, int(value))


@operation(aarch64="str {value:w}, [{address}]", armv7="str {value}, [{address:lo}]")
def mmio_write32(address: u64, value: u32) -> None:
    BUS.write(int(address), 4, int(value))


@operation(aarch64="str {value}, [{address}]", armv7="strd {value:lo}, {value:hi}, [{address:lo}]")
def mmio_write64(address: u64, value: u64) -> None:
    BUS.write(int(address), 8, int(value))


READ_OF = "add {ret}, {base}, {index}, lsl #2\n    ldar {ret:w}, [{ret}]" if CONFIG.ERRATUM_832075 else "ldr {ret:w}, [{base}, {index}, lsl #2]"


@operation(aarch64=READ_OF, armv7="ldr {ret}, [{base:lo}, {index:lo}, lsl #2]")
def mmio_read32_of(base: u64, index: u64) -> u32:
    """One of an array of registers."""
    return u32(BUS.read(int(base) + 4 * int(index), 4))


@operation(aarch64="str {value:w}, [{base}, {index}, lsl #2]", armv7="str {value}, [{base:lo}, {index:lo}, lsl #2]")
def mmio_write32_of(base: u64, index: u64, value: u32) -> None:
    BUS.write(int(base) + 4 * int(index), 4, int(value))


def mmio_reader32(offset: int) -> Any:
    """The operation that reads a register at a fixed offset from its device's base: `(base: u64) -> u64`."""

    def model(base: u64) -> u64:
        return u64(BUS.read(int(base) + offset, 4))

    model.__name__ = model.__qualname__ = f"mmio_read32_at_{offset:x}"
    acquire = f"add {{ret}}, {{base}}, #{offset}\n    ldar {{ret:w}}, [{{ret}}]" if offset else "ldar {ret:w}, [{base}]"
    aarch64 = acquire if CONFIG.ERRATUM_832075 else f"ldr {{ret:w}}, [{{base}}, #{offset}]"
    return operation(aarch64=aarch64, armv7=f"ldr {{ret:lo}}, [{{base:lo}}, #{offset}]\n    mov {{ret:hi}}, #0")(model)


def mmio_writer32(offset: int) -> Any:
    """The operation that writes the low half of a value to it: `(base: u64, value: u64) -> None`."""

    def model(base: u64, value: u64) -> None:
        BUS.write(int(base) + offset, 4, int(value) & 0xFFFF_FFFF)

    model.__name__ = model.__qualname__ = f"mmio_write32_at_{offset:x}"
    return operation(aarch64=f"str {{value:w}}, [{{base}}, #{offset}]", armv7=f"str {{value:lo}}, [{{base:lo}}, #{offset}]")(model)


STACK_OFFSET = [0]
"""Where CPython's SP is in the array of stacks: that says which CPU it plays."""


@operation(aarch64="mov {ret}, sp", armv7="mov {ret}, sp")
def read_stack_pointer() -> usize:
    from freestanding import hosted

    return usize(hosted.engine().memory.symbol("__slots_start") + STACK_OFFSET[0])
