"""What a program is compiled for while it is traced: a named target, or this process's devices.

Code that does one thing on a CPU and another on an accelerator must ask `current_target` and nothing else.
The named target is part of the key of JAX's caches. So JAX traces a function again for another target.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import jax

from lora_jax.target import Target

# Unlike a ContextVar, this is part of the key of JAX's caches.
_named = jax.make_user_context(default_value=None)


@contextmanager
def compiling_for(target: Target) -> Generator[None]:
    """Trace the block for a target. Its devices need not be there."""
    with _named(target):
        yield


def current_target() -> Target:
    """Return the target of `compiling_for`. Outside it, return the devices that this process computes on."""
    named = _named.value
    return present_target() if named is None else named


def present_target() -> Target:
    """Return the devices that JAX sees in this process."""
    platform = jax.default_backend()
    if platform == "cpu":
        return Target("cpu", "cpu")
    device = jax.local_devices()[0]  # with several processes take one of our own: the others tell less
    kind = device.device_kind.lower()
    return Target(platform, kind, (jax.device_count(),), _capability(device))


def on_cpu() -> bool:
    """Return whether the program is traced for a CPU."""
    return current_target().platform == "cpu"


def _capability(device: Any) -> tuple[int, int] | None:
    """Return the compute capability of an NVIDIA GPU. None for other devices, AMD's GPUs included."""
    if device.platform != "gpu" or "cuda" not in device.client.platform_version:
        return None
    major, minor = str(device.compute_capability).split(".")
    return int(major), int(minor)
