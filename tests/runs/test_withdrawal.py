"""A refused command leaves no folder, and never removes what somebody else made or trained."""

from pathlib import Path

import pytest

from lora_jax.config import RunConfig, run_id
from lora_jax.errors import LoraJaxError
from lora_jax.runs.store import RunStore
from lora_jax.workers.crew import Joining
from lora_jax.workers.task import NAME


def refuse(store: RunStore, error: Exception, spoil: dict[str, str]) -> None:
    """Join the folder, leave files there as a command does, and end with an error."""
    store.check("sweep", [])
    with store.joined(Joining("task"), print):
        (store.folder / NAME).write_text("{}")
        with store.alone("preparing", print):
            for name, text in spoil.items():
                (store.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (store.folder / name).write_text(text)
            raise error


def listed(place: Path) -> list[str]:
    return sorted(path.relative_to(place).as_posix() for path in place.rglob("*"))


@pytest.mark.parametrize("inside", ["results", "results/deep/er"])
@pytest.mark.parametrize("spoil", [{}, {"sweep.json": "{}"}])
def test_it_leaves_nothing(tmp_path: Path, inside: str, spoil: dict[str, str]) -> None:
    with pytest.raises(LoraJaxError, match="refused"):
        refuse(RunStore(tmp_path / inside), LoraJaxError("refused"), spoil)
    assert listed(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["runs/a.json", "curves/a.csv", "checkpoints/a/1", "notes.txt", "workers/a.log"]
)
def test_what_is_more_than_a_beginning_stays(tmp_path: Path, name: str) -> None:
    with pytest.raises(LoraJaxError, match="refused"):
        refuse(RunStore(tmp_path / "results"), LoraJaxError("refused"), {name: "x"})
    assert (tmp_path / "results" / name).read_text() == "x"
    assert (tmp_path / "results" / NAME).exists()


def test_a_folder_that_was_there_stays_even_if_it_was_empty(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    with pytest.raises(LoraJaxError, match="refused"):
        refuse(RunStore(tmp_path / "results"), LoraJaxError("refused"), {})
    assert (tmp_path / "results" / NAME).exists()


def test_beside_another_worker_it_stays(tmp_path: Path) -> None:
    ours, theirs = RunStore(tmp_path / "results"), RunStore(tmp_path / "results")
    ours.check("sweep", [])
    with theirs.joined(Joining("task", invited=True), print):
        with pytest.raises(LoraJaxError, match="refused"), ours.joined(Joining("task", invited=True), print):
            raise LoraJaxError("refused")
        assert (tmp_path / "results").is_dir()


@pytest.mark.parametrize("error", [KeyboardInterrupt("stopped"), RuntimeError("a bug")])
def test_what_is_no_refusal_keeps_the_folder(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)):
        refuse(RunStore(tmp_path / "results"), error, {})
    assert (tmp_path / "results" / NAME).exists()


def test_a_run_of_the_command_that_works_keeps_its_folder(tmp_path: Path, base: RunConfig) -> None:
    store = RunStore(tmp_path / "results")
    store.check("sweep", [run_id(base)])
    with store.joined(Joining("task"), print):
        pass
    assert (tmp_path / "results" / "runs").is_dir()
