"""What a program is compiled for while it is traced: a target that was named, or this process's devices.

Code that has one way for a CPU and another for an accelerator asks `current_target` alone. The named
target is part of the key of JAX's caches. So a function that was traced for one target is traced anew for
another.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from lora_jax.target import Target

# Unlike a ContextVar, this is part of the key of JAX's caches.
_named = jax.make_user_context(default_value=None)


@contextmanager
def compiling_for(target: Target) -> Iterator[None]:
    """Trace for devices that need not be there."""
    with _named(target):
        yield


def current_target() -> Target:
    """Return the target of `compiling_for`; outside it, the devices that this process computes on."""
    named = _named.value
    return present_target() if named is None else named


def present_target() -> Target:
    """Return the devices that JAX sees in this process."""
    platform = jax.default_backend()
    if platform == "cpu":
        return Target("cpu", "cpu")
    device = jax.local_devices()[0]  # of several processes, one of our own: the others tell less
    kind = device.device_kind.lower()
    return Target(platform, kind, (jax.device_count(),), _capability(device))


def on_cpu() -> bool:
    """Is the program traced for a CPU?"""
    return current_target().platform == "cpu"


def _capability(device: Any) -> tuple[int, int] | None:
    """Return the compute capability of an NVIDIA GPU; None for the others, AMD's too."""
    if device.platform != "gpu" or "cuda" not in device.client.platform_version:
        return None
    major, minor = str(device.compute_capability).split(".")
    return int(major), int(minor)
