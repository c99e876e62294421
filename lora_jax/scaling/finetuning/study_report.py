"""The report of a study of fine-tuning from its results folder: laws, claims and forgetting of each task."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.finetuning.claims import make_claims
from lora_jax.scaling.finetuning.forgetting import measure_forgetting
from lora_jax.scaling.finetuning.results import FinetuningReport
from lora_jax.scaling.finetuning.study import Inquiry, analyse
from lora_jax.scaling.finetuning.study_results import FORMAT, KIND, NoLaw, StudyReport, TaskResult
from lora_jax.scaling.finetuning.study_runs import StudyRun, cells_of, is_at_chance, read_study, tasks_of
from lora_jax.scaling.tables.columns import BITS, NATS
from lora_jax.scaling.tables.table import read_table

BY = ("label",)
AT_EDGE = "the best learning rate of its cell is at an edge of those tried"
OTHER_BATCH = "another batch size than that of most runs"
OTHER_TOKENS = "its base has seen fewer tokens than another one of its size"
OTHER_SIZE = "its base is of another size than those that differ in tokens"


def analyse_study(folder: Path, command: str) -> StudyReport:
    """Return what the runs of a study say, task by task. Its table, runs.csv, must have all its records.

    Raises:
        LoraJaxError: The folder has no runs of a study, or a file is damaged.
    """
    runs = read_study(folder)
    tasks = tuple(_analyse_task(folder, task, runs, command) for task in tasks_of(runs))
    # what a further task does not measure of the claims is no news
    tasks = (
        tasks[0],
        *(replace(t, claims=tuple(c for c in t.claims if c.value is not None)) for t in tasks[1:]),
    )
    return StudyReport(str(folder), command, len(runs), tasks, KIND, FORMAT)


def _analyse_task(folder: Path, task: str, every: Sequence[StudyRun], command: str) -> TaskResult:
    runs = [run for run in every if run.finetuning.task == task]
    unit = BITS if _needs_bits(runs) else NATS
    diverged = sum(run.status == "diverged" for run in runs)
    if is_at_chance(runs):
        nothing = NoLaw(
            "finetuning-n", "no run is right more often than by guessing, so nothing was learned."
        )
        return TaskResult(task, unit, len(runs) - diverged, diverged, (), (nothing,), (), None)
    laws, missing = [], []
    for law, out in (("finetuning-n", _outside_n(runs)), ("finetuning-d", _outside_d(runs))):
        if out is None:
            missing.append(
                NoLaw(law, "no two bases of one size were pretrained on different numbers of tokens.")
            )
            continue
        try:
            laws.append(_fit(folder, task, unit, out | _common(runs), Inquiry(law, BY, command=command)))
        except LoraJaxError as problem:
            missing.append(NoLaw(law, str(problem)))
    return TaskResult(
        task,
        unit,
        len(runs) - diverged,
        diverged,
        tuple(laws),
        tuple(missing),
        make_claims(runs, folder),
        measure_forgetting(runs),
    )


def _needs_bits(runs: Sequence[StudyRun]) -> bool:
    """Return whether the losses of text have to be in bits per byte: the bases' tokenizers differ."""
    return len({run.data.fingerprint for run in runs}) > 1 and all(
        run.bits_per_byte is not None for run in runs if run.heldout_loss is not None
    )


def _fit(folder: Path, task: str, unit: str, out: Mapping[str, str], asked: Inquiry) -> FinetuningReport:
    """Fit a law without the runs in `out`, which maps their names to reasons."""
    table = read_table(folder, where=[f"task={task}"], loss_unit=unit)
    # What differs between the rows of one N and F is known here: method, rate, seed and batch size.
    table = replace(table, doubts=())
    for reason in dict.fromkeys(out.values()):
        table = table.without(np.array([out.get(name) == reason for name in table.run_ids]), reason)
    if not len(table):
        raise LoraJaxError("no run is left that a law could be fitted to.")
    return analyse(table, asked)


def _common(runs: Sequence[StudyRun]) -> dict[str, str]:
    """Return the runs that no law takes: of another batch, or of a cell whose best rate is at an edge."""
    batches = [run.config.optim.batch_size for run in runs]
    usual = max(dict.fromkeys(batches), key=batches.count)
    out = {run.run_id: AT_EDGE for cell in cells_of(runs) if cell.at_edge for run in cell.runs}
    return out | {run.run_id: OTHER_BATCH for run in runs if run.config.optim.batch_size != usual}


def _tokens_by_size(runs: Sequence[StudyRun]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for run in runs:
        tokens = run.finetuning.study.pretraining_tokens
        found.setdefault(run.n_params, set()).update(() if tokens is None else (tokens,))
    return found


def _outside_n(runs: Sequence[StudyRun]) -> dict[str, str]:
    """Return the runs that a law in N does not take: of a base that has seen less than another of its N."""
    most = {n: max(tokens) for n, tokens in _tokens_by_size(runs).items() if tokens}
    return {
        run.run_id: OTHER_TOKENS
        for run in runs
        if run.n_params in most and (run.finetuning.study.pretraining_tokens or 0) < most[run.n_params]
    }


def _outside_d(runs: Sequence[StudyRun]) -> dict[str, str] | None:
    """Return the runs that a law in D does not take: of another N than the one with the most D.

    None where every N has one D.
    """
    by_size = _tokens_by_size(runs)
    n_params = max(by_size, key=lambda n: len(by_size[n]))
    if len(by_size[n_params]) < 2:
        return None
    return {run.run_id: OTHER_SIZE for run in runs if run.n_params != n_params}
