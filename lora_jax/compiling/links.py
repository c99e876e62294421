"""The time that a step's devices need to communicate.

One rule computes it from the bytes that a device receives.

It is a lower bound. We take every link of the data sheet to be busy all the time. No compiler says how much
of this time a program hides behind computing. So a step takes at least the larger of computing and
communication, and at most both.

Between machines there are network cards. Their speed depends on the cluster. So we assume that of NVIDIA's
own machines (lora_jax/target.py), and `network_assumption` says so.
"""

from collections.abc import Sequence

from lora_jax.compiling.results import Collective
from lora_jax.target import Target


def communication_seconds(collectives: Sequence[Collective], target: Target) -> float:
    """Return the seconds that a device needs to receive its data in one step.

    For each kind of collective we take the larger of two times: all its bytes over the links of a machine or
    a slice, and those from other machines over the network card. Both run at the same time.
    """
    device = target.device
    network = device.network_bandwidth or device.link_bandwidth
    return sum(
        max(one.received_bytes / device.link_bandwidth, one.network_bytes / network) for one in collectives
    )


def network_assumption(target: Target) -> str:
    """Return a sentence about what we assume of the network between a target's machines.

    "" for one machine.
    """
    bandwidth = target.device.network_bandwidth
    if target.n_hosts == 1 or bandwidth is None:
        return ""
    return (
        f"It is {target.n_hosts} machines of {target.device.n_joined} GPUs, and of the network between them"
        f" we assume {8 * bandwidth / 1e9:.0f} Gbit/s for each GPU, as in NVIDIA's DGX: a slower one takes"
        " longer."
    )
