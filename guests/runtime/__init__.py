"""What our guests share: entry, exceptions, console, interrupts, timer and PSCI, all found in the device tree."""
