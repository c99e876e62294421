"""The state of a sweep: who trains it, read back by another process."""

import os
from pathlib import Path

import pytest

from lora_jax.digests import to_sealed_json
from lora_jax.documents import to_document
from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.runs.overview import look
from lora_jax.runs.progress import Progress
from lora_jax.runs.sinks import state_file
from lora_jax.runs.sinks.live_file import LiveFiles
from lora_jax.runs.sinks.state_file import (
    PlannedSteps,
    StateFile,
    plan_path,
    read_plan,
    read_state,
    state_path,
)
from tests.runs.sinks.test_live_file import BRANCH, SOURCE, row

PLANNED = [PlannedSteps("a", 60), PlannedSteps("b", 100)]


def test_a_state_is_read_back_and_tells_whether_its_process_lives(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    state = StateFile(tmp_path, PLANNED, Progress([]))
    state.begin(SOURCE, 0)
    found = read_state(tmp_path)
    assert found is not None
    assert (found.pid, found.is_alive, read_plan(tmp_path)) == (os.getpid(), True, tuple(PLANNED))
    state.close("stopped")
    found = read_state(tmp_path)
    assert found is not None
    assert (found.ended, found.is_alive) == ("stopped", False)


def test_a_process_that_is_gone_is_not_alive(tmp_path: Path) -> None:
    StateFile(tmp_path, PLANNED, Progress([])).begin(SOURCE, 0)
    found = read_state(tmp_path)
    assert found is not None
    document = to_document(found) | {"pid": 2**22 + 1}  # beyond what Linux gives
    write_atomically(state_path(tmp_path), to_sealed_json(document))
    found = read_state(tmp_path)
    assert found is not None
    assert not found.is_alive


@pytest.mark.parametrize("wrong", [{"ended": "soon"}, {"pid": "x"}], ids=str)
def test_a_state_of_another_form_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    StateFile(tmp_path, PLANNED, Progress([])).begin(SOURCE, 0)
    found = read_state(tmp_path)
    write_atomically(state_path(tmp_path), to_sealed_json(to_document(found) | wrong))
    with pytest.raises(LoraJaxError, match=r"state\.json .* delete it"):
        read_state(tmp_path)


def test_a_plan_is_written_once_and_a_state_is_small_however_long_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_file, "BEAT_SECONDS", 0.0)
    long = [PlannedSteps(f"run-{number}", 60) for number in range(10_000)]
    state = StateFile(tmp_path, long, Progress([]))
    state.begin(SOURCE, 0)
    written = plan_path(tmp_path).stat().st_mtime_ns
    state.take(SOURCE, row(30))
    state.close("finished")
    assert plan_path(tmp_path).stat().st_mtime_ns == written
    assert state_path(tmp_path).stat().st_size < 1000
    assert read_plan(tmp_path) == tuple(long)
    plan_path(tmp_path).write_text("{}")
    with pytest.raises(LoraJaxError, match=r"plan\.json .* delete it"):
        read_plan(tmp_path)


def test_the_plan_of_an_older_version_is_in_its_state(tmp_path: Path) -> None:
    StateFile(tmp_path, PLANNED, Progress([])).begin(SOURCE, 0)
    state = read_state(tmp_path)
    planned = [to_document(item) for item in PLANNED]
    write_atomically(state_path(tmp_path), to_sealed_json(to_document(state) | {"planned": planned}))
    plan_path(tmp_path).unlink()
    assert read_state(tmp_path) == state
    assert read_plan(tmp_path) == tuple(PLANNED)


def test_runs_stand_where_their_rows_say(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(LoraJaxError, match="holds no run"):
        look(tmp_path)
    state, files = StateFile(tmp_path, PLANNED, Progress([])), LiveFiles(tmp_path)
    state.begin(SOURCE, 0)
    assert [run.standing for run in look(tmp_path).runs] == ["planned", "planned"]
    files.begin(SOURCE, 0)
    files.take(SOURCE, row(30))
    files.begin(BRANCH, 30)
    files.take(BRANCH, row(45))
    found = look(tmp_path)
    assert [(run.standing, run.step, run.n_steps) for run in found.runs] == [
        ("running", 45, 60),
        ("running", 30, 100),
    ]
    state.close("stopped")
    assert [run.standing for run in look(tmp_path).runs] == ["interrupted", "interrupted"]
