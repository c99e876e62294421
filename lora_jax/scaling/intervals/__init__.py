"""Intervals: the bootstrap, where we cannot trust it, and tests against published constants."""
