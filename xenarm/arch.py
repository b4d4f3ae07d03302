"""What the core may ask of the architecture: one list, picked by the configuration."""

from xenarm.arm.cpu import cpu_index, this_vcpu
from xenarm.arm.guest_words import guest_address_translate, guest_byte_read, guest_byte_write
from xenarm.arm.guest_words import guest_word_clear, guest_word_read, guest_word_set, guest_word_write
from xenarm.arm.instructions import cpu_relax, mmio_read8, mmio_read16, mmio_read32, mmio_read64
from xenarm.arm.instructions import mmio_write8, mmio_write16, mmio_write32, mmio_write64
from xenarm.arm.machine import arch_counter, arch_counter_hz, arch_machine_off, arch_machine_reset
from xenarm.arm.mmu import dcache_clean_invalidate, icache_invalidate, image_size, image_start, mmu_map_device, mmu_map_ram, mmu_map_small_device
from xenarm.arm.reach import ram_write
from xenarm.arm.vcpu import arch_vcpu_boot, arch_vcpu_stop, cpus_online, vcpu_assign, vcpus_left, vcpus_release
from xenarm.arm.window import window_claim, window_pages_from
from xenarm.arm.hw import page_zero
from xenarm.config import CONFIG

if CONFIG.ARM64:
    from xenarm.arm64.aarch32 import arch_runs_aarch32
    from xenarm.arm64.clear import arch_memory_clear
else:
    from xenarm.arm32.guest import arch_runs_aarch32
    from xenarm.arm.clear import memory_clear as arch_memory_clear

__all__ = [
    "arch_counter",
    "arch_counter_hz",
    "arch_machine_off",
    "arch_machine_reset",
    "arch_memory_clear",
    "arch_runs_aarch32",
    "arch_vcpu_boot",
    "arch_vcpu_stop",
    "cpu_index",
    "cpu_relax",
    "cpus_online",
    "dcache_clean_invalidate",
    "guest_address_translate",
    "guest_byte_read",
    "guest_byte_write",
    "guest_word_clear",
    "guest_word_read",
    "guest_word_set",
    "guest_word_write",
    "icache_invalidate",
    "image_size",
    "image_start",
    "mmio_read16",
    "mmio_read32",
    "mmio_read64",
    "mmio_read8",
    "mmio_write16",
    "mmio_write32",
    "mmio_write64",
    "mmio_write8",
    "mmu_map_device",
    "mmu_map_small_device",
    "mmu_map_ram",
    "page_zero",
    "ram_write",
    "this_vcpu",
    "vcpu_assign",
    "vcpus_left",
    "vcpus_release",
    "window_claim",
    "window_pages_from",
]
