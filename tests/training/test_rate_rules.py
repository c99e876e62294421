"""Rates that follow the batch and the length: their formulas, the trunks they split, and what a plan says."""

import math
from dataclasses import replace

import pytest

from lora_jax.config import ModelConfig, OptimConfig, RunConfig, run_id, to_dict, trunk_id
from lora_jax.errors import LoraJaxError
from lora_jax.runs.plan import plan_runs
from lora_jax.runs.plan_table import format_plan
from lora_jax.runs.rate_rules import count_steps
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.optimizers.adamw import AdamW
from lora_jax.training.schedules import peak_learning_rate

RUN = RunConfig(
    model=ModelConfig(d_model=8, n_layers=1, n_heads=1, vocab_size=257, context=128), n_tokens=2**20
)


def with_rules(batch: int = 16, n_tokens: int = 2**20, **rules) -> RunConfig:
    return replace(RUN, n_tokens=n_tokens, optim=OptimConfig(batch_size=batch, **rules))


def beta2_of(run: RunConfig) -> float:
    optimizer = make_optimizer(run.optim)
    assert isinstance(optimizer, AdamW)
    return optimizer.beta2


def test_a_run_without_rules_is_what_it_was() -> None:
    assert not {"base_batch", "base_tokens", "horizon_exponent"} & to_dict(RUN)["optim"].keys()
    at_base = with_rules(base_batch=16, base_tokens=2**20)
    assert peak_learning_rate(at_base) == peak_learning_rate(RUN)
    assert make_optimizer(at_base.optim) == make_optimizer(RUN.optim)
    assert run_id(at_base) != run_id(RUN)


@pytest.mark.parametrize("times", [0.25, 0.5, 2, 4, 16])
def test_the_rate_grows_as_the_root_of_the_batch_and_beta2_remembers_as_many_sequences(times: float) -> None:
    base = with_rules(base_batch=16)
    run = with_rules(batch=int(16 * times), base_batch=16)
    assert peak_learning_rate(run) == pytest.approx(peak_learning_rate(base) * math.sqrt(times))
    assert beta2_of(run) == pytest.approx(min(max(0.95**times, 0.9), 0.9999))


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5])
def test_the_rate_falls_with_the_length(p: float) -> None:
    short = with_rules(base_tokens=2**20, horizon_exponent=p)
    long = replace(short, n_tokens=2**23)
    assert peak_learning_rate(long) == pytest.approx(peak_learning_rate(short) * 8**-p)


def test_a_rate_that_knows_its_length_shares_no_trunk_and_the_plan_prices_it() -> None:
    free = [with_rules(n_tokens=n) for n in (2**18, 2**19, 2**20)]
    bound = [replace(run, optim=replace(run.optim, base_tokens=2**20)) for run in free]
    assert len({trunk_id(run) for run in free}) == 1
    assert len({trunk_id(run) for run in bound}) == 3
    planned = plan_runs(bound, [], None)
    alone, shared = count_steps(bound)
    assert alone == sum(run.n_steps for run in bound) == sum(item.own_steps for item in planned)
    assert shared == sum(item.own_steps for item in plan_runs(free, [], None)) < alone
    text = " ".join(format_plan(planned, "x").split())
    assert f"share no trunk: {alone:,} steps in all, where branches would take {shared:,}" in text
    assert "base_tokens" not in format_plan(plan_runs(free, [], None), "x")


def test_an_exponent_without_a_length_is_refused() -> None:
    with pytest.raises(LoraJaxError, match=r"horizon_exponent is 0.5 and optim.base_tokens is not set"):
        OptimConfig(horizon_exponent=0.5)
