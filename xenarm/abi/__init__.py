"""The public Xen guest interface: numbers that a guest may rely on."""
