"""Measurements that are not of one board: see docs/ for what they show."""
