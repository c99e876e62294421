"""Identity of runs, and the shapes that a configuration refuses."""

import dataclasses
from typing import Any

import pytest

from lora_jax.config import DataConfig, ModelConfig, OptimConfig, RunConfig, run_id, trunk_id
from lora_jax.errors import LoraJaxError

MODEL = ModelConfig(d_model=16, n_layers=1, n_heads=2, vocab_size=256, context=32)
RUN = RunConfig(model=MODEL, data=DataConfig(seq_len=32), n_tokens=100_000)


def test_run_id_sees_every_field() -> None:
    others = [
        dataclasses.replace(RUN, seed=1),
        dataclasses.replace(RUN, n_tokens=100_001),
        dataclasses.replace(RUN, model=dataclasses.replace(MODEL, norm_eps=1e-6)),
        dataclasses.replace(RUN, optim=OptimConfig(beta2=0.99)),
        dataclasses.replace(RUN, data=DataConfig(seq_len=32, heldout_fraction=0.1)),
    ]
    assert len({run_id(run) for run in [RUN, *others]}) == 6
    assert run_id(RUN) == run_id(dataclasses.replace(RUN))


def test_runs_of_one_trunk_differ_in_tokens_alone() -> None:
    assert trunk_id(RUN) == trunk_id(dataclasses.replace(RUN, n_tokens=200_000))
    assert trunk_id(RUN) != trunk_id(dataclasses.replace(RUN, seed=1))
    cosine = dataclasses.replace(RUN, optim=OptimConfig(schedule="cosine"))
    assert trunk_id(cosine) != trunk_id(dataclasses.replace(cosine, n_tokens=200_000))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"d_model": 17}, "multiple of n_heads"),
        ({"n_kv_heads": 3, "n_heads": 4}, "multiple of n_kv_heads"),
        ({"n_heads": 16, "positions": "rope"}, "even head width"),
        ({"n_layers": 0}, r"model.n_layers is 0, .* from 1 to 10,000"),
    ],
)
def test_impossible_shapes_are_refused(fields: dict[Any, Any], words: str) -> None:
    with pytest.raises(LoraJaxError, match=words):
        dataclasses.replace(MODEL, **fields)


def test_a_sequence_must_fit_the_context() -> None:
    with pytest.raises(LoraJaxError, match="must fit the context"):
        RunConfig(model=MODEL, data=DataConfig(seq_len=64), n_tokens=100_000)


def test_a_run_must_outlast_its_warmup() -> None:
    with pytest.raises(LoraJaxError, match="warmup_steps"):
        RunConfig(model=MODEL, data=DataConfig(seq_len=32), n_tokens=1000)
