"""Records of fine-tuning runs, runs/RUN_ID.json, as types: what a comparison and its page read of them.

`runs/record.py` has all fields. That room makes runs and needs jax, so we do not import it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_jax.digests import read_result
from lora_jax.documents import from_document, reading
from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate


@dataclass(frozen=True)
class Tuning:
    """How the base was adapted, and how well. The fields are those of `runs.record.Finetuning`."""

    base: str
    base_fingerprint: str
    task: str
    label: str
    method: Mapping[str, Any]
    n_trainable: int
    n_head: int
    flops_share: float
    optimizer_bytes: int
    metric: str
    dev: Mapping[str, Estimate]
    test: Mapping[str, Estimate]
    test_values: tuple[float, ...]
    kept_step: int
    stopped_early: bool
    seconds_per_step: float | None


@dataclass(frozen=True, kw_only=True)
class TunedRun:
    """A fine-tuning run. The fields are those of `runs.record.RunRecord`."""

    run_id: str
    status: str
    config: Mapping[str, Any]
    data: Mapping[str, Any]
    seed: int
    n_params_total: int
    flops_exact: float
    train_loss: float | None
    heldout_loss: float | None
    learning_rate: float
    n_tokens: int
    n_steps: int
    diverged_at: int | None
    wall_seconds: float
    device: str
    versions: Mapping[str, Any]
    git_commit: str | None
    created_at: str
    finetuning: Tuning
    halted_at: int | None = None

    @property
    def is_finished(self) -> bool:
        """Whether it was trained to its end and tested."""
        return self.status == "done" and bool(self.finetuning.test)

    @property
    def score(self) -> Estimate:
        """The score on the test split by which methods are compared.

        Raises:
            KeyError: There is none.
        """
        return self.finetuning.test[self.finetuning.metric]


def run_from_document(record: Mapping[str, Any]) -> TunedRun:
    """Return the run of a record.

    Raises:
        Unreadable: The record lacks something or holds something else.
        LoraJaxError: The run was trained from scratch.
    """
    if "run_id" in record and record.get("finetuning") is None:
        raise LoraJaxError(
            f"{record['run_id']} was trained from scratch, a comparison of methods wants fine-tuning runs"
            " alone: give it a folder of its own."
        )
    return from_document(TunedRun, record)


def read_run(path: Path) -> TunedRun:
    """Read the record of a run.

    Raises:
        LoraJaxError: It is missing, damaged or no such record.
    """
    with reading(path, "restore or delete it, then run again"):
        return run_from_document(read_result(path))
