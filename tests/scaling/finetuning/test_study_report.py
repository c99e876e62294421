"""Which runs of a study's folder go into which law, and what is said of those that do not."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lora_jax.digests import to_sealed_json
from lora_jax.documents import to_document
from lora_jax.errors import LoraJaxError
from lora_jax.scaling.finetuning import study_report
from lora_jax.scaling.finetuning.study import Inquiry
from lora_jax.scaling.finetuning.study_report import AT_EDGE, OTHER_BATCH, OTHER_TOKENS, analyse_study
from lora_jax.scaling.finetuning.study_runs import StudyRun, is_study, read_study, tasks_of
from lora_jax.scaling.tables.run_table import RunTable
from tests.scaling.finetuning.made_up_study import METHODS, World, make_study

TWO = {name: METHODS[name] for name in ("full", "LoRA r 4")}


def pretrained_on(run: StudyRun, tokens: int) -> StudyRun:
    study = replace(run.finetuning.study, pretraining_tokens=tokens)
    return replace(run, run_id=f"{run.run_id}-D{tokens}", finetuning=replace(run.finetuning, study=study))


def write_folder(folder: Path, runs: Sequence[StudyRun]) -> None:
    (folder / "runs").mkdir(parents=True)
    (folder / "curves").mkdir()
    rows = []
    for run in runs:
        (folder / "runs" / f"{run.run_id}.json").write_text(to_sealed_json(to_document(run)))
        (folder / "curves" / f"{run.run_id}.csv").write_text("step,loss\n2,3.0\n")
        tuning, study = run.finetuning, run.finetuning.study
        rows.append(
            {
                "run_id": run.run_id,
                "status": run.status,
                "seed": run.seed,
                "task": tuning.task,
                "label": run.label,
                "n_params": run.n_params,
                "learning_rate": run.learning_rate,
                "batch_size": run.config.optim.batch_size,
                "heldout_loss": run.heldout_loss,
                "pretraining_tokens": study.pretraining_tokens,
                "finetune_tokens": study.finetune_tokens,
                "n_train": study.n_train,
                "rank": tuning.method.rank or "",
            }
        )
    with (folder / "runs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, RunTable]:
    """The tables that laws are fitted to, by law; nothing is fitted."""
    tables: dict[str, RunTable] = {}

    def note(table: RunTable, inquiry: Inquiry) -> None:
        tables[inquiry.law] = table
        raise LoraJaxError("not fitted here")

    monkeypatch.setattr(study_report, "analyse", note)
    return tables


def test_each_law_has_its_runs(tmp_path: Path, asked: dict[str, RunTable]) -> None:
    small = [pretrained_on(run, 500) for run in make_study(World(), TWO, sizes=(64, 256), bases=(10_000,))]
    large = make_study(World(), TWO, sizes=(64, 256), bases=(100_000,))
    early, late = ([pretrained_on(run, tokens) for run in large] for tokens in (500, 900))
    batch = [
        pretrained_on(run, 900)
        for run in make_study(World(), TWO, sizes=(64,), bases=(100_000,), batches=(64,))
    ]
    edge = [run for run in small if run.label == "full" and run.finetuning.study.n_train == 64]
    best = min(edge, key=lambda run: run.learning_rate)
    runs = [*small, *early, *late, *batch]
    # the smallest rate of one cell is by far the best, and has two seeds
    moved = replace(best, heldout_loss=1.0)
    runs[runs.index(best)] = moved
    runs.append(replace(moved, run_id=f"{moved.run_id}-again", seed=1, heldout_loss=1.0))
    write_folder(tmp_path, runs)
    report = analyse_study(tmp_path, "a command")
    assert [one.why for one in report.tasks[0].missing] == ["not fitted here"] * 2
    at_edge = {run.run_id for run in edge} | {runs[-1].run_id}
    wanted = {run.run_id for run in [*small, *late]} - at_edge
    assert set(asked["finetuning-n"].run_ids) == wanted
    assert set(asked["finetuning-d"].run_ids) == {run.run_id for run in [*early, *late]}
    reasons = {gone.run_id: gone.reason for gone in asked["finetuning-n"].left_out}
    assert {reasons[name] for name in at_edge} == {AT_EDGE}
    assert {reasons[run.run_id] for run in early} == {OTHER_TOKENS}
    assert {reasons[run.run_id] for run in batch} == {OTHER_BATCH}


def test_bases_of_one_length_have_no_law_in_tokens(tmp_path: Path, asked: dict[str, RunTable]) -> None:
    write_folder(tmp_path, make_study(World(), TWO, sizes=(64,)))
    [task] = analyse_study(tmp_path, "").tasks
    assert list(asked) == ["finetuning-n"]
    assert "pretrained on different" in task.missing[-1].why


def test_tokenizers_that_differ_are_compared_in_bits(tmp_path: Path, asked: dict[str, RunTable]) -> None:
    runs = make_study(World(), TWO, sizes=(64,), bases=(10_000, 20_000))
    runs = [
        replace(run, bits_per_byte=2.0, data=replace(run.data, fingerprint=f"{run.n_params}")) for run in runs
    ]
    write_folder(tmp_path, runs)
    path = tmp_path / "runs.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([f"{header},bits_per_byte", *(f"{row},2.0" for row in rows)]) + "\n")
    [task] = analyse_study(tmp_path, "").tasks
    assert task.loss_unit == "bits per byte"
    assert set(asked["finetuning-n"]["loss"]) == {2.0}


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    runs = make_study(World(), TWO, sizes=(64,))
    write_folder(tmp_path, runs)
    assert is_study(tmp_path)
    assert sorted(read_study(tmp_path), key=lambda run: run.run_id) == sorted(
        runs, key=lambda run: run.run_id
    )
    assert tasks_of(runs) == ["text:code"]
    with pytest.raises(LoraJaxError, match="no finished runs"):
        read_study(tmp_path / "runs")
