"""Completions in the benchmark."""

import numpy as np

from lora_jax.bench.generation import measure_generation
from lora_jax.bench.steps import Shape


def keep_quiet(text: str) -> None:
    assert text


def test_completions_are_as_long_as_they_are_counted() -> None:
    (section,) = measure_generation(2, keep_quiet, Shape(32, 1, 64, 1), batches=(1, 2), n_new=4)
    for batch, row in zip((1, 2), section.rows, strict=True):
        np.testing.assert_allclose(
            np.multiply(row["tokens/s"].samples, row["a token of each"].samples), 1e3 * batch
        )
