"""A step traced for a target and compiled by this machine's compiler: what is read of it, what is refused."""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import pytest

from lora_jax.compiling import topology, worker
from lora_jax.compiling.report import compile_run, compile_runs
from lora_jax.compiling.results import Collective, CompiledStep, CompileReport, Memory
from lora_jax.compiling.table import format_report
from lora_jax.compiling.warnings import find_warnings
from lora_jax.config import DataConfig, ModelConfig, OptimConfig, RunConfig, run_id
from lora_jax.documents import from_document, to_document
from lora_jax.target import parse_target
from lora_jax.training.mesh import mesh_of_devices

V5E = parse_target("v5e:1x1")  # whose program this machine can compile: it calls no kernel


def make_run(d_model: int = 16, n_tokens: int = 640) -> RunConfig:
    model = ModelConfig(
        d_model=d_model,
        n_layers=1,
        n_heads=2,
        vocab_size=64,
        context=16,
    )
    optim = OptimConfig(batch_size=4, warmup_steps=1)
    return RunConfig(model=model, data=DataConfig(seq_len=16), optim=optim, n_tokens=n_tokens)


@pytest.fixture
def mesh():
    return mesh_of_devices(None, jax.devices()[:1], V5E.name)


def test_runs_of_one_shape_are_compiled_once(mesh) -> None:
    runs = [make_run(16, 640), make_run(32), make_run(16, 1280)]
    found: list[CompiledStep] = []
    compile_runs(runs, V5E, mesh, found.append)
    assert [step.run_ids for step in found] == [(run_id(runs[0]), run_id(runs[2])), (run_id(runs[1]),)]
    assert found[0].model == "d16x1, batch 4 x 16"


def test_memory_is_of_all_weights_and_moments_and_less_than_the_peak(mesh) -> None:
    run = make_run()
    step = compile_run([run], V5E, mesh)
    assert step.memory is not None
    n_params = step.n_params + 16 * 64 + 16 * 16  # tied embedding and positions
    assert step.memory.arguments == pytest.approx(3 * 4 * n_params, rel=0.05)
    assert step.memory.arguments < step.memory.peak
    assert step.memory.limit == 16e9
    assert step.collectives == ()
    assert not step.fused_attention
    assert [words.split(":")[0] for words in step.warnings] == ["Attention is not fused"]
    assert "with 16 positions the scores are smaller than the kernel's smallest block" in step.warnings[0]
    report = CompileReport("one", V5E.name, "fsdp=1", "0", (step,))
    assert from_document(CompileReport, json.loads(json.dumps(to_document(report)))) == report
    assert "d16x1, batch 4 x 16: warning: Attention is not fused" in " ".join(format_report(report).split())


def test_what_does_not_fit_is_warned_of_and_not_priced() -> None:
    too_much = Memory(arguments=10e9, temporaries=9e9, peak=19e9, limit=16e9)
    (words,) = find_warnings(too_much, None, {}, (), V5E)
    assert "does not fit: a device needs 19.0 GB and has 16 GB" in words
    (words,) = find_warnings(None, None, {}, (), V5E)
    assert "the compiler refuses it for the 16 GB" in words
    assert find_warnings(Memory(1, 1, 2, 16e9), None, {}, (), V5E) == ()


def test_large_arrays_that_every_device_holds_are_warned_of() -> None:
    (words,) = find_warnings(None, None, {"small": 1e6, "embed": 1e8, "head": 3e8}, (), V5E)[1:]
    assert "2 large arrays of the state whole, 0.40 GB in all, the largest head of 0.30 GB" in words


def test_a_large_sum_that_every_device_gets_whole_is_warned_of() -> None:
    found = [Collective("all-gather", 1, 9e9, 9e9), Collective("all-reduce", 5, 4e8, 2.3e8)]
    (words,) = find_warnings(Memory(1, 1, 2, 16e9), None, {}, found, V5E)
    assert words.startswith("The largest all-reduce brings 0.23 GB to every device")
    found[1] = Collective("all-reduce", 5, 4e8, 1e7)
    assert find_warnings(Memory(1, 1, 2, 16e9), None, {}, found, V5E) == ()


CONFIG = '''"""One run."""
from lora_jax.config import DataConfig, ModelConfig, OptimConfig, RunConfig
def runs():
    model = ModelConfig(d_model=16, n_layers=1, n_heads=2, vocab_size=64, context=16)
    optim = OptimConfig(batch_size=4, warmup_steps=1)
    return [RunConfig(model=model, data=DataConfig(seq_len=16), optim=optim, n_tokens=640)]
'''


def ask_worker(
    monkeypatch: pytest.MonkeyPatch, capsys, path: Path, *more: str
) -> tuple[int, list[dict[str, Any]]]:
    monkeypatch.setattr(topology, "target_devices", lambda target: jax.devices()[:1])
    monkeypatch.setattr(sys, "argv", ["worker", str(path), "--target", V5E.name, *more])
    status = worker.main()
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_worker_prints_its_mesh_and_then_every_step(monkeypatch, capsys, tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(CONFIG)
    status, lines = ask_worker(monkeypatch, capsys, tmp_path / "one.py")
    assert status == 0
    assert [list(line) for line in lines] == [[worker.HEADER], [worker.STEP]]
    assert lines[0][worker.HEADER]["mesh"] == "data=1,fsdp=1,tensor=1"
    assert from_document(CompiledStep, lines[1][worker.STEP]).n_params > 0


@pytest.mark.parametrize(
    ("config", "more", "message"),
    [
        (CONFIG, ["--mesh", "fsdp=2"], "the mesh fsdp=2 is of 2 devices and the target tpu-v5e:1x1 has 1"),
        (CONFIG, ["--mesh", "fdsp=1"], "a mesh has no axis 'fdsp' (nearest: 'fsdp')"),
        ('"""None."""\ndef runs():\n    return []\n', [], "runs() returned no run"),
        ('"""Another."""\ndef study():\n    return []\n', [], "has no function `runs()`: it has `study()`"),
    ],
)
def test_a_worker_says_what_is_wrong_in_one_line(
    monkeypatch, capsys, tmp_path: Path, config: str, more: list[str], message: str
) -> None:
    (tmp_path / "one.py").write_text(config)
    status, (line,) = ask_worker(monkeypatch, capsys, tmp_path / "one.py", *more)
    assert status == 2
    assert message in line[worker.ERROR]
