"""PromptRecord: everything known about one scored set of demonstrations. Each has a file."""

import dataclasses
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lora_jax.digests import to_sealed_json
from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.prompting.incontext.config import InContextConfig
from lora_jax.prompting.incontext.plan import list_shots
from lora_jax.runs.store import read_json


@dataclass(frozen=True, kw_only=True)
class PromptRecord:
    """One k-shot prompt on the test examples. A number with an interval is {"value", "se", "ci95"}.

    Attributes:
        run_id: The run's name.
        sweep: Name of the comparison.
        config: base, label of the task, task, k and draw.
        n_shots: Demonstrations in a prompt, on average. It is less than k if the context holds no more.
        n_test: Number of test examples.
        demonstrations: Text and label of each, in the order shown.
        plain: {accuracy, loss (nats of the right label among the labels), rights (1 or 0 for each test
            example), n_tokens_asked (each prompt counted as if it ran alone), n_tokens_run, seconds}.
        calibrated: The same with calibration, or None.
        notes: What was cut, in words.
        device: The device.
        versions: Versions of the packages.
        git_commit: Commit of lora_jax, if it is known.
        created_at: UTC, ISO 8601.
    """

    run_id: str
    sweep: str
    config: dict[str, Any]
    n_shots: float
    n_test: int
    demonstrations: list[list[Any]]
    plain: dict[str, Any]
    calibrated: dict[str, Any] | None
    notes: list[str]
    device: str
    versions: dict[str, str]
    git_commit: str | None
    created_at: str


class PromptStore:
    """The folder prompts/ of a results folder.

    Args:
        folder: The results folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "prompts"

    def finished(self) -> dict[str, PromptRecord]:
        """Return every record by run_id. Half-written files have other names, so we never read them."""
        paths = sorted(path for path in self.folder.glob("*.json") if not path.name.startswith("."))
        return {path.stem: _read(path) for path in paths}

    def is_scored(self, run_id: str) -> bool:
        """Return whether this prompt has its record."""
        return (self.folder / f"{run_id}.json").exists()

    def check(self, config: InContextConfig) -> None:
        """Refuse a folder that holds prompts which the comparison does not have.

        Raises:
            LoraJaxError: It holds such prompts.
        """
        wanted = {run.run_id for run in list_shots(config)}
        strangers = sorted(set(self.finished()) - wanted)
        if strangers:
            raise LoraJaxError(
                f"{self.folder} holds {len(strangers)} prompts of another config (such as {strangers[0]}):"
                " choose another folder with --out."
            )

    def write(self, record: PromptRecord) -> None:
        """Write the file of a record, atomically."""
        path = self.folder / f"{record.run_id}.json"
        write_atomically(path, to_sealed_json(asdict(record)))


def _read(path: Path) -> PromptRecord:
    value, fields = read_json(path), {field.name for field in dataclasses.fields(PromptRecord)}
    if value.keys() != fields or value["run_id"] != path.stem:
        raise LoraJaxError(
            f"{path} is not the record of a prompt of this version: delete it to score that prompt again."
        )
    return PromptRecord(**value)
