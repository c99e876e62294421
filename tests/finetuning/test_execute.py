"""A whole sweep: rates, then seeds; what is finished is not trained again, what is lost comes back."""

import dataclasses
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from lora_jax.comparison.folder import read_runs
from lora_jax.comparison.methods import compare_methods
from lora_jax.digests import read_object
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import FinetuneSweep, TuneConfig, finetune_id
from lora_jax.finetuning.execute import TuneCell, Tuner, TuneSettings, choose_rates
from lora_jax.finetuning.export import export_chosen
from lora_jax.finetuning.group import TuneRun
from lora_jax.finetuning.lane_count import TuneGroup, check_lanes, settle_lane_count
from lora_jax.finetuning.prepare import Prepared
from lora_jax.finetuning.recording import adapter_path
from lora_jax.params import count
from lora_jax.peft.checkpoint import load_adapter
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import BitFit
from lora_jax.runs.experiment import read_lanes
from lora_jax.runs.store import RunStore
from lora_jax.runs.tracking import open_tracker
from lora_jax.training.optimizers.lion import Lion
from lora_jax.training.optimizers.muon import Muon
from lora_jax.training.optimizers.optimizer import Optimizer
from lora_jax.training.optimizers.schedule_free import ScheduleFree
from lora_jax.training.optimizers.sgd import SGD
from lora_jax.training.saving import DEFAULT, Saving
from lora_jax.workers.crew import Joining

from .conftest import task_of


@pytest.fixture(scope="module")
def sweep(places: Path) -> FinetuneSweep:
    return FinetuneSweep(
        base=str(places / "models" / "encoder"),
        task=task_of(places, "words"),
        methods={"LoRA r 2": LoRA(rank=2, targets=("q", "v")), "BitFit": BitFit()},
        rates={"LoRA r 2": (1e-6, 1e-2), "BitFit": (1e-2, 1e30)},
        optim=TuneConfig(batch_size=32, epochs=3, evaluations=2),
        seeds=(0, 1),
    )


def run_all(
    sweep: FinetuneSweep,
    prepared: Prepared,
    folder: Path,
    lanes: int | None = 1,
    halving: bool = False,
    saving: Saving = DEFAULT,
) -> tuple[RunStore, list[str]]:
    store, said = RunStore(folder), []
    tracker = open_tracker("off", "tiny", folder)
    settings = TuneSettings(lanes, halving, saving)
    Tuner("tiny", [TuneCell(sweep, prepared)], store, tracker, settings).run_all(lambda: False, said.append)
    return store, said


@pytest.fixture(scope="module")
def store(sweep: FinetuneSweep, classify: Prepared, tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    keeping = Saving(every_steps=5, fractions=(0.5,))
    return run_all(sweep, classify, tmp_path_factory.mktemp("sweep"), saving=keeping)[0]


def test_states_at_shares_of_a_run_stay_when_it_is_recorded(store: RunStore) -> None:
    for record in store.finished().values():
        if record.status == "done":
            folder = store.folder / "checkpoints" / record.run_id
            [manifest] = folder.rglob("digests.json")
            assert manifest.relative_to(folder) == Path("kept", str(round(record.n_steps / 2)), manifest.name)


def test_every_rate_runs_once_and_the_best_with_every_seed(
    store: RunStore, sweep: FinetuneSweep, classify: Prepared
) -> None:
    chosen = choose_rates(sweep, classify, store)
    assert chosen["BitFit"] == 1e-2, "a diverged rate is never the best"
    runs = [run for label in sweep.methods for run in sweep.first_runs(label)]
    runs += [sweep.run(label, rate, 1) for label, rate in chosen.items()]
    assert set(store.finished()) == {finetune_id(run) for run in runs}


def test_a_record_says_what_was_trained_and_what_came_out(
    store: RunStore, sweep: FinetuneSweep, classify: Prepared
) -> None:
    record = store.finished()[finetune_id(sweep.run("LoRA r 2", 1e-2, 0))]
    found = record.finetuning
    assert found is not None
    specs = sweep.methods["LoRA r 2"].build(classify.model).specs
    assert found["n_trainable"] == count({p: s for p, s in specs.items() if "_lora_" in p}) == 2 * 2 * 2 * 32
    assert found["n_head"] == 16 * 2 + 2
    assert found["optimizer_bytes"] == 8 * (found["n_trainable"] + found["n_head"])
    assert 0.5 < found["flops_share"] < 1
    assert found["test"]["accuracy"]["value"] == np.mean(found["test_values"])
    assert len(found["test_values"]) == len(classify.task.test) == 40
    assert record.epochs == pytest.approx(3)


def test_divergence_is_recorded_without_a_number(store: RunStore, sweep: FinetuneSweep) -> None:
    record = store.finished()[finetune_id(sweep.run("BitFit", 1e30, 0))]
    assert (record.status, record.heldout_loss, record.finetuning["test"]) == ("diverged", None, {})  # pyright: ignore


def test_a_lost_record_comes_back_the_same_and_nothing_else_is_trained(
    store: RunStore, sweep: FinetuneSweep, classify: Prepared
) -> None:
    run_id = finetune_id(sweep.run("LoRA r 2", 1e-2, 0))
    path = store.folder / "runs" / f"{run_id}.json"
    before = json.loads(path.read_text())
    times = {p: p.stat().st_mtime_ns for p in store.folder.glob("runs/*.json")}
    path.unlink()
    again, said = run_all(sweep, classify, store.folder)
    assert [line for line in said if "runs to train" in line] == [said[0]]
    assert "1 of 4 runs to train" in said[0]
    after = json.loads(path.read_text())
    for name in ("train_loss", "heldout_loss", "n_tokens"):
        assert after[name] == before[name]
    assert after["finetuning"]["test"] == before["finetuning"]["test"]
    assert {p for p in again.folder.glob("runs/*.json") if p.stat().st_mtime_ns != times[p]} == {path}


def test_adapters_are_kept_and_leave_in_pefts_form(
    store: RunStore, sweep: FinetuneSweep, classify: Prepared
) -> None:
    lines = export_chosen(sweep, classify, store)
    assert (store.folder / "peft" / "lora-r-2" / "adapter_config.json").exists()
    assert any("peft has no adapter of the kind" in line for line in lines if line.startswith("BitFit"))
    path = adapter_path(store.folder, finetune_id(sweep.run("BitFit", 1e-2, 1)))
    config, trainable = load_adapter(path, classify.fingerprint, classify.model)
    assert config == BitFit()
    assert trainable.keys() == BitFit().build(classify.model).trainable


def test_the_table_has_a_row_a_run_with_what_differs(store: RunStore) -> None:
    store.renew_table()  # a record was taken away above
    header, *rows = (store.folder / "runs.csv").read_text().splitlines()
    assert {"label", "n_trainable", "test_score", "learning_rate"} <= set(header.split(","))
    assert len(rows) == len(store.finished())


@pytest.mark.slow
def test_lanes_give_the_records_of_one_at_a_time(
    store: RunStore, sweep: FinetuneSweep, classify: Prepared, tmp_path: Path
) -> None:
    """A rate that diverges stands beside one that does not."""
    beside, _ = run_all(sweep, classify, tmp_path, lanes=2)
    alone = store.finished()
    assert beside.finished().keys() == alone.keys()
    for run_id, record in beside.finished().items():
        one = alone[run_id]
        assert (record.status, record.n_tokens, record.n_steps) == (one.status, one.n_tokens, one.n_steps)
        assert record.lanes == (2 if record.seed == 0 else 1)
        if one.heldout_loss is not None:
            assert record.heldout_loss == pytest.approx(one.heldout_loss, rel=1e-4)
            path = adapter_path(beside.folder, run_id)
            load_adapter(path, classify.fingerprint, classify.model)  # refuses other names and shapes


def test_the_width_is_measured_and_kept(sweep: FinetuneSweep, classify: Prepared, tmp_path: Path) -> None:
    runs = (sweep.run("LoRA r 2", rate, 0) for rate in (1e-3, 1e-2))
    group = TuneGroup(tuple(TuneRun(run, classify, tmp_path / "c") for run in runs), 10**9)
    said: list[str] = []
    n_lanes = settle_lane_count(group, None, tmp_path, said.append)
    [kept] = read_object(tmp_path / "lanes.json", "mend it").values()
    assert kept["lanes"] == n_lanes
    assert [m["lanes"] for m in kept["measured"]] == [1, 2]
    slow, fast = (m["tokens_per_second"] for m in kept["measured"])
    assert (n_lanes == 2) == (fast >= 1.1 * slow)
    assert f"LoRA r 2: {n_lanes} of 2 runs side by side" in said[0]
    assert settle_lane_count(group, None, tmp_path, said.append) == n_lanes
    assert len(said) == 1, "what was measured is not measured again"
    assert settle_lane_count(group, 7, tmp_path, said.append) == 2


def test_lanes_that_memory_does_not_hold_are_refused(sweep: FinetuneSweep, classify: Prepared) -> None:
    runs = tuple(TuneRun(sweep.run("BitFit", rate, 0), classify, Path("x")) for rate in (1e-3, 1e-2, 1e-1))
    group = TuneGroup(runs, 1000)
    room = group.base_bytes + 2.5 * group.lane_bytes
    check_lanes([group], 2, room)
    check_lanes([group], None, 0.0)  # measured, which narrows them
    with pytest.raises(LoraJaxError, match=r"3 lanes of BitFit take at least .* lower --lanes to at most 2"):
        check_lanes([group], 3, room)
    rivals = dataclasses.replace(group, n_rivals=3)
    with pytest.raises(LoraJaxError, match="leave --halving out, or give the method fewer rates"):
        check_lanes([rivals], None, room)
    with pytest.raises(LoraJaxError, match=r"compares the 3 rates of BitFit .* is 2: make it 3 or auto"):
        check_lanes([rivals], 2, 1e12)


@pytest.mark.parametrize("text", ["0", "-3", "two", "1.5", ""])
def test_a_number_of_lanes_is_a_whole_one(text: str) -> None:
    with pytest.raises(LoraJaxError, match="must be a whole number from 1 to 65,536, or auto"):
        read_lanes(text)


@pytest.mark.slow
def test_halving_ends_rates_and_the_comparison_leaves_them_out(
    sweep: FinetuneSweep, classify: Prepared, tmp_path: Path
) -> None:
    three = dataclasses.replace(
        sweep.only(["LoRA r 2"]),
        rates={"LoRA r 2": (1e-9, 1e-2, 1e-8)},
        optim=dataclasses.replace(sweep.optim, evaluations=3),
    )
    halved, _ = run_all(three, classify, tmp_path, lanes=None, halving=True)
    records = halved.finished()
    by_rate = {rate: records[finetune_id(three.run("LoRA r 2", rate, 0))] for rate in (1e-9, 1e-2, 1e-8)}
    assert [r.status for r in by_rate.values()] == ["halted", "done", "halted"]
    assert sorted(r.halted_at for r in by_rate.values() if r.halted_at) == [3, 6]
    assert len(records) == 4, "the rate that ended has the second seed"
    assert choose_rates(three, classify, halved) == {"LoRA r 2": 1e-2}
    [method] = compare_methods(read_runs(tmp_path)).methods
    assert [(tried.dev is None, tried.diverged) for tried in method.rates] == [(True, False)] * 2 + [
        (False, False)
    ]
    assert method.best_rate == 1e-2
    assert method.n_diverged == 0
    again, _ = run_all(three, classify, tmp_path)  # without halving, the halted ones are trained to their end
    assert {record.status for record in again.finished().values()} == {"done"}


@pytest.mark.slow
def test_two_workers_tune_a_sweep_together(
    store: RunStore, sweep: FinetuneSweep, classify: Prepared, tmp_path: Path
) -> None:
    """The seeds wait until every rate has its record, whoever trained it."""

    def work() -> None:
        own = RunStore(tmp_path)
        tracker = open_tracker("off", "tiny", tmp_path)
        with own.joined(Joining("t", invited=True), lambda _: None):
            tuner = Tuner("tiny", [TuneCell(sweep, classify)], own, tracker, TuneSettings(1))
            tuner.run_all(lambda: False, lambda _: None)
            ended.append(own.settled(False))

    ended: list[set[str]] = []
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone, together = store.finished(), RunStore(tmp_path).finished()
    assert ended == [set(alone)] * 2, "both saw the sweep to its end"
    for run_id, record in together.items():
        one = alone[run_id]
        assert (record.status, record.heldout_loss, record.n_steps) == (
            one.status,
            one.heldout_loss,
            one.n_steps,
        )
        assert (record.finetuning or {})["test"] == (one.finetuning or {})["test"]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [Muon(), Lion(), SGD(), ScheduleFree()], ids=lambda found: found.kind)
def test_a_sweep_is_tuned_with_any_optimizer(
    sweep: FinetuneSweep, classify: Prepared, tmp_path: Path, optimizer: Optimizer
) -> None:
    """From the config to the records and the chosen rate; no two optimizers share a run."""
    schedule = "constant" if optimizer.takes_rate else "linear"
    optim = dataclasses.replace(sweep.optim, optimizer=optimizer, schedule=schedule)
    methods = {"LoRA r 2": sweep.methods["LoRA r 2"]}
    asked = dataclasses.replace(
        sweep, optim=optim, methods=methods, rates={"LoRA r 2": (1e-3, 1e-2)}, seeds=(0,)
    )
    store, _ = run_all(asked, classify, tmp_path)
    records = store.finished()
    assert len(records) == 2
    assert not records.keys() & {finetune_id(run) for run in sweep.runs()}
    for record in records.values():
        assert record.status == "done"
        assert record.config["optim"]["optimizer"]["kind"] == optimizer.kind
        assert record.heldout_loss is not None
    assert choose_rates(asked, classify, store)["LoRA r 2"] in (1e-3, 1e-2)
