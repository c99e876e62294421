"""The records of a study of fine-tuning, as far as its claims and its forgetting ask, and its cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lora_jax.digests import read_object
from lora_jax.documents import from_document, reading
from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate
from lora_jax.table_lag import list_records

Array = NDArray[np.float64]
Adapts = Literal["attention", "MLP", "all", "other"]
ATTENTION = frozenset({"attention", "q", "k", "v", "o"})
MLP = frozenset({"mlp", "up", "gate", "down"})
SURE = 3.5  # standard errors above chance that one run among some hundred does not reach by luck
AGAIN = "restore or delete it, then run the study again"


@dataclass(frozen=True)
class MethodFields:
    """What the configuration of a method says that is needed here."""

    method: str
    rank: int | None = None
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Forgotten:
    """The loss on the base's own text before tuning, and how tuning changed it."""

    source: str
    before: float
    change: Estimate


@dataclass(frozen=True)
class StudyFields:
    """The fields of `runs.record.InStudy`."""

    n_train: int
    finetune_tokens: int
    pretraining_tokens: int | None
    source: Forgotten | None


@dataclass(frozen=True)
class TuningFields:
    """Fields of `runs.record.Finetuning`."""

    base: str
    task: str
    label: str
    method: MethodFields
    n_trainable: int
    flops_share: float
    metric: str
    test_values: tuple[float, ...]
    study: StudyFields


@dataclass(frozen=True)
class OptimFields:
    """Fields of the optimizer's configuration."""

    batch_size: int


@dataclass(frozen=True)
class ConfigFields:
    """Fields of the configuration of a fine-tuning run."""

    optim: OptimFields


@dataclass(frozen=True)
class DataFields:
    """What a run was trained on.

    Attributes:
        fingerprint: Fingerprint of the task and the tokenizer. Runs with the same one have the same test
            windows.
        labels: The labels of a task that has labels.
    """

    fingerprint: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyRun:
    """A run of a study: fields of `runs.record.RunRecord`."""

    run_id: str
    status: str
    config: ConfigFields
    data: DataFields
    seed: int
    n_params: int
    n_params_with_head: int
    n_steps: int
    learning_rate: float
    heldout_loss: float | None
    bits_per_byte: float | None
    finetuning: TuningFields

    @property
    def label(self) -> str:
        """The name of its method in the study."""
        return self.finetuning.label

    @property
    def is_lora(self) -> bool:
        """Whether it trains plain low-rank updates."""
        return self.finetuning.method.method == "LoRA"

    @property
    def is_full(self) -> bool:
        """Whether it is full fine-tuning."""
        return self.finetuning.method.method == "Full"

    @property
    def rank(self) -> int:
        """The rank; 0 for a method without one."""
        return self.finetuning.method.rank or 0

    @property
    def adapts(self) -> Adapts:
        """Which matrices a low-rank method adapts."""
        targets = frozenset(self.finetuning.method.targets)
        if targets and targets <= ATTENTION:
            return "attention"
        if targets and targets <= MLP:
            return "MLP"
        whole = "all" in targets or ({"attention"} <= targets and {"mlp"} <= targets)
        return "all" if whole or targets >= (ATTENTION | MLP) - {"attention", "mlp"} else "other"

    @property
    def values_W(self) -> Array:
        """The loss of each test window, (W,). It is empty if the task's score is no loss."""
        values = self.finetuning.test_values if self.finetuning.metric == "loss" else ()
        return np.array(values, dtype=np.float64)

    @property
    def place(self) -> "Place":
        """The cell that the run belongs to, whatever its method."""
        study = self.finetuning.study
        return Place(
            self.finetuning.base,
            self.n_params,
            study.pretraining_tokens,
            study.n_train,
            study.finetune_tokens,
            self.config.optim.batch_size,
        )


@dataclass(frozen=True)
class Place:
    """What the runs of a cell share, whatever their method: the base, the set, and the batch size."""

    base: str
    n_params: int
    pretraining_tokens: int | None
    n_train: int
    finetune_tokens: int
    batch_size: int


@dataclass(frozen=True, eq=False)
class MethodCell:
    """The runs of one method at one place.

    Attributes:
        place: The place.
        label: The method.
        runs: Its runs that have a loss, at every rate and seed.
        diverged: The rates of those that diverged, one for each.
    """

    place: Place
    label: str
    runs: tuple[StudyRun, ...]
    diverged: tuple[float, ...]

    @cached_property
    def rates(self) -> tuple[float, ...]:
        """The rates that were tried, rising, including those that diverged."""
        return tuple(sorted({run.learning_rate for run in self.runs} | set(self.diverged)))

    @cached_property
    def best_rate(self) -> float:
        """The rate that the study chose.

        It is the one with the most seeds, and of several such rates the one with the least mean loss.
        """
        losses = {rate: [loss_of(r) for r in self.runs if r.learning_rate == rate] for rate in self.rates}
        there = {rate: values for rate, values in losses.items() if values}
        return min(there, key=lambda rate: (-len(there[rate]), float(np.mean(there[rate]))))

    @property
    def at_edge(self) -> bool:
        """Whether the best rate is the smallest or the largest of several."""
        return len(self.rates) > 1 and self.best_rate in (self.rates[0], self.rates[-1])

    @cached_property
    def best(self) -> tuple[StudyRun, ...]:
        """The runs at the best rate, by seed."""
        return tuple(
            sorted((r for r in self.runs if r.learning_rate == self.best_rate), key=lambda run: run.seed)
        )

    @property
    def ln_loss(self) -> float:
        """The mean over the seeds of ln loss at the best rate."""
        return float(np.mean([np.log(loss_of(run)) for run in self.best]))

    @property
    def first(self) -> StudyRun:
        """One of the runs, for what all of them share."""
        return self.runs[0]


def loss_of(run: StudyRun) -> float:
    """Return the loss of a run that has one."""
    assert run.heldout_loss is not None  # those without are in no cell
    return run.heldout_loss


@dataclass(frozen=True)
class _Kind:
    """Whether a record is of fine-tuning."""

    finetuning: Mapping[str, Any] | None = None


def is_study(folder: Path) -> bool:
    """Return whether a folder holds the runs of a study of fine-tuning."""
    for entry in list_records(folder)[:1]:
        document = read_object(Path(entry.path), AGAIN)
        with reading(Path(entry.path), AGAIN):
            found = from_document(_Kind, document)
        return bool(found.finetuning and found.finetuning.get("study"))
    return False


def read_study(folder: Path) -> tuple[StudyRun, ...]:
    """Read the runs of a study, by name.

    Raises:
        LoraJaxError: The folder has no records, or a file is damaged or of another kind of run.
    """
    entries = list_records(folder)
    if not entries:
        raise LoraJaxError(f"{folder} has no finished runs: run the study first.")
    runs = []
    for entry in entries:
        path = Path(entry.path)
        document = read_object(path, AGAIN)
        with reading(path, AGAIN):
            runs.append(from_document(StudyRun, document))
    return tuple(runs)


def tasks_of(runs: Sequence[StudyRun]) -> list[str]:
    """Return the tasks: those of text first, and then by the number of runs."""
    names = [run.finetuning.task for run in runs]
    return sorted(set(names), key=lambda name: (not name.startswith("text:"), -names.count(name), name))


def cells_of(runs: Sequence[StudyRun]) -> list[MethodCell]:
    """Return the cells of the runs of one task that have any loss, by place and label."""
    groups: dict[tuple[Place, str], list[StudyRun]] = {}
    for run in runs:
        groups.setdefault((run.place, run.label), []).append(run)
    cells = []
    for (place, label), group in groups.items():
        done = tuple(run for run in group if run.heldout_loss is not None)
        lost = tuple(run.learning_rate for run in group if run.status == "diverged")
        if done:
            cells.append(MethodCell(place, label, done, lost))
    return sorted(cells, key=lambda c: (c.place.n_params, c.place.base, c.place.n_train, c.label))


def is_at_chance(runs: Sequence[StudyRun]) -> bool:
    """Return whether no run learned a task with labels: none is right more often than by guessing.

    Of some hundred runs one lies three standard errors above chance now and then. So we ask for more.
    """
    tested = [run for run in runs if run.data.labels and run.finetuning.test_values]
    return bool(tested) and all(_above_chance(run) < SURE for run in tested)


def _above_chance(run: StudyRun) -> float:
    """Return how many standard errors of guessing the share of right answers lies above that of guessing."""
    right, guess = np.mean(run.finetuning.test_values), 1 / len(run.data.labels)
    return float((right - guess) / np.sqrt(guess * (1 - guess) / len(run.finetuning.test_values)))
