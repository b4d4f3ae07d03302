"""The kernels: NAME.py in freestanding Python and NAME.c in C, of one signature: four 64-bit numbers to one."""
