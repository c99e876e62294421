"""Intervals: the bootstrap, where it cannot be trusted, tests against published constants."""
