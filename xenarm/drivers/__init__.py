"""Devices that the hypervisor itself drives."""
