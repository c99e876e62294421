"""In which order a finished run is put into its folder."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lora_jax.config import RunConfig
from lora_jax.runs import recording
from lora_jax.runs.recording import Provenance, Recorder
from lora_jax.runs.store import RunStore
from tests.runs.test_store import CURVE, MakeRecord


def test_a_state_goes_only_when_no_loss_of_power_can_undo_its_record(
    tmp_path: Path, base: RunConfig, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    store, record = RunStore(tmp_path), make_record(base)
    for name in ("write", "secure"):
        before = getattr(store, name)
        monkeypatch.setattr(
            store, name, lambda *given, name=name, before=before: (done.append(name), before(*given))
        )
    monkeypatch.setattr(recording, "clear", lambda folder: done.append("clear"))
    monkeypatch.setattr(recording, "make_record", lambda *given: record)
    monkeypatch.setattr(recording, "make_curve", lambda *given: CURVE)
    facts: Any = SimpleNamespace(rate_at=None, summarise=lambda record: "")
    result: Any = None
    recorder = Recorder("s", store, None, Provenance("cpu", {}, None))
    progress: Any = SimpleNamespace(finish_run=lambda *given: None)
    recorder.write(record.run_id, result, facts, progress, tmp_path)
    assert done == ["write", "secure", "clear"]
