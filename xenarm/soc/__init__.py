"""What is peculiar to one SoC: how its CPUs start without firmware, how it restarts, what must be set right, what guests never get."""
