"""Trunk and branches: a branch is a run, and an interrupted one is an uninterrupted one, to the bit."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.errors import LoraJaxError
from lora_jax.training.result import PretrainResult
from lora_jax.training.side_by_side import Stopped
from lora_jax.training.trunk import Trunk, train_trunks


def train(
    runs: list[RunConfig], dataset: Dataset, folder: Path, stop_after: int | None = None
) -> list[PretrainResult]:
    """Train one trunk; stop_after counts calls of should_stop, one a step."""
    calls, results = iter(range(10**9)), []
    train_trunks(
        [Trunk(tuple(runs), dataset, folder)],
        1,
        on_result=results.append,
        should_stop=lambda: stop_after is not None and next(calls) >= stop_after,
    )
    return results


def same(left: PretrainResult, right: PretrainResult) -> None:
    np.testing.assert_array_equal(left.losses, right.losses)
    assert left.heldout == right.heldout


@pytest.fixture(scope="module")
def runs(base: RunConfig) -> list[RunConfig]:
    return [dataclasses.replace(base, n_tokens=steps * base.tokens_per_step) for steps in (20, 40, 60)]


def test_a_branch_equals_the_run_alone(runs: list[RunConfig], dataset: Dataset, tmp_path: Path) -> None:
    together = train(runs, dataset, tmp_path / "together")
    assert [result.run for result in together] == runs
    for number, run in enumerate(runs):
        same(together[number], train([run], dataset, tmp_path / str(number))[0])
    own = sum(result.cost.trained_tokens for result in together)
    assert own < sum(run.n_tokens for run in runs)
    # the longest, and the cooldowns of the others
    assert own == (60 + 4 + 8) * runs[0].tokens_per_step


@pytest.mark.bits
@pytest.mark.parametrize(
    "stop_after", [3, 25, *(pytest.param(step, marks=pytest.mark.slow) for step in (17, 19, 45))]
)
def test_interrupted_and_resumed_equals_uninterrupted(
    runs: list[RunConfig], dataset: Dataset, tmp_path: Path, stop_after: int
) -> None:
    whole = train(runs, dataset, tmp_path / "whole")
    finished: dict[RunConfig, PretrainResult] = {}
    stops = 0
    while len(finished) < len(runs):
        calls = iter(range(10**9))
        try:
            train_trunks(
                [Trunk(tuple(run for run in runs if run not in finished), dataset, tmp_path / "parts")],
                1,
                on_result=lambda result: finished.update({result.run: result}),
                should_stop=lambda calls=calls: next(calls) >= stop_after,
            )
        except Stopped:
            stops += 1
    assert stops > 0
    for result in whole:
        same(result, finished[result.run])


def test_a_longer_run_goes_on_and_a_shorter_one_starts_anew(
    runs: list[RunConfig], dataset: Dataset, tmp_path: Path
) -> None:
    middle = train([runs[1]], dataset, tmp_path / "grown")[0]
    rest = train([runs[0], runs[2]], dataset, tmp_path / "grown")
    whole = train(runs, dataset, tmp_path / "whole")
    for expected, got in zip(whole, [rest[0], middle, rest[1]], strict=True):
        same(expected, got)
    assert rest[1].cost.trained_tokens < runs[2].n_tokens, "the longer run took its start from the trunk"


def test_divergence_is_a_status_and_ends_the_trunk(
    runs: list[RunConfig], dataset: Dataset, tmp_path: Path
) -> None:
    hot = [dataclasses.replace(r, optim=dataclasses.replace(r.optim, learning_rate=1e30)) for r in runs]
    results = train(hot, dataset, tmp_path)
    assert len(results) == len(runs)
    for result in results:
        assert result.heldout is None
        assert result.diverged_at is not None
        assert np.isfinite(result.losses[: result.diverged_at]).all()
    assert results[1].cost.trained_tokens == results[2].cost.trained_tokens == 0


def test_seeds_differ(base: RunConfig, dataset: Dataset, tmp_path: Path) -> None:
    first = train([base], dataset, tmp_path / "0")[0]
    second = train([dataclasses.replace(base, seed=1)], dataset, tmp_path / "1")[0]
    assert first.losses[0] != second.losses[0]


def test_trunks_of_different_shapes_are_refused(base: RunConfig, dataset: Dataset, tmp_path: Path) -> None:
    other = dataclasses.replace(base, optim=dataclasses.replace(base.optim, batch_size=8))
    trunks = [Trunk((run,), dataset, tmp_path) for run in (base, other)]
    with pytest.raises(LoraJaxError, match=r"batch_size differs \(4 and 8\)"):
        train_trunks(trunks, 2, on_result=lambda _: None, should_stop=lambda: False)
    assert not list(tmp_path.iterdir()), "it was refused before anything was done"
