"""Trunk and branches: a branch is a run, and an interrupted one is an uninterrupted one, to the bit."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.train.trunk import Outcome, Stopped, train_trunk


def train(
    runs: list[RunConfig], dataset: Dataset, folder: Path, stop_after: int | None = None
) -> list[Outcome]:
    """Train; stop_after counts calls of should_stop, one a step."""
    calls = iter(range(10**9))
    stop = (lambda: next(calls) >= stop_after) if stop_after is not None else (lambda: False)
    finished = train_trunk(runs, dataset, folder, on_progress=lambda *_: None, should_stop=stop)
    return list(finished)


def same(left: Outcome, right: Outcome) -> None:
    np.testing.assert_array_equal(left.losses, right.losses)
    assert left.heldout == right.heldout


@pytest.fixture(scope="module")
def runs(base: RunConfig) -> list[RunConfig]:
    return [dataclasses.replace(base, n_tokens=steps * base.tokens_per_step) for steps in (20, 40, 60)]


def test_a_branch_equals_the_run_alone(runs: list[RunConfig], dataset: Dataset, tmp_path: Path) -> None:
    together = train(runs, dataset, tmp_path / "together")
    assert [outcome.run for outcome in together] == runs
    for number, run in enumerate(runs):
        same(together[number], train([run], dataset, tmp_path / str(number))[0])
    own = sum(outcome.trained_tokens for outcome in together)
    assert own < sum(run.n_tokens for run in runs)
    # the longest, and the cooldowns of the others
    assert own == (60 + 4 + 8) * runs[0].tokens_per_step


@pytest.mark.parametrize("stop_after", [3, 17, 19, 25, 45])
def test_interrupted_and_resumed_equals_uninterrupted(
    runs: list[RunConfig], dataset: Dataset, tmp_path: Path, stop_after: int
) -> None:
    whole = train(runs, dataset, tmp_path / "whole")
    folder, finished = tmp_path / "parts", {}
    stops = 0
    while len(finished) < len(runs):
        calls = iter(range(10**9))
        stop = lambda calls=calls: next(calls) >= stop_after  # noqa: E731
        pending = [run for run in runs if run not in finished]
        try:
            for outcome in train_trunk(
                pending, dataset, folder, on_progress=lambda *_: None, should_stop=stop
            ):
                finished[outcome.run] = outcome
        except Stopped:
            stops += 1
    assert stops > 0
    for outcome in whole:
        same(outcome, finished[outcome.run])


def test_a_longer_run_goes_on_and_a_shorter_one_starts_anew(
    runs: list[RunConfig], dataset: Dataset, tmp_path: Path
) -> None:
    middle = train([runs[1]], dataset, tmp_path / "grown")[0]
    rest = train([runs[0], runs[2]], dataset, tmp_path / "grown")
    whole = train(runs, dataset, tmp_path / "whole")
    for expected, got in zip(whole, [rest[0], middle, rest[1]], strict=True):
        same(expected, got)
    assert rest[1].trained_tokens < runs[2].n_tokens, "the longer run took its start from the trunk"


def test_divergence_is_a_status_and_ends_the_trunk(
    runs: list[RunConfig], dataset: Dataset, tmp_path: Path
) -> None:
    hot = [dataclasses.replace(r, optim=dataclasses.replace(r.optim, learning_rate=1e30)) for r in runs]
    outcomes = train(hot, dataset, tmp_path)
    assert len(outcomes) == len(runs)
    for outcome in outcomes:
        assert outcome.heldout is None
        assert outcome.diverged_at is not None
        assert np.isfinite(outcome.losses[: outcome.diverged_at]).all()
    assert outcomes[1].trained_tokens == outcomes[2].trained_tokens == 0


def test_seeds_differ(base: RunConfig, dataset: Dataset, tmp_path: Path) -> None:
    first = train([base], dataset, tmp_path / "0")[0]
    second = train([dataclasses.replace(base, seed=1)], dataset, tmp_path / "1")[0]
    assert first.losses[0] != second.losses[0]
