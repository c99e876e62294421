"""Designs from a budget, and the next run."""
