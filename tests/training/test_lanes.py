"""Trunks side by side: each is what it is alone, whatever ends or breaks beside it."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.runs.sweep import overlay
from lora_jax.training.lanes import Lanes, compile_step
from lora_jax.training.pretraining import init_pretraining, make_input, make_pretraining_step
from lora_jax.training.result import PretrainResult
from lora_jax.training.side_by_side import Lane, StepRequest, Stopped, Trial, drive
from lora_jax.training.trunk import RungAt, Trunk, train_trunks

SAME = 1e-5  # relative: a sum may be rounded otherwise in a program of another width


def train(
    trunks: Iterable[list[RunConfig]],
    dataset: Any,
    folder: Path,
    n_lanes: int,
    stop_after: int | None = None,
    rungs: tuple[RungAt, ...] = (),
    finished: dict[RunConfig, PretrainResult] | None = None,
) -> dict[RunConfig, PretrainResult]:
    """Train trunks, each in a folder of its own; stop_after counts steps. Outcomes go to `finished`."""
    results: dict[RunConfig, PretrainResult] = {} if finished is None else finished
    steps = iter(range(10**9))

    def keep(result: PretrainResult) -> None:
        assert result.run not in results, "told twice"
        results[result.run] = result

    train_trunks(
        [Trunk(tuple(runs), dataset, folder / name_trunk(runs[0]), rungs) for runs in trunks],
        n_lanes,
        on_result=keep,
        should_stop=lambda: stop_after is not None and next(steps) >= stop_after,
    )
    return results


def name_trunk(run: RunConfig) -> str:
    return f"{run.seed}-{run.optim.learning_rate}-{run.optim.schedule}-{run.optim.warmup_steps}"


def check_same(found: PretrainResult, alone: PretrainResult) -> None:
    np.testing.assert_allclose(found.losses, alone.losses, rtol=SAME)
    assert found.heldout is not None
    assert alone.heldout is not None
    assert found.heldout.loss == pytest.approx(alone.heldout.loss, rel=SAME)


def with_steps(run: RunConfig, n_steps: int, **changes: Any) -> RunConfig:
    return overlay(run, {"n_tokens": n_steps * run.tokens_per_step} | changes)


@pytest.fixture(scope="module")
def gentle(base: RunConfig) -> RunConfig:
    """At a rate four times as high training is not stable, and a difference of one rounding grows to 1e-2."""
    return overlay(base, {"optim.learning_rate": 1e-3, "optim.warmup_steps": 10})


@pytest.fixture(scope="module")
def different(gentle: RunConfig) -> list[RunConfig]:
    """Four runs of 200 steps that differ in every number that may differ by lane; the shape is their own."""
    gentle = overlay(gentle, {"optim.eps": 2e-8})
    return [
        with_steps(gentle, 200),
        with_steps(gentle, 200, **{"seed": 1, "optim.learning_rate": 3e-4, "optim.cooldown_fraction": 0.5}),
        with_steps(gentle, 200, **{"seed": 2, "optim.weight_decay": 0.0, "optim.schedule": "cosine"}),
        with_steps(gentle, 200, **{"optim.clip_norm": 0.1, "optim.warmup_steps": 30}),
    ]


class Recording:
    """A data set that remembers every batch it gave."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.given = dataset, set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)

    def batch(self, step: int, batch_size: int, seed: int) -> np.ndarray:
        batch = self.dataset.batch(step, batch_size, seed)
        self.given.add((step, seed, batch.tobytes()))
        return batch


def test_each_lane_equals_its_run_alone(different: list[RunConfig], dataset: Dataset, tmp_path: Path) -> None:
    beside, apart = Recording(dataset), Recording(dataset)
    found = train([[run] for run in different], beside, tmp_path / "beside", 4)
    step = make_pretraining_step(different[0].model, different[0].optim)
    assert compile_step(step, True)._cache_size() == 1, "rates, decay, clip, schedule, seed are data"
    for run in different:
        alone = train([[run]], apart, tmp_path / "apart", 1)[run]
        check_same(found[run], alone)
        assert (found[run].cost.n_lanes, alone.cost.n_lanes) == (4, 1)
        assert found[run].cost.trained_tokens == alone.cost.trained_tokens
    assert beside.given == apart.given, "every lane has the batches of its run, to the bit"
    assert compile_step(step, False)._cache_size() == 1
    losses = [found[run].losses for run in different]
    assert not any(np.allclose(losses[0], other, rtol=1e-3) for other in losses[1:]), "they do differ"


@pytest.mark.bits
def test_a_lane_holds_its_own_start_to_the_bit(different: list[RunConfig], dataset: Dataset) -> None:
    states = [init_pretraining(run.model, run.optim, run.seed) for run in different]
    lanes = Lanes(make_pretraining_step(different[0].model, different[0].optim), states)
    for number in range(3):
        jax.tree.map(np.testing.assert_array_equal, lanes.read(number), states[number])
    lanes.write(3, states[1])
    lanes.keep([3, 0])
    for number, state in enumerate([states[1], states[0]]):
        jax.tree.map(np.testing.assert_array_equal, lanes.read(number), state)


@pytest.mark.slow
def test_the_batches_of_more_or_less_data_share_a_program(
    gentle: RunConfig, dataset: Dataset, tmp_path: Path
) -> None:
    less = overlay(gentle, {"data.unique_tokens": 20 * 32})
    small = Dataset(less.data, dataset.sources, dataset.tokenizer)
    found: list[PretrainResult] = []
    train_trunks(
        [Trunk((gentle,), dataset, tmp_path / "all"), Trunk((less,), small, tmp_path / "less")],
        2,
        on_result=found.append,
        should_stop=lambda: False,
    )
    found.sort(key=lambda result: result.run.data.unique_tokens or 0)
    check_same(found[0], train([[gentle]], dataset, tmp_path, 1)[gentle])
    check_same(found[1], train([[less]], small, tmp_path / "alone", 1)[less])


def test_a_lane_that_breaks_ends_alone(gentle: RunConfig, dataset: Dataset, tmp_path: Path) -> None:
    runs = [with_steps(gentle, 40, seed=seed) for seed in range(4)]
    healthy = train([[run] for run in runs], dataset, tmp_path / "healthy", 4)
    hot = overlay(runs[1], {"optim.learning_rate": 1e30})
    longer = with_steps(hot, 60)
    found = train([[runs[0]], [hot, longer], *([run] for run in runs[2:])], dataset, tmp_path / "hot", 4)
    for run in (hot, longer):
        assert found[run].diverged_at is not None
        assert found[run].heldout is None
        assert found[run].weights is None
    assert found[longer].cost.trained_tokens == 0, "its trunk had ended"
    for run in (runs[0], *runs[2:]):
        np.testing.assert_array_equal(found[run].losses, healthy[run].losses)
        assert found[run].heldout == healthy[run].heldout


@pytest.mark.slow
def test_lanes_that_end_early_are_compacted(
    gentle: RunConfig, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths = [16]
    keep = Lanes.keep
    monkeypatch.setattr(Lanes, "keep", lambda self, lanes: widths.append(len(lanes)) or keep(self, lanes))
    ends = [20] * 8 + [40] * 4 + [60] * 4
    runs = [with_steps(gentle, n, seed=seed) for seed, n in enumerate(ends)]
    found = train([[run] for run in runs], dataset, tmp_path / "beside", 16)
    assert widths == [16, 8, 4]
    assert len(found) == 16
    for run in (runs[0], runs[7], runs[8], runs[15]):
        check_same(found[run], train([[run]], dataset, tmp_path / "apart", 1)[run])


def test_a_lane_takes_the_next_trunk_and_branches_as_one_alone(
    gentle: RunConfig, dataset: Dataset, tmp_path: Path
) -> None:
    trunks = [[with_steps(gentle, n, seed=seed) for n in (20, 30 + 10 * seed)] for seed in range(4)]
    found = train(trunks, dataset, tmp_path / "beside", 2)
    for runs in trunks:
        alone = train([runs], dataset, tmp_path / "apart", 1)
        for run in runs:
            check_same(found[run], alone[run])
            assert found[run].cost.trained_tokens == alone[run].cost.trained_tokens
            assert found[run].cost.n_lanes <= 2


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [13, 37])
def test_a_stopped_group_goes_on_and_loses_nothing(
    gentle: RunConfig, dataset: Dataset, tmp_path: Path, stop_after: int
) -> None:
    trunks = [[with_steps(gentle, n, seed=seed) for n in (20, 40 + 10 * seed)] for seed in range(4)]
    whole = train(trunks, dataset, tmp_path / "whole", 4)
    finished: dict[RunConfig, PretrainResult] = {}
    stops = 0
    while len(finished) < len(whole):
        pending = [[run for run in runs if run not in finished] for runs in trunks]
        try:
            train(
                [runs for runs in pending if runs],
                dataset,
                tmp_path / "parts",
                4,
                stop_after,
                finished=finished,
            )
        except Stopped:
            stops += 1
    assert stops > 1
    for run, result in whole.items():
        check_same(finished[run], result)
    spent = sum(result.cost.trained_tokens for result in finished.values())
    assert spent <= sum(result.cost.trained_tokens for result in whole.values()), "what was saved was used"


# ---- successive halving


@pytest.fixture(scope="module")
def rivals(gentle: RunConfig) -> list[list[RunConfig]]:
    """Four rates, the third the best; of each a short run and one of 80 steps."""
    rates = [1e-6, 1e-4, 1e-3, 4e-4]
    return [
        [with_steps(gentle, n, **{"optim.learning_rate": rate, "optim.warmup_steps": 4}) for n in (12, 80)]
        for rate in rates
    ]


RUNGS = (RungAt(20, 2), RungAt(40, 1))


def test_the_worse_half_is_halted_and_the_rest_is_as_it_was(
    rivals: list[list[RunConfig]], dataset: Dataset, tmp_path: Path
) -> None:
    found = train(rivals, dataset, tmp_path / "halved", 4, rungs=RUNGS)
    assert [found[long].halted_at for _, long in rivals] == [20, 20, None, 40]
    assert [found[short].halted_at for short, _ in rivals] == [None] * 4, "they had ended before the rung"
    for _, long in rivals:
        result = found[long]
        assert (result.heldout is None) == (result.weights is None) == (result.halted_at is not None)
        assert result.diverged_at is None
        assert len(result.losses) == (result.halted_at or 80)
    check_same(found[rivals[2][1]], train([rivals[2]], dataset, tmp_path / "apart", 1)[rivals[2][1]])


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [15, 25, 45])
def test_halving_comes_to_the_same_choice_after_a_stop(
    rivals: list[list[RunConfig]], dataset: Dataset, tmp_path: Path, stop_after: int
) -> None:
    finished: dict[RunConfig, PretrainResult] = {}
    with pytest.raises(Stopped):
        train(rivals, dataset, tmp_path, 4, stop_after, RUNGS, finished)
    pending = [[run for run in runs if run not in finished] for runs in rivals]
    train([runs for runs in pending if runs], dataset, tmp_path, 4, None, RUNGS, finished)
    assert [finished[long].halted_at for _, long in rivals] == [20, 20, None, 40]


def test_the_memory_of_a_step_is_xlas(gentle: RunConfig, dataset: Dataset) -> None:
    states = [init_pretraining(gentle.model, gentle.optim, seed) for seed in range(2)]
    lanes = Lanes(make_pretraining_step(gentle.model, gentle.optim), states)
    given = [make_input(gentle, dataset, 0)] * 2
    found = lanes.memory_bytes(given)
    assert found is not None
    state_bytes = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(states))
    logits_bytes = 2 * 4 * gentle.tokens_per_step * gentle.model.vocab_size
    assert found > state_bytes + logits_bytes
    before = compile_step(make_pretraining_step(gentle.model, gentle.optim), True)._cache_size()
    lanes.step(given)
    assert compile_step(make_pretraining_step(gentle.model, gentle.optim), True)._cache_size() <= before + 1


@pytest.mark.slow
@pytest.mark.parametrize("width", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_several_steps_in_a_call_are_as_many_calls(base: RunConfig, dataset: Dataset, width: int) -> None:
    """To the same losses, also where the steps asked for are no multiple of them."""
    step, losses = make_pretraining_step(base.model, base.optim), {}
    for at_once in (1, 4):
        states = [init_pretraining(base.model, base.optim, seed) for seed in range(width)]
        lanes = Lanes(step, states, steps_per_call=at_once)

        def trial(lane: Lane, found: list[float]) -> Trial:
            while len(found) < 11:
                done = len(found)
                answer = yield StepRequest(
                    11 - done, lambda i, done=done: make_input(base, dataset, done + i)
                )
                found += answer.losses

        found: list[list[float]] = [[] for _ in range(width)]
        drive(lanes, [partial(trial, found=one) for one in found], lambda: False)
        losses[at_once] = found
    np.testing.assert_allclose(losses[4], losses[1], rtol=1e-6)
    assert np.shape(losses[4]) == (width, 11)
