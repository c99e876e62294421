"""Labels become folders under peft/: each its own, none outside, whatever the label is."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from lora_jax.config import TaskConfig
from lora_jax.finetuning import export
from lora_jax.finetuning.config import FinetuneSweep, finetune_id
from lora_jax.finetuning.recording import adapter_path
from lora_jax.peft.method import MethodConfig
from lora_jax.peft.methods.lora import LoRA
from lora_jax.runs.store import RunStore

LABELS = ("../../../escaped", "/tmp/escaped", "r=4", "r/4", "R 4", "..", " ", "x" * 400, "\u6a21\u578b")


@pytest.fixture
def sweep() -> FinetuneSweep:
    methods: dict[str, MethodConfig] = {label: LoRA(rank=i + 1) for i, label in enumerate(LABELS)}
    return FinetuneSweep(base="b", task=TaskConfig(name="files:../t"), methods=methods)


def test_exports_stay_in_the_folder_and_apart(
    sweep: FinetuneSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, places = RunStore(tmp_path / "out"), []
    monkeypatch.setattr(export, "choose_rates", lambda *_: dict.fromkeys(LABELS, 1e-3))
    monkeypatch.setattr(export, "adapter_path", lambda *_: tmp_path)
    monkeypatch.setattr(export, "load_adapter", lambda *_: (None, None))
    monkeypatch.setattr(export, "export_adapter", lambda folder, *_: places.append(folder))
    prepared = SimpleNamespace(
        pretrained=SimpleNamespace(folder="b", model_type="bert", new=()),
        fingerprint="",
        model=None,
        base=None,
    )
    export.export_chosen(sweep, prepared, store)  # pyright: ignore[reportArgumentType]
    assert len({str(place).lower() for place in places}) == len(LABELS)
    for place in places:
        assert place.resolve().parent == (tmp_path / "out" / "peft").resolve()


def test_runs_are_files_of_the_folder_whatever_their_labels(sweep: FinetuneSweep, tmp_path: Path) -> None:
    paths = [adapter_path(tmp_path, finetune_id(run)) for run in sweep.runs()]
    assert len(set(paths)) == len(paths)
    for path in paths:
        assert path.resolve().parent == (tmp_path / "adapters").resolve()
        assert len(f".{path.name}.{'0' * 32}.tmp".encode()) <= 255
