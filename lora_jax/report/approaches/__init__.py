"""Chinchilla's approaches 1 and 2."""
