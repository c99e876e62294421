"""Estimates of memory and time, against XLA's own analysis and the devices' data sheets."""

import itertools

import jax
import jax.numpy as jnp
import pytest

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import count_parameters, flops_per_token
from lora_jax.runs import machine
from lora_jax.runs.machine import DEVICES, find_device, memory_bytes, present_device, seconds_per_step
from lora_jax.runs.sweep import overlay
from lora_jax.train.lanes import compile_step
from lora_jax.train.optim import make_knobs
from lora_jax.train.step import StepInput, init_state, make_step


def make_run(d: int, layers: int, seq_len: int, batch: int, vocab: int, **shape: object) -> RunConfig:
    settings: dict = dict(n_heads=max(1, d // 32)) | shape
    return RunConfig(
        model=ModelConfig(d_model=d, n_layers=layers, vocab_size=vocab, context=seq_len, **settings),
        data=DataConfig(seq_len=seq_len),
        optim=OptimConfig(batch_size=batch),
        n_tokens=10**7,
    )


def measure(run: RunConfig) -> int:
    """Return what XLA says that one compiled step takes, in bytes; nothing is run."""
    state = jax.eval_shape(lambda: init_state(run.model, run.optim, 0))
    windows = jax.ShapeDtypeStruct((run.optim.batch_size, run.data.seq_len + 1), jnp.int32)
    step = compile_step(make_step(run.model, run.optim), False)
    given = StepInput(windows, make_knobs(run.optim, 1e-3))
    found = step.lower(state, {}, {}, given).compile().memory_analysis()
    assert found is not None
    return (
        found.temp_size_in_bytes + found.argument_size_in_bytes
        + found.output_size_in_bytes - found.alias_size_in_bytes
    )  # fmt: skip


SIZES = [(32, 2, 128, 32, 256), (64, 3, 128, 32, 256), (128, 4, 128, 32, 256), (256, 6, 256, 16, 256)]
SHAPES = {"gpt2": {}, "llama": {**LLAMA, "tied_head": False}}


@pytest.mark.parametrize(
    ("size", "shape"), [(SIZES[0], "gpt2"), (SIZES[1], "llama"), (SIZES[2], "gpt2"), (SIZES[2], "llama")]
)
def test_memory_is_close_to_xlas_own_analysis(size: tuple[int, ...], shape: str) -> None:
    run = make_run(*size, **SHAPES[shape])
    assert memory_bytes(run) == pytest.approx(measure(run), rel=0.15)


@pytest.mark.slow  # 5 to 10 s of compilation each
@pytest.mark.parametrize(
    ("size", "shape"),
    [
        (SIZES[0], "llama"),
        (SIZES[1], "gpt2"),
        (SIZES[3], "gpt2"),
        (SIZES[3], "llama"),
        ((64, 8, 64, 16, 256), "gpt2"),
        ((64, 12, 64, 16, 4096), "llama"),
        ((64, 4, 64, 16, 4096), "llama"),
    ],
)
def test_memory_is_close_with_many_layers_and_words(size: tuple[int, ...], shape: str) -> None:
    run = make_run(*size, **SHAPES[shape])
    assert memory_bytes(run) == pytest.approx(measure(run), rel=0.15)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model.d_model", 128), ("model.n_layers", 3), ("model.n_heads", 4), ("model.d_ff", 1024),
        ("model.vocab_size", 512), ("optim.batch_size", 64),
    ],
)  # fmt: skip
def test_more_of_anything_takes_more_memory(field: str, value: object) -> None:
    run = make_run(64, 2, 128, 32, 256)
    assert memory_bytes(overlay(run, {field: value})) > memory_bytes(run)


def test_deeper_always_takes_more_memory() -> None:
    sizes = [memory_bytes(make_run(64, layers, 128, 32, 256)) for layers in range(1, 50)]
    assert all(a < b for a, b in zip(sizes[3::4], sizes[7::4], strict=False))
    assert all(a < b for a, b in itertools.pairwise(sizes))


def test_state_alone_is_four_arrays_of_weights() -> None:
    run = make_run(64, 2, 1, 1, 256)
    assert memory_bytes(run) == pytest.approx(16 * count_parameters(run.model).total, rel=0.05)


def test_an_unknown_device_is_refused_with_the_nearest() -> None:
    for name, device in DEVICES.items():
        assert find_device(name) is device
    with pytest.raises(LoraJaxError, match=r"unknown device 'a100-80g' \(nearest: 'a100-80gb'\)"):
        find_device("a100-80g")


def test_seconds_on_a_device_are_flops_over_its_peak() -> None:
    run = make_run(64, 2, 128, 32, 256)
    device = DEVICES["h200"]
    flops = flops_per_token(run.model, 128) * 32 * 128
    assert seconds_per_step(run, device) == pytest.approx(flops / (0.3 * 989e12))


def test_seconds_on_a_cpu_are_measured_and_grow_with_the_model() -> None:
    small, large = (seconds_per_step(make_run(d, 2, 64, 4, 256), None) for d in (32, 256))
    assert 0 < small < large


class FakeChip:
    def __init__(self, kind: str) -> None:
        self.device_kind = kind


@pytest.mark.parametrize(
    ("kind", "name"),
    [("NVIDIA H100 80GB HBM3", "h100-80gb"), ("NVIDIA A100-SXM4-80GB", "a100-80gb"), ("NVIDIA H200", "h200")],
)
def test_the_present_device_is_known_by_its_name(
    monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    assert present_device() is None  # the tests run on a CPU
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [FakeChip(kind)])
    assert present_device() is machine.DEVICES[name]


def test_a_device_without_a_known_peak_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [FakeChip("Abacus 3000")])
    with pytest.raises(LoraJaxError, match=r"'abacus-3000'.*--device"):
        present_device()
