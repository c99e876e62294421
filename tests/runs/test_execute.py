"""A sweep run in this process: whole records, nothing trained twice, divergence as a status."""

import csv
import dataclasses
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lora_jax.config import RunConfig, run_id, to_dict, trunk_id
from lora_jax.data import Dataset
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import declare
from lora_jax.params import init
from lora_jax.runs.execute import check_spread, fingerprints, prepare_data, run_sweep
from lora_jax.runs.plan import plan_runs
from lora_jax.runs.pretraining import find_facts, is_cooled
from lora_jax.runs.record import RunRecord
from lora_jax.runs.recording import CURVE_POINTS, make_curve
from lora_jax.runs.store import RunStore
from lora_jax.runs.sweep import expand, over, overlay
from lora_jax.runs.tracking import open_tracker
from lora_jax.scaling.optima.training_curves import HOT
from lora_jax.scaling.tables.table import read_table
from lora_jax.target import find_device
from lora_jax.training.evaluate import average, measure_windows
from lora_jax.training.mesh import make_mesh
from lora_jax.training.result import PretrainResult
from lora_jax.training.schedules import peak_learning_rate
from lora_jax.training.side_by_side import Stopped
from lora_jax.training.trial import StepTimer
from lora_jax.training.trunk import Trunk, train_trunks

DEVICE = find_device("h200")  # a plan that times nothing


@pytest.fixture(scope="module")
def runs(base: RunConfig) -> list[RunConfig]:
    return expand(base, over("n_tokens", [n * base.tokens_per_step for n in (20, 40, 45)]))


def sweep(
    runs: list[RunConfig],
    dataset: Dataset,
    folder: Path,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[RunRecord]:
    store = RunStore(folder)
    planned = plan_runs(runs, store.finished(), DEVICE)
    datasets = {run.data: dataset for run in runs}
    return run_sweep("tiny", planned, datasets, store, open_tracker("off", "tiny", folder), should_stop)


@pytest.fixture(scope="module")
def finished(
    runs: list[RunConfig], dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunStore, list[RunRecord]]:
    folder = tmp_path_factory.mktemp("sweep")
    return RunStore(folder), sweep(runs, dataset, folder)


Finished = tuple[RunStore, list[RunRecord]]


def test_every_run_has_its_record_in_the_store(finished: Finished, runs: list[RunConfig]) -> None:
    store, records = finished
    assert [record.run_id for record in records] == [run_id(run) for run in runs]
    assert store.finished() == {record.run_id: record for record in records}
    for record, run in zip(records, runs, strict=True):
        assert record.config == to_dict(run)
        assert (record.sweep, record.status, record.seed, record.cooled) == ("tiny", "done", 0, True)
        assert record.learning_rate == peak_learning_rate(run)
        assert record.wall_seconds > 0
        assert record.device.startswith("cpu: ")
        assert record.versions.keys() >= {"python", "jax", "jaxlib", "flax", "optax", "numpy", "lora-jax"}
        assert record.created_at.endswith("+00:00")


def test_parameters_are_counted_three_ways(finished: Finished, runs: list[RunConfig]) -> None:
    for record, run in zip(finished[1], runs, strict=True):
        sizes = {path: array.size for path, array in init(declare(run.model), 0).items()}
        total = sum(sizes.values())
        embedding = run.model.vocab_size * run.model.d_model  # tied: one array is both
        assert record.n_params_total == total
        assert record.n_params == total - embedding
        assert record.n_params_with_head == total


def test_tokens_and_flops_are_those_of_the_run(
    finished: Finished, runs: list[RunConfig], dataset: Dataset
) -> None:
    for record, run in zip(finished[1], runs, strict=True):
        assert record.n_tokens == run.n_steps * run.tokens_per_step == run.n_tokens
        assert record.n_steps == run.n_steps
        assert record.unique_tokens == min(run.n_tokens, dataset.unique_tokens)
        assert record.epochs == record.n_tokens / dataset.unique_tokens
        assert record.flops == 6 * record.n_params_with_head * record.n_tokens
        m = run.model
        per_layer = 4 * m.d_model**2 + 3 * m.d_model * m.ff_width + 2 * 16 * m.d_model
        exact = 6 * (m.n_layers * per_layer + m.d_model * m.vocab_size) * record.n_tokens
        assert record.flops_exact == exact
    # the cooldowns begin at steps 16, 32 and 36, and the trunk is shared up to there
    assert [r.trained_tokens for r in finished[1]] == [n * runs[0].tokens_per_step for n in (20, 24, 13)]


def test_losses_are_those_of_training(
    finished: Finished, runs: list[RunConfig], dataset: Dataset, tmp_path: Path
) -> None:
    again: list[PretrainResult] = []
    quiet: dict[str, Any] = {"should_stop": lambda: False}
    train_trunks([Trunk(tuple(runs), dataset, tmp_path)], 1, on_result=again.append, **quiet)
    for record, result in zip(finished[1], again, strict=True):
        assert result.heldout is not None
        assert dataset.bytes_per_token is not None
        assert record.heldout_loss == result.heldout.loss
        assert record.heldout_loss_se == result.heldout.standard_error
        assert record.heldout_loss_se is not None
        assert 0 < record.heldout_loss_se < 1
        last = result.losses[-max(1, len(result.losses) // 20) :]
        assert record.train_loss == pytest.approx(float(last.mean()), rel=1e-6)
        text, tokens = dataset.bytes_per_token, record.heldout_loss
        assert record.bits_per_byte == pytest.approx((tokens or 0.0) / math.log(2) / text)
        assert record.tokens_per_second is not None


def test_losses_fall_below_those_of_an_untrained_model(
    finished: Finished, runs: list[RunConfig], dataset: Dataset
) -> None:
    model = runs[0].model
    losses_W = measure_windows(model, init(declare(model), 0), dataset.heldout_WT)
    before = average(losses_W, dataset.heldout_documents_W)
    assert all(record.heldout_loss is not None for record in finished[1])
    assert all((record.heldout_loss or 9) < before.loss for record in finished[1])


def test_curves_lie_beside_the_records(finished: Finished, runs: list[RunConfig]) -> None:
    store, records = finished
    for record, run in zip(records, runs, strict=True):
        curve = store.read_curve(record.run_id)
        assert [row["step"] for row in curve] == list(range(1, run.n_steps + 1))
        assert curve[-1]["n_tokens"] == record.n_tokens
        assert curve[-1]["flops"] == pytest.approx(record.flops_exact)
        assert max(row["learning_rate"] for row in curve) == pytest.approx(record.learning_rate, abs=1e-8)
        assert curve[-1]["learning_rate"] < record.learning_rate


def curve_of(run: RunConfig, dataset: Dataset, losses: np.ndarray) -> list[dict[str, float]]:
    """Return the curve of a run that gave these losses, at 2 FLOPs a token."""
    tokens = np.full(len(losses), run.tokens_per_step)
    result = PretrainResult(run=run, losses=losses, tokens=tokens, cost=StepTimer().cost())
    return make_curve(result, 2.0, find_facts(result, dataset).rate_at)


def test_a_long_curve_is_thinned_without_losing_its_mean(base: RunConfig, dataset: Dataset) -> None:
    n = 3 * CURVE_POINTS - 50
    run = overlay(base, {"n_tokens": n * base.tokens_per_step})
    losses = np.linspace(5, 3, n, dtype=np.float32)
    curve = curve_of(run, dataset, losses)
    assert len(curve) <= CURVE_POINTS
    steps = np.array([row["step"] for row in curve])
    assert steps[-1] == n
    weights = np.diff(steps, prepend=0)
    assert np.dot(weights, [row["loss"] for row in curve]) / n == pytest.approx(losses.mean(), rel=1e-5)
    assert [row["flops"] for row in curve] == [2.0 * row["n_tokens"] for row in curve]


@pytest.mark.parametrize(
    ("optim", "cooled"),
    [
        ({"schedule": "wsd"}, True),
        ({"schedule": "wsd", "cooldown_fraction": 0.01}, False),  # of one step, at the peak still
        ({"schedule": "cosine"}, True),
        ({"schedule": "cosine", "final_lr_fraction": 0.0}, True),
        ({"schedule": "cosine", "final_lr_fraction": 1.0}, False),
    ],
)
def test_a_run_is_cooled_where_its_rate_came_down(
    base: RunConfig, dataset: Dataset, optim: dict[Any, Any], cooled: bool
) -> None:
    run = overlay(base, {f"optim.{name}": value for name, value in optim.items()})
    assert is_cooled(run) is cooled
    curve = curve_of(run, dataset, np.ones(run.n_steps))
    rate = curve[-1]["learning_rate"]
    assert (rate <= HOT * peak_learning_rate(run)) is cooled, "a fit of curves would say otherwise"


# ---- a second call, a stop, a divergence


def test_finished_runs_are_not_trained_again(
    finished: Finished, runs: list[RunConfig], dataset: Dataset
) -> None:
    store, records = finished

    class Untouchable:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(f"the data's {name} was asked for")

    assert sweep(runs, Untouchable(), store.folder) == []  # pyright: ignore[reportArgumentType]
    assert store.finished() == {record.run_id: record for record in records}


@pytest.mark.bits
@pytest.mark.parametrize("stop_after", [7, 19, 25, 43])
def test_a_stopped_sweep_goes_on_to_the_same_records(
    finished: Finished, runs: list[RunConfig], dataset: Dataset, tmp_path: Path, stop_after: int
) -> None:
    calls = iter(range(10**9))
    with pytest.raises(Stopped):
        sweep(runs, dataset, tmp_path, should_stop=lambda: next(calls) >= stop_after)
    kept = RunStore(tmp_path).finished()
    assert len(kept) < len(runs)
    new = sweep(runs, dataset, tmp_path)
    assert {record.run_id for record in new} == {run_id(run) for run in runs} - kept.keys()
    for record in finished[1]:
        other = RunStore(tmp_path).finished()[record.run_id]
        differ = {name for name, value in dataclasses.asdict(record).items() if getattr(other, name) != value}
        assert differ <= {"wall_seconds", "tokens_per_second", "trained_tokens", "created_at"}
        assert RunStore(tmp_path).read_curve(record.run_id) == finished[0].read_curve(record.run_id)


def test_the_order_of_the_plan_does_not_matter(
    finished: Finished, base: RunConfig, runs: list[RunConfig], dataset: Dataset, tmp_path: Path
) -> None:
    """Runs of two trunks in turns: each trunk is still trained once."""
    other = [overlay(run, {"seed": 1}) for run in runs]
    planned = plan_runs([*runs, *other], (), DEVICE)
    turns = [item for pair in zip(planned[:3], planned[3:], strict=True) for item in pair]
    assert [item.trunk_id for item in turns[:2]] == [trunk_id(runs[0]), trunk_id(other[0])]
    store = RunStore(tmp_path)
    tracker = open_tracker("off", "tiny", tmp_path)
    records = run_sweep("tiny", turns, {base.data: dataset}, store, tracker, lambda: False)
    assert len(records) == 6
    own = sum(record.trained_tokens for record in records)
    assert own == 2 * sum(record.trained_tokens for record in finished[1])


def test_a_diverged_run_is_recorded_shown_and_left_out_of_the_fits(
    finished: Finished,
    runs: list[RunConfig],
    dataset: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hot = [overlay(run, {"optim.learning_rate": 1e30}) for run in runs]
    records = sweep([runs[0], *hot], dataset, tmp_path)
    bad = [record for record in records if record.status == "diverged"]
    assert len(bad) == len(hot)
    for record in bad:
        assert (record.heldout_loss, record.heldout_loss_se, record.train_loss, record.bits_per_byte) == (
            None,
            None,
            None,
            None,
        )
        assert record.diverged_at is not None
        curve = RunStore(tmp_path).read_curve(record.run_id)
        assert len(curve) == record.diverged_at
        assert all(math.isfinite(row["loss"]) for row in curve)
    shown = [line for line in capsys.readouterr().err.splitlines() if "DIVERGED" in line]
    assert len(shown) == len(hot)
    assert all(f"DIVERGED at step {bad[0].diverged_at}" in line for line in shown)
    table = read_table(tmp_path)
    assert table.run_ids == (run_id(runs[0]),)
    assert {gone.run_id for gone in table.left_out} == {record.run_id for record in bad}
    with (tmp_path / "runs.csv").open() as file:
        assert "nan" not in file.read().lower()
    assert sweep([runs[0], *hot], dataset, tmp_path) == [], "a diverged run is finished"


# ---- the data of a sweep


def test_data_is_prepared_once_and_checked_against_every_run(
    runs: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_JAX_CACHE", str(tmp_path))
    said: list[str] = []
    datasets = prepare_data(runs, said.append)
    assert list(datasets) == [runs[0].data]
    assert any("tokenising" in line for line in said)
    greedy = overlay(runs[0], {"n_tokens": 10**9})
    with pytest.raises(LoraJaxError, match=r"data\.max_epochs"):
        prepare_data([*runs, greedy], said.append)
    small = overlay(runs[0], {"model.vocab_size": 200})
    with pytest.raises(LoraJaxError, match=r"model\.vocab_size is 200"):
        prepare_data([*runs, small], said.append)


def test_fingerprints_tell_changed_text(runs: list[RunConfig], corpus: Path, tmp_path: Path) -> None:
    from lora_jax.data import prepare

    folder = tmp_path / "text"
    folder.mkdir()
    for path in corpus.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = overlay(
        runs[0],
        {"data.sources": (dataclasses.replace(runs[0].data.sources[0], name=f"files:{folder}/*.txt"),)},
    ).data

    def fingerprint() -> dict[str, str]:
        return fingerprints({config: prepare(config, 256, tmp_path / "cache")})

    before = fingerprint()
    assert fingerprint() == before
    path = folder / "3.txt"
    path.write_text(path.read_text().replace("e", "E", 1))
    assert fingerprint().keys() == before.keys()
    assert fingerprint() != before


def test_the_table_reads_as_csv(finished: Finished) -> None:
    text = (finished[0].folder / "runs.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["run_id"] for row in rows] == sorted(record.run_id for record in finished[1])


def test_a_mesh_is_for_one_run_at_a_time(runs: list[RunConfig]) -> None:
    mesh, planned = make_mesh("data=1"), plan_runs(runs, (), find_device("h200"))
    assert check_spread(planned, mesh, None, False) == 1
    for lanes, halving, asked in ((4, False, "--lanes 4"), (None, True, "--halving")):
        with pytest.raises(LoraJaxError, match=f"over 1 devices and {asked} trains several"):
            check_spread(planned, mesh, lanes, halving)
