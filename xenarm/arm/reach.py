"""Where EL2 finds the machine's RAM, by the architecture that the configuration chose."""

from xenarm.config import CONFIG

if CONFIG.ARM64:
    from xenarm.arm64.reach import ram_at, ram_run, ram_write
else:
    from xenarm.arm32.reach import ram_at, ram_run, ram_write

__all__ = ["ram_at", "ram_run", "ram_write"]
