"""Processes that work on one results folder: how we tell them apart, and which of them has which job."""
