"""The code of the architecture that the configuration chose: ways into a guest and between guests, what a guest starts with, reports."""

from xenarm.config import CONFIG

if CONFIG.ARM64:
    from xenarm.arm64.feature_controls import strays_load, strays_unload
    from xenarm.arm64.guest import HCR_GUEST, HCR_NO_GUEST, cpu_control, guest_register, guest_register_set, load_general, load_system
    from xenarm.arm64.processor import processor_init, processors_judge, processors_prepare, workaround_for_guests
    from xenarm.arm64.report import crash_check, frame_record, saved_vtimer, say_crash, say_crash_registers, say_guest_registers, say_saved_registers
    from xenarm.arm64.switch import context_switch, fp_give, fp_take, vcpu_address, vcpu_of, vcpu_prepare
    from xenarm.arm64.vectors import enter_guest, vectors_choose, vectors_used
else:
    from xenarm.arm32.banked import guest_register, guest_register_set
    from xenarm.arm32.guest import HCR_GUEST, HCR_NO_GUEST, cpu_control, load_general, load_system, strays_load, strays_unload
    from xenarm.arm32.processor import processor_init, processors_judge, processors_prepare, workaround_for_guests
    from xenarm.arm32.report import crash_check, frame_record, saved_vtimer, say_crash, say_crash_registers, say_guest_registers, say_saved_registers
    from xenarm.arm32.switch import context_switch, fp_give, fp_take, vcpu_address, vcpu_of, vcpu_prepare
    from xenarm.arm32.vectors import enter_guest, vectors_choose, vectors_used

__all__ = [
    "HCR_GUEST",
    "HCR_NO_GUEST",
    "context_switch",
    "cpu_control",
    "crash_check",
    "enter_guest",
    "fp_give",
    "fp_take",
    "frame_record",
    "guest_register",
    "guest_register_set",
    "load_general",
    "load_system",
    "processor_init",
    "processors_judge",
    "processors_prepare",
    "say_crash",
    "say_crash_registers",
    "saved_vtimer",
    "say_guest_registers",
    "say_saved_registers",
    "strays_load",
    "strays_unload",
    "vcpu_address",
    "vcpu_of",
    "vcpu_prepare",
    "vectors_choose",
    "vectors_used",
    "workaround_for_guests",
]
