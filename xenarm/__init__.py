"""xenarm: a type-1 hypervisor of the Xen family, written in freestanding Python."""
