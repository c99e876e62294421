"""Gradient accumulation in pretraining: parts have the gradient of the batch, and take less memory."""

import dataclasses

import numpy as np
import pytest

from lora_jax.config import ModelConfig, OptimConfig, RunConfig, run_id
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import TuneConfig
from lora_jax.runs.sweep import overlay
from lora_jax.training.cpu_memory import memory_bytes
from lora_jax.training.lanes import Lanes, stack_inputs
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.pretraining import init_pretraining, make_pretraining_step
from lora_jax.training.step import StepInput
from tests.training.parts import PARTS, UNCLIPPED, assert_equal_in_parts
from tests.training.step_memory import make_run

MODEL = ModelConfig(d_model=16, n_layers=1, n_heads=2, vocab_size=64, context=128)


def test_four_parts_have_the_gradient_of_the_batch_in_every_lane() -> None:
    n_lanes = 2
    rng = np.random.default_rng(0)
    given = [StepInput(rng.integers(0, 64, (16, 25)).astype(np.int32), UNCLIPPED) for _ in range(n_lanes)]
    assert_equal_in_parts(
        lambda optim: make_pretraining_step(MODEL, optim),
        lambda optim: ([init_pretraining(MODEL, optim, lane) for lane in range(n_lanes)], [{}] * n_lanes),
        stack_inputs,
        given,
    )


@pytest.mark.slow  # two compilations of a larger step
def test_memory_is_that_of_a_part_as_xla_counts_it() -> None:
    run = make_run(64, 2, 128, 64, 256)
    parts = overlay(run, {"optim.accumulate": 8})
    measured = []
    for one in (run, parts):
        lanes = Lanes(
            make_pretraining_step(one.model, one.optim), [init_pretraining(one.model, one.optim, 0)]
        )
        windows = np.zeros((64, 129), np.int32)
        measured.append(lanes.memory_bytes([StepInput(windows, make_hyperparams(one.optim, 1e-3))]))
    assert memory_bytes(run) == pytest.approx(measured[0], rel=0.15)
    assert memory_bytes(parts) == pytest.approx(measured[1], rel=0.15)
    assert measured[1] < measured[0] / 4


def test_a_batch_that_does_not_divide_is_refused() -> None:
    for config in (OptimConfig, TuneConfig):
        with pytest.raises(
            LoraJaxError, match=r"batch_size is 16 and optim\.accumulate is 3: .* a multiple of"
        ):
            config(batch_size=16, accumulate=3)


def test_runs_that_do_not_accumulate_keep_their_identity() -> None:
    run = RunConfig(model=MODEL, n_tokens=10**6)
    assert run_id(run) == "d16x1-t1000000-s0-767726d343"  # of version 0.2, which had no such field
    assert run_id(run) != run_id(dataclasses.replace(run, optim=PARTS))
