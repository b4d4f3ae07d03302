"""Which vCPU runs where, and for how long: interchangeable schedulers behind one table. Knows no architecture; see docs/scheduling.md."""
