"""`lj.finetune`: methods compared in a notebook, and their adapters for peft."""

from pathlib import Path

import pytest

import lora_jax as lj
from lora_jax.huggingface.adapters.importing import import_adapter
from lora_jax.runs.store import RunStore
from tests.finetuning.conftest import fill_places


@pytest.mark.slow
def test_methods_are_compared_and_their_adapters_are_peft_s(tmp_path: Path) -> None:
    places = fill_places(tmp_path)
    base, folder = places / "models" / "decoder", tmp_path / "results"
    sweep = lj.FinetuneSweep(
        base=str(base),
        task=lj.TaskConfig(name=f"files:{places / 'tasks' / 'echo'}", max_tokens=24),
        methods={"LoRA r 2": lj.LoRA(rank=2, targets=("q", "v")), "top": lj.TopLayers(layers=1)},
        rates={"LoRA r 2": (1e-3, 1e-2), "top": (1e-3,)},
        optim=lj.TuneConfig(batch_size=32, epochs=1, evaluations=1),
        seeds=(0,),
    )
    found = lj.finetune(sweep, folder)
    assert {method.label for method in found.comparison.methods} == set(sweep.methods)
    assert found.page.exists()
    written, refused = found.exported
    [adapter] = (folder / "peft").iterdir()
    assert written == f"LoRA r 2: adapter for peft in {adapter}"
    assert refused.startswith("top: ")  # peft has no form for a part of the base
    assert (adapter / "adapter_model.safetensors").exists()
    pretrained = lj.load_pretrained(str(base))
    method = import_adapter(adapter, pretrained.model_type, pretrained.config).method
    assert isinstance(method, lj.LoRA)
    assert method.rank == 2
    before = {path: path.stat().st_mtime_ns for path in (folder / "runs").iterdir()}
    again = lj.finetune(sweep, folder)
    assert again.exported == found.exported
    assert {path: path.stat().st_mtime_ns for path in (folder / "runs").iterdir()} == before
    assert len(RunStore(folder).finished()) == 3
