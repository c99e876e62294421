"""The plain loop is what training is: trunks, branches and lanes come to its bits."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.runs.sweep import overlay
from lora_jax.training.loop import pretrain
from lora_jax.training.result import PretrainResult
from lora_jax.training.trunk import Trunk, train_trunks


@pytest.mark.bits
@pytest.mark.parametrize("schedule", ["wsd", "cosine"])
def test_a_trunk_with_branches_comes_to_the_bits_of_the_plain_loop(
    base: RunConfig, dataset: Dataset, tmp_path: Path, schedule: str
) -> None:
    run = overlay(base, {"optim.schedule": schedule, "n_tokens": 20 * base.tokens_per_step})
    longer = dataclasses.replace(run, n_tokens=30 * run.tokens_per_step)
    runs = (run, longer) if schedule == "wsd" else (run,)
    found: list[PretrainResult] = []
    train_trunks([Trunk(runs, dataset, tmp_path)], 1, on_result=found.append, should_stop=lambda: False)
    for result in found:
        plain = pretrain(result.run, dataset)
        np.testing.assert_array_equal(result.losses, plain.losses)
        np.testing.assert_array_equal(result.tokens, plain.tokens)
        assert result.heldout == plain.heldout
        assert plain.cost.trained_tokens == result.run.n_tokens
        assert result.weights is not None
        assert plain.weights is not None
        for path, weight in plain.weights.items():
            np.testing.assert_array_equal(result.weights[path], weight)


def test_a_run_that_diverges_ends_there_and_has_no_weights(base: RunConfig, dataset: Dataset) -> None:
    result = pretrain(overlay(base, {"optim.learning_rate": 1e30}), dataset)
    assert result.diverged_at is not None
    assert len(result.losses) == result.diverged_at + 1 < base.n_steps
    assert (result.heldout, result.weights) == (None, None)
