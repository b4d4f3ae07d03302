"""The guests' entry code, of the architecture that the configuration names."""

from xenarm.config import CONFIG

if CONFIG.ARM64:
    from guests.runtime.head64 import fault
else:
    from guests.runtime.head32 import fault

__all__ = ["fault"]
