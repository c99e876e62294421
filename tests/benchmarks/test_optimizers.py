"""The section of optimizers: its steps train, and its figures are ratios of what was timed together."""

import pytest

from benchmarks import optimizers
from benchmarks.steps import Shape
from lora_jax.model.declare import flops_per_token

TINY = Shape(8, 1, 8, 2)


def test_the_optimizers_make_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "RIVALS", {"Muon": optimizers.RIVALS["Muon"]})
    section = optimizers.measure_optimizers(1, lambda line: None, [TINY], large=None)
    (row,) = section.rows
    assert row["Muon / AdamW"].median == pytest.approx(row["Muon"].median / row["AdamW"].median)
    # X X^T, A A and B X, five times: of four matrices 8 x 8 and two 8 x 32.
    own = 5 * (4 * (6 * 8**3) + 2 * (4 * 8 * 8 * 32 + 2 * 8**3))
    n_tokens = 16
    assert row["Muon FLOPs"].median == pytest.approx(own / (n_tokens * flops_per_token(TINY.model, 8)))
