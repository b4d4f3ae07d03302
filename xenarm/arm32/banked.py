"""A guest's general registers from HYP mode: in the frame, or banked by the mode that the guest is in (Arm ARM B1.3.2)."""

from collections.abc import Callable

from freestanding import fn, truncate, u32, u64

from xenarm.arm.frame import Register
from xenarm.arm32.registers import Mode, Reader, Writer, read_spsr_el2, reader, writer
from xenarm.arm32.vectors import LR_INDEX
from xenarm.core.domain import Vcpu

__all__ = ["guest_register", "guest_register_set"]

SP = 13
LR = 14
FIRST_BANKED = 8  # in FIQ mode; in the other modes SP and LR are


def choose_reader(names: tuple[str, ...]) -> Callable[[u32], u64]:
    """Registers by their number from SP or r8 on."""
    readers: list[Reader] = [reader(name) for name in names]
    first, second = readers[0], readers[-1]

    @fn
    def read_pair(n: u32) -> u64:
        return first() if n == SP else second()

    return read_pair


def choose_writer(names: tuple[str, ...]) -> Callable[[u32, u64], None]:
    writers: list[Writer] = [writer(name) for name in names]
    first, second = writers[0], writers[-1]

    @fn
    def write_pair(n: u32, value: u64) -> None:
        if n == SP:
            first(value)
        else:
            second(value)

    return write_pair


read_svc = choose_reader(("sp_svc", "lr_svc"))
read_abt = choose_reader(("sp_abt", "lr_abt"))
read_und = choose_reader(("sp_und", "lr_und"))
read_irq = choose_reader(("sp_irq", "lr_irq"))
read_fiq = choose_reader(("sp_fiq", "lr_fiq"))
write_svc = choose_writer(("sp_svc", "lr_svc"))
write_abt = choose_writer(("sp_abt", "lr_abt"))
write_und = choose_writer(("sp_und", "lr_und"))
write_irq = choose_writer(("sp_irq", "lr_irq"))
write_fiq = choose_writer(("sp_fiq", "lr_fiq"))
read_sp_usr: Reader = reader("sp_usr")
write_sp_usr: Writer = writer("sp_usr")
read_r8_fiq: Reader = reader("r8_fiq")
read_r9_fiq: Reader = reader("r9_fiq")
read_r10_fiq: Reader = reader("r10_fiq")
read_r11_fiq: Reader = reader("r11_fiq")
read_r12_fiq: Reader = reader("r12_fiq")
write_r8_fiq: Writer = writer("r8_fiq")
write_r9_fiq: Writer = writer("r9_fiq")
write_r10_fiq: Writer = writer("r10_fiq")
write_r11_fiq: Writer = writer("r11_fiq")
write_r12_fiq: Writer = writer("r12_fiq")


@fn
def read_fiq_low(n: u32) -> u64:
    """r8 to r12."""
    match n:
        case 8:
            return read_r8_fiq()
        case 9:
            return read_r9_fiq()
        case 10:
            return read_r10_fiq()
        case 11:
            return read_r11_fiq()
        case _:
            return read_r12_fiq()


@fn
def write_fiq_low(n: u32, value: u64) -> None:
    match n:
        case 8:
            write_r8_fiq(value)
        case 9:
            write_r9_fiq(value)
        case 10:
            write_r10_fiq(value)
        case 11:
            write_r11_fiq(value)
        case _:
            write_r12_fiq(value)


@fn
def guest_mode() -> u32:
    return truncate(u32, read_spsr_el2()) & 0x1F


@fn
def guest_register(v: Vcpu, n: u32) -> u64:
    """Register 0 to 14 as the guest names it. 15 reads as zero: no trapped access has it."""
    mode = guest_mode()
    if n > LR:
        return 0
    if mode == Mode.FIQ and n >= FIRST_BANKED and n < SP:
        return read_fiq_low(n)
    if n < SP:
        return u64(v.regs[n])
    match mode:
        case Mode.SVC:
            return read_svc(n)
        case Mode.ABT:
            return read_abt(n)
        case Mode.UND:
            return read_und(n)
        case Mode.IRQ:
            return read_irq(n)
        case Mode.FIQ:
            return read_fiq(n)
        case _:
            return read_sp_usr() if n == SP else u64(v.regs[LR_INDEX])


@fn
def guest_register_set(v: Vcpu, n: u32, value: u64) -> None:
    """The low half of a value to register 0 to 14."""
    mode = guest_mode()
    if n > LR:
        return
    if mode == Mode.FIQ and n >= FIRST_BANKED and n < SP:
        write_fiq_low(n, value)
        return
    if n < SP:
        v.regs[n] = truncate(Register, value)
        return
    match mode:
        case Mode.SVC:
            write_svc(n, value)
        case Mode.ABT:
            write_abt(n, value)
        case Mode.UND:
            write_und(n, value)
        case Mode.IRQ:
            write_irq(n, value)
        case Mode.FIQ:
            write_fiq(n, value)
        case _:
            if n == SP:
                write_sp_usr(value)
            else:
                v.regs[LR_INDEX] = truncate(Register, value)
