"""Laws of the schedules."""

import dataclasses
import math
from typing import Any

import numpy as np
import optax
import pytest

from lora_jax.config import KNOW_THEIR_HORIZON, RunConfig, trunk_id
from lora_jax.finetuning.config import TuneConfig
from lora_jax.finetuning.feed import unit_rate as tuning_rate
from lora_jax.model.declare import count_parameters
from lora_jax.training.schedules import SHAPES, cooldown_start, peak_learning_rate, unit_rate


def scheduled(base: RunConfig, schedule: str, **fields: Any) -> RunConfig:
    return dataclasses.replace(base, optim=dataclasses.replace(base.optim, schedule=schedule, **fields))


@pytest.mark.parametrize("schedule", SHAPES)
def test_runs_share_a_trunk_as_far_as_their_rates_are_one(base: RunConfig, schedule: str) -> None:
    run = scheduled(base, schedule)
    longer = dataclasses.replace(run, n_tokens=2 * base.n_tokens)
    start = cooldown_start(run)
    alike = [unit_rate(run, s) == unit_rate(longer, s) for s in range(start)]
    assert all(alike) == (schedule not in KNOW_THEIR_HORIZON)
    assert (trunk_id(run) == trunk_id(longer)) == all(alike)
    assert (start < run.n_steps) == (schedule == "wsd")
    warm = [unit_rate(run, s) for s in range(run.optim.warmup_steps)]
    assert warm == [(s + 1) / run.optim.warmup_steps for s in range(run.optim.warmup_steps)]
    rates = [unit_rate(run, s) for s in range(run.n_steps)]
    assert max(rates) == 1.0
    assert min(rates) > 0


@pytest.mark.parametrize("shape", ["1-sqrt", "linear"])
def test_the_cooldown_is_one_minus_sqrt_or_linear(base: RunConfig, shape: Any) -> None:
    run = scheduled(base, "wsd", cooldown=shape)
    start, end = cooldown_start(run), run.n_steps
    assert end - start == round(run.optim.cooldown_fraction * end)
    for step in range(start, end):
        share = (step - start) / (end - start)
        expected = 1 - (math.sqrt(share) if shape == "1-sqrt" else share)
        assert unit_rate(run, step) == pytest.approx(expected)
    assert 0 < unit_rate(run, end - 1) < 0.2


def test_the_peak_rate_falls_with_size(base: RunConfig) -> None:
    deep = dataclasses.replace(base, model=dataclasses.replace(base.model, n_layers=4))
    sizes = [count_parameters(run.model).non_embedding for run in (base, deep)]
    ratio = peak_learning_rate(base) / peak_learning_rate(deep)
    assert ratio == pytest.approx((sizes[1] / sizes[0]) ** base.optim.lr_size_exponent)
    level = dataclasses.replace(deep, optim=dataclasses.replace(deep.optim, lr_size_exponent=0.0))
    assert peak_learning_rate(level) == level.optim.learning_rate


def test_cosine_agrees_with_optax(base: RunConfig) -> None:
    run = scheduled(base, "cosine")
    warmup, n = run.optim.warmup_steps, run.n_steps
    theirs = optax.cosine_decay_schedule(1.0, n - warmup, run.optim.final_lr_fraction)
    ours = [unit_rate(run, step) for step in range(warmup, n)]
    np.testing.assert_allclose(ours, np.array([theirs(s + 1) for s in range(n - warmup)]), rtol=1e-5)
    assert cooldown_start(run) == n


def test_inverse_sqrt_is_that_of_the_step(base: RunConfig) -> None:
    run = scheduled(base, "inverse_sqrt")
    for step in (run.optim.warmup_steps, 20, 49):
        assert unit_rate(run, step) == pytest.approx((run.optim.warmup_steps / (step + 1)) ** 0.5)


@pytest.mark.parametrize("schedule", SHAPES)
def test_finetuning_has_the_same_schedules(base: RunConfig, schedule: Any) -> None:
    run = scheduled(base, schedule)
    warmup = run.optim.warmup_steps / run.n_steps
    tuning = TuneConfig(schedule=schedule, warmup_fraction=warmup)
    rates = [tuning_rate(tuning, run.n_steps, step) for step in range(run.n_steps)]
    assert rates == [unit_rate(run, step) for step in range(run.n_steps)]
