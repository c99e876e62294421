"""How fast a machine trains and how much memory it has, by published peaks or measured matmuls."""

from dataclasses import replace
from functools import lru_cache

from lora_jax.config import ModelConfig, RunConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import flops_per_token
from lora_jax.runs.matmuls import time_matmuls
from lora_jax.target import DEVICES, Device, Target, device_of
from lora_jax.training.cpu_memory import memory_bytes
from lora_jax.training.remat import resolve_run

ASSUMED_UTILISATION = (
    0.3  # share of a device's peak that a model reaches if it fills it; small ones reach less
)
DEEPEST = 48  # most blocks whose matmuls we time; they compile in less than a second
MOST_TIMED = 2e11  # FLOPs of the largest step that we time; six times take seconds on a laptop
CPU_STEP_OVER_MATMULS = 2.0  # time of a whole step over its matmuls alone, measured by `./launch.sh bench`


def present_device() -> Device | None:
    """Return the accelerator that JAX sees. None for a CPU, whose speed we measure instead.

    Raises:
        LoraJaxError: The accelerator is of a kind whose data sheet is not here.
    """
    import jax

    if jax.default_backend() == "cpu":
        return None
    kind = jax.devices()[0].device_kind.lower()
    device = device_of(Target(jax.default_backend(), kind))
    if device is not None:
        return device
    raise LoraJaxError(f"no peak is known for {kind!r}: pass --device with one of {sorted(DEVICES)}.")


def find_peak_flops() -> float | None:
    """Return the peak FLOPs per second of this process's devices together. None if it is not known."""
    import jax

    try:
        device = present_device()
    except LoraJaxError:  # we have no data sheet of this kind
        return None
    return None if device is None else device.peak_flops * len(jax.devices())


def seconds_per_step(run: RunConfig, device: Device | None) -> float:
    """Estimate the time of one training step in seconds.

    On a CPU we time the step's matmuls. For a deeper model we time those of `DEEPEST` blocks. We do not run a
    large step only to price it (`is_timed`). Then we divide its FLOPs by this machine's speed on a typical
    shape.

    Args:
        run: The run.
        device: The device. None is this machine's CPU.
    """
    flops = step_flops(run)
    if device is not None:
        return flops / (ASSUMED_UTILISATION * device.peak_flops)
    if not is_timed(run):
        return flops / speed_once()
    model = replace(run.model, n_layers=min(run.model.n_layers, DEEPEST))
    n_parts = run.optim.accumulate
    matmuls = n_parts * time_matmuls(model, run.optim.batch_size // n_parts, run.data.seq_len)
    share = flops_per_token(model, run.data.seq_len) / flops_per_token(run.model, run.data.seq_len)
    return CPU_STEP_OVER_MATMULS * matmuls / share


def step_flops(run: RunConfig) -> float:
    """Return the FLOPs of one training step."""
    return float(flops_per_token(run.model, run.data.seq_len)) * run.tokens_per_step


def is_timed(run: RunConfig) -> bool:
    """Are a run's matmuls few enough to be timed? That takes a moment, and at most half the free memory."""
    from lora_jax.runs.lane_count import memory_limit

    traced, _ = resolve_run(run, Target("cpu", "cpu"))
    return step_flops(run) <= MOST_TIMED and memory_bytes(traced) <= memory_limit() / 2


# For the speed of a machine we take a model of the size that a sweep spends most of its time on.
TYPICAL = ModelConfig(d_model=128, n_layers=4, n_heads=4, vocab_size=512, context=128)
TYPICAL_BATCH = 16


@lru_cache
def speed_once() -> float:
    """Return `present_speed`, measured once in a process."""
    return present_speed()


def present_speed() -> float:
    """Return the training speed of this machine in FLOPs per second, forward and backward, counted exactly.

    On a CPU we time matmuls of a typical shape just now. On an accelerator we take a share of its peak.
    """
    device = present_device()
    if device is not None:
        return ASSUMED_UTILISATION * device.peak_flops
    matmuls = time_matmuls(TYPICAL, TYPICAL_BATCH, TYPICAL.context)
    flops = flops_per_token(TYPICAL, TYPICAL.context) * TYPICAL_BATCH * TYPICAL.context
    return flops / (CPU_STEP_OVER_MATMULS * matmuls)
