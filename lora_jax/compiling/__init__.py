"""The training step compiled for devices that are not here: memory, collectives, and an estimated time."""
