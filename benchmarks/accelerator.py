"""Peak memory of an accelerator, by the count of JAX's own allocator."""

from collections.abc import Callable

import jax


def peak_bytes() -> Callable[[], int] | None:
    """Return what reads the peak of the first device's memory; None on a CPU, whose peak is the process's."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return None
    return lambda: device.memory_stats()["peak_bytes_in_use"]
