"""How fast a machine trains and how much memory it has: published peaks, or measured matmuls."""

from collections.abc import Mapping
from dataclasses import dataclass

from lora_jax.config import ModelConfig, RunConfig
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.model.declare import flops_per_token
from lora_jax.runs.floor import matmul_floor


@dataclass(frozen=True)
class Device:
    """An accelerator: dense bfloat16 peak in FLOPs per second and memory in bytes, by its data sheet."""

    peak_flops: float
    memory_bytes: float


DEVICES: Mapping[str, Device] = {
    "a100-80gb": Device(312e12, 80e9),
    "h100-80gb": Device(989e12, 80e9),
    "h200": Device(989e12, 141e9),
    "tpu-v4": Device(275e12, 32e9),
    "tpu-v5e": Device(197e12, 16e9),
}
ASSUMED_UTILISATION = 0.3  # of a device's peak, for a model that fills it; small models reach less
CPU_STEP_OVER_MATMULS = 2.0  # whole step over its matmuls alone, measured by `./launch.sh bench`


def find_device(name: str) -> Device:
    if name not in DEVICES:
        raise LoraJaxError(f"unknown device {name!r}{nearest(name, DEVICES)}.")
    return DEVICES[name]


def present_device() -> Device | None:
    """Return the accelerator that JAX sees, None for a CPU (which is measured instead of looked up)."""
    import jax

    if jax.default_backend() == "cpu":
        return None
    kind = jax.devices()[0].device_kind.lower().replace(" ", "-")
    for name, device in DEVICES.items():
        if name.split("-80gb")[0] in kind:
            return device
    raise LoraJaxError(f"no peak is known for {kind!r}: pass --device with one of {sorted(DEVICES)}.")


def seconds_per_step(run: RunConfig, device: Device | None) -> float:
    """Estimate the time of one training step on a device, or on this CPU where device is None."""
    if device is None:
        floor = matmul_floor(run.model, run.optim.batch_size, run.data.seq_len)
        return CPU_STEP_OVER_MATMULS * floor
    flops = flops_per_token(run.model, run.data.seq_len) * run.tokens_per_step
    return flops / (ASSUMED_UTILISATION * device.peak_flops)


# A model of the size that a sweep spends most of its time on, where the speed of a machine is asked for.
TYPICAL = ModelConfig(d_model=128, n_layers=4, n_heads=4, vocab_size=512, context=128)
TYPICAL_BATCH = 16


def present_speed() -> float:
    """Return the training FLOPs per second of this machine, forward and backward, exactly counted.

    On a CPU from its matmuls at a typical shape, timed just now; on an accelerator from its peak.
    """
    device = present_device()
    if device is not None:
        return ASSUMED_UTILISATION * device.peak_flops
    floor = matmul_floor(TYPICAL, TYPICAL_BATCH, TYPICAL.context)
    flops = flops_per_token(TYPICAL, TYPICAL.context) * TYPICAL_BATCH * TYPICAL.context
    return flops / (CPU_STEP_OVER_MATMULS * floor)
