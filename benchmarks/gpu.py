"""Model FLOPs utilisation of pretraining on an accelerator (PaLM, Chowdhery et al. 2022, appendix B)."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from benchmarks.figures import Figure, Row, Section
from benchmarks.side import TURN_SECONDS, Turn, take_turns
from benchmarks.steps import LEARNING_RATE, OPTIM
from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import count_parameters, flops_per_token
from lora_jax.runs.machine import present_device
from lora_jax.target import Device
from lora_jax.timing import Say
from lora_jax.training.lanes import Lanes
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.pretraining import init_pretraining, make_pretraining_step
from lora_jax.training.step import StepInput

UTILISATION_AT_LEAST = 0.5  # of models from LARGE parameters on
LARGE = 3e8
VOCABULARY = 50304  # GPT-2's 50257 up to a multiple of 128
LENGTHS = (1024, 2048)
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"


@dataclass(frozen=True)
class Size:
    """A model of GPT-2's family, and the most tokens a step that are tried."""

    label: str
    d_model: int
    n_layers: int
    n_heads: int
    n_tokens: int

    def model(self, seq_len: int) -> ModelConfig:
        return ModelConfig(
            d_model=self.d_model,
            n_layers=self.n_layers,
            n_heads=self.n_heads,
            vocab_size=VOCABULARY,
            context=seq_len,
            compute_dtype="bfloat16",
        )


SIZES = (
    Size("124 M", 768, 12, 12, 32768),
    Size("350 M", 1024, 24, 16, 16384),
    Size("1.3 B", 2048, 24, 16, 8192),
)


def measure_gpu(
    repeats: int,
    say: Say,
    sizes: Sequence[Size] = SIZES,
    lengths: Sequence[int] = LENGTHS,
    device: Device | None = None,
    turn_seconds: float = 4 * TURN_SECONDS,
) -> tuple[Section, ...]:
    """Time the step at every size and length; device: whose peak counts, None for the one that is here.

    Where a batch does not fit the memory, half of it is taken, and where one sequence does not, the blocks
    are computed again in the backward pass (remat); the row says what was timed.
    """
    device = device or find_accelerator()
    rows, too_large = [], []
    for size in sizes:
        for seq_len in lengths:
            say(f"gpu: {size.label}, T {seq_len}")
            found = fit_step(size.model(seq_len), seq_len, max(1, size.n_tokens // seq_len), say)
            if found is None:
                too_large.append(f"{size.label} at T {seq_len}")
                continue
            model, batch, turn = found
            seconds = take_turns({"step": turn}, repeats, turn_seconds)["step"]
            rows.append(make_row(size, model, seq_len, batch, seconds, device))
            del found, turn
            jax.clear_caches()
    note = (
        "bfloat16, weights and moments float32; MFU: FLOPs of the model's matmuls, the full T x T attention"
        f" included and recomputation not, over the peak of {1e-12 * device.peak_flops:.0f} TFLOP/s."
    )
    if too_large:
        note += f" Does not fit the memory even with a batch of one: {', '.join(too_large)}."
    return (Section("gpu", "Pretraining on an accelerator", tuple(rows), note=note),)


def find_accelerator() -> Device:
    device = present_device()
    if device is None:
        raise LoraJaxError(
            "the section gpu measures an accelerator and JAX sees a CPU alone: run it where there is one, or"
            " leave it out."
        )
    return device


def fit_step(model: ModelConfig, seq_len: int, batch: int, say: Say) -> tuple[ModelConfig, int, Turn] | None:
    """Return the model with its remat, the largest batch that fits, and the turn that steps it."""
    tries = []
    while batch > 1:
        tries.append((model, batch))
        batch //= 2
    tries += [(model, 1), (replace(model, remat="dots"), 1), (replace(model, remat="full"), 1)]
    for tried, rows in tries:
        try:
            turn = make_turn(tried, seq_len, rows)
            turn(1)
            return tried, rows, turn
        except jax.errors.JaxRuntimeError as error:
            if OUT_OF_MEMORY not in str(error):
                raise
            say(f"gpu: a batch of {rows} does not fit, remat {tried.remat}")
    return None


def make_turn(model: ModelConfig, seq_len: int, batch: int) -> Turn:
    windows_BU = jax.random.randint(jax.random.key(0), (batch, seq_len + 1), 0, model.vocab_size, jnp.int32)
    given = [StepInput(windows_BU, make_hyperparams(OPTIM, LEARNING_RATE))]
    lanes = Lanes(make_pretraining_step(model, OPTIM), [init_pretraining(model, OPTIM, 0)])

    def turn(times: int) -> float:
        started = time.perf_counter()
        jax.block_until_ready([lanes.step(given) for _ in range(times)])
        return time.perf_counter() - started

    return turn


def make_row(
    size: Size, model: ModelConfig, seq_len: int, batch: int, seconds: Sequence[float], device: Device
) -> Row:
    """Turn the seconds of a step into tokens per second and the share of the device's peak."""
    tokens = batch * seq_len
    flops = flops_per_token(model, seq_len) * tokens
    asked = UTILISATION_AT_LEAST if count_parameters(model).total >= LARGE else None
    remat = "" if model.remat == "none" else f", remat {model.remat}"
    utilisation = tuple(flops / s / device.peak_flops for s in seconds)
    return Row(
        f"{size.label}, T {seq_len}, B {batch}{remat}",
        {
            "d_model": size.d_model,
            "n_layers": size.n_layers,
            "seq_len": seq_len,
            "batch": batch,
            "remat": model.remat,
            "flops": flops,
            "peak_flops": device.peak_flops,
        },
        (
            Figure("tokens/s", "tokens/s", tuple(tokens / s for s in seconds)),
            Figure("step", "ms", tuple(1e3 * s for s in seconds)),
            Figure("MFU", "ratio", utilisation, at_least=asked, better="more"),
        ),
    )
