"""The held-out loss and its clustered standard error."""

import numpy as np
import pytest

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.training.evaluate import average, measure_windows
from lora_jax.training.heldout import clustered_standard_error
from lora_jax.training.pretraining import init_pretraining, make_evaluate


def test_every_window_counts_once(base: RunConfig, dataset: Dataset) -> None:
    params = init_pretraining(base.model, base.optim, 0).trainable
    windows = np.concatenate([dataset.batch(step, 15, 0) for step in range(3)])  # not a multiple of the batch
    found = average(measure_windows(base.model, params, windows), np.arange(len(windows)))
    alone = [float(make_evaluate(base.model)(params, window[None])[0]) for window in windows]
    assert found.loss == pytest.approx(np.mean(alone), rel=1e-6)


def test_one_window_a_cluster_is_the_textbook_error() -> None:
    values = np.random.default_rng(0).normal(size=40)
    expected = values.std(ddof=1) / np.sqrt(40)
    assert clustered_standard_error(values, np.arange(40)) == pytest.approx(expected)


def test_repeating_a_cluster_adds_no_certainty() -> None:
    values = np.random.default_rng(0).normal(size=20)
    once = clustered_standard_error(values, np.arange(20))
    assert clustered_standard_error(np.repeat(values, 7), np.repeat(np.arange(20), 7)) == pytest.approx(once)


def test_one_cluster_has_no_error() -> None:
    assert clustered_standard_error(np.array([1.0, 2.0]), np.array([5, 5])) is None
