"""The first stage in a board's NOR flash: copies what is in the flash to memory, completes the machine's device tree, and enters the hypervisor.

A small image of its own, at the address where the CPU starts. It runs from the flash with the MMU off and has nothing in memory but a stack.
"""
