"""Adapters side by side on one base, as a sweep of fine-tuning runs them: what `lora` and `lanes` time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.config import ModelConfig, OptimConfig
from lora_jax.data.tasks import Batch
from lora_jax.finetuning.step import dropout_key, init_tuning, join_inputs, make_tune_step
from lora_jax.params import Params
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.stacking import adapt_all
from lora_jax.training.lanes import Lanes
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.step import StepInput

METHOD = LoRA(rank=8, alpha=16.0, targets=("q", "v"))
OPTIM = OptimConfig(weight_decay=0.01, beta2=0.999)
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Opened:
    """Lanes that are ready, and what each of their steps takes in."""

    lanes: Lanes
    given: Sequence[object]


def open_adapters(model: ModelConfig, base: Params, batches: Sequence[Batch]) -> Opened:
    """Return an adapter a batch, each with its own seed, on a base that all of them share."""
    seeds = range(len(batches))
    method = METHOD.build(model)
    adapted = adapt_all(base, [{}] * len(seeds), [method] * len(seeds), seeds)
    lanes = Lanes(
        make_tune_step(model, METHOD, OPTIM),
        [init_tuning(one, method, OPTIM) for one in adapted],
        [one.frozen for one in adapted],
        join_inputs,
    )
    hyperparams = make_hyperparams(OPTIM, LEARNING_RATE)
    return Opened(
        lanes,
        [StepInput(batch, hyperparams, dropout_key(s)) for s, batch in zip(seeds, batches, strict=True)],
    )


def make_batch(tokens_BT: np.ndarray) -> Batch:
    """Return whole rows of text as a batch of fine-tuning: every token but a row's last has a next one."""
    B, T = tokens_BT.shape
    ones_BT = np.ones((B, T), np.int32)
    targets_BT, weights_BT = np.zeros((B, T), np.int32), np.ones((B, T), np.float32)
    targets_BT[:, :-1], weights_BT[:, -1] = tokens_BT[:, 1:], 0
    return Batch(
        tokens_BT=tokens_BT.astype(np.int32),
        segments_BT=ones_BT,
        positions_BT=np.tile(np.arange(T, dtype=np.int32), (B, 1)),
        types_BT=0 * ones_BT,
        targets_BT=targets_BT,
        weights_BT=weights_BT,
        labels_B=np.zeros(B, np.int32),
        example_weights_B=np.ones(B, np.float32),
    )


def draw_tokens(model: ModelConfig, batch: int, seq_len: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(model.vocab_size, size=(batch, seq_len)).astype(np.int32)
