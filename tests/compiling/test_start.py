"""A process that compiles, from outside: what is missing, how it may end, and two targets for real."""

import importlib.util
import os
import signal
from pathlib import Path

import pytest

from lora_jax.cli import main
from lora_jax.compiling import start, topology
from lora_jax.compiling.start import compile_config, explain_end
from lora_jax.errors import LoraJaxError
from lora_jax.extras import explain_missing
from lora_jax.target import parse_target
from tests.compiling.test_report import CONFIG

V5E = parse_target("v5e:2x2")


def has_compiler(target: str) -> bool:
    try:
        topology.require_compiler(parse_target(target))
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize(("target", "extra"), [("v5e:2x2", "tpu"), ("h100:1", "gpu-compile")])
def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    target: str,
    extra: str,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError) as missing:
        topology.require_compiler(parse_target(target))
    assert f"pip install 'lora-jax[{extra}]'" in str(explain_missing(missing.value))
    (tmp_path / "one.py").write_text(CONFIG)
    for command in ("compile", "plan"):
        assert main([command, str(tmp_path / "one.py"), "--target", target]) == 2
        out, told = capsys.readouterr()
        assert told.count("\n") == 1
        assert extra in told
        assert out == ""


def test_an_unknown_target_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "any.py", "--target", "h10:8"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "unknown device 'h10' (nearest: 'h" in told


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--mesh", "fsdp=2"], "--mesh says how the devices of a target are used: name it with --target"),
        (
            ["--target", "h100:8", "--device", "h200"],
            "--target prices for its own devices: leave out --device",
        ),
        (
            ["--target", "h100:8", "--mesh", "fsdp=4"],
            "the mesh fsdp=4 is of 4 devices and the target h100-80gb:8",
        ),
        (
            ["--target", "v5e:8"],
            "the target 'v5e:8' needs the 2 sides of a slice after the colon: write v5e:4x4",
        ),
    ],
)
def test_what_a_plan_for_a_target_may_not_be_given(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    more: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(topology, "require_compiler", lambda target: None)
    (tmp_path / "one.py").write_text(CONFIG)
    assert main(["plan", str(tmp_path / "one.py"), *more]) == 2
    out, told = capsys.readouterr()
    assert (out, told.count("\n")) == ("", 1)
    assert message in told


def test_the_end_of_a_process_is_explained_in_one_sentence() -> None:
    for status, log in (
        (-signal.SIGKILL, ""),
        (-6, "terminate called: std::bad_alloc\n"),
        (1, "MemoryError"),
    ):
        told = explain_end(status, log, "compiling step 2 for v5e")
        assert told.startswith("compiling step 2 for v5e needs more memory than this machine has")
    assert explain_end(1, "a\n\nValueError: b\n\n", "compiling step 1 for v5e").startswith(
        "compiling step 1 for v5e failed with status 1 (ValueError: b)"
    )


def test_a_worker_that_is_killed_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\necho something that is no document\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(start.sys, "executable", str(killed))
    monkeypatch.setattr(start, "require_compiler", lambda target: None)
    with pytest.raises(
        LoraJaxError,
        match="compiling step 1 for tpu-v5e:2x2 needs more memory than this machine has, and was ended",
    ):
        compile_config(tmp_path / "one.py", [], V5E)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["h100:1", "v5e:2x2"])
def test_one_step_compiles_for_a_device_that_is_not_here(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("JAX_DISABLE_MOST_OPTIMIZATIONS", raising=False)  # as a user's own call compiles
    if not has_compiler(name) and "LORA_JAX_COMPILERS" not in os.environ:  # .ci/compile has them
        pytest.skip(f"the packages that compile for {name} are not installed: docs/accelerators.md")
    (tmp_path / "one.py").write_text(CONFIG)
    overrides = [
        "model.d_model=256",
        "model.vocab_size=512",
        "data.seq_len=128",
        "model.context=128",
        "n_tokens=5120",
    ]
    report = compile_config(tmp_path / "one.py", overrides, parse_target(name))
    (step,) = report.steps
    assert step.memory is not None
    assert 0 < step.memory.arguments < step.memory.peak < step.memory.limit
    assert step.estimate is not None
    assert 1e-6 < step.estimate.seconds < 1
    assert step.fused_attention
    assert step.estimate.kernel_seconds > 0
    assert step.estimate.unpriced_kernels == ()
    if name == "v5e:2x2":
        assert {one.kind for one in step.collectives} & {"all-gather", "reduce-scatter", "all-reduce"}
        assert step.estimate.communication_seconds > 0
