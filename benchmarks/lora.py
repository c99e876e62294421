"""LoRA's training step beside peft and PyTorch: time a step and peak memory, each side in a process."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.accelerator import peak_bytes
from benchmarks.adapters import LEARNING_RATE, METHOD, OPTIM, draw_tokens, make_batch, open_adapters
from benchmarks.figures import Figure, Row, Section
from benchmarks.rivals import HOW_TO_INSTALL, PACKAGES, check_losses, is_here
from benchmarks.side import TURN_SECONDS, Side, Work, take_turns
from lora_jax.config import LLAMA, ModelConfig, to_dict
from lora_jax.huggingface.checkpoints.folder import load_folder, save_folder
from lora_jax.huggingface.packages import PACKAGES as MODELS
from lora_jax.huggingface.packages import locate_model
from lora_jax.model.declare import declare
from lora_jax.params import init
from lora_jax.timing import Say, divide

OURS, PEFT = "ours", "peft"
SPEED_AT_LEAST = 1.0
SMOLLM2 = "smollm2"


@dataclass(frozen=True)
class Base:
    """A base model of Llama's shape and its batch. fetched: whose weights are taken if they are here."""

    label: str
    model: ModelConfig
    seq_len: int
    batch: int
    fetched: str | None = None


BASES = (
    Base(
        "d 256 x 6, T 256, B 16",
        ModelConfig(d_model=256, n_layers=6, n_heads=8, vocab_size=256, context=256, **LLAMA),
        256,
        16,
    ),
    Base(
        "SmolLM2-135M, T 128, B 4",
        ModelConfig(
            d_model=576,
            n_layers=30,
            n_heads=9,
            n_kv_heads=3,
            d_ff=1536,
            vocab_size=49152,
            context=8192,
            rope_theta=100_000.0,
            **LLAMA,
        ),
        128,
        4,
        SMOLLM2,
    ),
)


def measure_lora(
    repeats: int, say: Say, bases: Sequence[Base] = BASES, turn_seconds: float = TURN_SECONDS
) -> tuple[Section, ...]:
    """Time a step of LoRA by us and, where peft is installed, by peft; read the peak of each process."""
    beside = is_here(*PACKAGES) and jax.default_backend() in ("cpu", "gpu")
    notes = [
        f"LoRA of rank {METHOD.rank} on q and v, AdamW; Llama's shape. Memory: the peak of a process that"
        " does this alone, its imports and compilation included."
    ]
    if not beside:
        notes.append(f"peft and PyTorch are not installed: {HOW_TO_INSTALL}.")
    rows = []
    for number, base in enumerate(bases, 1):
        say(f"lora {number}/{len(bases)}: {base.label}{', beside peft' if beside else ''}")
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            real = base.fetched is not None and locate_model(base.fetched).is_dir()
            if base.fetched is not None and not real:
                megabytes = MODELS[base.fetched].megabytes
                notes.append(
                    f"{base.label}: random weights of its shape, since it is not fetched (./launch.sh fetch"
                    f" {base.fetched}, {megabytes} MB)."
                )
            checkpoint = str(locate_model(base.fetched)) if base.fetched and real else None
            sides = _start(base, checkpoint, folder, beside, stack)
            seconds = take_turns({name: s.turn("step") for name, s in sides.items()}, repeats, turn_seconds)
            peaks = {name: side.peak_bytes() for name, side in sides.items()}
            if PEFT in sides:
                told = sides[PEFT].facts
                versions = f"peft {told['peft']}, PyTorch {told['version']}, {told['threads']} threads."
                notes = [*notes, versions] if versions not in notes else notes
        rows.append(make_row(base, seconds, peaks, has_real_weights=real))
    return (Section("lora", "A training step of LoRA", tuple(rows), note=" ".join(notes)),)


def make_row(
    base: Base, seconds: Mapping[str, list[float]], peaks: Mapping[str, int], has_real_weights: bool
) -> Row:
    """Turn seconds and bytes into figures; those of peft, and the ratios, where it was timed."""
    figures = [Figure("step", "ms", tuple(1e3 * s for s in seconds[OURS]))]
    if PEFT in seconds:
        speed = tuple(divide(seconds[PEFT], seconds[OURS]))
        figures += [
            Figure("peft's", "ms", tuple(1e3 * s for s in seconds[PEFT])),
            Figure("speed, ours / peft", "ratio", speed, at_least=SPEED_AT_LEAST, better="more"),
        ]
    figures.append(Figure("memory", "GB", (1e-9 * peaks[OURS],)))
    if PEFT in peaks:
        share = peaks[OURS] / peaks[PEFT]
        figures += [
            Figure("peft's memory", "GB", (1e-9 * peaks[PEFT],)),
            Figure("memory, ours / peft", "ratio", (share,), better="less"),
        ]
    settings = {
        "model": to_dict(base.model),
        "seq_len": base.seq_len,
        "batch": base.batch,
        "method": to_dict(METHOD),
        "real_weights": has_real_weights,
    }
    return Row(base.label, settings, tuple(figures))


def work_on_checkpoint(settings: dict[str, Any]) -> Work:
    """Write a checkpoint of random weights: in a process of its own, whose memory is nobody's figure."""
    model = ModelConfig(**settings["model"])
    save_folder(settings["checkpoint"], model, init(declare(model), 0), "llama")
    return Work({}, {})


def work_on_lora(settings: dict[str, Any]) -> Work:
    """Make our side: a step of LoRA on the checkpoint in settings["checkpoint"]."""
    jax.config.update("jax_enable_compilation_cache", False)
    loaded = load_folder(settings["checkpoint"])
    batch = make_batch(np.load(Path(settings["folder"], "tokens.npy")))
    opened = open_adapters(loaded.config, loaded.params, [batch])

    def step(times: int) -> jax.Array:
        losses = [opened.lanes.step(opened.given) for _ in range(times)]
        return jax.block_until_ready(losses)[-1][0]

    return Work({"step": step}, {"losses": [float(step(1))]}, peak_bytes())


def _start(
    base: Base, checkpoint: str | None, folder: Path, beside: bool, stack: ExitStack
) -> dict[str, Side]:
    """Start our side and peft's on one checkpoint and one batch, and see that they have the same loss."""
    np.save(folder / "tokens.npy", draw_tokens(base.model, base.batch, base.seq_len, seed=0))
    if checkpoint is None:
        checkpoint = str(folder / "checkpoint")
        given = {"checkpoint": checkpoint, "model": asdict(base.model)}
        Side("benchmarks.lora:work_on_checkpoint", given).close()
    settings: dict[str, Any] = {"folder": str(folder), "checkpoint": checkpoint}
    sides = {OURS: stack.enter_context(Side("benchmarks.lora:work_on_lora", settings))}
    if beside:
        platform = jax.default_backend()
        settings |= {
            "platform": platform,
            "rank": METHOD.rank,
            "alpha": METHOD.alpha,
            "targets": [f"{target}_proj" for target in METHOD.targets],
            "optim": asdict(OPTIM) | {"learning_rate": LEARNING_RATE},
        }
        sides[PEFT] = stack.enter_context(Side("benchmarks.pytorch.lora:work_on_lora", settings))
        check_losses(base.label, sides[OURS].facts["losses"], sides[PEFT].facts["losses"], platform)
    return sides
