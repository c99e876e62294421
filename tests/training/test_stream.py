"""Rows while training: they say what was trained, and change nothing of it."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_jax.config import ModelConfig, OptimConfig, RunConfig, run_id, trunk_id
from lora_jax.data import Dataset
from lora_jax.model.declare import flops_per_token
from lora_jax.training.evaluate import EVALUATION_BATCH
from lora_jax.training.heldout import HeldOut
from lora_jax.training.heldout_points import choose_points, measure_heldout
from lora_jax.training.history import LossHistory
from lora_jax.training.lanes import compile_step
from lora_jax.training.loss import mean_loss
from lora_jax.training.measuring import NEVER, SPACINGS, Measuring, Spacing
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.pretraining import init_pretraining, make_input, make_pretraining_step
from lora_jax.training.result import PretrainResult
from lora_jax.training.rows import Row, Source, Watching
from lora_jax.training.schedules import cooldown_start, peak_learning_rate, unit_rate
from lora_jax.training.side_by_side import Stopped
from lora_jax.training.step import StepInput
from lora_jax.training.stream import Stream
from lora_jax.training.trunk import Trunk, train_trunks


@dataclass
class Heard:
    """A sink that keeps what it is given."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)

    def begin(self, source: Source, step: int) -> None:
        self.rows.setdefault(source.name, [])
        self.sources[source.name] = source

    def take(self, source: Source, row: Row) -> None:
        self.rows[source.name].append(row)

    def end(self, source: Source) -> None:
        self.ended.append(source.name)


def train(
    runs: list[RunConfig], dataset: Dataset, folder: Path, watching: Watching, stop_after: int = 10**9
) -> list[PretrainResult]:
    calls, results = iter(range(10**9)), []
    train_trunks(
        [Trunk(tuple(runs), dataset, folder)],
        1,
        on_result=results.append,
        should_stop=lambda: next(calls) >= stop_after,
        watching=watching,
    )
    return results


@pytest.fixture(scope="module")
def runs(base: RunConfig) -> list[RunConfig]:
    return [dataclasses.replace(base, n_tokens=steps * base.tokens_per_step) for steps in (40, 60)]


@pytest.fixture(scope="module")
def heard_and_results(
    runs: list[RunConfig], dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Heard, list[PretrainResult]]:
    heard = Heard()
    watching = Watching(sink=heard, measuring=Measuring(n_points=3, share=5.0), row_seconds=0.0)
    return heard, train(runs, dataset, tmp_path_factory.mktemp("watched"), watching)


def test_watching_changes_no_bit(
    heard_and_results: tuple[Heard, list[PretrainResult]],
    runs: list[RunConfig],
    dataset: Dataset,
    tmp_path: Path,
) -> None:
    for watched, alone in zip(heard_and_results[1], train(runs, dataset, tmp_path, Watching()), strict=True):
        assert watched.losses.tobytes() == alone.losses.tobytes()
        assert watched.heldout == alone.heldout


def test_rows_say_what_was_trained(heard_and_results: tuple[Heard, list[PretrainResult]]) -> None:
    heard, results = heard_and_results
    assert sorted(heard.ended) == sorted(heard.rows)
    for result in results:
        run, name = result.run, run_id(result.run)
        trunk, own = heard.rows[trunk_id(run)], heard.rows[name]
        assert heard.sources[name].beginning == trunk_id(run)
        rows = [row for row in trunk if row.step <= cooldown_start(run)] + own
        steps = [row.step for row in rows]
        assert steps == sorted(set(steps))
        assert steps[-1] == run.n_steps
        for before, row in zip([0, *steps], rows, strict=False):
            losses = np.asarray(result.losses[before : row.step], float)
            assert row.loss == pytest.approx(losses.mean(), rel=1e-6)
            assert row.new_tokens == (row.step - before) * run.tokens_per_step
            assert row.n_tokens == row.step * run.tokens_per_step
            assert row.flops == row.n_tokens * flops_per_token(run.model, run.data.seq_len)
            assert 0 <= row.data_seconds < 60
            rate = peak_learning_rate(run) * unit_rate(run, row.step - 1)
            assert row.learning_rate == pytest.approx(rate, rel=1e-6, abs=1e-12)
        assert own[-1].heldout == result.heldout


def test_the_held_out_loss_on_the_way_is_that_of_the_weights_there(
    heard_and_results: tuple[Heard, list[PretrainResult]],
    runs: list[RunConfig],
    dataset: Dataset,
    tmp_path: Path,
) -> None:
    rows = [row for row in heard_and_results[0].rows[trunk_id(runs[0])] if row.heldout is not None]
    chosen = Measuring().choose_steps(60, 3)
    assert [row.step for row in rows] == [s for s in chosen if s <= cooldown_start(runs[1])]
    step = compile_step(make_pretraining_step(runs[0].model, runs[0].optim), False)
    state = init_pretraining(runs[0].model, runs[0].optim, runs[0].seed)
    for i in range(rows[-1].step):
        state, _ = step(state, {}, {}, make_input(runs[1], dataset, i))
    found = measure_heldout(runs[0], state.trainable, dataset).whole
    assert rows[-1].heldout is not None
    assert rows[-1].heldout.loss == pytest.approx(found.loss, rel=1e-6)


def test_a_stopped_run_goes_on_in_its_rows(runs: list[RunConfig], dataset: Dataset, tmp_path: Path) -> None:
    heard = Heard()
    watching = Watching(sink=heard, measuring=NEVER, row_seconds=0.0)
    with pytest.raises(Stopped):
        train(runs[:1], dataset, tmp_path, watching, stop_after=15)
    assert heard.ended == []
    train(runs[:1], dataset, tmp_path, watching)
    steps = [row.step for row in heard.rows[trunk_id(runs[0])]]
    assert steps == sorted(set(steps))
    assert sum(row.new_tokens for rows in heard.rows.values() for row in rows) == runs[0].n_tokens


def test_a_run_that_diverges_tells_no_number_that_is_none(
    base: RunConfig, dataset: Dataset, tmp_path: Path
) -> None:
    heard, wild = Heard(), dataclasses.replace(base.optim, learning_rate=1e9, clip_norm=1e9)
    (result,) = train(
        [dataclasses.replace(base, optim=wild)], dataset, tmp_path, Watching(sink=heard, row_seconds=0.0)
    )
    assert result.diverged_at is not None
    for row in (row for rows in heard.rows.values() for row in rows):
        for value in dataclasses.asdict(row).values():
            assert not isinstance(value, float) or math.isfinite(value)


def test_a_held_out_loss_that_is_no_number_is_left_out(base: RunConfig) -> None:
    heard, source = Heard(), Source(name="a", run=base, run_ids=("a",), n_steps=10)
    history = LossHistory([2.0], [8])
    stream = Stream(source, Watching(sink=heard), history, 1.0, lambda step: 0.1)
    wild = HeldOut(math.nan, math.nan)
    history.take([1.5], [8])
    stream.tell(wild, {"one": wild, "other": HeldOut(2.0, 0.1)})
    (row,) = heard.rows["a"]
    assert (row.loss, row.heldout, row.heldout_by_source) == (1.5, None, None)


def test_the_gradient_and_the_update_are_those_of_the_step(base: RunConfig, dataset: Dataset) -> None:
    state = init_pretraining(base.model, base.optim, 0)
    before = {path: np.array(weight) for path, weight in state.trainable.items()}
    windows = dataset.batch(0, 4, 0)
    gradient = jax.grad(lambda params: mean_loss(base.model, params, jax.numpy.asarray(windows)))(
        state.trainable
    )
    step = compile_step(make_pretraining_step(base.model, base.optim), False)
    given_input = StepInput(windows, make_hyperparams(base.optim, 0.01))
    after, measured = step(state, {}, {}, given_input)

    def norm(parts: Callable[[str], np.ndarray]) -> float:
        return math.sqrt(sum(float(np.square(np.asarray(parts(path), float)).sum()) for path in before))

    assert float(measured.gradient_norm) == pytest.approx(norm(lambda p: gradient[p]), rel=1e-4)
    ratio = norm(lambda p: np.asarray(after.trainable[p]) - before[p]) / norm(lambda p: before[p])
    assert float(measured.update_ratio) == pytest.approx(ratio, rel=1e-3)


SPACED = st.sampled_from(SPACINGS)


@given(n_steps=st.integers(0, 10**7), n_points=st.integers(0, 50), spacing=SPACED)
def test_steps_are_few_and_inside(n_steps: int, n_points: int, spacing: Spacing) -> None:
    steps = Measuring(spacing=spacing).choose_steps(n_steps, n_points)
    assert len(steps) <= n_points
    assert steps == sorted(set(steps))
    assert all(0 < step < n_steps for step in steps)


def test_steps_lie_evenly_in_what_was_asked_for() -> None:
    even = Measuring(spacing="even").choose_steps(900, 8)
    assert even == [100 * k for k in range(1, 9)]
    log = Measuring().choose_steps(10**6, 8)
    assert log[0] == 10**4
    np.testing.assert_allclose(np.diff(np.log([*log, 10**6])), np.log(100) / 8, rtol=1e-3)


@given(
    n_steps=st.integers(2, 10**6),
    batch=st.integers(1, 512),
    n_windows=st.integers(1, 5000),
    measuring=st.builds(Measuring, n_points=st.integers(0, 40), share=st.floats(0, 2), spacing=SPACED),
)
def test_held_out_points_cost_no_more_than_their_share(
    n_steps: int, batch: int, n_windows: int, measuring: Measuring
) -> None:
    model = ModelConfig(d_model=16, n_layers=2, n_heads=2, vocab_size=256, context=128)
    optim = OptimConfig(batch_size=batch, warmup_steps=0)
    run = RunConfig(model=model, optim=optim, n_tokens=n_steps * batch * 128)
    points = choose_points(run, n_windows, measuring)
    assert len(points.steps) <= measuring.n_points
    calls = -(-len(points.chosen_W) // EVALUATION_BATCH) * len(points.steps)
    assert calls * EVALUATION_BATCH <= measuring.share * n_steps * batch * 3
    assert len(set(points.chosen_W.tolist())) == len(points.chosen_W) <= n_windows


def test_sources_of_a_mixture_are_parts_of_the_whole(base: RunConfig, corpus: Path, tmp_path: Path) -> None:
    from lora_jax.config import SourceConfig
    from lora_jax.data import prepare

    names = [f"files:{corpus}/{pattern}" for pattern in ("*[0-3].txt", "*[4-7].txt")]
    data = dataclasses.replace(
        base.data, sources=tuple(SourceConfig(name=name) for name in names), heldout_fraction=0.3
    )
    run = dataclasses.replace(base, data=data)
    dataset = prepare(data, 256, tmp_path)
    params = init_pretraining(run.model, run.optim, 0).trainable
    whole, by_source = measure_heldout(run, params, dataset)
    assert list(by_source) == names
    weights = np.bincount(dataset.heldout_sources_W)
    assert np.average([one.loss for one in by_source.values()], weights=weights) == pytest.approx(whole.loss)


def test_two_sources_of_one_name_have_rows_of_their_own(
    base: RunConfig, corpus: Path, tmp_path: Path
) -> None:
    from lora_jax.config import SourceConfig
    from lora_jax.data import prepare

    name = f"files:{corpus}/*.txt"
    sources = (SourceConfig(name=name), SourceConfig(name=name, weight=2.0))
    run = dataclasses.replace(base, data=dataclasses.replace(base.data, sources=sources))
    dataset = prepare(run.data, 256, tmp_path)
    assert dataset.heldout_names == [f"{name}[train] 1", f"{name}[train] 2"]
    params = init_pretraining(run.model, run.optim, 0).trainable
    assert list(measure_heldout(run, params, dataset).by_source) == dataset.heldout_names


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "a[x]"]), st.sampled_from(["x", "y"])), max_size=6))
def test_sources_are_told_apart(given: list[tuple[str, str]]) -> None:
    from lora_jax.config import SourceConfig
    from lora_jax.data.batches import tell_apart

    names = tell_apart([SourceConfig(name=f"files:{name}", split=split) for name, split in given])
    assert len(set(names)) == len(given)
    assert all(found.startswith(f"files:{name}") for found, (name, _) in zip(names, given, strict=True))


def test_options_say_when_it_is_measured() -> None:
    import argparse

    from lora_jax.commands.heldout_options import add_measuring, read_measuring

    parser = argparse.ArgumentParser()
    add_measuring(parser)
    assert read_measuring(parser.parse_args([])) == Measuring()
    words = ["--heldout-points", "20", "--heldout-share", "0.2", "--heldout-spacing", "even"]
    assert read_measuring(parser.parse_args(words)) == Measuring(n_points=20, share=0.2, spacing="even")
