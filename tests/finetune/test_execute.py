"""A whole sweep: rates, then seeds; what is finished is not trained again, what is lost comes back."""

import json
from pathlib import Path

import numpy as np
import pytest

from lora_jax.finetune.config import FinetuneSweep, TuneConfig, finetune_id
from lora_jax.finetune.execute import Tuner, adapter_path, choose_rates
from lora_jax.finetune.export import export_chosen
from lora_jax.finetune.prepare import Prepared
from lora_jax.params import count
from lora_jax.peft.checkpoint import load_adapter
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import BitFit
from lora_jax.runs.store import RunStore
from lora_jax.runs.tracker import open_tracker

from .conftest import task_of


@pytest.fixture(scope="module")
def sweep(places: Path) -> FinetuneSweep:
    return FinetuneSweep(
        base=str(places / "models" / "encoder"), task=task_of(places, "words"),
        methods={"LoRA r 2": LoRA(rank=2, targets=("q", "v")), "BitFit": BitFit()},
        rates={"LoRA r 2": (1e-6, 1e-2), "BitFit": (1e-2, 1e30)},
        optim=TuneConfig(batch_size=32, epochs=3, evaluations=2), seeds=(0, 1),
    )  # fmt: skip


def run_all(sweep: FinetuneSweep, prepared: Prepared, folder: Path) -> tuple[RunStore, list[str]]:
    store, said = RunStore(folder), []
    tracker = open_tracker("off", "tiny", folder)
    Tuner("tiny", sweep, prepared, store, tracker).run_all(lambda: False, said.append)
    return store, said


@pytest.fixture(scope="module")
def store(sweep: FinetuneSweep, classify: Prepared, tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return run_all(sweep, classify, tmp_path_factory.mktemp("sweep"))[0]


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
    header, *rows = (store.folder / "runs.csv").read_text().splitlines()
    assert {"label", "n_trainable", "test_score", "learning_rate"} <= set(header.split(","))
    assert len(rows) == len(store.finished())
