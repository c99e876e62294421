"""PromptRecord: everything known about one set of demonstrations that was scored; a file each."""

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
    """One k-shot prompt on the test examples. A number with an interval: {"value", "se", "ci95"}.

    plain, calibrated (or null): {accuracy, loss (nats of the right label among the labels), rights (1 or 0 of
    each test example), n_tokens_asked (each prompt as if it were run by itself), n_tokens_run, seconds}.
    """

    run_id: str
    sweep: str
    config: dict[str, Any]  # base, label of the task, task, k, draw
    n_shots: float  # demonstrations in a prompt, on average: less than k where the context holds no more
    n_test: int
    demonstrations: list[list[Any]]  # text and label, in the order shown
    plain: dict[str, Any]
    calibrated: dict[str, Any] | None
    notes: list[str]
    device: str
    versions: dict[str, str]
    git_commit: str | None
    created_at: str  # UTC, ISO 8601


class PromptStore:
    """The folder prompts/ of a results folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "prompts"

    def finished(self) -> dict[str, PromptRecord]:
        """Return every record by run_id; half-written files have other names and are never read."""
        paths = sorted(path for path in self.folder.glob("*.json") if not path.name.startswith("."))
        return {path.stem: _read(path) for path in paths}

    def is_scored(self, run_id: str) -> bool:
        """Has this prompt its record?"""
        return (self.folder / f"{run_id}.json").exists()

    def check(self, config: InContextConfig) -> None:
        """Refuse a folder that holds prompts which the comparison does not have."""
        wanted = {run.run_id for run in list_shots(config)}
        strangers = sorted(set(self.finished()) - wanted)
        if strangers:
            raise LoraJaxError(
                f"{self.folder} holds {len(strangers)} prompts of another config (such as {strangers[0]}):"
                " choose another folder with --out."
            )

    def write(self, record: PromptRecord) -> None:
        path = self.folder / f"{record.run_id}.json"
        write_atomically(path, to_sealed_json(asdict(record)))


def _read(path: Path) -> PromptRecord:
    value, fields = read_json(path), {field.name for field in dataclasses.fields(PromptRecord)}
    if value.keys() != fields or value["run_id"] != path.stem:
        raise LoraJaxError(
            f"{path} is not the record of a prompt of this version: delete it to score that prompt again."
        )
    return PromptRecord(**value)
