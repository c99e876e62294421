"""Processes that work on one results folder: how each is told from the others, and which of them has what."""
