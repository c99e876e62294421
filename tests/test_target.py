"""Targets as they are typed."""

import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.target import DEVICES, parse_target


@pytest.mark.parametrize("kind", DEVICES)
def test_a_target_is_read_from_its_own_name(kind: str) -> None:
    sides = "x".join(["2"] * DEVICES[kind].n_axes)
    target = parse_target(f"{kind}:{sides}")
    assert target.name == f"{kind}:{sides}"
    assert parse_target(target.name) == target
    assert target.n_devices == 2 ** DEVICES[kind].n_axes
    assert target.device is DEVICES[kind]
    assert target.platform == DEVICES[kind].platform


def test_one_gpu_needs_no_number() -> None:
    assert parse_target("H100") == parse_target("h100-80gb:1")
    assert parse_target("v5e:4x4").kind == "tpu-v5e"


def test_gpus_beyond_eight_are_several_machines_and_a_slice_is_one() -> None:
    n_hosts = [parse_target(name).n_hosts for name in ("h100:1", "h100:8", "h100:16", "v5e:16x16")]
    assert n_hosts == [1, 1, 2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h10:8", r"unknown device 'h10' \(nearest: 'h"),
        ("v5x:4x4", r"unknown device 'v5x' \(nearest: 'v5"),
        ("v5e", "'v5e' needs the 2 sides of a slice after the colon: write v5e:4x4"),
        ("v5e:16", "'v5e:16' needs the 2 sides"),
        ("v5p:2x2", "needs the 3 sides of a slice after the colon: write v5p:2x2x1"),
        ("h100:2x2", "needs a number after the colon: write h100:8"),
        ("h100:", "needs a number"),
        ("h100:-1", "needs a number"),
        ("h100:0", "--target, a side of 'h100:0', is 0, but it must be a whole number from 1"),
        ("", "unknown device ''"),
        ("h100:12", "is 12 GPUs, and several machines have 8 each: choose a multiple of 8"),
        ("v5e:32x16", "is 512 chips, and the largest slice of tpu-v5e has 256: name a slice"),
    ],
)
def test_what_is_no_target_is_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(LoraJaxError, match=message) as refusal:
        parse_target(text)
    assert "\n" not in str(refusal.value)
