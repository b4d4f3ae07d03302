"""What drivers of serial lines share."""

__all__ = ["PATIENCE"]

PATIENCE = 100_000
"""Looks at a port that takes nothing before it counts as stopped. A character takes 87 us at 115,200 baud, 8.3 ms at 1,200; so many looks
take longer on any bus."""
