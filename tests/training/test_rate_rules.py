"""Rates that follow the batch and the length: their formulas, the trunks they split, and what a plan says."""

import math
from dataclasses import replace
from typing import Any

import pytest

from lora_jax.config import ModelConfig, OptimConfig, RunConfig, run_id, to_dict, trunk_id
from lora_jax.errors import LoraJaxError
from lora_jax.runs.plan import plan_runs
from lora_jax.runs.plan_table import format_plan
from lora_jax.runs.rate_rules import count_steps
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.optimizers.adamw import AdamW
from lora_jax.training.optimizers.lion import Lion
from lora_jax.training.optimizers.muon import Muon
from lora_jax.training.optimizers.schedule_free import ScheduleFree
from lora_jax.training.optimizers.sgd import SGD
from lora_jax.training.schedules import peak_learning_rate, unit_rate

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


@pytest.mark.parametrize("optimizer", [AdamW(beta2=0.98), Muon(beta2=0.98), ScheduleFree(beta2=0.98)])
def test_every_second_moment_remembers_as_many_sequences(optimizer: Any) -> None:
    """A gradient counts as much after 64 sequences at either batch size, and nothing else moves."""
    rules: dict[str, Any] = {"optimizer": optimizer, "schedule": "constant", "base_batch": 16}
    made: Any = make_optimizer(with_rules(batch=32, **rules).optim)
    assert made.beta2 ** (64 / 32) == pytest.approx(0.98 ** (64 / 16))
    assert replace(made, beta2=0.98) == optimizer == make_optimizer(with_rules(**rules).optim)


def test_an_optimizer_without_a_second_moment_keeps_its_numbers_and_the_plan_says_so() -> None:
    rules: dict[str, Any] = {"base_batch": 16, "batch": 32}
    for optimizer in (Lion(), SGD()):
        run = with_rules(optimizer=optimizer, **rules)
        assert make_optimizer(run.optim) == optimizer
        text = " ".join(format_plan(plan_runs([run], [], None), "x").split())
        assert f"(optim.base_batch). {optimizer.kind} has no second moment, so its numbers stay." in text
    both = [with_rules(optimizer=Muon(), **rules), with_rules(optimizer=Lion(), **rules)]
    text = " ".join(format_plan(plan_runs(both, [], None), "x").split())
    assert "Beta2 follows the batch; lion has no second moment, so its numbers stay." in text
    assert "beta2 0.9025" in text  # of Muon's table: 0.95 ** 2


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


def test_warmup_in_proportion_shares_no_trunk_and_is_a_share_of_the_steps() -> None:
    runs = [with_rules(n_tokens=n, warmup_fraction=0.05) for n in (2**18, 2**19, 2**20)]
    assert [run.warmup_steps for run in runs] == [round(0.05 * run.n_steps) for run in runs]
    assert all(unit_rate(run, run.warmup_steps - 1) == pytest.approx(1) for run in runs)
    assert all(unit_rate(run, run.warmup_steps // 2) < 0.7 for run in runs)
    assert len({trunk_id(run) for run in runs}) == 3
    assert "warmup_fraction" not in to_dict(RUN)["optim"]
    assert "warmup is a share of the steps" in " ".join(format_plan(plan_runs(runs, [], None), "x").split())
    alone, shared = count_steps(runs)
    assert shared < alone
    with pytest.raises(LoraJaxError, match=r"warmup_fraction is 0.05 and optim.warmup_steps is 7"):
        OptimConfig(warmup_steps=7, warmup_fraction=0.05)


def test_an_exponent_without_a_length_is_refused() -> None:
    with pytest.raises(LoraJaxError, match=r"horizon_exponent is 0.5 and optim.base_tokens is not set"):
        OptimConfig(horizon_exponent=0.5)
