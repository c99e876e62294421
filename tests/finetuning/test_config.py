"""What a sweep runs: rates of each method, identities, and which rate is best."""

import dataclasses
from typing import Any

import pytest

from lora_jax.config import TaskConfig
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import FinetuneSweep, TuneConfig, best_rate, default_rates, finetune_id
from lora_jax.peft.methods import find_methods
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.prefix import Prefix
from lora_jax.peft.methods.subset import Full
from lora_jax.runs.sweep import overlay, parse_overrides

SWEEP = FinetuneSweep(
    base="minilm",
    task=TaskConfig(),
    methods={"full": Full(), "LoRA r 4": LoRA(rank=4)},
    rates={"full": (1e-4, 3e-4)},
)


def test_a_method_has_its_own_rates() -> None:
    assert SWEEP.rates_of("full") == (1e-4, 3e-4)
    assert SWEEP.rates_of("LoRA r 4") == default_rates(LoRA())
    assert max(default_rates(Full())) < max(default_rates(LoRA())) < max(default_rates(Prefix()))
    assert len(SWEEP.runs()) == (2 + 3) * 3


def test_runs_have_names_of_their_own_that_hash_every_field() -> None:
    ids = {finetune_id(run) for run in SWEEP.runs()}
    assert len(ids) == len(SWEEP.runs())
    run = SWEEP.run("LoRA r 4", 1e-3, 0)
    for changed in (
        dataclasses.replace(run, method=LoRA(rank=4, dropout=0.1)),
        dataclasses.replace(run, task=TaskConfig(n_train=10)),
        dataclasses.replace(run, optim=TuneConfig(learning_rate=1e-3, epochs=4)),
        dataclasses.replace(run, base="smollm2"),
    ):
        assert finetune_id(changed) != finetune_id(run)


def test_the_best_rate_is_of_the_best_score_and_the_lower_of_equals() -> None:
    assert best_rate({1e-3: 0.8, 1e-4: 0.8, 1e-2: 0.7}, larger_is_better=True) == 1e-4
    assert best_rate({1e-3: 0.8, 1e-4: 0.9, 1e-2: 0.7}, larger_is_better=False) == 1e-2


def test_overrides_reach_the_sweep() -> None:
    point = parse_overrides(["task.n_train=50", "optim.epochs=1", "seeds=0,1"], FinetuneSweep)
    changed = overlay(SWEEP, point)
    assert (changed.task.n_train, changed.optim.epochs, changed.seeds) == (50, 1, (0, 1))
    with pytest.raises(LoraJaxError, match=r"nearest: 'optim\.epochs'"):
        parse_overrides(["optim.epoch=1"], FinetuneSweep)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods": {}}, "at least one method"),
        ({"rates": {"ful": (1e-3,)}}, "nearest: 'full'"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(changes: dict[Any, Any], words: str) -> None:
    with pytest.raises(LoraJaxError, match=words):
        dataclasses.replace(SWEEP, **changes)


def test_one_method_alone() -> None:
    assert list(SWEEP.only(["full"]).methods) == ["full"]
    with pytest.raises(LoraJaxError, match="no method 'lora'"):
        SWEEP.only(["lora"])


def test_every_method_has_default_rates_in_rising_order() -> None:
    for config in find_methods().values():
        rates = default_rates(config() if config.__name__ != "Combined" else Full())
        assert list(rates) == sorted(rates)
