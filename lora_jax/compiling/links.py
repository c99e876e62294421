"""The time that a step's devices need to communicate.

One rule computes it from the bytes that a device receives.

It is a lower bound. We take every link of the data sheet to be busy all the time, and we leave out the links
between hosts. No compiler says how much of this time a program hides behind computing. So a step takes at
least the larger of computing and communication, and at most both.
"""

from collections.abc import Sequence

from lora_jax.compiling.results import Collective
from lora_jax.target import Target

HOST_GPUS = 8  # number of GPUs that NVLink joins in one machine


def communication_seconds(collectives: Sequence[Collective], target: Target) -> float:
    """Return the bytes that a device receives in a step over the bytes per second that its links bring."""
    received = sum(collective.received_bytes for collective in collectives)
    return received / target.device.link_bandwidth


def crosses_hosts(target: Target) -> bool:
    """Has the target more GPUs than one machine? Then slower links than NVLink lie between them."""
    return target.platform == "gpu" and target.n_devices > HOST_GPUS
