"""Fine-tuning runs side by side are what each is alone: data, patience, divergence, savings, halving."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from lora_jax.data.tasks import Encoded
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import FinetuneConfig, TuneConfig
from lora_jax.finetuning.evaluate import evaluate_many, evaluate_split
from lora_jax.finetuning.group import TuneRun, check_group, draw_base
from lora_jax.finetuning.loop import FinetuneResult, finetune_group
from lora_jax.finetuning.prepare import Prepared
from lora_jax.peft.method import Adapted, adapt
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.prefix import Prefix
from lora_jax.training.side_by_side import Stopped

from .test_loop import make_run

LORA = LoRA(rank=2)


def train(
    configs: Sequence[FinetuneConfig],
    prepared: Prepared | Sequence[Prepared],
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
    n_rivals: int = 0,
) -> list[FinetuneResult]:
    of_each = [prepared] * len(configs) if isinstance(prepared, Prepared) else prepared
    runs = [
        TuneRun(config, data, folder / str(number))
        for number, (config, data) in enumerate(zip(configs, of_each, strict=True))
    ]
    return finetune_group(runs, stop, n_rivals=n_rivals)


def with_optim(config: FinetuneConfig, **changes) -> FinetuneConfig:
    return dataclasses.replace(config, optim=dataclasses.replace(config.optim, **changes))


def same(one: FinetuneResult, other: FinetuneResult) -> None:
    """Equal to rounding: losses, the kept weights, scores; and the data exactly."""
    np.testing.assert_allclose(one.losses, other.losses, rtol=1e-5)
    assert one.tokens.tolist() == other.tokens.tolist()
    assert (one.kept_step, one.stopped_early) == (other.kept_step, other.stopped_early)
    assert one.weights is not None
    assert other.weights is not None
    assert one.test is not None
    assert other.test is not None
    assert {p: w.shape for p, w in one.weights.items()} == {p: w.shape for p, w in other.weights.items()}
    for path, weight in one.weights.items():
        np.testing.assert_allclose(weight, other.weights[path], atol=1e-4)
    assert one.test.loss == pytest.approx(other.test.loss, rel=1e-4)


def fewer(prepared: Prepared, n: int) -> Prepared:
    """The same base, and the first n training rows."""
    train = prepared.train
    first: Encoded = dataclasses.replace(
        train,
        tokens=train.tokens[:n],
        types=train.types[:n],
        n_prompt_N=train.n_prompt_N[:n],
        example_N=train.example_N[:n],
        labels_N=None if train.labels_N is None else train.labels_N[:n],
    )
    return dataclasses.replace(prepared, train=first)


@pytest.mark.slow
def test_lanes_of_other_ranks_rates_seeds_and_data_are_their_solo_runs(
    places: Path, classify: Prepared, tmp_path: Path
) -> None:
    """One has half of the examples and ends first, so that the other goes on in a narrower program."""
    one = make_run(places, LORA, epochs=2)
    configs = [
        one,
        with_optim(
            dataclasses.replace(one, seed=1, method=LoRA(rank=5, alpha=3.0)), weight_decay=0.3, clip_norm=0.1
        ),
    ]
    data = [fewer(classify, 40), classify]
    beside = train(configs, data, tmp_path / "beside")
    assert [len(result.losses) for result in beside] == [6, 12]
    assert [result.cost.n_lanes for result in beside] == [2, 2]
    for number, (config, prepared) in enumerate(zip(configs, data, strict=True)):
        [alone] = train([config], [prepared], tmp_path / f"alone-{number}")
        same(beside[number], alone)
        assert alone.cost.n_lanes == 1


@pytest.mark.slow
def test_patience_and_divergence_end_one_lane(places: Path, classify: Prepared, tmp_path: Path) -> None:
    one = make_run(places, LORA, epochs=2, evaluations=6)
    changes = {"learns": {}, "idle": {"learning_rate": 1e-9, "patience": 1}, "nan": {"learning_rate": 1e30}}
    configs = [with_optim(one, **fields) for fields in changes.values()]
    results = dict(zip(changes, train(configs, classify, tmp_path), strict=True))
    assert results["nan"].diverged_at is not None
    assert results["nan"].test is None
    assert results["idle"].stopped_early
    assert len(results["idle"].losses) < 12
    assert len(results["learns"].losses) == 12
    assert results["learns"].test is not None


@pytest.mark.parametrize(
    "regrouped", [pytest.param(False, marks=pytest.mark.slow), pytest.param(True, marks=pytest.mark.slow)]
)
def test_a_stopped_group_goes_on_and_may_be_grouped_anew(
    places: Path, classify: Prepared, tmp_path: Path, regrouped: bool
) -> None:
    """The savings are each run's own, of its own rank: to the same bits in the same group."""
    one = make_run(places, LORA, epochs=2)
    configs = [one, dataclasses.replace(one, seed=1, method=LoRA(rank=4))]
    whole = train(configs, classify, tmp_path / "whole")
    for n in (3, 5):
        calls = iter(range(n))
        with pytest.raises(Stopped):
            train(configs, classify, tmp_path / "stopped", lambda calls=calls: next(calls, None) is None)
    if not regrouped:
        again = train(configs, classify, tmp_path / "stopped")
        assert all((a.losses == w.losses).all() for a, w in zip(again, whole, strict=True))
        return
    [alone] = train(configs[:1], classify, tmp_path / "stopped")
    same(alone, whole[0])


@pytest.mark.slow
def test_halving_ends_the_worse_half_at_every_mark_but_the_last(
    places: Path, classify: Prepared, tmp_path: Path
) -> None:
    one = make_run(places, LORA, epochs=2, evaluations=3)
    rates = (1e-9, 1e-2, 1e-8)
    configs = [with_optim(one, learning_rate=rate) for rate in rates]
    results = train(configs, classify, tmp_path / "halved", n_rivals=3)
    assert results[1].halted_at is None
    assert results[1].test is not None
    assert sorted(o.halted_at for o in (results[0], results[2]) if o.halted_at is not None) == [4, 8]
    for result in (results[0], results[2]):
        assert result.test is None
        assert result.dev is not None, "the score that it was halted at is kept"
        assert len(result.losses) == result.halted_at
    [alone] = train([configs[1]], classify, tmp_path / "alone")
    same(results[1], alone)
    # Stopped in the middle, it comes to the same choice.
    calls = iter(range(5))
    with pytest.raises(Stopped):
        train(configs, classify, tmp_path / "stopped", lambda: next(calls, None) is None, n_rivals=3)
    again = train(configs, classify, tmp_path / "stopped", n_rivals=3)
    assert [o.halted_at for o in again] == [o.halted_at for o in results]


@pytest.mark.parametrize("kind", ["classify", pytest.param("generate", marks=pytest.mark.slow)])
def test_many_adapters_are_scored_as_one_at_a_time(kind: str, request: pytest.FixtureRequest) -> None:
    prepared: Prepared = request.getfixturevalue(kind)
    config = LoRA(rank=3, targets=("all",))
    method, rng = config.build(prepared.model), np.random.default_rng(0)
    adapted = []
    for seed in range(3):
        trainable, frozen = adapt(draw_base(prepared, seed), method, seed)
        moved = {p: w + 0.3 * rng.standard_normal(w.shape).astype("float32") for p, w in trainable.items()}
        adapted.append(Adapted(moved, frozen))
    together = evaluate_many(prepared, config, adapted, prepared.test)
    for found, one in zip(together, adapted, strict=True):
        alone = evaluate_split(prepared, config, one, prepared.test)
        assert found.loss == pytest.approx(alone.loss, rel=1e-5)
        np.testing.assert_allclose(found.values, alone.values, atol=2e-4)
    assert len({found.loss for found in together}) == 3


def test_runs_that_do_not_go_together_are_refused(places: Path, classify: Prepared, tmp_path: Path) -> None:
    one = make_run(places, LORA)

    def refuse(other: FinetuneConfig, prepared: Prepared = classify) -> str:
        with pytest.raises(LoraJaxError) as found:
            check_group([TuneRun(one, classify, tmp_path), TuneRun(other, prepared, tmp_path)])
        return str(found.value)

    larger = dataclasses.replace(one, optim=TuneConfig(batch_size=8))
    assert "batches of 16 and 8 examples" in refuse(larger)
    assert "different shapes" in refuse(dataclasses.replace(one, method=Prefix(length=2)))
    assert "different shapes" in refuse(dataclasses.replace(one, method=LoRA(targets=("q",))))
    reloaded = dataclasses.replace(classify, pretrained=dataclasses.replace(classify.pretrained))
    assert "must share one" in refuse(one, reloaded)
