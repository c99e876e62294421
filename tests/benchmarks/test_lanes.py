"""Lanes in the benchmark: as many runs as they say, and ratios that count all of their tokens."""

import numpy as np
import pytest

from benchmarks.lanes import Group, group_adapters, group_pretraining, make_row, measure_lanes
from benchmarks.steps import Shape
from lora_jax.config import LLAMA, ModelConfig

TINY = Shape(32, 1, 16, 2)
LLAMA_TINY = ModelConfig(d_model=16, n_layers=2, n_heads=2, vocab_size=32, context=16, **LLAMA)


def make_group(name: str) -> Group:
    if name == "LoRA":
        return group_adapters("tiny", LLAMA_TINY, 2, 16, {2: 4.0})
    return group_pretraining("tiny", TINY)


def keep_quiet(text: str) -> None:
    assert text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LoRA", "pretraining"])
def test_lanes_hold_as_many_runs_as_they_say(name: str) -> None:
    group = make_group(name)
    (section,) = measure_lanes(2, keep_quiet, [group], widths=(1, 2), turn_seconds=0.01)
    assert [row.label for row in section.rows] == [f"{name}, tiny, G 1", f"{name}, tiny, G 2"]
    assert [row["ratio"].at_least for row in section.rows] == [None, group.at_least.get(2)]
    assert [row["ratio"].better for row in section.rows] == [None, "more"]
    together, alone = group.open(2), group.open(1)
    first, second = np.asarray(together.lanes.step(together.given))
    assert first != second, "runs of two seeds"
    assert float(alone.lanes.step(alone.given)[0]) == pytest.approx(float(first), rel=1e-5)


def test_the_ratio_of_lanes_counts_all_of_their_tokens() -> None:
    group = group_pretraining("tiny", TINY)
    row = make_row(group, 4, {"one after another": [0.5], "side by side": [1.0]}, {1: 10.0, 4: 20.0})
    assert row["one after another"].samples == (TINY.tokens / 0.5,)
    assert row["side by side"].samples == (4 * TINY.tokens / 1.0,)
    assert row["ratio"].samples == (2.0,)
    assert row["ratio with compilation"].samples == ((10 + 200 * 4 * 0.5) / (20 + 200 * 1.0),)
