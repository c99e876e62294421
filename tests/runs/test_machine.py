"""Estimates of time against the devices' data sheets."""

import jax
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import flops_per_token
from lora_jax.runs.machine import present_device, seconds_per_step
from lora_jax.target import DEVICES, find_device
from tests.training.step_memory import make_run


def test_an_unknown_device_is_refused_with_the_nearest() -> None:
    for name, device in DEVICES.items():
        assert find_device(name) is device
    with pytest.raises(LoraJaxError, match=r"unknown device 'a100-80g' \(nearest: 'a100-80gb'\)"):
        find_device("a100-80g")


@pytest.mark.parametrize("text", ["h100", "H100", "h100-80gb", "H100 80GB", "h100_80gb"])
def test_a_device_is_known_by_the_beginning_of_its_name(text: str) -> None:
    assert find_device(text) is DEVICES["h100-80gb"]


def test_a_beginning_that_several_devices_have_names_them() -> None:
    with pytest.raises(LoraJaxError, match=r"'tpu' may be tpu-v4 or tpu-v5e or .*: name one of them"):
        find_device("tpu")
    with pytest.raises(LoraJaxError, match="unknown device 'h20'"):  # another chip than the H200
        find_device("h20")


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
    [
        ("NVIDIA H100 80GB HBM3", "h100-80gb"),
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA H200", "h200"),
        ("TPU v4", "tpu-v4"),
        ("TPU v5 lite", "tpu-v5e"),
        ("TPU v5", "tpu-v5p"),
        ("TPU v6 lite", "tpu-v6e"),
    ],
)
def test_the_present_device_is_known_by_its_name(
    monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    assert present_device() is None  # the tests run on a CPU
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [FakeChip(kind)])
    assert present_device() is DEVICES[name]


def test_a_device_without_a_known_peak_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [FakeChip("Abacus 3000")])
    with pytest.raises(LoraJaxError, match=r"'abacus 3000'.*--device"):
        present_device()
