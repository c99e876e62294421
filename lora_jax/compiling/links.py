"""The time that a step's devices take to talk to each other: one rule, of the bytes that a device receives.

It is a bound from below. Every link of the data sheet is taken to be busy all the time, and the links between
hosts are left out. How much of it a program hides behind its computing, no compiler says. So a step takes at
least the larger of computing and communication, and at most both.
"""

from collections.abc import Sequence

from lora_jax.compiling.results import Collective
from lora_jax.target import Target

HOST_GPUS = 8  # that NVLink joins in one machine


def communication_seconds(collectives: Sequence[Collective], target: Target) -> float:
    """Return the bytes that a device receives in a step over what its links bring in a second."""
    received = sum(collective.received_bytes for collective in collectives)
    return received / target.device.link_bandwidth


def crosses_hosts(target: Target) -> bool:
    """Has the target more GPUs than one machine, so that links slower than NVLink are between them?"""
    return target.platform == "gpu" and target.n_devices > HOST_GPUS
