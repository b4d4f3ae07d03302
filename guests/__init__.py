"""Small guests of our own, in freestanding Python: for demonstrations, tests and measurements."""
